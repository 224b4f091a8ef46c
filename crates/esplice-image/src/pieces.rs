//! Joins sections into the pieces that become segments.

use esplice_chip::{Addr, Chip, Region, RegionKind};

use crate::SegmentHeader;
use crate::elf::Section;

/// Adjacent sections in memory, with zeros between and after them.
#[derive(Debug, Clone)]
pub(crate) struct Piece<'d, 's> {
    /// The sections, at least one, in order of address.
    sections: &'s [Section<'d>],
    /// Address of the first byte.
    pub addr: u32,
    /// Length in bytes, a multiple of 4.
    pub len: u32,
    /// The region that contains the piece.
    pub region: &'d Region,
}

impl Piece<'_, '_> {
    /// Returns the name of the first section.
    pub fn name(&self) -> String {
        self.sections.first().map_or_else(String::new, Section::name)
    }

    pub fn is_flash(&self) -> bool {
        self.region.kind == RegionKind::Flash
    }

    /// Appends the piece's bytes.
    pub fn append_to(&self, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        for section in self.sections {
            bytes.resize(start + section.addr.wrapping_sub(self.addr) as usize, 0);
            bytes.extend_from_slice(section.bytes);
        }
        bytes.resize(start + self.len as usize, 0);
    }

    /// Returns the first address after the piece.
    fn end(&self) -> u32 {
        self.addr.wrapping_add(self.len)
    }
}

/// Rules for placing segments in flash.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// MMU page size in bytes.
    pub page: u32,
    /// Minimum number of bytes that a segment has in its last page, padded with zeros.
    pub last_min: u32,
    /// True if a segment may start in the page in which the previous one ends, at a higher address.
    pub shares_pages: bool,
}

/// The minimum that espflash uses on all chips.
const ESPFLASH_LAST_MIN: u32 = 0x24;

impl Rules {
    /// Returns esptool's rules if it can make an image of `sections` (in the order of their table),
    /// and espflash's if only espflash can: if adjacent sections are in a different order in the
    /// table, or if two pieces need the same MMU page.
    pub fn of(sections: &[Section<'_>], bare: &[Piece<'_, '_>], chip: &Chip, page: u32) -> Self {
        let in_table_order =
            1 + sections.windows(2).filter(|pair| !follows(&pair[0], &pair[1])).count();
        if in_table_order == bare.len() && !shares_page(bare, page) {
            Self { page, last_min: chip.image.last_page_min, shares_pages: false }
        } else {
            Self { page, last_min: ESPFLASH_LAST_MIN, shares_pages: true }
        }
    }

    /// Returns the number of zeros that a flash segment needs after its `end`. `end` is an address
    /// or an image offset, which are congruent.
    pub fn padding_after(self, end: u32) -> u32 {
        self.last_min.saturating_sub(end % self.page)
    }
}

/// Returns whether `second` begins where `first`, padded to whole words, ends.
fn follows(first: &Section<'_>, second: &Section<'_>) -> bool {
    first.region.key == second.region.key
        && first.addr.wrapping_add(first.padded_len()) == second.addr
}

/// Returns whether two pieces need the same MMU page, in one window or through two that share their
/// pages.
fn shares_page(pieces: &[Piece<'_, '_>], page: u32) -> bool {
    let page = u64::from(page);
    let flash = pieces.iter().filter(|piece| piece.is_flash());
    let mut pages: Vec<(&str, u64, u64)> = flash
        .map(|piece| {
            let place = piece.region.backed(Addr(piece.addr), piece.len);
            (piece.region.backing.name.as_str(), place.start / page, (place.end - 1) / page)
        })
        .collect();
    pages.sort_unstable();
    pages.windows(2).any(|pair| pair[0].0 == pair[1].0 && pair[0].2 >= pair[1].1)
}

/// Joins sections, sorted by address and without overlaps, if one begins at the end of the previous
/// one or in its padding to whole words. Padding it first would make them overlap.
pub(crate) fn join_adjacent<'d, 's>(sections: &'s [Section<'d>]) -> Vec<Piece<'d, 's>> {
    joined_where(sections, |_, _| false)
}

/// Joins sections like [`join_adjacent`]. Flash sections are also joined if both need the same MMU
/// page and the gap is too small for what must be between two segments.
pub(crate) fn joined<'d, 's>(sections: &'s [Section<'d>], rules: Rules) -> Vec<Piece<'d, 's>> {
    joined_where(sections, |last, section| {
        let end = last.end() + rules.padding_after(last.end());
        let same_page = last.is_flash() && (end - 1) / rules.page == section.addr / rules.page;
        same_page && section.addr.checked_sub(end).is_none_or(|gap| !holds_header(gap))
    })
}

fn joined_where<'d, 's>(
    sections: &'s [Section<'d>],
    bridges: impl Fn(&Piece<'_, '_>, &Section<'_>) -> bool,
) -> Vec<Piece<'d, 's>> {
    let mut pieces: Vec<Piece<'d, 's>> = Vec::with_capacity(sections.len().min(64));
    let mut first = 0;
    for (at, section) in sections.iter().enumerate() {
        let joins = |last: &&mut Piece<'_, '_>| {
            last.region.key == section.region.key
                && (section.addr <= last.end() || bridges(last, section))
        };
        match pieces.last_mut().filter(joins) {
            Some(last) => {
                last.sections = &sections[first..=at];
                last.len = section.end().wrapping_sub(last.addr).next_multiple_of(4);
            }
            None => {
                first = at;
                let (addr, len, region) = (section.addr, section.padded_len(), section.region);
                pieces.push(Piece { sections: &sections[at..=at], addr, len, region });
            }
        }
    }
    pieces
}

/// Returns whether a segment header fits into a gap of `gap` bytes: on its own, or after a padding
/// segment of at least one word.
fn holds_header(gap: u32) -> bool {
    let header = SegmentHeader::LEN as u32;
    gap.is_multiple_of(4) && (gap == header || gap > 2 * header)
}
