//! Loops that wait: the CPU goes round and round, reads the same and changes nothing, until a device does. They are
//! found by looking at some instructions now and then, and skipped whole, to the very cycle.
//!
//! Once round such a loop is watched instruction by instruction. It is skipped if registers, CSRs and all memory it wrote
//! to are then as they were before, and every device's register it read says until when it reads the same
//! (`Device::steady_until`). What it reads decides what it does, so it does the same again until
//! then, or until the next event.

use super::Board;
use crate::{
    cpu::{Bus, CodeChange, Fault, Stop},
    soc::{Soc, clock::Tick},
};

/// Instructions of the longest loop that is found.
const LONGEST: u64 = 256;
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
        let (pc, x, csrs) = (self.cpu.pc, self.cpu.x, self.cpu.csrs.clone());
        self.cpu.take_counter_read();
        let mut watch = Watch {
            soc: &mut self.soc,
            steady: Some(Tick::MAX),
            written: Vec::new(),
            unlisted: Vec::new(),
        };
        let mut found = false;
        let mut stop = Stop::Budget;
        while self.cpu.cycles < until.min(start + LONGEST) && watch.steady.is_some() {
            let next = self.cpu.cycles + 1;
            stop = self.cpu.run(&mut watch, next);
            if stop != Stop::Budget || self.cpu.take_counter_read() {
                break;
            }
            if self.cpu.pc == pc && self.cpu.x == x && self.cpu.csrs == csrs && watch.is_unchanged()
            {
                found = true;
                break;
            }
        }
        if !found {
            self.idle.pause = (self.idle.pause * 2).min(PAUSES.1);
            self.idle.next_look = self.cpu.cycles + self.idle.pause;
            return Some(stop);
        }
        let round = self.cpu.cycles - start;
        let steady = watch.steady.unwrap_or(0);
        let unlisted = std::mem::take(&mut watch.unlisted);
        let limit = self.soc.fabric.clock.cycle_at(steady).min(until);
        let rounds = limit.saturating_sub(self.cpu.cycles) / round.max(1);
        self.cpu.cycles += rounds * round;
        self.soc.fabric.clock.cycle = self.cpu.cycles;
        self.soc.count_unlisted_reads(&unlisted, rounds);
        self.idle.skipped += rounds * round;
        self.idle.pause = PAUSES.0;
        self.idle.next_look = self.cpu.cycles + self.idle.pause;
        Some(Stop::Budget)
    }
}

/// The bus, watched.
struct Watch<'a> {
    soc: &'a mut Soc,
    /// Until when all that was read reads the same; `None` if something never does, or a device was written to.
    steady: Option<Tick>,
    /// Aligned words of memory that were written to, with what they held before.
    written: Vec<(u32, u32)>,
    unlisted: Vec<u32>,
}

impl Watch<'_> {
    /// Whether all memory is as it was.
    fn is_unchanged(&self) -> bool {
        self.written.iter().all(|(addr, old)| self.word(*addr) == Some(*old))
    }

    fn word(&self, addr: u32) -> Option<u32> {
        self.soc.fabric.memory.load32(addr, self.soc.fabric.flash.nor.bytes())
    }

    fn loaded(&mut self, addr: u32) {
        if self.soc.fabric.memory.is_mapped(addr) {
            return;
        }
        if self.soc.is_unlisted(addr) {
            self.unlisted.push(addr & !3);
            return;
        }
        let steady = self.soc.steady_until(addr);
        self.steady = self.steady.and_then(|before| Some(before.min(steady?)));
    }

    fn storing(&mut self, addr: u32, len: u32) {
        for addr in [addr & !3, addr.wrapping_add(len - 1) & !3] {
            match self.word(addr) {
                Some(old) if !self.written.iter().any(|(known, _)| *known == addr) => {
                    self.written.push((addr, old));
                }
                Some(_) => {}
                None => self.steady = None,
            }
        }
    }
}

impl Bus for Watch<'_> {
    fn at_cycle(&mut self, cycles: u64) {
        self.soc.at_cycle(cycles);
    }

    fn load8(&mut self, addr: u32) -> Result<u8, Fault> {
        let loaded = self.soc.load8(addr);
        self.loaded(addr);
        loaded
    }

    fn load16(&mut self, addr: u32) -> Result<u16, Fault> {
        let loaded = self.soc.load16(addr);
        self.loaded(addr);
        loaded
    }

    fn load32(&mut self, addr: u32) -> Result<u32, Fault> {
        let loaded = self.soc.load32(addr);
        self.loaded(addr);
        loaded
    }

    fn store8(&mut self, addr: u32, value: u8) -> Result<(), Fault> {
        self.storing(addr, 1);
        self.soc.store8(addr, value)
    }

    fn store16(&mut self, addr: u32, value: u16) -> Result<(), Fault> {
        self.storing(addr, 2);
        self.soc.store16(addr, value)
    }

    fn store32(&mut self, addr: u32, value: u32) -> Result<(), Fault> {
        self.storing(addr, 4);
        self.soc.store32(addr, value)
    }

    fn fetch16(&mut self, addr: u32) -> Result<u16, Fault> {
        self.soc.fetch16(addr)
    }

    fn decoded(&mut self, addr: u32, len: u32) {
        self.soc.decoded(addr, len);
    }

    fn attention(&self) -> bool {
        self.soc.attention()
    }

    fn take_code_change(&mut self) -> Option<CodeChange> {
        self.soc.take_code_change()
    }

    fn take_yield(&mut self) -> bool {
        self.soc.take_yield()
    }
}
