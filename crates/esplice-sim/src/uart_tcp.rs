//! A UART's cable to another program: the board is a TCP client of a program that listens.
//!
//! The connection carries the bytes of the line and nothing else. The board sends and receives at
//! the rate that the firmware set; bytes for the board wait in the connection until the line is
//! free. If the program closes the connection, the board tries to connect again, and what the
//! firmware sends meanwhile is lost.
//!
//! The program lives in the host's time. While the firmware listens on the UART, the board's clock
//! therefore does not run ahead of the host's.

use std::{
    collections::VecDeque,
    convert::Infallible,
    fmt,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError},
    thread,
    time::{Duration, Instant},
};

use crate::{Board, SimError};

/// Start of an address in a port's name.
const SCHEME: &str = "tcp:";
/// Time limit of connecting to one address.
const PATIENCE: Duration = Duration::from_secs(3);
/// Pause between two attempts to connect again.
const RETRY: Duration = Duration::from_millis(200);
/// Board time between two looks at the connection.
const SLICE: Duration = Duration::from_millis(1);
/// Board time for which bytes are put on the line at once: the longest turn of a server.
const AHEAD: Duration = Duration::from_millis(20);
/// Most bytes kept for a program that does not read, and most bytes read from it in advance.
const LIMIT: usize = 1 << 16;
/// Bytes read at a time.
const PIECE: usize = 0x1000;
/// Longest time for which the board is held up at once.
const MOST_WAIT: Duration = Duration::from_millis(20);

/// The address of a listening program: `tcp:HOST:PORT` in a port's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAddr {
    host: String,
    port: u16,
}

impl PeerAddr {
    /// Parses `tcp:HOST:PORT`. HOST is a name or an address; an IPv6 address is in brackets.
    /// Returns `None` for anything else.
    pub fn parse(text: &str) -> Option<PeerAddr> {
        let (host, port) = text.strip_prefix(SCHEME)?.rsplit_once(':')?;
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let plain = !host.contains([':', '[', ']', '/']);
        let host = inner.or(plain.then_some(host)).filter(|host| !host.is_empty())?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        Some(PeerAddr { host: host.into(), port })
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Reason why a board can't be connected to a program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// The host is not known.
    #[error("UART {uart}: unknown host {host}: {source}")]
    Host {
        /// Number of the UART.
        uart: usize,
        /// The host.
        host: String,
        /// The system's error.
        source: io::Error,
    },
    /// No program accepted the connection.
    #[error("UART {uart}: cannot connect to {addr}: {source}")]
    Unreachable {
        /// Number of the UART.
        uart: usize,
        /// The last address tried.
        addr: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The chip has no such UART.
    #[error("the chip has no UART {uart}")]
    NoUart {
        /// Number of the UART.
        uart: usize,
    },
}

impl PeerError {
    /// Returns advice for the user.
    pub fn hint(&self) -> Option<String> {
        match self {
            PeerError::Unreachable { .. } => Some(
                "start the program that listens before the board: the board is the client".into(),
            ),
            PeerError::Host { .. } | PeerError::NoUart { .. } => None,
        }
    }
}

/// A change of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerEvent {
    /// The program closed the connection or can't be reached any more; the board tries to connect
    /// again.
    Lost,
    /// The connection is back.
    Back,
    /// The program does not read: the oldest bytes were dropped.
    Dropped,
}

impl fmt::Display for PeerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PeerEvent::Lost => "the connection was closed; the board tries to connect again",
            PeerEvent::Back => "connected again",
            PeerEvent::Dropped => "the other program does not read: bytes are lost",
        })
    }
}

/// The cable between a UART and a program.
#[derive(Debug)]
pub struct TcpPeer {
    uart: usize,
    addr: PeerAddr,
    link: Link,
    /// Bytes for the program.
    out: VecDeque<u8>,
    /// Bytes for the board.
    waiting: VecDeque<u8>,
    /// True if the board's clock must not run ahead of the host's.
    holds_back: bool,
    /// The board's and the host's clock when they were last compared.
    seen: Option<(Duration, Instant)>,
    events: Vec<PeerEvent>,
    /// True if lost bytes were reported since the program read the last time.
    dropped: bool,
}

#[derive(Debug)]
enum Link {
    Up(TcpStream),
    /// A thread tries to connect, as long as the sender exists.
    Down {
        found: Receiver<TcpStream>,
        _cable: Sender<Infallible>,
    },
}

impl TcpPeer {
    /// Connects to the program that listens on `addr`, and connects the cable to the UART with this
    /// number of `board`. `holds_back` says whether the cable keeps the board's clock from running
    /// ahead of the host's; otherwise its caller does.
    ///
    /// # Errors
    /// [`PeerError`] if the program does not accept the connection within three seconds for each
    /// address of the host, or if the chip has no such UART.
    pub fn connect(
        board: &mut Board,
        uart: usize,
        addr: &PeerAddr,
        holds_back: bool,
    ) -> Result<TcpPeer, PeerError> {
        if !board.attach_uart(uart) {
            return Err(PeerError::NoUart { uart });
        }
        Ok(TcpPeer {
            uart,
            link: Link::Up(connect(uart, addr)?),
            addr: addr.clone(),
            out: VecDeque::new(),
            waiting: VecDeque::new(),
            holds_back,
            seen: None,
            events: Vec::new(),
            dropped: false,
        })
    }

    /// Returns whether the program is connected.
    pub fn is_connected(&self) -> bool {
        matches!(self.link, Link::Up(_))
    }

    /// Returns the changes since the last call, in order.
    pub fn take_events(&mut self) -> Vec<PeerEvent> {
        std::mem::take(&mut self.events)
    }

    /// Runs the board like [`Board::run_to`], and carries bytes meanwhile.
    ///
    /// # Errors
    /// Same as [`Board::run_to`].
    pub fn run_to(
        &mut self,
        board: &mut Board,
        deadline: Duration,
        stop_on_output: bool,
    ) -> Result<(), SimError> {
        loop {
            let end = board.now().saturating_add(SLICE).min(deadline);
            self.turn(board);
            board.run_to(end, stop_on_output)?;
            self.turn(board);
            let printed = board.now() < end;
            if self.holds_back {
                self.wait_for_host(board);
            }
            if printed || end >= deadline {
                return Ok(());
            }
        }
    }

    /// Carries the bytes that are there, without waiting.
    pub fn turn(&mut self, board: &mut Board) {
        if let Link::Down { found, .. } = &self.link {
            match found.try_recv() {
                Ok(stream) => {
                    self.link = Link::Up(stream);
                    self.report(PeerEvent::Back);
                }
                Err(TryRecvError::Empty) => {}
                // Only if the system has no room for another thread.
                Err(TryRecvError::Disconnected) => self.link = reconnect(self.uart, &self.addr),
            }
        }
        self.send(board);
        self.receive();
        self.deliver(board);
    }

    /// Passes what the board has sent to the program.
    fn send(&mut self, board: &mut Board) {
        let sent = board.uart_take(self.uart);
        let Link::Up(stream) = &mut self.link else { return };
        self.out.extend(sent.iter().map(|sent| sent.byte));
        let mut lost = false;
        while !self.out.is_empty() {
            let (first, _) = self.out.as_slices();
            match stream.write(first) {
                Ok(0) => break,
                Ok(written) => {
                    self.out.drain(..written);
                    self.dropped = false;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    lost = true;
                    break;
                }
            }
        }
        let excess = self.out.len().saturating_sub(LIMIT);
        self.out.drain(..excess);
        if excess > 0 && !self.dropped {
            self.dropped = true;
            self.report(PeerEvent::Dropped);
        }
        if lost {
            self.lose();
        }
    }

    /// Reads what the program has sent, as far as there is room.
    fn receive(&mut self) {
        let mut piece = [0; PIECE];
        while self.waiting.len() < LIMIT {
            let Link::Up(stream) = &mut self.link else { break };
            match stream.read(&mut piece) {
                Ok(0) => {
                    self.lose();
                    break;
                }
                Ok(len) => self.waiting.extend(piece.iter().take(len)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => break,
                Err(_) => {
                    self.lose();
                    break;
                }
            }
        }
    }

    /// Puts bytes on the line to the board, for the time until the next turn.
    fn deliver(&mut self, board: &mut Board) {
        while board.uart_has_room(self.uart, AHEAD)
            && let Some(byte) = self.waiting.pop_front()
        {
            board.uart_send(self.uart, &[byte]);
        }
    }

    /// Waits until the host's clock has advanced as far as the board's, or until the program sends
    /// something.
    fn wait_for_host(&mut self, board: &mut Board) {
        let (now, host) = (board.now(), host_now());
        let Some((board_before, host_before)) = self.seen.replace((now, host)) else { return };
        let ahead = now
            .saturating_sub(board_before)
            .saturating_sub(host.saturating_duration_since(host_before))
            .min(MOST_WAIT);
        if ahead.is_zero() || !self.waiting.is_empty() || !board.uart_listens(self.uart) {
            return;
        }
        if let Link::Up(stream) = &mut self.link {
            let waited = stream
                .set_nonblocking(false)
                .and_then(|()| stream.set_read_timeout(Some(ahead)))
                .and_then(|()| stream.peek(&mut [0]).map(drop));
            // The next turn meets the same error, unless it is the end of the wait.
            drop(waited);
            if stream.set_nonblocking(true).is_err() {
                self.lose();
            }
        } else if let Link::Down { found, .. } = &self.link
            && let Ok(stream) = found.recv_timeout(ahead)
        {
            self.link = Link::Up(stream);
            self.report(PeerEvent::Back);
        }
        self.seen = Some((now, host_now()));
        self.turn(board);
    }

    fn lose(&mut self) {
        self.out.clear();
        self.link = reconnect(self.uart, &self.addr);
        self.report(PeerEvent::Lost);
    }

    fn report(&mut self, event: PeerEvent) {
        tracing::warn!(uart = self.uart, addr = %self.addr, "{event}");
        self.events.push(event);
    }
}

/// Connects to one of the host's addresses.
fn connect(uart: usize, addr: &PeerAddr) -> Result<TcpStream, PeerError> {
    let unknown = |source| PeerError::Host { uart, host: addr.host.clone(), source };
    let addrs = (addr.host.as_str(), addr.port).to_socket_addrs().map_err(unknown)?;
    let mut failed = None;
    for addr in addrs {
        let connected = TcpStream::connect_timeout(&addr, PATIENCE).and_then(|stream| {
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        });
        match connected {
            Ok(stream) => return Ok(stream),
            Err(source) => failed = Some(PeerError::Unreachable { uart, addr, source }),
        }
    }
    Err(failed.unwrap_or_else(|| unknown(io::Error::other("it has no address"))))
}

/// Starts a thread that connects again. It ends when the cable is gone.
fn reconnect(uart: usize, addr: &PeerAddr) -> Link {
    let (sender, found) = mpsc::channel();
    let (cable, gone) = mpsc::channel::<Infallible>();
    let addr = addr.clone();
    let work = move || {
        while gone.recv_timeout(RETRY) == Err(RecvTimeoutError::Timeout) {
            if let Ok(stream) = connect(uart, &addr) {
                // If the cable is gone, so is the need for a connection.
                let _ = sender.send(stream);
                return;
            }
        }
    };
    // A system without room for a thread is asked again in the next turn.
    let _ = thread::Builder::new().name("uart".into()).spawn(work);
    Link::Down { found, _cable: cable }
}

/// Returns whether a read ended because nothing was there.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

#[allow(clippy::disallowed_methods)] // The other program lives in the host's time.
fn host_now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        let shown = |text: &str| PeerAddr::parse(text).map(|addr| addr.to_string());
        for (text, expected) in [
            ("tcp:127.0.0.1:4000", "127.0.0.1:4000"),
            ("tcp:rack:1", "rack:1"),
            ("tcp:[::1]:4000", "[::1]:4000"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(expected));
        }
        for wrong in [
            "127.0.0.1:4000",
            "udp:a:1",
            "tcp:a",
            "tcp::1",
            "tcp:a:0",
            "tcp:a:65536",
            "tcp:::1:4000",
            "tcp://a:1",
            "tcp:[]:1",
            "tcp:a:",
        ] {
            assert_eq!(shown(wrong), None, "{wrong}");
        }
    }
}
