//! The flash windows, and notifications for the CPU: outdated decoded code and requests to return
//! to the board.

use super::{
    Backing, EXEC, FLASH, FLASH_CODE, Memory, PAGE, PAGE_LEN, READ, Region, WRITE, WRITE_CODE,
};
use crate::cpu::CodeChange;

/// Halfwords of a physical page that are held decoded, and the virtual pages that show them.
#[derive(Debug, Clone)]
pub(super) struct CodePage {
    halfwords: [u64; PAGE / 2 / 64],
    seen_at: Vec<u32>,
}

impl Memory {
    /// Returns the physical flash page (in units of [`super::MemoryMap::flash_page_len`]) that an
    /// MMU entry maps.
    pub fn flash_page(&self, entry: u32) -> Option<u32> {
        self.flash_pages.get(entry as usize).copied().flatten()
    }

    /// Maps an MMU entry to a physical flash page, or unmaps it. Ignores entries that no window
    /// uses.
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
            self.window_changed(addr);
            for i in 0..pages {
                self.table[(addr / PAGE_LEN + i) as usize] = match page {
                    // A page number beyond 32 address bits wraps, as it would in hardware.
                    Some(page) => page.wrapping_mul(pages).wrapping_add(i) << 12 | bits,
                    None => 0,
                };
            }
        }
    }

    /// Reports that flash bytes changed, which discards the code decoded from them.
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
                    self.window_changed(addr);
                }
            }
        }
    }

    /// Discards the code decoded from the MMU page at `addr`, if there is any.
    fn window_changed(&mut self, addr: u32) {
        let len = self.map.flash_page_len;
        let first = (addr / PAGE_LEN) as usize;
        let mut decoded = false;
        for entry in &mut self.table[first..first + (len / PAGE_LEN) as usize] {
            decoded |= *entry & FLASH_CODE != 0;
            *entry &= !FLASH_CODE;
        }
        if decoded {
            self.code_changed(CodeChange { addr, len });
        }
    }

    /// Returns whether a code change or a yield is pending.
    #[inline(always)]
    pub fn attention(&self) -> bool {
        self.attention
    }

    /// Makes the CPU return to the board after the current instruction.
    pub fn request_yield(&mut self) {
        self.yield_requested = true;
        self.attention = true;
    }

    /// Returns whether [`Memory::request_yield`] was called since the previous call.
    pub fn take_yield(&mut self) -> bool {
        let requested = std::mem::take(&mut self.yield_requested);
        self.attention = !self.changes.is_empty();
        requested
    }

    /// Returns the next range whose decoded instructions are outdated.
    pub fn take_code_change(&mut self) -> Option<CodeChange> {
        let change = self.changes.pop_front();
        self.attention = self.yield_requested || !self.changes.is_empty();
        change
    }

    /// Records that the CPU holds a decoded copy of these bytes (at most one instruction).
    pub fn decoded(&mut self, addr: u32, len: u32) {
        for addr in [addr, addr.wrapping_add(len.saturating_sub(1))] {
            let entry = self.entry(addr);
            if entry & READ == 0 {
                // Changes of flash are reported by set_flash_page and flash_changed.
                if entry & FLASH != 0 {
                    self.table[(addr >> 12) as usize] |= FLASH_CODE;
                }
                continue;
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

    pub(super) fn code_byte_written(&mut self, page: u32, at: u32) {
        let halfword = (at / 2) as usize;
        let hit = self.code[page as usize]
            .as_ref()
            .is_some_and(|code| code.halfwords[halfword / 64] >> (halfword % 64) & 1 != 0);
        if hit {
            self.discard_code(page);
        }
    }

    pub(super) fn discard_code(&mut self, page: u32) {
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

/// Returns the address at which a flash window shows an MMU entry.
fn window_addr(region: &Region, entry: u32, page_len: u32) -> Option<u32> {
    let Backing::Flash { first_entry } = region.backing else { return None };
    let index = entry.checked_sub(first_entry)?;
    (index < region.len / page_len).then(|| region.base + index * page_len)
}
