//! What an ELF holds for an image: pieces of bytes with their addresses.
//!
//! Only headers and the names of sections are read; symbols and debug sections are not touched.

use esplice_chip::{Addr, Chip, Region, RegionKind};
use object::LittleEndian;
use object::elf;
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _, Sym as _};

use crate::descriptor::printable;
use crate::{AppDescriptor, Content, ImageError};

type Header = elf::FileHeader32<LittleEndian>;

/// Bytes that belong at an address, one or several of the ELF's sections.
#[derive(Debug, Clone)]
pub(crate) struct Piece<'d> {
    /// Name of its first section, or `segment 3` where it came from a program header.
    pub name: String,
    /// Where it belongs.
    pub addr: u32,
    /// The sections' bytes; each is filled with zeros to a multiple of 4.
    pub parts: Vec<&'d [u8]>,
    /// Length in bytes, with the fillings.
    pub len: u32,
    /// The region it lies in.
    pub region: &'d Region,
}

impl Piece<'_> {
    pub fn is_flash(&self) -> bool {
        self.region.kind == RegionKind::Flash
    }

    pub fn end(&self) -> u32 {
        self.addr.wrapping_add(self.len)
    }
}

/// A segment's bytes, where they run and where they are loaded to.
#[derive(Debug, Clone)]
pub(crate) struct Load<'d> {
    /// `segment 3`.
    pub name: String,
    /// Where it runs.
    pub addr: u32,
    /// Where it is loaded to.
    pub load_addr: u32,
    /// Its bytes.
    pub bytes: &'d [u8],
}

/// An ELF found fit for a chip.
#[derive(Debug)]
pub(crate) struct Elf<'d> {
    data: &'d [u8],
    header: &'d Header,
    chip: &'d Chip,
}

/// Section types with bytes for the image (System V ABI, "Sections": PROGBITS and the three
/// arrays of function pointers).
const LOADED_TYPES: [elf::SectionType; 4] =
    [elf::SHT_PROGBITS, elf::SHT_INIT_ARRAY, elf::SHT_FINI_ARRAY, elf::SHT_PREINIT_ARRAY];

/// The section that the app descriptor is in, by ESP-IDF's and esp-hal's linker scripts.
pub(crate) const DESCRIPTOR_SECTION: &str = ".flash.appdesc";

/// Bytes of a section's name that are kept, for messages.
const LONGEST_NAME: usize = 64;

impl<'d> Elf<'d> {
    /// Reads the header and checks class, byte order, machine and type.
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

    /// Sections with bytes and an address, in the ELF's order.
    pub fn sections(&self) -> Result<Vec<Piece<'d>>, ImageError> {
        let table = self.header.sections(LittleEndian, self.data).map_err(damaged)?;
        let mut pieces = Vec::new();
        for section in table.iter() {
            let (addr, size) = (section.sh_addr(LittleEndian), section.sh_size(LittleEndian));
            let loaded = LOADED_TYPES.contains(&section.sh_type(LittleEndian));
            if !loaded || addr == 0 || size == 0 {
                continue;
            }
            let name = table.section_name(LittleEndian, section).map_err(damaged)?;
            let name = printable(&name[..name.len().min(LONGEST_NAME)]);
            let allocated = section.sh_flags(LittleEndian).0 & elf::SHF_ALLOC.0 != 0;
            let region = match self.region_of(&name, addr, size) {
                Ok(region) => region,
                // Notes for the host's tools, such as strings of a logger, are at addresses too.
                Err(_) if !allocated => continue,
                Err(error) => return Err(error),
            };
            let bytes = self.bytes_of(section, &name)?;
            pieces.push(piece(name, addr, bytes, region));
        }
        Ok(pieces)
    }

    fn bytes_of(
        &self,
        section: &elf::SectionHeader32<LittleEndian>,
        name: &str,
    ) -> Result<&'d [u8], ImageError> {
        section.data(LittleEndian, self.data).map_err(|_| ImageError::Truncated {
            name: name.to_owned(),
            end: u64::from(section.sh_offset(LittleEndian))
                + u64::from(section.sh_size(LittleEndian)),
            len: self.data.len(),
        })
    }

    /// Sections that take memory and have bytes, in the ELF's order, by TinyGo's rule: PROGBITS
    /// alone, whatever their address.
    pub fn allocated(&self) -> Result<Vec<Piece<'d>>, ImageError> {
        let table = self.header.sections(LittleEndian, self.data).map_err(damaged)?;
        let mut pieces = Vec::new();
        for section in table.iter() {
            let (addr, size) = (section.sh_addr(LittleEndian), section.sh_size(LittleEndian));
            let allocated = section.sh_flags(LittleEndian).0 & elf::SHF_ALLOC.0 != 0;
            if section.sh_type(LittleEndian) != elf::SHT_PROGBITS || !allocated || size == 0 {
                continue;
            }
            let name = table.section_name(LittleEndian, section).map_err(damaged)?;
            let name = printable(&name[..name.len().min(LONGEST_NAME)]);
            let region = self.region_of(&name, addr, size)?;
            let bytes = self.bytes_of(section, &name)?;
            pieces.push(piece(name, addr, bytes, region));
        }
        Ok(pieces)
    }

    /// Whether there is a section of that name.
    pub fn has_section(&self, name: &str) -> bool {
        let table = self.header.sections(LittleEndian, self.data);
        table.is_ok_and(|t| t.section_by_name(LittleEndian, name.as_bytes()).is_some())
    }

    /// The address of a symbol.
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

    /// Loadable segments with bytes, at their load addresses, in the ELF's order.
    pub fn segments(&self) -> Result<Vec<Piece<'d>>, ImageError> {
        let headers = self.header.program_headers(LittleEndian, self.data).map_err(damaged)?;
        let mut pieces = Vec::new();
        for (number, segment) in headers.iter().enumerate() {
            let (addr, size) = (segment.p_paddr(LittleEndian), segment.p_filesz(LittleEndian));
            if segment.p_type(LittleEndian) != elf::PT_LOAD || addr == 0 || size == 0 {
                continue;
            }
            let name = format!("segment {number}");
            let region = self.region_of(&name, addr, size)?;
            let bytes =
                segment.data(LittleEndian, self.data).map_err(|()| ImageError::Truncated {
                    name: name.clone(),
                    end: u64::from(segment.p_offset(LittleEndian)) + u64::from(size),
                    len: self.data.len(),
                })?;
            pieces.push(piece(name, addr, bytes, region));
        }
        Ok(pieces)
    }

    /// Loadable segments with bytes, whatever their addresses, in the ELF's order.
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

    /// The app descriptor in the section of its own, if there is one.
    pub fn descriptor(&self) -> Option<AppDescriptor> {
        let table = self.header.sections(LittleEndian, self.data).ok()?;
        let (_, section) = table.section_by_name(LittleEndian, DESCRIPTOR_SECTION.as_bytes())?;
        AppDescriptor::from_bytes(section.data(LittleEndian, self.data).ok()?)
    }

    fn region_of(&self, name: &str, addr: u32, len: u32) -> Result<&'d Region, ImageError> {
        let name = || name.to_owned();
        let region = self
            .chip
            .region_at(Addr(addr))
            .filter(|region| region.kind != RegionKind::Rom)
            .ok_or_else(|| ImageError::OutsideRegions { name: name(), addr: Addr(addr), len })?;
        if region.kind == RegionKind::Psram {
            let region = region.key.clone();
            return Err(ImageError::NotLoaded { name: name(), addr: Addr(addr), region });
        }
        match len.checked_sub(region.room_at(Addr(addr))) {
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

fn piece<'d>(name: String, addr: u32, bytes: &'d [u8], region: &'d Region) -> Piece<'d> {
    // A region ends below 4 GiB, so a length inside it can be rounded up.
    let len = (bytes.len() as u32).next_multiple_of(4);
    Piece { name, addr, parts: vec![bytes], len, region }
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

/// Names of machines that ELFs given by mistake are for (System V ABI, `e_machine`).
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
