use std::path::PathBuf;

use esplice_delta::{Isa, PatchKind};
use serde_json::json;

use super::sign::image_chip;
use crate::{
    files::{
        outputs::{Outputs, same_file},
        read,
    },
    ui::{exit::Failure, shell::Shell},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Image that runs on the devices
    #[arg(value_name = "BASE")]
    base: PathBuf,
    /// New image
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// Where to write the patch
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

pub fn run(args: &Args, shell: &mut Shell) -> Result<(), Failure> {
    for input in [&args.base, &args.image] {
        if same_file(input, &args.output) {
            let message = format!("{} is an input and the output", input.display());
            return Err(Failure::usage(message).hint("give --output another name"));
        }
    }
    let (base, image) = (read::read_for_flash(&args.base)?, read::read_for_flash(&args.image)?);
    let patch = esplice_delta::diff(&base, &image, isa_of(&image))
        .map_err(|error| Failure::input(format!("{}: {error}", args.image.display())))?;
    let mut outputs = Outputs::default();
    outputs.add(&args.output, &patch.bytes)?;
    outputs.commit(shell)?;
    let (shown, len) = (args.output.display(), patch.bytes.len());
    let percent = len as f64 * 100.0 / image.len().max(1) as f64;
    let is_whole = patch.kind == PatchKind::Whole;
    let kind = if is_whole { ", the whole image compressed" } else { "" };
    let text = format!("{shown}: {len} bytes, {percent:.2} % of {}{kind}\n", args.image.display());
    let value = json!({
        "output": args.output,
        "len": len,
        "image_len": image.len(),
        "operations": patch.operations,
        "whole": is_whole,
    });
    shell.result("ota-diff", &text, value);
    Ok(())
}

/// Returns the instruction set of an app image's chip, as far as patches know it.
fn isa_of(image: &[u8]) -> Isa {
    match image_chip(image).map(|chip| chip.isa.as_str()) {
        Some("xtensa") => Isa::Xtensa,
        Some(isa) if isa.starts_with("rv32") => Isa::RiscV,
        _ => Isa::Unknown,
    }
}
