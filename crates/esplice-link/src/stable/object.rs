//! Reads relocatable ELF files, and writes them with sections split and renamed.
//!
//! Only ELF32, little-endian. Everything that does not change stays in place byte for byte: new
//! names and section headers are appended to the file, and symbols are patched in place.

use object::{
    Endianness,
    elf::{self, FileHeader32},
    read::elf::{FileHeader, Rela as _, SectionHeader, Sym as _},
};

use super::StableError;

pub(crate) const SHT_NOBITS: u32 = elf::SHT_NOBITS.0;
pub(crate) const SHF_WRITE: u32 = elf::SHF_WRITE.0 as u32;
pub(crate) const SHF_ALLOC: u32 = elf::SHF_ALLOC.0 as u32;
pub(crate) const SHF_MERGE: u32 = elf::SHF_MERGE.0 as u32;
pub(crate) const SHF_STRINGS: u32 = elf::SHF_STRINGS.0 as u32;
const SHF_GROUP: u32 = elf::SHF_GROUP.0 as u32;
const SHF_LINK_ORDER: u32 = elf::SHF_LINK_ORDER.0 as u32;
const EM_RISCV: u16 = elf::EM_RISCV.0;
/// A hint for the linker, not part of the section's contents (RISC-V ELF psABI, relocations).
const R_RISCV_RELAX: u32 = elf::R_RISCV_RELAX.0;

/// Length of a section header and of a symbol (System V ABI, chapter 4).
const SECTION_LEN: usize = 40;
const SYMBOL_LEN: usize = 16;
/// Positions in the file header of the offset of the section headers, and of their number.
const E_SHOFF: usize = 32;
const E_SHNUM: usize = 48;
/// The first section number with a special meaning.
const SHN_LORESERVE: usize = 0xff00;

/// A relocatable ELF file.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    pub sections: Vec<Section<'a>>,
    pub symbols: Vec<Symbol<'a>>,
    bytes: &'a [u8],
    names: Option<usize>,
    symbol_table: Option<usize>,
    header_offset: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Section<'a> {
    pub name: &'a str,
    pub kind: u32,
    pub flags: u32,
    pub size: u32,
    pub align: u32,
    pub entry: u32,
    /// Empty if the file has no bytes for it.
    pub data: &'a [u8],
    pub relocations: Vec<Relocation>,
    offset: u32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Relocation {
    pub offset: u32,
    pub kind: u32,
    pub symbol: u32,
    pub addend: i32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Symbol<'a> {
    pub name: &'a str,
    pub value: u32,
    /// Number of the section that defines it, if any.
    pub section: Option<usize>,
    pub undefined: bool,
    pub weak: bool,
    pub local: bool,
    pub is_section: bool,
}

impl Section<'_> {
    pub fn is_allocated(&self) -> bool {
        self.flags & SHF_ALLOC != 0
    }

    /// Returns whether it is a constant without its own name.
    pub fn is_anonymous(&self) -> bool {
        self.name.contains("..L")
    }

    /// Returns whether its pieces may become separate sections.
    pub fn can_be_split(&self) -> bool {
        self.kind == elf::SHT_PROGBITS.0 && self.flags & (SHF_GROUP | SHF_LINK_ORDER) == 0
    }

    /// Returns whether it may be renamed. Sections whose names are C identifiers have symbols at
    /// their start and end, the linker keeps some others, and groups and ordered sections belong to
    /// other sections.
    pub fn can_be_renamed(&self) -> bool {
        const KEPT: &[&str] =
            &[".init", ".fini", ".ctors", ".dtors", ".jcr", ".preinit_array", ".eh_frame"];
        let data = self.kind == elf::SHT_PROGBITS.0 || self.kind == SHT_NOBITS;
        let kept = KEPT.iter().any(|kept| self.name.starts_with(kept));
        data && self.name.starts_with('.')
            && !kept
            && self.is_allocated()
            && self.size > 0
            && self.flags & (SHF_GROUP | SHF_LINK_ORDER | SHF_MERGE) == 0
    }
}

impl<'a> Object<'a> {
    /// Reads a relocatable file.
    ///
    /// # Errors
    /// [`StableError::Object`] if the file is not a valid relocatable ELF32 file.
    pub fn read(bytes: &'a [u8]) -> Result<Object<'a>, StableError> {
        let bad = |error: object::Error| StableError::Object { message: error.to_string() };
        let header = FileHeader32::<Endianness>::parse(bytes).map_err(bad)?;
        let endian = header.endian().map_err(bad)?;
        let odd = |message: &str| StableError::Object { message: message.into() };
        if endian != Endianness::Little || header.e_type(endian) != elf::ET_REL {
            return Err(odd("not a relocatable file"));
        }
        let is_riscv = header.e_machine(endian).0 == EM_RISCV;
        let table = header.sections(endian, bytes).map_err(bad)?;
        let mut sections = Vec::with_capacity(table.len());
        for section in table.iter() {
            let name = table.section_name(endian, section).map_err(bad)?;
            sections.push(Section {
                name: std::str::from_utf8(name).map_err(|_| odd("a name is not UTF-8"))?,
                kind: section.sh_type(endian).0,
                flags: section.sh_flags(endian).0 as u32,
                size: section.sh_size(endian),
                align: section.sh_addralign(endian),
                entry: section.sh_entsize(endian),
                data: section.data(endian, bytes).map_err(bad)?,
                relocations: Vec::new(),
                offset: section.sh_offset(endian),
            });
        }
        let symbols_read = table.symbols(endian, bytes, elf::SHT_SYMTAB).map_err(bad)?;
        let mut symbols = Vec::with_capacity(symbols_read.len());
        for (index, symbol) in symbols_read.enumerate() {
            let name = symbols_read.symbol_name(endian, symbol).map_err(bad)?;
            let section = symbols_read.symbol_section(endian, symbol, index).map_err(bad)?;
            symbols.push(Symbol {
                name: std::str::from_utf8(name).map_err(|_| odd("a name is not UTF-8"))?,
                value: symbol.st_value(endian),
                section: section.map(|section| section.0).filter(|at| *at < sections.len()),
                undefined: symbol.is_undefined(endian),
                weak: symbol.st_bind() == elf::STB_WEAK,
                local: symbol.st_bind() == elf::STB_LOCAL,
                is_section: symbol.st_type() == elf::STT_SECTION,
            });
        }
        for section in table.iter() {
            let Some((relocations, _)) = section.rela(endian, bytes).map_err(bad)? else {
                continue;
            };
            let Some(target) = sections.get_mut(section.sh_info(endian) as usize) else { continue };
            let read = relocations.iter().map(|relocation| Relocation {
                offset: relocation.r_offset(endian),
                kind: relocation.r_type(endian).0,
                symbol: relocation.r_sym(endian),
                addend: relocation.r_addend(endian),
            });
            target.relocations.extend(read.filter(|r| !is_riscv || r.kind != R_RISCV_RELAX));
        }
        let names = table_of(&sections, bytes, header.shstrndx(endian, bytes).map_err(bad)?);
        Ok(Object {
            sections,
            symbols,
            bytes,
            names,
            symbol_table: Some(symbols_read.section().0).filter(|at| *at > 0),
            header_offset: header.e_shoff(endian) as usize,
        })
    }

    /// Returns the symbol of a relocation, and the section that defines it.
    pub fn target(&self, relocation: &Relocation) -> Option<(&Symbol<'a>, Option<usize>)> {
        let symbol = self.symbols.get(relocation.symbol as usize)?;
        Some((symbol, symbol.section))
    }
}

/// Returns the number of the section with the section names, if the file can be rewritten.
fn table_of(sections: &[Section<'_>], bytes: &[u8], number: u32) -> Option<usize> {
    let number = number as usize;
    let numbered = bytes.get(E_SHNUM..E_SHNUM + 2) != Some(&[0, 0]);
    (numbered && number > 0 && number < sections.len()).then_some(number)
}

/// Collects changes to a file and writes them at once.
pub(crate) struct Rewriter<'o, 'a> {
    object: &'o Object<'a>,
    names: Vec<u8>,
    headers: Vec<[u32; 10]>,
    symbols: Vec<(usize, Patch)>,
}

/// New properties of a symbol.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patch {
    pub value: u32,
    pub section: usize,
    /// True if it loses its name and becomes a section symbol, which linkers omit from their
    /// output.
    pub nameless: bool,
}

impl<'o, 'a> Rewriter<'o, 'a> {
    /// Creates a rewriter. Returns none if the file's tables are of an unsupported kind.
    pub fn new(object: &'o Object<'a>) -> Option<Rewriter<'o, 'a>> {
        let names = object.sections.get(object.names?)?.data.to_vec();
        object.symbol_table?;
        let table = object.bytes.get(object.header_offset..)?;
        let word = |chunk: &[u8]| u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        let mut headers = Vec::with_capacity(object.sections.len());
        for header in table.chunks_exact(SECTION_LEN).take(object.sections.len()) {
            let mut words = [0; 10];
            for (to, from) in words.iter_mut().zip(header.chunks_exact(4)) {
                *to = word(from);
            }
            headers.push(words);
        }
        let whole = headers.len() == object.sections.len();
        whole.then_some(Rewriter { object, names, headers, symbols: Vec::new() })
    }

    /// Renames a section.
    pub fn rename(&mut self, section: usize, name: &str) {
        let at = self.add_name(name);
        if let Some(header) = self.headers.get_mut(section) {
            header[0] = at;
        }
    }

    /// Stops the linker from merging a section with others.
    pub fn unmerge(&mut self, section: usize) {
        if let Some(header) = self.headers.get_mut(section) {
            header[2] &= !(SHF_MERGE | SHF_STRINGS);
            header[9] = 0;
        }
    }

    /// Removes a section's contents.
    pub fn empty(&mut self, section: usize) {
        if let Some(header) = self.headers.get_mut(section) {
            header[5] = 0;
        }
    }

    /// Adds a section with a piece of another's contents. Returns its number.
    pub fn add_piece(&mut self, of: usize, name: &str, offset: u32, len: u32) -> Option<usize> {
        let number = self.headers.len();
        if number + 1 >= SHN_LORESERVE {
            return None;
        }
        let start = self.object.sections.get(of)?.offset;
        let at = self.add_name(name);
        let mut header = *self.headers.get(of)?;
        header[0] = at;
        header[2] &= !(SHF_MERGE | SHF_STRINGS);
        header[4] = start.checked_add(offset)?;
        header[5] = len;
        header[9] = 0;
        self.headers.push(header);
        Some(number)
    }

    pub fn patch(&mut self, symbol: usize, patch: Patch) {
        self.symbols.push((symbol, patch));
    }

    fn add_name(&mut self, name: &str) -> u32 {
        let at = self.names.len() as u32;
        self.names.extend_from_slice(name.as_bytes());
        self.names.push(0);
        at
    }

    /// Returns the new file, or none if it would not fit the format.
    pub fn write(mut self) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(
            self.object.bytes.len() + self.names.len() + self.headers.len() * SECTION_LEN + 8,
        );
        bytes.extend_from_slice(self.object.bytes);
        let table = self.object.sections.get(self.object.symbol_table?)?.offset as usize;
        for (symbol, patch) in &self.symbols {
            let at = symbol.checked_mul(SYMBOL_LEN)?.checked_add(table)?;
            let entry = bytes.get_mut(at..at.checked_add(SYMBOL_LEN)?)?;
            entry.get_mut(4..8)?.copy_from_slice(&patch.value.to_le_bytes());
            let section = u16::try_from(patch.section).ok()?;
            entry.get_mut(14..16)?.copy_from_slice(&section.to_le_bytes());
            if patch.nameless {
                entry.get_mut(0..4)?.fill(0);
                entry.get_mut(8..12)?.fill(0);
                *entry.get_mut(12)? = elf::STT_SECTION.0;
            }
        }
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let names = self.headers.get_mut(self.object.names?)?;
        names[4] = u32::try_from(bytes.len()).ok()?;
        names[5] = u32::try_from(self.names.len()).ok()?;
        bytes.extend_from_slice(&self.names);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let offset = u32::try_from(bytes.len()).ok()?;
        bytes.get_mut(E_SHOFF..E_SHOFF + 4)?.copy_from_slice(&offset.to_le_bytes());
        let number = u16::try_from(self.headers.len()).ok()?;
        bytes.get_mut(E_SHNUM..E_SHNUM + 2)?.copy_from_slice(&number.to_le_bytes());
        for header in &self.headers {
            bytes.extend(header.iter().flat_map(|word| word.to_le_bytes()));
        }
        Some(bytes)
    }
}
