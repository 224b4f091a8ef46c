use std::path::PathBuf;

use serde_json::{Value, json};

use crate::{
    args::TargetArgs,
    exit::Failure,
    project::{Flags, Project},
    shell::Shell,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// ELF before
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// ELF after
    #[arg(value_name = "NEW")]
    new: PathBuf,
    #[command(flatten)]
    target: TargetArgs,
}

pub fn run(args: &Args, shell: &mut Shell) -> Result<(), Failure> {
    let flags = Flags { target: args.target.clone(), ..Flags::default() };
    let project = Project::settle(".".as_ref(), flags)?;
    let (old, _) = super::map_of(&project, &args.old)?;
    let (new, chip) = super::map_of(&project, &args.new)?;
    let difference = esplice_link::diff(&old, &new);
    let text =
        if difference.is_empty() { "all is where it was\n".into() } else { difference.to_text() };
    let range = |range: Option<(u32, u32)>| {
        range.map_or(Value::Null, |(addr, len)| json!({ "addr": addr, "len": len }))
    };
    let changes = difference.changes.iter().map(|change| {
        json!({
            "region": change.region,
            "kind": change.kind.name(),
            "name": change.name,
            "old": range(change.old),
            "new": range(change.new),
        })
    });
    let regions = difference
        .regions
        .iter()
        .map(|(region, old, new)| json!({ "region": region, "old_used": old, "new_used": new }));
    let value = json!({
        "changes": changes.collect::<Vec<_>>(),
        "regions": regions.collect::<Vec<_>>(),
    });
    shell.summary.chip = Some(chip.display_name.clone());
    shell.result("layout-diff", &text, value);
    Ok(())
}
