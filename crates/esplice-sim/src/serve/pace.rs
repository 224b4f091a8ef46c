//! The speed of a served board's clock.
//!
//! In real time it follows the host's clock. In virtual time it runs ahead while the board has
//! something to answer, and then keeps up with the host's clock as long as there is a client: for a
//! client that waits silently, at least as much time passes on the board as on its own clock.
//! Without clients it rests after each slice, so that waiting firmware does not run far ahead. If
//! the host is too slow for either mode, that is reported.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use super::PIECE;
use crate::TimeMode;

/// Rest after a slice without activity; longer after many such slices.
const REST: Duration = Duration::from_millis(1);
const LONG_REST: Duration = Duration::from_millis(5);
const MANY: u32 = 500;
/// Slices run without rest while an answer is expected: the longest sector erase.
const ANSWER: u32 = 400;
/// Bytes the board may send without rest after a message: a flasher reads many blocks ahead.
const ALLOWANCE: usize = 1 << 16;
/// Unrequested output is limited to the rate of 115200 baud, in short pieces. Otherwise firmware
/// that prints all the time would overwhelm its clients.
const BYTE: Duration = Duration::from_micros(87);
const SHORT_PIECE: usize = 64;
/// Most slices in a turn of a board that follows the host's clock.
const MOST_SLICES: u32 = 20;
/// Lag from which a board in real time is reported as behind.
const BEHIND: Duration = Duration::from_millis(100);
/// The same in virtual time, where no result depends on it.
const VIRTUAL_BEHIND: Duration = Duration::from_secs(1);
/// Most time that a board in virtual time catches up; after a longer stop of the host it does not
/// race.
const MOST_DEBT: Duration = Duration::from_secs(2);

pub(super) struct Pace {
    started: Instant,
    time: TimeMode,
    /// Host time since the start, with the board time that belongs to it.
    anchor: (Duration, Duration),
    lag_reported: bool,
    most_behind: Duration,
    /// Slices since the board took input that it has not answered yet.
    answer_due: Option<u32>,
    quiet: u32,
    /// Bytes that may still be sent without a rest.
    allowance: usize,
}

/// The result of a turn.
pub(super) struct Turn {
    /// True if the board took bytes or was busy with a request.
    pub taking: bool,
    /// True if the board sent an answer and has nothing left to take or do.
    pub answered: bool,
    /// Bytes of output.
    pub said: usize,
    /// True if the board can't continue.
    pub stopped: bool,
    /// True if a client is connected.
    pub watched: bool,
    /// The board's clock.
    pub now: Duration,
}

impl Pace {
    pub fn new(time: TimeMode, from: Duration) -> Pace {
        Pace {
            started: host_now(),
            time,
            anchor: (Duration::ZERO, from),
            lag_reported: false,
            most_behind: Duration::ZERO,
            answer_due: None,
            quiet: 0,
            allowance: 0,
        }
    }

    /// Returns the time since the start, by the host's clock.
    pub fn host(&self) -> Duration {
        host_now().saturating_duration_since(self.started)
    }

    /// Returns the largest lag of the board; in real time only.
    pub fn most_behind(&self) -> Duration {
        match self.time {
            TimeMode::Real => self.most_behind,
            TimeMode::Virtual | TimeMode::None => Duration::ZERO,
        }
    }

    /// Returns the board time that corresponds to the host's clock.
    fn due(&self) -> Duration {
        let (host, board) = self.anchor;
        board + self.host().saturating_sub(host)
    }

    /// Returns the time up to which the board must run, and its lag if that must be reported.
    pub fn deadline(&mut self, now: Duration, slice: Duration) -> (Duration, Option<Duration>) {
        let (due, limit) = match self.time {
            TimeMode::None => return (now + slice, None),
            TimeMode::Virtual => (self.due().max(now + slice), VIRTUAL_BEHIND),
            TimeMode::Real => (self.due(), BEHIND),
        };
        let behind = due.saturating_sub(now);
        self.most_behind = self.most_behind.max(behind);
        let tell = behind > limit && !self.lag_reported;
        self.lag_reported |= tell;
        (due.min(now + MOST_SLICES * slice), tell.then_some(behind))
    }

    /// Returns the most bytes that the board may send in a turn.
    pub fn most_said(&self) -> usize {
        if self.allowance > 0 || self.time == TimeMode::Real { PIECE } else { SHORT_PIECE }
    }

    /// Ends a turn with a rest if nothing is to be done. In real time a turn ends with each packet
    /// of a USB bridge. A rest lasts longer than a packet, so a board that is behind does not rest.
    pub fn rest(&mut self, turn: &Turn) {
        let Turn { taking, answered, said, stopped, watched, now } = *turn;
        self.answer_due = match self.answer_due {
            // On USB and at high baud rates the answer comes in the turn of its request, and the
            // client is next.
            _ if answered => None,
            _ if taking => Some(0),
            Some(slices) if said == 0 && slices < ANSWER => Some(slices + 1),
            _ => None,
        };
        if taking {
            self.allowance = ALLOWANCE;
        }
        self.quiet = if taking || said > 0 { 0 } else { self.quiet.saturating_add(1) };
        let free = said.min(self.allowance);
        self.allowance -= free;
        let unasked = (said - free) as u32;
        let keeps_up = self.time == TimeMode::Virtual && watched && !stopped;
        let behind = self.due().saturating_sub(now);
        if self.time == TimeMode::Virtual && (!keeps_up || behind.is_zero()) {
            self.anchor = (self.host(), now);
        } else if keeps_up && behind > MOST_DEBT {
            self.anchor = (self.host(), now + MOST_DEBT);
        }
        let rest = if self.time == TimeMode::Real {
            if self.due() > now + REST {
                return;
            }
            REST
        } else if taking || free > 0 || self.answer_due.is_some() && !stopped {
            return;
        } else if keeps_up {
            if !behind.is_zero() {
                return;
            }
            REST
        } else if unasked > 0 {
            BYTE * unasked
        } else if self.quiet > MANY {
            LONG_REST
        } else {
            REST
        };
        #[allow(clippy::disallowed_methods)] // Client programs run in the host's time.
        sleep(rest);
    }
}

#[allow(clippy::disallowed_methods)] // As above.
fn host_now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURN: Turn = Turn {
        taking: true,
        answered: false,
        said: 0,
        stopped: false,
        watched: true,
        now: Duration::ZERO,
    };

    /// The board runs ahead only while an answer is due.
    #[test]
    fn an_answer_in_the_turn_of_its_request_ends_the_run_ahead() {
        let mut pace = Pace::new(TimeMode::Virtual, Duration::ZERO);
        pace.rest(&TURN);
        assert!(pace.answer_due.is_some());
        pace.rest(&Turn { taking: false, said: 14, ..TURN });
        assert!(pace.answer_due.is_none());
        pace.rest(&Turn { said: 14, answered: true, ..TURN });
        assert!(pace.answer_due.is_none());
        // A second request was taken in the same turn.
        pace.rest(&Turn { said: 14, ..TURN });
        assert!(pace.answer_due.is_some());
    }
}
