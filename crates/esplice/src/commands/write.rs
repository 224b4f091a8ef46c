use esplice_flash::{FlashRange, flash, with_board};
use esplice_image::ResolvedPlan;

use crate::{
    cli::args::BoardArgs,
    device::{
        at_board::{FlashAccess, with_options},
        flashing,
    },
    firmware::places::FilesArgs,
    ui::{exit::Failure, interrupt::Interrupt, shell::Shell},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    files: FilesArgs,
    /// Erase the whole flash first
    #[arg(long, conflicts_with = "partition")]
    erase_all: bool,
    #[command(flatten)]
    board: BoardArgs,
}

pub fn run(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    let files = args.files.read(&args.board.target)?;
    with_options(&args.board, FlashAccess::Writes, shell, interrupt, |board, options, shell| {
        let options = &options.clone().find_table(files.needs_table());
        let port = board.port.as_mut();
        let mut tell = |event| flashing::print_event(event, shell);
        if args.erase_all {
            let erased = with_board(&mut *port, options, &mut tell, |session, info| {
                // Checks the files while the old content is still there.
                files.writes(&session.device_facts(info, &options.table_hint())?)?;
                session.erase_range(info, options, &FlashRange::whole(info.flash_size))
            });
            if let Err(error) = erased {
                return (None, Err(error));
            }
        }
        let plan = |facts: &_| {
            let writes = files.writes(facts)?;
            Ok(ResolvedPlan::from(writes))
        };
        let done = flash(port, options, plan, &mut tell);
        (done.as_ref().ok().map(|report| report.chip.chip.clone()), done.map(|_| ()))
    })
}
