use std::path::{Path, PathBuf};

use esplice_image::merged;
use serde_json::json;

use crate::{
    args::{CargoArgs, ImageArgs, SourceArgs, TargetArgs},
    exit::Failure,
    firmware::Firmware,
    interrupt::Interrupt,
    outputs::{Names, Outputs, same_file},
    project::{Flags, Project},
    shell::Shell,
    source::Source,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    target: TargetArgs,
    /// Where the app image goes; the other files stand beside it [default: NAME.bin]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    cargo: CargoArgs,
    #[command(flatten)]
    image: ImageArgs,
}

pub fn run(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    let flags = Flags {
        target: args.target.clone(),
        cargo: args.cargo.clone(),
        image: args.image.clone(),
        output: args.output.clone(),
        ..Flags::default()
    };
    let project = Project::settle(&Source::directory(&args.source), flags)?;
    let source = Source::from_args(&args.source)?;
    let input = source.file().map(Path::to_owned);
    // Known before minutes of compiling, where the user has named it.
    let named = project.output.as_deref().map(|output| names(output, input.as_deref()));
    let named = named.transpose()?;

    let firmware = Firmware::from_source(source, &project, &mut |_| Ok(None), shell, interrupt)?;
    let names = match named {
        Some(named) => named,
        None => names(Path::new(&format!("{}.bin", firmware.name)), input.as_deref())?,
    };

    let merged = merged(&firmware.plan)?;
    let plan = firmware.plan_json(&names)?;
    let mut outputs = Outputs::default();
    outputs.add(&names.image, &firmware.image.bytes)?;
    outputs.add(&names.merged, &merged)?;
    // The input may stand where its copy would.
    if !input.is_some_and(|input| same_file(&input, &names.elf)) {
        outputs.add(&names.elf, &firmware.elf)?;
    }
    outputs.add(&names.plan, plan.as_bytes())?;
    if interrupt.is_asked() {
        return Err(Failure::interrupted());
    }
    outputs.commit()?;

    let len = firmware.image.bytes.len();
    let text =
        format!("{}: {len} bytes for {}\n", names.image.display(), firmware.chip.display_name);
    let value = json!({
        "chip": firmware.chip.name,
        "image": names.image,
        "image_len": len,
        "merged": names.merged,
        "merged_len": merged.len(),
        "elf": names.elf,
        "plan": names.plan,
    });
    shell.summary.chip = Some(firmware.chip.display_name.clone());
    shell.result("build", &text, value);
    Ok(())
}

/// The outputs' names, none of which may be the input's, save for the ELF's own place.
fn names(output: &Path, input: Option<&Path>) -> Result<Names, Failure> {
    let names = Names::new(output)?;
    let written = [&names.image, &names.merged, &names.plan];
    if let Some(input) = input
        && let Some(over) = written.into_iter().find(|path| same_file(path, input))
    {
        return Err(Failure::usage(format!("{} is the input", over.display()))
            .hint("give --output another name"));
    }
    Ok(names)
}
