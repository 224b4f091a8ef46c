//! Finds initialised data among the inputs of a link that the output no longer shows.
//!
//! An arena or section that nothing is loaded into is a `NOLOAD` section: the linker drops the
//! bytes of its input sections. rustc also emits bytes for `MaybeUninit` statics, all zero, so only
//! the bytes themselves show whether a static has an initial value.

use esplice_layout::arena_section;
use object::{
    Endianness,
    elf::{self, FileHeader32},
    read::{
        archive::ArchiveFile,
        elf::{FileHeader, Rela as _, SectionHeader, Sym as _},
    },
};

use crate::stable::glob::Glob;

/// An output section that nothing is loaded into.
#[derive(Debug, Clone)]
pub struct Unloaded {
    what: String,
    patterns: Vec<Glob>,
}

impl Unloaded {
    /// Returns the output section of an arena.
    pub fn arena(name: &str) -> Unloaded {
        let section = arena_section(name);
        let patterns = [section.clone(), format!("{section}.*")];
        Unloaded {
            what: format!("arena {name}"),
            patterns: patterns.iter().map(|pattern| Glob::new(pattern)).collect(),
        }
    }

    /// Returns a section of the layout, with the linker script's pattern for its input sections.
    pub fn section(name: &str, pattern: &str) -> Unloaded {
        Unloaded { what: format!("section {name}"), patterns: vec![Glob::new(pattern)] }
    }

    fn takes(&self, section: &[u8]) -> bool {
        let name = std::str::from_utf8(section);
        name.is_ok_and(|name| self.patterns.iter().any(|pattern| pattern.matches(name)))
    }
}

/// Statics with initial values in input sections whose bytes the linker drops.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Initialised {
    /// The arena or section that would lose them, such as `arena dma`.
    pub what: String,
    /// The statics with their lengths, such as `TABLE of 4 bytes`.
    pub statics: Vec<String>,
}

const ARCHIVE: &[u8] = b"!<arch>\n";

/// Returns the data for `unloaded` in `file`, an object or an archive, that is not all zero.
///
/// Files of other kinds and members that can't be read yield nothing: the linker reports their
/// errors.
pub fn initialised(file: &[u8], unloaded: &[Unloaded]) -> Vec<Initialised> {
    let mut found = Vec::new();
    if !file.starts_with(ARCHIVE) {
        search(file, unloaded, &mut found);
        return found;
    }
    let Ok(archive) = ArchiveFile::parse(file) else { return found };
    for member in archive.members() {
        // After a broken member nothing in the archive can be read.
        let Ok(member) = member else { break };
        if let Ok(data) = member.data(file) {
            search(data, unloaded, &mut found);
        }
    }
    found
}

fn search(object: &[u8], unloaded: &[Unloaded], found: &mut Vec<Initialised>) {
    // The linker reports objects that can't be read.
    let _ = search_object(object, unloaded, found);
}

fn search_object(
    object: &[u8],
    unloaded: &[Unloaded],
    found: &mut Vec<Initialised>,
) -> object::read::Result<()> {
    let header = FileHeader32::<Endianness>::parse(object)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, object)?;
    let mut ours = Vec::new();
    for (index, section) in sections.enumerate() {
        let name = sections.section_name(endian, section)?;
        if let Some(one) = unloaded.iter().find(|one| one.takes(name)) {
            ours.push((index, &one.what, section));
        }
    }
    for (index, what, section) in ours {
        if section.sh_type(endian) == elf::SHT_NOBITS {
            continue;
        }
        let data = section.data(endian, object)?;
        // A pointer is zero in the object and has a relocation.
        let mut patched: Vec<u64> = Vec::new();
        for other in sections.iter() {
            if other.info_link(endian) == index
                && let Some((entries, _)) = other.rela(endian, object)?
            {
                patched.extend(entries.iter().map(|entry| u64::from(entry.r_offset(endian))));
            }
        }
        let is_set = |from: u64, len: u64| {
            let to = from.saturating_add(len);
            let bytes = usize::try_from(from).ok().and_then(|from| data.get(from..));
            let bytes = bytes.map(|bytes| &bytes[..bytes.len().min(len as usize)]);
            bytes.is_some_and(|bytes| bytes.iter().any(|byte| *byte != 0))
                || patched.iter().any(|at| (from..to).contains(at))
        };
        if !is_set(0, data.len() as u64) {
            continue;
        }
        let symbols = sections.symbols(endian, object, elf::SHT_SYMTAB)?;
        let mut statics = Vec::new();
        for (at, symbol) in symbols.enumerate() {
            let here = symbols.symbol_section(endian, symbol, at)? == Some(index);
            let (value, len) = (symbol.st_value(endian), symbol.st_size(endian));
            if here && len > 0 && is_set(value.into(), len.into()) {
                let name = String::from_utf8_lossy(symbols.symbol_name(endian, symbol)?);
                statics.push(format!("{name} of {len} bytes"));
            }
        }
        if statics.is_empty() {
            statics.push(format!("{} bytes without a name", data.len()));
        }
        match found.iter_mut().find(|other| other.what == *what) {
            Some(other) => other.statics.extend(statics),
            None => found.push(Initialised { what: what.clone(), statics }),
        }
    }
    Ok(())
}
