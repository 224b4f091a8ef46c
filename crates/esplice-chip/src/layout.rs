//! What of a chip's memories a program's layout may use, and what others use meanwhile.

use serde::Deserialize;

use crate::{Addr, raw};

/// The memories that a layout may place things in, and the ranges that are taken.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MemoryLayout {
    /// The regions, in the order they are told.
    #[serde(rename = "region")]
    pub regions: Vec<LayoutRegion>,
    /// Ranges that no program may take.
    #[serde(rename = "reserved", default)]
    pub reserved: Vec<ReservedRange>,
}

impl MemoryLayout {
    /// The region called `key`.
    pub fn region(&self, key: &str) -> Option<&LayoutRegion> {
        self.regions.iter().find(|region| region.key == key)
    }
}

/// A region as layouts name it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LayoutRegion {
    /// `dram`, `dram2` (RAM behind the second-stage bootloader), `iram`, `rtc-fast`, `rtc-slow`.
    pub key: String,
    /// First address.
    #[serde(deserialize_with = "raw::addr")]
    pub addr: Addr,
    /// Length in bytes.
    pub len: u32,
    /// Its name in the `memory.x` of esp-hal.
    pub esp_hal: String,
    /// The second-stage bootloader runs here while it loads the program: nothing that is loaded may
    /// lie here, and nothing outlives a reset.
    #[serde(default)]
    pub bootloader: bool,
    /// Its contents outlive a reset and deep sleep.
    #[serde(default)]
    pub kept: bool,
}

impl LayoutRegion {
    /// The first address behind it.
    pub fn end(&self) -> u32 {
        self.addr.0.saturating_add(self.len)
    }

    /// Whether `addr` lies in it.
    pub fn contains(&self, addr: Addr) -> bool {
        addr.0.wrapping_sub(self.addr.0) < self.len
    }
}

/// A range that is another's.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ReservedRange {
    /// Whose it is, for messages: `the ROM's data`.
    pub name: String,
    /// First address.
    #[serde(deserialize_with = "raw::addr")]
    pub addr: Addr,
    /// Length in bytes.
    pub len: u32,
}

impl ReservedRange {
    /// The first address behind it.
    pub fn end(&self) -> u32 {
        self.addr.0.saturating_add(self.len)
    }
}
