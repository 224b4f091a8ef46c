use std::path::PathBuf;

use serde_json::json;

use crate::{
    cli::args::TargetArgs,
    config::project::{Flags, Project},
    files::{of_file, outputs::Outputs},
    ui::{exit::Failure, shell::Shell},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// ELF to analyse
    #[arg(value_name = "ELF")]
    elf: PathBuf,
    #[command(flatten)]
    target: TargetArgs,
    /// Write a picture to FILE
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write a page with picture and table to FILE
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub fn run(args: &Args, shell: &mut Shell) -> Result<(), Failure> {
    let flags = Flags { target: args.target.clone(), ..Flags::default() };
    let project = Project::settle(".".as_ref(), flags)?;
    let (map, chip) = super::map_of(&project, &args.elf)?;
    let mut outputs = Outputs::default();
    if let Some(path) = &args.svg {
        outputs.add(path, esplice_link::to_svg(&map).as_bytes())?;
    }
    if let Some(path) = &args.html {
        outputs.add(path, esplice_link::to_html(&map).as_bytes())?;
    }
    outputs.commit(shell)?;
    shell.summary.chip = Some(chip.display_name.clone());
    // The output that was not requested may be large, so it is not made.
    let (text, value) = if shell.is_json() {
        (String::new(), super::value(&map))
    } else {
        (map.to_text(), json!(null))
    };
    shell.result("layout", &text, value);
    match map.overlaps.first() {
        Some(overlap) => Err(of_file(&args.elf, Failure::input(overlap.to_string()))
            .hint("one of them replaces bytes of the other when they are loaded")),
        None => Ok(()),
    }
}
