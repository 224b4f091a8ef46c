//! The serial line to a virtual board as a [`Port`] like any other.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use esplice_chip::ChipDb;
use esplice_protocol::{Caps, Moment, Port, PortError};

use crate::{
    Board, PortLoss, RomImage, SharedBoard, SimError,
    fault_plan::{FaultEvent, FaultPlan},
    nor::{Nor, NorError, is_invalid_file_name},
    parts::{Circuit, PartsError, Voltages},
    spec::{self, SCHEME, Spec, SpecError, TimeMode},
    uart_tcp::{PeerError, TcpPeer},
};

/// Baud rate of a newly opened port.
const FIRST_BAUD: u32 = 115_200;
/// Board time between two checks of the interrupt flag and, in real time, of the host's clock.
const SLICE: Duration = Duration::from_millis(10);
/// Most bytes put on the line before the port waits for them to leave.
const WRITE_PIECE: usize = 4096;

/// The board at the other end of a port's line.
pub trait SerialEnd: Send {
    /// Returns the board's clock since power-on.
    fn now(&self) -> Duration;
    /// Runs until `deadline` on the board's clock or, with `stop_on_output`, until there is output
    /// to read.
    fn run_to(&mut self, deadline: Duration, stop_on_output: bool) -> Result<(), SimError>;
    /// Sets DTR and RTS; `true` means asserted.
    fn set_lines(&mut self, dtr: bool, rts: bool);
    /// Puts bytes on the line and returns the time at which the last one has arrived.
    fn host_send(&mut self, bytes: &[u8], baud: u32) -> Duration;
    /// Takes bytes that have arrived at the host by now.
    fn host_take(&mut self, baud: u32, buf: &mut [u8]) -> usize;
    /// Discards bytes that have arrived and were not taken.
    fn host_clear(&mut self);
    /// Returns the planned faults that happened since the last call.
    fn take_fault_events(&mut self) -> Vec<FaultEvent> {
        Vec::new()
    }
    /// Returns how the port has gone, if that happened since the last call.
    fn take_port_loss(&mut self) -> Option<PortLoss> {
        None
    }
}

/// The time outside the board, which a port in real time follows.
pub trait HostClock: Send {
    /// Returns the time since the port was opened.
    fn now(&self) -> Duration;
    /// Waits for `time`.
    fn wait(&mut self, time: Duration);
}

/// A serial line to a virtual board. Opening the port switches the board on. The board runs while a
/// caller waits on the port.
pub struct SimPort {
    name: String,
    board: Box<dyn SerialEnd>,
    time: TimeMode,
    baud: u32,
    /// Time at which everything written has arrived.
    sent_at: Duration,
    interrupt: Arc<AtomicBool>,
    /// Set only in real time.
    clock: Option<Box<dyn HostClock>>,
    gone: bool,
    /// Time at which a port that has gone is back.
    back_at: Option<Duration>,
    faults: FaultLog,
    /// The board, if the port was opened by name.
    shared: Option<SharedBoard>,
}

/// A log of the planned faults that happened on a port. All clones share one log.
#[derive(Debug, Clone, Default)]
pub struct FaultLog(Arc<Mutex<Vec<FaultEvent>>>);

impl FaultLog {
    /// Returns the entries that were not taken before, in order.
    pub fn take(&self) -> Vec<FaultEvent> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, struck: Vec<FaultEvent>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(struck);
    }
}

impl SimPort {
    /// Switches on the board that `spec` describes: `sim:esp32c3,flash=board.flash,time=virtual`
    /// (see [`Spec`]). Only embedded chips and boards are known; for others there is
    /// [`SimPort::of_spec`].
    ///
    /// # Errors
    /// [`PortError::Name`] for a name that describes no board or for an invalid file,
    /// [`PortError::Busy`] if another board uses the flash file, [`PortError::Host`] and
    /// [`PortError::Unreachable`] if no program listens where the second UART shall be connected,
    /// [`PortError::Io`] if the system refuses.
    pub fn open(spec: &str) -> Result<SimPort, PortError> {
        SimPort::open_with(spec, |_| {})
    }

    /// Opens a port like [`SimPort::open`], but runs `prepare` on the flash chip before power-on,
    /// for example to write to the flash or to schedule a power cut ([`Nor::cut_power_after`]).
    ///
    /// # Errors
    /// Same as [`SimPort::open`].
    pub fn open_with(spec: &str, prepare: impl FnOnce(&mut Nor)) -> Result<SimPort, PortError> {
        SimPort::of_spec(spec, &spec_of(spec)?, prepare)
    }

    /// Switches on the board of `spec`, like [`SimPort::open_with`]. The port is called `name` in
    /// messages.
    ///
    /// # Errors
    /// Same as [`SimPort::open`].
    pub fn of_spec(
        name: &str,
        spec: &Spec,
        prepare: impl FnOnce(&mut Nor),
    ) -> Result<SimPort, PortError> {
        let mut nor = flash_of(name, spec)?;
        prepare(&mut nor);
        let refused = |error| port_error(name, error);
        let mut board = Board::with_flash(&spec.chip, nor, spec.time).map_err(refused)?;
        if let Some(path) = &spec.rom {
            board = board.with_rom(&RomImage::open(path, &spec.chip).map_err(refused)?);
        }
        board.plug(spec.line);
        board.set_bridge(spec.bridge);
        spec.burns.iter().for_each(|burn| board.burn(burn));
        if let Some(path) = &spec.faults {
            let plan = FaultPlan::open(path).map_err(SimError::from).map_err(refused)?;
            board.set_faults(&plan).map_err(SimError::from).map_err(refused)?;
        }
        if let Some(path) = &spec.i2c {
            let circuit = Circuit::open(path).map_err(SimError::from).map_err(refused)?;
            board.attach_circuit(&circuit).map_err(SimError::from).map_err(refused)?;
        }
        if let Some(path) = &spec.adc {
            let voltages = Voltages::open(path).map_err(SimError::from).map_err(refused)?;
            board.attach_voltages(&voltages).map_err(SimError::from).map_err(refused)?;
        }
        let peer = spec.uart1.as_ref().map(|addr| {
            // In real time the port itself follows the host's clock.
            TcpPeer::connect(&mut board, 1, addr, spec.time != TimeMode::Real)
        });
        let peer = peer.transpose().map_err(|error| peer_error(name, error))?;
        let shared = SharedBoard::new(board);
        if let Some(peer) = peer {
            shared.attach_peer(peer);
        }
        let port = SimPort::from_board(name, Box::new(shared.clone()), spec.time);
        Ok(SimPort { shared: Some(shared), ..port })
    }

    /// Returns a port, called `name` in messages, to an existing board. With [`TimeMode::Real`] the
    /// port follows the host's clock from now on.
    pub fn from_board(name: &str, board: Box<dyn SerialEnd>, time: TimeMode) -> SimPort {
        let clock = (time == TimeMode::Real).then(host_clock);
        SimPort { time, ..SimPort::with_clock(name, board, clock) }
    }

    /// Returns a port like [`SimPort::from_board`] that follows `clock`, if given.
    pub fn with_clock(
        name: &str,
        board: Box<dyn SerialEnd>,
        clock: Option<Box<dyn HostClock>>,
    ) -> SimPort {
        SimPort {
            name: name.into(),
            sent_at: board.now(),
            time: if clock.is_some() { TimeMode::Real } else { TimeMode::default() },
            clock,
            board,
            baud: FIRST_BAUD,
            interrupt: Arc::default(),
            gone: false,
            back_at: None,
            faults: FaultLog::default(),
            shared: None,
        }
    }

    /// Returns the board of a port that was opened by name, for its pins and its memory. For a
    /// board of your own, keep a clone of the [`SharedBoard`] that you pass to
    /// [`SimPort::from_board`].
    pub fn board(&self) -> Option<SharedBoard> {
        self.shared.clone()
    }

    /// Sets a flag that ends waits: soon after `interrupt` becomes `true` they return
    /// [`PortError::Interrupted`].
    pub fn set_interrupt(&mut self, interrupt: Arc<AtomicBool>) {
        self.interrupt = interrupt;
    }

    /// Returns the log of planned faults that happen on this port.
    pub fn fault_log(&self) -> FaultLog {
        self.faults.clone()
    }

    /// Collects what the fault plan has done.
    fn collect_faults(&mut self) {
        self.faults.add(self.board.take_fault_events());
        if let Some(gone) = self.board.take_port_loss() {
            self.gone = true;
            self.back_at = gone.back_after.map(|after| self.board.now().saturating_add(after));
        }
    }

    /// Returns which operations take time on the board.
    pub fn time(&self) -> TimeMode {
        self.time
    }

    /// Runs the board for at most one slice towards `deadline`.
    fn run(&mut self, deadline: Duration, stop_on_output: bool) -> Result<(), PortError> {
        self.check()?;
        let slice_end = self.board.now().saturating_add(SLICE).min(deadline);
        let ran = self.board.run_to(slice_end, stop_on_output);
        self.collect_faults();
        ran.map_err(|error| self.failed(error))?;
        if let Some(clock) = &mut self.clock {
            let ahead = self.board.now().saturating_sub(clock.now());
            if !ahead.is_zero() {
                clock.wait(ahead);
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

    /// Runs the board for the time the host spent between two calls; in real time only.
    fn catch_up(&mut self) -> Result<(), PortError> {
        match &self.clock {
            Some(clock) => self.run_to(clock.now()),
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

    /// Converts the error. Without power the port has gone; other errors may pass or are reported
    /// again by the board.
    fn failed(&mut self, error: SimError) -> PortError {
        let error = port_error(&self.name, error);
        self.gone |= matches!(error, PortError::Gone { .. });
        error
    }
}

/// Returns the flash chip that `spec` describes. Its file is locked from here on.
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

/// Parses the board description in a port's name.
fn spec_of(name: &str) -> Result<Spec, PortError> {
    Spec::parse(name, ChipDb::embedded()).map_err(|error| {
        if let SpecError::NoBoard { chip, .. } = error {
            return port_error(name, SimError::NoBoard { chip });
        }
        let message = match error.hint() {
            Some(hint) => format!("{error}; {hint}"),
            None => error.to_string(),
        };
        PortError::Name { port: name.into(), message }
    })
}

/// Converts an error of the board to an error of its port.
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
                io_error(name, &SimError::FlashFailed(cause))
            }
        },
        SimError::PartFailed(ref cause) => {
            let kind = match &**cause {
                PartsError::Contents { source, .. } => source.kind(),
                _ => io::ErrorKind::Other,
            };
            PortError::Io { port: name.into(), source: io::Error::new(kind, error.to_string()) }
        }
        SimError::FlashFile { ref source, .. } if is_invalid_file_name(source) => {
            PortError::Name { port: name.into(), message: error.to_string() }
        }
        SimError::FlashFile { ref source, .. } | SimError::RomFile { ref source, .. } => {
            PortError::Io {
                port: name.into(),
                source: io::Error::new(source.kind(), error.to_string()),
            }
        }
        SimError::FlashSize { .. }
        | SimError::RomNotElf { .. }
        | SimError::RomMachine { .. }
        | SimError::RomNoCode { .. }
        | SimError::RomPlace { .. }
        | SimError::Parts(_)
        | SimError::RomDiffers { .. } => {
            let hint = error.hint().unwrap_or_default();
            PortError::Name { port: name.into(), message: format!("{error}; {hint}") }
        }
        SimError::NoBoard { chip } => {
            let hint = spec::embedded_hint();
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
        error => io_error(name, &error),
    }
}

/// Converts an error of a UART's cable to an error of the port.
fn peer_error(name: &str, error: PeerError) -> PortError {
    let port = name.into();
    match error {
        PeerError::Host { host, source, .. } => PortError::Host { port, host, source },
        PeerError::Unreachable { addr, source, .. } => {
            PortError::Unreachable { port, addr, source }
        }
        PeerError::NoUart { .. } => PortError::Name { port, message: error.to_string() },
    }
}

/// Returns an error that is not the port's own. The message includes the hint, which is its only
/// explanation for the user.
fn io_error(name: &str, error: &SimError) -> PortError {
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
            self.collect_faults();
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
            self.collect_faults();
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

    /// Opens the port again. The board stays on its line, so nothing is lost. A port that has gone
    /// and will be back is waited for.
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

/// Returns the host's clock, from now on.
pub fn host_clock() -> Box<dyn HostClock> {
    Box::new(SystemClock { started: host_now() })
}

/// The host's clock.
struct SystemClock {
    started: Instant,
}

impl HostClock for SystemClock {
    fn now(&self) -> Duration {
        host_now().saturating_duration_since(self.started)
    }

    #[allow(clippy::disallowed_methods)] // `time=real` ties the board's clock to the host's.
    fn wait(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}

#[allow(clippy::disallowed_methods)] // As above.
fn host_now() -> Instant {
    Instant::now()
}
