//! The four-stage counter shared by the main watchdogs and the RTC watchdog.

use super::clock::{Tick, count_in, periods};

/// Key that unlocks a watchdog's registers, written to its WDTWPROTECT (TRM 13.2.2.4).
pub(crate) const WDT_KEY: u32 = 0x50d8_3aa1;

/// A stage: after `timeout` periods of the watchdog's clock, it triggers `action` (numbered as in
/// the registers, 0 for none).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stage {
    pub timeout: u64,
    pub action: u32,
}

/// The counter of a watchdog.
#[derive(Debug, Clone)]
pub(crate) struct Watchdog {
    enabled: bool,
    stages: [Stage; 4],
    stage: usize,
    /// Clock of the counter: `hz` divided by `divider`.
    hz: u64,
    divider: u64,
    /// Time at which the counter's value was `count`.
    since: Tick,
    count: u64,
}

impl Watchdog {
    pub fn new() -> Self {
        Self {
            enabled: false,
            stages: [Stage::default(); 4],
            stage: 0,
            hz: 1,
            divider: 1,
            since: 0,
            count: 0,
        }
    }

    /// Sets everything except the counter, which continues from its value.
    pub fn configure(&mut self, enabled: bool, stages: [Stage; 4], clock: (u64, u64), now: Tick) {
        if enabled && !self.enabled {
            self.feed(now);
        } else {
            self.count = self.count_at(now);
            self.since = now;
        }
        self.enabled = enabled;
        self.stages = stages;
        (self.hz, self.divider) = (clock.0.max(1), clock.1.max(1));
    }

    /// Restarts the first stage from 0.
    pub fn feed(&mut self, now: Tick) {
        self.stage = 0;
        self.count = 0;
        self.since = now;
    }

    /// Accounts for a stopped clock for `time`, up to now.
    pub fn skip_time(&mut self, time: Tick) {
        self.since = self.since.saturating_add(time);
    }

    /// Returns when the current stage ends.
    pub fn deadline(&self) -> Option<Tick> {
        if !self.enabled || self.stages.iter().all(|stage| stage.action == 0) {
            return None;
        }
        let left = self.stages[self.stage].timeout.max(1).saturating_sub(self.count);
        Some(self.since.saturating_add(periods(left.saturating_mul(self.divider), self.hz)))
    }

    /// Returns the actions of the stages that have ended by `now`, at most one round.
    pub fn expire(&mut self, now: Tick) -> Vec<u32> {
        let mut actions = Vec::new();
        while actions.len() < self.stages.len()
            && let Some(at) = self.deadline()
            && at <= now
        {
            actions.push(self.stages[self.stage].action);
            self.stage = (self.stage + 1) % self.stages.len();
            self.count = 0;
            self.since = at;
        }
        actions
    }

    fn count_at(&self, now: Tick) -> u64 {
        if !self.enabled {
            return self.count;
        }
        self.count + count_in(now.saturating_sub(self.since), self.hz) / self.divider
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soc::clock::TICK_HZ;

    const SECOND: Tick = TICK_HZ;

    fn stages(list: [(u64, u32); 4]) -> [Stage; 4] {
        list.map(|(timeout, action)| Stage { timeout, action })
    }

    #[test]
    fn stages_follow_each_other_and_feeding_starts_again() {
        let mut dog = Watchdog::new();
        assert_eq!(dog.deadline(), None);
        dog.configure(true, stages([(1000, 1), (2000, 3), (1, 0), (1, 0)]), (1000, 1), 0);
        assert_eq!(dog.deadline(), Some(SECOND));
        dog.feed(SECOND / 2);
        assert_eq!(dog.deadline(), Some(SECOND / 2 * 3));
        assert!(dog.expire(SECOND).is_empty());
        assert_eq!(dog.expire(SECOND / 2 * 3), [1]);
        assert_eq!(dog.deadline(), Some(SECOND / 2 * 7));
        assert_eq!(dog.expire(SECOND / 2 * 7), [3]);
    }

    #[test]
    fn a_faster_clock_counts_on_from_the_value() {
        let mut dog = Watchdog::new();
        let stages = stages([(1000, 3), (1, 0), (1, 0), (1, 0)]);
        dog.configure(true, stages, (1000, 1), 0);
        dog.configure(true, stages, (2000, 1), SECOND / 2);
        assert_eq!(dog.deadline(), Some(SECOND / 4 * 3));
        dog.configure(false, stages, (2000, 1), SECOND / 2);
        assert_eq!(dog.deadline(), None);
    }

    #[test]
    fn without_an_action_there_is_nothing_to_wait_for() {
        let mut dog = Watchdog::new();
        dog.configure(true, stages([(0, 0); 4]), (1000, 1), 0);
        assert_eq!(dog.deadline(), None);
    }
}
