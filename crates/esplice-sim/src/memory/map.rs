//! The plain memories of a chip as data, and what can be wrong with them.

use super::PAGE_LEN;

/// What may be done with a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Stores are taken.
    pub write: bool,
    /// Instructions can be fetched.
    pub execute: bool,
}

impl Access {
    /// Data RAM.
    pub const RW: Self = Self { write: true, execute: false };
    /// RAM on the instruction bus.
    pub const RWX: Self = Self { write: true, execute: true };
    /// Constants.
    pub const R: Self = Self { write: false, execute: false };
    /// Code in ROM or flash.
    pub const RX: Self = Self { write: false, execute: true };
}

/// What a region shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backing {
    /// Bytes of a bank of RAM or ROM.
    Bank {
        /// Its place in [`MemoryMap::banks`].
        bank: usize,
        /// The byte of the bank that stands at the region's base.
        offset: u32,
    },
    /// Flash through the MMU; the region's base is shown by this entry of the MMU table, and so on.
    Flash {
        /// Index into the MMU table.
        first_entry: u32,
    },
}

/// A range of bus addresses that shows plain memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// What errors and listings call it.
    pub name: String,
    /// First address, a multiple of [`PAGE_LEN`].
    pub base: u32,
    /// Bytes, a multiple of [`PAGE_LEN`].
    pub len: u32,
    /// What is seen there.
    pub backing: Backing,
    /// What may be done with it.
    pub access: Access,
}

/// A piece of RAM or ROM, which regions show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bank {
    /// What errors call it.
    pub name: String,
    /// Bytes, a multiple of [`PAGE_LEN`].
    pub len: u32,
}

/// The plain memories of a chip, as data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryMap {
    /// RAM and ROM.
    pub banks: Vec<Bank>,
    /// Where they, and flash, are seen.
    pub regions: Vec<Region>,
    /// Bytes that one entry of the flash MMU maps, a multiple of [`PAGE_LEN`]; 64 KiB on all chips so far.
    pub flash_page_len: u32,
}

/// A memory map that can't be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// A base, offset or length is not a multiple of the page length, or is 0.
    #[error("{name}: {value:#x} is not a positive multiple of {unit:#x}")]
    Unaligned {
        /// Region or bank.
        name: String,
        /// The value.
        value: u32,
        /// What it has to be a multiple of.
        unit: u32,
    },
    /// A region names a bank that does not exist or is too short.
    #[error("region {name} shows bytes {offset:#x} to {end:#x} of bank {bank}, which has {len:#x}")]
    OutsideBank {
        /// Region.
        name: String,
        /// Its bank.
        bank: usize,
        /// First byte.
        offset: u32,
        /// One past the last byte.
        end: u64,
        /// Bytes in the bank.
        len: u32,
    },
    /// The banks, or the entries of the flash MMU, are more than an address space can hold.
    #[error("{name}: {count} pages are more than {limit}")]
    TooLarge {
        /// Region or bank.
        name: String,
        /// Pages up to and with it.
        count: u64,
        /// Most there can be.
        limit: u64,
    },
    /// Two regions share addresses, or one runs past the end of the address space.
    #[error("region {name} at {addr:#010x} overlaps another or the end of the address space")]
    Overlap {
        /// The later region.
        name: String,
        /// Where.
        addr: u64,
    },
}

impl MemoryMap {
    /// Refuses what can't be. Gives the first page of each bank, counted over all banks, and the
    /// count of all pages.
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

    /// Entries of the flash MMU up to the last that a region shows.
    pub(super) fn entries_up_to(&self, region: &Region) -> u64 {
        match region.backing {
            Backing::Bank { .. } => 0,
            Backing::Flash { first_entry } => {
                u64::from(first_entry) + u64::from(region.len / self.flash_page_len)
            }
        }
    }
}

/// Refuses regions that overlap, are not on page borders, or show what is not there.
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

/// Page numbers have 20 bits in a table entry.
fn check_count(name: &str, count: u64) -> Result<(), MapError> {
    let limit = 1 << 20;
    if count > limit {
        return Err(MapError::TooLarge { name: name.to_owned(), count, limit });
    }
    Ok(())
}
