use std::path::PathBuf;

use serde_json::json;

use crate::{
    cli::args::{PortArgs, TargetArgs},
    config::{
        keys::KEYS,
        project::{Flags, Project},
    },
    ui::{exit::Failure, shell::Shell},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The project's directory
    #[arg(value_name = "PATH", default_value = ".")]
    path: PathBuf,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    port: PortArgs,
}

pub fn run(args: &Args, shell: &mut Shell) -> Result<(), Failure> {
    let flags = Flags { target: args.target.clone(), port: args.port.clone(), ..Flags::default() };
    if !args.path.is_dir() {
        return Err(Failure::input(format!("{} is not a directory", args.path.display())));
    }
    let project = Project::settle(&args.path, flags)?;

    let mut text = String::new();
    let mut values = Vec::new();
    for (entry, key) in project.entries.iter().zip(KEYS) {
        let name = format!("{}.{}", entry.section, entry.name);
        let value = entry.value.as_ref().map(|set| set.value.as_str());
        let origin = entry.value.as_ref().map(|set| set.origin.to_string());
        text.push_str(&format!(
            "{name:28} {:16} {}\n",
            value.unwrap_or("-"),
            origin.as_deref().unwrap_or(key.meaning)
        ));
        values.push(json!({
            "key": name, "value": value, "origin": origin, "meaning": key.meaning,
            "flag": (!key.flag.is_empty()).then_some(key.flag), "variables": key.variables(), "kind": key.kind.name(),
            "default": (!key.default.is_empty()).then_some(key.default),
        }));
    }
    shell.result("config", &text, values.into());
    Ok(())
}
