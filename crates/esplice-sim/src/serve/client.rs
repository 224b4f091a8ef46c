//! A client: a stream that never blocks, and its buffered output.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use esplice_protocol::rfc2217::escape;

use super::{CLIENT_LIMIT, Wire, rfc2217::Session};
use crate::{Board, board::SentByte};

pub(super) struct Client {
    stream: Stream,
    /// Set for RFC 2217; otherwise bytes are passed unchanged.
    session: Option<Session>,
    out: VecDeque<u8>,
    gone: bool,
    /// True if the last read contained bytes for the board.
    talking: bool,
}

/// The result of handling a client's bytes.
#[derive(Default)]
pub(super) struct InputResult {
    /// Number of bytes for the board.
    pub data_len: usize,
    /// True if the client purged what was sent to the board.
    pub purged: bool,
}

/// Source of a client's bytes.
enum Stream {
    Tcp(TcpStream),
    /// The board's end of a pty, and that pty's index.
    #[cfg(unix)]
    Pty(std::fs::File, usize),
}

impl Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buf),
            #[cfg(unix)]
            Stream::Pty(file, _) => file.read(buf),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            #[cfg(unix)]
            Stream::Pty(file, _) => file.write(bytes),
        }
    }

    /// Returns whether the far end has hung up, even if not all it sent has been read.
    fn has_hung_up(&self) -> bool {
        match self {
            #[cfg(target_os = "linux")]
            Stream::Tcp(stream) => {
                use rustix::event::{PollFd, PollFlags, Timespec, poll};
                let mut asked = [PollFd::new(stream, PollFlags::RDHUP)];
                let told = poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
                let over = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
                told.is_ok() && asked.iter().any(|asked| asked.revents().intersects(over))
            }
            // Other systems report it only when all has been read.
            #[cfg(not(target_os = "linux"))]
            Stream::Tcp(_) => false,
            #[cfg(unix)]
            Stream::Pty(..) => false,
        }
    }

    /// Returns the baud rate set by the client, if the stream carries one.
    fn baud(&self) -> Option<u32> {
        match self {
            Stream::Tcp(_) => None,
            #[cfg(unix)]
            Stream::Pty(file, _) => Some(super::pty::baud_of(file)),
        }
    }
}

impl Client {
    pub fn new(stream: TcpStream, wire: Wire) -> io::Result<Client> {
        stream.set_nonblocking(true)?;
        // A loader command is a small packet that waits for its answer. Without TCP_NODELAY each
        // one costs 40 ms.
        stream.set_nodelay(true)?;
        let session = match wire {
            Wire::Tcp => None,
            Wire::Rfc2217 => Some(Session::new()),
        };
        Ok(Client {
            stream: Stream::Tcp(stream),
            session,
            out: VecDeque::new(),
            gone: false,
            talking: false,
        })
    }

    /// Returns a client for the user of the pty with index `pty`.
    #[cfg(unix)]
    pub fn at_pty(stream: std::fs::File, pty: usize) -> Client {
        let stream = Stream::Pty(stream, pty);
        Client { stream, session: None, out: VecDeque::new(), gone: false, talking: false }
    }

    /// Returns the index of the client's pty.
    #[cfg(unix)]
    pub fn pty(&self) -> Option<usize> {
        match self.stream {
            Stream::Pty(_, pty) => Some(pty),
            Stream::Tcp(_) => None,
        }
    }

    /// Marks the client as gone because the port has gone.
    pub fn hang_up(&mut self) {
        self.gone = true;
    }

    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Returns whether the far end has hung up, though bytes it sent may still be unread.
    pub fn has_hung_up(&self) -> bool {
        self.stream.has_hung_up()
    }

    /// Returns whether its last input contained bytes for the board.
    pub fn is_talking(&self) -> bool {
        self.talking
    }

    pub fn kept(&self) -> usize {
        self.out.len()
    }

    /// Reads available bytes without blocking.
    pub fn read(&mut self, buf: &mut [u8]) -> usize {
        match self.stream.read(buf) {
            Ok(0) => self.gone = true,
            Ok(len) => return len,
            Err(error) => self.failed(&error),
        }
        0
    }

    /// Passes bytes to the board, at most `room` bytes to its line. `now` is the host's time.
    pub fn take(
        &mut self,
        bytes: &[u8],
        now: Duration,
        board: &mut Board,
        mut room: usize,
    ) -> InputResult {
        let taken = match &mut self.session {
            None => {
                let baud = self.stream.baud().unwrap_or_else(|| board.baud());
                board.host_send(bytes.get(..room).unwrap_or(bytes), baud);
                InputResult { data_len: bytes.len(), purged: false }
            }
            Some(session) => {
                let mut answers = Vec::new();
                let taken = session.take(bytes, now, board, &mut room, &mut answers);
                self.gone |= self.out.len() > 2 * CLIENT_LIMIT;
                self.out.extend(answers);
                taken
            }
        };
        self.talking = taken.data_len > 0;
        taken
    }

    /// Updates the session for the host's time `now`.
    pub fn wait(&mut self, now: Duration, board: &mut Board) {
        if let Some(session) = &mut self.session {
            session.wait(now, board);
        }
    }

    /// Ends the session of a client that has gone.
    pub fn close(&mut self, board: &mut Board) {
        if let Some(session) = &mut self.session {
            session.close(board);
        }
    }

    /// Buffers the board's output for the client.
    pub fn queue_output(&mut self, said: &[SentByte]) {
        let heard = |baud: u32| said.iter().map(move |sent| sent.heard_at(baud));
        match (&self.session, self.stream.baud()) {
            (None, None) => self.keep(said.iter().map(|sent| sent.byte)),
            (None, Some(baud)) => self.keep(heard(baud)),
            (Some(session), _) => {
                let bytes: Vec<u8> = heard(session.baud()).collect();
                let mut wire = Vec::with_capacity(bytes.len() + 8);
                wire.extend(session.line_error_notice(said));
                escape(&bytes, &mut wire);
                // Older output may end within a command, so the newest bytes are dropped here.
                if self.out.len() + wire.len() <= CLIENT_LIMIT {
                    self.out.extend(wire);
                }
            }
        }
    }

    /// Buffers bytes and drops the oldest beyond the limit.
    fn keep(&mut self, bytes: impl Iterator<Item = u8>) {
        self.out.extend(bytes);
        let excess = self.out.len().saturating_sub(CLIENT_LIMIT);
        self.out.drain(..excess);
    }

    /// Sends as much as the client accepts now.
    pub fn flush(&mut self) {
        while !self.gone && !self.out.is_empty() {
            let (first, _) = self.out.as_slices();
            match self.stream.write(first) {
                Ok(0) => self.gone = true,
                Ok(len) => drop(self.out.drain(..len)),
                Err(error) => {
                    self.failed(&error);
                    return;
                }
            }
        }
    }

    fn failed(&mut self, error: &io::Error) {
        self.gone |= !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted);
    }
}
