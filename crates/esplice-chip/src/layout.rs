//! The parts of a chip's memory that a program's layout may use, and the ranges reserved for
//! others.

use serde::Deserialize;

use crate::{Addr, raw};

/// The memory regions for a program's layout, and the ranges reserved in them.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MemoryLayout {
    /// The regions, in the order of the file.
    #[serde(rename = "region")]
    pub regions: Vec<LayoutRegion>,
    /// Ranges that a program must not use.
    #[serde(rename = "reserved", default)]
    pub reserved: Vec<ReservedRange>,
}

impl MemoryLayout {
    /// Finds the region called `key`.
    pub fn region(&self, key: &str) -> Option<&LayoutRegion> {
        self.regions.iter().find(|region| region.key == key)
    }
}

/// A memory region of a layout.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LayoutRegion {
    /// `dram`, `dram2` (RAM used by the second-stage bootloader), `iram`, `rtc-fast`, `rtc-slow`.
    pub key: String,
    /// First address.
    #[serde(deserialize_with = "raw::addr")]
    pub addr: Addr,
    /// Length in bytes.
    pub len: u32,
    /// The region's name in the `memory.x` of esp-hal.
    pub esp_hal: String,
    /// True if the second-stage bootloader runs here while it loads the program. Nothing that is
    /// loaded may lie here, and no content survives a reset.
    #[serde(default)]
    pub bootloader: bool,
    /// True if the content survives a reset and deep sleep.
    #[serde(default)]
    pub kept: bool,
}

impl LayoutRegion {
    /// Returns the first address after the region.
    pub fn end(&self) -> u32 {
        self.addr.0.saturating_add(self.len)
    }

    /// Returns whether `addr` lies in the region.
    pub fn contains(&self, addr: Addr) -> bool {
        addr.0.wrapping_sub(self.addr.0) < self.len
    }
}

/// A reserved range.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ReservedRange {
    /// Name of its user, for messages, such as `the ROM's data`.
    pub name: String,
    /// First address.
    #[serde(deserialize_with = "raw::addr")]
    pub addr: Addr,
    /// Length in bytes.
    pub len: u32,
}

impl ReservedRange {
    /// Returns the first address after the range.
    pub fn end(&self) -> u32 {
        self.addr.0.saturating_add(self.len)
    }
}
