//! The bus during a watched round: records accesses and until when all of them repeat.

use std::ops::Range;

use crate::{
    cpu::{Bus, CodeChange, Fault},
    soc::{Soc, clock::Tick},
};

/// The watched bus.
pub(super) struct Watch<'a> {
    pub soc: &'a mut Soc,
    /// Time until which all reads return the same values; `None` if one never does or a device was
    /// written.
    pub steady: Option<Tick>,
    /// Aligned words of memory that were written, with their previous values.
    pub written: Vec<(u32, u32)>,
    pub unlisted: Vec<u32>,
    /// Registers that hold a time latched by a store, with the cycle of that store.
    pub latched: Vec<(Range<u32>, u64)>,
}

impl<'a> Watch<'a> {
    pub fn new(soc: &'a mut Soc) -> Self {
        let steady = Some(Tick::MAX);
        Self { soc, steady, written: Vec::new(), unlisted: Vec::new(), latched: Vec::new() }
    }

    /// Returns whether all memory is as it was.
    pub fn is_unchanged(&self) -> bool {
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

    fn storing(&mut self, addr: u32, len: u32, value: u32) {
        if len == 4
            && !self.soc.fabric.memory.is_mapped(addr)
            && let Some(registers) = self.soc.latches(addr, value)
        {
            self.latched.push((registers, self.soc.fabric.clock.cycle));
            return;
        }
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
        self.storing(addr, 1, value.into());
        self.soc.store8(addr, value)
    }

    fn store16(&mut self, addr: u32, value: u16) -> Result<(), Fault> {
        self.storing(addr, 2, value.into());
        self.soc.store16(addr, value)
    }

    fn store32(&mut self, addr: u32, value: u32) -> Result<(), Fault> {
        self.storing(addr, 4, value);
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
