//! A board offered to other programs: raw TCP, each byte as it is; RFC 2217, which carries baud
//! rate and reset lines as well; and a pty, which carries the baud rate.
//!
//! The board outlives its clients. All of them are on the one line: each hears what the board says,
//! and each may speak. What is kept for a client that does not read is bounded ([`CLIENT_LIMIT`]):
//! what is older is lost to it. What the board does not take waits with the client, not here.
//!
//! [`Server::turn`] does what is to be done at the moment and never waits for long; the host's clock
//! is asked only in [`TimeMode::Real`].

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
use pace::Pace;

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
        let heard = self.hear();
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
        self.pace.rest(taking, said, self.stopped, self.board.now());
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
    fn hear(&mut self) -> bool {
        let now = self.pace.host();
        let mut heard = false;
        let mut piece = [0; PIECE];
        for client in &mut self.clients {
            client.wait(now, &mut self.board);
            // A board that takes nothing loses what comes, as one with a full FIFO does.
            if self.board.host_waiting() >= LINE_FULL && !self.stalled {
                break;
            }
            let len = client.read(&mut piece);
            if let Some(bytes) = piece.get(..len).filter(|bytes| !bytes.is_empty()) {
                for byte in bytes {
                    let ends = *byte == slip::END;
                    self.frames += u64::from(ends && self.in_frame);
                    self.in_frame = !ends;
                }
                let before = self.board.host_waiting();
                client.take(bytes, now, &mut self.board);
                heard |= self.board.host_waiting() > before;
            }
        }
        heard
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
