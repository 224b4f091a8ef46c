//! One client: a stream that is never waited for, and what is kept for it.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use esplice_protocol::rfc2217::escape;

use super::{CLIENT_LIMIT, Wire, rfc2217::Session};
use crate::{Board, board::Sent};

pub(super) struct Client {
    stream: Stream,
    /// Over RFC 2217; else bytes are passed as they are.
    session: Option<Session>,
    out: VecDeque<u8>,
    gone: bool,
    /// What was read last held bytes for the board.
    talking: bool,
}

/// What a client's bytes came to.
#[derive(Default)]
pub(super) struct Taken {
    /// Bytes for the board.
    pub said: usize,
    /// What was sent to the board is to be thrown away.
    pub purged: bool,
}

/// Where a client's bytes come from.
enum Stream {
    Tcp(TcpStream),
    /// The board's end of a pty, and the number of that pty.
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

    /// Whether the far end has hung up, though not all that it sent has been read.
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
            // Elsewhere the system tells when all has been read.
            #[cfg(not(target_os = "linux"))]
            Stream::Tcp(_) => false,
            #[cfg(unix)]
            Stream::Pty(..) => false,
        }
    }

    /// The baud rate that the client has set, where the stream carries one by itself.
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
        // A loader's command is a small packet that waits for its answer: without this each costs
        // 40 ms.
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

    /// The one who has the other end of pty number `pty`.
    #[cfg(unix)]
    pub fn at_pty(stream: std::fs::File, pty: usize) -> Client {
        let stream = Stream::Pty(stream, pty);
        Client { stream, session: None, out: VecDeque::new(), gone: false, talking: false }
    }

    /// The number of the pty that the client came by.
    #[cfg(unix)]
    pub fn pty(&self) -> Option<usize> {
        match self.stream {
            Stream::Pty(_, pty) => Some(pty),
            Stream::Tcp(_) => None,
        }
    }

    /// The port is gone.
    pub fn hang_up(&mut self) {
        self.gone = true;
    }

    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Whether nobody is there any more, though what was sent may be read yet.
    pub fn has_hung_up(&self) -> bool {
        self.stream.has_hung_up()
    }

    /// Whether it has last sent something for the board.
    pub fn is_talking(&self) -> bool {
        self.talking
    }

    pub fn kept(&self) -> usize {
        self.out.len()
    }

    /// What has come; nothing is waited for.
    pub fn read(&mut self, buf: &mut [u8]) -> usize {
        match self.stream.read(buf) {
            Ok(0) => self.gone = true,
            Ok(len) => return len,
            Err(error) => self.failed(&error),
        }
        0
    }

    /// Hands what came to the board, `room` bytes for its line at most; the host's moment is `now`.
    pub fn take(
        &mut self,
        bytes: &[u8],
        now: Duration,
        board: &mut Board,
        mut room: usize,
    ) -> Taken {
        let taken = match &mut self.session {
            None => {
                let baud = self.stream.baud().unwrap_or_else(|| board.baud());
                board.host_send(bytes.get(..room).unwrap_or(bytes), baud);
                Taken { said: bytes.len(), purged: false }
            }
            Some(session) => {
                let mut answers = Vec::new();
                let taken = session.take(bytes, now, board, &mut room, &mut answers);
                self.gone |= self.out.len() > 2 * CLIENT_LIMIT;
                self.out.extend(answers);
                taken
            }
        };
        self.talking = taken.said > 0;
        taken
    }

    /// Lets time pass.
    pub fn wait(&mut self, now: Duration, board: &mut Board) {
        if let Some(session) = &mut self.session {
            session.wait(now, board);
        }
    }

    /// Puts what the client held in order when it has gone.
    pub fn close(&mut self, board: &mut Board) {
        if let Some(session) = &mut self.session {
            session.close(board);
        }
    }

    /// Keeps what the board said for the client.
    pub fn give(&mut self, said: &[Sent]) {
        let heard = |baud: u32| said.iter().map(move |sent| sent.heard_at(baud));
        match (&self.session, self.stream.baud()) {
            (None, None) => self.keep(said.iter().map(|sent| sent.byte)),
            (None, Some(baud)) => self.keep(heard(baud)),
            (Some(session), _) => {
                let bytes: Vec<u8> = heard(session.baud()).collect();
                let mut wire = Vec::with_capacity(bytes.len() + 8);
                wire.extend(session.told_of_errors(said));
                escape(&bytes, &mut wire);
                // What is older may be half of a command: here the newest are lost.
                if self.out.len() + wire.len() <= CLIENT_LIMIT {
                    self.out.extend(wire);
                }
            }
        }
    }

    /// The oldest bytes are lost where there are too many.
    fn keep(&mut self, bytes: impl Iterator<Item = u8>) {
        self.out.extend(bytes);
        let excess = self.out.len().saturating_sub(CLIENT_LIMIT);
        self.out.drain(..excess);
    }

    /// Sends what the client takes at the moment.
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
