use std::path::PathBuf;

use esplice_image::{PlannedWrite, split};
use serde_json::json;

use crate::{
    exit::Failure,
    flash_file::FlashFile,
    outputs::{Outputs, same_file},
    shell::{Shell, hex},
    source,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Flash from offset 0, as raw bytes, HEX, UF2 or packed with xz
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Directory that the parts go to [default: FILE without its extension]
    #[arg(long, short, value_name = "DIRECTORY")]
    output: Option<PathBuf>,
}

pub fn run(args: &Args, shell: &mut Shell) -> Result<(), Failure> {
    let shown = args.file.display();
    let file = FlashFile::read(&args.file)?;
    let mut parts = split(&file.flash()?);
    if parts.is_empty() {
        let FlashFile::Places { unpacked, .. } = file else {
            return Err(Failure::input(format!(
                "{shown} has no partition table where a chip has it: there is nothing to split by"
            ))
            .hint("give the flash from offset 0, such as NAME.merged.bin"));
        };
        parts = unpacked.writes;
    }
    let directory = match &args.output {
        Some(directory) => directory.clone(),
        None => args.file.with_file_name(source::stem(&args.file)),
    };
    if directory.is_file() {
        return Err(Failure::usage(format!("{} is a file", directory.display()))
            .hint("give --output the name of a directory"));
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
        values.push(json!({
            "name": part.name,
            "offset": offset.0,
            "len": len,
            "sha256": hex(&esplice_image::sha256(&part.data)),
            "file": path,
        }));
    }
    outputs.commit(shell)?;
    shell.result("image-split", &text, values.into());
    Ok(())
}

/// A name for each part: its own, of plain characters, with its offset where two have one name.
fn file_names(parts: &[PlannedWrite]) -> Vec<String> {
    let plain = |part: &PlannedWrite| -> String {
        let kept = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let name = part.name.chars().map(|c| if kept(c) { c } else { '_' });
        name.collect::<String>().trim_start_matches('.').to_owned()
    };
    let names: Vec<String> = parts.iter().map(plain).collect();
    let twice =
        |name: &String| names.iter().filter(|other| other.eq_ignore_ascii_case(name)).count() > 1;
    let named = |(name, part): (&String, &PlannedWrite)| {
        if name.is_empty() || twice(name) {
            format!("{name}{}.bin", part.offset)
        } else {
            format!("{name}.bin")
        }
    };
    names.iter().zip(parts).map(named).collect()
}
