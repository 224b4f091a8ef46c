//! The room that a program has in each region, which depends on its base.

use esplice_chip::Chip;

use crate::{Base, Cause};

/// A region as a program may use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Key of the region, such as `dram`.
    pub key: String,
    /// First address.
    pub addr: u32,
    /// Length in bytes.
    pub len: u32,
    /// Name in esp-hal's `memory.x`.
    pub esp_hal: String,
    /// True if the second-stage bootloader runs here while it loads the program.
    pub bootloader: bool,
    /// True if its contents survive a reset and deep sleep.
    pub kept: bool,
}

impl Room {
    /// Returns the first address after it.
    pub fn end(&self) -> u32 {
        self.addr.saturating_add(self.len)
    }

    /// Returns whether `addr` lies in it.
    pub fn contains(&self, addr: u32) -> bool {
        addr.wrapping_sub(self.addr) < self.len
    }
}

/// All keys that a layout may name, on any chip.
pub(crate) const KEYS: &[&str] =
    &["dram", "dram2", "iram", "rtc-fast", "rtc-slow", "psram", "irom", "drom"];

/// Returns the regions of `chip` for programs on `base`.
pub(crate) fn rooms(chip: &Chip, base: Base) -> Result<Vec<Room>, Box<Cause>> {
    let Some(layout) = &chip.layout else {
        return Err(Cause::NoLayoutData { chip: chip.display_name.clone() }.into());
    };
    let mut rooms: Vec<Room> = layout
        .regions
        .iter()
        .map(|region| Room {
            key: region.key.clone(),
            addr: region.addr.0,
            len: region.len,
            esp_hal: region.esp_hal.clone(),
            bootloader: region.bootloader,
            kept: region.kept,
        })
        .collect();
    // Only the ROM loads these programs, so the bootloader's RAM becomes part of dram.
    if matches!(base, Base::Ram | Base::TinyGo)
        && let Some(behind) = rooms.iter().position(|room| room.key == "dram2")
    {
        let behind = rooms.remove(behind);
        for dram in rooms.iter_mut().filter(|room| room.key == "dram") {
            if dram.end() == behind.addr {
                dram.len = dram.len.saturating_add(behind.len);
            }
        }
    }
    Ok(rooms)
}

/// Returns whether code's region shows the same bytes as data's at other addresses.
pub(crate) fn iram_shadows_dram(chip: &Chip) -> bool {
    let Some(layout) = &chip.layout else { return false };
    let (Some(iram), Some(dram)) = (layout.region("iram"), layout.region("dram")) else {
        return false;
    };
    let backing = |addr| chip.region_at(addr).map(|region| &region.backing.name);
    iram.addr != dram.addr && backing(iram.addr) == backing(dram.addr)
}
