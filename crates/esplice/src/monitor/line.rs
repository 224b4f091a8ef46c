//! One board of a watch: its port, what it prints and what it is sent.

use std::{
    collections::VecDeque,
    sync::{Mutex, mpsc::Receiver},
    time::Duration,
};

use esplice_flash::{Strategy, reset_to_download, reset_to_run};
use esplice_monitor::{Action, Filter, MonitorError, Outcome, Watcher};
use esplice_protocol::{Moment, Port, PortError};

use super::{
    event_printer::{Display, EventPrinter},
    log_file::LogFile,
    shared::{Order, SharedOutput, SharedState, lock},
};
use crate::ui::shell::Shell;

/// Longest single wait for a board's bytes, in its port's time: when idle, when orders may arrive,
/// and when bytes are to be sent.
const WAIT: Duration = Duration::from_millis(50);
const WAIT_FOR_ORDERS: Duration = Duration::from_millis(10);
const WAIT_SHORT: Duration = Duration::from_millis(2);

/// Number of reads at the timeout, for bytes that have arrived but were not yet read.
const LAST_READS: usize = 16;

/// Number of bytes sent at once. Bytes received meanwhile must fit into the system's buffer, which
/// is 4 KiB for a serial line.
const SENT_AT_ONCE: usize = 64;

/// Time between attempts to reopen a lost port, in addition to the port's own waits.
const BETWEEN_TRIES: Duration = Duration::from_millis(200);

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
    /// True if these bytes come from a step of the script.
    pub sending: bool,
    /// The filter, while it is disabled.
    pub filter_off: Option<Filter>,
    /// True to wait for a port that disappears.
    pub reconnects: bool,
}

impl Line<'_, '_> {
    /// Watches the board until the outcome is settled or the session is over.
    pub(super) fn watch(
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
