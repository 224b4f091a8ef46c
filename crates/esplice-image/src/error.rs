//! Why no image can be made of an ELF.

use std::fmt;

use esplice_chip::Addr;

use crate::{Content, SecurePad};

/// A section or segment and its place in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedRange {
    /// Its name, such as `.data`.
    pub name: String,
    /// Its address.
    pub addr: Addr,
    /// Its length in bytes.
    pub len: u32,
}

impl NamedRange {
    /// Whether both have an address in common.
    fn meets(&self, other: &Self) -> bool {
        other.addr.0.wrapping_sub(self.addr.0) < self.len
            || self.addr.0.wrapping_sub(other.addr.0) < other.len
    }
}

impl fmt::Display for NamedRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} of {} bytes", self.name, self.addr, self.len)
    }
}

/// Why no image can be made of an ELF.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The bytes are something else.
    #[error("not an ELF, but {content}")]
    NotElf {
        /// What they look like.
        content: Content,
    },
    /// A 64-bit ELF.
    #[error("64-bit ELF (machine {machine}, {}), the chip takes 32-bit ones",
        crate::elf::machine_name(*machine))]
    Elf64 {
        /// Its `e_machine`.
        machine: u16,
    },
    /// A big-endian ELF.
    #[error("big-endian ELF, the chip takes little-endian ones")]
    BigEndian,
    /// An ELF for another machine.
    #[error("ELF is for machine {found} ({found_name}), {chip} is {expected} ({expected_name})")]
    OtherMachine {
        /// Its `e_machine`.
        found: u16,
        /// Name of that.
        found_name: &'static str,
        /// The chip's.
        expected: u16,
        /// Name of that.
        expected_name: &'static str,
        /// The chip's name.
        chip: String,
    },
    /// An object file, a core dump.
    #[error("ELF is of type {elf_type}, an executable has 2 (or 3)")]
    NotExecutable {
        /// Its `e_type`.
        elf_type: u16,
    },
    /// Headers of the ELF that contradict it.
    #[error("damaged ELF: {message}")]
    DamagedElf {
        /// What the ELF reader says.
        message: String,
    },
    /// A section's bytes are not all there.
    #[error("ELF is truncated: {name} ends at byte {end} of {len}")]
    Truncated {
        /// The section.
        name: String,
        /// Where its bytes end in the file.
        end: u64,
        /// Length of the file in bytes.
        len: usize,
    },
    /// Nothing to load.
    #[error("ELF has no section with bytes at an address")]
    NoContent,
    /// A section where the chip has no memory for it.
    #[error("{name} at {addr} of {len} bytes is outside every memory region")]
    OutsideRegions {
        /// The section.
        name: String,
        /// Its address.
        addr: Addr,
        /// Its length in bytes.
        len: u32,
    },
    /// A section that leaves its region.
    #[error("{name} at {addr} of {len} bytes ends {excess} bytes past region {region}")]
    PastRegion {
        /// The section.
        name: String,
        /// Its address.
        addr: Addr,
        /// Its length in bytes.
        len: u32,
        /// Bytes too many.
        excess: u32,
        /// The region.
        region: String,
    },
    /// A section with bytes in memory that no boot code fills.
    #[error("{name} at {addr} has bytes for region {region}, which is not filled at boot")]
    NotLoaded {
        /// The section.
        name: String,
        /// Its address.
        addr: Addr,
        /// The region.
        region: String,
    },
    /// Two sections for the same bytes, at the same address or through two buses.
    #[error("{first} and {second} share {shared} bytes of {backing}")]
    Overlap {
        /// The one with the lower address.
        first: NamedRange,
        /// The other one.
        second: NamedRange,
        /// Number of bytes in both.
        shared: u32,
        /// The memory that holds the bytes, such as `sram`.
        backing: String,
    },
    /// The program would start where no code is loaded or mapped.
    #[error("entry point {entry} {}", entry_fault(holder.as_deref(), executable))]
    EntryOutside {
        /// The entry point.
        entry: Addr,
        /// The section that holds it, if there is one.
        holder: Option<String>,
        /// Some of the sections that can be executed.
        executable: Vec<NamedRange>,
    },
    /// More segments than the boot code takes.
    #[error("image would have {count} segments, the bootloader takes {max}")]
    TooManySegments {
        /// Segments needed.
        count: usize,
        /// Most segments.
        max: usize,
    },
    /// Two flash segments need one MMU page at two places.
    #[error(
        "{first} at {first_addr} and {second} at {second_addr} need the same MMU page of \
        0x{page_size:x} bytes"
    )]
    SamePage {
        /// The lower one.
        first: String,
        /// Its address.
        first_addr: Addr,
        /// The higher one.
        second: String,
        /// Its address.
        second_addr: Addr,
        /// Length of a page in bytes.
        page_size: u32,
    },
    /// A flash segment at an address that the MMU can't bring about.
    #[error("{name} at {addr} in flash is not aligned to 4 bytes")]
    UnalignedFlash {
        /// The section.
        name: String,
        /// Its address.
        addr: Addr,
    },
    /// A flash section that the image can't have where its address says.
    #[error(
        "{name} at {addr} is linked for another place in the image, modulo the MMU page of \
        0x{page_size:x} bytes"
    )]
    NotWhereLinked {
        /// The section.
        name: String,
        /// Its address.
        addr: Addr,
        /// Length of a page in bytes.
        page_size: u32,
    },
    /// A symbol that is needed and is not there.
    #[error("ELF has no symbol {name}")]
    NoSymbol {
        /// The symbol.
        name: String,
    },
    /// A variable of TinyGo's start code is not in what the ROM loads.
    #[error("symbol {name} at {addr} lies in no section that is loaded to RAM")]
    NotInRam {
        /// The symbol.
        name: String,
        /// Its address.
        addr: Addr,
    },
    /// TinyGo's start code maps code, and data, of flash as one run of pages each.
    #[error(
        "start code maps one section of {what} in flash, the ELF has {}{}",
        found.len(),
        listed(found)
    )]
    NotOnePiece {
        /// `code` or `data`.
        what: &'static str,
        /// The sections.
        found: Vec<String>,
    },
    /// The app descriptor would not be found.
    #[error(
        "app descriptor at {addr} is not at byte 0x20 of the image, {first} at {first_addr} is"
    )]
    DescriptorMisplaced {
        /// Its address.
        addr: Addr,
        /// What is there.
        first: String,
        /// Address of that.
        first_addr: Addr,
    },
    /// The app descriptor's segment is too short for it.
    #[error("app descriptor's segment has {len} bytes, fewer than the descriptor's 256")]
    DescriptorShort {
        /// Length of the segment in bytes.
        len: u32,
    },
    /// The field for the ELF's SHA-256 is filled already.
    #[error("app descriptor's field for the ELF's SHA-256 (byte 0xb0 of the image) is not zero")]
    ElfHashNotEmpty,
    /// A chip whose ROM is not known to run programs in place.
    #[error("{chip} is not known to boot a program in place, without header")]
    NoDirectBoot {
        /// The chip's name.
        chip: String,
    },
    /// The ROM would not take the image for one that runs in place.
    #[error("image begins with {found:02x?}, one that runs in place with 0x{magic:08x} twice")]
    NoDirectMagic {
        /// The word that it must begin with.
        magic: u32,
        /// What it begins with.
        found: Vec<u8>,
    },
    /// A segment in flash elsewhere than where the chip shows it.
    #[error("{name} at {addr} stands at 0x{place:x} in flash, its window shows 0x{shown:x} there")]
    NotInPlace {
        /// The segment.
        name: String,
        /// Its address.
        addr: Addr,
        /// The offset in flash that its address shows.
        shown: u32,
        /// The offset in flash that it is loaded to.
        place: u32,
    },
    /// Two segments for the same bytes of flash.
    #[error(
        "{name} begins at 0x{place:x} in flash, before the one in front of it ends at 0x{end:x}"
    )]
    LoadsOverlap {
        /// The second segment.
        name: String,
        /// Where it begins.
        place: u32,
        /// Where the first ends.
        end: u32,
    },
    /// Filling for a secure boot that the chip does not have.
    #[error("{chip} has no Secure Boot {}", match pad { SecurePad::V1 => "v1", SecurePad::V2 => "v2" })]
    SecurePad {
        /// As the options say.
        pad: SecurePad,
        /// The chip's name.
        chip: String,
    },
    /// An MMU page size that the chip does not have.
    #[error(
        "{chip} has no MMU pages of {size} bytes{}",
        if *by_descriptor { ", which the app descriptor asks for" } else { "" }
    )]
    MmuPageSize {
        /// As the options or the app descriptor say, in bytes.
        size: u32,
        /// Whether the app descriptor says it, and not the options.
        by_descriptor: bool,
        /// The chip's name.
        chip: String,
        /// Sizes it has, in bytes.
        known: Vec<u32>,
    },
    /// A flash frequency that the chip has no code for.
    #[error("flash frequency {freq:?} is unknown for {chip}")]
    FlashFreq {
        /// As given.
        freq: String,
        /// The chip's name.
        chip: String,
        /// Frequencies it has.
        known: Vec<String>,
    },
    /// A flash size that the chip has no code for.
    #[error("flash size of {size} bytes has no code for {chip}")]
    FlashSize {
        /// As given, in bytes.
        size: u32,
        /// The chip's name.
        chip: String,
        /// Sizes it has.
        known: Vec<String>,
    },
}

/// Says where an entry point is, and where code is.
fn entry_fault(holder: Option<&str>, executable: &[NamedRange]) -> String {
    let place = match holder {
        Some(name) => format!("is in {name}, which is not executable"),
        None => "is outside every loaded section".to_owned(),
    };
    if executable.is_empty() {
        return place;
    }
    let names: Vec<String> = executable.iter().map(ToString::to_string).collect();
    format!("{place}; code is in {}", names.join(", "))
}

/// `: a, b`, or nothing.
fn listed(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) }
}

impl ImageError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            ImageError::NotElf { content: Content::Image } => {
                "this is an image already: it can be flashed as it is"
            }
            ImageError::NotElf { content: Content::Xz | Content::Gzip | Content::Zip } => {
                "unpack it first"
            }
            ImageError::NotElf { .. } => "give the linked program, an ELF",
            ImageError::Elf64 { .. } | ImageError::OtherMachine { .. } => {
                "this program is not for this chip: check --target, or build it for the chip"
            }
            ImageError::NotExecutable { .. } => "give the linked program, not an object file",
            ImageError::DamagedElf { .. } | ImageError::Truncated { .. } => "link the program anew",
            ImageError::OutsideRegions { .. } | ImageError::PastRegion { .. } => {
                "check the linker script, and that it is for this chip"
            }
            ImageError::NotLoaded { .. } => {
                "let the linker script keep them in flash, and the program copy them"
            }
            ImageError::TooManySegments { .. } => {
                "place sections without gaps in the linker script, so that they become one segment"
            }
            ImageError::Overlap { first, second, .. } if first.meets(second) => {
                "let the linker script begin the second after the end of the first"
            }
            ImageError::Overlap { .. } => {
                "both addresses reach the same memory: let the linker script reserve in each region \
                 what the other one takes"
            }
            ImageError::EntryOutside { .. } => {
                "name the program's first function with ENTRY() in the linker script, and keep it \
                 with KEEP()"
            }
            ImageError::SamePage { .. } => {
                "let the linker script begin the second at the next page"
            }
            ImageError::NotWhereLinked { .. } => {
                "use TinyGo's own linker script, without sections of your own before .text"
            }
            ImageError::NotInRam { .. } | ImageError::NotOnePiece { .. } => {
                "use TinyGo's own linker script, without sections of your own"
            }
            ImageError::NoSymbol { .. } => "was its symbol table stripped? link it with symbols",
            ImageError::UnalignedFlash { .. } => "align the section in the linker script",
            ImageError::DescriptorMisplaced { .. } => {
                "the linker script must place .flash.appdesc first in its memory, 0x20 into a page"
            }
            ImageError::NoDirectBoot { .. } => "give --boot idf or --boot rom",
            ImageError::NoDirectMagic { .. } => {
                "the linker script must put the word there twice, before the first instruction"
            }
            ImageError::NotInPlace { .. } | ImageError::LoadsOverlap { .. } => {
                "the linker script's load addresses (AT) must count up with the addresses"
            }
            ImageError::SecurePad { pad: SecurePad::V1, .. } => "its secure boot is v2",
            ImageError::MmuPageSize { known, .. } => {
                let known: Vec<String> = known.iter().map(u32::to_string).collect();
                return Some(format!("known are {}", known.join(", ")));
            }
            ImageError::FlashFreq { known, .. } | ImageError::FlashSize { known, .. } => {
                return Some(format!("known are {}", known.join(", ")));
            }
            _ => return None,
        };
        Some(hint.into())
    }
}
