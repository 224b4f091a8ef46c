//! Idle loops, in which the CPU reads the same values and changes nothing until a device does. They
//! are found by watching some instructions now and then, and are skipped to the exact cycle.
//!
//! One round of such a loop is watched instruction by instruction. The loop is skipped if
//! registers, CSRs and all written memory are then the same as before, and every device register it
//! read reports how long its value stays the same (`Device::steady_until`). Its reads determine
//! what it does, so it repeats until then or until the next event.
//!
//! A loop that reads the time never reads the same value. [`timed`] computes how often such a loop
//! runs. Its last round is executed again so that all its effects are there.

mod timed;
mod watch;

use super::Board;
use crate::cpu::Stop;
use timed::{Round, Step};
use watch::Watch;

/// Longest loop that is found, in instructions.
const LONGEST: u64 = 256;
/// Number of rounds examined in a loop that reads the time; it may contain inner loops.
const MOST_TRIES: usize = 3;
/// Least and most cycles between two attempts: the least after a loop was skipped, the most if none
/// was found for long.
const PAUSES: (u64, u64) = (2048, 1 << 20);

/// Schedule and state of the search for idle loops.
#[derive(Debug, Clone)]
pub(super) struct Idle {
    /// True if idle loops are skipped.
    pub enabled: bool,
    /// Cycles in which nothing was executed.
    pub skipped: u64,
    next_look: u64,
    pause: u64,
}

impl Idle {
    pub fn new() -> Self {
        Self { enabled: true, skipped: 0, next_look: 0, pause: PAUSES.0 }
    }

    /// Returns the latest cycle at which the CPU must stop.
    pub fn limit(&self, until: u64) -> u64 {
        if self.enabled { until.min(self.next_look) } else { until }
    }
}

impl Board {
    /// Sets whether idle loops are skipped or executed instruction by instruction. The result is
    /// the same.
    pub fn skip_idle(&mut self, skip: bool) {
        self.idle.enabled = skip;
    }

    /// Returns the cycles of [`Board::cycles`] in which nothing was executed: waits for interrupts,
    /// skipped loops, and the time of ROM functions, flash and line.
    pub fn idle_cycles(&self) -> u64 {
        self.idle.skipped
    }

    /// Skips an idle loop if the CPU is in one; otherwise executes some instructions. Returns
    /// `None` if the next attempt is not due.
    pub(super) fn look_for_loop(&mut self, until: u64) -> Option<Stop> {
        let start = self.cpu.cycles;
        if !self.idle.enabled || start < self.idle.next_look {
            return None;
        }
        let (mut pc, mut x, mut csrs) = (self.cpu.pc, self.cpu.x, self.cpu.csrs.clone());
        let mut round_start = start;
        self.cpu.take_counter_read();
        let mut watch = Watch::new(&mut self.soc);
        let mut steps = Vec::new();
        let (mut tries, mut timed) = (0, false);
        // Rounds to skip.
        let mut found = None;
        let mut stop = Stop::Budget;
        while self.cpu.cycles < until.min(start + LONGEST) && watch.steady.is_some() {
            let (at, cycle, before) = (self.cpu.pc, self.cpu.cycles, self.cpu.x);
            stop = self.cpu.run(&mut watch, cycle + 1);
            if stop != Stop::Budget {
                break;
            }
            let asks = self.cpu.take_counter_read() || !watch.latched.is_empty();
            if asks && !timed {
                // The round begins at its first read of the time, so it uses no value of the
                // previous round.
                timed = true;
                (pc, x, round_start) = (at, before, cycle);
                csrs = self.cpu.csrs.clone();
                steps.clear();
                watch.written.clear();
                watch.unlisted.clear();
            }
            let op = self.cpu.operation(at);
            steps.push(Step { pc: at, op, result: self.cpu.x[op.rd()], cycle });
            if self.cpu.pc != pc || self.cpu.csrs != csrs {
                continue;
            }
            let round = self.cpu.cycles - round_start;
            let steady = watch.steady.unwrap_or(0);
            let steady = watch.soc.fabric.clock.cycle_at(steady).min(until);
            if !timed {
                if self.cpu.x == x && watch.is_unchanged() {
                    found = Some(steady.saturating_sub(self.cpu.cycles) / round.max(1));
                    break;
                }
                continue;
            }
            // One whole round is left to be executed.
            let most = (steady.saturating_sub(round_start) / round.max(1)).saturating_sub(1);
            let behind = &self.cpu;
            let looked = Round {
                steps: &steps,
                before: &x,
                behind,
                end: self.cpu.cycles,
                written: &watch.written,
                latched: &watch.latched,
            };
            let rounds = timed::rounds(&looked, watch.soc, most);
            if rounds >= 2 {
                found = Some(rounds - 1);
                break;
            }
            tries += 1;
            if tries == MOST_TRIES {
                break;
            }
        }
        let Some(rounds) = found else {
            self.idle.pause = (self.idle.pause * 2).min(PAUSES.1);
            self.idle.next_look = self.cpu.cycles + self.idle.pause;
            return Some(stop);
        };
        let round = self.cpu.cycles - round_start;
        let unlisted = std::mem::take(&mut watch.unlisted);
        self.cpu.cycles += rounds * round;
        self.soc.fabric.clock.cycle = self.cpu.cycles;
        self.soc.count_unlisted_reads(&unlisted, rounds);
        self.idle.skipped += rounds * round;
        self.idle.pause = PAUSES.0;
        self.idle.next_look = self.cpu.cycles + self.idle.pause;
        Some(Stop::Budget)
    }
}
