//! SPI0 of chips whose flash MMU is reached through the memory SPI controller: the controller, and
//! the table of the MMU by means of an index register (names and bits as in the crate esp32c6,
//! `spi0`).

use esplice_chip::Peripheral;

use super::{
    clock::Tick,
    device::{Device, Fabric, Scope},
    flash_table::{FlashTable, LARGEST_PAGE},
    spi_mem::SpiMem,
};

const ITEM_CONTENT: u32 = 0x37c;
const ITEM_INDEX: u32 = 0x380;
const POWER_CTRL: u32 = 0x384;

/// Entry bits: page of flash; the entry is valid.
const PAGE: u32 = 0x1ff;
const VALID: u32 = 1 << 9;
const CONTENT: u32 = 0x7ff;

/// The controller and its MMU.
#[derive(Clone)]
pub(crate) struct SpiMmu {
    spi: SpiMem,
    /// Contents of the entries.
    contents: Vec<u32>,
    table: FlashTable,
    index: u32,
}

impl SpiMmu {
    /// Creates the controller with `entries` entries of the MMU table. `unit` is the smallest page.
    pub fn new(device: &Peripheral, entries: u32, unit: u32) -> Self {
        Self {
            spi: SpiMem::new(device),
            contents: vec![0; entries as usize],
            table: FlashTable::new(entries, LARGEST_PAGE, unit),
            index: 0,
        }
    }
}

impl Device for SpiMmu {
    fn read(&mut self, offset: u32, fabric: &mut Fabric) -> u32 {
        match offset {
            ITEM_CONTENT => self.contents.get(self.index as usize).copied().unwrap_or(0),
            ITEM_INDEX => self.index,
            _ => self.spi.read(offset, fabric),
        }
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        match offset {
            ITEM_CONTENT => {
                if let Some(content) = self.contents.get_mut(self.index as usize) {
                    *content = value & CONTENT;
                    let page = (value & VALID != 0).then_some(value & PAGE);
                    self.table.set(self.index, page, fabric);
                }
            }
            ITEM_INDEX => self.index = value,
            _ => {
                self.spi.write(offset, value, fabric);
                if offset == POWER_CTRL {
                    // PAGE_SIZE: 64 KiB, or half of that for each further value.
                    self.table.set_page_len(LARGEST_PAGE >> (value >> 3 & 3), fabric);
                }
            }
        }
    }

    fn steady_until(&self, offset: u32, fabric: &Fabric) -> Option<Tick> {
        self.spi.steady_until(offset, fabric)
    }

    fn reset(&mut self, scope: Scope, fabric: &mut Fabric) {
        self.spi.reset(scope, fabric);
        if scope >= Scope::Core {
            self.contents.fill(0);
            self.index = 0;
            self.table.reset(fabric);
        }
    }
}
