//! The memory map of a chip as data, and its validation.

use super::PAGE_LEN;

/// Access rights of a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// True if stores are accepted.
    pub write: bool,
    /// True if instructions can be fetched.
    pub execute: bool,
}

impl Access {
    /// Rights of data RAM.
    pub const RW: Self = Self { write: true, execute: false };
    /// Rights of RAM on the instruction bus.
    pub const RWX: Self = Self { write: true, execute: true };
    /// Rights of constants.
    pub const R: Self = Self { write: false, execute: false };
    /// Rights of code in ROM or flash.
    pub const RX: Self = Self { write: false, execute: true };
}

/// Contents that a region shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backing {
    /// Bytes of a bank of RAM or ROM.
    Bank {
        /// Index into [`MemoryMap::banks`].
        bank: usize,
        /// Offset in the bank of the byte at the region's base.
        offset: u32,
    },
    /// Flash through the MMU: this entry of the MMU table maps the region's base, and so on.
    Flash {
        /// Index into the MMU table.
        first_entry: u32,
    },
}

/// A range of bus addresses that shows plain memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// Name in errors and listings.
    pub name: String,
    /// First address, a multiple of [`PAGE_LEN`].
    pub base: u32,
    /// Length in bytes, a multiple of [`PAGE_LEN`].
    pub len: u32,
    /// Contents that appear there.
    pub backing: Backing,
    /// Access rights.
    pub access: Access,
}

/// A block of RAM or ROM that regions show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bank {
    /// Name in errors.
    pub name: String,
    /// Length in bytes, a multiple of [`PAGE_LEN`].
    pub len: u32,
}

/// The memory map of a chip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryMap {
    /// Banks of RAM and ROM.
    pub banks: Vec<Bank>,
    /// Address ranges where the banks and flash appear.
    pub regions: Vec<Region>,
    /// Bytes mapped by one entry of the flash MMU, a multiple of [`PAGE_LEN`]; 64 KiB on all chips
    /// so far.
    pub flash_page_len: u32,
}

/// Why a memory map is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// A base, offset or length is not a multiple of the page length, or is 0.
    #[error("{name}: {value:#x} is not a positive multiple of {unit:#x}")]
    Unaligned {
        /// Name of the region or bank.
        name: String,
        /// Rejected value.
        value: u32,
        /// Required unit.
        unit: u32,
    },
    /// A region names a bank that does not exist or is too short.
    #[error("region {name} shows bytes {offset:#x} to {end:#x} of bank {bank}, which has {len:#x}")]
    OutsideBank {
        /// Name of the region.
        name: String,
        /// Index of its bank.
        bank: usize,
        /// Offset of the first byte.
        offset: u32,
        /// Offset one past the last byte.
        end: u64,
        /// Length of the bank in bytes.
        len: u32,
    },
    /// The banks or flash MMU entries exceed the size of the address space.
    #[error("{name}: {count} pages exceed the limit of {limit}")]
    TooLarge {
        /// Name of the region or bank.
        name: String,
        /// Number of pages up to and including this one's.
        count: u64,
        /// Maximum number of pages.
        limit: u64,
    },
    /// Two regions share addresses, or one runs past the end of the address space.
    #[error("region {name} at {addr:#010x} overlaps another or the end of the address space")]
    Overlap {
        /// Name of the later region.
        name: String,
        /// Address of the conflict.
        addr: u64,
    },
}

impl MemoryMap {
    /// Checks that the map is valid. Returns the first page of each bank, counted over all banks,
    /// and the total number of pages.
    pub(super) fn check(&self) -> Result<(Vec<u32>, u32), MapError> {
        check_aligned("flash MMU page", self.flash_page_len, PAGE_LEN)?;
        let mut starts = Vec::new();
        let mut count = 0_u32;
        for bank in &self.banks {
            check_aligned(&bank.name, bank.len, PAGE_LEN)?;
            starts.push(count);
            count += bank.len / PAGE_LEN;
            check_count(&bank.name, count.into())?;
        }
        check_regions(self)?;
        for region in &self.regions {
            check_count(&region.name, self.entries_up_to(region))?;
        }
        Ok((starts, count))
    }

    /// Returns the number of flash MMU entries up to the last one that the region shows.
    pub(super) fn entries_up_to(&self, region: &Region) -> u64 {
        match region.backing {
            Backing::Bank { .. } => 0,
            Backing::Flash { first_entry } => {
                u64::from(first_entry) + u64::from(region.len / self.flash_page_len)
            }
        }
    }
}

/// Rejects regions that overlap, are not page-aligned or show bytes that do not exist.
fn check_regions(map: &MemoryMap) -> Result<(), MapError> {
    let mut sorted: Vec<&Region> = map.regions.iter().collect();
    sorted.sort_by_key(|r| r.base);
    let mut end = 0_u64;
    for region in sorted {
        let unit = match region.backing {
            Backing::Bank { .. } => PAGE_LEN,
            Backing::Flash { .. } => map.flash_page_len,
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
            return Err(MapError::Overlap { name: region.name.clone(), addr: region.base.into() });
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
            let len = map.banks.get(bank).map_or(0, |b| b.len);
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

fn check_aligned(name: &str, value: u32, unit: u32) -> Result<(), MapError> {
    if value == 0 || !value.is_multiple_of(unit) {
        return Err(MapError::Unaligned { name: name.to_owned(), value, unit });
    }
    Ok(())
}

/// Checks a page count against the 20 bits of a page number in a table entry.
fn check_count(name: &str, count: u64) -> Result<(), MapError> {
    let limit = 1 << 20;
    if count > limit {
        return Err(MapError::TooLarge { name: name.to_owned(), count, limit });
    }
    Ok(())
}
