//! The serial line to a virtual board, as a [`Port`] like any other.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use esplice_protocol::{Caps, Moment, Port, PortError};

use crate::{
    Board, Gone, RomImage, SimError,
    fault_plan::{FaultPlan, Struck},
    nor::{Nor, NorError, is_no_file},
    spec::{self, SCHEME, Spec, SpecError, TimeMode},
};

/// Baud rate of a port that was just opened.
const FIRST_BAUD: u32 = 115_200;
/// Board time between two looks at the interrupt flag and, in real time, at the host's clock.
const SLICE: Duration = Duration::from_millis(10);
/// Bytes that are handed to the line before the port waits for them to leave.
const WRITE_PIECE: usize = 4096;

/// What a port needs of the board at the other end of its line.
pub trait Powered: Send {
    /// The board's clock since power-on.
    fn now(&self) -> Duration;
    /// Runs until `deadline` on the board's clock or, if told so, until there is output to read.
    fn run_to(&mut self, deadline: Duration, stop_on_output: bool) -> Result<(), SimError>;
    /// Sets DTR and RTS; `true` is asserted.
    fn set_lines(&mut self, dtr: bool, rts: bool);
    /// Puts bytes on the line; gives the moment when the last has arrived.
    fn host_send(&mut self, bytes: &[u8], baud: u32) -> Duration;
    /// Takes bytes that have arrived at the host by now.
    fn host_take(&mut self, baud: u32, buf: &mut [u8]) -> usize;
    /// Throws away what has arrived and was not taken.
    fn host_clear(&mut self);
    /// What went wrong as planned since this was last asked.
    fn take_struck(&mut self) -> Vec<Struck> {
        Vec::new()
    }
    /// Whether the port has gone since this was last asked.
    fn take_gone(&mut self) -> Option<Gone> {
        None
    }
}

/// The time outside of the board, which a port in real time keeps to.
pub trait Outside: Send {
    /// Time since the port was opened.
    fn now(&self) -> Duration;
    /// Waits for so long.
    fn wait(&mut self, time: Duration);
}

/// A serial line to a virtual board. The board is switched on when the port is opened and runs
/// whenever the port is waited on.
pub struct SimPort {
    name: String,
    board: Box<dyn Powered>,
    time: TimeMode,
    baud: u32,
    /// When all that was written has arrived.
    sent_at: Duration,
    interrupt: Arc<AtomicBool>,
    /// In real time only.
    outside: Option<Box<dyn Outside>>,
    gone: bool,
    /// When a port that is gone is there again.
    back_at: Option<Duration>,
    faults: FaultLog,
}

/// What went wrong on a port as planned; all clones are the same log.
#[derive(Debug, Clone, Default)]
pub struct FaultLog(Arc<Mutex<Vec<Struck>>>);

impl FaultLog {
    /// What is in it that was not taken before, in order.
    pub fn take(&self) -> Vec<Struck> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, struck: Vec<Struck>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(struck);
    }
}

impl SimPort {
    /// Switches on the board that `spec` describes: `sim:esp32c3,flash=board.flash,time=virtual`
    /// (see [`Spec`]).
    ///
    /// # Errors
    /// [`PortError::Name`] for a name that describes no board or a file that is none, [`PortError::Busy`] when another
    /// board has the flash file, [`PortError::Io`] for what the system refuses.
    pub fn open(spec: &str) -> Result<SimPort, PortError> {
        SimPort::open_with(spec, |_| {})
    }

    /// [`SimPort::open`], with `prepare` on the flash chip before the power comes: to put
    /// something there, or to have the power cut later ([`Nor::cut_power_after`]).
    ///
    /// # Errors
    /// As [`SimPort::open`].
    pub fn open_with(spec: &str, prepare: impl FnOnce(&mut Nor)) -> Result<SimPort, PortError> {
        let parsed = spec_of(spec)?;
        let mut nor = flash_of(spec, &parsed)?;
        prepare(&mut nor);
        let refused = |error| port_error(spec, error);
        let mut board = Board::with_flash(parsed.chip, nor, parsed.time).map_err(refused)?;
        if let Some(path) = &parsed.rom {
            board = board.with_rom(&RomImage::open(path, parsed.chip).map_err(refused)?);
        }
        board.plug(parsed.line);
        board.set_bridge(parsed.bridge);
        parsed.burns.iter().for_each(|burn| board.burn(burn));
        if let Some(path) = &parsed.faults {
            let plan = FaultPlan::open(path).map_err(SimError::from).map_err(refused)?;
            board.set_faults(&plan).map_err(SimError::from).map_err(refused)?;
        }
        Ok(SimPort::over(spec, Box::new(board), parsed.time))
    }

    /// The port of a board made elsewhere, called `name` in messages. With [`TimeMode::Real`] the
    /// port keeps to the host's clock from now on.
    pub fn over(name: &str, board: Box<dyn Powered>, time: TimeMode) -> SimPort {
        let host = || Box::new(Host { started: host_now() }) as Box<dyn Outside>;
        let outside = (time == TimeMode::Real).then(host);
        SimPort { time, ..SimPort::paced(name, board, outside) }
    }

    /// [`SimPort::over`] that keeps to `outside`, if there is one.
    pub fn paced(
        name: &str,
        board: Box<dyn Powered>,
        outside: Option<Box<dyn Outside>>,
    ) -> SimPort {
        SimPort {
            name: name.into(),
            sent_at: board.now(),
            time: if outside.is_some() { TimeMode::Real } else { TimeMode::default() },
            outside,
            board,
            baud: FIRST_BAUD,
            interrupt: Arc::default(),
            gone: false,
            back_at: None,
            faults: FaultLog::default(),
        }
    }

    /// Waiting ends with [`PortError::Interrupted`] soon after `interrupt` has become `true`.
    pub fn set_interrupt(&mut self, interrupt: Arc<AtomicBool>) {
        self.interrupt = interrupt;
    }

    /// What goes wrong on this port as planned, as it happens.
    pub fn fault_log(&self) -> FaultLog {
        self.faults.clone()
    }

    /// Takes over what the plan of faults has done.
    fn look(&mut self) {
        self.faults.add(self.board.take_struck());
        if let Some(gone) = self.board.take_gone() {
            self.gone = true;
            self.back_at = gone.back_after.map(|after| self.board.now().saturating_add(after));
        }
    }

    /// What takes time on the board.
    pub fn time(&self) -> TimeMode {
        self.time
    }

    /// Runs the board for a slice at most, towards `deadline`.
    fn run(&mut self, deadline: Duration, stop_on_output: bool) -> Result<(), PortError> {
        self.check()?;
        let slice_end = self.board.now().saturating_add(SLICE).min(deadline);
        let ran = self.board.run_to(slice_end, stop_on_output);
        self.look();
        ran.map_err(|error| self.failed(error))?;
        if let Some(outside) = &mut self.outside {
            let ahead = self.board.now().saturating_sub(outside.now());
            if !ahead.is_zero() {
                outside.wait(ahead);
            }
        }
        Ok(())
    }

    fn run_to(&mut self, deadline: Duration) -> Result<(), PortError> {
        self.check()?;
        while self.board.now() < deadline {
            self.run(deadline, false)?;
        }
        Ok(())
    }

    /// Lets the board make up for what the host did between two calls; in real time only.
    fn catch_up(&mut self) -> Result<(), PortError> {
        match &self.outside {
            Some(outside) => self.run_to(outside.now()),
            None => self.check(),
        }
    }

    fn check(&self) -> Result<(), PortError> {
        if self.gone {
            return Err(PortError::Gone { port: self.name.clone() });
        }
        if self.interrupt.load(Ordering::Relaxed) {
            return Err(PortError::Interrupted);
        }
        Ok(())
    }

    /// Without power nothing comes back; anything else is the board's to mend or to tell again.
    fn failed(&mut self, error: SimError) -> PortError {
        let error = port_error(&self.name, error);
        self.gone |= matches!(error, PortError::Gone { .. });
        error
    }
}

/// The flash chip that `spec` describes; its file is locked from here on.
fn flash_of(name: &str, spec: &Spec) -> Result<Nor, PortError> {
    let Some(sim) = &spec.chip.sim else {
        let chip = spec.chip.display_name.clone();
        return Err(port_error(name, SimError::NoBoard { chip }));
    };
    let timing = if spec.worst_flash { sim.flash.at_worst() } else { sim.flash.clone() };
    match &spec.flash {
        None => Ok(Nor::in_memory(spec.flash_size, &timing)),
        Some(path) => {
            Nor::open(path, spec.flash_size, &timing).map_err(|error| port_error(name, error))
        }
    }
}

/// The board that a port's name describes.
fn spec_of(name: &str) -> Result<Spec, PortError> {
    Spec::parse(name).map_err(|error| {
        if let SpecError::NoBoard { chip } = error {
            return port_error(name, SimError::NoBoard { chip });
        }
        let message = match error.hint() {
            Some(hint) => format!("{error}; {hint}"),
            None => error.to_string(),
        };
        PortError::Name { port: name.into(), message }
    })
}

/// What a failure of the board is to the one who holds its port.
fn port_error(name: &str, error: SimError) -> PortError {
    match error {
        SimError::FlashBusy { path } => {
            PortError::Busy { port: format!("{name} (flash file {})", path.display()) }
        }
        SimError::FlashFailed(cause) => match &*cause {
            NorError::NoPower => PortError::Gone { port: name.into() },
            NorError::File { source, .. } => PortError::Io {
                port: name.into(),
                source: io::Error::new(source.kind(), cause.to_string()),
            },
            NorError::OutOfRange { .. } | NorError::Reset => {
                other(name, &SimError::FlashFailed(cause))
            }
        },
        SimError::FlashFile { ref source, .. } if is_no_file(source) => {
            PortError::Name { port: name.into(), message: error.to_string() }
        }
        SimError::FlashFile { ref source, .. } | SimError::RomFile { ref source, .. } => {
            PortError::Io {
                port: name.into(),
                source: io::Error::new(source.kind(), error.to_string()),
            }
        }
        SimError::FlashSize { .. }
        | SimError::RomNoElf { .. }
        | SimError::RomMachine { .. }
        | SimError::RomNoCode { .. }
        | SimError::RomPlace { .. }
        | SimError::RomDiffers { .. } => {
            let hint = error.hint().unwrap_or_default();
            PortError::Name { port: name.into(), message: format!("{error}; {hint}") }
        }
        SimError::NoBoard { chip } => {
            let hint = spec::boards_hint();
            PortError::NoVirtualBoard { port: name.into(), chip, hint }
        }
        error if error.is_not_modelled() => PortError::NotModelled {
            port: name.into(),
            message: error.to_string(),
            hint: match name.starts_with(SCHEME) {
                true => format!(
                    "let the board execute the chip's own mask ROM, which has every function: \
                     --port {name},rom=FILE"
                ),
                false => error.hint().unwrap_or_default(),
            },
        },
        error => other(name, &error),
    }
}

/// What the port itself has nothing to do with; the hint is all that tells the user what it means.
fn other(name: &str, error: &SimError) -> PortError {
    let message = match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    };
    PortError::Io { port: name.into(), source: io::Error::other(message) }
}

impl Port for SimPort {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&mut self, buf: &mut [u8], deadline: Moment) -> Result<usize, PortError> {
        self.catch_up()?;
        loop {
            let taken = self.board.host_take(self.baud, buf);
            self.look();
            if taken > 0 || buf.is_empty() || self.now() >= deadline {
                return Ok(taken);
            }
            self.run(deadline.since_start(), true)?;
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), PortError> {
        self.catch_up()?;
        for (at, piece) in bytes.chunks(WRITE_PIECE).enumerate() {
            if at > 0 {
                self.run_to(self.sent_at)?;
            }
            self.sent_at = self.board.host_send(piece, self.baud);
            self.look();
            self.check()?;
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<(), PortError> {
        self.run_to(self.sent_at)
    }

    fn clear_input(&mut self) -> Result<(), PortError> {
        self.catch_up()?;
        self.board.host_clear();
        Ok(())
    }

    fn set_baud(&mut self, baud: u32) -> Result<(), PortError> {
        if baud == 0 {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "a baud rate of 0");
            return Err(PortError::Io { port: self.name.clone(), source });
        }
        self.drain()?;
        self.baud = baud;
        Ok(())
    }

    fn set_lines(&mut self, dtr: bool, rts: bool) -> Result<(), PortError> {
        self.catch_up()?;
        self.board.set_lines(dtr, rts);
        Ok(())
    }

    fn now(&self) -> Moment {
        Moment::at(self.board.now())
    }

    fn wait_until(&mut self, moment: Moment) -> Result<(), PortError> {
        self.run_to(moment.since_start())
    }

    /// The board stays on its line: nothing is lost. Where the port is gone and comes back, that is
    /// waited for.
    fn reopen(&mut self) -> Result<(), PortError> {
        if let (true, Some(back_at)) = (self.gone, self.back_at) {
            self.gone = false;
            self.run_to(back_at)?;
            self.board.host_clear();
        }
        self.catch_up()
    }

    fn caps(&self) -> Caps {
        Caps { lines: true, baud: true, latency: Duration::ZERO }
    }
}

/// The host's clock.
struct Host {
    started: Instant,
}

impl Outside for Host {
    fn now(&self) -> Duration {
        host_now().saturating_duration_since(self.started)
    }

    #[allow(clippy::disallowed_methods)] // `time=real` is where the board's clock meets the host's.
    fn wait(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}

#[allow(clippy::disallowed_methods)] // As above.
fn host_now() -> Instant {
    Instant::now()
}
