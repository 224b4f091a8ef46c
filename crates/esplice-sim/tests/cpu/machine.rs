//! The smallest board a CPU can run on: SRAM under both of its aliases, a flash window, and one
//! device.

use esplice_chip::ChipDb;
use esplice_sim::cpu::{Bus, CodeChange, Cpu, CpuModel, Fault};
use esplice_sim::memory::{Access, Backing, Bank, Memory, MemoryMap, Region};

/// SRAM on the instruction bus and on the data bus (laid out as on the ESP32-C3).
pub const IRAM: u32 = 0x4038_0000;
pub const DRAM: u32 = 0x3fc8_0000;
pub const SRAM_LEN: u32 = 0x6_0000;
/// SRAM visible only to the instruction bus, just below.
pub const IRAM0: u32 = 0x4037_c000;
/// Flash windows; MMU pages of 64 KiB.
#[allow(dead_code)] // Unused in the benchmark, which shares this file.
pub const IROM: u32 = 0x4200_0000;
pub const DROM: u32 = 0x3c00_0000;
/// A device: a load returns the cycle, halfword accesses are misaligned, a store requests a yield.
#[allow(dead_code)]
pub const DEVICE: u32 = 0x6000_0000;

pub struct Machine {
    pub memory: Memory,
    pub flash: Vec<u8>,
    pub now: u64,
}

pub fn map() -> MemoryMap {
    let region = |name: &str, base, len, backing, access| Region {
        name: name.to_owned(),
        base,
        len,
        backing,
        access,
    };
    let sram = Backing::Bank { bank: 1, offset: 0 };
    let flash = Backing::Flash { first_entry: 0 };
    MemoryMap {
        banks: vec![
            Bank { name: "sram0".to_owned(), len: 0x4000 },
            Bank { name: "sram1".to_owned(), len: SRAM_LEN },
        ],
        regions: vec![
            region("iram0", IRAM0, 0x4000, Backing::Bank { bank: 0, offset: 0 }, Access::RWX),
            region("iram", IRAM, SRAM_LEN, sram, Access::RWX),
            region("dram", DRAM, SRAM_LEN, sram, Access::RW),
            region("irom", IROM, 0x80_0000, flash, Access::RX),
            region("drom", DROM, 0x80_0000, flash, Access::R),
        ],
        flash_page_len: 0x1_0000,
    }
}

impl Machine {
    pub fn new() -> Self {
        Self { memory: Memory::new(map()).unwrap(), flash: vec![0xff; 0x4_0000], now: 0 }
    }

    #[cold]
    #[inline(never)]
    fn device_load(&mut self, addr: u32, len: u32) -> Result<u32, Fault> {
        match (addr, len) {
            (DEVICE, 4) => Ok(self.now as u32),
            (DEVICE, 2) => Err(Fault::Misaligned),
            _ => Err(Fault::LoadAccess),
        }
    }

    #[cold]
    #[inline(never)]
    fn device_store(&mut self, addr: u32, len: u32) -> Result<(), Fault> {
        match (addr, len) {
            (DEVICE, 4) => {
                self.memory.request_yield();
                Ok(())
            }
            (DEVICE, 2) => Err(Fault::Misaligned),
            _ => Err(Fault::StoreAccess),
        }
    }
}

impl Bus for Machine {
    #[inline(always)]
    fn at_cycle(&mut self, cycles: u64) {
        self.now = cycles;
    }

    #[inline(always)]
    fn load8(&mut self, addr: u32) -> Result<u8, Fault> {
        match self.memory.load8(addr, &self.flash) {
            Some(value) => Ok(value),
            None => self.device_load(addr, 1).map(|value| value as u8),
        }
    }

    #[inline(always)]
    fn load16(&mut self, addr: u32) -> Result<u16, Fault> {
        match self.memory.load16(addr, &self.flash) {
            Some(value) => Ok(value),
            None => self.device_load(addr, 2).map(|value| value as u16),
        }
    }

    #[inline(always)]
    fn load32(&mut self, addr: u32) -> Result<u32, Fault> {
        match self.memory.load32(addr, &self.flash) {
            Some(value) => Ok(value),
            None => self.device_load(addr, 4),
        }
    }

    #[inline(always)]
    fn store8(&mut self, addr: u32, value: u8) -> Result<(), Fault> {
        if self.memory.store8(addr, value) { Ok(()) } else { self.device_store(addr, 1) }
    }

    #[inline(always)]
    fn store16(&mut self, addr: u32, value: u16) -> Result<(), Fault> {
        if self.memory.store16(addr, value) { Ok(()) } else { self.device_store(addr, 2) }
    }

    #[inline(always)]
    fn store32(&mut self, addr: u32, value: u32) -> Result<(), Fault> {
        if self.memory.store32(addr, value) { Ok(()) } else { self.device_store(addr, 4) }
    }

    fn fetch16(&mut self, addr: u32) -> Result<u16, Fault> {
        self.memory.fetch16(addr, &self.flash).ok_or(Fault::FetchAccess)
    }

    fn decoded(&mut self, addr: u32, len: u32) {
        self.memory.decoded(addr, len);
    }

    #[inline(always)]
    fn attention(&self) -> bool {
        self.memory.attention()
    }

    fn take_code_change(&mut self) -> Option<CodeChange> {
        self.memory.take_code_change()
    }

    fn take_yield(&mut self) -> bool {
        self.memory.take_yield()
    }
}

/// Returns the model of the ESP32-C3's CPU.
pub fn model() -> CpuModel {
    let chip = ChipDb::embedded().find("esp32c3").unwrap();
    CpuModel::of(chip, chip.sim.as_ref().unwrap())
}

/// Returns a CPU about to run code at an address, and its machine.
pub fn with_code(model: CpuModel, addr: u32, code: &[u8]) -> (Cpu, Machine) {
    let mut machine = Machine::new();
    assert!(machine.memory.write(addr, code), "no room for code at {addr:#x}");
    let mut cpu = Cpu::new(model);
    cpu.reset(addr);
    (cpu, machine)
}

/// Returns instruction words as bytes.
#[allow(dead_code)]
pub fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
