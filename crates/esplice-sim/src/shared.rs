//! A board that is in use at its port and can be inspected at the same time.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    Board, PortLoss, SimError, fault_plan::FaultEvent, port::SerialEnd, uart_tcp::TcpPeer,
};

/// A handle to a board, for what is not on its serial line: pins, reset button, memory. All clones
/// refer to the same board.
///
/// Use it while something else uses the board's port, such as `esplice_monitor::watch`: in the
/// callback of the watch, or from an observer ([`SharedBoard::observe`]).
///
/// ```
/// use std::time::Duration;
///
/// use esplice_protocol::Port;
/// use esplice_sim::SimPort;
///
/// let mut port = SimPort::open("sim:esp32c3")?;
/// let board = port.board().expect("ports opened by name have a board");
///
/// // Presses the button at pin 4 as soon as the firmware drives pin 5.
/// board.observe(|board| {
///     if board.pin_is_output(5) {
///         board.set_pin(4, true);
///     }
/// });
/// port.wait_until(port.now() + Duration::from_millis(100))?;
/// assert!(!board.with(|board| board.pin(4)), "without firmware nothing drives pin 5");
/// # Ok::<(), esplice_protocol::PortError>(())
/// ```
#[derive(Clone)]
pub struct SharedBoard(Arc<Mutex<Inner>>);

type Observer = Box<dyn FnMut(&mut Board) + Send>;

struct Inner {
    board: Board,
    observer: Option<Observer>,
    /// Cable to another program.
    peer: Option<TcpPeer>,
}

impl fmt::Debug for SharedBoard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedBoard").finish_non_exhaustive()
    }
}

impl SharedBoard {
    /// Creates a handle to `board`. A clone of it is the board of a port
    /// ([`SimPort::from_board`](crate::SimPort::from_board)).
    pub fn new(board: Board) -> SharedBoard {
        SharedBoard(Arc::new(Mutex::new(Inner { board, observer: None, peer: None })))
    }

    /// Returns the result of `action` on the board. Waits while another thread runs the board, at
    /// most for a slice of 10 ms of its time. Do not call it from within an `action` or an
    /// observer: that waits for itself.
    pub fn with<R>(&self, action: impl FnOnce(&mut Board) -> R) -> R {
        action(&mut self.inner().board)
    }

    /// Calls `observer` whenever the port has run the board: after each slice of at most 10 ms of
    /// the board's time, and as soon as there is output to read. Replaces an earlier observer.
    pub fn observe(&self, observer: impl FnMut(&mut Board) + Send + 'static) {
        self.inner().observer = Some(Box::new(observer));
    }

    /// Makes a cable carry bytes while the port runs the board. Replaces an earlier one.
    pub fn attach_peer(&self, peer: TcpPeer) {
        self.inner().peer = Some(peer);
    }

    /// Returns whether another program is connected to the board.
    pub fn has_peer(&self) -> bool {
        self.inner().peer.is_some()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SerialEnd for SharedBoard {
    fn now(&self) -> Duration {
        self.inner().board.now()
    }

    fn run_to(&mut self, deadline: Duration, stop_on_output: bool) -> Result<(), SimError> {
        let mut inner = self.inner();
        let Inner { board, observer, peer } = &mut *inner;
        let ran = match peer {
            Some(peer) => peer.run_to(board, deadline, stop_on_output),
            None => board.run_to(deadline, stop_on_output),
        };
        if let Some(observer) = observer {
            observer(board);
        }
        ran
    }

    fn set_lines(&mut self, dtr: bool, rts: bool) {
        self.inner().board.set_lines(dtr, rts);
    }

    fn host_send(&mut self, bytes: &[u8], baud: u32) -> Duration {
        self.inner().board.host_send(bytes, baud)
    }

    fn host_take(&mut self, baud: u32, buf: &mut [u8]) -> usize {
        self.inner().board.host_take(baud, buf)
    }

    fn host_clear(&mut self) {
        self.inner().board.host_clear();
    }

    fn take_fault_events(&mut self) -> Vec<FaultEvent> {
        self.inner().board.take_fault_events()
    }

    fn take_port_loss(&mut self) -> Option<PortLoss> {
        self.inner().board.take_port_loss()
    }
}
