use esplice_flash::{FlashOptions, flash};
use esplice_image::ResolvedPlan;

use crate::{
    args::BoardArgs,
    at_board::{Touch, with_options},
    exit::Failure,
    flashing,
    interrupt::Interrupt,
    places::FilesArgs,
    shell::Shell,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    files: FilesArgs,
    #[command(flatten)]
    board: BoardArgs,
}

pub fn run(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    let files = args.files.read()?;
    with_options(&args.board, Touch::Writes, shell, interrupt, |board, options, shell| {
        let options = &FlashOptions { find_table: files.needs_table(), ..options.clone() };
        let port = board.port.as_mut();
        let plan = |facts: &_| {
            let writes = files.writes(facts)?;
            Ok(ResolvedPlan::from(writes))
        };
        let done = flash(port, options, plan, &mut |event| flashing::tell(event, shell));
        (done.as_ref().ok().map(|report| report.chip.chip), done.map(|_| ()))
    })
}
