//! Reads the bytes and addresses for an image from an ELF file.
//!
//! Only headers and section names are read, not symbols and debug sections.

use esplice_chip::{Addr, Chip, Region, RegionKind};
use object::LittleEndian;
use object::elf;
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _, Sym as _};

use crate::descriptor::printable;
use crate::{AppDescriptor, Content, ImageError};

type Header = elf::FileHeader32<LittleEndian>;
type SectionHeader = elf::SectionHeader32<LittleEndian>;

/// The bytes of a section or of a program header, with their address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Section<'d> {
    name: Name<'d>,
    /// Address of the first byte.
    pub addr: u32,
    /// The bytes, as in the file.
    pub bytes: &'d [u8],
    /// The region that contains the address.
    pub region: &'d Region,
    /// True if the ELF marks the section as code.
    pub is_code: bool,
}

/// Names are kept as in the ELF: only messages need text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name<'d> {
    Section(&'d [u8]),
    Segment(usize),
}

impl Section<'_> {
    /// Returns the name, or for example `segment 3` for a program header.
    pub fn name(&self) -> String {
        shown(self.name)
    }

    pub fn is_called(&self, name: &str) -> bool {
        self.name == Name::Section(name.as_bytes())
    }

    pub fn is_flash(&self) -> bool {
        self.region.kind == RegionKind::Flash
    }

    /// Returns the length in bytes. Every region is shorter than 4 GiB.
    pub fn len(&self) -> u32 {
        self.bytes.len() as u32
    }

    /// Returns the length in bytes, rounded up to whole words.
    pub fn padded_len(&self) -> u32 {
        self.len().next_multiple_of(4)
    }

    pub fn contains(&self, addr: Addr) -> bool {
        addr.0.wrapping_sub(self.addr) < self.len()
    }

    /// Returns the first address after the section.
    pub fn end(&self) -> u32 {
        self.addr.wrapping_add(self.len())
    }
}

/// A segment's bytes, with the addresses at which they run and are loaded.
#[derive(Debug, Clone)]
pub(crate) struct Load<'d> {
    /// Name of the segment, such as `segment 3`.
    pub name: String,
    /// Address at which the segment runs.
    pub addr: u32,
    /// Address to which the segment is loaded.
    pub load_addr: u32,
    /// The bytes.
    pub bytes: &'d [u8],
}

/// An ELF file that was checked to be suitable for a chip.
#[derive(Debug)]
pub(crate) struct Elf<'d> {
    data: &'d [u8],
    header: &'d Header,
    chip: &'d Chip,
}

/// Section types with bytes for the image (System V ABI, "Sections": PROGBITS and the three arrays
/// of function pointers).
const LOADED_TYPES: [elf::SectionType; 4] =
    [elf::SHT_PROGBITS, elf::SHT_INIT_ARRAY, elf::SHT_FINI_ARRAY, elf::SHT_PREINIT_ARRAY];

/// Name of the section that holds the app descriptor in ESP-IDF's and esp-hal's linker scripts.
pub(crate) const DESCRIPTOR_SECTION: &str = ".flash.appdesc";

/// Maximum number of bytes of a section's name in messages.
const LONGEST_NAME: usize = 64;

impl<'d> Elf<'d> {
    /// Parses the header and checks class, byte order, machine and type.
    pub fn parse(data: &'d [u8], chip: &'d Chip) -> Result<Self, ImageError> {
        let content = Content::of(data);
        if content != Content::Elf {
            return Err(ImageError::NotElf { content });
        }
        match (data.get(4), data.get(5)) {
            (Some(&class), _) if class == elf::ELFCLASS64.0 => {
                return Err(ImageError::Elf64 { machine: machine_of(data) });
            }
            (_, Some(&order)) if order == elf::ELFDATA2MSB.0 => return Err(ImageError::BigEndian),
            _ => {}
        }
        let header = Header::parse(data).map_err(damaged)?;
        header.endian().map_err(damaged)?;
        let machine = header.e_machine(LittleEndian).0;
        if machine != chip.elf_machine {
            return Err(ImageError::OtherMachine {
                found: machine,
                found_name: machine_name(machine),
                expected: chip.elf_machine,
                expected_name: machine_name(chip.elf_machine),
                chip: chip.display_name.clone(),
            });
        }
        let kind = header.e_type(LittleEndian);
        if kind != elf::ET_EXEC && kind != elf::ET_DYN {
            return Err(ImageError::NotExecutable { elf_type: kind.0 });
        }
        Ok(Self { data, header, chip })
    }

    pub fn entry(&self) -> Addr {
        Addr(self.header.e_entry(LittleEndian))
    }

    /// Returns the allocated sections that have bytes and an address, in the ELF's order.
    pub fn sections(&self) -> Result<Vec<Section<'d>>, ImageError> {
        self.sections_where(|section| {
            LOADED_TYPES.contains(&section.sh_type(LittleEndian))
                && section.sh_addr(LittleEndian) != 0
        })
    }

    /// Returns the allocated sections that have bytes, in the ELF's order. Following TinyGo's rule,
    /// these are only the PROGBITS sections, at any address.
    pub fn allocated(&self) -> Result<Vec<Section<'d>>, ImageError> {
        self.sections_where(|section| section.sh_type(LittleEndian) == elf::SHT_PROGBITS)
    }

    /// Returns address and length of all allocated sections, with or without bytes.
    pub fn memory_ranges(&self) -> Result<Vec<(u32, u32)>, ImageError> {
        let table = self.header.sections(LittleEndian, self.data).map_err(damaged)?;
        let ranges = table.iter().filter_map(|header| {
            let takes_memory = header.sh_flags(LittleEndian).0 & elf::SHF_ALLOC.0 != 0;
            let (addr, len) = (header.sh_addr(LittleEndian), header.sh_size(LittleEndian));
            (takes_memory && len > 0).then_some((addr, len))
        });
        Ok(ranges.collect())
    }

    fn sections_where(
        &self,
        wanted: impl Fn(&SectionHeader) -> bool,
    ) -> Result<Vec<Section<'d>>, ImageError> {
        let table = self.header.sections(LittleEndian, self.data).map_err(damaged)?;
        let mut sections = Vec::new();
        for header in table.iter() {
            let (addr, size) = (header.sh_addr(LittleEndian), header.sh_size(LittleEndian));
            // A section without this flag is for tools on the host, such as a logger's strings,
            // whatever its address (System V ABI, "Sections", SHF_ALLOC).
            let takes_memory = header.sh_flags(LittleEndian).0 & elf::SHF_ALLOC.0 != 0;
            if size == 0 || !takes_memory || !wanted(header) {
                continue;
            }
            let name = Name::Section(table.section_name(LittleEndian, header).map_err(damaged)?);
            let region = self.region_of(name, addr, size)?;
            let is_code = header.sh_flags(LittleEndian).0 & elf::SHF_EXECINSTR.0 != 0;
            let bytes = header.data(LittleEndian, self.data);
            let bytes =
                bytes.map_err(|_| self.truncated(name, header.sh_offset(LittleEndian), size))?;
            sections.push(Section { name, addr, bytes, region, is_code });
        }
        Ok(sections)
    }

    fn truncated(&self, name: Name<'_>, offset: u32, size: u32) -> ImageError {
        let end = u64::from(offset) + u64::from(size);
        ImageError::Truncated { name: shown(name), end, len: self.data.len() }
    }

    /// Returns whether there is a section with this name.
    pub fn has_section(&self, name: &str) -> bool {
        let table = self.header.sections(LittleEndian, self.data);
        table.is_ok_and(|t| t.section_by_name(LittleEndian, name.as_bytes()).is_some())
    }

    /// Returns the address of a symbol.
    pub fn symbol(&self, name: &str) -> Result<Addr, ImageError> {
        let table = self.header.sections(LittleEndian, self.data).map_err(damaged)?;
        let symbols = table.symbols(LittleEndian, self.data, elf::SHT_SYMTAB).map_err(damaged)?;
        let defined = symbols.iter().find(|symbol| {
            symbol.st_shndx(LittleEndian) != elf::SHN_UNDEF
                && symbol.name(LittleEndian, symbols.strings()) == Ok(name.as_bytes())
        });
        let addr = defined.map(|symbol| Addr(symbol.st_value(LittleEndian)));
        addr.ok_or_else(|| ImageError::NoSymbol { name: name.to_owned() })
    }

    /// Returns the loadable segments with bytes, at their load addresses, in the ELF's order.
    pub fn segments(&self) -> Result<Vec<Section<'d>>, ImageError> {
        let headers = self.header.program_headers(LittleEndian, self.data).map_err(damaged)?;
        let mut segments = Vec::new();
        for (number, header) in headers.iter().enumerate() {
            let (addr, size) = (header.p_paddr(LittleEndian), header.p_filesz(LittleEndian));
            if header.p_type(LittleEndian) != elf::PT_LOAD || addr == 0 || size == 0 {
                continue;
            }
            let name = Name::Segment(number);
            let region = self.region_of(name, addr, size)?;
            let bytes = header
                .data(LittleEndian, self.data)
                .map_err(|()| self.truncated(name, header.p_offset(LittleEndian), size))?;
            let is_code = header.p_flags(LittleEndian).0 & elf::PF_X.0 != 0;
            segments.push(Section { name, addr, bytes, region, is_code });
        }
        Ok(segments)
    }

    /// Returns the loadable segments with bytes, at any address, in the ELF's order.
    pub fn loads(&self) -> Result<Vec<Load<'d>>, ImageError> {
        let headers = self.header.program_headers(LittleEndian, self.data).map_err(damaged)?;
        let mut loads = Vec::new();
        for (number, segment) in headers.iter().enumerate() {
            let size = segment.p_filesz(LittleEndian);
            if segment.p_type(LittleEndian) != elf::PT_LOAD || size == 0 {
                continue;
            }
            let name = format!("segment {number}");
            let bytes =
                segment.data(LittleEndian, self.data).map_err(|()| ImageError::Truncated {
                    name: name.clone(),
                    end: u64::from(segment.p_offset(LittleEndian)) + u64::from(size),
                    len: self.data.len(),
                })?;
            let (addr, load_addr) = (segment.p_vaddr(LittleEndian), segment.p_paddr(LittleEndian));
            loads.push(Load { name, addr, load_addr, bytes });
        }
        if loads.is_empty() { Err(ImageError::NoContent) } else { Ok(loads) }
    }

    /// Returns the app descriptor from its section, if there is one.
    pub fn descriptor(&self) -> Option<AppDescriptor> {
        let table = self.header.sections(LittleEndian, self.data).ok()?;
        let (_, section) = table.section_by_name(LittleEndian, DESCRIPTOR_SECTION.as_bytes())?;
        AppDescriptor::from_bytes(section.data(LittleEndian, self.data).ok()?)
    }

    fn region_of(&self, name: Name<'_>, addr: u32, len: u32) -> Result<&'d Region, ImageError> {
        let name = || shown(name);
        let region = self
            .chip
            .region_at(Addr(addr))
            .filter(|region| region.kind != RegionKind::Rom)
            .ok_or_else(|| ImageError::OutsideRegions { name: name(), addr: Addr(addr), len })?;
        if region.kind == RegionKind::Psram {
            let region = region.key.clone();
            return Err(ImageError::NotLoaded { name: name(), addr: Addr(addr), region });
        }
        match len.checked_sub(region.bytes_after(Addr(addr))) {
            None | Some(0) => Ok(region),
            Some(excess) => Err(ImageError::PastRegion {
                name: name(),
                addr: Addr(addr),
                len,
                excess,
                region: region.key.clone(),
            }),
        }
    }
}

fn shown(name: Name<'_>) -> String {
    match name {
        Name::Section(name) => printable(&name[..name.len().min(LONGEST_NAME)]),
        Name::Segment(number) => format!("segment {number}"),
    }
}

fn damaged(error: object::read::Error) -> ImageError {
    ImageError::DamagedElf { message: error.to_string() }
}

fn machine_of(data: &[u8]) -> u16 {
    match data.get(18..20) {
        Some(&[low, high]) => u16::from_le_bytes([low, high]),
        _ => 0,
    }
}

/// Returns the name of a machine that ELF files passed by mistake are often for (System V ABI,
/// `e_machine`).
pub(crate) fn machine_name(machine: u16) -> &'static str {
    match elf::Machine(machine) {
        elf::EM_386 => "x86",
        elf::EM_X86_64 => "x86-64",
        elf::EM_ARM => "Arm",
        elf::EM_AARCH64 => "AArch64",
        elf::EM_XTENSA => "Xtensa",
        elf::EM_RISCV => "RISC-V",
        elf::EM_MIPS => "MIPS",
        elf::EM_AVR => "AVR",
        _ => "unknown",
    }
}
