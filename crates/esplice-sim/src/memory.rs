//! The plain memories of a chip and where they are seen on the bus: banks of RAM and ROM under any number of aliases,
//! and windows onto flash through the flash MMU.
//!
//! # For the one who writes the [`Bus`](crate::cpu::Bus)
//! Give every access to `Memory` first; `None` or `false` means "no plain memory there" and the access goes on to the
//! devices. The contents of flash are not held here: each reading method takes them as a slice (the whole chip,
//! offset 0 first), which costs nothing where the address is RAM. So a bus reads
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
//! A device that needs the board calls [`Memory::request_yield`]. The flash MMU's registers are a device that calls
//! [`Memory::set_flash_page`]; whoever changes flash contents calls [`Memory::flash_changed`].
//!
//! A store into ROM, into a flash window or into a hole answers `false` ([`Memory::is_mapped`] tells them apart): what
//! the chip does then is for the bus to know.
//!
//! # Unaligned access
//! Plain memory takes unaligned loads and stores, also over the border of two pages. This is what the chips do:
//! ESP-IDF builds for them without `-mstrict-align` and its memory functions rely on it.
//!
//! # How it is fast
//! A table with one entry for each 4 KiB of the address space, so that an access is two indexed reads. A page that
//! holds decoded instructions loses its plain write bit; stores into it take a slower path that looks whether an
//! instruction was hit. Data beside code in one page therefore does not disturb the decoded code.

use crate::cpu::CodeChange;
use std::collections::VecDeque;

/// Pages of the table, 4 KiB each.
pub const PAGE_LEN: u32 = 4096;
const PAGE: usize = PAGE_LEN as usize;
const TABLE: usize = 1 << 20;

/// Entry bits: page number (in the banks, or in flash) above, these below.
const READ: u32 = 1;
const WRITE: u32 = 2;
/// Reads go to flash, not to the banks.
const FLASH: u32 = 4;
const EXEC: u32 = 8;
/// Writable, but decoded instructions are in the page.
const WRITE_CODE: u32 = 16;

type Page = [u8; PAGE];

/// What may be done with a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Stores are taken.
    pub write: bool,
    /// Instructions can be fetched.
    pub execute: bool,
}

impl Access {
    /// Data RAM.
    pub const RW: Self = Self { write: true, execute: false };
    /// RAM on the instruction bus.
    pub const RWX: Self = Self { write: true, execute: true };
    /// Constants.
    pub const R: Self = Self { write: false, execute: false };
    /// Code in ROM or flash.
    pub const RX: Self = Self { write: false, execute: true };
}

/// What a region shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backing {
    /// Bytes of a bank of RAM or ROM.
    Bank {
        /// Its place in [`MemoryMap::banks`].
        bank: usize,
        /// The byte of the bank that stands at the region's base.
        offset: u32,
    },
    /// Flash through the MMU; the region's base is shown by this entry of the MMU table, and so on.
    Flash {
        /// Index into the MMU table.
        first_entry: u32,
    },
}

/// A range of bus addresses that shows plain memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// What errors and listings call it.
    pub name: String,
    /// First address, a multiple of [`PAGE_LEN`].
    pub base: u32,
    /// Bytes, a multiple of [`PAGE_LEN`].
    pub len: u32,
    /// What is seen there.
    pub backing: Backing,
    /// What may be done with it.
    pub access: Access,
}

/// A piece of RAM or ROM, which regions show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bank {
    /// What errors call it.
    pub name: String,
    /// Bytes, a multiple of [`PAGE_LEN`].
    pub len: u32,
}

/// The plain memories of a chip, as data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryMap {
    /// RAM and ROM.
    pub banks: Vec<Bank>,
    /// Where they, and flash, are seen.
    pub regions: Vec<Region>,
    /// Bytes that one entry of the flash MMU maps, a multiple of [`PAGE_LEN`]; 64 KiB on all chips so far.
    pub flash_page_len: u32,
}

/// A memory map that can't be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// A base, offset or length is not a multiple of the page length, or is 0.
    #[error("{name}: {value:#x} is not a positive multiple of {unit:#x}")]
    Unaligned {
        /// Region or bank.
        name: String,
        /// The value.
        value: u32,
        /// What it has to be a multiple of.
        unit: u32,
    },
    /// A region names a bank that does not exist or is too short.
    #[error("region {name} shows bytes {offset:#x} to {end:#x} of bank {bank}, which has {len:#x}")]
    OutsideBank {
        /// Region.
        name: String,
        /// Its bank.
        bank: usize,
        /// First byte.
        offset: u32,
        /// One past the last byte.
        end: u64,
        /// Bytes in the bank.
        len: u32,
    },
    /// The banks, or the entries of the flash MMU, are more than an address space can hold.
    #[error("{name}: {count} pages are more than {limit}")]
    TooLarge {
        /// Region or bank.
        name: String,
        /// Pages up to and with it.
        count: u64,
        /// Most there can be.
        limit: u64,
    },
    /// Two regions share addresses, or one runs past the end of the address space.
    #[error("region {name} at {addr:#010x} overlaps another or the end of the address space")]
    Overlap {
        /// The later region.
        name: String,
        /// Where.
        addr: u64,
    },
}

/// Which halfwords of a physical page are held decoded, and under which virtual pages.
#[derive(Debug, Clone)]
struct CodePage {
    halfwords: [u64; PAGE / 2 / 64],
    seen_at: Vec<u32>,
}

/// RAM, ROM and the flash windows of one chip.
#[derive(Debug, Clone)]
pub struct Memory {
    /// One entry for each page of the address space.
    table: Box<[u32; TABLE]>,
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
    /// Builds the memories, all bytes 0 and no flash mapped.
    pub fn new(map: MemoryMap) -> Result<Self, MapError> {
        check_aligned("flash MMU page", map.flash_page_len, PAGE_LEN)?;
        let mut bank_starts = Vec::new();
        let mut page_count = 0_u32;
        for bank in &map.banks {
            check_aligned(&bank.name, bank.len, PAGE_LEN)?;
            bank_starts.push(page_count);
            page_count += bank.len / PAGE_LEN;
            check_count(&bank.name, page_count.into())?;
        }
        let mut memory = Self {
            // Zeroed by the host's memory manager: untouched parts cost nothing.
            table: vec![0; TABLE].try_into().expect("the length is that of the table"),
            pages: vec![[0; PAGE]; page_count as usize],
            attention: false,
            yield_requested: false,
            code: vec![None; page_count as usize],
            changes: VecDeque::new(),
            bank_starts,
            flash_pages: Vec::new(),
            map,
        };
        memory.check_regions()?;
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
                Backing::Flash { first_entry } => {
                    let entries =
                        u64::from(first_entry) + u64::from(region.len / memory.map.flash_page_len);
                    check_count(&region.name, entries)?;
                    if memory.flash_pages.len() < entries as usize {
                        memory.flash_pages.resize(entries as usize, None);
                    }
                }
            }
        }
        Ok(memory)
    }

    fn check_regions(&self) -> Result<(), MapError> {
        let mut sorted: Vec<&Region> = self.map.regions.iter().collect();
        sorted.sort_by_key(|r| r.base);
        let mut end = 0_u64;
        for region in sorted {
            let unit = match region.backing {
                Backing::Bank { .. } => PAGE_LEN,
                Backing::Flash { .. } => self.map.flash_page_len,
            };
            check_aligned(&region.name, region.len, unit)?;
            if region.base % unit != 0 {
                return Err(MapError::Unaligned {
                    name: region.name.clone(),
                    value: region.base,
                    unit,
                });
            }
            if u64::from(region.base) < end {
                return Err(MapError::Overlap {
                    name: region.name.clone(),
                    addr: region.base.into(),
                });
            }
            end = u64::from(region.base) + u64::from(region.len);
            if end > 1 << 32 {
                return Err(MapError::Overlap { name: region.name.clone(), addr: end });
            }
            if let Backing::Bank { bank, offset } = region.backing {
                if offset % PAGE_LEN != 0 {
                    return Err(MapError::Unaligned {
                        name: region.name.clone(),
                        value: offset,
                        unit: PAGE_LEN,
                    });
                }
                let len = self.map.banks.get(bank).map_or(0, |b| b.len);
                let end = u64::from(offset) + u64::from(region.len);
                if end > len.into() {
                    return Err(MapError::OutsideBank {
                        name: region.name.clone(),
                        bank,
                        offset,
                        end,
                        len,
                    });
                }
            }
        }
        Ok(())
    }

    /// The map it was built from.
    pub fn map(&self) -> &MemoryMap {
        &self.map
    }

    /// The region at an address.
    pub fn region_at(&self, addr: u32) -> Option<&Region> {
        self.map.regions.iter().find(|r| addr.wrapping_sub(r.base) < r.len)
    }

    /// Whether plain memory can be read at an address now.
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

    /// An aligned read of a flash window.
    #[inline]
    fn flash_bytes<const N: usize>(&self, entry: u32, addr: u32, flash: &[u8]) -> Option<[u8; N]> {
        if entry & FLASH == 0 {
            return None;
        }
        // Past the end of the chip the MMU's address wraps around in the chip; ones stand for "nothing driven".
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

    /// Writes a byte; false if there is no plain memory that takes it.
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

    /// Writes a halfword at any address; false if there is no plain memory that takes it.
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

    /// Writes a word at any address; false if there is no plain memory that takes it.
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

    /// Stores that are unaligned or go into pages with decoded code.
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

    /// The instruction halfword at an even address, if instructions can be fetched there.
    pub fn fetch16(&self, addr: u32, flash: &[u8]) -> Option<u16> {
        if self.entry(addr) & EXEC == 0 {
            return None;
        }
        self.load16(addr, flash)
    }

    /// Reads bytes as the bus sees them; false (and a part of `into` written) if some are not plain memory.
    pub fn read(&self, addr: u32, into: &mut [u8], flash: &[u8]) -> bool {
        for (i, byte) in into.iter_mut().enumerate() {
            let Some(value) = self.load8(addr.wrapping_add(i as u32), flash) else { return false };
            *byte = value;
        }
        true
    }

    /// Writes bytes as the bus would; false (and a part of them written) if some are not writable plain memory.
    pub fn write(&mut self, addr: u32, bytes: &[u8]) -> bool {
        for (i, byte) in bytes.iter().enumerate() {
            if !self.store8(addr.wrapping_add(i as u32), *byte) {
                return false;
            }
        }
        true
    }

    /// All bytes of a bank.
    pub fn bank(&self, bank: usize) -> Option<&[u8]> {
        let (first, count) = self.bank_pages(bank)?;
        Some(self.pages.get(first..first + count)?.as_flattened())
    }

    /// All bytes of a bank, also of ROM, to be set from outside. Code decoded from it is given up.
    pub fn bank_mut(&mut self, bank: usize) -> Option<&mut [u8]> {
        let (first, count) = self.bank_pages(bank)?;
        for page in first..first + count {
            self.give_up_code(page as u32);
        }
        Some(self.pages.get_mut(first..first + count)?.as_flattened_mut())
    }

    fn bank_pages(&self, bank: usize) -> Option<(usize, usize)> {
        let start = *self.bank_starts.get(bank)?;
        Some((start as usize, (self.map.banks.get(bank)?.len / PAGE_LEN) as usize))
    }

    // ---- Flash windows ----

    /// Physical flash page (in units of [`MemoryMap::flash_page_len`]) that an MMU entry shows.
    pub fn flash_page(&self, entry: u32) -> Option<u32> {
        self.flash_pages.get(entry as usize).copied().flatten()
    }

    /// Lets an MMU entry show a physical flash page, or nothing; entries no window uses are ignored.
    pub fn set_flash_page(&mut self, entry: u32, page: Option<u32>) {
        match self.flash_pages.get_mut(entry as usize) {
            Some(slot) if *slot != page => *slot = page,
            _ => return,
        }
        let pages = self.map.flash_page_len / PAGE_LEN;
        for i in 0..self.map.regions.len() {
            let region = &self.map.regions[i];
            let Some(addr) = window_addr(region, entry, self.map.flash_page_len) else { continue };
            let bits = FLASH | if region.access.execute { EXEC } else { 0 };
            for i in 0..pages {
                self.table[(addr / PAGE_LEN + i) as usize] = match page {
                    // A page number past 32 address bits wraps, as it would on the wires.
                    Some(page) => page.wrapping_mul(pages).wrapping_add(i) << 12 | bits,
                    None => 0,
                };
            }
            self.code_changed(CodeChange { addr, len: self.map.flash_page_len });
        }
    }

    /// Says that flash bytes changed, so that code decoded from them is given up.
    pub fn flash_changed(&mut self, offset: u32, len: u32) {
        let page_len = self.map.flash_page_len;
        if len == 0 {
            return;
        }
        let first = offset / page_len;
        let last = offset.saturating_add(len - 1) / page_len;
        for entry in 0..self.flash_pages.len() {
            if !self.flash_pages[entry].is_some_and(|page| (first..=last).contains(&page)) {
                continue;
            }
            for i in 0..self.map.regions.len() {
                if let Some(addr) = window_addr(&self.map.regions[i], entry as u32, page_len) {
                    self.code_changed(CodeChange { addr, len: page_len });
                }
            }
        }
    }

    // ---- What the CPU is told ----

    /// Whether there is a code change or a yield to be taken.
    #[inline(always)]
    pub fn attention(&self) -> bool {
        self.attention
    }

    /// Makes the CPU come back to the board after the running instruction.
    pub fn request_yield(&mut self) {
        self.yield_requested = true;
        self.attention = true;
    }

    /// Whether [`Memory::request_yield`] was called since the last time.
    pub fn take_yield(&mut self) -> bool {
        let requested = std::mem::take(&mut self.yield_requested);
        self.attention = !self.changes.is_empty();
        requested
    }

    /// The next range whose decoded instructions are out of date.
    pub fn take_code_change(&mut self) -> Option<CodeChange> {
        let change = self.changes.pop_front();
        self.attention = self.yield_requested || !self.changes.is_empty();
        change
    }

    /// The CPU holds a decoded copy of these bytes (at most one instruction).
    pub fn decoded(&mut self, addr: u32, len: u32) {
        for addr in [addr, addr.wrapping_add(len.saturating_sub(1))] {
            let entry = self.entry(addr);
            if entry & READ == 0 {
                continue; // Flash: its changes come by set_flash_page and flash_changed.
            }
            let page = entry >> 12;
            if self.code[page as usize].is_none() {
                self.code[page as usize] =
                    Some(Box::new(CodePage { halfwords: [0; PAGE / 2 / 64], seen_at: Vec::new() }));
                self.change_entries_of(page, |entry| {
                    if entry & WRITE != 0 { entry & !WRITE | WRITE_CODE } else { entry }
                });
            }
            if let Some(code) = &mut self.code[page as usize] {
                let halfword = ((addr & 0xfff) / 2) as usize;
                code.halfwords[halfword / 64] |= 1 << (halfword % 64);
                if !code.seen_at.contains(&(addr >> 12)) {
                    code.seen_at.push(addr >> 12);
                }
            }
        }
    }

    fn code_byte_written(&mut self, page: u32, at: u32) {
        let halfword = (at / 2) as usize;
        let hit = self.code[page as usize]
            .as_ref()
            .is_some_and(|code| code.halfwords[halfword / 64] >> (halfword % 64) & 1 != 0);
        if hit {
            self.give_up_code(page);
        }
    }

    fn give_up_code(&mut self, page: u32) {
        let Some(code) = self.code[page as usize].take() else { return };
        for virtual_page in code.seen_at {
            self.code_changed(CodeChange { addr: virtual_page << 12, len: PAGE_LEN });
        }
        self.change_entries_of(page, |entry| {
            if entry & WRITE_CODE != 0 { entry & !WRITE_CODE | WRITE } else { entry }
        });
    }

    fn code_changed(&mut self, change: CodeChange) {
        self.attention = true;
        if self.changes.back() != Some(&change) {
            self.changes.push_back(change);
        }
    }

    /// Applies `change` to the table entries of all aliases of a page of the banks.
    fn change_entries_of(&mut self, page: u32, change: impl Fn(u32) -> u32) {
        for region in &self.map.regions {
            let Backing::Bank { bank, offset } = region.backing else { continue };
            let first = self.bank_starts[bank] + offset / PAGE_LEN;
            let index = page.wrapping_sub(first);
            if index < region.len / PAGE_LEN {
                let entry = &mut self.table[(region.base / PAGE_LEN + index) as usize];
                *entry = change(*entry);
            }
        }
    }
}

/// Where a flash window shows an MMU entry.
fn window_addr(region: &Region, entry: u32, page_len: u32) -> Option<u32> {
    let Backing::Flash { first_entry } = region.backing else { return None };
    let index = entry.checked_sub(first_entry)?;
    (index < region.len / page_len).then(|| region.base + index * page_len)
}

fn check_aligned(name: &str, value: u32, unit: u32) -> Result<(), MapError> {
    if value == 0 || !value.is_multiple_of(unit) {
        return Err(MapError::Unaligned { name: name.to_owned(), value, unit });
    }
    Ok(())
}

/// Page numbers have 20 bits in a table entry.
fn check_count(name: &str, count: u64) -> Result<(), MapError> {
    let limit = 1 << 20;
    if count > limit {
        return Err(MapError::TooLarge { name: name.to_owned(), count, limit });
    }
    Ok(())
}
