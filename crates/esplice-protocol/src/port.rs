//! The interface to a board: a serial line with its own clock.

use std::{io, net::SocketAddr, time::Duration};

/// A moment on a port's clock, counted from when the port was opened.
///
/// A serial port uses the host's time, a virtual board its own time. Code above [`Port`] must take
/// all times from the port and never from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(Duration);

impl Moment {
    /// The moment at which the port was opened.
    pub const START: Moment = Moment(Duration::ZERO);

    /// Returns the moment `since_start` after the port was opened.
    pub const fn at(since_start: Duration) -> Moment {
        Moment(since_start)
    }

    /// Returns the time since the port was opened.
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// Returns the time since `earlier`, or zero if that is later.
    pub fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Moment;
    fn add(self, rhs: Duration) -> Moment {
        Moment(self.0.saturating_add(rhs))
    }
}

/// Capabilities of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// True if DTR and RTS reach the board.
    pub lines: bool,
    /// True if the baud rate matters and can be set.
    pub baud: bool,
    /// Time that the transport adds between a write and the first byte of the answer.
    pub latency: Duration,
}

/// Errors of a port.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortError {
    /// The port does not exist.
    #[error("no port {port}")]
    NotFound {
        /// The port's name.
        port: String,
    },
    /// Another program has the port open.
    #[error("port {port} is in use by another program")]
    Busy {
        /// The port's name.
        port: String,
    },
    /// The user has no permission to open the port.
    #[error("no permission to open port {port}")]
    Permission {
        /// The port's name.
        port: String,
    },
    /// The port's name is malformed.
    #[error("port {port:?}: {message}")]
    Name {
        /// The port's name.
        port: String,
        /// Reason why the name is malformed.
        message: String,
    },
    /// The name is that of a file, a directory or a device that is not a serial line.
    #[error("port {port} is not a serial port")]
    NotSerial {
        /// The port's name.
        port: String,
    },
    /// The port disappeared: it was unplugged, or the far end hung up.
    #[error("port {port} is gone")]
    Gone {
        /// The port's name.
        port: String,
    },
    /// The port's host name could not be resolved.
    #[error("port {port}: unknown host {host}: {source}")]
    Host {
        /// The port's name.
        port: String,
        /// The host.
        host: String,
        /// The system's error.
        source: io::Error,
    },
    /// The port's host did not accept the connection.
    #[error("port {port}: cannot connect to {addr}: {source}")]
    Unreachable {
        /// The port's name.
        port: String,
        /// The last address tried.
        addr: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The far end answers but does not speak RFC 2217.
    #[error("port {port}: {}", no_agreement(*.refused, *.heard))]
    NotRfc2217 {
        /// The port's name.
        port: String,
        /// True if the far end refused, rather than sending nothing of the protocol.
        refused: bool,
        /// Number of serial line bytes received meanwhile.
        heard: usize,
    },
    /// The virtual board met something that it does not model.
    #[error("port {port}: {message}")]
    NotModelled {
        /// The port's name.
        port: String,
        /// The thing that is not modelled, and its location.
        message: String,
        /// Hint for the user.
        hint: String,
    },
    /// No virtual board of the chip exists.
    #[error("port {port}: there is no virtual {chip}")]
    NoVirtualBoard {
        /// The port's name.
        port: String,
        /// The chip, in its vendor's spelling.
        chip: String,
        /// Hint for the user.
        hint: String,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// Any other I/O error.
    #[error("port {port}: {source}")]
    Io {
        /// The port's name.
        port: String,
        /// The system's error.
        source: io::Error,
    },
}

impl PortError {
    /// Returns a hint on how to fix the error.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            PortError::NotFound { .. } => {
                "check the cable and the name; a charge-only cable shows no port".into()
            }
            PortError::Busy { .. } => "close the serial monitor or other tool that uses it".into(),
            PortError::Permission { .. } => {
                "on Linux, add yourself to the group that owns the port (dialout or uucp) and log in again".into()
            }
            PortError::NotSerial { .. } => {
                "serial ports have names such as /dev/ttyUSB0, /dev/ttyACM0 or COM3; sim:esp32c3 \
                is a virtual board"
                    .into()
            }
            PortError::Gone { .. } => "check the cable, then start again".into(),
            PortError::NotModelled { hint, .. } | PortError::NoVirtualBoard { hint, .. } => {
                hint.clone()
            }
            PortError::Host { .. } => {
                "check the host's name and this machine's network, or use the host's IP address".into()
            }
            PortError::Unreachable { source, .. }
                if source.kind() == io::ErrorKind::ConnectionRefused =>
            {
                "nothing listens there: start the server of the port, and check the port number"
                    .into()
            }
            PortError::Unreachable { .. } => {
                "check that the machine is on and reachable, and that no firewall blocks it".into()
            }
            PortError::NotRfc2217 { refused: false, .. } => {
                "for a raw TCP connection write tcp:// instead of rfc2217://; it carries no \
                baud rate and no reset"
                    .into()
            }
            _ => return None,
        })
    }
}

fn no_agreement(refused: bool, heard: usize) -> String {
    match (refused, heard) {
        (true, _) => "the far end refuses RFC 2217".into(),
        (false, 0) => "no answer to the RFC 2217 negotiation".into(),
        (false, heard) => {
            format!("no answer to the RFC 2217 negotiation, but {heard} other bytes")
        }
    }
}

/// A serial line to a board.
///
/// Serial ports, sockets and the virtual board implement it. Code above it can't see the
/// difference.
pub trait Port {
    /// Returns the name that the port was opened by, for messages.
    fn name(&self) -> &str;

    /// Reads the bytes that have arrived, at least one, waiting until `deadline` at most. Returns
    /// the number of bytes, or 0 if the deadline passed without any.
    fn read(&mut self, buf: &mut [u8], deadline: Moment) -> Result<usize, PortError>;

    /// Passes all of `bytes` to the line. They may still be on their way when this returns.
    fn write(&mut self, bytes: &[u8]) -> Result<(), PortError>;

    /// Waits until every byte written has been sent.
    fn drain(&mut self) -> Result<(), PortError>;

    /// Discards input that has arrived but was not read.
    fn clear_input(&mut self) -> Result<(), PortError>;

    /// Sets the baud rate of both directions, after a drain.
    fn set_baud(&mut self, baud: u32) -> Result<(), PortError>;

    /// Sets both lines at once. `true` asserts a line, which on the usual boards pulls the pin low:
    /// RTS holds EN (reset), DTR holds the boot strapping pin, and both together hold neither.
    fn set_lines(&mut self, dtr: bool, rts: bool) -> Result<(), PortError>;

    /// Returns the current moment on the port's clock.
    fn now(&self) -> Moment;

    /// Waits until `moment`. Bytes that arrive meanwhile are kept.
    fn wait_until(&mut self, moment: Moment) -> Result<(), PortError>;

    /// Closes and opens the port again, for boards that re-enumerate after a reset.
    fn reopen(&mut self) -> Result<(), PortError>;

    /// Returns the port's capabilities.
    fn caps(&self) -> Caps;
}

impl<P: Port + ?Sized> Port for Box<P> {
    fn name(&self) -> &str {
        (**self).name()
    }
    fn read(&mut self, buf: &mut [u8], deadline: Moment) -> Result<usize, PortError> {
        (**self).read(buf, deadline)
    }
    fn write(&mut self, bytes: &[u8]) -> Result<(), PortError> {
        (**self).write(bytes)
    }
    fn drain(&mut self) -> Result<(), PortError> {
        (**self).drain()
    }
    fn clear_input(&mut self) -> Result<(), PortError> {
        (**self).clear_input()
    }
    fn set_baud(&mut self, baud: u32) -> Result<(), PortError> {
        (**self).set_baud(baud)
    }
    fn set_lines(&mut self, dtr: bool, rts: bool) -> Result<(), PortError> {
        (**self).set_lines(dtr, rts)
    }
    fn now(&self) -> Moment {
        (**self).now()
    }
    fn wait_until(&mut self, moment: Moment) -> Result<(), PortError> {
        (**self).wait_until(moment)
    }
    fn reopen(&mut self) -> Result<(), PortError> {
        (**self).reopen()
    }
    fn caps(&self) -> Caps {
        (**self).caps()
    }
}
