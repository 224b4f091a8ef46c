//! Translation of addresses into functions and lines, based on an ELF's tables.

use std::{borrow::Cow, cell::OnceCell, ops::Range};

use gimli::{EndianSlice, LittleEndian};
use object::{
    Object as _, ObjectSection as _, ObjectSegment as _, ObjectSymbol as _, SectionFlags,
    SectionKind, SegmentFlags, SymbolKind, elf,
};

use crate::{
    instruction::{self, Instruction, RA},
    lost_return::Calls,
    unwind::UnwindTables,
};

/// Bytes of a section or another part of the ELF.
pub(crate) type Bytes<'a> = EndianSlice<'a, LittleEndian>;

/// Maximum number of frames at one address. Compilers nest inlined functions a few dozen deep.
const MAX_INLINED: usize = 64;

/// Maximum length in bytes of a function name or a path.
const MAX_NAME: usize = 1024;

/// Maximum nesting depth of a C++ name. Templates of real programs reach about twenty.
const MAX_NESTING: u32 = 64;

/// An error that prevents reading symbols from an ELF.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SymbolsError {
    /// The file is not an ELF, or its headers are broken.
    #[error("no readable ELF: {0}")]
    Elf(#[from] object::Error),
    /// The ELF is big-endian, unlike any known chip.
    #[error("ELF is big-endian, but no known chip is")]
    BigEndian,
    /// The ELF has no code that could be decoded.
    #[error("ELF has no executable sections")]
    NoCode,
}

/// The processor architecture of an ELF's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Architecture {
    /// RISC-V with 32 or 64 bits.
    RiscV,
    /// Xtensa, with register windows.
    Xtensa,
    /// Any other architecture.
    Other,
}

impl Architecture {
    fn of(file: &object::File<'_>) -> Architecture {
        match file.architecture() {
            object::Architecture::Riscv32 | object::Architecture::Riscv64 => Architecture::RiscV,
            object::Architecture::Xtensa => Architecture::Xtensa,
            _ => Architecture::Other,
        }
    }
}

/// A source location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymbolFrame {
    /// The demangled function name. `None` if only the line is known.
    pub function: Option<String>,
    /// The file path as seen by the compiler.
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// True if the compiler inlined this function into that of the next frame.
    pub inlined: bool,
}

/// A function or variable of an ELF.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Symbol {
    /// The demangled name.
    pub name: String,
    /// The address of its first byte.
    pub addr: u64,
    /// Size in bytes, 0 if the ELF does not state it.
    pub size: u64,
}

/// The code tables of an ELF: functions, lines and unwind information.
///
/// Borrows the ELF's bytes, and reads only as much debug information as an address needs. If debug
/// information is broken, frames may be missing, but nothing else fails.
pub struct Symbols<'a> {
    /// The whole file, for searches by name.
    elf: &'a [u8],
    architecture: Architecture,
    /// The executable parts with their bytes, sorted by address.
    code: Vec<Code<'a>>,
    /// Functions, sorted by address.
    functions: Vec<Function<'a>>,
    /// Line information. `None` if there is no debug information, or if its units cannot be read.
    lines: Option<addr2line::Context<Bytes<'a>>>,
    pub(crate) unwind: UnwindTables<'a>,
    /// The symbols of the mask ROM.
    pub(crate) rom: Option<Box<Symbols<'a>>>,
    /// The calls in the code, read on first use.
    calls: OnceCell<Calls>,
}

/// An executable part.
struct Code<'a> {
    range: Range<u64>,
    /// The bytes, shorter than the range if the ELF does not contain them.
    bytes: &'a [u8],
}

/// A function of the symbol table.
struct Function<'a> {
    addr: u64,
    /// Size in bytes, 0 if the table does not state it.
    size: u64,
    name: &'a [u8],
}

impl std::fmt::Debug for Symbols<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Symbols")
            .field("code", &self.code.iter().map(|code| &code.range).collect::<Vec<_>>())
            .field("functions", &self.functions.len())
            .field("lines", &self.lines.is_some())
            .finish_non_exhaustive()
    }
}

impl<'a> Symbols<'a> {
    /// Reads the tables of a little-endian ELF with 32 or 64 bits.
    ///
    /// # Errors
    ///
    /// Returns an error if the file is not an ELF, its headers are broken, or it has no executable
    /// code. Missing or broken debug information is not an error: functions may still be known by
    /// their symbols.
    pub fn from_elf(bytes: &'a [u8]) -> Result<Symbols<'a>, SymbolsError> {
        let file = object::File::parse(bytes)?;
        if !file.is_little_endian() {
            return Err(SymbolsError::BigEndian);
        }
        let code = code(&file);
        if code.is_empty() {
            return Err(SymbolsError::NoCode);
        }
        let section = |name: &str| -> &'a [u8] {
            // Compressed sections are ignored: no linker for these chips writes them.
            let uncompressed = |section: &object::Section<'a, '_>| {
                section
                    .compressed_file_range()
                    .ok()
                    .is_some_and(|range| range.format == object::CompressionFormat::None)
            };
            let found = file.section_by_name(name).filter(uncompressed);
            found.and_then(|section| section.data().ok()).unwrap_or_default()
        };
        let dwarf = gimli::Dwarf::load(|id| {
            Ok::<_, gimli::Error>(EndianSlice::new(section(id.name()), LittleEndian))
        });
        let lines = dwarf.and_then(addr2line::Context::from_dwarf).ok();
        let eh_frame_addr = file.section_by_name(".eh_frame").map(|section| section.address());
        let text_addr = file.section_by_name(".text").map(|section| section.address());
        let unwind = UnwindTables::new(
            section(".debug_frame"),
            section(".eh_frame"),
            eh_frame_addr.unwrap_or(0),
            text_addr.unwrap_or(0),
            if file.is_64() { 8 } else { 4 },
        );
        let (architecture, functions) = (Architecture::of(&file), functions(&file, &code));
        Ok(Symbols {
            elf: bytes,
            architecture,
            functions,
            code,
            lines,
            unwind,
            rom: None,
            calls: OnceCell::new(),
        })
    }

    /// Adds the symbols of the chip's mask ROM, for addresses at which the ELF has no code.
    pub fn with_rom(self, rom: Symbols<'a>) -> Symbols<'a> {
        Symbols { rom: Some(Box::new(rom)), ..self }
    }

    /// Reads in advance what [`Symbols::frames`] and [`Symbols::unwind`] need for an address in
    /// each function, so that they later return within microseconds. Stops when `goes_on` returns
    /// false. Takes about as much time and memory as querying all of them.
    pub fn prepare(&self, goes_on: &dyn Fn() -> bool) {
        self.unwind.prepare();
        let mut last = None;
        for function in &self.functions {
            if !goes_on() {
                return;
            }
            if last.replace(function.addr) != Some(function.addr) {
                let _ = self.debug_frames(function.addr);
            }
        }
        let _ = self.calls();
        if let Some(rom) = &self.rom {
            rom.prepare(goes_on);
        }
    }

    /// Returns the function or variable called `name`: as in the symbol table, or demangled and
    /// without a hash, such as `app::COUNTER`. If several have the name, as `static` ones in C may,
    /// returns the one with the lowest address. The ROM's symbols are not searched.
    ///
    /// Reads the whole symbol table on each call.
    pub fn symbol(&self, name: &str) -> Option<Symbol> {
        let file = object::File::parse(self.elf).ok()?;
        let kinds = [SymbolKind::Text, SymbolKind::Data, SymbolKind::Unknown];
        let named = |symbol: &object::Symbol<'_, '_>| {
            let raw = symbol.name_bytes().unwrap_or_default();
            raw == name.as_bytes() || raw.starts_with(b"_") && readable(raw) == name
        };
        let found = file
            .symbols()
            .filter(|symbol| symbol.is_definition() && kinds.contains(&symbol.kind()))
            .filter(named)
            .min_by_key(|symbol| symbol.address())?;
        Some(Symbol {
            name: readable(found.name_bytes().ok()?),
            addr: found.address(),
            size: found.size(),
        })
    }

    /// Returns the processor architecture of the code.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// Returns whether `addr` lies in an executable section of the ELF or of the ROM.
    pub fn contains(&self, addr: u64) -> bool {
        self.has(addr) || self.rom.as_ref().is_some_and(|rom| rom.has(addr))
    }

    /// Returns whether `addr` lies in an executable section of the ELF itself.
    fn has(&self, addr: u64) -> bool {
        self.part(addr).is_some()
    }

    fn part(&self, addr: u64) -> Option<&Code<'a>> {
        let behind = self.code.partition_point(|code| code.range.start <= addr);
        self.code.get(..behind)?.iter().find(|code| code.range.contains(&addr))
    }

    /// Returns the code from `addr` to the end of its section, from the ELF or the ROM. Empty if
    /// there is none.
    pub(crate) fn code_from(&self, addr: u32) -> &'a [u8] {
        let found = self.part(addr.into()).and_then(|code| {
            let at = u64::from(addr).checked_sub(code.range.start)?;
            code.bytes.get(usize::try_from(at).ok()?..)
        });
        let of_rom = || self.rom.as_ref().map(|rom| rom.code_from(addr));
        found.or_else(of_rom).unwrap_or_default()
    }

    /// Returns the start of the function at `addr`, if its instructions can be decoded.
    pub(crate) fn start_of(&self, addr: u32) -> Option<u32> {
        if self.architecture != Architecture::RiscV {
            return None;
        }
        if !self.has(addr.into()) {
            return self.rom.as_ref()?.start_of(addr);
        }
        u32::try_from(self.function(addr.into())?.addr).ok()
    }

    /// Returns whether the instruction before `back` is a call through a register.
    pub(crate) fn is_call_by_register(&self, back: u32) -> bool {
        // Compressed or full-length.
        [2, 4].into_iter().any(|len| {
            let code = back.checked_sub(len).map(|at| self.code_from(at)).unwrap_or_default();
            let found = instruction::decode(code);
            matches!(found, Some((Instruction::JumpTo { link: RA, .. }, found)) if found == len)
        })
    }

    /// Returns the calls in the ELF itself.
    pub(crate) fn calls(&self) -> &Calls {
        self.calls.get_or_init(|| {
            let starts = self.functions.iter().map(|function| function.addr);
            let ends = starts.clone().skip(1).chain([u64::MAX]);
            // If several names share an address, only the last one has a non-empty range here.
            let functions = starts.zip(ends).filter_map(|(start, end)| {
                let len = usize::try_from(end.saturating_sub(start)).ok()?;
                let start = u32::try_from(start).ok()?;
                let code = self.code_from(start);
                Some((start, code.get(..len).unwrap_or(code)))
            });
            match self.architecture {
                Architecture::RiscV => Calls::of(functions),
                _ => Calls::default(),
            }
        })
    }

    /// Returns the functions and lines of the instruction at `addr`, the innermost inlined one
    /// first. Empty if no executable section contains it. For a return address, pass the address of
    /// a byte of the call before it.
    pub fn frames(&self, addr: u64) -> Vec<SymbolFrame> {
        if !self.has(addr) {
            return self.rom.as_ref().map(|rom| rom.frames(addr)).unwrap_or_default();
        }
        let mut frames = self.debug_frames(addr);
        let symbol = self.function(addr).map(|function| readable(function.name));
        match frames.last_mut() {
            Some(outermost) => {
                // Line tables name functions without their modules, and some not at all.
                let full = outermost.function.as_ref().is_some_and(|name| name.contains("::"));
                if !full && symbol.is_some() {
                    outermost.function = symbol;
                }
            }
            None if symbol.is_some() => frames.push(SymbolFrame {
                function: symbol,
                file: None,
                line: None,
                inlined: false,
            }),
            None => {}
        }
        frames
    }

    fn debug_frames(&self, addr: u64) -> Vec<SymbolFrame> {
        let Some(lines) = &self.lines else { return vec![] };
        // Split debug information is not searched.
        let Ok(mut found) = lines.find_frames(addr).skip_all_loads() else { return vec![] };
        let mut frames = vec![];
        while let Ok(Some(frame)) = found.next() {
            let name = frame.function.as_ref().and_then(|function| function.raw_name().ok());
            let place = frame.location.as_ref();
            frames.push(SymbolFrame {
                function: name.map(|name| readable(name.as_bytes())),
                file: place.and_then(|place| place.file).map(|file| bounded(file.into())),
                line: place.and_then(|place| place.line).filter(|line| *line > 0),
                inlined: true,
            });
            if frames.len() >= MAX_INLINED {
                break;
            }
        }
        if let Some(outermost) = frames.last_mut() {
            outermost.inlined = false;
        }
        frames
    }

    /// Returns whether both addresses lie in the same function of the symbol table.
    pub(crate) fn is_one_function(&self, one: u64, other: u64) -> bool {
        let start = |addr| {
            let rom = || self.rom.as_ref().and_then(|rom| rom.function(addr));
            self.function(addr).or_else(rom).map(|function| function.addr)
        };
        start(one).is_some_and(|addr| start(other) == Some(addr))
    }

    /// Returns the function of the symbol table at `addr`.
    fn function(&self, addr: u64) -> Option<&Function<'a>> {
        let behind = self.functions.partition_point(|function| function.addr <= addr);
        let function = self.functions.get(behind.checked_sub(1)?)?;
        // Functions in assembly often have no size. Such a function extends to the next one.
        let inside = function.size == 0 || addr - function.addr < function.size;
        inside.then_some(function)
    }
}

/// Returns the executable parts of `file`, sorted.
fn code<'a>(file: &object::File<'a>) -> Vec<Code<'a>> {
    let part = |addr: u64, size: u64, bytes: object::Result<&'a [u8]>| Code {
        range: addr..addr.saturating_add(size),
        bytes: bytes.unwrap_or_default(),
    };
    let mut code: Vec<Code<'a>> = file
        .sections()
        .filter(|section| section.kind() == SectionKind::Text && is_loaded_code(section.flags()))
        .map(|section| part(section.address(), section.size(), section.data()))
        .collect();
    if file.sections().next().is_none() {
        code.extend(
            file.segments()
                .filter(|segment| {
                    matches!(segment.flags(), SegmentFlags::Elf { p_flags, .. }
                        if p_flags.contains(elf::PF_X))
                })
                .map(|segment| part(segment.address(), segment.size(), segment.data())),
        );
    }
    code.retain(|code| !code.range.is_empty());
    code.sort_by_key(|code| code.range.start);
    code
}

fn is_loaded_code(flags: SectionFlags) -> bool {
    match flags {
        SectionFlags::Elf { sh_flags, .. } => {
            sh_flags.contains(elf::SHF_ALLOC) && sh_flags.contains(elf::SHF_EXECINSTR)
        }
        _ => false,
    }
}

/// Returns the functions in `code`, sorted.
fn functions<'a>(file: &object::File<'a>, code: &[Code<'a>]) -> Vec<Function<'a>> {
    let in_code = |addr: u64| code.iter().any(|code| code.range.contains(&addr));
    let mut functions: Vec<Function<'a>> = file
        .symbols()
        .filter(|symbol| symbol.is_definition())
        .filter(|symbol| matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Unknown))
        .filter(|symbol| in_code(symbol.address()))
        .filter_map(|symbol| {
            let name = symbol.name_bytes().ok()?;
            // Mapping symbols and assembler labels are not functions.
            let is_label = name.is_empty() || name.starts_with(b"$") || name.starts_with(b".L");
            let (addr, size) = (symbol.address(), symbol.size());
            (!is_label).then_some(Function { addr, size, name })
        })
        .collect();
    // If several names share an address, the last is used: one with a size is certainly a function.
    functions.sort_by(|a, b| (a.addr, a.size, b.name).cmp(&(b.addr, b.size, a.name)));
    functions
}

/// Demangles the name of a Rust or C++ symbol, without the hash; returns any other name as it is. A
/// name of more than 1024 bytes is truncated.
pub fn readable_name(name: &[u8]) -> String {
    readable(name)
}

fn readable(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    if let Ok(demangled) = rustc_demangle::try_demangle(&name) {
        // The alternate form omits the hash.
        return bounded(Cow::Owned(format!("{demangled:#}")));
    }
    bounded(of_cpp(&name).map_or(name, Cow::Owned))
}

/// Demangles a C++ name. Returns `None` if it is not one.
fn of_cpp(name: &str) -> Option<String> {
    // Itanium C++ ABI, section 5.1.2. Overlong names are not demangled.
    if !name.starts_with("_Z") || name.len() > MAX_NAME {
        return None;
    }
    let options = cpp_demangle::ParseOptions::default().recursion_limit(MAX_NESTING);
    let symbol = cpp_demangle::Symbol::new_with_options(name, &options).ok()?;
    let options = cpp_demangle::DemangleOptions::default().recursion_limit(MAX_NESTING);
    let mut text = Bounded(String::new());
    symbol.structured_demangle(&mut text, &options).ok()?;
    Some(text.0)
}

/// Text of limited length, since a name may refer back to itself repeatedly.
struct Bounded(String);

impl std::fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if self.0.len() > MAX_NAME {
            return Err(std::fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

fn bounded(text: Cow<'_, str>) -> String {
    if text.len() <= MAX_NAME {
        return text.into_owned();
    }
    let end = (0..=MAX_NAME).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
impl<'a> Symbols<'a> {
    /// Creates symbols that can only unwind `code`.
    pub(crate) fn of_unwind(code: Range<u64>, unwind: UnwindTables<'a>) -> Symbols<'a> {
        Symbols {
            elf: &[],
            architecture: Architecture::RiscV,
            code: vec![Code { range: code, bytes: &[] }],
            functions: vec![],
            lines: None,
            unwind,
            rom: None,
            calls: OnceCell::new(),
        }
    }

    /// Adds the bytes of the code.
    pub(crate) fn with_code(mut self, bytes: &'a [u8]) -> Symbols<'a> {
        self.code.iter_mut().for_each(|code| code.bytes = bytes);
        self
    }

    /// Adds functions that each extend to the next.
    pub(crate) fn with_functions(self, functions: &'a [(u64, &'a str)]) -> Symbols<'a> {
        let function = |(addr, name): &(u64, &'a str)| Function {
            addr: *addr,
            size: 0,
            name: name.as_bytes(),
        };
        Symbols { functions: functions.iter().map(function).collect(), ..self }
    }
}
