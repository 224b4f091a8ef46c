//! Runs a command's work on a board: opens the port, detects the chip, does the work, and starts
//! the board again.

use std::sync::Arc;

use esplice_chip::Chip;
use esplice_flash::{
    ChipInfo, ErrorClass, FlashError, FlashOptions, Session, reset_to_run, with_board,
};
use esplice_protocol::Port;

use crate::{
    cli::args::BoardArgs,
    device::{
        flashing, ports,
        ports::{Board, FIRST_BAUD},
        stubs::stub_source,
    },
    ui::{exit::Failure, interrupt::Interrupt, shell::Shell},
};

/// Effect of the work on the board's flash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlashAccess {
    /// Flash is not changed: after a failure the board runs as before.
    Reads,
    /// Flash may be half written after a failure, so the board is left in its loader.
    Writes,
}

/// Does `work` with the board that `args` name, and starts it again unless it is to stay.
pub fn work<T>(
    args: &BoardArgs,
    touch: FlashAccess,
    shell: &mut Shell,
    interrupt: &Interrupt,
    work: impl FnOnce(&mut Session<'_, dyn Port>, &ChipInfo, &FlashOptions) -> Result<T, FlashError>,
) -> Result<T, Failure> {
    with_options(args, touch, shell, interrupt, |board, options, shell| {
        let mut chip = None;
        let port: &mut dyn Port = board.port.as_mut();
        let done = with_board(port, options, &mut |event| flashing::print_event(event, shell), {
            let chip = &mut chip;
            |session, info| {
                *chip = Some(info.chip.clone());
                work(session, info, options)
            }
        });
        (chip, done)
    })
}

/// Like [`work`], but `work` connects by itself and returns the chip once it is known.
pub fn with_options<T>(
    args: &BoardArgs,
    touch: FlashAccess,
    shell: &mut Shell,
    interrupt: &Interrupt,
    work: impl FnOnce(
        &mut Board,
        &FlashOptions,
        &mut Shell,
    ) -> (Option<Arc<Chip>>, Result<T, FlashError>),
) -> Result<T, Failure> {
    let project = args.settle()?;
    let target = project.chip();
    let stub = stub_source(&project.flash.stub)?;
    let mut board = ports::open(&project, target.map(|chip| &**chip), shell, interrupt)?;
    let mut value = None;
    board.in_numbers(shell, |board, shell| {
        let options = flashing::options(board, target)
            .baud(Some(flashing::rate(board, &project).0))
            .stub(stub)
            .table_offset(project.image.own_table_offset());
        shell.status(&format!("Connecting to {}", board.port.name()));
        let (chip, done) = work(board, &options, shell);
        match done {
            Ok(done) => {
                value = Some(done);
                leave(board, chip, args.stay, shell)
            }
            Err(error) => Err(recover_board(board, error, touch, args.stay, interrupt)),
        }
    })?;
    value.ok_or_else(Failure::interrupted)
}

/// Starts the board, or reports that it waits in download mode.
fn leave(
    board: &mut Board,
    chip: Option<Arc<Chip>>,
    stay: bool,
    shell: &mut Shell,
) -> Result<(), Failure> {
    match chip {
        Some(chip) if !stay => flashing::start(board, &chip, None, shell).map(|_| ()),
        _ => {
            shell.status("The board waits in download mode");
            Ok(())
        }
    }
}

/// Puts the board into a safe state after a failed operation.
fn recover_board(
    board: &mut Board,
    error: FlashError,
    touch: FlashAccess,
    stay: bool,
    interrupt: &Interrupt,
) -> Failure {
    let class = error.class();
    let failure = Failure::from(error);
    if class == ErrorClass::Lost {
        return failure;
    }
    // The port refuses to work after an interrupt, but the board must be left in a safe state.
    interrupt.let_ports_work();
    let port = board.port.as_mut();
    let refused = matches!(class, ErrorClass::Plan | ErrorClass::Security);
    if !stay && (touch == FlashAccess::Reads || refused) {
        // Only the first error is reported.
        let _ = reset_to_run(port, FIRST_BAUD);
        return failure;
    }
    let _ = port.set_lines(false, false);
    match class {
        ErrorClass::Interrupted => {
            failure.hint("the board waits in download mode, and the operation is incomplete")
        }
        _ => failure,
    }
}
