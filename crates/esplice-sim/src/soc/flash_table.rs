//! The table of a flash MMU whose pages can have several sizes.
//!
//! The memory map has an entry for each of the smallest pages. An entry of the table maps as many
//! of them as the selected page size holds.

use super::device::Fabric;

/// The largest page size.
pub(super) const LARGEST_PAGE: u32 = 0x1_0000;

/// Pages of flash by entry.
#[derive(Debug, Clone)]
pub(super) struct FlashTable {
    pages: Vec<Option<u32>>,
    /// Selected page size, and that after a reset.
    page_len: u32,
    reset_len: u32,
    /// Length of the pages in the memory map.
    unit: u32,
}

impl FlashTable {
    /// Creates a table of this number of entries, which map nothing, with pages of `page_len` bytes.
    /// `unit` is the smallest page size.
    pub fn new(entries: u32, page_len: u32, unit: u32) -> Self {
        let pages = vec![None; entries as usize];
        Self { pages, page_len, reset_len: page_len, unit: unit.max(1) }
    }

    /// Returns how many pages of the memory map an entry maps.
    fn units(&self) -> u32 {
        (self.page_len / self.unit).max(1)
    }

    /// Sets the page of an entry.
    pub fn set(&mut self, entry: u32, page: Option<u32>, fabric: &mut Fabric) {
        if let Some(place) = self.pages.get_mut(entry as usize) {
            *place = page;
            self.map(entry, fabric);
        }
    }

    /// Selects the page size.
    pub fn set_page_len(&mut self, page_len: u32, fabric: &mut Fabric) {
        if page_len != std::mem::replace(&mut self.page_len, page_len) {
            self.map_all(fabric);
        }
    }

    /// Removes all entries and selects the usual page size.
    pub fn reset(&mut self, fabric: &mut Fabric) {
        self.pages.fill(None);
        self.page_len = self.reset_len;
        self.map_all(fabric);
    }

    fn map(&self, entry: u32, fabric: &mut Fabric) {
        let units = self.units();
        let page = self.pages.get(entry as usize).copied().flatten();
        for unit in 0..units {
            let page = page.map(|page| page * units + unit);
            fabric.memory.set_flash_page(entry * units + unit, page);
        }
    }

    /// Maps everything again. Entries of smaller pages reach less far.
    fn map_all(&self, fabric: &mut Fabric) {
        for unit in 0..self.pages.len() as u32 * (LARGEST_PAGE / self.unit) {
            fabric.memory.set_flash_page(unit, None);
        }
        for entry in 0..self.pages.len() as u32 {
            self.map(entry, fabric);
        }
    }
}
