//! A board offered to other programs: raw TCP, each byte as it is; RFC 2217, which carries baud
//! rate and reset lines as well; and a pty, which carries the baud rate.
//!
//! The board outlives its clients. All of them are on the one line: each hears what the board says,
//! and each may speak. What is kept for a client that does not read is bounded ([`CLIENT_LIMIT`]):
//! what is older is lost to it. What the board does not take waits with the client; one that has sent
//! far more than the line can carry is read on all the same, and loses what the line can't hold, so that
//! what it asks for next is heard.
//!
//! [`Server::turn`] does what is to be done at the moment and never waits for long.

mod client;
mod pace;
#[cfg(unix)]
mod pty;
mod rfc2217;

use std::{
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    time::Duration,
};

use esplice_protocol::slip;

use crate::{Board, Sent, SimError, TimeMode, fault_plan::Struck};
use client::Client;
use pace::{Pace, Turn};

/// Most bytes kept for a client that does not read.
pub const CLIENT_LIMIT: usize = 1 << 18;
/// Most clients at a time; more are refused.
pub const MOST_CLIENTS: usize = 16;
/// Board time between two looks at the clients.
const SLICE: Duration = Duration::from_millis(1);
/// Silence that ends what is said in one breath: a byte at 115200 baud and a bit.
const BREATH: Duration = Duration::from_micros(100);
/// Bytes on the line from which on a client has to wait.
const LINE_FULL: usize = 0x4000;
/// How long a client waits for a full line before it counts as one that floods it.
const FLOOD: Duration = Duration::from_secs(2);
/// Bytes on the line up to which it takes what a client left behind that has gone: 6 s at 115200 baud.
const LEFT_BEHIND: usize = 0x1_0000;
/// Most pieces that are read in a turn from a client that floods, or has gone.
const MOST_PIECES: usize = 256;
/// Turns in which a board takes nothing before it counts as one that does not listen.
const PATIENCE: u32 = 100;
/// Bytes taken from a client at a time.
const PIECE: usize = 0x1000;

/// How a board is reached, and how its bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// TCP: bytes and nothing else. It carries no baud rate, and the board's own is taken.
    Tcp,
    /// RFC 2217: telnet with the port's settings.
    Rfc2217,
}

/// What happened to a server.
#[derive(Debug)]
pub enum Happened {
    /// A client came.
    Joined,
    /// A client went.
    Left,
    /// The board can't go on until it is reset by its lines.
    Stopped(SimError),
    /// Clients send more than the line can carry; some of it is lost.
    Flooded,
    /// Something went wrong as planned.
    Fault(Struck),
    /// The host did not keep up: the board's clock is behind by so much.
    Behind(Duration),
}

/// How far the board of a server in real time was behind the host's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// The most at any moment.
    pub most: Duration,
    /// Since the server was made, by the host's clock.
    pub over: Duration,
}

/// What came of a look at a client.
#[derive(Default)]
struct Heard {
    /// The board was sent something.
    heard: bool,
    /// There may be more.
    more: bool,
    /// The client purged what was sent.
    purged: bool,
    /// Bytes that the line could not hold.
    lost: usize,
}

/// A board and those who talk to it.
pub struct Server {
    board: Board,
    pace: Pace,
    listeners: Vec<(TcpListener, Wire)>,
    #[cfg(unix)]
    ptys: Vec<pty::Pty>,
    clients: Vec<Client>,
    /// What the board said in this turn.
    said: Vec<Sent>,
    /// That the board stopped was told.
    stopped: bool,
    /// The board took nothing of what lay on the line in the last turns.
    stalled: bool,
    idle_turns: u32,
    /// Since when the line has been full, by the host's clock.
    full_since: Option<Duration>,
    /// That something was lost since then was told.
    told_flood: bool,
    frames: u64,
    /// The last byte was within a frame.
    in_frame: bool,
    /// The port is gone until the board's clock is there, or for ever.
    away: Option<Option<Duration>>,
}

impl Server {
    /// A server of that board; `time` as the board was made with.
    pub fn new(board: Board, time: TimeMode) -> Server {
        Server {
            pace: Pace::new(time, board.now()),
            board,
            listeners: Vec::new(),
            #[cfg(unix)]
            ptys: Vec::new(),
            clients: Vec::new(),
            said: Vec::new(),
            stopped: false,
            stalled: false,
            idle_turns: 0,
            full_since: None,
            told_flood: false,
            frames: 0,
            in_frame: false,
            away: None,
        }
    }

    /// Listens there; gives the address, in which port 0 has become a free one.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn listen(&mut self, wire: Wire, addr: impl ToSocketAddrs) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        self.listeners.push((listener, wire));
        Ok(addr)
    }

    /// Offers the board at `link`, a symbolic link to a pty that is made for it; gives the pty's own
    /// name. The link is removed with the server.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when something other than a link to a pty that is no more
    /// is at `link`, and what the system refuses.
    #[cfg(unix)]
    pub fn pty(&mut self, link: &std::path::Path) -> io::Result<std::path::PathBuf> {
        let pty = pty::Pty::new(link)?;
        let device = pty.device().to_owned();
        self.ptys.push(pty);
        Ok(device)
    }

    /// The board.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// How well real time was kept; nothing is behind in other modes.
    pub fn lag(&self) -> Lag {
        Lag { most: self.pace.most_behind(), over: self.pace.host() }
    }

    /// Requests so far: frames between two END bytes that came by TCP or pty.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Bytes kept for clients that do not read.
    pub fn kept(&self) -> usize {
        self.clients.iter().map(Client::kept).sum()
    }

    /// Takes what clients sent, lets the board run for a slice, and gives them what it said. Waits
    /// a millisecond or some where nothing was to be done.
    pub fn turn(&mut self, tell: &mut dyn FnMut(Happened)) {
        self.accept(tell);
        let heard = self.hear(tell);
        let before = self.board.host_waiting();
        self.run(tell);
        let taken = self.board.host_waiting() < before;
        self.idle_turns = if taken { 0 } else { self.idle_turns.saturating_add(1) };
        self.stalled = self.idle_turns > PATIENCE;
        let said = self.speak();
        self.leave(tell);
        self.part(tell);
        let taking = self.board.host_waiting() > 0 && !self.stalled;
        let taking = heard || taking || self.board.is_busy();
        let answered = said > 0 && self.board.host_waiting() == 0 && !self.board.is_busy();
        self.pace.rest(&Turn {
            taking,
            answered,
            said,
            stopped: self.stopped,
            watched: !self.clients.is_empty(),
            now: self.board.now(),
        });
    }

    fn accept(&mut self, tell: &mut dyn FnMut(Happened)) {
        for (listener, wire) in &self.listeners {
            // What fails here is the client's connection, and its own affair.
            while let Ok((stream, _)) = listener.accept() {
                if self.clients.len() >= MOST_CLIENTS || self.away.is_some() {
                    continue;
                }
                if let Ok(client) = Client::new(stream, *wire) {
                    self.clients.push(client);
                    tell(Happened::Joined);
                }
            }
        }
        #[cfg(unix)]
        for (number, pty) in self.ptys.iter().enumerate() {
            let is_new = self.clients.iter().all(|client| client.pty() != Some(number));
            if is_new
                && self.away.is_none()
                && pty.is_open()
                && let Ok(stream) = pty.stream()
            {
                self.clients.push(Client::at_pty(stream, number));
                tell(Happened::Joined);
            }
        }
    }

    fn part(&mut self, tell: &mut dyn FnMut(Happened)) {
        for client in self.clients.iter_mut().filter(|client| client.is_gone()) {
            client.close(&mut self.board);
            #[cfg(unix)]
            if let Some(pty) = client.pty().and_then(|number| self.ptys.get_mut(number)) {
                // If that fails, so will the next one's opening, who is told by the system.
                let _ = pty.renew();
            }
            tell(Happened::Left);
        }
        self.clients.retain(|client| !client.is_gone());
    }

    /// Lets the port be gone where the board's plan of faults says so: all who are there are hung up,
    /// and nobody gets in until it is back.
    fn leave(&mut self, tell: &mut dyn FnMut(Happened)) {
        self.board.take_struck().into_iter().for_each(|struck| tell(Happened::Fault(struck)));
        if let Some(gone) = self.board.take_gone() {
            self.away = Some(gone.back_after.map(|after| self.board.now().saturating_add(after)));
            self.clients.iter_mut().for_each(Client::hang_up);
            #[cfg(unix)]
            self.ptys.iter_mut().for_each(pty::Pty::hide);
        }
        if let Some(Some(back_at)) = self.away
            && self.board.now() >= back_at
        {
            self.away = None;
            self.board.host_clear();
            #[cfg(unix)]
            self.ptys.iter_mut().for_each(pty::Pty::show);
        }
    }

    /// Whether a client said something to the board.
    fn hear(&mut self, tell: &mut dyn FnMut(Happened)) -> bool {
        let now = self.pace.host();
        // A line that is kept full is never far below its limit.
        let crowded = self.is_filled(LINE_FULL / 2);
        self.full_since = if crowded { self.full_since.or(Some(now)) } else { None };
        self.told_flood &= crowded;
        let flooded = self.full_since.is_some_and(|since| now.saturating_sub(since) >= FLOOD);
        let (mut heard, mut lost) = (false, 0);
        for index in 0..self.clients.len() {
            let full = self.is_filled(LINE_FULL);
            let Some(client) = self.clients.get_mut(index) else { break };
            client.wait(now, &mut self.board);
            // A board that takes nothing loses what comes, as one with a full FIFO does.
            let gone = crowded && client.has_hung_up();
            let pieces = if flooded || gone {
                MOST_PIECES
            } else if full && client.is_talking() {
                // One that floods waits, and the others are heard: they may want to end it.
                0
            } else {
                1
            };
            for _ in 0..pieces {
                let read = self.hear_piece(index, now, gone);
                heard |= read.heard;
                lost += read.lost;
                if read.purged && crowded {
                    lost += self.drop_unread(index, now);
                }
                if !read.more {
                    break;
                }
            }
        }
        if lost > 0 && !self.told_flood {
            self.told_flood = true;
            tell(Happened::Flooded);
        }
        heard
    }

    /// Whether so many bytes wait for a board that takes them.
    fn is_filled(&self, bytes: usize) -> bool {
        self.board.host_waiting() >= bytes && !self.stalled
    }

    /// Takes one piece of what a client has sent; `gone` says that nobody is there any more to send more.
    fn hear_piece(&mut self, index: usize, now: Duration, gone: bool) -> Heard {
        let mut piece = [0; PIECE];
        let mut read = Heard::default();
        let Some(client) = self.clients.get_mut(index) else { return read };
        let len = client.read(&mut piece);
        let Some(bytes) = piece.get(..len).filter(|bytes| !bytes.is_empty()) else { return read };
        read.more = true;
        for byte in bytes {
            let ends = *byte == slip::END;
            self.frames += u64::from(ends && self.in_frame);
            self.in_frame = !ends;
        }
        let before = self.board.host_waiting();
        let room = if gone { LEFT_BEHIND.saturating_sub(before) } else { usize::MAX };
        let taken = client.take(bytes, now, &mut self.board, room);
        let after = self.board.host_waiting();
        read.heard = after > before;
        read.purged = taken.purged;
        read.lost = if taken.purged { 0 } else { (before + taken.said).saturating_sub(after) };
        read
    }

    /// A purge throws away what all have sent: also what the others' connections hold. Returns how much.
    fn drop_unread(&mut self, purging: usize, now: Duration) -> usize {
        let mut piece = [0; PIECE];
        let mut dropped = 0;
        for (index, client) in self.clients.iter_mut().enumerate() {
            for _ in 0..MOST_PIECES * usize::from(index != purging) {
                let len = client.read(&mut piece);
                let Some(bytes) = piece.get(..len).filter(|bytes| !bytes.is_empty()) else { break };
                dropped += client.take(bytes, now, &mut self.board, 0).said;
            }
        }
        dropped
    }

    fn run(&mut self, tell: &mut dyn FnMut(Happened)) {
        let now = self.board.now();
        let (deadline, behind) = self.pace.deadline(now, SLICE);
        if let Some(behind) = behind {
            tell(Happened::Behind(behind));
        }
        self.go_on(deadline, tell);
        // What is said in one breath goes out in one piece.
        while self.board.now() < deadline && self.said.len() < self.pace.most_said() && self.take()
        {
            let breath = self.board.now() + BREATH;
            self.go_on(breath.min(deadline), tell);
        }
    }

    fn go_on(&mut self, deadline: Duration, tell: &mut dyn FnMut(Happened)) {
        match self.board.run_to(deadline, true) {
            Ok(()) => self.stopped = false,
            Err(error) if !self.stopped => {
                self.stopped = true;
                tell(Happened::Stopped(error));
            }
            Err(_) => {}
        }
    }

    /// Takes what the board said; whether it said something.
    fn take(&mut self) -> bool {
        let (before, most) = (self.said.len(), self.pace.most_said());
        while self.said.len() < most
            && let Some(sent) = self.board.host_take_sent()
        {
            self.said.push(sent);
        }
        self.said.len() > before
    }

    /// Passes on what the board said; gives how much it was.
    fn speak(&mut self) -> usize {
        self.take();
        for client in &mut self.clients {
            client.give(&self.said);
            client.flush();
        }
        let said = self.said.len();
        self.said.clear();
        said
    }
}
