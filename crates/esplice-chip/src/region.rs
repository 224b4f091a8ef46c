//! Memories, address spaces and peripherals of a chip.

use serde::Deserialize;

use crate::{Addr, raw};

/// A memory region on the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// Key in layouts and messages: `iram`, `dram`, `rtc-fast`, `irom`, `drom`, `rom`, …. Chips
    /// with a single bus have `sram` and `flash`, which hold both code and data.
    pub key: String,
    /// First address.
    pub addr: Addr,
    /// Length in bytes.
    pub len: u32,
    /// The allowed accesses.
    pub access: Access,
    /// The kind of memory.
    pub kind: RegionKind,
    /// The array that holds the bytes.
    pub backing: Backing,
}

impl Region {
    /// Returns whether `addr` lies in the region.
    pub fn contains(&self, addr: Addr) -> bool {
        addr.0.wrapping_sub(self.addr.0) < self.len
    }

    /// Returns the number of bytes from `addr` to the region's end, 0 if `addr` lies outside.
    pub fn bytes_after(&self, addr: Addr) -> u32 {
        self.len.saturating_sub(addr.0.wrapping_sub(self.addr.0))
    }
}

/// The accesses that a region allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Access {
    /// Loads.
    pub read: bool,
    /// Stores.
    pub write: bool,
    /// Instruction fetches.
    pub execute: bool,
}

impl TryFrom<String> for Access {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() || text.chars().any(|c| !"rwx".contains(c)) {
            return Err(format!("access {text:?} is not made of r, w and x"));
        }
        Ok(Access {
            read: text.contains('r'),
            write: text.contains('w'),
            execute: text.contains('x'),
        })
    }
}

/// The kind of memory in a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegionKind {
    /// Memory that the loader fills before the program starts.
    Ram,
    /// Flash, mapped page by page through the MMU.
    Flash,
    /// Mask ROM.
    Rom,
    /// External RAM with its own address window. No boot code fills it.
    Psram,
}

/// The array that holds a region's bytes. Two regions with the same array are aliases.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backing {
    /// Name of the array.
    pub name: String,
    /// Offset of the region's first byte in the array.
    pub offset: u32,
    /// True if the region shows the array's words in reverse order: its first word is the last word
    /// of the `len` bytes at `offset`.
    #[serde(default)]
    pub reversed: bool,
}

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Space {
    /// First address.
    #[serde(deserialize_with = "raw::addr")]
    pub addr: Addr,
    /// Length in bytes.
    pub len: u32,
}

impl Space {
    /// Returns the first address after the range, saturating at `u32::MAX`.
    pub fn end(&self) -> u32 {
        self.addr.0.saturating_add(self.len)
    }
}

/// A device of the virtual board.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Peripheral {
    /// Name of the model in the simulator.
    pub model: String,
    /// Name of this device, such as `uart0`.
    pub name: String,
    /// First address.
    #[serde(deserialize_with = "raw::addr")]
    pub base: Addr,
    /// Length in bytes.
    pub len: u32,
    /// Interrupt sources, in the model's order.
    pub irq: Vec<u32>,
    /// Signal numbers in the pin matrix, in the model's order. A UART has one for the signal that
    /// it sends and receives.
    #[serde(default)]
    pub signals: Vec<u32>,
    /// Reset values of its registers, other than 0: offset, value.
    #[serde(default)]
    pub reset: Vec<(u32, u32)>,
}
