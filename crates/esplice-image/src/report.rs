//! What an inspection found, for people and programs.

use std::fmt;

use esplice_chip::{Addr, FlashOffset};

use crate::partition::hex;
use crate::{
    AppDescriptor, Content, HeaderError, ImageHeader, ImageSegment, PartitionTable, TableError,
};

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageReport {
    /// What the first bytes say.
    pub content: Content,
    /// Length of the file in bytes.
    pub len: usize,
    /// The images and tables in it, in order.
    pub parts: Vec<Part>,
    /// What is wrong with the file as a whole.
    pub defects: Vec<Defect>,
}

impl ImageReport {
    /// All defects, each with the part it is in.
    pub fn all_defects(&self) -> impl Iterator<Item = (Option<&Part>, &Defect)> {
        let of_parts =
            self.parts.iter().flat_map(|part| part.defects.iter().map(move |d| (Some(part), d)));
        self.defects.iter().map(|defect| (None, defect)).chain(of_parts)
    }

    /// Whether nothing is wrong; remarks ([`Defect::is_remark`]) don't count.
    pub fn is_sound(&self) -> bool {
        self.all_defects().all(|(_, defect)| defect.is_remark())
    }
}

/// One image or table in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Name for people: `app`, `bootloader`, `partition table`, `app in factory`, …
    pub name: String,
    /// Its place in the file.
    pub offset: FlashOffset,
    /// What could be read of it.
    pub body: PartBody,
    /// What is wrong with it.
    pub defects: Vec<Defect>,
}

/// What could be read of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartBody {
    /// An image.
    Image(Box<ImageInfo>),
    /// A partition table.
    Table(PartitionTable),
    /// Nothing.
    Unreadable,
}

/// Kinds of images, told by what they load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageKind {
    /// With an app descriptor: the second-stage bootloader starts it.
    App,
    /// All in RAM: a second-stage bootloader, or a program for RAM.
    Ram,
    /// Maps flash but has no app descriptor: the ROM loads it, or nothing does.
    Rom,
    /// For a chip that is not known here.
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

/// What an image says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// Its kind.
    pub kind: ImageKind,
    /// Its header.
    pub header: ImageHeader,
    /// Name of the chip, if its id is known: `esp32c3`.
    pub chip: Option<String>,
    /// Name of the flash frequency, if the chip knows the code.
    pub flash_freq: Option<String>,
    /// Size of the flash in bytes, if the chip knows the code.
    pub flash_size: Option<u32>,
    /// Segments that are whole.
    pub segments: Vec<ImageSegment>,
    /// Where it ends, counted from its start; `None` for a truncated one.
    pub end: Option<usize>,
    /// Checksum as stored.
    pub checksum: Option<u8>,
    /// SHA-256 as stored.
    pub sha256: Option<[u8; 32]>,
    /// The app descriptor.
    pub descriptor: Option<AppDescriptor>,
}

/// What is wrong with an image, or worth a remark.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// The file is something else.
    #[error("not an image, but {content}")]
    NotAnImage {
        /// What it looks like.
        content: Content,
    },
    /// Stretches of a file that no flash can hold together.
    #[error("{message}")]
    NotOneFlash {
        /// Why.
        message: String,
    },
    /// Header, segments, checksum or hash are not all there.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// No chip of that id is known.
    #[error("chip id {id} is unknown")]
    UnknownChip {
        /// The id.
        id: u16,
    },
    /// A part of a merged image is for another chip than the rest.
    #[error("chip id is {id}, the rest of the file has {expected}")]
    OtherChip {
        /// Its id.
        id: u16,
        /// The rest's.
        expected: u16,
    },
    /// An image that loads nothing.
    #[error("image has no segments")]
    NoSegments,
    /// More segments than the boot code takes.
    #[error("image has {count} segments, the bootloader takes {max}")]
    TooManySegments {
        /// Its segments.
        count: usize,
        /// Most segments.
        max: usize,
    },
    /// A header field that the chip does not know.
    #[error("{field} code 0x{code:x} is unknown")]
    UnknownCode {
        /// `flash mode`, `flash frequency`, `flash size`.
        field: &'static str,
        /// The code.
        code: u8,
    },
    /// A minimum above the maximum.
    #[error("minimum chip revision {min} is above the maximum {max}")]
    Revisions {
        /// Minimum, major × 100 + minor.
        min: u16,
        /// Maximum, major × 100 + minor.
        max: u16,
    },
    /// A segment where the chip has no memory for it.
    #[error("segment {number} at {addr} of {len} bytes is outside every memory region")]
    SegmentOutside {
        /// Its number, from 0.
        number: usize,
        /// Its address.
        addr: Addr,
        /// Its length in bytes.
        len: u32,
    },
    /// A flash segment that the MMU can't show at its address.
    #[error(
        "segment {number} for {addr} stands at 0x{offset:x}, which differs from it modulo the \
        MMU page of 0x{page_size:x} bytes"
    )]
    SegmentMisplaced {
        /// Its number, from 0.
        number: usize,
        /// Its address.
        addr: Addr,
        /// Its place in the image.
        offset: usize,
        /// Length of an MMU page in bytes.
        page_size: u32,
    },
    /// Two segments that are loaded to the same bytes of RAM.
    #[error(
        "segment {first} at {first_addr} and segment {second} at {second_addr} share {shared} bytes \
        of {backing}"
    )]
    SegmentsOverlap {
        /// Number of the earlier one, from 0.
        first: usize,
        /// Its address.
        first_addr: Addr,
        /// Number of the later one.
        second: usize,
        /// Its address.
        second_addr: Addr,
        /// Number of bytes in both.
        shared: u32,
        /// The memory that holds the bytes, such as `sram`.
        backing: String,
    },
    /// Two flash segments that need one MMU page to show two pages of flash.
    #[error(
        "segment {first} at {first_addr} and segment {second} at {second_addr} need the same MMU \
        page of 0x{page_size:x} bytes"
    )]
    SamePage {
        /// Number of the earlier one, from 0.
        first: usize,
        /// Its address.
        first_addr: Addr,
        /// Number of the later one.
        second: usize,
        /// Its address.
        second_addr: Addr,
        /// Length of an MMU page in bytes.
        page_size: u32,
    },
    /// The program would start where no code is loaded or mapped.
    #[error("entry point {entry} is in no executable segment")]
    EntryOutside {
        /// The entry point.
        entry: Addr,
    },
    /// The checksum does not fit the segments.
    #[error("checksum is 0x{stored:02x}, expected 0x{computed:02x}")]
    Checksum {
        /// As stored.
        stored: u8,
        /// As computed.
        computed: u8,
    },
    /// The SHA-256 does not fit the image.
    #[error("SHA-256 is {stored}, expected {computed}")]
    Sha256 {
        /// As stored, in hex.
        stored: String,
        /// As computed, in hex.
        computed: String,
    },
    /// The header says that no SHA-256 follows. A remark.
    #[error("no SHA-256 is appended")]
    NoSha256,
    /// No app descriptor. A remark: the ROM may load it, a second-stage bootloader will not.
    #[error("no app descriptor at byte 0x20, a second-stage bootloader would refuse it")]
    NoDescriptor,
    /// A damaged partition table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The app does not fit its partition.
    #[error("app of {len} bytes is {excess} bytes too large for its partition")]
    AppTooLarge {
        /// Length of the app.
        len: u64,
        /// Bytes too many.
        excess: u64,
    },
}

impl Defect {
    /// Whether it is only a remark, and the image may be as it was meant.
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
            writeln!(f, "sha256      {}", hex(hash))?;
        }
        if let Some(end) = self.end {
            writeln!(f, "length      {end} bytes")?;
        }
        let Some(app) = &self.descriptor else { return Ok(()) };
        writeln!(f, "project     {}", app.project_name)?;
        writeln!(f, "version     {}", app.version)?;
        writeln!(f, "built       {} {}", app.date, app.time)?;
        writeln!(f, "esp-idf     {}", app.idf_version)?;
        writeln!(f, "elf sha256  {}", hex(&app.elf_sha256))
    }
}
