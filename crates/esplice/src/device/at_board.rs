//! A command's work at a board: the port is opened, the board found and asked what it is, the work done,
//! and the board started again.

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

/// What the work does to the board's flash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    /// Nothing: after a failure the board runs as before.
    Reads,
    /// It may be half done after a failure, and the board is left in its loader.
    Writes,
}

/// Does `work` with the board that `args` name, and starts it again unless it is to stay.
pub fn work<T>(
    args: &BoardArgs,
    touch: Touch,
    shell: &mut Shell,
    interrupt: &Interrupt,
    work: impl FnOnce(&mut Session<'_, dyn Port>, &ChipInfo, &FlashOptions) -> Result<T, FlashError>,
) -> Result<T, Failure> {
    with_options(args, touch, shell, interrupt, |board, options, shell| {
        let mut chip = None;
        let port: &mut dyn Port = board.port.as_mut();
        let done = with_board(port, options, &mut |event| flashing::tell(event, shell), {
            let chip = &mut chip;
            |session, info| {
                *chip = Some(info.chip);
                work(session, info, options)
            }
        });
        (chip, done)
    })
}

/// [`work`] that connects itself: it also gives the chip, once that is known.
pub fn with_options<T>(
    args: &BoardArgs,
    touch: Touch,
    shell: &mut Shell,
    interrupt: &Interrupt,
    work: impl FnOnce(
        &mut Board,
        &FlashOptions,
        &mut Shell,
    ) -> (Option<&'static Chip>, Result<T, FlashError>),
) -> Result<T, Failure> {
    let project = args.settle()?;
    let target = project.target.as_ref().map(|target| target.value);
    let stub = stub_source(&project.flash.stub)?;
    let mut board = ports::open(&project, target, shell, interrupt)?;
    let mut value = None;
    board.in_numbers(shell, |board, shell| {
        let options = FlashOptions {
            baud: Some(flashing::rate(board, &project).0),
            stub,
            table_offset: project.image.own_table_offset(),
            ..flashing::options(&board.strategies, target)
        };
        shell.status(&format!("Connecting to {}", board.port.name()));
        let (chip, done) = work(board, &options, shell);
        match done {
            Ok(done) => {
                value = Some(done);
                leave(board, chip, args.stay, shell)
            }
            Err(error) => Err(broken_off(board, error, touch, args.stay, interrupt)),
        }
    })?;
    value.ok_or_else(Failure::interrupted)
}

/// Starts the board, or says that it waits.
fn leave(
    board: &mut Board,
    chip: Option<&'static Chip>,
    stay: bool,
    shell: &mut Shell,
) -> Result<(), Failure> {
    match chip {
        Some(chip) if !stay => flashing::start(board, chip, None, shell).map(|_| ()),
        _ => {
            shell.status("The board waits in download mode");
            Ok(())
        }
    }
}

/// Leaves the board as it is right for what was broken off.
fn broken_off(
    board: &mut Board,
    error: FlashError,
    touch: Touch,
    stay: bool,
    interrupt: &Interrupt,
) -> Failure {
    let class = error.class();
    let failure = Failure::from(error);
    if class == ErrorClass::Lost {
        return failure;
    }
    // The port refuses to work once it is told to stop, and the board is to be left in order.
    interrupt.let_ports_work();
    let port = board.port.as_mut();
    let refused = matches!(class, ErrorClass::Plan | ErrorClass::Security);
    if !stay && (touch == Touch::Reads || refused) {
        // The error that is told is the first one.
        let _ = reset_to_run(port, FIRST_BAUD);
        return failure;
    }
    let _ = port.set_lines(false, false);
    match class {
        ErrorClass::Interrupted => {
            failure.hint("the board waits in download mode, and what was begun is not done")
        }
        _ => failure,
    }
}
