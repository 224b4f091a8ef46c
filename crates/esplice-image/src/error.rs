//! Errors of making an image from an ELF file.

use std::fmt;

use esplice_chip::Addr;

use crate::{Content, SecurePad};

/// A section or segment and its range in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamedRange {
    /// Name, such as `.data`.
    pub name: String,
    /// First address.
    pub addr: Addr,
    /// Length in bytes.
    pub len: u32,
}

impl NamedRange {
    /// Returns whether the ranges have an address in common.
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

/// The reason why no image can be made from an ELF file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The bytes are not an ELF file.
    #[error("not an ELF, but {content}")]
    NotElf {
        /// The detected format.
        content: Content,
    },
    /// A 64-bit ELF.
    #[error("64-bit ELF (machine {machine}, {}), the chip needs a 32-bit one",
        crate::elf::machine_name(*machine))]
    Elf64 {
        /// The ELF's `e_machine`.
        machine: u16,
    },
    /// A big-endian ELF.
    #[error("big-endian ELF, the chip needs a little-endian one")]
    BigEndian,
    /// An ELF for another machine.
    #[error("ELF is for machine {found} ({found_name}), {chip} is {expected} ({expected_name})")]
    OtherMachine {
        /// The ELF's `e_machine`.
        found: u16,
        /// Name of the ELF's machine.
        found_name: &'static str,
        /// The chip's `e_machine`.
        expected: u16,
        /// Name of the chip's machine.
        expected_name: &'static str,
        /// The chip's name.
        chip: String,
    },
    /// An object file or a core dump.
    #[error("ELF is of type {elf_type}, an executable has 2 (or 3)")]
    NotExecutable {
        /// The ELF's `e_type`.
        elf_type: u16,
    },
    /// Headers that contradict the rest of the ELF.
    #[error("damaged ELF: {message}")]
    DamagedElf {
        /// The ELF parser's message.
        message: String,
    },
    /// A section's bytes are incomplete.
    #[error("ELF is truncated: {name} ends at byte {end} of {len}")]
    Truncated {
        /// Name of the section.
        name: String,
        /// Offset in the file at which its bytes end.
        end: u64,
        /// Length of the file in bytes.
        len: usize,
    },
    /// The ELF has nothing to load.
    #[error("ELF has no section with bytes at an address")]
    NoContent,
    /// A section outside the chip's memory.
    #[error("{name} at {addr} of {len} bytes is outside every memory region")]
    OutsideRegions {
        /// Name of the section.
        name: String,
        /// Address of the section.
        addr: Addr,
        /// Length of the section in bytes.
        len: u32,
    },
    /// A section that ends past its region.
    #[error("{name} at {addr} of {len} bytes ends {excess} bytes past region {region}")]
    PastRegion {
        /// Name of the section.
        name: String,
        /// Address of the section.
        addr: Addr,
        /// Length of the section in bytes.
        len: u32,
        /// Number of bytes past the region.
        excess: u32,
        /// Key of the region.
        region: String,
    },
    /// A section with bytes for memory that no boot code fills.
    #[error("{name} at {addr} has bytes for region {region}, which is not filled at boot")]
    NotLoaded {
        /// Name of the section.
        name: String,
        /// Address of the section.
        addr: Addr,
        /// Key of the region.
        region: String,
    },
    /// Two sections occupy the same bytes, at the same address or through two buses.
    #[error("{first} and {second} share {shared} bytes of {backing}")]
    Overlap {
        /// The section with the lower address.
        first: NamedRange,
        /// The other section.
        second: NamedRange,
        /// Number of shared bytes.
        shared: u32,
        /// The memory that holds the bytes, such as `sram`.
        backing: String,
    },
    /// The entry point is not in loaded or mapped code.
    #[error("entry point {entry} {}", entry_fault(holder.as_deref(), executable))]
    EntryOutside {
        /// The entry point.
        entry: Addr,
        /// Name of the section that contains it, if there is one.
        holder: Option<String>,
        /// Some of the executable sections.
        executable: Vec<NamedRange>,
    },
    /// More segments than the boot code accepts.
    #[error("image would have {count} segments, the bootloader accepts {max}")]
    TooManySegments {
        /// Number of segments needed.
        count: usize,
        /// Maximum number of segments.
        max: usize,
    },
    /// Two flash segments need different content in the same MMU page.
    #[error(
        "{first} at {first_addr} and {second} at {second_addr} need the same MMU page of \
        0x{page_size:x} bytes"
    )]
    SamePage {
        /// Name of the segment with the lower address.
        first: String,
        /// Address of that segment.
        first_addr: Addr,
        /// Name of the other segment.
        second: String,
        /// Address of that segment.
        second_addr: Addr,
        /// MMU page size in bytes.
        page_size: u32,
    },
    /// A flash segment at an address that the MMU can't map.
    #[error("{name} at {addr} in flash is not aligned to 4 bytes")]
    UnalignedFlash {
        /// Name of the section.
        name: String,
        /// Address of the section.
        addr: Addr,
    },
    /// A flash section that can't be at the image offset that its address requires.
    #[error(
        "{name} at {addr} is linked for another place in the image, modulo the MMU page of \
        0x{page_size:x} bytes"
    )]
    NotWhereLinked {
        /// Name of the section.
        name: String,
        /// Address of the section.
        addr: Addr,
        /// MMU page size in bytes.
        page_size: u32,
    },
    /// A required symbol is missing.
    #[error("ELF has no symbol {name}")]
    NoSymbol {
        /// Name of the symbol.
        name: String,
    },
    /// A variable of TinyGo's start code is not in a section that the ROM loads.
    #[error("symbol {name} at {addr} lies in no section that is loaded to RAM")]
    NotInRam {
        /// Name of the symbol.
        name: String,
        /// Address of the symbol.
        addr: Addr,
    },
    /// TinyGo's start code maps a single range of pages in flash for code, and one for data.
    #[error(
        "start code maps one section of {what} in flash, the ELF has {}{}",
        found.len(),
        listed(found)
    )]
    NotOnePiece {
        /// `code` or `data`.
        what: &'static str,
        /// Names of the sections.
        found: Vec<String>,
    },
    /// The app descriptor is not where tools look for it.
    #[error(
        "app descriptor at {addr} is not at byte 0x20 of the image, {first} at {first_addr} is"
    )]
    DescriptorMisplaced {
        /// Address of the descriptor.
        addr: Addr,
        /// Name of the section that is there.
        first: String,
        /// Address of that section.
        first_addr: Addr,
    },
    /// The app descriptor's segment is too short.
    #[error("app descriptor's segment has {len} bytes, fewer than the descriptor's 256")]
    DescriptorShort {
        /// Length of the segment in bytes.
        len: u32,
    },
    /// The field for the ELF's SHA-256 is already filled.
    #[error("app descriptor's field for the ELF's SHA-256 (byte 0xb0 of the image) is not zero")]
    ElfHashNotEmpty,
    /// The chip's ROM is not known to run programs in place.
    #[error("{chip} is not known to boot a program in place, without an image header")]
    NoDirectBoot {
        /// The chip's name.
        chip: String,
    },
    /// The ROM would not recognise the image as one that runs in place.
    #[error("image begins with {found:02x?}, but must begin with 0x{magic:08x} twice")]
    NoDirectMagic {
        /// The word that the image must begin with, twice.
        magic: u32,
        /// The first bytes of the image.
        found: Vec<u8>,
    },
    /// A flash segment that is not at the offset that its address maps.
    #[error("{name} at {addr} is at 0x{place:x} in flash, but its address maps 0x{shown:x}")]
    NotInPlace {
        /// Name of the segment.
        name: String,
        /// Address of the segment.
        addr: Addr,
        /// The flash offset that the address maps.
        shown: u32,
        /// The flash offset that the segment is loaded to.
        place: u32,
    },
    /// Two segments occupy the same bytes of flash.
    #[error("{name} begins at 0x{place:x} in flash, before the previous one ends at 0x{end:x}")]
    LoadsOverlap {
        /// Name of the second segment.
        name: String,
        /// Flash offset at which it begins.
        place: u32,
        /// Flash offset at which the first segment ends.
        end: u32,
    },
    /// Padding for a Secure Boot version that the chip does not have.
    #[error("{chip} has no Secure Boot {}", match pad { SecurePad::V1 => "v1", SecurePad::V2 => "v2" })]
    SecurePad {
        /// The requested padding.
        pad: SecurePad,
        /// The chip's name.
        chip: String,
    },
    /// An MMU page size that the chip does not support.
    #[error(
        "{chip} has no MMU pages of {size} bytes{}",
        if *by_descriptor { ", which the app descriptor requests" } else { "" }
    )]
    MmuPageSize {
        /// The size from the options or the app descriptor, in bytes.
        size: u32,
        /// True if the size is from the app descriptor, not from the options.
        by_descriptor: bool,
        /// The chip's name.
        chip: String,
        /// The sizes that the chip supports, in bytes.
        known: Vec<u32>,
    },
    /// A flash frequency that the chip has no code for.
    #[error("flash frequency {freq:?} is unknown for {chip}")]
    FlashFreq {
        /// The requested frequency.
        freq: String,
        /// The chip's name.
        chip: String,
        /// The frequencies that have a code.
        known: Vec<String>,
    },
    /// A flash size that the chip has no code for.
    #[error("flash size of {size} bytes has no code for {chip}")]
    FlashSize {
        /// The requested size in bytes.
        size: u32,
        /// The chip's name.
        chip: String,
        /// The sizes that have a code.
        known: Vec<String>,
    },
}

/// Describes where an entry point is, and where the code is.
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

/// Returns `: a, b`, or an empty string.
fn listed(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) }
}

impl ImageError {
    /// Returns advice on how to fix the error.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            ImageError::NotElf { content: Content::Image } => {
                "this is an image already: it can be flashed as it is"
            }
            ImageError::NotElf { content: Content::Xz | Content::Gzip | Content::Zip } => {
                "unpack it first"
            }
            ImageError::NotElf { .. } => "pass the linked program, an ELF file",
            ImageError::Elf64 { .. } | ImageError::OtherMachine { .. } => {
                "this program is not for this chip: check --target, or build it for the chip"
            }
            ImageError::NotExecutable { .. } => "pass the linked program, not an object file",
            ImageError::DamagedElf { .. } | ImageError::Truncated { .. } => "relink the program",
            ImageError::OutsideRegions { .. } | ImageError::PastRegion { .. } => {
                "check the linker script, and that it is for this chip"
            }
            ImageError::NotLoaded { .. } => {
                "keep the bytes in flash with the linker script, and copy them in the program"
            }
            ImageError::TooManySegments { .. } => {
                "place sections without gaps in the linker script, so that they become one segment"
            }
            ImageError::Overlap { first, second, .. } if first.meets(second) => {
                "let the linker script begin the second after the end of the first"
            }
            ImageError::Overlap { .. } => {
                "both addresses reach the same memory: let the linker script reserve in each \
                 region what the other one uses"
            }
            ImageError::EntryOutside { .. } => {
                "name the program's first function with ENTRY() in the linker script, and keep it \
                 with KEEP()"
            }
            ImageError::SamePage { .. } => {
                "let the linker script begin the second at the next page"
            }
            ImageError::NotWhereLinked { .. } => {
                "use TinyGo's linker script, without additional sections before .text"
            }
            ImageError::NotInRam { .. } | ImageError::NotOnePiece { .. } => {
                "use TinyGo's linker script, without additional sections"
            }
            ImageError::NoSymbol { .. } => "was its symbol table stripped? link it with symbols",
            ImageError::UnalignedFlash { .. } => "align the section in the linker script",
            ImageError::DescriptorMisplaced { .. } => {
                "the linker script must place .flash.appdesc first in its memory, 0x20 into a page"
            }
            ImageError::NoDirectBoot { .. } => "use --boot idf or --boot rom",
            ImageError::NoDirectMagic { .. } => {
                "the linker script must put the word there twice, before the first instruction"
            }
            ImageError::NotInPlace { .. } | ImageError::LoadsOverlap { .. } => {
                "the linker script's load addresses (AT) must increase with the addresses"
            }
            ImageError::SecurePad { pad: SecurePad::V1, .. } => "it has Secure Boot v2",
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
