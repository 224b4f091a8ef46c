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

/// Maximum time to wait in the system before checking the interrupt flag.
const SLICE: Duration = Duration::from_millis(50);

/// Time after which a write fails if the device accepts no bytes.
const STUCK: Duration = Duration::from_secs(10);

/// Time for a port to come back after it re-enumerates (a USB hub takes up to two seconds).
const AWAY: Duration = Duration::from_secs(5);

/// Interval for polling a port that is away, or an output queue.
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

/// Opens the serial port (or pty) called `name` at `baud`, exclusively. Once `interrupt` is set,
/// every call that waits returns [`PortError::Interrupted`] within 50 ms.
///
/// # Errors
/// [`PortError::NotFound`], [`PortError::Busy`], [`PortError::Permission`],
/// [`PortError::NotSerial`] for something that is not a serial port, otherwise [`PortError::Io`].
pub fn open_serial(
    name: &str,
    baud: u32,
    interrupt: Arc<AtomicBool>,
) -> Result<SerialPort, PortError> {
    let mut port = open(name, baud)?;
    // A pty has no modem lines: reading them fails there and changes nothing.
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

/// Returns the serial ports that the system lists, sorted by name. Errors yield an empty list.
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
    /// Returns USB vendor and product of the adapter, if it is a USB device.
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

    /// Converts an error of an open port. A device that was unplugged shows as a hang-up, an I/O
    /// error or a missing file, depending on system and driver.
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
            // A deadline in the past requests only input that is already there.
            let left = deadline.since(self.now());
            if left.is_zero() && self.port()?.bytes_to_read().is_ok_and(|waiting| waiting == 0) {
                return Ok(0);
            }
            // On Windows a timeout of 0 means none.
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
                let source = io::Error::new(io::ErrorKind::TimedOut, "the port accepts no bytes");
                return Err(PortError::Io { port: self.name.clone(), source });
            }
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<(), PortError> {
        let begun = self.now();
        // The system's drain can't be interrupted, so it is only called once the queue is empty.
        while self.port()?.bytes_to_write().is_ok_and(|left| left > 0) {
            self.check_interrupt()?;
            if self.now().since(begun) > STUCK {
                let source = io::Error::new(io::ErrorKind::TimedOut, "the port accepts no bytes");
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
            // macOS refuses to set a rate on a pty, where the rate does not matter.
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
        // both are asserted (which holds neither pin) rather than only RTS (which resets). On the
        // way from "EN low" to "boot pin low", EN is then released for the microseconds between
        // both calls, far less than its capacitor needs.
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
    // serialport opens ports exclusively by default, where the system offers a choice.
    let open = |baud| serialport::new(name, baud).timeout(SLICE).open();
    let mut port = open(baud);
    if cfg!(target_os = "macos") && port.as_ref().is_err_and(|e| e.kind() == ErrorKind::Unknown) {
        // On macOS a pty takes no rate; 0 requests none.
        port = open(0);
    }
    port.map_err(|error| open_error(name, error))
}

/// Returns whether the system refused an operation that only terminals support, as for `/dev/null`.
/// serialport passes on the text of ENOTTY, as worded by the C library or nix, without the code.
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
    // The name may be a link, as in /dev/serial/by-id.
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
