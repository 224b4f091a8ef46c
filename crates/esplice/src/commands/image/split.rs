use std::{
    collections::HashMap,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
};

use esplice_chip::ChipDb;
use esplice_image::{Write, split};
use serde_json::json;

use crate::{
    files::{
        outputs::{Outputs, same_file},
        read,
    },
    firmware::flash_file::FlashFile,
    ui::{exit::Failure, shell::Shell},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Flash from offset 0, as raw bytes, HEX, UF2 or xz
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Directory to write the parts to [default: FILE without its extension]
    #[arg(long, short, value_name = "DIRECTORY")]
    output: Option<PathBuf>,
    /// Write any number of parts without asking
    #[arg(long, short)]
    yes: bool,
}

/// Maximum number of parts written without asking.
const MOST_UNASKED: usize = 1000;

pub fn run(args: &Args, shell: &mut Shell) -> Result<(), Failure> {
    let shown = args.file.display();
    let file = FlashFile::read(&args.file)?;
    let mut parts = split(&file.flash()?, ChipDb::embedded());
    if parts.is_empty() {
        let FlashFile::Places { unpacked, .. } = file else {
            return Err(Failure::input(format!(
                "{shown} has no partition table where a chip expects it, so it cannot be split"
            ))
            .hint("give the flash from offset 0, such as NAME.merged.bin"));
        };
        parts = unpacked.writes;
    }
    let directory = match &args.output {
        Some(directory) => directory.clone(),
        None => args.file.with_file_name(read::stem(&args.file)),
    };
    if directory.is_file() {
        return Err(Failure::usage(format!("{} is a file", directory.display()))
            .hint("give --output the name of a directory"));
    }
    if parts.len() > MOST_UNASKED && !args.yes {
        ask(parts.len(), &args.file, &directory, shell)?;
    }
    let names = file_names(&parts);
    let mut outputs = Outputs::default();
    let (mut text, mut values) = (String::new(), Vec::new());
    for (part, name) in parts.iter().zip(&names) {
        let path = directory.join(name);
        if same_file(&path, &args.file) {
            return Err(Failure::usage(format!("{} is the input", path.display()))
                .hint("give --output another directory"));
        }
        outputs.add(&path, &part.data)?;
        let (offset, len) = (part.offset, part.data.len());
        text.push_str(&format!("{:10} {len:>8} bytes  {}\n", offset.to_string(), path.display()));
        if shell.is_json() {
            values.push(json!({
                "name": part.name,
                "offset": offset.0,
                "len": len,
                "sha256": hex::encode(esplice_image::sha256(&part.data)),
                "file": path,
            }));
        }
    }
    outputs.commit(shell)?;
    shell.result("image-split", &text, values.into());
    Ok(())
}

/// Asks whether to write that many parts.
fn ask(count: usize, file: &Path, directory: &Path, shell: &Shell) -> Result<(), Failure> {
    let (file, directory) = (file.display(), directory.display());
    let message = format!("{file} has {count} parts, and {directory} would receive as many files");
    let refused = || Failure::usage(&message).hint("give --yes to write them all");
    if !shell.may_ask() || !io::stdin().is_terminal() {
        return Err(refused());
    }
    shell.ask(&format!("{message}. Write them? [y/N]"));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(|error| Failure::input(error.to_string()))?;
    let agreed = matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes");
    if agreed { Ok(()) } else { Err(refused()) }
}

/// Returns a file name for each part: its name in plain characters, plus its offset if the name is
/// not unique.
fn file_names(parts: &[Write]) -> Vec<String> {
    let plain = |part: &Write| -> String {
        let kept = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let name = part.name.chars().map(|c| if kept(c) { c } else { '_' });
        name.collect::<String>().trim_start_matches('.').to_owned()
    };
    let names: Vec<String> = parts.iter().map(plain).collect();
    // Some file systems are case-insensitive.
    let mut counts: HashMap<String, usize> = HashMap::new();
    for name in &names {
        *counts.entry(name.to_ascii_lowercase()).or_default() += 1;
    }
    let twice = |name: &String| counts.get(&name.to_ascii_lowercase()).is_some_and(|n| *n > 1);
    let named = |(name, part): (&String, &Write)| {
        if name.is_empty() || twice(name) {
            format!("{name}{}.bin", part.offset)
        } else {
            format!("{name}.bin")
        }
    };
    names.iter().zip(parts).map(named).collect()
}
