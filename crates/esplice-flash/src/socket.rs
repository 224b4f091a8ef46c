//! A TCP connection for ports. Waits are short enough for interrupts, and a far end that disappears
//! is reported as gone.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use esplice_protocol::{Moment, PortError};

use crate::clock::{host_now, host_sleep};

/// Maximum time to wait in the system before checking the interrupt flag.
const SLICE: Duration = Duration::from_millis(50);

/// Time for one address of a host to accept. Its third packet is sent after three seconds
/// (RFC 6298, section 2.1: a first time-out of one second, doubled).
const ACCEPT: Duration = Duration::from_secs(5);

/// Time for the whole connection: resolving the name and trying all of the host's addresses.
const CONNECT: Duration = Duration::from_secs(12);

/// Time after which a write fails if the far end accepts no bytes.
const STUCK: Duration = Duration::from_secs(10);

/// Maximum number of bytes discarded at once: more than the system buffers for a connection.
const MOST_CLEARED: usize = 16 << 20;

/// Time for a far end to come back while its board re-enumerates.
const AWAY: Duration = Duration::from_secs(5);

/// Host and port number of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// Parses the `host:port` after the scheme of `name`. An IPv6 address is in brackets.
    fn parse(name: &str, scheme: &str) -> Result<Address, PortError> {
        let wrong = |message: &str| PortError::Name { port: name.into(), message: message.into() };
        let rest = name.strip_prefix(scheme).unwrap_or(name);
        if rest.contains(['?', '&', '#', '@']) {
            return Err(wrong("write only a host and a port number, without options"));
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => rest
                .split_once("]:")
                .ok_or_else(|| wrong("write an IPv6 address as [ADDRESS]:PORT"))?,
            None => rest.rsplit_once(':').ok_or_else(|| wrong("the port number is missing"))?,
        };
        if host.is_empty() {
            return Err(wrong("the host is missing"));
        }
        if host.contains(':') && !rest.starts_with('[') {
            return Err(wrong("write an IPv6 address as [ADDRESS]:PORT"));
        }
        match port.parse() {
            Ok(port) if port > 0 => Ok(Address { host: host.into(), port }),
            _ => Err(wrong(&format!("{port:?} is not a port number from 1 to 65535"))),
        }
    }
}

/// A TCP connection.
pub(crate) struct Socket {
    name: String,
    address: Address,
    stream: Option<TcpStream>,
    round_trip: Duration,
    read_timeout: Option<Duration>,
    opened: Instant,
    interrupt: Arc<AtomicBool>,
}

impl Socket {
    /// Connects to the address that follows `scheme` in `name`.
    pub(crate) fn open(
        name: &str,
        scheme: &str,
        interrupt: Arc<AtomicBool>,
    ) -> Result<Socket, PortError> {
        let mut socket = Socket {
            name: name.to_owned(),
            address: Address::parse(name, scheme)?,
            stream: None,
            round_trip: Duration::ZERO,
            read_timeout: None,
            opened: host_now(),
            interrupt,
        };
        socket.connect()?;
        Ok(socket)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn now(&self) -> Moment {
        Moment::at(host_now().saturating_duration_since(self.opened))
    }

    /// Returns the time that the far end took to accept the connection.
    pub(crate) fn round_trip(&self) -> Duration {
        self.round_trip
    }

    pub(crate) fn check_interrupt(&self) -> Result<(), PortError> {
        if self.interrupt.load(Ordering::Relaxed) { Err(PortError::Interrupted) } else { Ok(()) }
    }

    /// Connects again, retrying for as long as a far end may be away.
    pub(crate) fn reconnect(&mut self) -> Result<(), PortError> {
        self.stream = None;
        let deadline = self.now() + AWAY;
        loop {
            match self.connect() {
                Ok(()) => return Ok(()),
                Err(PortError::Interrupted) => return Err(PortError::Interrupted),
                Err(error) if self.now() >= deadline => return Err(error),
                Err(_) => host_sleep(SLICE),
            }
        }
    }

    /// Connects in a separate thread, because neither resolving a name nor connecting can be
    /// interrupted.
    fn connect(&mut self) -> Result<(), PortError> {
        let (sender, receiver) = mpsc::channel();
        let Address { host, port } = self.address.clone();
        let spawned = thread::Builder::new().name("connect".into()).spawn(move || {
            // The receiver may have given up already.
            let _ = sender.send(connect(&host, port));
        });
        spawned.map_err(|source| PortError::Io { port: self.name.clone(), source })?;
        let deadline = self.now() + CONNECT;
        let result = loop {
            self.check_interrupt()?;
            match receiver.recv_timeout(SLICE) {
                Ok(result) => break result,
                Err(mpsc::RecvTimeoutError::Timeout) if self.now() < deadline => {}
                Err(_) => {
                    let message = format!("no connection within {} s", CONNECT.as_secs());
                    let source = io::Error::new(io::ErrorKind::TimedOut, message);
                    break Err(Unconnected::Io(source));
                }
            }
        };
        let port = self.name.clone();
        let (stream, round_trip) = result.map_err(|failure| match failure {
            Unconnected::Host(source) => {
                PortError::Host { port, host: self.address.host.clone(), source }
            }
            Unconnected::Refused(addr, source) => PortError::Unreachable { port, addr, source },
            Unconnected::Io(source) => PortError::Io { port, source },
        })?;
        self.stream = Some(stream);
        self.round_trip = round_trip;
        self.read_timeout = None;
        Ok(())
    }

    /// Reads received bytes, waiting for them until `deadline` at most. Returns 0 after that.
    pub(crate) fn read(&mut self, buf: &mut [u8], deadline: Moment) -> Result<usize, PortError> {
        loop {
            self.check_interrupt()?;
            let left = deadline.since(self.now());
            let result = if left.is_zero() { self.look(buf) } else { self.wait(buf, left) };
            match result {
                Ok(0) if buf.is_empty() => return Ok(0),
                Ok(0) => return Err(self.gone()),
                Ok(count) => return Ok(count),
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(self.io_error(error)),
            }
            if self.now() >= deadline {
                return Ok(0);
            }
        }
    }

    /// Discards the received input. Stops after [`MOST_CLEARED`] bytes if the far end never pauses.
    pub(crate) fn clear(&mut self, take: &mut dyn FnMut(&[u8])) -> Result<(), PortError> {
        let mut piece = [0; 4096];
        let mut cleared = 0;
        while cleared < MOST_CLEARED {
            let now = self.now();
            let count = self.read(&mut piece, now)?;
            take(piece.get(..count).unwrap_or_default());
            // A read that did not fill the buffer took everything.
            if count < piece.len() {
                break;
            }
            cleared += count;
        }
        Ok(())
    }

    /// Reads what has already arrived.
    fn look(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut stream = self.stream()?;
        stream.set_nonblocking(true)?;
        let result = stream.read(buf);
        stream.set_nonblocking(false)?;
        result
    }

    fn wait(&mut self, buf: &mut [u8], left: Duration) -> io::Result<usize> {
        let timeout = left.clamp(Duration::from_millis(1), SLICE);
        let changed = self.read_timeout != Some(timeout);
        self.read_timeout = Some(timeout);
        let mut stream = self.stream()?;
        if changed {
            stream.set_read_timeout(Some(timeout))?;
        }
        stream.read(buf)
    }

    /// Passes all of `bytes` to the system.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), PortError> {
        let mut rest = bytes;
        let mut moved = self.now();
        while !rest.is_empty() {
            self.check_interrupt()?;
            match self.stream().and_then(|mut stream| stream.write(rest)) {
                Ok(0) => return Err(self.gone()),
                Ok(count) => {
                    rest = rest.get(count..).unwrap_or_default();
                    moved = self.now();
                }
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(self.io_error(error)),
            }
            if self.now().since(moved) > STUCK {
                let source =
                    io::Error::new(io::ErrorKind::TimedOut, "the far end accepts no bytes");
                return Err(PortError::Io { port: self.name.clone(), source });
            }
        }
        Ok(())
    }

    pub(crate) fn wait_until(&mut self, moment: Moment) -> Result<(), PortError> {
        loop {
            self.check_interrupt()?;
            let left = moment.since(self.now());
            if left.is_zero() {
                return Ok(());
            }
            host_sleep(left.min(SLICE));
        }
    }

    fn stream(&self) -> io::Result<&TcpStream> {
        self.stream.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn gone(&self) -> PortError {
        PortError::Gone { port: self.name.clone() }
    }

    fn io_error(&self, source: io::Error) -> PortError {
        use io::ErrorKind as Kind;
        match source.kind() {
            Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::BrokenPipe
            | Kind::NotConnected
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::UnexpectedEof => self.gone(),
            _ => PortError::Io { port: self.name.clone(), source },
        }
    }
}

/// Reason why a connection failed.
enum Unconnected {
    Host(io::Error),
    Refused(SocketAddr, io::Error),
    Io(io::Error),
}

/// Connects to the first of the host's addresses that accepts. Also returns the time this took,
/// which is one round trip.
fn connect(host: &str, port: u16) -> Result<(TcpStream, Duration), Unconnected> {
    let addrs = (host, port).to_socket_addrs().map_err(Unconnected::Host)?;
    let mut failure = Unconnected::Host(io::Error::other("the host has no address"));
    for addr in addrs {
        let begun = host_now();
        match TcpStream::connect_timeout(&addr, ACCEPT) {
            Ok(stream) => {
                let round_trip = host_now().saturating_duration_since(begun);
                // A loader's command is a small packet whose reply is awaited: with Nagle's
                // algorithm each would cost 40 ms.
                let ready =
                    stream.set_nodelay(true).and_then(|()| stream.set_write_timeout(Some(SLICE)));
                return ready.map(|()| (stream, round_trip)).map_err(Unconnected::Io);
            }
            Err(error) => failure = Unconnected::Refused(addr, error),
        }
    }
    Err(failure)
}

fn is_pause(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(error.kind(), Kind::TimedOut | Kind::WouldBlock | Kind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: Result<(&str, u16), &str>) {
        let found = Address::parse(name, "tcp://");
        match (found, expected) {
            (Ok(found), Ok((host, port))) => {
                assert_eq!((found.host.as_str(), found.port), (host, port), "{name}");
            }
            (Err(PortError::Name { message, .. }), Err(part)) => {
                assert!(message.contains(part), "{name}: {message}");
            }
            (found, _) => panic!("{name}: {found:?}"),
        }
    }

    #[test]
    fn addresses_are_hosts_and_numbers() {
        check("tcp://localhost:4000", Ok(("localhost", 4000)));
        check("tcp://192.168.1.7:65535/", Ok(("192.168.1.7", 65535)));
        check("tcp://[fe80::1%eth0]:1", Ok(("fe80::1%eth0", 1)));
        check("tcp://", Err("port number is missing"));
        check("tcp://host", Err("port number is missing"));
        check("tcp://:80", Err("host is missing"));
        check("tcp://host:0", Err("not a port number"));
        check("tcp://host:70000", Err("not a port number"));
        check("tcp://host:", Err("not a port number"));
        check("tcp://::1:80", Err("IPv6"));
        check("tcp://[::1]", Err("IPv6"));
        check("tcp://host:80?ign_set_control", Err("without options"));
    }
}
