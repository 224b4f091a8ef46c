//! The room a program has in each region, which depends on what it is built on.

use esplice_chip::Chip;

use crate::{Base, Cause};

/// A region as one program may use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Its key: `dram`.
    pub key: String,
    /// First address.
    pub addr: u32,
    /// Length in bytes.
    pub len: u32,
    /// Its name in esp-hal's `memory.x`.
    pub esp_hal: String,
    /// The second-stage bootloader runs here while it loads the program.
    pub bootloader: bool,
    /// Its contents outlive a reset and deep sleep.
    pub kept: bool,
}

impl Room {
    /// The first address behind it.
    pub fn end(&self) -> u32 {
        self.addr.saturating_add(self.len)
    }

    /// Whether `addr` lies in it.
    pub fn contains(&self, addr: u32) -> bool {
        addr.wrapping_sub(self.addr) < self.len
    }
}

/// All keys that a layout may name, on whichever chip.
pub(crate) const KEYS: &[&str] =
    &["dram", "dram2", "iram", "rtc-fast", "rtc-slow", "psram", "irom", "drom"];

/// The regions of `chip` for programs on `base`.
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
    // The ROM alone loads these programs, so that the bootloader's RAM is a part of dram.
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

/// Whether code's region shows the same bytes as data's at other addresses.
pub(crate) fn iram_shadows_dram(chip: &Chip) -> bool {
    let Some(layout) = &chip.layout else { return false };
    let (Some(iram), Some(dram)) = (layout.region("iram"), layout.region("dram")) else {
        return false;
    };
    let backing = |addr| chip.region_at(addr).map(|region| &region.backing.name);
    iram.addr != dram.addr && backing(iram.addr) == backing(dram.addr)
}
