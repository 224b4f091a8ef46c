//! Serial ports of Linux, macOS and Windows, and ptys of the first two.

use std::{
    io::{self, Read as _, Write as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use esplice_chip::UsbId;
use esplice_protocol::{Caps, Moment, Port, PortError};
use serialport::{ClearBuffer, ErrorKind, SerialPortType};

use crate::{
    ListedPort, UsbDevice,
    clock::{host_now, host_sleep},
};

/// Longest wait in the system before the interrupt flag is looked at.
const SLICE: Duration = Duration::from_millis(50);

/// How long bytes may be stuck before a write fails: a device that takes nothing.
const STUCK: Duration = Duration::from_secs(10);

/// How long a port that re-enumerates may be away (a USB hub takes up to two seconds).
const AWAY: Duration = Duration::from_secs(5);

/// Time between looks at a port that is away, or a queue that empties.
const POLL: Duration = Duration::from_millis(2);

/// A serial port, held exclusively.
pub struct SerialPort {
    name: String,
    port: Option<Box<dyn serialport::SerialPort>>,
    timeout: Duration,
    baud: u32,
    lines: bool,
    usb: Option<(u16, u16)>,
    opened: Instant,
    interrupt: Arc<AtomicBool>,
}

/// Opens the serial port (or pty) called `name` at `baud`, for this program alone. Once
/// `interrupt` is set, every call that waits ends with [`PortError::Interrupted`] within 50 ms.
///
/// # Errors
/// [`PortError::NotFound`], [`PortError::Busy`], [`PortError::Permission`], [`PortError::NotSerial`]
/// for something that is no serial port, else [`PortError::Io`].
pub fn open_serial(
    name: &str,
    baud: u32,
    interrupt: Arc<AtomicBool>,
) -> Result<SerialPort, PortError> {
    let mut port = open(name, baud)?;
    // A pty has no modem lines: asking for them says so and changes nothing.
    let lines = port.read_clear_to_send().is_ok();
    Ok(SerialPort {
        name: name.to_owned(),
        port: Some(port),
        timeout: SLICE,
        baud,
        lines,
        usb: usb_id(name),
        opened: host_now(),
        interrupt,
    })
}

/// The serial ports that the system lists, by name. A system that lists none, or refuses to, has none.
pub fn list_ports() -> Vec<ListedPort> {
    let ports = serialport::available_ports().unwrap_or_default();
    let mut ports: Vec<ListedPort> = ports
        .into_iter()
        .map(|port| {
            let usb = match port.port_type {
                SerialPortType::UsbPort(usb) => Some(UsbDevice {
                    id: UsbId { vid: usb.vid, pid: usb.pid },
                    serial: usb.serial_number,
                    manufacturer: usb.manufacturer,
                    product: usb.product,
                }),
                _ => None,
            };
            ListedPort { name: port.port_name, usb }
        })
        .collect();
    ports.sort_by(|a, b| a.name.cmp(&b.name));
    ports
}

impl SerialPort {
    /// USB vendor and product of the adapter, if it is one.
    pub fn usb_id(&self) -> Option<(u16, u16)> {
        self.usb
    }

    fn check_interrupt(&self) -> Result<(), PortError> {
        if self.interrupt.load(Ordering::Relaxed) { Err(PortError::Interrupted) } else { Ok(()) }
    }

    fn port(&mut self) -> Result<&mut Box<dyn serialport::SerialPort>, PortError> {
        let gone = PortError::Gone { port: self.name.clone() };
        self.port.as_mut().ok_or(gone)
    }

    fn set_timeout(&mut self, timeout: Duration) -> Result<(), PortError> {
        if self.timeout != timeout {
            let set = self.port()?.set_timeout(timeout);
            set.map_err(|error| self.io_error(error.into()))?;
            self.timeout = timeout;
        }
        Ok(())
    }

    /// An error of a port that was open: a device that was pulled out shows as a hang-up, an I/O
    /// error or a missing file, by system and driver.
    fn io_error(&self, source: io::Error) -> PortError {
        use io::ErrorKind as Kind;
        let port = self.name.clone();
        match source.kind() {
            Kind::BrokenPipe
            | Kind::NotConnected
            | Kind::NotFound
            | Kind::UnexpectedEof
            | Kind::PermissionDenied
            | Kind::Other => PortError::Gone { port },
            _ => PortError::Io { port, source },
        }
    }
}

impl Port for SerialPort {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&mut self, buf: &mut [u8], deadline: Moment) -> Result<usize, PortError> {
        loop {
            self.check_interrupt()?;
            // A deadline in the past asks for what is there already.
            let left = deadline.since(self.now());
            if left.is_zero() && self.port()?.bytes_to_read().is_ok_and(|waiting| waiting == 0) {
                return Ok(0);
            }
            // Windows takes a timeout of 0 for none.
            self.set_timeout(left.clamp(Duration::from_millis(1), SLICE))?;
            match self.port()?.read(buf) {
                Ok(0) if buf.is_empty() => return Ok(0),
                Ok(0) => return Err(PortError::Gone { port: self.name.clone() }),
                Ok(count) => return Ok(count),
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(self.io_error(error)),
            }
            if self.now() >= deadline {
                return Ok(0);
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), PortError> {
        let mut rest = bytes;
        let mut moved = self.now();
        while !rest.is_empty() {
            self.check_interrupt()?;
            self.set_timeout(SLICE)?;
            match self.port()?.write(rest) {
                Ok(count) => {
                    rest = rest.get(count..).unwrap_or_default();
                    if count > 0 {
                        moved = self.now();
                    }
                }
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(self.io_error(error)),
            }
            if self.now().since(moved) > STUCK {
                let source = io::Error::new(io::ErrorKind::TimedOut, "it takes no bytes");
                return Err(PortError::Io { port: self.name.clone(), source });
            }
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<(), PortError> {
        let begun = self.now();
        // The system's own drain can't be interrupted: it is asked when hardly anything is left.
        while self.port()?.bytes_to_write().is_ok_and(|left| left > 0) {
            self.check_interrupt()?;
            if self.now().since(begun) > STUCK {
                let source = io::Error::new(io::ErrorKind::TimedOut, "it takes no bytes");
                return Err(PortError::Io { port: self.name.clone(), source });
            }
            host_sleep(POLL);
        }
        match self.port()?.flush() {
            Ok(()) => Ok(()),
            Err(error) => Err(self.io_error(error)),
        }
    }

    fn clear_input(&mut self) -> Result<(), PortError> {
        let cleared = self.port()?.clear(ClearBuffer::Input);
        cleared.map_err(|error| self.io_error(error.into()))
    }

    fn set_baud(&mut self, baud: u32) -> Result<(), PortError> {
        if baud == self.baud {
            return Ok(());
        }
        self.drain()?;
        let set = match self.port()?.set_baud_rate(baud) {
            // macOS refuses a rate to a pty, where none matters.
            Err(_) if !self.lines => Ok(()),
            set => set,
        };
        set.map_err(|error| PortError::Io { port: self.name.clone(), source: error.into() })?;
        self.baud = baud;
        Ok(())
    }

    fn set_lines(&mut self, dtr: bool, rts: bool) -> Result<(), PortError> {
        if !self.lines {
            return Ok(());
        }
        // The portable interface sets one line at a time. The order is chosen so that in between
        // both are asserted (which holds neither pin) rather than RTS alone (which resets): from
        // "EN low" to "boot pin low", EN is then let go for the microseconds between both calls,
        // far less than its capacitor needs.
        let port = self.port()?;
        let set = if dtr {
            port.write_data_terminal_ready(dtr).and_then(|()| port.write_request_to_send(rts))
        } else {
            port.write_request_to_send(rts).and_then(|()| port.write_data_terminal_ready(dtr))
        };
        set.map_err(|error| self.io_error(error.into()))
    }

    fn now(&self) -> Moment {
        Moment::at(host_now().saturating_duration_since(self.opened))
    }

    fn wait_until(&mut self, moment: Moment) -> Result<(), PortError> {
        loop {
            self.check_interrupt()?;
            let left = moment.since(self.now());
            if left.is_zero() {
                return Ok(());
            }
            host_sleep(left.min(SLICE));
        }
    }

    fn reopen(&mut self) -> Result<(), PortError> {
        self.port = None;
        let deadline = self.now() + AWAY;
        loop {
            self.check_interrupt()?;
            match open(&self.name, self.baud) {
                Ok(port) => {
                    self.port = Some(port);
                    self.timeout = SLICE;
                    return Ok(());
                }
                Err(error) if self.now() >= deadline => return Err(error),
                Err(_) => host_sleep(SLICE),
            }
        }
    }

    fn caps(&self) -> Caps {
        Caps { lines: self.lines, baud: true, latency: Duration::ZERO }
    }
}

fn open(name: &str, baud: u32) -> Result<Box<dyn serialport::SerialPort>, PortError> {
    // For this program alone, which is serialport's default where it is a choice.
    let open = |baud| serialport::new(name, baud).timeout(SLICE).open();
    let mut port = open(baud);
    if cfg!(target_os = "macos") && port.as_ref().is_err_and(|e| e.kind() == ErrorKind::Unknown) {
        // A pty there takes no rate; 0 asks for none.
        port = open(0);
    }
    port.map_err(|error| open_error(name, error))
}

/// Whether the system refused what only terminals can do, as of `/dev/null`: serialport hands on the
/// text of ENOTTY, in the words of the C library or of nix, and no code.
fn is_no_terminal(error: &serialport::Error) -> bool {
    let words = ["Not a typewriter", "Inappropriate ioctl", "Not a tty"];
    words.iter().any(|words| error.description.contains(words))
}

fn open_error(name: &str, error: serialport::Error) -> PortError {
    let port = name.to_owned();
    match error.kind() {
        // Windows has one code for "not there" and "in use".
        ErrorKind::NoDevice if cfg!(windows) && !is_listed(name) => PortError::NotFound { port },
        ErrorKind::NoDevice => PortError::Busy { port },
        ErrorKind::Io(io::ErrorKind::NotFound) => PortError::NotFound { port },
        ErrorKind::Io(io::ErrorKind::PermissionDenied) => PortError::Permission { port },
        _ if is_no_terminal(&error) => PortError::NotSerial { port },
        _ if std::fs::metadata(name).is_ok_and(|file| file.is_file() || file.is_dir()) => {
            PortError::NotSerial { port }
        }
        _ => PortError::Io { port, source: error.into() },
    }
}

fn is_listed(name: &str) -> bool {
    serialport::available_ports()
        .is_ok_and(|ports| ports.iter().any(|port| port.port_name.eq_ignore_ascii_case(name)))
}

fn usb_id(name: &str) -> Option<(u16, u16)> {
    let ports = serialport::available_ports().ok()?;
    // The name may be a link, such as those of /dev/serial/by-id.
    let path = std::fs::canonicalize(name).ok();
    let is_it = |listed: &str| {
        listed == name || path.as_deref().is_some_and(|path| path == Path::new(listed))
    };
    let port = ports.into_iter().find(|port| is_it(&port.port_name))?;
    match port.port_type {
        SerialPortType::UsbPort(usb) => Some((usb.vid, usb.pid)),
        _ => None,
    }
}

fn is_pause(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(error.kind(), Kind::TimedOut | Kind::WouldBlock | Kind::Interrupted)
}
