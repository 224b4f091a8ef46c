//! Initialised data among the inputs of a link that the output cannot show any more.
//!
//! An arena that nothing is loaded into is a `NOLOAD` section: the linker drops the bytes of its input
//! sections. rustc gives `MaybeUninit` statics bytes too, all zero, so only the bytes themselves tell
//! whether a static has an initial value.

use esplice_layout::arena_section;
use object::{
    Endianness,
    elf::{self, FileHeader32},
    read::{
        archive::ArchiveFile,
        elf::{FileHeader, Rela as _, SectionHeader, Sym as _},
    },
};

/// Statics with initial values in the sections of an arena.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initialised {
    /// The arena.
    pub arena: String,
    /// The statics with their lengths, such as `TABLE of 4 bytes`.
    pub statics: Vec<String>,
}

const ARCHIVE: &[u8] = b"!<arch>\n";

/// Returns what `file`, an object or an archive of objects, has for `arenas` that is not all zero.
///
/// Files of other kinds, and members that cannot be read, have nothing: the linker reports what is
/// wrong with them.
pub fn initialised(file: &[u8], arenas: &[String]) -> Vec<Initialised> {
    let mut found = Vec::new();
    if !file.starts_with(ARCHIVE) {
        search(file, arenas, &mut found);
        return found;
    }
    let Ok(archive) = ArchiveFile::parse(file) else { return found };
    for member in archive.members() {
        // An archive that is broken here is broken for all that follows.
        let Ok(member) = member else { break };
        if let Ok(data) = member.data(file) {
            search(data, arenas, &mut found);
        }
    }
    found
}

fn search(object: &[u8], arenas: &[String], found: &mut Vec<Initialised>) {
    // An object that cannot be read is the linker's to report.
    let _ = search_object(object, arenas, found);
}

/// The arena that the input section `name` goes to, as the layout's script has it.
fn arena_of<'a>(name: &[u8], arenas: &'a [String]) -> Option<&'a String> {
    arenas.iter().find(|arena| {
        let section = arena_section(arena);
        let rest = name.strip_prefix(section.as_bytes());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"."))
    })
}

fn search_object(
    object: &[u8],
    arenas: &[String],
    found: &mut Vec<Initialised>,
) -> object::read::Result<()> {
    let header = FileHeader32::<Endianness>::parse(object)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, object)?;
    let mut ours = Vec::new();
    for (index, section) in sections.enumerate() {
        let name = sections.section_name(endian, section)?;
        if let Some(arena) = arena_of(name, arenas) {
            ours.push((index, arena, section));
        }
    }
    for (index, arena, section) in ours {
        if section.sh_type(endian) == elf::SHT_NOBITS {
            continue;
        }
        let data = section.data(endian, object)?;
        // A pointer is zero in the object, and comes with a relocation.
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
        match found.iter_mut().find(|other| other.arena == *arena) {
            Some(other) => other.statics.extend(statics),
            None => found.push(Initialised { arena: arena.clone(), statics }),
        }
    }
    Ok(())
}
