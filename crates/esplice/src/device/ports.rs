//! Selects and opens ports by name.

use std::sync::Arc;

use esplice_chip::{Chip, ChipDb};
use esplice_flash::Strategy;
use esplice_port::{OpenError, Options, PortKind, ROM_BAUD, chip_in_name};
use esplice_protocol::Port;
use esplice_sim::{SharedBoard, port::FaultLog};

use crate::{
    config::project::Project,
    device::{choice, flashing, port_trouble},
    ui::{exit::Failure, interrupt::Interrupt, shell::Shell},
};

/// Initial baud rate of a port: that of the ROM's messages on all chips.
pub const FIRST_BAUD: u32 = ROM_BAUD;

/// An open port, and the reset strategies that fit it.
pub struct Board {
    pub port: Box<dyn Port + Send>,
    pub strategies: Vec<Strategy>,
    /// The known chips.
    pub chips: ChipDb,
    /// The board itself, for a virtual board.
    pub shared: Option<SharedBoard>,
    /// The log of planned faults, for a virtual board.
    faults: Option<FaultLog>,
}

impl Board {
    /// Does `work` and records how much of the port's time has passed, even if it fails.
    pub fn in_numbers(
        &mut self,
        shell: &mut Shell,
        work: impl FnOnce(&mut Board, &mut Shell) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let result = work(self, shell);
        for struck in self.faults.iter().flat_map(FaultLog::take) {
            shell.warning(&struck.to_string());
        }
        shell.summary.seconds = Some(self.port.now().since_start().as_secs_f64());
        result
    }
}

/// Opens the port that the settings name, or the only likely one.
pub fn open(
    project: &Project,
    chip: Option<&Chip>,
    shell: &mut Shell,
    interrupt: &Interrupt,
) -> Result<Board, Failure> {
    let name = name(project, shell, interrupt)?;
    open_with_settings(&name, project, chip, interrupt)
}

/// Like [`open`], for a board that must keep running, even after the port is closed.
///
/// Linux and macOS assert DTR and RTS when they open a serial port, which holds neither pin on the
/// usual boards, and drop both when they close it. Dropping them can be disabled beforehand.
pub fn open_untouched(
    project: &Project,
    chip: Option<&Chip>,
    shell: &mut Shell,
    interrupt: &Interrupt,
) -> Result<Board, Failure> {
    let name = name(project, shell, interrupt)?;
    if PortKind::of(&name) == PortKind::Serial {
        keep_lines(&name);
    }
    open_with_settings(&name, project, chip, interrupt)
}

fn open_with_settings(
    name: &str,
    project: &Project,
    chip: Option<&Chip>,
    interrupt: &Interrupt,
) -> Result<Board, Failure> {
    let mut board = open_named(name, chip, &project.chips, interrupt)?;
    if let Some(strategies) = &project.flash.reset {
        board.strategies = strategies.clone();
    }
    Ok(board)
}

/// Returns the name of the port in the settings, or of the only likely one.
fn name(project: &Project, shell: &mut Shell, interrupt: &Interrupt) -> Result<String, Failure> {
    let words = project.port.as_ref().map(|port| port.value.as_str());
    match words {
        Some(name) if choice::is_complete(name) => Ok(name.to_owned()),
        words => choice::choose(words, project, shell, interrupt),
    }
}

/// Tells the system to leave the lines of the serial port `name` unchanged when it is closed
/// (termios, `HUPCL`). Errors are ignored: opening the port reports them better.
#[cfg(unix)]
fn keep_lines(name: &str) {
    use std::os::unix::fs::OpenOptionsExt as _;

    use nix::{
        fcntl::OFlag,
        sys::termios::{ControlFlags, SetArg, tcgetattr, tcsetattr},
    };
    // Prevents the port from becoming the controlling terminal, and waiting for a carrier.
    let flags = (OFlag::O_NOCTTY | OFlag::O_NONBLOCK).bits();
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(name);
    let Ok(file) = file else { return };
    let Ok(mut mode) = tcgetattr(&file) else { return };
    mode.control_flags.remove(ControlFlags::HUPCL);
    // Best effort: a failure has no consequence here.
    let _ = tcsetattr(&file, SetArg::TCSANOW, &mode);
}

#[cfg(not(unix))]
fn keep_lines(_name: &str) {}

/// Opens the port called `name`.
pub fn open_named(
    name: &str,
    chip: Option<&Chip>,
    chips: &ChipDb,
    interrupt: &Interrupt,
) -> Result<Board, Failure> {
    let options = Options::default().baud(FIRST_BAUD).stop(interrupt.flag()).chips(chips.clone());
    let open = esplice_port::open(name, &options).map_err(|error| match error {
        OpenError::Port(error) => port_trouble::explained(name, error),
        error => error.into(),
    })?;
    let strategies = open.strategies(chip)?;
    let (shared, faults) = (open.board, open.faults);
    Ok(Board { port: open.port, strategies, chips: options.chips, shared, faults })
}

/// Detects the chip at the port, for firmware that does not name its chip. A board that had to be
/// opened for this stays open in `opened`.
pub fn chip(
    project: &Project,
    opened: &mut Option<Board>,
    shell: &mut Shell,
    interrupt: &Interrupt,
) -> Result<Arc<Chip>, Failure> {
    if let Some(port) = &project.port
        && let Some(chip) = chip_in_name(&port.value, &project.chips)?
    {
        return Ok(chip);
    }
    let board = opened.insert(open(project, None, shell, interrupt)?);
    flashing::chip(board, shell)
}
