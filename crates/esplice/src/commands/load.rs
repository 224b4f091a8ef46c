use std::path::PathBuf;

use esplice_chip::{Addr, ChipDb};
use esplice_flash::{StubSource, with_board};
use esplice_image::{ImageInfo, Part, PartBody, inspect};

use crate::{
    cli::args::{BoardArgs, PortArgs, TargetArgs},
    config::target,
    device::{
        at_board::{FlashAccess, with_options},
        flashing,
    },
    files::{of_file, read},
    firmware::flash_file::first_defect,
    ui::{
        exit::{Exit, Failure},
        interrupt::Interrupt,
        shell::Shell,
    },
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// RAM image, as `esptool elf2image` makes it of a program linked to RAM
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    port: PortArgs,
}

pub fn run(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    let bytes = read::read(&args.file)?;
    let (chips, _) = target::target_of(&args.target)?;
    let image = image(&bytes, &chips).map_err(|failure| of_file(&args.file, failure))?;
    let segments: Vec<(Addr, &[u8])> = image
        .segments
        .iter()
        .filter_map(|segment| {
            let end = segment.offset.checked_add(segment.len as usize)?;
            Some((segment.addr, bytes.get(segment.offset..end)?))
        })
        .collect();
    let board = BoardArgs {
        target: args.target.clone(),
        port: args.port.clone(),
        // The program is running, so the board is not reset.
        stay: true,
        ..BoardArgs::default()
    };
    with_options(&board, FlashAccess::Reads, shell, interrupt, |board, options, shell| {
        let chip = options.chips.find_by_id(image.header.chip_id);
        let options = options
            .clone()
            .target(options.target.as_ref().or(chip).cloned())
            .baud(None)
            .stub(StubSource::none());
        let port = board.port.as_mut();
        let mut tell = |event| flashing::print_event(event, shell);
        let done = with_board(port, &options, &mut tell, |session, info| {
            session.run_in_ram(&info.chip, &segments, image.header.entry)
        });
        (None, done)
    })?;
    let len: usize = segments.iter().map(|(_, bytes)| bytes.len()).sum();
    shell.fact(&format!("{len} bytes loaded into RAM, and started"));
    Ok(())
}

/// Parses the file as a single image.
fn image(bytes: &[u8], chips: &ChipDb) -> Result<ImageInfo, Failure> {
    let report = inspect(bytes, chips);
    if let Some(defect) = first_defect(&report) {
        return Err(Failure::input(defect));
    }
    match report.parts.as_slice() {
        [Part { body: PartBody::Image(info), .. }] => Ok((**info).clone()),
        _ => Err(Failure::new(Exit::BadInput, "a flash image, not a single RAM image")),
    }
}
