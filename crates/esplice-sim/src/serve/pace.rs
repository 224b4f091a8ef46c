//! How fast a served board's clock runs.
//!
//! In real time it keeps to the host's. Else it runs ahead as long as the board has something to
//! answer, and rests a moment after each slice in which nothing is said: a board that waits for its
//! clients takes little of the host, and firmware that waits does not run off.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use super::PIECE;
use crate::TimeMode;

/// Rest after a slice in which nothing happened; longer after many.
const REST: Duration = Duration::from_millis(1);
const LONG_REST: Duration = Duration::from_millis(5);
const MANY: u32 = 500;
/// Slices for which an answer is waited for without a rest: the longest erase of a sector.
const ANSWER: u32 = 400;
/// Bytes that may be said for a message that came in: a flasher reads many blocks ahead.
const ALLOWANCE: usize = 1 << 16;
/// What is said unasked goes at the pace of 115200 baud, in short pieces, or firmware that talks all
/// the time would bury its listeners.
const BYTE: Duration = Duration::from_micros(87);
const SHORT_PIECE: usize = 64;
/// In real time a turn may take longer than a slice.
const REAL_SLICES: u32 = 20;
/// From here on the host is told to be behind.
const BEHIND: Duration = Duration::from_millis(100);

pub(super) struct Pace {
    /// The host's moment at which the board's clock was at `from`.
    started: Instant,
    real: bool,
    from: Duration,
    told_behind: bool,
    most_behind: Duration,
    /// Slices since the board took something that it has not answered yet.
    owed: Option<u32>,
    quiet: u32,
    /// Bytes that may still be said without a rest.
    allowance: usize,
}

impl Pace {
    pub fn new(time: TimeMode, from: Duration) -> Pace {
        let real = time == TimeMode::Real;
        Pace {
            started: host_now(),
            real,
            from,
            told_behind: false,
            most_behind: Duration::ZERO,
            owed: None,
            quiet: 0,
            allowance: 0,
        }
    }

    /// Time since the start, by the host's clock.
    pub fn host(&self) -> Duration {
        host_now().saturating_duration_since(self.started)
    }

    /// How far the board has been behind at most; in real time only.
    pub fn most_behind(&self) -> Duration {
        self.most_behind
    }

    /// Up to when the board is to run, and how far it is behind if that is to be told.
    pub fn deadline(&mut self, now: Duration, slice: Duration) -> (Duration, Option<Duration>) {
        if !self.real {
            return (now + slice, None);
        }
        let due = self.from + self.host();
        let behind = due.saturating_sub(now);
        self.most_behind = self.most_behind.max(behind);
        let tell = behind > BEHIND && !self.told_behind;
        self.told_behind |= tell;
        (due.min(now + REAL_SLICES * slice), tell.then_some(behind))
    }

    /// Most bytes that the board may say in a turn.
    pub fn most_said(&self) -> usize {
        if self.allowance > 0 || self.real { PIECE } else { SHORT_PIECE }
    }

    /// After a turn in which the board took bytes (or was busy with what they asked for) or not,
    /// and said so many: rests if nothing is to be done. In real time a turn ends with each packet of a USB
    /// bridge, of which there are more than one in a rest: a board that is behind goes on at once.
    pub fn rest(&mut self, taking: bool, said: usize, stopped: bool, now: Duration) {
        self.owed = match self.owed {
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
        let rest = if self.real {
            if self.from + self.host() > now + REST {
                return;
            }
            REST
        } else if taking || free > 0 || self.owed.is_some() && !stopped {
            return;
        } else if unasked > 0 {
            BYTE * unasked
        } else if self.quiet > MANY {
            LONG_REST
        } else {
            REST
        };
        #[allow(clippy::disallowed_methods)] // The clients' programs live in the host's time.
        sleep(rest);
    }
}

#[allow(clippy::disallowed_methods)] // As above.
fn host_now() -> Instant {
    Instant::now()
}
