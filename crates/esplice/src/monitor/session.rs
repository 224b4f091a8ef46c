//! Runs a watch: a thread for each board passes its output to the screen, and sends it what the
//! user types and what a script contains.

use std::{
    collections::VecDeque,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{
            Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel, sync_channel,
        },
    },
    thread,
    time::Duration,
};

use esplice_flash::{Strategy, reset_to_download, reset_to_run};
use esplice_monitor::{Action, Filter, MonitorError, Outcome, Watcher};
use esplice_protocol::{Moment, Port, PortError};

use super::{
    console::Console,
    event_printer::{Display, EventPrinter},
    keys::{KEYS, Key},
    log_file::LogFile,
};
use crate::{
    monitor::backtrace::Decoder,
    ui::{exit::Failure, interrupt::Interrupt, shell::Shell},
};

/// Longest single wait for a board's bytes, in its port's time: when idle, when orders may arrive,
/// and when bytes are to be sent.
const WAIT: Duration = Duration::from_millis(50);
const WAIT_FOR_ORDERS: Duration = Duration::from_millis(10);
const WAIT_SHORT: Duration = Duration::from_millis(2);

/// How often keys are read.
const KEYS_EVERY: Duration = Duration::from_millis(5);

/// Number of reads at the timeout, for bytes that have arrived but were not yet read.
const LAST_READS: usize = 16;

/// Number of bytes sent at once. Bytes received meanwhile must fit into the system's buffer, which
/// is 4 KiB for a serial line.
const SENT_AT_ONCE: usize = 64;

/// Time between attempts to reopen a lost port, in addition to the port's own waits.
const BETWEEN_TRIES: Duration = Duration::from_millis(200);

/// How far a port's clock may run ahead of the others: the clocks of virtual boards do not wait by
/// themselves.
const MOST_AHEAD: Duration = Duration::from_millis(50);

/// Longest wait for another port between checks.
const STEP_EVERY: Duration = Duration::from_millis(20);

/// Number of orders that can wait for a board.
const ORDERS: usize = 4;

/// A board that is watched.
pub struct Line<'a, 'e> {
    pub port: &'a mut (dyn Port + Send),
    pub strategies: &'a [Strategy],
    /// Baud rate of the firmware's output.
    pub baud: u32,
    pub watcher: Watcher,
    pub log: Option<LogFile>,
    pub printer: EventPrinter<'a, 'e>,
    /// Bytes still to be sent.
    pub outgoing: VecDeque<u8>,
    /// Whether these bytes come from a step of the script.
    pub sending: bool,
    /// The filter, while it is disabled.
    pub filter_off: Option<Filter>,
    /// Whether to wait for a port that disappears.
    pub reconnects: bool,
}

/// How a watch ended.
pub enum End {
    /// The board at this index has settled it.
    Settled(usize, Box<Outcome>),
    /// The user quit.
    Left,
}

/// Output shared by all boards.
pub struct SharedOutput<'s> {
    pub display: Display,
    pub shell: &'s mut Shell,
}

/// An order to a board, from a key.
#[derive(Debug)]
enum Order {
    Send(Vec<u8>),
    Reset { download: bool },
    TimeStamps { told: bool },
    Filter { told: bool },
}

/// Boards that are watched together.
pub struct Session<'a, 'e> {
    pub lines: Vec<Line<'a, 'e>>,
    pub console: Option<Console>,
}

/// State shared by all threads of a session.
struct SharedState<'c, 's> {
    output: &'c Mutex<SharedOutput<'s>>,
    /// Whether the session is over, because it is settled or the user quit.
    over: AtomicBool,
    pace: Pace,
    has_orders: bool,
}

impl SharedState<'_, '_> {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// Keeps ports in step: how far each one's clock has advanced since the watch began, `None` for
/// those that nobody waits for.
struct Pace {
    clocks: Mutex<Vec<Option<Duration>>>,
    moved: Condvar,
}

impl Pace {
    fn tell(&self, index: usize, clock: Option<Duration>) {
        if let Some(held) = lock(&self.clocks).get_mut(index) {
            *held = clock;
        }
        self.moved.notify_all();
    }

    /// Waits until the others have nearly caught up.
    fn wait(&self, index: usize, shared: &SharedState<'_, '_>) {
        let mut clocks = lock(&self.clocks);
        loop {
            let Some(own) = clocks.get(index).copied().flatten() else { return };
            let behind = clocks.iter().flatten().any(|other| *other + MOST_AHEAD < own);
            if !behind || shared.is_over() {
                return;
            }
            let waited = self.moved.wait_timeout(clocks, STEP_EVERY);
            clocks = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Line<'_, '_> {
    /// Watches the board until the outcome is settled or the session is over.
    fn watch(
        &mut self,
        index: usize,
        orders: &Receiver<Order>,
        shared: &SharedState<'_, '_>,
    ) -> Result<Option<Outcome>, MonitorError> {
        let wait = if shared.has_orders { WAIT_FOR_ORDERS } else { WAIT };
        let began = self.port.now();
        while !shared.is_over() {
            let turned =
                self.carry_out(orders, shared.output).and_then(|()| self.turn(wait, shared.output));
            let now = self.port.now();
            let turned = {
                let SharedOutput { display, shell } = &mut *lock(shared.output);
                match &turned {
                    Ok(None) => self.printer.show_late(now, display, shell),
                    _ => self.printer.show_rest(display, shell),
                }
                turned
            };
            match turned {
                Err(PortError::Gone { port }) => {
                    // A panic that was cut off may be why the port is gone.
                    if let Some(outcome) = self.cut(shared.output) {
                        return Ok(Some(outcome));
                    }
                    let lost = match self.watcher.seen() {
                        0 => PortError::Gone { port }.into(),
                        seen => MonitorError::Lost { port, seen },
                    };
                    if !self.reconnects {
                        return Err(lost);
                    }
                    // The other boards continue in the meantime.
                    shared.pace.tell(index, None);
                    self.wait_for_port(lost, shared)?;
                }
                Ok(None) => {}
                turned => return Ok(turned?),
            }
            shared.pace.tell(index, Some(self.port.now().since(began)));
            shared.pace.wait(index, shared);
        }
        Ok(None)
    }

    /// Waits until the port is available again.
    fn wait_for_port(
        &mut self,
        lost: MonitorError,
        shared: &SharedState<'_, '_>,
    ) -> Result<(), MonitorError> {
        lock(shared.output).shell.warning(&format!("{lost}: waiting until it is back"));
        while let Err(error) = self.port.reopen() {
            let later = self.port.now() + BETWEEN_TRIES;
            match (error, self.port.wait_until(later)) {
                (PortError::Interrupted, _) | (_, Err(PortError::Interrupted)) => {
                    return Err(PortError::Interrupted.into());
                }
                (_, Ok(())) if shared.is_over() => return Ok(()),
                (_, Ok(())) => {}
                // A port whose clock has stopped is gone for good: a virtual board without power.
                (_, Err(_)) => return Err(lost),
            }
        }
        // The board has most likely been reset, so its state is discarded.
        self.watcher.was_reset();
        lock(shared.output).shell.status(&format!("Port {} is back", self.port.name()));
        Ok(())
    }

    /// Carries out an order, unless there are still bytes to send.
    fn carry_out(
        &mut self,
        orders: &Receiver<Order>,
        output: &Mutex<SharedOutput<'_>>,
    ) -> Result<(), PortError> {
        while self.outgoing.is_empty() {
            let Ok(order) = orders.try_recv() else { break };
            match order {
                Order::Send(bytes) => self.outgoing.extend(bytes),
                Order::Reset { download } => match self.reset_by_key(download, output) {
                    // The next read reports the lost port and waits for it.
                    Err(PortError::Gone { .. }) => {}
                    done => done?,
                },
                Order::TimeStamps { told } => {
                    let on = self.printer.screen.switch_time_stamps();
                    if told {
                        let text = if on { "Time stamps on" } else { "Time stamps off" };
                        lock(output).shell.status(text);
                    }
                }
                Order::Filter { told } => {
                    let other = self.filter_off.take();
                    let turned_on = other.is_some();
                    self.filter_off = self.printer.screen.swap_filter(other);
                    if told {
                        lock(output).shell.status(match (turned_on, &self.filter_off) {
                            (true, _) => "Filter on",
                            (false, Some(_)) => "Filter off",
                            (false, None) => "There is no filter: set one with --filter",
                        });
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends pending bytes, reads what has arrived, and passes both to the watcher. Waits for bytes
    /// as long as `wait`.
    fn turn(
        &mut self,
        wait: Duration,
        output: &Mutex<SharedOutput<'_>>,
    ) -> Result<Option<Outcome>, PortError> {
        if let Some(outcome) = self.act(output)? {
            return Ok(Some(outcome));
        }
        let mut buf = [0; 4096];
        let now = self.port.now();
        if self.watcher.deadline().is_some_and(|deadline| deadline <= now) {
            // Bytes that have already arrived still count.
            for _ in 0..LAST_READS {
                let count = self.port.read(&mut buf, now)?;
                if count == 0 {
                    break;
                }
                let bytes = buf.get(..count).unwrap_or_default();
                if let Some(outcome) = self.take(bytes, now, output) {
                    return Ok(Some(outcome));
                }
            }
            let Line { watcher, printer, .. } = self;
            let SharedOutput { display, shell } = &mut *lock(output);
            let outcome =
                watcher.tick(now, &mut |event| printer.print(&event, now, display, shell));
            if outcome.is_some() {
                return Ok(outcome);
            }
        }
        let wait = if self.outgoing.is_empty() { wait } else { WAIT_SHORT };
        let until = now + wait;
        let until = self.watcher.deadline().map_or(until, |deadline| deadline.min(until));
        let count = self.port.read(&mut buf, until)?;
        let now = self.port.now();
        Ok(self.take(buf.get(..count).unwrap_or_default(), now, output))
    }

    /// Processes received bytes.
    fn take(
        &mut self,
        bytes: &[u8],
        now: Moment,
        output: &Mutex<SharedOutput<'_>>,
    ) -> Option<Outcome> {
        if bytes.is_empty() {
            return None;
        }
        let SharedOutput { display, shell } = &mut *lock(output);
        let received = shell.summary.bytes_received.unwrap_or(0);
        shell.summary.bytes_received = Some(received.saturating_add(bytes.len() as u64));
        if let Some(log) = &mut self.log {
            log.write(bytes, shell);
        }
        let Line { watcher, printer, .. } = self;
        watcher.push(bytes, now, &mut |event| printer.print(&event, now, display, shell))
    }

    /// Ends the current output, because no more of it will arrive.
    fn cut(&mut self, output: &Mutex<SharedOutput<'_>>) -> Option<Outcome> {
        let now = self.port.now();
        let SharedOutput { display, shell } = &mut *lock(output);
        let Line { watcher, printer, .. } = self;
        watcher.cut(now, &mut |event| printer.print(&event, now, display, shell))
    }

    /// Fails the running test, because the watch ends for a reason other than the board.
    pub fn abandon_test(&mut self, reason: &str, display: &mut Display, shell: &mut Shell) {
        let now = self.port.now();
        let Line { watcher, printer, .. } = self;
        watcher.abandon_test(reason, now, &mut |event| printer.print(&event, now, display, shell));
    }

    /// Performs the script's next steps and sends a piece of the pending bytes.
    fn act(&mut self, output: &Mutex<SharedOutput<'_>>) -> Result<Option<Outcome>, PortError> {
        loop {
            if !self.outgoing.is_empty() {
                let count = self.outgoing.len().min(SENT_AT_ONCE);
                let piece: Vec<u8> = self.outgoing.drain(..count).collect();
                self.port.write(&piece)?;
                let summary = &mut lock(output).shell.summary;
                let sent = summary.bytes_sent.unwrap_or(0);
                summary.bytes_sent = Some(sent.saturating_add(piece.len() as u64));
                if !self.outgoing.is_empty() {
                    return Ok(None);
                }
            }
            if std::mem::take(&mut self.sending) {
                if let Some(outcome) = self.watcher.done(self.port.now()) {
                    return Ok(Some(outcome));
                }
                continue;
            }
            match self.watcher.action() {
                Some(Action::Send(bytes)) => {
                    self.outgoing.extend(bytes);
                    self.sending = true;
                }
                Some(Action::Reset) => {
                    // It was checked before that the port can reset.
                    self.reset()?;
                    self.begin_anew(output);
                    if let Some(outcome) = self.watcher.done(self.port.now()) {
                        return Ok(Some(outcome));
                    }
                }
                _ => return Ok(None),
            }
        }
    }

    fn begin_anew(&mut self, output: &Mutex<SharedOutput<'_>>) {
        let SharedOutput { display, shell } = &mut *lock(output);
        self.printer.begin_anew(display, shell);
    }

    /// Resets the board, if its port has reset lines.
    fn reset(&mut self) -> Result<bool, PortError> {
        let released = reset_to_run(self.port, self.baud)?;
        if let Some(released) = released {
            self.printer.began = released;
        }
        Ok(released.is_some())
    }

    /// Resets the board as requested by a key, if its port has reset lines.
    fn reset_by_key(
        &mut self,
        download: bool,
        output: &Mutex<SharedOutput<'_>>,
    ) -> Result<(), PortError> {
        let strategy = self.strategies.first().filter(|_| self.port.caps().lines);
        let (done, said) = match (download, strategy) {
            (true, Some(strategy)) => {
                reset_to_download(self.port, strategy)?;
                (true, "Reset to download mode")
            }
            (true, None) => (false, ""),
            (false, _) => (self.reset()?, "Reset"),
        };
        if !done {
            let name = self.port.name();
            lock(output).shell.status(&format!("{name} has no reset lines"));
            return Ok(());
        }
        self.begin_anew(output);
        self.watcher.was_reset();
        lock(output).shell.status(said);
        Ok(())
    }
}
