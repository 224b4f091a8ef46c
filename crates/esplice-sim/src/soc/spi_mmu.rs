//! SPI0 of chips whose flash MMU is reached through the memory SPI controller: the controller, and
//! the table of the MMU behind an index register (names and bits as in the crate esp32c6, `spi0`).
//!
//! The memory map has an entry for each of the smallest pages that the MMU supports. An entry of
//! the table maps as many of them as the selected page size holds.

use esplice_chip::Peripheral;

use super::{
    clock::Tick,
    device::{Device, Fabric, Scope},
    spi_mem::SpiMem,
};

const ITEM_CONTENT: u32 = 0x37c;
const ITEM_INDEX: u32 = 0x380;
const POWER_CTRL: u32 = 0x384;

/// Entry bits: page of flash; the entry is valid.
const PAGE: u32 = 0x1ff;
const VALID: u32 = 1 << 9;
const CONTENT: u32 = 0x7ff;
/// Page size for the field PAGE_SIZE of 0; each further value halves it.
const LARGEST_PAGE: u32 = 0x1_0000;

/// The controller and its MMU.
#[derive(Clone)]
pub(crate) struct SpiMmu {
    spi: SpiMem,
    table: Vec<u32>,
    index: u32,
    /// The field PAGE_SIZE.
    page_size: u32,
    /// Length of the pages in the memory map.
    unit: u32,
}

impl SpiMmu {
    /// Creates the controller with `entries` entries of the MMU table.
    pub fn new(device: &Peripheral, entries: u32, unit: u32) -> Self {
        Self {
            spi: SpiMem::new(device),
            table: vec![0; entries as usize],
            index: 0,
            page_size: 0,
            unit: unit.max(1),
        }
    }

    /// Returns how many pages of the memory map an entry maps.
    fn units(&self) -> u32 {
        ((LARGEST_PAGE >> self.page_size) / self.unit).max(1)
    }

    fn map(&self, entry: u32, fabric: &mut Fabric) {
        let units = self.units();
        let content = self.table.get(entry as usize).copied().unwrap_or(0);
        for unit in 0..units {
            let page = (content & VALID != 0).then_some((content & PAGE) * units + unit);
            fabric.memory.set_flash_page(entry * units + unit, page);
        }
    }

    /// Maps everything again. Entries of smaller pages reach less far.
    fn map_all(&self, fabric: &mut Fabric) {
        for unit in 0..self.table.len() as u32 * (LARGEST_PAGE / self.unit) {
            fabric.memory.set_flash_page(unit, None);
        }
        for entry in 0..self.table.len() as u32 {
            self.map(entry, fabric);
        }
    }
}

impl Device for SpiMmu {
    fn read(&mut self, offset: u32, fabric: &mut Fabric) -> u32 {
        match offset {
            ITEM_CONTENT => self.table.get(self.index as usize).copied().unwrap_or(0),
            ITEM_INDEX => self.index,
            _ => self.spi.read(offset, fabric),
        }
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        match offset {
            ITEM_CONTENT => {
                if let Some(entry) = self.table.get_mut(self.index as usize) {
                    *entry = value & CONTENT;
                    self.map(self.index, fabric);
                }
            }
            ITEM_INDEX => self.index = value,
            POWER_CTRL => {
                self.spi.write(offset, value, fabric);
                let page_size = value >> 3 & 3;
                if page_size != std::mem::replace(&mut self.page_size, page_size) {
                    self.map_all(fabric);
                }
            }
            _ => self.spi.write(offset, value, fabric),
        }
    }

    fn steady_until(&self, offset: u32, fabric: &Fabric) -> Option<Tick> {
        self.spi.steady_until(offset, fabric)
    }

    fn reset(&mut self, scope: Scope, fabric: &mut Fabric) {
        self.spi.reset(scope, fabric);
        if scope >= Scope::Core {
            self.table.fill(0);
            (self.index, self.page_size) = (0, 0);
            self.map_all(fabric);
        }
    }
}
