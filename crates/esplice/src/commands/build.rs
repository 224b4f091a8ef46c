use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use esplice_image::{Asked, merged};
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
    /// Where the app image goes; the other files stand beside it [default: NAME.bin]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the app image alone: no merged flash, no copy of the ELF, no plan
    #[arg(long)]
    image_only: bool,
    /// What `save-image --merge` writes in the place of all files.
    #[arg(skip)]
    merged: Option<Merged>,
}

/// The whole flash as the one output.
#[derive(Debug, Clone, Copy)]
struct Merged {
    /// Filled up to the flash's size.
    padded: bool,
}

/// [`Args`] as `espflash save-image` has them: the output stands behind the source.
#[derive(Debug, clap::Args)]
pub struct SaveImageArgs {
    #[command(flatten)]
    build: Args,
    /// Where the app image goes
    #[arg(value_name = "FILE", conflicts_with = "output")]
    file: Option<PathBuf>,
    /// Write bootloader, partition table and app to the file, as they stand in flash, and nothing else
    #[arg(long)]
    merge: bool,
    /// With --merge, end the file with the app instead of filling it up to the flash's size
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
    // A large ELF is read while the settings are.
    let source = args.firmware.source.clone();
    let asked = match args.firmware.target.target {
        Some(_) => Asked::ImagesAlone,
        None => Asked::ChipToo,
    };
    let wanted = if args.image_only { Wanted::Image(asked) } else { Wanted::Whole };
    let source = thread::spawn(move || Source::from_args(&source, wanted));
    let mut project =
        args.firmware.settle(Flags { output: args.output.clone(), ..Flags::default() })?;
    project.flash.fits_later = args.image_only;
    let source = source.join().map_err(|_| panicked("reading the source"))??;
    let input = source.file().map(Path::to_owned);
    // Known before minutes of compiling, where the user has named it.
    let named = project.build.output.as_deref().map(|output| names(output, input.as_deref()));
    let named = named.transpose()?;
    let mut image_place =
        named.as_ref().map(|names| OutputPlace::find(&names.image)).transpose()?;
    // Nothing can be beside a pipe or a device.
    let is_stream = image_place.as_ref().is_some_and(|place| place.file().is_none());
    let image_only = args.image_only || is_stream;
    if is_stream && !args.image_only {
        shell.status("The output is no file: only the app image is written");
    }

    // An ELF that is there is copied while its image is made.
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
    // Waited for also when the image failed: what is half written is taken away with it.
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
    // The last build's image is there until this one's takes its place.
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

/// Writes the whole flash as the one output.
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
        let size = image_options(firmware.chip, project)?.flash.size as usize;
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

/// Whether the ELF must be copied: the input may stand where its copy would.
fn is_copied(names: &Names, input: Option<&Path>) -> bool {
    !input.is_some_and(|input| same_file(input, &names.elf))
}

fn panicked(what: &str) -> Failure {
    Failure::new(Exit::Internal, format!("{what} panicked"))
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
