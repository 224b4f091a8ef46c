//! The seam to a board: a serial line with a clock of its own.

use std::{io, net::SocketAddr, time::Duration};

/// A moment on a port's clock, counted from when the port was opened.
///
/// A serial port counts the host's time, a virtual board its own: code above [`Port`] must take
/// all times from the port and never from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(Duration);

impl Moment {
    /// When the port was opened.
    pub const START: Moment = Moment(Duration::ZERO);

    /// The moment `since_start` after the port was opened.
    pub const fn at(since_start: Duration) -> Moment {
        Moment(since_start)
    }

    /// Time since the port was opened.
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// Time since `earlier`, zero if that is later.
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

/// What a port can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// DTR and RTS reach the board.
    pub lines: bool,
    /// The baud rate matters and can be set.
    pub baud: bool,
    /// Time from a write to the first byte of an answer that the transport itself costs.
    pub latency: Duration,
}

/// Why a port fails.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// There is no such port.
    #[error("no port {port}")]
    NotFound {
        /// The port's name.
        port: String,
    },
    /// Another program has it open.
    #[error("port {port} is in use by another program")]
    Busy {
        /// The port's name.
        port: String,
    },
    /// The user may not open it.
    #[error("no permission to open port {port}")]
    Permission {
        /// The port's name.
        port: String,
    },
    /// The port's name can't be understood.
    #[error("port {port:?}: {message}")]
    Name {
        /// The port's name.
        port: String,
        /// What is wrong with it.
        message: String,
    },
    /// A file, a directory or a device that is no serial line.
    #[error("port {port} is no serial port")]
    NotSerial {
        /// The port's name.
        port: String,
    },
    /// It was there and is gone: unplugged, or the far end hung up.
    #[error("port {port} is gone")]
    Gone {
        /// The port's name.
        port: String,
    },
    /// The name of its host leads nowhere.
    #[error("port {port}: host {host} is not known: {source}")]
    Host {
        /// The port's name.
        port: String,
        /// The host.
        host: String,
        /// What the system says.
        source: io::Error,
    },
    /// Its host does not take the connection.
    #[error("port {port}: cannot connect to {addr}: {source}")]
    Unreachable {
        /// The port's name.
        port: String,
        /// The address that was tried last.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Its far end is there and does not speak RFC 2217.
    #[error("port {port}: {}", no_agreement(*.refused, *.heard))]
    NotRfc2217 {
        /// The port's name.
        port: String,
        /// The far end said no, rather than nothing that belongs to the protocol.
        refused: bool,
        /// Bytes of a serial line that came meanwhile.
        heard: usize,
    },
    /// A virtual board met something that it does not model.
    #[error("port {port}: {message}")]
    NotModelled {
        /// The port's name.
        port: String,
        /// What it met, and where.
        message: String,
        /// What the user can do about it.
        hint: String,
    },
    /// There is no virtual board of this chip.
    #[error("port {port}: there is no virtual {chip}")]
    NoVirtualBoard {
        /// The port's name.
        port: String,
        /// The chip, as its vendor writes it.
        chip: String,
        /// What the user can do about it.
        hint: String,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// Anything else.
    #[error("port {port}: {source}")]
    Io {
        /// The port's name.
        port: String,
        /// What the system says.
        source: io::Error,
    },
}

impl PortError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            PortError::NotFound { .. } => {
                "check the cable and the name; a charge-only cable shows no port".into()
            }
            PortError::Busy { .. } => "close the serial monitor or other tool that holds it".into(),
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
                "check the host's name and this machine's network, or give the address itself".into()
            }
            PortError::Unreachable { source, .. }
                if source.kind() == io::ErrorKind::ConnectionRefused =>
            {
                "nothing listens there: start what offers the port, and check the port number"
                    .into()
            }
            PortError::Unreachable { .. } => {
                "check that the machine is on and reachable, and its firewall".into()
            }
            PortError::NotRfc2217 { refused: false, .. } => {
                "if it is a bare TCP connection, write tcp:// instead of rfc2217://; it carries no \
                baud rate and no reset"
                    .into()
            }
            _ => return None,
        })
    }
}

fn no_agreement(refused: bool, heard: usize) -> String {
    match (refused, heard) {
        (true, _) => "the far end refuses to be a port by RFC 2217".into(),
        (false, 0) => "no answer to the negotiation of RFC 2217".into(),
        (false, heard) => {
            format!("no answer to the negotiation of RFC 2217, but {heard} other bytes")
        }
    }
}

/// A serial line to a board.
///
/// Serial ports, sockets and the virtual board implement it; nothing above it knows which it has.
pub trait Port {
    /// The name it was opened by, for messages.
    fn name(&self) -> &str;

    /// Reads what is there, at least one byte, waiting until `deadline` at most. Returns the
    /// number of bytes, 0 when the deadline passed without any.
    fn read(&mut self, buf: &mut [u8], deadline: Moment) -> Result<usize, PortError>;

    /// Hands all of `bytes` to the line; they may still be on their way when it returns.
    fn write(&mut self, bytes: &[u8]) -> Result<(), PortError>;

    /// Waits until every byte written has left.
    fn drain(&mut self) -> Result<(), PortError>;

    /// Throws away what has come in and was not read.
    fn clear_input(&mut self) -> Result<(), PortError>;

    /// Sets the baud rate of both directions; drains first.
    fn set_baud(&mut self, baud: u32) -> Result<(), PortError>;

    /// Sets both lines at once. `true` is asserted, which on the usual boards pulls the pin low:
    /// RTS holds EN (reset), DTR holds the boot strapping pin, and both together hold neither.
    fn set_lines(&mut self, dtr: bool, rts: bool) -> Result<(), PortError>;

    /// The port's clock.
    fn now(&self) -> Moment;

    /// Lets time pass until `moment`; bytes that come in meanwhile are kept.
    fn wait_until(&mut self, moment: Moment) -> Result<(), PortError>;

    /// Closes and opens the port again, for boards that re-enumerate after a reset.
    fn reopen(&mut self) -> Result<(), PortError>;

    /// What it can do.
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
