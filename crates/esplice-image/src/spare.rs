//! Finds the parts of an ELF that no image is made from, before the whole file is read.

use std::ops::Range;

use object::elf;
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _};
use object::{LittleEndian, pod};

use crate::elf::DESCRIPTOR_SECTION;

type Header = elf::FileHeader32<LittleEndian>;
type Section = elf::SectionHeader32<LittleEndian>;
type Segment = elf::ProgramHeader32<LittleEndian>;

/// Maximum number of sections and of segments in an inspected ELF: firmware has some tens.
const MOST: usize = 1000;
/// Maximum size of the section names in bytes.
const MOST_NAMES: usize = 0x1_0000;

/// The information that is needed from an ELF in addition to images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElfUse {
    /// The chip, by [`crate::elf_chip_name`].
    ImagesAndChip,
    /// Nothing: the chip is known.
    ImagesOnly,
}

/// Returns the ranges of an ELF file that are not used, in order and without overlaps: with other
/// bytes there, [`crate::build_image`] and similar functions make the same image. These ranges are
/// debug information, and with [`ElfUse::ImagesOnly`] also the symbols of an app with a descriptor.
/// `read` returns `len` bytes at an offset of the file, or `None` if the file is shorter.
///
/// Returns `None` for a file of another format, and for one that can't be judged because it is
/// damaged or has too many sections.
pub fn spare_ranges(
    asked: ElfUse,
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
    // Only programs for the ROM have variables to look up, and those have no descriptor.
    let descriptor = [DESCRIPTOR_SECTION.as_bytes(), b"\0"].concat();
    let symbols = (asked == ElfUse::ImagesOnly && sections.iter().any(|s| named(s, &descriptor)))
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
        // Section names and symbols are used whatever their sections are called.
        let of_debug =
            section.sh_type(LittleEndian) == elf::SHT_PROGBITS && named(section, b".debug_");
        if number != names_at && is_unplaced(section) && (of_debug || of_symbols) {
            spare.push(place);
        } else {
            kept.push(place);
        }
    }
    spare.sort_by_key(|range| range.start);
    // Ranges that overlap anything else are kept.
    let mut end = 0;
    spare.retain(|range| {
        let apart = range.start >= end && range.start < range.end;
        end = end.max(range.end);
        apart && !kept.iter().any(|kept| kept.start < range.end && range.start < kept.end)
    });
    Some(spare)
}

/// Returns whether the section is only for tools on the host: it is neither loaded nor has an
/// address. If it is then named `.debug_…`, it is for debuggers (DWARF 5, appendix G).
fn is_unplaced(section: &Section) -> bool {
    section.sh_flags(LittleEndian).0 & elf::SHF_ALLOC.0 == 0 && section.sh_addr(LittleEndian) == 0
}
