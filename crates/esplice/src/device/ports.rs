//! Selects and opens ports by name.

use esplice_chip::Chip;
use esplice_flash::{RFC2217_SCHEME, Strategy, TCP_SCHEMES, open_rfc2217, open_serial, open_tcp};
use esplice_protocol::Port;
use esplice_sim::{
    Cable, RomImage, SimError, SimPort,
    fault_plan::FaultPlan,
    port::FaultLog,
    spec::{Spec, SpecError},
};

use crate::{
    config::{
        port_name::{SCHEMES, SIM},
        project::Project,
    },
    device::{choice, flashing, port_trouble},
    ui::{
        exit::{Exit, Failure},
        interrupt::Interrupt,
        shell::Shell,
    },
};

/// Initial baud rate of a port: that of the ROM's messages on all chips.
pub const FIRST_BAUD: u32 = 115_200;

/// An open port, and the reset strategies that fit it.
pub struct Board {
    pub port: Box<dyn Port + Send>,
    pub strategies: Vec<Strategy>,
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
    if !SCHEMES.iter().any(|scheme| name.starts_with(scheme)) {
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
    let mut board = open_named(name, chip, interrupt)?;
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
        words => choice::choose(words, &project.port_aliases, shell, interrupt),
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
    interrupt: &Interrupt,
) -> Result<Board, Failure> {
    if name.starts_with(RFC2217_SCHEME) {
        let port = open_rfc2217(name, FIRST_BAUD, interrupt.flag())?;
        let strategies = Strategy::for_chip(chip, None)?;
        return Ok(Board { port: Box::new(port), strategies, faults: None });
    }
    if TCP_SCHEMES.iter().any(|scheme| name.starts_with(scheme)) {
        let port = open_tcp(name, interrupt.flag())?;
        return Ok(Board { port: Box::new(port), strategies: Vec::new(), faults: None });
    }
    if name.starts_with(SIM) {
        let port = open_sim(name, interrupt)?;
        let strategies = Strategy::for_chip(chip, usb_id(&spec(name)?))?;
        let faults = Some(port.fault_log());
        return Ok(Board { port: Box::new(port), strategies, faults });
    }
    let port = open_serial(name, FIRST_BAUD, interrupt.flag())
        .map_err(|error| port_trouble::explained(name, error))?;
    let strategies = Strategy::for_chip(chip, port.usb_id())?;
    Ok(Board { port: Box::new(port), strategies, faults: None })
}

/// Detects the chip at the port, for firmware that does not name its chip. A board that had to be
/// opened for this stays open in `opened`.
pub fn chip(
    project: &Project,
    opened: &mut Option<Board>,
    shell: &mut Shell,
    interrupt: &Interrupt,
) -> Result<&'static Chip, Failure> {
    if let Some(port) = &project.port
        && port.value.starts_with(SIM)
    {
        return Ok(spec(&port.value)?.chip);
    }
    let board = opened.insert(open(project, None, shell, interrupt)?);
    flashing::chip(board, shell)
}

fn open_sim(name: &str, interrupt: &Interrupt) -> Result<SimPort, Failure> {
    // Parsed again by `open`, which cannot return a hint or an exit code.
    let parsed = spec(name)?;
    if let Some(path) = &parsed.rom {
        RomImage::open(path, parsed.chip)?;
    }
    if let Some(path) = &parsed.faults {
        FaultPlan::open(path).map_err(SimError::from)?;
    }
    let mut port = SimPort::open(name)?;
    port.set_interrupt(interrupt.flag());
    Ok(port)
}

fn spec(name: &str) -> Result<Spec, Failure> {
    Spec::parse(name).map_err(|error| {
        let exit = match &error {
            SpecError::NoBoard { .. } => Exit::Port,
            _ => Exit::Usage,
        };
        let failure = Failure::new(exit, format!("port {name:?}: {error}"));
        Failure { hint: error.hint(), ..failure }
    })
}

/// Returns the USB ids that a real board connected this way would show, if they are the chip's own.
fn usb_id(spec: &Spec) -> Option<(u16, u16)> {
    let id = spec.chip.reset.usb_serial_jtag_id.filter(|_| spec.line == Cable::Usb)?;
    Some((id.vid, id.pid))
}
