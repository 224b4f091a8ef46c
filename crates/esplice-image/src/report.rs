//! The result of an inspection, for display and for programs.

use std::fmt;

use esplice_chip::{Addr, FlashOffset};

use crate::{
    AppDescriptor, Content, HeaderError, ImageHeader, ImageSegment, PartitionTable, TableError,
};

/// The content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageReport {
    /// The detected format.
    pub content: Content,
    /// Length of the file in bytes.
    pub len: usize,
    /// The images and tables in it, in order.
    pub parts: Vec<Part>,
    /// Defects of the file as a whole.
    pub defects: Vec<Defect>,
}

impl ImageReport {
    /// Returns all defects, each with the part that has it.
    pub fn all_defects(&self) -> impl Iterator<Item = (Option<&Part>, &Defect)> {
        let of_parts =
            self.parts.iter().flat_map(|part| part.defects.iter().map(move |d| (Some(part), d)));
        self.defects.iter().map(|defect| (None, defect)).chain(of_parts)
    }

    /// Returns whether there are no defects, apart from remarks ([`Defect::is_remark`]).
    pub fn is_sound(&self) -> bool {
        self.all_defects().all(|(_, defect)| defect.is_remark())
    }
}

/// An image or table in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// Name for display: `app`, `bootloader`, `partition table`, `app in factory`, …
    pub name: String,
    /// Offset in the file.
    pub offset: FlashOffset,
    /// The readable content.
    pub body: PartBody,
    /// Defects of the part.
    pub defects: Vec<Defect>,
}

/// The readable content of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartBody {
    /// An image.
    Image(Box<ImageInfo>),
    /// A partition table.
    Table(PartitionTable),
    /// Nothing could be read.
    Unreadable,
}

/// The kind of an image, judged by what it loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageKind {
    /// Has an app descriptor: the second-stage bootloader starts it.
    App,
    /// Lies completely in RAM: a second-stage bootloader, or a program for RAM.
    Ram,
    /// Maps flash but has no app descriptor: only the ROM may load it.
    Rom,
    /// For an unknown chip.
    Unknown,
}

impl fmt::Display for ImageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ImageKind::App => "app image",
            ImageKind::Ram => "bootloader or RAM image",
            ImageKind::Rom => "image without app descriptor",
            ImageKind::Unknown => "image",
        })
    }
}

/// Information from an image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageInfo {
    /// Kind of the image.
    pub kind: ImageKind,
    /// The image header.
    pub header: ImageHeader,
    /// Name of the chip, such as `esp32c3`, if its ID is known.
    pub chip: Option<String>,
    /// Name of the flash frequency, if the code is known.
    pub flash_freq: Option<String>,
    /// Flash size in bytes, if the code is known.
    pub flash_size: Option<u32>,
    /// Segments that are complete.
    pub segments: Vec<ImageSegment>,
    /// Length of the image in bytes; `None` if it is truncated.
    pub end: Option<usize>,
    /// The stored checksum.
    pub checksum: Option<u8>,
    /// The stored SHA-256.
    pub sha256: Option<[u8; 32]>,
    /// The app descriptor.
    pub descriptor: Option<AppDescriptor>,
}

/// A defect of an image, or a remark.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Defect {
    /// The file is not an image.
    #[error("not an image, but {content}")]
    NotAnImage {
        /// The detected format.
        content: Content,
    },
    /// Runs of bytes that do not fit together in one flash.
    #[error("{message}")]
    NotOneFlash {
        /// The reason.
        message: String,
    },
    /// Header, segments, checksum or hash are incomplete.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// No chip with this ID is known.
    #[error("chip id {id} is unknown")]
    UnknownChip {
        /// The chip ID.
        id: u16,
    },
    /// A part of a merged image is for a different chip than the rest.
    #[error("chip id is {id}, the rest of the file has {expected}")]
    OtherChip {
        /// The part's chip ID.
        id: u16,
        /// The chip ID of the rest.
        expected: u16,
    },
    /// An image that loads nothing.
    #[error("image has no segments")]
    NoSegments,
    /// More segments than the boot code accepts.
    #[error("image has {count} segments, the bootloader accepts {max}")]
    TooManySegments {
        /// Number of segments.
        count: usize,
        /// Maximum number of segments.
        max: usize,
    },
    /// A header field with a code that is unknown for the chip.
    #[error("{field} code 0x{code:x} is unknown")]
    UnknownCode {
        /// `flash mode`, `flash frequency` or `flash size`.
        field: &'static str,
        /// The code.
        code: u8,
    },
    /// The minimum revision is above the maximum.
    #[error("minimum chip revision {min} is above the maximum {max}")]
    Revisions {
        /// Minimum revision, major × 100 + minor.
        min: u16,
        /// Maximum revision, major × 100 + minor.
        max: u16,
    },
    /// A segment outside the chip's memory.
    #[error("segment {number} at {addr} of {len} bytes is outside every memory region")]
    SegmentOutside {
        /// Number of the segment, from 0.
        number: usize,
        /// Address of the segment.
        addr: Addr,
        /// Length of the segment in bytes.
        len: u32,
    },
    /// A flash segment that the MMU can't map at its address.
    #[error(
        "segment {number} for {addr} is at 0x{offset:x}, which differs from it modulo the \
        MMU page of 0x{page_size:x} bytes"
    )]
    SegmentMisplaced {
        /// Number of the segment, from 0.
        number: usize,
        /// Address of the segment.
        addr: Addr,
        /// Offset of the segment in the image.
        offset: usize,
        /// MMU page size in bytes.
        page_size: u32,
    },
    /// Two segments are loaded to the same bytes of RAM.
    #[error(
        "segment {first} at {first_addr} and segment {second} at {second_addr} share {shared} bytes \
        of {backing}"
    )]
    SegmentsOverlap {
        /// Number of the first segment, from 0.
        first: usize,
        /// Address of the first segment.
        first_addr: Addr,
        /// Number of the second segment.
        second: usize,
        /// Address of the second segment.
        second_addr: Addr,
        /// Number of shared bytes.
        shared: u32,
        /// The memory that holds the bytes, such as `sram`.
        backing: String,
    },
    /// Two flash segments need the same MMU page for different pages of flash.
    #[error(
        "segment {first} at {first_addr} and segment {second} at {second_addr} need the same MMU \
        page of 0x{page_size:x} bytes"
    )]
    SamePage {
        /// Number of the first segment, from 0.
        first: usize,
        /// Address of the first segment.
        first_addr: Addr,
        /// Number of the second segment.
        second: usize,
        /// Address of the second segment.
        second_addr: Addr,
        /// MMU page size in bytes.
        page_size: u32,
    },
    /// The entry point is not in loaded or mapped code.
    #[error("entry point {entry} is in no executable segment")]
    EntryOutside {
        /// The entry point.
        entry: Addr,
    },
    /// The checksum does not match the segments.
    #[error("checksum is 0x{stored:02x}, expected 0x{computed:02x}")]
    Checksum {
        /// The stored checksum.
        stored: u8,
        /// The computed checksum.
        computed: u8,
    },
    /// The SHA-256 does not match the image.
    #[error("SHA-256 is {stored}, expected {computed}")]
    Sha256 {
        /// The stored hash, in hex.
        stored: String,
        /// The computed hash, in hex.
        computed: String,
    },
    /// The header says that no SHA-256 is appended. A remark.
    #[error("no SHA-256 is appended")]
    NoSha256,
    /// The image has no app descriptor. A remark: the ROM may load it, but no second-stage
    /// bootloader will.
    #[error("no app descriptor at byte 0x20, a second-stage bootloader would refuse it")]
    NoDescriptor,
    /// A damaged partition table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The app does not fit its partition.
    #[error("app of {len} bytes is {excess} bytes too large for its partition")]
    AppTooLarge {
        /// Length of the app in bytes.
        len: u64,
        /// Number of bytes past the partition.
        excess: u64,
    },
}

impl Defect {
    /// Returns whether this is only a remark, and the image may be as intended.
    pub fn is_remark(&self) -> bool {
        matches!(self, Defect::NoSha256 | Defect::NoDescriptor)
    }
}

impl fmt::Display for ImageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts.as_slice() {
            [] => writeln!(f, "{}, {} bytes", self.content, self.len)?,
            [only] => write!(f, "{only}")?,
            parts => {
                writeln!(f, "merged image, {} bytes", self.len)?;
                for part in parts {
                    write!(f, "\n{part}")?;
                }
            }
        }
        for defect in &self.defects {
            writeln!(f, "defect: {defect}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} at {}", self.name, self.offset)?;
        match &self.body {
            PartBody::Image(info) => write!(f, "{info}")?,
            PartBody::Table(table) => write!(f, "{table}")?,
            PartBody::Unreadable => {}
        }
        for defect in &self.defects {
            let word = if defect.is_remark() { "remark" } else { "defect" };
            writeln!(f, "{word}: {defect}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ImageInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = &self.header;
        let unknown = || "unknown".to_owned();
        let chip = self.chip.clone().unwrap_or_else(unknown);
        writeln!(f, "kind        {}", self.kind)?;
        writeln!(
            f,
            "chip        {chip} (id {}), revision v{}.{} to {}",
            header.chip_id,
            header.min_rev / 100,
            header.min_rev % 100,
            match header.max_rev {
                u16::MAX => "any".into(),
                max => format!("v{}.{}", max / 100, max % 100),
            },
        )?;
        let mode = crate::FlashMode::from_code(header.flash_mode);
        writeln!(
            f,
            "flash       {}, {}, {}",
            mode.map_or_else(unknown, |mode| mode.to_string()),
            self.flash_freq.clone().unwrap_or_else(unknown),
            self.flash_size.map_or_else(unknown, |size| format!("{size} bytes")),
        )?;
        writeln!(f, "entry       {}", header.entry)?;
        for (number, segment) in self.segments.iter().enumerate() {
            let region = segment.region.as_deref();
            let place = region.unwrap_or(if segment.addr.0 == 0 { "padding" } else { "?" });
            writeln!(
                f,
                "segment {number:<3} {} {:>8} bytes at 0x{:06x}  {place}",
                segment.addr, segment.len, segment.offset,
            )?;
        }
        if let Some(checksum) = self.checksum {
            writeln!(f, "checksum    0x{checksum:02x}")?;
        }
        if let Some(hash) = &self.sha256 {
            writeln!(f, "sha256      {}", hex::encode(hash))?;
        }
        if let Some(end) = self.end {
            writeln!(f, "length      {end} bytes")?;
        }
        let Some(app) = &self.descriptor else { return Ok(()) };
        writeln!(f, "project     {}", app.project_name)?;
        writeln!(f, "version     {}", app.version)?;
        writeln!(f, "built       {} {}", app.date, app.time)?;
        writeln!(f, "esp-idf     {}", app.idf_version)?;
        writeln!(f, "elf sha256  {}", hex::encode(app.elf_sha256))
    }
}
