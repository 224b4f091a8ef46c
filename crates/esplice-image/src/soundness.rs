//! Rules for every image, in one check for images that are built and for images that are read.

use esplice_chip::{Addr, Chip, RegionKind};

use crate::elf::Section;
use crate::{ImageError, ImageSegment, NamedRange};

/// A rule that an image breaks. Segments are numbered from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Breach {
    /// A flash segment is at an offset that its address can't map.
    Misplaced { number: usize },
    /// Two flash segments need the same MMU page for different pages of flash.
    SharedPage { first: usize, second: usize },
    /// Two RAM segments are loaded to the same bytes.
    SharedRam { first: usize, second: usize, backing: String, len: u32 },
    /// The entry point is not in an executable segment.
    Entry,
}

/// Returns the rules that an image's segments break: first those for RAM, then those for flash,
/// then the one for the entry point.
pub(crate) fn breaches(
    segments: &[ImageSegment],
    entry: Addr,
    chip: &Chip,
    page_size: u32,
) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let ranges = segments.iter().map(|segment| (segment.addr, segment.len));
    if let Some(shared) = chip.shared_ram(ranges) {
        let (first, second, len) = (shared.first, shared.second, shared.len);
        breaches.push(Breach::SharedRam { first, second, backing: shared.backing, len });
    }
    let misplaced = |segment: &ImageSegment| {
        let of_flash = chip.region_at(segment.addr).is_some_and(|r| r.kind == RegionKind::Flash);
        of_flash && segment.addr.0 % page_size != segment.offset as u32 % page_size
    };
    let numbers = (0..segments.len()).filter(|number| misplaced(&segments[*number]));
    breaches.extend(numbers.map(|number| Breach::Misplaced { number }));
    if let Some((first, second)) = shared_page(segments, chip, page_size) {
        breaches.push(Breach::SharedPage { first, second });
    }
    let executes = |segment: &ImageSegment| {
        entry.0.wrapping_sub(segment.addr.0) < segment.len
            && chip.region_at(entry).is_some_and(|region| region.access.execute)
    };
    if !segments.iter().any(executes) {
        breaches.push(Breach::Entry);
    }
    breaches
}

/// Returns the first two segments that need the same MMU entry with different contents. Windows
/// with the same backing share their entries.
fn shared_page(segments: &[ImageSegment], chip: &Chip, page_size: u32) -> Option<(usize, usize)> {
    struct Mapped<'c> {
        number: usize,
        backing: &'c str,
        first_page: u64,
        last_page: u64,
        /// Offset in the window's backing minus offset in the image.
        delta: i64,
    }
    let mapped = segments.iter().enumerate().filter_map(|(number, segment)| {
        let region = chip.region_at(segment.addr).filter(|r| r.kind == RegionKind::Flash)?;
        let place = region.backed(segment.addr, segment.len.max(1));
        Some(Mapped {
            number,
            backing: &region.backing.name,
            first_page: place.start / u64::from(page_size),
            last_page: place.end.saturating_sub(1) / u64::from(page_size),
            delta: place.start as i64 - segment.offset as i64,
        })
    });
    // An image has at most 255 segments.
    let mapped: Vec<_> = mapped.collect();
    mapped.iter().enumerate().find_map(|(at, a)| {
        let b = mapped[at + 1..].iter().find(|b| {
            a.backing == b.backing
                && a.first_page <= b.last_page
                && b.first_page <= a.last_page
                && a.delta != b.delta
        })?;
        Some((a.number, b.number))
    })
}

/// Checks sections, sorted by address, before they are joined, so that errors can name each one.
///
/// # Errors
/// [`ImageError::Overlap`], [`ImageError::EntryOutside`].
pub(crate) fn check_sections(
    sections: &[Section<'_>],
    entry: Addr,
    chip: &Chip,
) -> Result<(), ImageError> {
    for pair in sections.windows(2) {
        let [first, second] = pair else { continue };
        if let Some(len) = first.end().checked_sub(second.addr).filter(|len| *len > 0) {
            let len = len.min(second.len());
            return Err(overlap(first, second, len, &first.region.backing.name));
        }
    }
    let ranges = sections.iter().map(|section| (Addr(section.addr), section.len()));
    if let Some(shared) = chip.shared_ram(ranges)
        && let (Some(first), Some(second)) =
            (sections.get(shared.first), sections.get(shared.second))
    {
        return Err(overlap(first, second, shared.len, &shared.backing));
    }
    check_entry(sections, entry)
}

fn overlap(first: &Section<'_>, second: &Section<'_>, shared: u32, backing: &str) -> ImageError {
    let (first, second) = (named(first), named(second));
    ImageError::Overlap { first, second, shared, backing: backing.to_owned() }
}

fn named(section: &Section<'_>) -> NamedRange {
    NamedRange { name: section.name(), addr: Addr(section.addr), len: section.len() }
}

/// Checks that the entry point is in an executable section.
///
/// # Errors
/// [`ImageError::EntryOutside`].
pub(crate) fn check_entry(sections: &[Section<'_>], entry: Addr) -> Result<(), ImageError> {
    // A handmade ELF may have no section that is marked as code.
    let marked = sections.iter().any(|section| section.is_code);
    let executable =
        |section: &Section<'_>| section.region.access.execute && (section.is_code || !marked);
    let holder = sections.iter().find(|section| section.contains(entry));
    if holder.is_some_and(executable) {
        return Ok(());
    }
    /// Maximum number of sections that a message lists.
    const LISTED: usize = 4;
    let executable = sections.iter().filter(|section| executable(section));
    Err(ImageError::EntryOutside {
        entry,
        holder: holder.map(Section::name),
        executable: executable.take(LISTED).map(named).collect(),
    })
}

/// Checks a finished layout; `sections` are the sections it was made from, sorted by address.
///
/// # Errors
/// [`ImageError::Overlap`], [`ImageError::SamePage`], [`ImageError::EntryOutside`].
pub(crate) fn check_segments(
    segments: &[ImageSegment],
    entry: Addr,
    chip: &Chip,
    page_size: u32,
    sections: &[Section<'_>],
) -> Result<(), ImageError> {
    let Some(breach) = breaches(segments, entry, chip, page_size).into_iter().next() else {
        return Ok(());
    };
    let range = |number: usize| {
        let (addr, len) = segments.get(number).map_or((Addr(0), 0), |s| (s.addr, s.len));
        // The section at or around the segment's start.
        let after = sections.partition_point(|section| section.addr <= addr.0);
        let section = after.checked_sub(1).and_then(|at| sections.get(at));
        NamedRange { name: section.map_or_else(String::new, Section::name), addr, len }
    };
    Err(match breach {
        Breach::SharedRam { first, second, backing, len } => {
            ImageError::Overlap { first: range(first), second: range(second), shared: len, backing }
        }
        Breach::Misplaced { number } => {
            let NamedRange { name, addr, .. } = range(number);
            ImageError::NotWhereLinked { name, addr, page_size }
        }
        Breach::SharedPage { first, second } => {
            let (first, second) = (range(first), range(second));
            let (first, second) =
                if first.addr <= second.addr { (first, second) } else { (second, first) };
            ImageError::SamePage {
                first: first.name,
                first_addr: first.addr,
                second: second.name,
                second_addr: second.addr,
                page_size,
            }
        }
        Breach::Entry => ImageError::EntryOutside { entry, holder: None, executable: Vec::new() },
    })
}
