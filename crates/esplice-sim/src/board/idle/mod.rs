//! Loops that wait: the CPU goes round and round, reads the same and changes nothing, until a device does. They are
//! found by looking at some instructions now and then, and skipped whole, to the very cycle.
//!
//! Once round such a loop is watched instruction by instruction. It is skipped if registers, CSRs and all memory it wrote
//! to are then as they were before, and every device's register it read says until when it reads the same
//! (`Device::steady_until`). What it reads decides what it does, so it does the same again until
//! then, or until the next event.
//!
//! A loop that asks what time it is never finds the same. How often such a one goes round is told by [`timed`]; its last
//! round is executed again, so that all it leaves behind is there.

mod timed;
mod watch;

use super::Board;
use crate::cpu::Stop;
use timed::{Round, Step};
use watch::Watch;

/// Instructions of the longest loop that is found.
const LONGEST: u64 = 256;
/// Rounds of a loop that asks for the time which are looked at: within it there may be others.
const MOST_TRIES: usize = 3;
/// Cycles between two looks: at least, behind a loop; at most, where none was found for long.
const PAUSES: (u64, u64) = (2048, 1 << 20);

/// When to look, and what came of it.
#[derive(Debug, Clone)]
pub(super) struct Idle {
    /// Whether waiting is skipped at all.
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

    /// The cycle at which the CPU is to stop at the latest.
    pub fn limit(&self, until: u64) -> u64 {
        if self.enabled { until.min(self.next_look) } else { until }
    }
}

impl Board {
    /// Skips loops that wait, or executes each of their instructions. The outcome is the same.
    pub fn skip_idle(&mut self, skip: bool) {
        self.idle.enabled = skip;
    }

    /// Cycles of [`Board::cycles`] in which nothing was executed: waits for interrupts, loops that were skipped,
    /// and the time that ROM functions, flash and line took.
    pub fn idle_cycles(&self) -> u64 {
        self.idle.skipped
    }

    /// Looks whether the CPU is in a loop that waits, and skips it; else some instructions are executed all the
    /// same. `None` if it is not the time to look.
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
        // Rounds that are skipped, and whether the loop asks for the time.
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
                // The round begins where it first asks, so that it uses no answer of the one before.
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
            // A whole round is left to be executed.
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
