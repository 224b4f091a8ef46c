use esplice_flash::{Survey, reset_to_run, survey};

use crate::{
    cli::args::{BoardArgs, PortArgs, TargetArgs},
    config::project::{Flags, Project},
    device::{
        at_board::{FlashAccess, with_options},
        flashing, ports,
    },
    ui::{exit::Failure, interrupt::Interrupt, shell::Shell},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Leave the board in download mode, instead of starting the firmware in its flash
    #[arg(long)]
    download: bool,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    port: PortArgs,
}

pub fn run(args: &Args, shell: &mut Shell, interrupt: &Interrupt) -> Result<(), Failure> {
    let (target, port) = (args.target.clone(), args.port.clone());
    if !args.download {
        let flags = Flags { target: target.clone(), port: port.clone(), ..Flags::default() };
        let project = Project::settle(".".as_ref(), flags)?;
        let chip = project.chip().map(|chip| &**chip);
        let mut board = ports::open(&project, chip, shell, interrupt)?;
        let mut has_lines = false;
        board.in_numbers(shell, |board, shell| {
            has_lines = reset_to_run(board.port.as_mut(), ports::FIRST_BAUD)?.is_some();
            if has_lines {
                shell.status("The board runs");
            }
            Ok(())
        })?;
        if has_lines {
            return Ok(());
        }
    }
    // Without reset lines the loader is asked to reset, if one answers.
    let args = BoardArgs { target, port, stay: args.download, ..BoardArgs::default() };
    with_options(&args, FlashAccess::Reads, shell, interrupt, |board, options, shell| {
        let options = options.clone().baud(None).stub(esplice_flash::StubSource::none());
        let port = board.port.as_mut();
        let found = survey(port, &options, &mut |event| flashing::print_event(event, shell));
        let chip = found.as_ref().ok().and_then(|found| match found {
            Survey::Full(info) => Some(info.chip.clone()),
            Survey::Secure { .. } => None,
        });
        (chip, found.map(|_| ()))
    })
}
