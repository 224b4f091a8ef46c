//! The controller of the flash cache and the table of the flash MMU (TRM 3.3.3 and 16, which define
//! the names). The cache holds no contents: reads through it return the flash contents.

use super::clock::Tick;
use super::device::{Device, Fabric, Registers, Scope};

const ICACHE_LOCK_CTRL: u32 = 0x1c;
const ICACHE_SYNC_CTRL: u32 = 0x28;
const ICACHE_PRELOAD_CTRL: u32 = 0x34;
const ICACHE_AUTOLOAD_CTRL: u32 = 0x40;
const CACHE_STATE: u32 = 0xb0;
const ICACHE_FREEZE: u32 = 0xcc;

/// Reset values, from the vendor's SVD through the crate esp32c3.
const RESET: &[(u32, u32)] = &[
    (0x04, 0x03),
    (0x08, 0x05),
    (0x54, 0x4200_0000),
    (0x58, 0x427f_ffff),
    (0x5c, 0x3c00_0000),
    (0x60, 0x3c7f_ffff),
    (0x94, 0xffff_ffff),
    (0x9c, 0xffff_ffff),
    (0xac, 0x05),
    (CACHE_STATE, 0x01),
    (0xb8, 0x07),
    (0xc8, 0x07),
    (0xd0, 0x01),
    (0xe0, 0x0800),
    (0xe4, 0x0800),
    (0xe8, 0xff),
    (0xf4, 0x0800),
    (0xf8, 0x0800),
    (0xfc, 0x0f),
    (0x100, 0x01),
];

/// The cache controller. Every operation completes immediately.
#[derive(Clone)]
pub(crate) struct CacheControl {
    registers: Registers,
}

impl CacheControl {
    pub fn new(len: u32) -> Self {
        Self { registers: Registers::new(len) }
    }
}

impl Device for CacheControl {
    fn read(&mut self, offset: u32, _fabric: &mut Fabric) -> u32 {
        let value = self.registers.get(offset);
        match offset {
            // SYNC_DONE and PRELOAD_DONE are bit 1, LOCK_DONE bit 2, AUTOLOAD_DONE bit 3.
            ICACHE_SYNC_CTRL | ICACHE_PRELOAD_CTRL => value & !1 | 1 << 1,
            ICACHE_LOCK_CTRL => value & !3 | 1 << 2,
            ICACHE_AUTOLOAD_CTRL => value | 1 << 3,
            CACHE_STATE => 1, // Idle.
            // Bit 2, DONE, follows bit 0, ENA.
            ICACHE_FREEZE => value & !(1 << 2) | (value & 1) << 2,
            _ => value,
        }
    }

    fn write(&mut self, offset: u32, value: u32, _fabric: &mut Fabric) {
        self.registers.set(offset, value);
    }

    fn steady_until(&self, _offset: u32, _fabric: &Fabric) -> Option<Tick> {
        Some(Tick::MAX)
    }

    fn reset(&mut self, scope: Scope, _fabric: &mut Fabric) {
        if scope >= Scope::Core {
            self.registers.reset(RESET);
        }
    }
}

/// The MMU table. An entry is a page of flash or invalid.
#[derive(Clone)]
pub(crate) struct MmuTable {
    registers: Registers,
    entries: u32,
}

/// Entry bit: the entry maps nothing.
pub(crate) const MMU_INVALID: u32 = 1 << 8;
/// Entry bits: page of flash.
const MMU_PAGE: u32 = 0xff;

impl MmuTable {
    pub fn new(len: u32, entries: u32) -> Self {
        Self { registers: Registers::new(len), entries }
    }
}

impl Device for MmuTable {
    fn read(&mut self, offset: u32, _fabric: &mut Fabric) -> u32 {
        self.registers.get(offset)
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        self.registers.set(offset, value & (MMU_INVALID | MMU_PAGE));
        let entry = offset / 4;
        if entry < self.entries {
            let page = (value & MMU_INVALID == 0).then_some(value & MMU_PAGE);
            fabric.memory.set_flash_page(entry, page);
        }
    }

    fn steady_until(&self, _offset: u32, _fabric: &Fabric) -> Option<Tick> {
        Some(Tick::MAX)
    }

    fn reset(&mut self, scope: Scope, fabric: &mut Fabric) {
        if scope >= Scope::Core {
            for entry in 0..self.entries {
                self.write(4 * entry, MMU_INVALID, fabric);
            }
        }
    }
}
