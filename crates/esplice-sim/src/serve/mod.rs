//! Serves a board to other programs: by raw TCP, which carries only bytes, by RFC 2217, which also
//! carries baud rate and reset lines, and by a pty, which carries the baud rate.
//!
//! The board outlives its clients. All clients share one line: each receives all output and each
//! may send. The output buffered for a client that does not read is limited to [`CLIENT_LIMIT`];
//! older bytes are dropped. Input that the board does not take stays with the client. A client that
//! has sent far more than the line can carry is still read, so that its later commands are seen;
//! bytes that the line can't hold are lost.
//!
//! [`Server::turn`] does what is due and never blocks for long.

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

use crate::{
    Board, SentByte, SimError, TimeMode,
    fault_plan::FaultEvent,
    uart_tcp::{PeerAddr, PeerError, PeerEvent, TcpPeer},
};
use client::Client;
use pace::{Pace, Turn};

/// Most bytes buffered for a client that does not read.
pub const CLIENT_LIMIT: usize = 1 << 18;
/// Most clients at a time; further ones are refused.
pub const MOST_CLIENTS: usize = 16;
/// Board time between two checks of the clients.
const SLICE: Duration = Duration::from_millis(1);
/// Silence that ends a burst of output: a little more than a byte at 115200 baud.
const BREATH: Duration = Duration::from_micros(100);
/// Number of bytes on the line from which a client has to wait.
const LINE_FULL: usize = 0x4000;
/// Time a client waits for a full line before it is treated as flooding.
const FLOOD: Duration = Duration::from_secs(2);
/// Bytes on the line up to which it still accepts bytes of a client that has gone: 6 s at 115200
/// baud.
const LEFT_BEHIND: usize = 0x1_0000;
/// Most pieces read in a turn from a client that floods or has gone.
const MOST_PIECES: usize = 256;
/// Turns without input taken after which a board is treated as not reading.
const PATIENCE: u32 = 100;
/// Bytes read from a client at a time.
const PIECE: usize = 0x1000;

/// Protocol by which a board is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// Raw TCP: only bytes. The board's own baud rate is used.
    Tcp,
    /// RFC 2217: telnet with serial port settings.
    Rfc2217,
}

/// An event of a server.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerEvent {
    /// A client connected.
    Joined,
    /// A client disconnected.
    Left,
    /// The board can't continue until it is reset by its lines.
    Stopped(SimError),
    /// Clients send more than the line can carry; some bytes are lost.
    Flooded,
    /// A planned fault happened.
    Fault(FaultEvent),
    /// The host did not keep up: the board's clock is behind by this much.
    Behind(Duration),
    /// The connection of the second UART has changed.
    Uart1(PeerEvent),
}

/// The lag of a served board in real time relative to the host's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lag {
    /// The largest lag so far.
    pub most: Duration,
    /// Time since the server was created, by the host's clock.
    pub over: Duration,
}

/// The result of reading from a client.
#[derive(Default)]
struct ReadResult {
    /// True if bytes were sent to the board.
    heard: bool,
    /// True if there may be more.
    more: bool,
    /// True if the client purged what was sent.
    purged: bool,
    /// Bytes that the line could not hold.
    lost: usize,
}

/// A board and its clients.
pub struct Server {
    board: Board,
    pace: Pace,
    listeners: Vec<(TcpListener, Wire)>,
    #[cfg(unix)]
    ptys: Vec<pty::Pty>,
    clients: Vec<Client>,
    /// Output of the board in this turn.
    said: Vec<SentByte>,
    /// True if the stop of the board was reported.
    stopped: bool,
    /// True if the board took nothing from the line in the last turns.
    stalled: bool,
    idle_turns: u32,
    /// Time since which the line has been full, by the host's clock.
    full_since: Option<Duration>,
    /// True if lost bytes were reported since then.
    flood_reported: bool,
    frames: u64,
    /// True if the last byte was within a frame.
    in_frame: bool,
    /// Set if the port has gone: until when by the board's clock, or `None` for good.
    away: Option<Option<Duration>>,
    /// Cable from the second UART to another program.
    peer: Option<TcpPeer>,
}

impl Server {
    /// Returns a server for a board created with `time`.
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
            flood_reported: false,
            frames: 0,
            in_frame: false,
            away: None,
            peer: None,
        }
    }

    /// Connects the board's second UART to a program that listens.
    ///
    /// # Errors
    /// [`PeerError`] if it does not accept the connection.
    pub fn connect_uart1(&mut self, addr: &PeerAddr) -> Result<(), PeerError> {
        // `pace` keeps the board's clock near the host's.
        self.peer = Some(TcpPeer::connect(&mut self.board, 1, addr, false)?);
        Ok(())
    }

    /// Listens on `addr` and returns the bound address, with port 0 replaced by a free port.
    ///
    /// # Errors
    /// The system's error.
    pub fn listen(&mut self, wire: Wire, addr: impl ToSocketAddrs) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        self.listeners.push((listener, wire));
        Ok(addr)
    }

    /// Creates a pty for the board with a symbolic link to it at `link`, and returns the pty's own
    /// name. The link is removed with the server.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if `link` exists and is not a link to a removed pty; else
    /// the system's error.
    #[cfg(unix)]
    pub fn pty(&mut self, link: &std::path::Path) -> io::Result<std::path::PathBuf> {
        let pty = pty::Pty::new(link)?;
        let device = pty.device().to_owned();
        self.ptys.push(pty);
        Ok(device)
    }

    /// Returns the board.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Returns how well real time was kept; in other modes the lag is zero.
    pub fn lag(&self) -> Lag {
        Lag { most: self.pace.most_behind(), over: self.pace.host() }
    }

    /// Returns the number of requests so far: frames between two END bytes, received by TCP or pty.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Returns the number of bytes buffered for clients that do not read.
    pub fn kept(&self) -> usize {
        self.clients.iter().map(Client::kept).sum()
    }

    /// Reads from clients, runs the board for a slice, and passes its output to the clients. Sleeps
    /// one or more milliseconds if there was nothing to do.
    pub fn turn(&mut self, tell: &mut dyn FnMut(ServerEvent)) {
        self.accept(tell);
        let heard = self.read_clients(tell);
        self.carry(tell);
        let before = self.board.host_waiting();
        self.run(tell);
        self.carry(tell);
        let taken = self.board.host_waiting() < before;
        self.idle_turns = if taken { 0 } else { self.idle_turns.saturating_add(1) };
        self.stalled = self.idle_turns > PATIENCE;
        let said = self.send_output();
        self.handle_port_loss(tell);
        self.remove_gone(tell);
        let taking = self.board.host_waiting() > 0 && !self.stalled;
        let taking = heard || taking || self.board.is_busy();
        let answered = said > 0 && self.board.host_waiting() == 0 && !self.board.is_busy();
        self.pace.rest(&Turn {
            taking,
            answered,
            said,
            stopped: self.stopped,
            watched: !self.clients.is_empty()
                || self.peer.as_ref().is_some_and(TcpPeer::is_connected),
            now: self.board.now(),
        });
    }

    /// Carries bytes between the second UART and its program.
    fn carry(&mut self, tell: &mut dyn FnMut(ServerEvent)) {
        let Some(peer) = &mut self.peer else { return };
        peer.turn(&mut self.board);
        peer.take_events().into_iter().for_each(|event| tell(ServerEvent::Uart1(event)));
    }

    fn accept(&mut self, tell: &mut dyn FnMut(ServerEvent)) {
        for (listener, wire) in &self.listeners {
            // An error here concerns only that client's connection.
            while let Ok((stream, _)) = listener.accept() {
                if self.clients.len() >= MOST_CLIENTS || self.away.is_some() {
                    continue;
                }
                if let Ok(client) = Client::new(stream, *wire) {
                    self.clients.push(client);
                    tell(ServerEvent::Joined);
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
                tell(ServerEvent::Joined);
            }
        }
    }

    fn remove_gone(&mut self, tell: &mut dyn FnMut(ServerEvent)) {
        for client in self.clients.iter_mut().filter(|client| client.is_gone()) {
            client.close(&mut self.board);
            #[cfg(unix)]
            if let Some(pty) = client.pty().and_then(|number| self.ptys.get_mut(number)) {
                // If this fails, so does the next client's open, which then gets the system's
                // error.
                let _ = pty.renew();
            }
            tell(ServerEvent::Left);
        }
        self.clients.retain(|client| !client.is_gone());
    }

    /// Handles a port that goes by the fault plan: hangs up all clients and accepts no new ones
    /// until it is back.
    fn handle_port_loss(&mut self, tell: &mut dyn FnMut(ServerEvent)) {
        self.board
            .take_fault_events()
            .into_iter()
            .for_each(|struck| tell(ServerEvent::Fault(struck)));
        if let Some(gone) = self.board.take_port_loss() {
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

    /// Reads from the clients. Returns whether one sent bytes to the board.
    fn read_clients(&mut self, tell: &mut dyn FnMut(ServerEvent)) -> bool {
        let now = self.pace.host();
        // A line that is kept full never falls far below its limit.
        let crowded = self.is_filled(LINE_FULL / 2);
        self.full_since = if crowded { self.full_since.or(Some(now)) } else { None };
        self.flood_reported &= crowded;
        let flooded = self.full_since.is_some_and(|since| now.saturating_sub(since) >= FLOOD);
        let (mut heard, mut lost) = (false, 0);
        for index in 0..self.clients.len() {
            let full = self.is_filled(LINE_FULL);
            let Some(client) = self.clients.get_mut(index) else { break };
            client.wait(now, &mut self.board);
            // A board that takes nothing loses its input, as one with a full FIFO does.
            let gone = crowded && client.has_hung_up();
            let pieces = if flooded || gone {
                MOST_PIECES
            } else if full && client.is_talking() {
                // A flooding client waits. The others are read because they may want to stop it.
                0
            } else {
                1
            };
            for _ in 0..pieces {
                let read = self.read_client_piece(index, now, gone);
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
        if lost > 0 && !self.flood_reported {
            self.flood_reported = true;
            tell(ServerEvent::Flooded);
        }
        heard
    }

    /// Returns whether at least `bytes` bytes wait for a board that takes them.
    fn is_filled(&self, bytes: usize) -> bool {
        self.board.host_waiting() >= bytes && !self.stalled
    }

    /// Reads one piece from a client. `gone` is set if it has disconnected and sends no more.
    fn read_client_piece(&mut self, index: usize, now: Duration, gone: bool) -> ReadResult {
        let mut piece = [0; PIECE];
        let mut read = ReadResult::default();
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
        read.lost = if taken.purged { 0 } else { (before + taken.data_len).saturating_sub(after) };
        read
    }

    /// Discards unread input of the other clients, as a purge covers what everyone has sent.
    /// Returns the number of bytes.
    fn drop_unread(&mut self, purging: usize, now: Duration) -> usize {
        let mut piece = [0; PIECE];
        let mut dropped = 0;
        for (index, client) in self.clients.iter_mut().enumerate() {
            for _ in 0..MOST_PIECES * usize::from(index != purging) {
                let len = client.read(&mut piece);
                let Some(bytes) = piece.get(..len).filter(|bytes| !bytes.is_empty()) else { break };
                dropped += client.take(bytes, now, &mut self.board, 0).data_len;
            }
        }
        dropped
    }

    fn run(&mut self, tell: &mut dyn FnMut(ServerEvent)) {
        let now = self.board.now();
        let (deadline, behind) = self.pace.deadline(now, SLICE);
        if let Some(behind) = behind {
            tell(ServerEvent::Behind(behind));
        }
        self.go_on(deadline, tell);
        // A burst of output is sent in one piece.
        while self.board.now() < deadline && self.said.len() < self.pace.most_said() && self.take()
        {
            let breath = self.board.now() + BREATH;
            self.go_on(breath.min(deadline), tell);
        }
    }

    fn go_on(&mut self, deadline: Duration, tell: &mut dyn FnMut(ServerEvent)) {
        match self.board.run_to(deadline, true) {
            Ok(()) => self.stopped = false,
            Err(error) if !self.stopped => {
                self.stopped = true;
                tell(ServerEvent::Stopped(error));
            }
            Err(_) => {}
        }
    }

    /// Collects the board's output. Returns whether there was any.
    fn take(&mut self) -> bool {
        let (before, most) = (self.said.len(), self.pace.most_said());
        while self.said.len() < most
            && let Some(sent) = self.board.host_take_sent()
        {
            self.said.push(sent);
        }
        self.said.len() > before
    }

    /// Passes the board's output to the clients and returns its length.
    fn send_output(&mut self) -> usize {
        self.take();
        for client in &mut self.clients {
            client.queue_output(&self.said);
            client.flush();
        }
        let said = self.said.len();
        self.said.clear();
        said
    }
}
