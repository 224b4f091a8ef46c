//! Runs a watch: a thread for each board passes its output to the screen, and sends it what the
//! user types and what a script contains.

use std::{
    sync::{
        Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{
            Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel, sync_channel,
        },
    },
    thread,
    time::Duration,
};

use esplice_monitor::{MonitorError, Outcome};
use esplice_protocol::PortError;

use super::{
    console::Console,
    keys::{KEYS, Key},
    line::Line,
    shared::{Order, Pace, SharedOutput, SharedState, lock},
};
use crate::{
    monitor::backtrace::Decoder,
    ui::{exit::Failure, interrupt::Interrupt, shell::Shell},
};

/// How often keys are read.
const KEYS_EVERY: Duration = Duration::from_millis(5);

/// Number of orders that can wait for a board.
const ORDERS: usize = 4;

/// How a watch ended.
pub enum End {
    /// The board at this index has settled it.
    Settled(usize, Box<Outcome>),
    /// The user quit.
    Left,
}

/// Boards that are watched together.
pub struct Session<'a, 'e> {
    pub lines: Vec<Line<'a, 'e>>,
    pub console: Option<Console>,
}

/// The outcome of a board.
type Done = (usize, Result<Option<Outcome>, MonitorError>);

impl Session<'_, '_> {
    /// Runs until the outcome is settled.
    pub fn run(
        &mut self,
        output: &Mutex<SharedOutput<'_>>,
        decoder: &Decoder<'_>,
        interrupt: &Interrupt,
    ) -> Result<End, Failure> {
        let Session { lines, console } = self;
        let clocks = lines.iter().map(|_| Some(Duration::ZERO)).collect();
        let shared = SharedState {
            output,
            over: AtomicBool::new(false),
            pace: Pace { clocks: Mutex::new(clocks), moved: Condvar::new() },
            has_orders: console.is_some(),
        };
        let names = lines.iter().map(|line| line.port.name().to_owned()).collect();
        thread::scope(|scope| {
            decoder.prepare(scope);
            let (done, outcomes) = channel();
            let mut orders = vec![];
            for (index, line) in lines.iter_mut().enumerate() {
                let (give, take) = sync_channel(ORDERS);
                orders.push(give);
                let (shared, done) = (&shared, done.clone());
                scope.spawn(move || {
                    let outcome = line.watch(index, &take, shared);
                    shared.pace.tell(index, None);
                    // No receiver is left once the session is over.
                    let _: Result<(), _> = Sender::<Done>::send(&done, (index, outcome));
                });
            }
            drop(done);
            let keys = Orders { names, orders, typed_to: 0, waiting: None };
            let ended = conclude(&outcomes, console, keys, output);
            shared.over.store(true, Ordering::Relaxed);
            // Stops waiting for lost ports.
            interrupt.stop_ports();
            decoder.stop_preparing();
            ended
        })
    }
}

/// Waits for the end, and passes keys to the boards in the meantime.
fn conclude(
    outcomes: &Receiver<Done>,
    console: &mut Option<Console>,
    mut keys: Orders,
    output: &Mutex<SharedOutput<'_>>,
) -> Result<End, Failure> {
    loop {
        let done = match console {
            Some(_) => outcomes.recv_timeout(KEYS_EVERY),
            None => outcomes.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match done {
            Ok((index, Ok(Some(outcome)))) => return Ok(End::Settled(index, Box::new(outcome))),
            Ok((_, Err(MonitorError::Port(PortError::Interrupted)))) => {
                return interrupted(console, lock(output).shell);
            }
            Ok((_, Err(error))) => return Err(error.into()),
            // A thread that ended without a message has panicked; the scope propagates that.
            Ok((_, Ok(None))) | Err(RecvTimeoutError::Disconnected) => return Ok(End::Left),
            Err(RecvTimeoutError::Timeout) => {}
        }
        match keys.take(console, output) {
            Ok(Some(end)) => return Ok(end),
            Ok(None) => {}
            Err(()) => return interrupted(console, lock(output).shell),
        }
    }
}

/// Handles an interrupted port: by a signal, by a key, or because nobody reads the output.
fn interrupted(console: &mut Option<Console>, shell: &mut Shell) -> Result<End, Failure> {
    while let Some(key) = console.as_mut().and_then(Console::next) {
        if key == Key::Quit {
            return Ok(End::Left);
        }
    }
    if shell.stdout_closed() { Ok(End::Left) } else { Err(Failure::interrupted()) }
}

/// Distributes keys to the boards.
struct Orders {
    names: Vec<String>,
    orders: Vec<SyncSender<Order>>,
    /// The board that receives typed text.
    typed_to: usize,
    /// An order that did not fit into its board's queue.
    waiting: Option<(usize, Order)>,
}

impl Orders {
    /// Distributes what the user typed. Returns an error if the user wants to interrupt.
    fn take(
        &mut self,
        console: &mut Option<Console>,
        output: &Mutex<SharedOutput<'_>>,
    ) -> Result<Option<End>, ()> {
        loop {
            // While an order waits for a board, no further bytes are read.
            if let Some((index, order)) = self.waiting.take()
                && !self.send_order(index, order)
            {
                return Ok(None);
            }
            let Some(key) = console.as_mut().and_then(Console::next) else { return Ok(None) };
            let typed_to = self.typed_to;
            match key {
                Key::Send(bytes) => {
                    self.send_order(typed_to, Order::Send(bytes));
                }
                Key::Quit => return Ok(Some(End::Left)),
                Key::Interrupt => return Err(()),
                Key::Reset | Key::Download => {
                    self.send_order(typed_to, Order::Reset { download: key == Key::Download });
                }
                Key::TimeStamps => self.broadcast(|told| Order::TimeStamps { told }),
                Key::Filter => self.broadcast(|told| Order::Filter { told }),
                Key::Port(index) => match self.names.get(index) {
                    Some(name) => {
                        lock(output).shell.status(&format!("Keys go to {name}"));
                        self.typed_to = index;
                    }
                    None => lock(output).shell.status(&format!("There is no port {}", index + 1)),
                },
                Key::Help | Key::Unknown => lock(output).shell.status(KEYS),
            }
        }
    }

    /// Queues `order` for the board at `index`, or keeps it. Returns whether the queue had space.
    fn send_order(&mut self, index: usize, order: Order) -> bool {
        match self.orders.get(index).map(|orders| orders.try_send(order)) {
            Some(Err(TrySendError::Full(order))) => {
                self.waiting = Some((index, order));
                false
            }
            _ => true,
        }
    }

    /// Sends an order to all boards that only changes the display; the first board reports it. A
    /// board with a full queue is busy with typed text, and is skipped.
    fn broadcast(&mut self, order: impl Fn(bool) -> Order) {
        for (index, orders) in self.orders.iter().enumerate() {
            let _ = orders.try_send(order(index == 0));
        }
    }
}
