//! The plain memories of a chip and where they appear on the bus: banks of RAM and ROM under any
//! number of aliases, and windows onto flash through the flash MMU.
//!
//! # Implementing the [`Bus`](crate::cpu::Bus)
//! Pass every access to `Memory` first. `None` or `false` means that there is no plain memory at
//! the address; pass the access on to the devices then. `Memory` does not hold the flash contents:
//! each reading method takes them as a slice (the whole chip from offset 0), which costs nothing if
//! the address is in RAM. A bus therefore reads
//!
//! ```text
//! #[inline(always)]
//! fn load32(&mut self, addr: u32) -> Result<u32, Fault> {
//!     match self.memory.load32(addr, self.nor.bytes()) {
//!         Some(value) => Ok(value),
//!         None => self.device_load(addr, 4),      // #[cold] #[inline(never)]
//!     }
//! }
//! #[inline(always)]
//! fn store32(&mut self, addr: u32, value: u32) -> Result<(), Fault> {
//!     if self.memory.store32(addr, value) { Ok(()) } else { self.device_store(addr, value, 4) }
//! }
//! fn fetch16(&mut self, addr: u32) -> Result<u16, Fault> {
//!     self.memory.fetch16(addr, self.nor.bytes()).ok_or(Fault::FetchAccess)
//! }
//! fn decoded(&mut self, addr: u32, len: u32) { self.memory.decoded(addr, len) }
//! fn attention(&self) -> bool { self.memory.attention() }
//! fn take_code_change(&mut self) -> Option<CodeChange> { self.memory.take_code_change() }
//! fn take_yield(&mut self) -> bool { self.memory.take_yield() }
//! ```
//!
//! A device that needs the board calls [`Memory::request_yield`]. The device with the flash MMU's
//! registers calls [`Memory::set_flash_page`]. Code that changes the flash contents calls
//! [`Memory::flash_changed`].
//!
//! A store to ROM, to a flash window or to an unmapped address returns `false`
//! ([`Memory::is_mapped`] distinguishes them). The bus decides what the chip does then.
//!
//! # Unaligned access
//! Plain memory accepts unaligned loads and stores, also across a page boundary. So do the chips:
//! the ESP32-C3 Series SoC Errata, in the entry on unaligned loads and PMP, says that an unaligned
//! load across a word boundary is split into two transfers internally. (The erratum itself, a wrong
//! permission check of the second transfer, is not modelled: protection checks all bytes of an
//! access.)
//!
//! # Performance
//! A table with one entry per 4 KiB of the address space makes an access two indexed reads. A page
//! that holds decoded instructions loses its plain write bit; stores to it take a slower path that
//! checks whether an instruction was hit. Data next to code in the same page thus does not
//! invalidate the decoded code.

mod changes;
mod map;

pub use map::{Access, Backing, Bank, MapError, MemoryMap, Region};

use crate::{cpu::CodeChange, page_table::PageTable};
use changes::CodePage;
use std::collections::VecDeque;

/// Size of a page in the table, in bytes.
pub const PAGE_LEN: u32 = 4096;
const PAGE: usize = PAGE_LEN as usize;

/// Bits of a table entry, below the page number (in the banks or in flash).
const READ: u32 = 1;
const WRITE: u32 = 2;
/// Reads go to flash instead of the banks.
const FLASH: u32 = 4;
const EXEC: u32 = 8;
/// The page is writable but holds decoded instructions.
const WRITE_CODE: u32 = 16;
/// This page of a flash window holds decoded instructions.
const FLASH_CODE: u32 = 32;

type Page = [u8; PAGE];

/// The RAM, ROM and flash windows of one chip.
#[derive(Debug, Clone)]
pub struct Memory {
    /// One entry per page of the address space.
    table: PageTable,
    pages: Vec<Page>,
    attention: bool,
    yield_requested: bool,
    code: Vec<Option<Box<CodePage>>>,
    changes: VecDeque<CodeChange>,
    map: MemoryMap,
    bank_starts: Vec<u32>,
    /// Physical flash page of each MMU entry.
    flash_pages: Vec<Option<u32>>,
}

impl Memory {
    /// Builds the memories with all bytes 0 and no flash mapped.
    pub fn new(map: MemoryMap) -> Result<Self, MapError> {
        let (bank_starts, page_count) = map.check()?;
        let mut memory = Self {
            table: PageTable::new(),
            pages: vec![[0; PAGE]; page_count as usize],
            attention: false,
            yield_requested: false,
            code: vec![None; page_count as usize],
            changes: VecDeque::new(),
            bank_starts,
            flash_pages: Vec::new(),
            map,
        };
        for region in memory.map.regions.clone() {
            match region.backing {
                Backing::Bank { bank, offset } => {
                    let mut bits = READ;
                    bits |= if region.access.write { WRITE } else { 0 };
                    bits |= if region.access.execute { EXEC } else { 0 };
                    let first = memory.bank_starts[bank] + offset / PAGE_LEN;
                    for i in 0..region.len / PAGE_LEN {
                        memory.table[(region.base / PAGE_LEN + i) as usize] =
                            (first + i) << 12 | bits;
                    }
                }
                Backing::Flash { .. } => {
                    let entries = memory.map.entries_up_to(&region) as usize;
                    let entries = entries.max(memory.flash_pages.len());
                    memory.flash_pages.resize(entries, None);
                }
            }
        }
        Ok(memory)
    }

    /// Returns the map that the memories were built from.
    pub fn map(&self) -> &MemoryMap {
        &self.map
    }

    /// Returns the region at an address.
    pub fn region_at(&self, addr: u32) -> Option<&Region> {
        self.map.regions.iter().find(|r| addr.wrapping_sub(r.base) < r.len)
    }

    /// Returns whether plain memory can currently be read at an address.
    pub fn is_mapped(&self, addr: u32) -> bool {
        self.entry(addr) & (READ | FLASH) != 0
    }

    #[inline(always)]
    fn entry(&self, addr: u32) -> u32 {
        self.table[(addr >> 12) as usize]
    }

    #[inline(always)]
    fn page(&self, entry: u32) -> Option<&Page> {
        self.pages.get((entry >> 12) as usize)
    }

    /// Reads a byte, if plain memory is there.
    #[inline(always)]
    pub fn load8(&self, addr: u32, flash: &[u8]) -> Option<u8> {
        let entry = self.entry(addr);
        if entry & READ != 0 {
            self.page(entry).map(|page| page[(addr & 0xfff) as usize])
        } else {
            self.flash_bytes::<1>(entry, addr, flash).map(|[byte]| byte)
        }
    }

    /// Reads a halfword at any address, if plain memory is there.
    #[inline(always)]
    pub fn load16(&self, addr: u32, flash: &[u8]) -> Option<u16> {
        let entry = self.entry(addr);
        if addr & 1 != 0 {
            return self.load_unaligned::<2>(addr, flash).map(u16::from_le_bytes);
        }
        if entry & READ != 0 {
            let at = (addr & 0xffe) as usize;
            self.page(entry).map(|page| u16::from_le_bytes([page[at], page[at + 1]]))
        } else {
            self.flash_bytes::<2>(entry, addr, flash).map(u16::from_le_bytes)
        }
    }

    /// Reads a word at any address, if plain memory is there.
    #[inline(always)]
    pub fn load32(&self, addr: u32, flash: &[u8]) -> Option<u32> {
        let entry = self.entry(addr);
        if addr & 3 != 0 {
            return self.load_unaligned::<4>(addr, flash).map(u32::from_le_bytes);
        }
        if entry & READ != 0 {
            let at = (addr & 0xffc) as usize;
            self.page(entry).map(|page| {
                u32::from_le_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]])
            })
        } else {
            self.flash_bytes::<4>(entry, addr, flash).map(u32::from_le_bytes)
        }
    }

    /// Performs an aligned read of a flash window.
    #[inline]
    fn flash_bytes<const N: usize>(&self, entry: u32, addr: u32, flash: &[u8]) -> Option<[u8; N]> {
        if entry & FLASH == 0 {
            return None;
        }
        // Past the end of the chip the MMU's address wraps around within the chip. All ones mean
        // that nothing drives the bus.
        let at = (entry & !0xfff | addr & 0xfff) as usize;
        Some(flash.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().unwrap_or([0xff; N]))
    }

    #[cold]
    #[inline(never)]
    fn load_unaligned<const N: usize>(&self, addr: u32, flash: &[u8]) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = self.load8(addr.wrapping_add(i as u32), flash)?;
        }
        Some(bytes)
    }

    /// Writes a byte. Returns false if no writable plain memory is there.
    #[inline(always)]
    pub fn store8(&mut self, addr: u32, value: u8) -> bool {
        let entry = self.entry(addr);
        if entry & WRITE != 0
            && let Some(page) = self.pages.get_mut((entry >> 12) as usize)
        {
            page[(addr & 0xfff) as usize] = value;
            return true;
        }
        self.store_slow(addr, [value])
    }

    /// Writes a halfword at any address. Returns false if no writable plain memory is there.
    #[inline(always)]
    pub fn store16(&mut self, addr: u32, value: u16) -> bool {
        let entry = self.entry(addr);
        if entry & WRITE != 0
            && addr & 1 == 0
            && let Some(page) = self.pages.get_mut((entry >> 12) as usize)
        {
            let at = (addr & 0xffe) as usize;
            page[at..at + 2].copy_from_slice(&value.to_le_bytes());
            return true;
        }
        self.store_slow(addr, value.to_le_bytes())
    }

    /// Writes a word at any address. Returns false if no writable plain memory is there.
    #[inline(always)]
    pub fn store32(&mut self, addr: u32, value: u32) -> bool {
        let entry = self.entry(addr);
        if entry & WRITE != 0
            && addr & 3 == 0
            && let Some(page) = self.pages.get_mut((entry >> 12) as usize)
        {
            let at = (addr & 0xffc) as usize;
            page[at..at + 4].copy_from_slice(&value.to_le_bytes());
            return true;
        }
        self.store_slow(addr, value.to_le_bytes())
    }

    /// Handles stores that are unaligned or go to pages with decoded code.
    #[cold]
    #[inline(never)]
    fn store_slow<const N: usize>(&mut self, addr: u32, bytes: [u8; N]) -> bool {
        let writable = |memory: &Self, addr| memory.entry(addr) & (WRITE | WRITE_CODE) != 0;
        if !writable(self, addr) || !writable(self, addr.wrapping_add(N as u32 - 1)) {
            return false;
        }
        for (i, byte) in bytes.into_iter().enumerate() {
            let addr = addr.wrapping_add(i as u32);
            let entry = self.entry(addr);
            if let Some(page) = self.pages.get_mut((entry >> 12) as usize) {
                page[(addr & 0xfff) as usize] = byte;
            }
            if entry & WRITE_CODE != 0 {
                self.code_byte_written(entry >> 12, addr & 0xfff);
            }
        }
        true
    }

    /// Returns the instruction halfword at an even address, if instructions can be fetched there.
    pub fn fetch16(&self, addr: u32, flash: &[u8]) -> Option<u16> {
        if self.entry(addr) & EXEC == 0 {
            return None;
        }
        self.load16(addr, flash)
    }

    /// Reads bytes as seen on the bus. Returns false, with `into` partly written, if some bytes are
    /// not in plain memory.
    pub fn read(&self, addr: u32, into: &mut [u8], flash: &[u8]) -> bool {
        for (i, byte) in into.iter_mut().enumerate() {
            let Some(value) = self.load8(addr.wrapping_add(i as u32), flash) else { return false };
            *byte = value;
        }
        true
    }

    /// Writes bytes as the bus would. Returns false, after a partial write, if some bytes are not
    /// in writable plain memory.
    pub fn write(&mut self, addr: u32, bytes: &[u8]) -> bool {
        for (i, byte) in bytes.iter().enumerate() {
            if !self.store8(addr.wrapping_add(i as u32), *byte) {
                return false;
            }
        }
        true
    }

    /// Returns all bytes of a bank.
    pub fn bank(&self, bank: usize) -> Option<&[u8]> {
        let (first, count) = self.bank_pages(bank)?;
        Some(self.pages.get(first..first + count)?.as_flattened())
    }

    /// Returns all bytes of a bank, including ROM, for writing from outside. Discards code decoded
    /// from it.
    pub fn bank_mut(&mut self, bank: usize) -> Option<&mut [u8]> {
        let (first, count) = self.bank_pages(bank)?;
        for page in first..first + count {
            self.discard_code(page as u32);
        }
        Some(self.pages.get_mut(first..first + count)?.as_flattened_mut())
    }

    fn bank_pages(&self, bank: usize) -> Option<(usize, usize)> {
        let start = *self.bank_starts.get(bank)?;
        Some((start as usize, (self.map.banks.get(bank)?.len / PAGE_LEN) as usize))
    }
}
