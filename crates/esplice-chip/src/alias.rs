//! Memory that is reachable at several addresses.

use std::ops::Range;

use crate::{Addr, Chip, Region, RegionKind};

/// Two address ranges that reach the same bytes of RAM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedRam {
    /// Index of the range that was passed first.
    pub first: usize,
    /// Index of the other range.
    pub second: usize,
    /// Name of the array that holds the bytes, such as `sram`.
    pub backing: String,
    /// Number of bytes in both ranges.
    pub len: u32,
}

impl Region {
    /// Returns the range in the region's array that `len` bytes at `addr` occupy.
    ///
    /// The range ends where the region ends. A reversed region shows whole words in reverse order,
    /// so its ranges are extended to whole words.
    pub fn backed(&self, addr: Addr, len: u32) -> Range<u64> {
        let size = u64::from(self.len);
        let start = u64::from(addr.0.wrapping_sub(self.addr.0)).min(size);
        let end = (start + u64::from(len)).min(size);
        let base = u64::from(self.backing.offset);
        if !self.backing.reversed {
            return base + start..base + end;
        }
        let (start, end) = (start / 4 * 4, end.next_multiple_of(4).min(size));
        base + (size - end)..base + (size - start)
    }
}

impl Chip {
    /// Returns the first two of `ranges` (address and length in bytes) that reach the same bytes of
    /// RAM, at the same address or through two buses. Ranges outside RAM are ignored.
    ///
    /// Takes n log n time.
    pub fn shared_ram(&self, ranges: impl IntoIterator<Item = (Addr, u32)>) -> Option<SharedRam> {
        let mut backed: Vec<(&str, Range<u64>, usize)> = Vec::new();
        for (index, (addr, len)) in ranges.into_iter().enumerate() {
            let region = self.region_at(addr).filter(|region| region.kind == RegionKind::Ram);
            if let Some(region) = region.filter(|_| len > 0) {
                backed.push((&region.backing.name, region.backed(addr, len), index));
            }
        }
        backed.sort_unstable_by(|(a_name, a, a_index), (b_name, b, b_index)| {
            (a_name, a.start, a_index).cmp(&(b_name, b.start, b_index))
        });
        backed.windows(2).find_map(|pair| {
            let [(a_name, a, a_index), (b_name, b, b_index)] = pair else { return None };
            let len = a.end.min(b.end).checked_sub(b.start).filter(|len| *len > 0)?;
            (a_name == b_name).then(|| SharedRam {
                first: *a_index.min(b_index),
                second: *a_index.max(b_index),
                backing: (*a_name).to_owned(),
                len: u32::try_from(len).unwrap_or(u32::MAX),
            })
        })
    }
}
