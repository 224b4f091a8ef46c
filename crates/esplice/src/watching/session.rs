//! The loop of a watch: bytes from the boards to the screen, keys and a script's steps to the boards.

use std::{collections::VecDeque, time::Duration};

use esplice_flash::{Strategy, reset_to_download, reset_to_run};
use esplice_monitor::{Action, Filter, MonitorError, Outcome, Watcher};
use esplice_protocol::{Moment, Port, PortError};

use super::{
    console::Console,
    keys::{KEYS, Key},
    log_file::LogFile,
    teller::{Display, Teller},
};
use crate::{exit::Failure, shell::Shell};

/// The longest single wait for a board's bytes, in its port's time: with nothing else to do, with keys
/// to look at, and with other ports to look at or bytes to send.
const WAIT: Duration = Duration::from_millis(50);
const WAIT_WITH_KEYS: Duration = Duration::from_millis(10);
const WAIT_SHORT: Duration = Duration::from_millis(2);

/// Reads made at the end of time, for bytes that had arrived and were not yet fetched.
const LAST_READS: usize = 16;

/// Bytes that are handed to a line at once: what comes in meanwhile has to find room with the system,
/// which keeps 4 KiB of a serial line.
const SENT_AT_ONCE: usize = 64;

/// Time between two tries to open a port that is gone, beside what the port itself waits.
const BETWEEN_TRIES: Duration = Duration::from_millis(200);

/// One board that is watched.
pub struct Line<'a> {
    pub port: &'a mut dyn Port,
    pub strategies: &'a [Strategy],
    /// The firmware's.
    pub baud: u32,
    pub watcher: Watcher,
    pub log: Option<LogFile>,
    pub teller: Teller<'a>,
    /// What is still to be sent.
    pub outgoing: VecDeque<u8>,
    /// A step of the script has put its bytes there.
    pub sending: bool,
}

/// How a watch came to its end.
pub enum End {
    /// The board at this place has settled it.
    Settled(usize, Outcome),
    /// The user left.
    Left,
}

/// Boards that are watched together.
pub struct Session<'a> {
    pub lines: Vec<Line<'a>>,
    pub console: Option<Console>,
    /// The board that is typed to.
    pub typed_to: usize,
    /// The filter, while it is off.
    pub filter_off: Option<Filter>,
    /// A port that goes away is waited for.
    pub reconnects: bool,
    pub display: Display,
}

impl Session<'_> {
    /// Goes on until something is settled.
    pub fn run(&mut self, shell: &mut Shell) -> Result<End, Failure> {
        loop {
            for index in 0..self.lines.len() {
                match self.turn(index, shell) {
                    Ok(Some(outcome)) => return Ok(End::Settled(index, outcome)),
                    Ok(None) => {}
                    Err(MonitorError::Port(PortError::Interrupted)) => {
                        return self.interrupted(shell);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            match self.keys(shell) {
                Ok(Some(end)) => return Ok(end),
                Ok(None) => {}
                Err(PortError::Interrupted) => return self.interrupted(shell),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A port was told to stop: by the signal, by a key, or as nobody reads.
    fn interrupted(&mut self, shell: &mut Shell) -> Result<End, Failure> {
        while let Some(key) = self.console.as_mut().and_then(Console::next) {
            if key == Key::Quit {
                return Ok(End::Left);
            }
        }
        if shell.stdout_closed() { Ok(End::Left) } else { Err(Failure::interrupted()) }
    }

    /// Looks after one board.
    fn turn(&mut self, index: usize, shell: &mut Shell) -> Result<Option<Outcome>, MonitorError> {
        let wait = if self.lines.len() > 1 {
            WAIT_SHORT
        } else if self.console.is_some() {
            WAIT_WITH_KEYS
        } else {
            WAIT
        };
        let display = &mut self.display;
        let Some(line) = self.lines.get_mut(index) else { return Ok(None) };
        let turned = line.turn(wait, display, shell);
        let now = line.port.now();
        match &turned {
            Ok(None) => line.teller.show_late(now, display, shell),
            _ => line.teller.show_rest(display, shell),
        }
        match turned {
            Err(PortError::Gone { port }) => {
                let lost = match line.watcher.seen() {
                    0 => PortError::Gone { port }.into(),
                    seen => MonitorError::Lost { port, seen },
                };
                if !self.reconnects {
                    return Err(lost);
                }
                self.wait_for(index, lost, shell)?;
                Ok(None)
            }
            turned => Ok(turned?),
        }
    }

    /// Waits until the port at `index` is there again.
    fn wait_for(
        &mut self,
        index: usize,
        lost: MonitorError,
        shell: &mut Shell,
    ) -> Result<(), MonitorError> {
        let Some(line) = self.lines.get_mut(index) else { return Err(lost) };
        shell.warning(&format!("{lost}: waiting until it is back"));
        while let Err(error) = line.port.reopen() {
            let later = line.port.now() + BETWEEN_TRIES;
            match (error, line.port.wait_until(later)) {
                (PortError::Interrupted, _) | (_, Err(PortError::Interrupted)) => {
                    return Err(PortError::Interrupted.into());
                }
                (_, Ok(())) => {}
                // A port without time is gone for good: a virtual board whose power is cut.
                (_, Err(_)) => return Err(lost),
            }
        }
        // What the board was at is over; it has most likely been reset.
        line.watcher.was_reset();
        shell.status(&format!("Port {} is back", line.port.name()));
        Ok(())
    }

    /// Does what the user typed.
    fn keys(&mut self, shell: &mut Shell) -> Result<Option<End>, PortError> {
        // Bytes that wait for a board are not joined by more than it can take.
        let waiting = |lines: &[Line<'_>], typed_to: usize| {
            line_of(lines, typed_to).is_some_and(|line| !line.outgoing.is_empty())
        };
        while !waiting(&self.lines, self.typed_to) {
            let Some(key) = self.console.as_mut().and_then(Console::next) else { break };
            let Some(line) = self.lines.get_mut(self.typed_to) else { break };
            match key {
                Key::Send(bytes) => line.outgoing.extend(bytes),
                Key::Quit => return Ok(Some(End::Left)),
                Key::Interrupt => return Err(PortError::Interrupted),
                Key::Reset | Key::Download => {
                    let download = key == Key::Download;
                    match line.reset_by_key(download, &mut self.display, shell) {
                        // The next read finds it gone, and waits for it.
                        Err(PortError::Gone { .. }) => {}
                        done => done?,
                    }
                }
                Key::TimeStamps => {
                    let on =
                        self.lines.iter_mut().map(|line| line.teller.screen.switch_time_stamps());
                    let on = on.last().unwrap_or(false);
                    shell.status(if on { "Time stamps on" } else { "Time stamps off" });
                }
                Key::Filter => self.switch_filter(shell),
                Key::Port(index) => match line_of(&self.lines, index) {
                    Some(line) => {
                        shell.status(&format!("Keys go to {}", line.port.name()));
                        self.typed_to = index;
                    }
                    None => shell.status(&format!("There is no port {}", index + 1)),
                },
                Key::Help | Key::Unknown => shell.status(KEYS),
            }
        }
        Ok(None)
    }

    fn switch_filter(&mut self, shell: &mut Shell) {
        let other = self.filter_off.take();
        let turned_on = other.is_some();
        let mut was = None;
        for line in &mut self.lines {
            was = line.teller.screen.swap_filter(other.clone());
        }
        self.filter_off = was;
        shell.status(match (turned_on, &self.filter_off) {
            (true, _) => "Filter on",
            (false, Some(_)) => "Filter off",
            (false, None) => "There is no filter: give one with --filter",
        });
    }
}

fn line_of<'a, 'b>(lines: &'a [Line<'b>], index: usize) -> Option<&'a Line<'b>> {
    lines.get(index)
}

impl Line<'_> {
    /// Sends what is to be sent, reads what has come, and lets the watcher look at both. Waits for
    /// bytes as long as `wait`.
    fn turn(
        &mut self,
        wait: Duration,
        display: &mut Display,
        shell: &mut Shell,
    ) -> Result<Option<Outcome>, PortError> {
        if let Some(outcome) = self.act(display, shell)? {
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
                if let Some(outcome) = self.take(bytes, now, display, shell) {
                    return Ok(Some(outcome));
                }
            }
            let Line { watcher, teller, .. } = self;
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
        Ok(self.take(buf.get(..count).unwrap_or_default(), now, display, shell))
    }

    /// Takes bytes that have come.
    fn take(
        &mut self,
        bytes: &[u8],
        now: Moment,
        display: &mut Display,
        shell: &mut Shell,
    ) -> Option<Outcome> {
        if bytes.is_empty() {
            return None;
        }
        let received = shell.summary.bytes_received.unwrap_or(0);
        shell.summary.bytes_received = Some(received.saturating_add(bytes.len() as u64));
        if let Some(log) = &mut self.log {
            log.write(bytes, shell);
        }
        let Line { watcher, teller, .. } = self;
        watcher.push(bytes, now, &mut |event| teller.tell(&event, now, display, shell))
    }

    /// The watch ends for a reason that is none of the board's: a test that runs has failed by it.
    pub fn abandon_test(&mut self, reason: &str, display: &mut Display, shell: &mut Shell) {
        let now = self.port.now();
        let Line { watcher, teller, .. } = self;
        watcher.abandon_test(reason, now, &mut |event| teller.tell(&event, now, display, shell));
    }

    /// Does what the script asks for and sends a piece of what is to be sent.
    fn act(
        &mut self,
        display: &mut Display,
        shell: &mut Shell,
    ) -> Result<Option<Outcome>, PortError> {
        loop {
            if !self.outgoing.is_empty() {
                let count = self.outgoing.len().min(SENT_AT_ONCE);
                let piece: Vec<u8> = self.outgoing.drain(..count).collect();
                self.port.write(&piece)?;
                let sent = shell.summary.bytes_sent.unwrap_or(0);
                shell.summary.bytes_sent = Some(sent.saturating_add(piece.len() as u64));
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
                    self.teller.begin_anew(display, shell);
                    if let Some(outcome) = self.watcher.done(self.port.now()) {
                        return Ok(Some(outcome));
                    }
                }
                _ => return Ok(None),
            }
        }
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
    fn reset_by_key(
        &mut self,
        download: bool,
        display: &mut Display,
        shell: &mut Shell,
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
            shell.status(&format!("{} has no lines to reset the board with", self.port.name()));
            return Ok(());
        }
        self.teller.begin_anew(display, shell);
        self.watcher.was_reset();
        shell.status(said);
        Ok(())
    }
}
