//! Which parts of an ELF no image is made of, told before the whole file is read.

use std::ops::Range;

use object::elf;
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _};
use object::{LittleEndian, pod};

use crate::elf::DESCRIPTOR_SECTION;

type Header = elf::FileHeader32<LittleEndian>;
type Section = elf::SectionHeader32<LittleEndian>;
type Segment = elf::ProgramHeader32<LittleEndian>;

/// Sections and segments of an ELF that is looked at: firmware has some tens.
const MOST: usize = 1000;
/// Bytes of the sections' names that are looked at.
const MOST_NAMES: usize = 0x1_0000;

/// What is asked of an ELF beside images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Its chip, by [`crate::elf_chip_name`].
    ChipToo,
    /// Nothing: the chip is known.
    ImagesAlone,
}

/// Parts of an ELF's file, in order and apart, that are not looked at: what [`crate::build_image`] and
/// its like make of the ELF is the same with other bytes there. These are debug information, and where
/// only images are asked for the symbols of an app with a descriptor, too. `read` gives `len` bytes at
/// an offset of the file, or none where it has not so many.
///
/// None for a file of another kind, and for one that nothing is known of: damaged, or with too many
/// sections to look at.
pub fn spare_ranges(
    asked: Asked,
    mut read: impl FnMut(u64, usize) -> Option<Vec<u8>>,
) -> Option<Vec<Range<u64>>> {
    let start = read(0, size_of::<Header>())?;
    let header = Header::parse(&start[..]).ok()?;
    header.endian().ok()?;
    let sections_at = u64::from(header.e_shoff(LittleEndian));
    let sections = usize::from(header.e_shnum.get(LittleEndian));
    let segments_at = u64::from(header.e_phoff(LittleEndian));
    let segments = usize::from(header.e_phnum.get(LittleEndian));
    if sections > MOST
        || segments > MOST
        || usize::from(header.e_shentsize.get(LittleEndian)) != size_of::<Section>()
        || segments > 0 && usize::from(header.e_phentsize.get(LittleEndian)) != size_of::<Segment>()
    {
        return None;
    }
    let table = read(sections_at, sections * size_of::<Section>())?;
    let (sections, _) = pod::slice_from_bytes::<Section>(&table, sections).ok()?;
    let names = sections.get(usize::from(header.e_shstrndx.get(LittleEndian).0))?;
    let names_len = names.sh_size(LittleEndian) as usize;
    if names_len > MOST_NAMES {
        return None;
    }
    let names = read(u64::from(names.sh_offset(LittleEndian)), names_len)?;
    let segment_table = read(segments_at, segments * size_of::<Segment>())?;
    let (segments, _) = pod::slice_from_bytes::<Segment>(&segment_table, segments).ok()?;

    let range = |at: u64, len: u64| at..at.saturating_add(len);
    let mut kept = vec![
        range(0, start.len() as u64),
        range(sections_at, table.len() as u64),
        range(segments_at, segment_table.len() as u64),
    ];
    kept.extend(segments.iter().map(|segment| {
        let len = segment.p_filesz(LittleEndian);
        range(segment.p_offset(LittleEndian).into(), len.into())
    }));
    let named = |section: &Section, name: &[u8]| {
        let rest = names.get(section.sh_name(LittleEndian) as usize..);
        rest.is_some_and(|rest| rest.starts_with(name))
    };
    // Only programs for the ROM have variables to be found, and those have no descriptor.
    let descriptor = [DESCRIPTOR_SECTION.as_bytes(), b"\0"].concat();
    let symbols = (asked == Asked::ImagesAlone && sections.iter().any(|s| named(s, &descriptor)))
        .then(|| sections.iter().position(|s| s.sh_type(LittleEndian) == elf::SHT_SYMTAB))
        .flatten();
    let strings = symbols.and_then(|at| Some(sections.get(at)?.sh_link(LittleEndian) as usize));
    let names_at = usize::from(header.e_shstrndx.get(LittleEndian).0);
    let mut spare = Vec::new();
    for (number, section) in sections.iter().enumerate() {
        if matches!(section.sh_type(LittleEndian), elf::SHT_NULL | elf::SHT_NOBITS) {
            continue;
        }
        let place =
            range(section.sh_offset(LittleEndian).into(), section.sh_size(LittleEndian).into());
        let of_symbols = Some(number) == symbols || Some(number) == strings;
        // Names and symbols are looked at whatever their sections are called.
        let of_debug =
            section.sh_type(LittleEndian) == elf::SHT_PROGBITS && named(section, b".debug_");
        if number != names_at && is_unplaced(section) && (of_debug || of_symbols) {
            spare.push(place);
        } else {
            kept.push(place);
        }
    }
    spare.sort_by_key(|range| range.start);
    // What overlaps anything else is kept, whatever it is.
    let mut end = 0;
    spare.retain(|range| {
        let apart = range.start >= end && range.start < range.end;
        end = end.max(range.end);
        apart && !kept.iter().any(|kept| kept.start < range.end && range.start < kept.end)
    });
    Some(spare)
}

/// Whether the section is for the host's tools alone: neither loaded nor at an address. What is named
/// `.debug_…` is for debuggers then (DWARF 5, appendix G).
fn is_unplaced(section: &Section) -> bool {
    section.sh_flags(LittleEndian).0 & elf::SHF_ALLOC.0 == 0 && section.sh_addr(LittleEndian) == 0
}
