//! The chip's bus: memories first, then devices, and storage where no device is.
//!
//! An access to an unmapped address raises no exception by itself: a load reads 0, a store is lost,
//! and a fetch returns an illegal instruction. ESP-IDF's `esp_cpu_configure_region_protection` for
//! the ESP32-C3 documents this for the gaps between its PMP entries, and esptool's hardware tests
//! read 0x400c0000 on a chip whose loader has set up no entries. Access faults come from memory
//! protection, which the second-stage bootloader sets up.

use std::{ops::Range, sync::Arc};

use esplice_chip::RegionKind;

use super::{Soc, clock::Tick};
use crate::cpu::{Bus, CodeChange, Fault};

/// Number of accesses to an address that no device covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Accesses {
    /// Number of reads.
    pub reads: u64,
    /// Number of writes.
    pub writes: u64,
}

impl Soc {
    /// Returns the addresses in the peripheral space that software accessed and no device covers.
    pub fn unlisted(&self) -> impl Iterator<Item = (u32, Accesses)> {
        self.unlisted.iter().map(|(addr, (_, accesses))| (*addr, *accesses))
    }

    /// Returns the name of the device at an address.
    pub fn device_name(&self, addr: u32) -> Option<Arc<str>> {
        self.devices.get(self.device_at(addr)?).map(|placed| placed.name.clone())
    }

    /// Returns whether an address is in the peripheral space and has no device.
    pub fn is_unlisted(&self, addr: u32) -> bool {
        self.in_device_space(addr) && self.device_at(addr).is_none()
    }

    /// Counts skipped reads of addresses without a device.
    pub fn count_unlisted_reads(&mut self, addrs: &[u32], times: u64) {
        for addr in addrs {
            if let Some((_, accesses)) = self.unlisted.get_mut(addr) {
                accesses.reads += times;
            }
        }
    }

    /// Returns [`Device::steady_until`] of the register at an address.
    pub fn steady_until(&self, addr: u32) -> Option<Tick> {
        let placed = self.devices.get(self.device_at(addr)?)?;
        placed.device.steady_until((addr & !3) - placed.base, &self.fabric)
    }

    /// Returns [`Device::latches`] of a store, as addresses.
    pub fn latches(&self, addr: u32, value: u32) -> Option<Range<u32>> {
        let placed = self.devices.get(self.device_at(addr)?)?;
        let registers = placed.device.latches(addr - placed.base, value)?;
        Some(placed.base + registers.start..placed.base + registers.end)
    }

    /// Returns [`Device::time_at`] of the register at an address.
    pub fn time_at(&self, addr: u32, at: Tick) -> Option<(u64, u32)> {
        let placed = self.devices.get(self.device_at(addr)?)?;
        placed.device.time_at(addr - placed.base, at)
    }

    #[cold]
    #[inline(never)]
    fn device_load(&mut self, addr: u32) -> Result<u32, Fault> {
        let aligned = addr & !3;
        if !self.in_device_space(addr) {
            // Nothing drives the bus at a flash window's page without a valid entry, at ROM beyond
            // the modelled part, and at gaps between the memories.
            return Ok(0);
        }
        let word = match self.device_at(addr) {
            Some(index) => {
                let placed = &mut self.devices[index];
                let value = placed.device.read(aligned - placed.base, &mut self.fabric);
                self.after_access(index);
                value
            }
            None => {
                let (value, accesses) = self.unlisted.entry(aligned).or_default();
                accesses.reads += 1;
                *value
            }
        };
        Ok(word >> (8 * (addr & 3)))
    }

    #[cold]
    #[inline(never)]
    fn device_store(&mut self, addr: u32, value: u32) -> Result<(), Fault> {
        let aligned = addr & !3;
        if !self.in_device_space(addr) {
            // Stores to flash windows, to ROM and to gaps are dropped.
            return Ok(());
        }
        // The peripheral bus takes whole words, so a narrow store writes zeros to the other bytes.
        let value = value << (8 * (addr & 3));
        match self.device_at(addr) {
            Some(index) => {
                let placed = &mut self.devices[index];
                placed.device.write(aligned - placed.base, value, &mut self.fabric);
                self.after_access(index);
            }
            None => {
                let (word, accesses) = self.unlisted.entry(aligned).or_default();
                accesses.writes += 1;
                *word = value;
            }
        }
        Ok(())
    }
}

impl Bus for Soc {
    #[inline(always)]
    fn at_cycle(&mut self, cycles: u64) {
        self.fabric.clock.cycle = cycles;
    }

    #[inline(always)]
    fn load8(&mut self, addr: u32) -> Result<u8, Fault> {
        match self.fabric.memory.load8(addr, self.fabric.flash.nor.bytes()) {
            Some(value) => Ok(value),
            None => self.device_load(addr).map(|value| value as u8),
        }
    }

    #[inline(always)]
    fn load16(&mut self, addr: u32) -> Result<u16, Fault> {
        match self.fabric.memory.load16(addr, self.fabric.flash.nor.bytes()) {
            Some(value) => Ok(value),
            None => self.device_load(addr).map(|value| value as u16),
        }
    }

    #[inline(always)]
    fn load32(&mut self, addr: u32) -> Result<u32, Fault> {
        match self.fabric.memory.load32(addr, self.fabric.flash.nor.bytes()) {
            Some(value) => Ok(value),
            None => self.device_load(addr),
        }
    }

    #[inline(always)]
    fn store8(&mut self, addr: u32, value: u8) -> Result<(), Fault> {
        if self.fabric.memory.store8(addr, value) {
            Ok(())
        } else {
            self.device_store(addr, value.into())
        }
    }

    #[inline(always)]
    fn store16(&mut self, addr: u32, value: u16) -> Result<(), Fault> {
        if self.fabric.memory.store16(addr, value) {
            Ok(())
        } else {
            self.device_store(addr, value.into())
        }
    }

    #[inline(always)]
    fn store32(&mut self, addr: u32, value: u32) -> Result<(), Fault> {
        if self.fabric.memory.store32(addr, value) {
            Ok(())
        } else {
            self.device_store(addr, value)
        }
    }

    fn fetch16(&mut self, addr: u32) -> Result<u16, Fault> {
        let region = self.fabric.chip.region_at(esplice_chip::Addr(addr));
        if !self.fabric.rom_executed && region.is_some_and(|region| region.kind == RegionKind::Rom)
        {
            // Keep the first address, because the exception it raises may lead into ROM again.
            self.rom_fetch.get_or_insert(addr);
            self.fabric.memory.request_yield();
            return Err(Fault::FetchAccess);
        }
        match self.fabric.memory.fetch16(addr, self.fabric.flash.nor.bytes()) {
            Some(half) => Ok(half),
            // Something is mapped there that is not executable.
            None if region.is_some() || self.in_device_space(addr) => Err(Fault::FetchAccess),
            None => Ok(0),
        }
    }

    fn decoded(&mut self, addr: u32, len: u32) {
        self.fabric.memory.decoded(addr, len);
    }

    #[inline(always)]
    fn attention(&self) -> bool {
        self.fabric.memory.attention()
    }

    fn take_code_change(&mut self) -> Option<CodeChange> {
        self.fabric.memory.take_code_change()
    }

    fn take_yield(&mut self) -> bool {
        self.fabric.memory.take_yield()
    }
}
