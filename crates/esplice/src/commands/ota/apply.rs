use std::{fmt::Display, path::PathBuf};

use esplice_delta::{ApplyError, MemoryError};
use serde_json::json;

use crate::{
    files::{
        outputs::{Outputs, same_file},
        read,
    },
    ui::{
        exit::{Exit, Failure},
        shell::Shell,
    },
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Image that the patch is for
    #[arg(value_name = "BASE")]
    base: PathBuf,
    /// Patch, as `ota diff` makes it
    #[arg(value_name = "PATCH")]
    patch: PathBuf,
    /// Where to write the new image
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

pub fn run(args: &Args, shell: &mut Shell) -> Result<(), Failure> {
    for input in [&args.base, &args.patch] {
        if same_file(input, &args.output) {
            let message = format!("{} is an input and the output", input.display());
            return Err(Failure::usage(message).hint("give --output another name"));
        }
    }
    let (base, patch) = (read::read_for_flash(&args.base)?, read::read_for_flash(&args.patch)?);
    let image = esplice_delta::apply(&base, &patch)
        .map_err(|error| refused(&args.patch.display(), &error))?;
    let mut outputs = Outputs::default();
    outputs.add(&args.output, &image)?;
    outputs.commit(shell)?;
    let (shown, len) = (args.output.display(), image.len());
    let value = json!({ "output": args.output, "len": len });
    shell.result("ota-apply", &format!("{shown}: {len} bytes\n"), value);
    Ok(())
}

/// Returns the failure of a patch called `shown` that was not applied.
pub fn refused(shown: &impl Display, error: &ApplyError<MemoryError>) -> Failure {
    let exit = match error {
        ApplyError::WrongBase | ApplyError::Io(_) => Exit::WrongBase,
        ApplyError::WrongImage => Exit::Signature,
        _ => Exit::BadInput,
    };
    Failure::new(exit, format!("{shown}: {error}"))
}
