//! Reads the relevant parts of an ELF.

use std::collections::BTreeMap;

use esplice_chip::Chip;
use object::{
    Endianness,
    elf::{self, FileHeader32},
    read::elf::{FileHeader, SectionHeader, Sym},
};

use crate::LinkError;

/// A section that occupies memory on the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    pub name: String,
    pub addr: u32,
    pub len: u32,
    /// True if its bytes are in the file.
    pub loaded: bool,
}

/// Sections and symbols of an ELF.
#[derive(Debug, Clone, Default)]
pub(crate) struct Elf {
    pub sections: Vec<Section>,
    /// Defined symbols by name.
    pub symbols: BTreeMap<String, u32>,
    /// Variables: name, address, length.
    pub objects: Vec<(String, u32, u32)>,
    /// Functions and variables with a length: name, address, length.
    pub pieces: Vec<(String, u32, u32)>,
}

impl Elf {
    pub fn read(bytes: &[u8], chip: &Chip) -> Result<Elf, LinkError> {
        let bad = |error: object::Error| LinkError::BadElf { message: error.to_string() };
        let header = FileHeader32::<Endianness>::parse(bytes).map_err(bad)?;
        let endian = header.endian().map_err(bad)?;
        let machine = header.e_machine(endian).0;
        if machine != chip.elf_machine {
            return Err(LinkError::OtherMachine {
                found: machine,
                expected: chip.elf_machine,
                chip: chip.display_name.clone(),
            });
        }
        let table = header.sections(endian, bytes).map_err(bad)?;
        let mut read = Elf::default();
        for section in table.iter() {
            let flags = section.sh_flags(endian);
            if flags.0 & elf::SHF_ALLOC.0 == 0 || section.sh_size(endian) == 0 {
                continue;
            }
            let name = table.section_name(endian, section).unwrap_or_default();
            read.sections.push(Section {
                name: String::from_utf8_lossy(name).into_owned(),
                addr: section.sh_addr(endian),
                len: section.sh_size(endian),
                loaded: section.sh_type(endian) != elf::SHT_NOBITS,
            });
        }
        read.sections.sort_by_key(|section| (section.addr, section.len));
        let symbols = table.symbols(endian, bytes, elf::SHT_SYMTAB).map_err(bad)?;
        for symbol in symbols.iter() {
            if symbol.is_undefined(endian) {
                continue;
            }
            let Ok(name) = symbols.symbol_name(endian, symbol) else { continue };
            let name = String::from_utf8_lossy(name).into_owned();
            let (value, len) = (symbol.st_value(endian), symbol.st_size(endian));
            let is_piece = matches!(symbol.st_type(), elf::STT_OBJECT | elf::STT_FUNC);
            if is_piece && len > 0 {
                read.pieces.push((name.clone(), value, len));
            }
            if symbol.st_type() == elf::STT_OBJECT && len > 0 {
                read.objects.push((name.clone(), value, len));
            }
            read.symbols.insert(name, value);
        }
        Ok(read)
    }

    pub fn symbol(&self, name: &str) -> Option<u32> {
        self.symbols.get(name).copied()
    }

    /// Returns the range between two symbols, if both exist in this order.
    pub fn range(&self, start: &str, end: &str) -> Option<(u32, u32)> {
        let (start, end) = (self.symbol(start)?, self.symbol(end)?);
        (start <= end).then(|| (start, end - start))
    }

    /// Names of the arenas that have symbols.
    pub fn arenas(&self) -> Vec<String> {
        let start = |name: &String| {
            let name = name.strip_prefix("__esplice_arena_")?.strip_suffix("_start")?;
            Some(name.to_owned())
        };
        self.symbols.keys().filter_map(start).collect()
    }
}
