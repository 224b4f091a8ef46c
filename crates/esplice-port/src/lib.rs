//! Opens a port by its name, as `esplice --port` does.
//!
//! | name | port |
//! |------|------|
//! | `/dev/ttyUSB0`, `COM3` | a serial port of this machine |
//! | `rfc2217://host:port` | a serial port of another machine, with baud rate and reset lines |
//! | `tcp://host:port`, `socket://host:port` | the bytes of a serial port of another machine |
//! | `sim:esp32c3` | a virtual board, see [`Spec`] |
//!
//! [`open`] returns an [`OpenPort`] with what is known about the connection. This crate does not
//! search for ports: that is [`esplice_flash::list_ports`] and [`esplice_flash::match_port`].
//!
//! ```
//! use esplice_port::{Options, PortKind, open};
//!
//! let open = open("sim:esp32c3", &Options::default())?;
//! assert_eq!(open.kind, PortKind::Virtual);
//! let connect = esplice_flash::ConnectOptions::default().strategies(open.strategies(None)?);
//! let options = esplice_flash::FlashOptions::default().connect(connect);
//! let mut port = open.port;
//! let info = esplice_flash::detect(port.as_mut(), &options, &mut |_| {})?;
//! assert_eq!(info.chip.name, "esp32c3");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;

use std::{
    fmt,
    sync::{Arc, atomic::AtomicBool},
};

use derive_setters::Setters;
use esplice_chip::{Chip, ChipDb};
use esplice_flash::{
    FlashError, RFC2217_SCHEME, Strategy, TCP_SCHEMES, open_rfc2217, open_serial, open_tcp,
};
use esplice_protocol::Port;
use esplice_sim::{
    Cable, RomImage, SharedBoard, SimError, SimPort,
    fault_plan::FaultPlan,
    parts::{Circuit, Voltages},
    port::FaultLog,
    spec::{SCHEME as SIM_SCHEME, Spec},
};

pub use error::OpenError;

/// Baud rate of the ROM's messages on all chips.
pub const ROM_BAUD: u32 = 115_200;

/// Options for opening a port.
#[derive(Debug, Clone, Setters)]
#[non_exhaustive]
pub struct Options {
    /// Initial baud rate of a serial port, local or remote. By default that of the ROM's messages,
    /// [`ROM_BAUD`].
    pub baud: u32,
    /// A flag that ends waits: soon after it becomes `true`, they return
    /// [`PortError::Interrupted`](esplice_protocol::PortError::Interrupted).
    pub stop: Arc<AtomicBool>,
    /// The chips and boards that a virtual board may have, and whose reset strategies are used.
    pub chips: ChipDb,
}

impl Default for Options {
    fn default() -> Options {
        Options { baud: ROM_BAUD, stop: Arc::default(), chips: ChipDb::default() }
    }
}

/// The kind of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortKind {
    /// A serial port of this machine.
    Serial,
    /// A serial port of another machine, with baud rate and reset lines (RFC 2217).
    Rfc2217,
    /// A TCP connection that carries only bytes.
    Tcp,
    /// A virtual board.
    Virtual,
}

impl PortKind {
    /// Returns the kind of the port called `name`. A name without a known scheme is that of a
    /// serial port.
    pub fn of(name: &str) -> PortKind {
        if name.starts_with(SIM_SCHEME) {
            PortKind::Virtual
        } else if name.starts_with(RFC2217_SCHEME) {
            PortKind::Rfc2217
        } else if TCP_SCHEMES.iter().any(|scheme| name.starts_with(scheme)) {
            PortKind::Tcp
        } else {
            PortKind::Serial
        }
    }

    /// Returns whether such a port has the lines that reset a board.
    pub fn has_lines(self) -> bool {
        self != PortKind::Tcp
    }
}

/// An open port, and what is known about it.
#[non_exhaustive]
pub struct OpenPort {
    /// The port.
    pub port: Box<dyn Port + Send>,
    /// Its kind.
    pub kind: PortKind,
    /// The USB ids (vendor, product) of the adapter or chip, if known. A virtual board has those
    /// that a real board with the same cable would show.
    pub usb_id: Option<(u16, u16)>,
    /// The log of planned faults, for a virtual board.
    pub faults: Option<FaultLog>,
    /// The board with its pins and its memory, for a virtual board.
    pub board: Option<SharedBoard>,
    chips: ChipDb,
}

impl fmt::Debug for OpenPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenPort")
            .field("port", &self.port.name())
            .field("kind", &self.kind)
            .field("usb_id", &self.usb_id)
            .finish_non_exhaustive()
    }
}

impl OpenPort {
    fn new(port: impl Port + Send + 'static, kind: PortKind, options: &Options) -> OpenPort {
        let (port, chips) = (Box::new(port), options.chips.clone());
        OpenPort { port, kind, usb_id: None, faults: None, board: None, chips }
    }

    /// Returns the reset strategies that fit this port, best first, for `chip` or for every chip
    /// of [`Options::chips`]. None fits a port without lines: the board must already be in download mode.
    ///
    /// # Errors
    /// [`FlashError::UnknownReset`] if chip data names a strategy that does not exist.
    pub fn strategies(&self, chip: Option<&Chip>) -> Result<Vec<Strategy>, FlashError> {
        if !self.kind.has_lines() {
            return Ok(Vec::new());
        }
        Strategy::for_chip(chip, self.usb_id, &self.chips)
    }
}

/// Opens the port called `name`. Opening a virtual board switches it on.
///
/// # Errors
/// [`OpenError::Port`] if the port cannot be opened, [`OpenError::Spec`] if the name describes no
/// virtual board, and [`OpenError::Sim`] if a file that it names is invalid.
pub fn open(name: &str, options: &Options) -> Result<OpenPort, OpenError> {
    let stop = || Arc::clone(&options.stop);
    let kind = PortKind::of(name);
    match kind {
        PortKind::Rfc2217 => {
            Ok(OpenPort::new(open_rfc2217(name, options.baud, stop())?, kind, options))
        }
        PortKind::Tcp => Ok(OpenPort::new(open_tcp(name, stop())?, kind, options)),
        PortKind::Virtual => open_sim(name, options),
        PortKind::Serial => {
            let port = open_serial(name, options.baud, stop())?;
            let usb_id = port.usb_id();
            Ok(OpenPort { usb_id, ..OpenPort::new(port, kind, options) })
        }
    }
}

/// Returns that of `chips` which the virtual board called `name` has, or `None` for the name of another port,
/// whose chip is only known once it answers. Opens nothing.
///
/// # Errors
/// [`OpenError::Spec`] if the name describes no virtual board.
pub fn chip_in_name(name: &str, chips: &ChipDb) -> Result<Option<Arc<Chip>>, OpenError> {
    match PortKind::of(name) {
        PortKind::Virtual => Ok(Some(spec(name, chips)?.chip)),
        _ => Ok(None),
    }
}

fn open_sim(name: &str, options: &Options) -> Result<OpenPort, OpenError> {
    let parsed = spec(name, &options.chips)?;
    // `SimPort::of_spec` reads these again. Its error type has no place for their causes.
    if let Some(path) = &parsed.rom {
        RomImage::open(path, &parsed.chip)?;
    }
    if let Some(path) = &parsed.adc {
        Voltages::open(path).map_err(SimError::from)?;
    }
    if let Some(path) = &parsed.i2c {
        Circuit::open(path).map_err(SimError::from)?;
    }
    if let Some(path) = &parsed.faults {
        FaultPlan::open(path).map_err(SimError::from)?;
    }
    let mut port = SimPort::of_spec(name, &parsed, |_| {})?;
    port.set_interrupt(Arc::clone(&options.stop));
    let (faults, board) = (Some(port.fault_log()), port.board());
    let usb_id = usb_id(&parsed);
    Ok(OpenPort { usb_id, faults, board, ..OpenPort::new(port, PortKind::Virtual, options) })
}

fn spec(name: &str, chips: &ChipDb) -> Result<Spec, OpenError> {
    Spec::parse(name, chips).map_err(|source| OpenError::Spec { port: name.into(), source })
}

/// Returns the USB ids that a real board connected this way would show, if they are the chip's own.
fn usb_id(spec: &Spec) -> Option<(u16, u16)> {
    let id = spec.chip.reset.usb_serial_jtag_id.filter(|_| spec.line == Cable::Usb)?;
    Some((id.vid, id.pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_port_is_in_its_name() {
        let check = |name: &str, kind: PortKind| assert_eq!(PortKind::of(name), kind, "{name}");
        check("/dev/ttyUSB0", PortKind::Serial);
        check("COM3", PortKind::Serial);
        check("rfc2217://rack:4000", PortKind::Rfc2217);
        check("tcp://rack:4000", PortKind::Tcp);
        check("socket://rack:4000", PortKind::Tcp);
        check("sim:esp32c3", PortKind::Virtual);
    }

    #[test]
    fn a_virtual_board_is_opened() {
        let open = open("sim:esp32c3,line=usb", &Options::default()).unwrap();
        assert_eq!(open.usb_id, Some((0x303a, 0x1001)));
        let names: Vec<_> = open.strategies(None).unwrap().iter().map(|s| s.name).collect();
        assert_eq!(names, ["usb-serial-jtag"]);
        assert!(open.faults.is_some() && open.board.is_some());
        assert_eq!(
            chip_in_name("sim:esp32c3", ChipDb::embedded()).unwrap().unwrap().name,
            "esp32c3"
        );
        assert!(chip_in_name("/dev/ttyUSB0", ChipDb::embedded()).unwrap().is_none());
    }

    #[test]
    fn errors_keep_their_causes() {
        let refused = |name: &str| open(name, &Options::default()).unwrap_err();
        let error = refused("sim:esp32c33");
        assert!(matches!(error, OpenError::Spec { .. }), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("esp32c3")), "{error}");
        let error = refused("sim:esp32c3,rom=/nowhere/rom.elf");
        assert!(matches!(error, OpenError::Sim(SimError::RomFile { .. })), "{error}");
        let error = refused("/dev/not-a-port");
        assert!(matches!(error, OpenError::Port(_)), "{error}");
    }
}
