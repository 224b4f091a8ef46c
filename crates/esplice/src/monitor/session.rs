//! A watch under way: a thread for each board takes its bytes to the screen, and to the board what is typed
//! and what a script asks for.

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
    keys::{KEYS, Key},
    log_file::LogFile,
    teller::{Display, Teller},
};
use crate::{
    monitor::backtrace::Decoder,
    ui::{exit::Failure, interrupt::Interrupt, shell::Shell},
};

/// The longest single wait for a board's bytes, in its port's time: with nothing else to do, with orders
/// to look at, and with bytes to send.
const WAIT: Duration = Duration::from_millis(50);
const WAIT_FOR_ORDERS: Duration = Duration::from_millis(10);
const WAIT_SHORT: Duration = Duration::from_millis(2);

/// How often keys are looked for.
const KEYS_EVERY: Duration = Duration::from_millis(5);

/// Reads made at the end of time, for bytes that had arrived and were not yet fetched.
const LAST_READS: usize = 16;

/// Bytes that are handed to a line at once: what comes in meanwhile has to find room with the system,
/// which keeps 4 KiB of a serial line.
const SENT_AT_ONCE: usize = 64;

/// Time between two tries to open a port that is gone, beside what the port itself waits.
const BETWEEN_TRIES: Duration = Duration::from_millis(200);

/// How far a port's clock may be ahead of those of the other ports: virtual boards have clocks that wait
/// for nobody.
const MOST_AHEAD: Duration = Duration::from_millis(50);

/// How long another port is waited for without looking up.
const STEP_EVERY: Duration = Duration::from_millis(20);

/// Orders that wait for a board.
const ORDERS: usize = 4;

/// One board that is watched.
pub struct Line<'a, 'e> {
    pub port: &'a mut (dyn Port + Send),
    pub strategies: &'a [Strategy],
    /// The firmware's.
    pub baud: u32,
    pub watcher: Watcher,
    pub log: Option<LogFile>,
    pub teller: Teller<'a, 'e>,
    /// What is still to be sent.
    pub outgoing: VecDeque<u8>,
    /// A step of the script has put its bytes there.
    pub sending: bool,
    /// The filter, while it is off.
    pub filter_off: Option<Filter>,
    /// A port that goes away is waited for.
    pub reconnects: bool,
}

/// How a watch came to its end.
pub enum End {
    /// The board at this place has settled it.
    Settled(usize, Box<Outcome>),
    /// The user left.
    Left,
}

/// Where what is told of the boards meets.
pub struct Stage<'s> {
    pub display: Display,
    pub shell: &'s mut Shell,
}

/// What a key asks of a board.
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

/// What all threads of a session see.
struct Common<'c, 's> {
    stage: &'c Mutex<Stage<'s>>,
    /// It is settled, or the user leaves.
    over: AtomicBool,
    pace: Pace,
    has_orders: bool,
}

impl Common<'_, '_> {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// Ports in step: how far each one's clock has come since the watch began, none for those that nobody
/// waits for.
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

    /// Waits until the others are not far behind.
    fn wait(&self, index: usize, common: &Common<'_, '_>) {
        let mut clocks = lock(&self.clocks);
        loop {
            let Some(own) = clocks.get(index).copied().flatten() else { return };
            let behind = clocks.iter().flatten().any(|other| *other + MOST_AHEAD < own);
            if !behind || common.is_over() {
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

/// What became of a board.
type Done = (usize, Result<Option<Outcome>, MonitorError>);

impl Session<'_, '_> {
    /// Goes on until something is settled.
    pub fn run(
        &mut self,
        stage: &Mutex<Stage<'_>>,
        decoder: &Decoder<'_>,
        interrupt: &Interrupt,
    ) -> Result<End, Failure> {
        let Session { lines, console } = self;
        let clocks = lines.iter().map(|_| Some(Duration::ZERO)).collect();
        let common = Common {
            stage,
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
                let (common, done) = (&common, done.clone());
                scope.spawn(move || {
                    let outcome = line.watch(index, &take, common);
                    common.pace.tell(index, None);
                    // Nobody asks any more once it is over.
                    let _: Result<(), _> = Sender::<Done>::send(&done, (index, outcome));
                });
            }
            drop(done);
            let keys = Orders { names, orders, typed_to: 0, waiting: None };
            let ended = conclude(&outcomes, console, keys, stage);
            common.over.store(true, Ordering::Relaxed);
            // Ports that are gone are waited for no longer.
            interrupt.stop_ports();
            decoder.hurry();
            ended
        })
    }
}

/// Waits for the end, and gives keys to the boards meanwhile.
fn conclude(
    outcomes: &Receiver<Done>,
    console: &mut Option<Console>,
    mut keys: Orders,
    stage: &Mutex<Stage<'_>>,
) -> Result<End, Failure> {
    loop {
        let done = match console {
            Some(_) => outcomes.recv_timeout(KEYS_EVERY),
            None => outcomes.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match done {
            Ok((index, Ok(Some(outcome)))) => return Ok(End::Settled(index, Box::new(outcome))),
            Ok((_, Err(MonitorError::Port(PortError::Interrupted)))) => {
                return interrupted(console, lock(stage).shell);
            }
            Ok((_, Err(error))) => return Err(error.into()),
            // A thread that ended with nothing to say has panicked, which the scope passes on.
            Ok((_, Ok(None))) | Err(RecvTimeoutError::Disconnected) => return Ok(End::Left),
            Err(RecvTimeoutError::Timeout) => {}
        }
        match keys.take(console, stage) {
            Ok(Some(end)) => return Ok(end),
            Ok(None) => {}
            Err(()) => return interrupted(console, lock(stage).shell),
        }
    }
}

/// A port was told to stop: by the signal, by a key, or as nobody reads.
fn interrupted(console: &mut Option<Console>, shell: &mut Shell) -> Result<End, Failure> {
    while let Some(key) = console.as_mut().and_then(Console::next) {
        if key == Key::Quit {
            return Ok(End::Left);
        }
    }
    if shell.stdout_closed() { Ok(End::Left) } else { Err(Failure::interrupted()) }
}

/// Keys on their way to the boards.
struct Orders {
    names: Vec<String>,
    orders: Vec<SyncSender<Order>>,
    /// The board that is typed to.
    typed_to: usize,
    /// An order that its board had no room for.
    waiting: Option<(usize, Order)>,
}

impl Orders {
    /// Hands out what the user typed. An error is the wish to interrupt.
    fn take(
        &mut self,
        console: &mut Option<Console>,
        stage: &Mutex<Stage<'_>>,
    ) -> Result<Option<End>, ()> {
        loop {
            // Bytes that wait for a board are not joined by more than it can take.
            if let Some((index, order)) = self.waiting.take()
                && !self.give(index, order)
            {
                return Ok(None);
            }
            let Some(key) = console.as_mut().and_then(Console::next) else { return Ok(None) };
            let typed_to = self.typed_to;
            match key {
                Key::Send(bytes) => {
                    self.give(typed_to, Order::Send(bytes));
                }
                Key::Quit => return Ok(Some(End::Left)),
                Key::Interrupt => return Err(()),
                Key::Reset | Key::Download => {
                    self.give(typed_to, Order::Reset { download: key == Key::Download });
                }
                Key::TimeStamps => self.give_all(|told| Order::TimeStamps { told }),
                Key::Filter => self.give_all(|told| Order::Filter { told }),
                Key::Port(index) => match self.names.get(index) {
                    Some(name) => {
                        lock(stage).shell.status(&format!("Keys go to {name}"));
                        self.typed_to = index;
                    }
                    None => lock(stage).shell.status(&format!("There is no port {}", index + 1)),
                },
                Key::Help | Key::Unknown => lock(stage).shell.status(KEYS),
            }
        }
    }

    /// Whether the board at `index` has room for `order`, which is kept if not.
    fn give(&mut self, index: usize, order: Order) -> bool {
        match self.orders.get(index).map(|orders| orders.try_send(order)) {
            Some(Err(TrySendError::Full(order))) => {
                self.waiting = Some((index, order));
                false
            }
            _ => true,
        }
    }

    /// An order to all boards that changes only what is shown; the first tells of it. A board that has
    /// no room is busy with what was typed to it, and goes without.
    fn give_all(&mut self, order: impl Fn(bool) -> Order) {
        for (index, orders) in self.orders.iter().enumerate() {
            let _ = orders.try_send(order(index == 0));
        }
    }
}

impl Line<'_, '_> {
    /// Looks after the board until something is settled, or all is over.
    fn watch(
        &mut self,
        index: usize,
        orders: &Receiver<Order>,
        common: &Common<'_, '_>,
    ) -> Result<Option<Outcome>, MonitorError> {
        let wait = if common.has_orders { WAIT_FOR_ORDERS } else { WAIT };
        let began = self.port.now();
        while !common.is_over() {
            let turned =
                self.obey(orders, common.stage).and_then(|()| self.turn(wait, common.stage));
            let now = self.port.now();
            let turned = {
                let Stage { display, shell } = &mut *lock(common.stage);
                match &turned {
                    Ok(None) => self.teller.show_late(now, display, shell),
                    _ => self.teller.show_rest(display, shell),
                }
                turned
            };
            match turned {
                Err(PortError::Gone { port }) => {
                    // A panic whose end did not come may be why the port is gone.
                    if let Some(outcome) = self.cut(common.stage) {
                        return Ok(Some(outcome));
                    }
                    let lost = match self.watcher.seen() {
                        0 => PortError::Gone { port }.into(),
                        seen => MonitorError::Lost { port, seen },
                    };
                    if !self.reconnects {
                        return Err(lost);
                    }
                    // The others go on meanwhile.
                    common.pace.tell(index, None);
                    self.come_back(lost, common)?;
                }
                Ok(None) => {}
                turned => return Ok(turned?),
            }
            common.pace.tell(index, Some(self.port.now().since(began)));
            common.pace.wait(index, common);
        }
        Ok(None)
    }

    /// Waits until the port is there again.
    fn come_back(
        &mut self,
        lost: MonitorError,
        common: &Common<'_, '_>,
    ) -> Result<(), MonitorError> {
        lock(common.stage).shell.warning(&format!("{lost}: waiting until it is back"));
        while let Err(error) = self.port.reopen() {
            let later = self.port.now() + BETWEEN_TRIES;
            match (error, self.port.wait_until(later)) {
                (PortError::Interrupted, _) | (_, Err(PortError::Interrupted)) => {
                    return Err(PortError::Interrupted.into());
                }
                (_, Ok(())) if common.is_over() => return Ok(()),
                (_, Ok(())) => {}
                // A port without time is gone for good: a virtual board whose power is cut.
                (_, Err(_)) => return Err(lost),
            }
        }
        // What the board was at is over; it has most likely been reset.
        self.watcher.was_reset();
        lock(common.stage).shell.status(&format!("Port {} is back", self.port.name()));
        Ok(())
    }

    /// Does what was ordered, unless there is still something to send.
    fn obey(
        &mut self,
        orders: &Receiver<Order>,
        stage: &Mutex<Stage<'_>>,
    ) -> Result<(), PortError> {
        while self.outgoing.is_empty() {
            let Ok(order) = orders.try_recv() else { break };
            match order {
                Order::Send(bytes) => self.outgoing.extend(bytes),
                Order::Reset { download } => match self.reset_by_key(download, stage) {
                    // The next read finds it gone, and waits for it.
                    Err(PortError::Gone { .. }) => {}
                    done => done?,
                },
                Order::TimeStamps { told } => {
                    let on = self.teller.screen.switch_time_stamps();
                    if told {
                        let text = if on { "Time stamps on" } else { "Time stamps off" };
                        lock(stage).shell.status(text);
                    }
                }
                Order::Filter { told } => {
                    let other = self.filter_off.take();
                    let turned_on = other.is_some();
                    self.filter_off = self.teller.screen.swap_filter(other);
                    if told {
                        lock(stage).shell.status(match (turned_on, &self.filter_off) {
                            (true, _) => "Filter on",
                            (false, Some(_)) => "Filter off",
                            (false, None) => "There is no filter: give one with --filter",
                        });
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends what is to be sent, reads what has come, and lets the watcher look at both. Waits for
    /// bytes as long as `wait`.
    fn turn(
        &mut self,
        wait: Duration,
        stage: &Mutex<Stage<'_>>,
    ) -> Result<Option<Outcome>, PortError> {
        if let Some(outcome) = self.act(stage)? {
            return Ok(Some(outcome));
        }
        let mut buf = [0; 4096];
        let now = self.port.now();
        if self.watcher.deadline().is_some_and(|deadline| deadline <= now) {
            // What has arrived by now still counts.
            for _ in 0..LAST_READS {
                let count = self.port.read(&mut buf, now)?;
                if count == 0 {
                    break;
                }
                let bytes = buf.get(..count).unwrap_or_default();
                if let Some(outcome) = self.take(bytes, now, stage) {
                    return Ok(Some(outcome));
                }
            }
            let Line { watcher, teller, .. } = self;
            let Stage { display, shell } = &mut *lock(stage);
            let outcome = watcher.tick(now, &mut |event| teller.tell(&event, now, display, shell));
            if outcome.is_some() {
                return Ok(outcome);
            }
        }
        let wait = if self.outgoing.is_empty() { wait } else { WAIT_SHORT };
        let until = now + wait;
        let until = self.watcher.deadline().map_or(until, |deadline| deadline.min(until));
        let count = self.port.read(&mut buf, until)?;
        let now = self.port.now();
        Ok(self.take(buf.get(..count).unwrap_or_default(), now, stage))
    }

    /// Takes bytes that have come.
    fn take(&mut self, bytes: &[u8], now: Moment, stage: &Mutex<Stage<'_>>) -> Option<Outcome> {
        if bytes.is_empty() {
            return None;
        }
        let Stage { display, shell } = &mut *lock(stage);
        let received = shell.summary.bytes_received.unwrap_or(0);
        shell.summary.bytes_received = Some(received.saturating_add(bytes.len() as u64));
        if let Some(log) = &mut self.log {
            log.write(bytes, shell);
        }
        let Line { watcher, teller, .. } = self;
        watcher.push(bytes, now, &mut |event| teller.tell(&event, now, display, shell))
    }

    /// Nothing more comes of what the board was saying.
    fn cut(&mut self, stage: &Mutex<Stage<'_>>) -> Option<Outcome> {
        let now = self.port.now();
        let Stage { display, shell } = &mut *lock(stage);
        let Line { watcher, teller, .. } = self;
        watcher.cut(now, &mut |event| teller.tell(&event, now, display, shell))
    }

    /// The watch ends for a reason that is none of the board's: a test that runs has failed by it.
    pub fn abandon_test(&mut self, reason: &str, display: &mut Display, shell: &mut Shell) {
        let now = self.port.now();
        let Line { watcher, teller, .. } = self;
        watcher.abandon_test(reason, now, &mut |event| teller.tell(&event, now, display, shell));
    }

    /// Does what the script asks for and sends a piece of what is to be sent.
    fn act(&mut self, stage: &Mutex<Stage<'_>>) -> Result<Option<Outcome>, PortError> {
        loop {
            if !self.outgoing.is_empty() {
                let count = self.outgoing.len().min(SENT_AT_ONCE);
                let piece: Vec<u8> = self.outgoing.drain(..count).collect();
                self.port.write(&piece)?;
                let summary = &mut lock(stage).shell.summary;
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
                    // That the port can was seen before.
                    self.reset()?;
                    self.begin_anew(stage);
                    if let Some(outcome) = self.watcher.done(self.port.now()) {
                        return Ok(Some(outcome));
                    }
                }
                _ => return Ok(None),
            }
        }
    }

    fn begin_anew(&mut self, stage: &Mutex<Stage<'_>>) {
        let Stage { display, shell } = &mut *lock(stage);
        self.teller.begin_anew(display, shell);
    }

    /// Resets the board, if its port can.
    fn reset(&mut self) -> Result<bool, PortError> {
        let released = reset_to_run(self.port, self.baud)?;
        if let Some(released) = released {
            self.teller.began = released;
        }
        Ok(released.is_some())
    }

    /// Does what a key asks for, as far as the port can.
    fn reset_by_key(&mut self, download: bool, stage: &Mutex<Stage<'_>>) -> Result<(), PortError> {
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
            lock(stage).shell.status(&format!("{name} has no lines to reset the board with"));
            return Ok(());
        }
        self.begin_anew(stage);
        self.watcher.was_reset();
        lock(stage).shell.status(said);
        Ok(())
    }
}
