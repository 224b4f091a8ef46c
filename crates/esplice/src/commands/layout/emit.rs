use std::path::PathBuf;

use esplice_layout::{Base, esp_idf, inject};
use serde_json::json;

use crate::{
    cli::args::TargetArgs,
    config::project::Flags,
    files::outputs::Outputs,
    ui::{
        exit::{Exit, Failure},
        shell::Shell,
    },
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The project's directory
    #[arg(value_name = "PATH", default_value = ".")]
    path: PathBuf,
    /// Directory to write the files to
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    target: TargetArgs,
}

pub fn run(args: &Args, shell: &mut Shell) -> Result<(), Failure> {
    let flags = Flags { target: args.target.clone(), ..Flags::default() };
    let (project, chip) = super::settle(&args.path, flags, None)?;
    let layout = super::layout(&project, &args.path, &chip)?;
    let files = match layout.base {
        Base::EspHal | Base::Ram => inject(&layout, layout.linker_for(None)).files,
        Base::EspIdf => esp_idf(&layout),
        Base::TinyGo => {
            return Err(Failure::new(Exit::Usage, "the files for TinyGo are made for each build")
                .hint("`esplice build` passes them to TinyGo"));
        }
    };
    let mut outputs = Outputs::default();
    let mut paths = Vec::new();
    for file in &files {
        let path = args.dir.join(file.name);
        outputs.add(&path, &file.bytes)?;
        paths.push(path);
    }
    outputs.commit(shell)?;
    let text: String = paths.iter().map(|path| format!("{}\n", path.display())).collect();
    shell.result("layout-emit", &text, json!({ "files": paths }));
    Ok(())
}
