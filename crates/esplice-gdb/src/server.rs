//! Listens for debuggers, and runs the board for the one that is connected.

use std::{
    collections::VecDeque,
    io::{self, Read as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel},
    },
    time::Duration,
};

use gdbstub::{
    common::Signal,
    conn::Connection,
    stub::{DisconnectReason, GdbStub, SingleThreadStopReason, state_machine::GdbStubStateMachine},
    target::ext::{base::reverse_exec::ReplayLogPosition, breakpoints::WatchKind},
};

use crate::{
    Debugger, GdbError,
    debugger::{Action, Stop},
};

/// Length of the longest packet. GDB splits longer transfers.
const PACKET: usize = 0x4000;
/// Interval at which a server without anything to do looks at its stop flag.
const PATIENCE: Duration = Duration::from_millis(50);
/// Time within which a debugger must accept what it asked for.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// Pieces of input that wait for the server; then the client waits.
const WAITING: usize = 16;

/// Something that happened while a server served.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerEvent {
    /// A debugger connected. The board is halted.
    Attached(SocketAddr),
    /// The debugger left on purpose. The board runs on.
    Detached,
    /// The connection was lost, or the debugger killed the board. The board stays halted.
    Lost(String),
    /// A second debugger was refused.
    Refused(SocketAddr),
    /// The board has printed something.
    Output(Vec<u8>),
    /// A message for the person at the server.
    Note(String),
}

enum Incoming {
    Client(TcpStream, SocketAddr),
    Bytes(u64, Vec<u8>),
    Closed(u64),
}

/// A server for one board.
pub struct Server {
    addr: SocketAddr,
    incoming: Receiver<Incoming>,
    sender: SyncSender<Incoming>,
    clients: u64,
}

impl Server {
    /// Listens on an address; port 0 picks a free one.
    ///
    /// # Errors
    /// [`GdbError::Listen`].
    pub fn listen(addr: SocketAddr) -> Result<Server, GdbError> {
        let refused = |source| GdbError::Listen { addr, source };
        let listener = TcpListener::bind(addr).map_err(refused)?;
        let addr = listener.local_addr().map_err(refused)?;
        let (sender, incoming) = sync_channel(WAITING);
        let clients = sender.clone();
        // The thread ends with the process, or when a client comes after the server is gone.
        let accept = move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                let Ok(peer) = stream.peer_addr() else { continue };
                if clients.send(Incoming::Client(stream, peer)).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new()
            .name("gdb-listener".into())
            .spawn(accept)
            .map_err(GdbError::Thread)?;
        Ok(Server { addr, incoming, sender, clients: 0 })
    }

    /// Returns the address that the server listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves debuggers, one after the other, until `stop` is set. Before the first one comes, the
    /// board is halted.
    ///
    /// # Errors
    /// [`GdbError::Thread`] if the system refuses a thread.
    pub fn serve(
        &mut self,
        debugger: &mut Debugger<'_>,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(ServerEvent),
    ) -> Result<(), GdbError> {
        let mut running = false;
        while !stop.load(Ordering::Relaxed) {
            let incoming = if running {
                if let Some(Stop::Failed(error)) = debugger.run() {
                    tell(ServerEvent::Note(format!("the board stopped: {error}")));
                    running = false;
                }
                self.incoming.try_recv().ok()
            } else {
                self.incoming.recv_timeout(PATIENCE).ok()
            };
            tell_news(debugger, tell);
            if let Some(Incoming::Client(stream, peer)) = incoming {
                tell(ServerEvent::Attached(peer));
                let session = self.session(stream, debugger, stop, tell)?;
                debugger.remove_stops();
                running = session == Ended::Detached;
                tell(match session {
                    Ended::Detached => ServerEvent::Detached,
                    Ended::Lost(why) => ServerEvent::Lost(why),
                });
                if running {
                    debugger.begin(Action::Continue);
                }
            }
        }
        Ok(())
    }

    fn session(
        &mut self,
        stream: TcpStream,
        debugger: &mut Debugger<'_>,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(ServerEvent),
    ) -> Result<Ended, GdbError> {
        self.clients += 1;
        let number = self.clients;
        let reading = match stream.try_clone().and_then(|reading| {
            stream.set_nodelay(true)?;
            stream.set_write_timeout(Some(WRITE_PATIENCE))?;
            Ok(reading)
        }) {
            Ok(reading) => reading,
            Err(error) => return Ok(Ended::Lost(error.to_string())),
        };
        let sender = self.sender.clone();
        let reader = std::thread::Builder::new()
            .name("gdb-client".into())
            .spawn(move || read_client(reading, number, &sender))
            .map_err(GdbError::Thread)?;
        let closing = stream.try_clone();
        let mut wire = Wire { server: self, number, waiting: VecDeque::new(), stop, closed: false };
        let replies = Buffered { stream, bytes: Vec::new() };
        let ended = talk(&mut wire, replies, debugger, tell);
        if let Ok(closing) = closing {
            let _ = closing.shutdown(Shutdown::Both);
        }
        // The reader may wait for room in the channel.
        while !reader.is_finished() {
            if let Ok(Incoming::Client(_, peer)) = self.incoming.recv_timeout(PATIENCE) {
                tell(ServerEvent::Refused(peer));
            }
        }
        Ok(ended)
    }
}

/// Sends what the client sends to the server, until the connection ends.
fn read_client(mut stream: TcpStream, number: u64, sender: &SyncSender<Incoming>) {
    let mut buffer = [0; 4096];
    loop {
        let sent = match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => {
                let bytes = buffer.get(..len).unwrap_or_default().to_vec();
                sender.send(Incoming::Bytes(number, bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        if sent.is_err() {
            return;
        }
    }
    // Without a receiver, nobody needs to know.
    let _ = sender.send(Incoming::Closed(number));
}

fn tell_news(debugger: &mut Debugger<'_>, tell: &mut dyn FnMut(ServerEvent)) {
    let output = debugger.take_output();
    if debugger.show_output && !output.is_empty() {
        tell(ServerEvent::Output(output));
    }
    for note in std::mem::take(&mut debugger.notes) {
        tell(ServerEvent::Note(note));
    }
}

/// How a session has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ended {
    Detached,
    Lost(String),
}

/// Where the client's bytes come from.
trait Incomings {
    /// Returns the next byte, if one is there or comes within the time. Returns `None` as well at
    /// the end.
    fn next(&mut self, wait: Option<Duration>, tell: &mut dyn FnMut(ServerEvent)) -> Option<u8>;

    /// Returns whether the session is over.
    fn is_over(&self) -> bool;
}

/// The bytes of a client that is connected.
struct Wire<'a> {
    server: &'a Server,
    number: u64,
    waiting: VecDeque<u8>,
    stop: &'a AtomicBool,
    closed: bool,
}

impl Incomings for Wire<'_> {
    fn next(&mut self, wait: Option<Duration>, tell: &mut dyn FnMut(ServerEvent)) -> Option<u8> {
        while self.waiting.is_empty() && !self.closed {
            let incoming = match wait {
                Some(time) => match self.server.incoming.recv_timeout(time) {
                    Ok(incoming) => incoming,
                    Err(RecvTimeoutError::Timeout) => return None,
                    Err(RecvTimeoutError::Disconnected) => {
                        self.closed = true;
                        return None;
                    }
                },
                None => match self.server.incoming.try_recv() {
                    Ok(incoming) => incoming,
                    Err(TryRecvError::Empty) => return None,
                    Err(TryRecvError::Disconnected) => {
                        self.closed = true;
                        return None;
                    }
                },
            };
            match incoming {
                Incoming::Bytes(number, bytes) if number == self.number => {
                    self.waiting.extend(bytes);
                }
                Incoming::Closed(number) if number == self.number => self.closed = true,
                Incoming::Client(_, peer) => tell(ServerEvent::Refused(peer)),
                Incoming::Bytes(..) | Incoming::Closed(_) => {}
            }
        }
        self.waiting.pop_front()
    }

    fn is_over(&self) -> bool {
        self.closed || self.stop.load(Ordering::Relaxed)
    }
}

/// Speaks the protocol with one client.
fn talk(
    wire: &mut dyn Incomings,
    replies: impl Connection<Error = io::Error>,
    debugger: &mut Debugger<'_>,
    tell: &mut dyn FnMut(ServerEvent),
) -> Ended {
    let stub = match GdbStub::builder(replies).packet_buffer_size(PACKET).build() {
        Ok(stub) => stub,
        Err(error) => return Ended::Lost(error.to_string()),
    };
    let mut gdb = match stub.run_state_machine(debugger) {
        Ok(gdb) => gdb,
        Err(error) => return Ended::Lost(error.to_string()),
    };
    loop {
        let next = match gdb {
            GdbStubStateMachine::Idle(idle) => {
                let byte = wire.next(Some(PATIENCE), tell);
                tell_news(debugger, tell);
                match byte {
                    Some(byte) => idle.incoming_data(debugger, byte),
                    None if wire.is_over() => {
                        return Ended::Lost("the connection was closed".into());
                    }
                    None => Ok(idle.into()),
                }
            }
            GdbStubStateMachine::Running(running) => match wire.next(None, tell) {
                Some(byte) => running.incoming_data(debugger, byte),
                None if wire.is_over() => {
                    debugger.interrupt();
                    return Ended::Lost("the connection was closed".into());
                }
                None => {
                    let stop = debugger.run();
                    if let Some(Stop::Failed(error)) = &stop {
                        debugger.notes.push(format!("the board stopped: {error}"));
                    }
                    tell_news(debugger, tell);
                    match stop {
                        Some(stop) => running.report_stop(debugger, stop_reason(&stop)),
                        None => Ok(running.into()),
                    }
                }
            },
            GdbStubStateMachine::CtrlCInterrupt(interrupted) => {
                debugger.interrupt();
                let reason = SingleThreadStopReason::Signal(Signal::SIGINT);
                interrupted.interrupt_handled(debugger, Some(reason))
            }
            GdbStubStateMachine::Disconnected(end) => {
                return match end.get_reason() {
                    DisconnectReason::Disconnect => Ended::Detached,
                    _ => Ended::Lost("the debugger has ended the session".into()),
                };
            }
        };
        gdb = match next {
            Ok(gdb) => gdb,
            Err(error) => {
                debugger.interrupt();
                return Ended::Lost(error.to_string());
            }
        };
    }
}

fn stop_reason(stop: &Stop) -> SingleThreadStopReason<u32> {
    match stop {
        Stop::Breakpoint => SingleThreadStopReason::SwBreak(()),
        Stop::Watchpoint { addr, kinds } => SingleThreadStopReason::Watch {
            tid: (),
            kind: match kinds {
                (true, false) => WatchKind::Read,
                (true, true) => WatchKind::ReadWrite,
                _ => WatchKind::Write,
            },
            addr: *addr,
        },
        Stop::Stepped => SingleThreadStopReason::DoneStep,
        Stop::Beginning => {
            SingleThreadStopReason::ReplayLog { tid: None, pos: ReplayLogPosition::Begin }
        }
        Stop::Failed(_) => SingleThreadStopReason::Signal(Signal::SIGILL),
    }
}

/// A connection that writes whole packets.
struct Buffered {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Connection for Buffered {
    type Error = io::Error;

    fn write(&mut self, byte: u8) -> io::Result<()> {
        self.bytes.push(byte);
        // An acknowledgement must not wait for the reply.
        if byte == b'+' && self.bytes.len() == 1 { self.flush() } else { Ok(()) }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.bytes);
        io::Write::write_all(&mut self.stream, &bytes)
    }
}

/// Answers a client whose bytes are all known, and returns the replies. While the board runs, it
/// gets `slices` slices of 10 ms of its time before the next byte is looked at. The session ends
/// with the bytes. For tests of the protocol.
pub fn answer(debugger: &mut Debugger<'_>, bytes: &[u8], slices: usize) -> Vec<u8> {
    let mut given = Given { bytes: bytes.iter().copied().collect(), slices, left: slices };
    let mut replies = Vec::new();
    talk(&mut given, Kept(&mut replies), debugger, &mut |_| {});
    debugger.remove_stops();
    replies
}

struct Given {
    bytes: VecDeque<u8>,
    slices: usize,
    left: usize,
}

impl Incomings for Given {
    fn next(&mut self, wait: Option<Duration>, _: &mut dyn FnMut(ServerEvent)) -> Option<u8> {
        // Without a wait, the board runs.
        if wait.is_none() && self.left > 0 {
            self.left -= 1;
            return None;
        }
        self.left = self.slices;
        self.bytes.pop_front()
    }

    fn is_over(&self) -> bool {
        self.bytes.is_empty() && self.left == self.slices
    }
}

struct Kept<'a>(&'a mut Vec<u8>);

impl Connection for Kept<'_> {
    type Error = io::Error;

    fn write(&mut self, byte: u8) -> io::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
