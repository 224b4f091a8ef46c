use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use esplice_image::{ElfUse, merged};
use serde_json::json;

use crate::{
    cli::args::FirmwareArgs,
    config::project::{Flags, Project},
    files::{
        elf_file::Wanted,
        output_place::OutputPlace,
        outputs::{Names, Outputs, Staged, same_file},
    },
    firmware::{Firmware, image_options, sectors::Sectors, source::Source},
    ui::{
        exit::{Exit, Failure},
        interrupt::Interrupt,
        shell::Shell,
    },
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    firmware: FirmwareArgs,
    /// Where to write the app image; the other files are written next to it [default: NAME.bin]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write only the app image: no merged flash, no copy of the ELF, no plan
    #[arg(long)]
    image_only: bool,
    /// The merged flash that `save-image --merge` writes instead of all files.
    #[arg(skip)]
    merged: Option<Merged>,
}

/// Options of writing the whole flash as the only output.
#[derive(Debug, Clone, Copy)]
struct Merged {
    /// True if the output is padded to the flash's size.
    padded: bool,
}

/// [`Args`] in the form of `espflash save-image`: the output follows the source.
#[derive(Debug, clap::Args)]
pub struct SaveImageArgs {
    #[command(flatten)]
    build: Args,
    /// Where to write the app image
    #[arg(value_name = "FILE", conflicts_with = "output")]
    file: Option<PathBuf>,
    /// Write only bootloader, partition table and app, at their flash offsets, in one file
    #[arg(long)]
    merge: bool,
    /// With --merge, end the file after the app instead of padding it to the flash's size
    #[arg(long, requires = "merge")]
    skip_padding: bool,
}

impl SaveImageArgs {
    pub fn into_build(self) -> Args {
        let output = self.file.or(self.build.output);
        let merged = self.merge.then_some(Merged { padded: !self.skip_padding });
        Args { output, merged, ..self.build }
    }
}

pub fn run(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    // Reads a large ELF while the settings are read.
    let source = args.firmware.source.clone();
    let asked = match args.firmware.target.target {
        Some(_) => ElfUse::ImagesOnly,
        None => ElfUse::ImagesAndChip,
    };
    let wanted = if args.image_only { Wanted::Image(asked) } else { Wanted::Whole };
    let source = thread::spawn(move || Source::from_args(&source, wanted));
    let mut project =
        args.firmware.settle(Flags { output: args.output.clone(), ..Flags::default() })?;
    project.flash.fits_later = args.image_only;
    let source = source.join().map_err(|_| panicked("reading the source"))??;
    let input = source.file().map(Path::to_owned);
    // Checked before minutes of compiling if the user has named the output.
    let named = project.build.output.as_deref().map(|output| names(output, input.as_deref()));
    let named = named.transpose()?;
    let mut image_place =
        named.as_ref().map(|names| OutputPlace::find(&names.image)).transpose()?;
    // A pipe or a device has no files next to it.
    let is_stream = image_place.as_ref().is_some_and(|place| place.file().is_none());
    let image_only = args.image_only || is_stream;
    if is_stream && !args.image_only {
        shell.status("The output is not a regular file: only the app image is written");
    }

    // An existing ELF is copied while its image is made.
    let copy = match (&source, &named) {
        (Source::Elf { elf, .. }, Some(names))
            if !image_only && args.merged.is_none() && is_copied(names, input.as_deref()) =>
        {
            let (place, bytes) = (OutputPlace::find(&names.elf)?, Arc::clone(&elf.bytes));
            Some(thread::spawn(move || Staged::write_changed(&place, &bytes)))
        }
        _ => None,
    };
    let firmware = Firmware::from_source(source, &project, &mut |_| Ok(None), shell, interrupt);
    // Joined even if the image failed, so that a partial copy is removed with it.
    let copy = copy.map(|copy| copy.join().map_err(|_| panicked("copying the ELF")));
    let firmware = firmware?;
    let names = match named {
        Some(named) => named,
        None => names(Path::new(&format!("{}.bin", firmware.name)), input.as_deref())?,
    };

    if let Some(merged) = args.merged {
        return save_merged(&firmware, merged, &names, &project, shell, interrupt);
    }
    let image_place = match image_place.take() {
        Some(place) => place,
        None => OutputPlace::find(&names.image)?,
    };
    // The last build's image exists until this build replaces it.
    let last = project.build.stable.as_ref().and_then(|_| std::fs::read(image_place.file()?).ok());
    let sectors = last.map(|last| Sectors::between(&last, &firmware.image));
    let mut outputs = Outputs::default();
    outputs.add_at(&image_place, &firmware.image)?;
    let mut merged_len = None;
    if !image_only {
        let merged = merged(&firmware.plan)?;
        merged_len = Some(merged.len());
        outputs.add(&names.merged, &merged)?;
        match copy {
            Some(copy) => outputs.add_staged(copy??),
            None if is_copied(&names, input.as_deref()) => {
                outputs.add(&names.elf, &firmware.elf.bytes)?;
            }
            None => {}
        }
        outputs.add(&names.plan, firmware.plan_json(&names)?.as_bytes())?;
    }
    if interrupt.is_asked() {
        return Err(Failure::interrupted());
    }
    outputs.commit(shell)?;

    let len = firmware.image.len();
    let mut text =
        format!("{}: {len} bytes for {}\n", names.image.display(), firmware.chip.display_name);
    if let Some(sectors) = sectors {
        text.push_str(&format!("{sectors} differ from the last build\n"));
    }
    let beside = |path: &PathBuf| merged_len.map(|_| path.clone());
    let value = json!({
        "chip": firmware.chip.name,
        "image": names.image,
        "image_len": len,
        "merged": beside(&names.merged),
        "merged_len": merged_len,
        "elf": beside(&names.elf),
        "plan": beside(&names.plan),
        "sectors": sectors.map(|s| json!({ "differ": s.differ, "total": s.total })),
    });
    shell.summary.chip = Some(firmware.chip.display_name.clone());
    shell.result("build", &text, value);
    Ok(())
}

/// Writes the whole flash as the only output.
fn save_merged(
    firmware: &Firmware,
    kind: Merged,
    names: &Names,
    project: &Project,
    shell: &mut Shell,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let mut bytes = merged(&firmware.plan)?;
    if kind.padded {
        let size = image_options(&firmware.chip, project)?.flash.size as usize;
        bytes.resize(bytes.len().max(size), 0xff);
    }
    if interrupt.is_asked() {
        return Err(Failure::interrupted());
    }
    let mut outputs = Outputs::default();
    outputs.add(&names.image, &bytes)?;
    outputs.commit(shell)?;
    let (len, chip) = (bytes.len(), &firmware.chip);
    let shown = names.image.display();
    let value = json!({ "chip": chip.name, "merged": names.image, "merged_len": len });
    shell.summary.chip = Some(chip.display_name.clone());
    shell.result("build", &format!("{shown}: {len} bytes for {}\n", chip.display_name), value);
    Ok(())
}

/// Returns whether the ELF must be copied. It need not if the input is the copy's destination.
fn is_copied(names: &Names, input: Option<&Path>) -> bool {
    !input.is_some_and(|input| same_file(input, &names.elf))
}

fn panicked(what: &str) -> Failure {
    Failure::new(Exit::Internal, format!("{what} panicked"))
}

/// Returns the names of the outputs. None may be the input, except the copy of the ELF.
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
