//! The controller of the flash cache and the table of the flash MMU (TRM 3.3.3 and 16, which define
//! the names). The cache holds no contents: reads through it return the flash contents.

use esplice_chip::Peripheral;

use super::clock::Tick;
use super::device::{Device, Fabric, Registers, Scope};
use super::flash_table::FlashTable;

const ICACHE_LOCK_CTRL: u32 = 0x1c;
const ICACHE_SYNC_CTRL: u32 = 0x28;
const ICACHE_PRELOAD_CTRL: u32 = 0x34;
const ICACHE_AUTOLOAD_CTRL: u32 = 0x40;
const CACHE_STATE: u32 = 0xb0;
const ICACHE_FREEZE: u32 = 0xcc;

/// The cache controller. Every operation completes immediately.
#[derive(Clone)]
pub(crate) struct CacheControl {
    registers: Registers,
}

impl CacheControl {
    pub fn new(device: &Peripheral) -> Self {
        Self { registers: Registers::of(device) }
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
            self.registers.reset();
        }
    }
}

/// Registers of version 2 (crate esp32c6, `extmem`; ROM: the functions `Cache_…`).
mod v2 {
    pub const FREEZE_CTRL: u32 = 0x2c;
    pub const LOCK_CTRL: u32 = 0x88;
    pub const SYNC_CTRL: u32 = 0x98;
    pub const PRELOAD_CTRL: u32 = 0xd8;
    pub const AUTOLOAD_CTRL: u32 = 0x134;
}

/// The cache controller of chips with a unified cache. Every operation completes immediately.
#[derive(Clone)]
pub(crate) struct UnifiedCacheControl {
    registers: Registers,
}

impl UnifiedCacheControl {
    pub fn new(device: &Peripheral) -> Self {
        Self { registers: Registers::of(device) }
    }
}

impl Device for UnifiedCacheControl {
    fn read(&mut self, offset: u32, _fabric: &mut Fabric) -> u32 {
        let value = self.registers.get(offset);
        match offset {
            // DONE, bit 4; the requests in bits 3:0 clear themselves.
            v2::SYNC_CTRL => value & !0xf | 1 << 4,
            v2::LOCK_CTRL => value & !3 | 1 << 2,
            v2::PRELOAD_CTRL => value & !1 | 1 << 1,
            v2::AUTOLOAD_CTRL => value | 1 << 1,
            // Bit 18, DONE, follows bit 16, EN.
            v2::FREEZE_CTRL => value & !(1 << 18) | (value >> 16 & 1) << 18,
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
            self.registers.reset();
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
    pub fn new(device: &Peripheral, entries: u32) -> Self {
        Self { registers: Registers::of(device), entries }
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

/// The controller of the flash cache of the ESP32-C2 and, after it, the MMU table (crate esp32c2,
/// `extmem` and `mmu_table`; ROM: `Cache_MMU_Init`, `MMU_Set_Page_Mode`).
#[derive(Clone)]
pub(crate) struct CacheMmu {
    cache: CacheControl,
    contents: Vec<u32>,
    table: FlashTable,
}

impl CacheMmu {
    /// Offset of the table.
    const TABLE: u32 = 0x1000;
    /// Bits 4:3 of this register select the page size: 16, 32 or 64 KiB (IDF,
    /// components/hal/esp32c2/include/hal/mmu_ll.h).
    const CONF_MISC: u32 = 0xc8;
    const SMALLEST_PAGE: u32 = 0x4000;
    const INVALID: u32 = 1 << 6;
    const PAGE: u32 = 0x3f;

    /// Creates the controller with `entries` entries of the MMU table. `unit` is the smallest page.
    pub fn new(device: &Peripheral, entries: u32, unit: u32) -> Self {
        Self {
            cache: CacheControl::new(device),
            contents: vec![Self::INVALID; entries as usize],
            table: FlashTable::new(entries, Self::SMALLEST_PAGE, unit),
        }
    }
}

impl Device for CacheMmu {
    fn read(&mut self, offset: u32, fabric: &mut Fabric) -> u32 {
        match offset.checked_sub(Self::TABLE) {
            Some(at) => self.contents.get((at / 4) as usize).copied().unwrap_or(0),
            None => self.cache.read(offset, fabric),
        }
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        let Some(entry) = offset.checked_sub(Self::TABLE).map(|at| at / 4) else {
            self.cache.write(offset, value, fabric);
            if offset == Self::CONF_MISC {
                self.table.set_page_len(Self::SMALLEST_PAGE << (value >> 3 & 3).min(2), fabric);
            }
            return;
        };
        if let Some(content) = self.contents.get_mut(entry as usize) {
            *content = value & (Self::INVALID | Self::PAGE);
            let page = (value & Self::INVALID == 0).then_some(value & Self::PAGE);
            self.table.set(entry, page, fabric);
        }
    }

    fn steady_until(&self, _offset: u32, _fabric: &Fabric) -> Option<Tick> {
        Some(Tick::MAX)
    }

    fn reset(&mut self, scope: Scope, fabric: &mut Fabric) {
        self.cache.reset(scope, fabric);
        if scope >= Scope::Core {
            self.contents.fill(Self::INVALID);
            self.table.reset(fabric);
        }
    }
}
