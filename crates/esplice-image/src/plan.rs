//! The flash plan: which bytes go where, and for which chip.

use std::fmt;
use std::str::FromStr;

use esplice_chip::{Chip, FlashOffset, parse_size};

use crate::{FlashMode, HeaderError, TableError};

/// How the chip comes from reset to the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootLayout {
    /// Second-stage bootloader, partition table, app in a partition.
    Idf,
    /// An image with header at the boot offset, which the ROM loads and which maps flash itself.
    Rom,
    /// Headerless, executed in place (magic 0xaedb041d).
    Direct,
}

impl BootLayout {
    /// Name in options and plans: `idf`.
    pub fn name(self) -> &'static str {
        match self {
            BootLayout::Idf => "idf",
            BootLayout::Rom => "rom",
            BootLayout::Direct => "direct",
        }
    }
}

impl fmt::Display for BootLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for BootLayout {
    type Err = String;

    /// # Errors
    /// A sentence that names the layouts there are.
    fn from_str(text: &str) -> Result<Self, String> {
        [BootLayout::Idf, BootLayout::Rom, BootLayout::Direct]
            .into_iter()
            .find(|layout| layout.name() == text)
            .ok_or_else(|| format!("boot layout {text:?} is none of idf, rom, direct"))
    }
}

/// What a write is, which decides whether it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteKind {
    /// The second-stage bootloader.
    Bootloader,
    /// The partition table.
    PartitionTable,
    /// The app.
    App,
    /// Anything else.
    Data,
}

impl WriteKind {
    /// Name in plans: `partition-table`.
    pub fn name(self) -> &'static str {
        match self {
            WriteKind::Bootloader => "bootloader",
            WriteKind::PartitionTable => "partition-table",
            WriteKind::App => "app",
            WriteKind::Data => "data",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [WriteKind::Bootloader, WriteKind::PartitionTable, WriteKind::App, WriteKind::Data]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

impl fmt::Display for WriteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Bytes and the place they are meant for, before the device is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedWrite {
    /// Name for people: `bootloader`, `partition table`, `app`, …
    pub name: String,
    /// What it is.
    pub kind: WriteKind,
    /// Where it goes by the plan's own table.
    pub offset: FlashOffset,
    /// The bytes.
    pub data: Vec<u8>,
}

impl PlannedWrite {
    /// First byte behind it.
    pub fn end(&self) -> u64 {
        u64::from(self.offset.0) + self.data.len() as u64
    }
}

/// Flash parameters of the images in a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlashParams {
    /// Mode.
    pub mode: FlashMode,
    /// Frequency, a key of the chip's `flash-frequencies`: `80m`.
    pub freq: String,
    /// Size in bytes.
    pub size: u32,
}

impl FlashParams {
    /// What images of `chip` have by default.
    pub fn for_chip(chip: &Chip) -> Self {
        let image = &chip.image;
        Self {
            // The chip's checks hold mode and size to known names.
            mode: image.default_flash_mode.parse().unwrap_or(FlashMode::Dio),
            freq: image.default_flash_freq.clone(),
            size: parse_size(&image.default_flash_size).unwrap_or(4 << 20),
        }
    }
}

/// All that is decided about a firmware without a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlashPlan {
    /// Name of the chip: `esp32c3`.
    pub chip: String,
    /// Minimum chip revision, major × 100 + minor.
    pub min_rev: u16,
    /// Maximum chip revision, major × 100 + minor; 65535 for any.
    pub max_rev: u16,
    /// Boot layout.
    pub boot: BootLayout,
    /// Flash parameters.
    pub flash: FlashParams,
    /// The writes, in order of offset.
    pub writes: Vec<PlannedWrite>,
    /// SHA-256 of the ELF that the app was made from, where there was one.
    pub elf_sha256: Option<[u8; 32]>,
}

impl FlashPlan {
    /// The first write of `kind`.
    pub fn write(&self, kind: WriteKind) -> Option<&PlannedWrite> {
        self.writes.iter().find(|write| write.kind == kind)
    }
}

/// Why a plan can't be made, read or carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The chip has no data here.
    #[error(transparent)]
    Chip(#[from] esplice_chip::ChipError),
    /// The device is another chip.
    #[error("the image is for {planned}, the device is {device}")]
    WrongChip {
        /// The plan's chip.
        planned: String,
        /// The device's.
        device: String,
    },
    /// The device is older than the image wants.
    #[error("{what} needs chip revision v{}.{} or later, the device is v{}.{}",
        min / 100, min % 100, device.0, device.1)]
    RevisionTooOld {
        /// `the app`, `the bootloader`.
        what: &'static str,
        /// Minimum, major × 100 + minor.
        min: u16,
        /// The device's.
        device: (u8, u8),
    },
    /// The device is newer than the image allows.
    #[error("{what} needs chip revision v{}.{} or earlier, the device is v{}.{}",
        max / 100, max % 100, device.0, device.1)]
    RevisionTooNew {
        /// `the app`, `the bootloader`.
        what: &'static str,
        /// Maximum, major × 100 + minor.
        max: u16,
        /// The device's.
        device: (u8, u8),
    },
    /// The app is longer than its partition.
    #[error(
        "app of {len} bytes is {excess} bytes too large for partition {partition} \
        ({partition_len} bytes)"
    )]
    AppTooLarge {
        /// Length of the app.
        len: usize,
        /// Bytes too many.
        excess: usize,
        /// The partition.
        partition: String,
        /// Its length in bytes.
        partition_len: u32,
    },
    /// A write ends behind the flash.
    #[error("{name} of {len} bytes at {offset} ends at 0x{:x}, {} bytes past the flash of \
        {flash_size} bytes", u64::from(offset.0) + *len as u64,
        u64::from(offset.0) + *len as u64 - u64::from(*flash_size))]
    PastFlash {
        /// The write.
        name: String,
        /// Its length in bytes.
        len: usize,
        /// Its place.
        offset: FlashOffset,
        /// Size of the flash in bytes.
        flash_size: u32,
    },
    /// Two writes share an erase sector.
    #[error(
        "{first} ends at 0x{first_end:x}, in the flash sector where {second} begins at \
        {second_offset}"
    )]
    Overlap {
        /// The one that begins first.
        first: String,
        /// Its end.
        first_end: u64,
        /// The other.
        second: String,
        /// Its place.
        second_offset: FlashOffset,
    },
    /// A write does not begin at a sector.
    #[error("{name} at {offset} does not begin at a flash sector (0x{align:x} bytes)")]
    Unaligned {
        /// The write.
        name: String,
        /// Its place.
        offset: FlashOffset,
        /// Length of a sector.
        align: u32,
    },
    /// A layout that no plan can be made for here.
    #[error("boot layout {boot} has no plan yet")]
    LayoutUnsupported {
        /// The layout.
        boot: BootLayout,
    },
    /// The app has no descriptor, and the bootloader would not start it.
    #[error("app has no descriptor at byte 0x20, the second-stage bootloader would refuse it")]
    NoDescriptor,
    /// The plan holds no app.
    #[error("the plan holds no app")]
    NoApp,
    /// A bootloader is needed or asked for, and the plan has none.
    #[error("a bootloader is to be written and the plan brings none")]
    NoBootloader,
    /// Neither device nor plan has a partition table.
    #[error("the device has no partition table and the plan brings none")]
    NoTable,
    /// The table has no app partition.
    #[error("the partition table has no app partition")]
    NoAppPartition,
    /// No partition of that name.
    #[error("no partition is called {name:?}")]
    UnknownPartition {
        /// The name asked for.
        name: String,
        /// The nearest there is.
        nearest: Option<String>,
        /// Names of all app partitions.
        apps: Vec<String>,
    },
    /// The partition is for no app.
    #[error("partition {name} is of type {kind}, not app")]
    NotForApps {
        /// The partition.
        name: String,
        /// Its type.
        kind: String,
    },
    /// A partition and an offset were both asked for.
    #[error("partition {partition} and offset {offset} exclude each other")]
    PartitionAndOffset {
        /// The partition.
        partition: String,
        /// The offset.
        offset: FlashOffset,
    },
    /// A partition was asked for where the layout has none.
    #[error("boot layout {boot} has no partitions, {partition:?} was asked for")]
    NoPartitions {
        /// The layout.
        boot: BootLayout,
        /// The partition.
        partition: String,
    },
    /// The partition table is damaged or contradicts itself.
    #[error(transparent)]
    Table(#[from] TableError),
    /// One of the images is none.
    #[error("{name}: {source}")]
    Image {
        /// The write.
        name: String,
        /// What is wrong.
        source: HeaderError,
    },
    /// The image is for another chip than asked.
    #[error("{name} has chip id {found}, {chip} has {expected}")]
    ImageForOtherChip {
        /// The write.
        name: String,
        /// Chip id in its header.
        found: u16,
        /// The chip asked for.
        chip: String,
        /// That chip's id.
        expected: u16,
    },
    /// A code in the image's header is in no table of the chip.
    #[error("{name} has {field} code 0x{code:x} in its header, which {chip} does not know")]
    UnknownCode {
        /// The write.
        name: String,
        /// `flash mode`, `flash frequency`, `flash size`.
        field: &'static str,
        /// The code.
        code: u8,
        /// The chip.
        chip: String,
    },
    /// The plan's text is no plan.
    #[error("plan: {message}")]
    Json {
        /// What is wrong, with line and column where it is the JSON.
        message: String,
    },
    /// The plan is of a schema unknown here.
    #[error("plan has schema {found}, {known} is known")]
    Schema {
        /// The plan's.
        found: u64,
        /// This crate's.
        known: u64,
    },
    /// A path that leaves the plan's directory.
    #[error("plan names the file {path:?}, which is not a relative path inside its directory")]
    Path {
        /// The path.
        path: String,
    },
    /// A file that the plan names can't be read.
    #[error("plan's file {path}: {message}")]
    File {
        /// The path, as in the plan.
        path: String,
        /// Why not.
        message: String,
    },
    /// A file has fewer bytes than the plan says.
    #[error("plan's file {path} has {len} bytes, {name} needs {needed}")]
    FileTooShort {
        /// The path, as in the plan.
        path: String,
        /// The write.
        name: String,
        /// Bytes it has.
        len: usize,
        /// Bytes it must have.
        needed: u64,
    },
    /// A file changed since the plan was written.
    #[error("plan's file {path}: SHA-256 of {name} is {found}, the plan says {expected}")]
    Hash {
        /// The path, as in the plan.
        path: String,
        /// The write.
        name: String,
        /// SHA-256 of the bytes, in hex.
        found: String,
        /// SHA-256 as the plan says, in hex.
        expected: String,
    },
}

impl PlanError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            PlanError::Chip(error) => return error.hint(),
            PlanError::Table(error) => return error.hint(),
            PlanError::WrongChip { device, .. } => format!("build it with --target {device}"),
            PlanError::AppTooLarge { .. } => {
                "build with optimisation, or use a table with a larger app partition".into()
            }
            PlanError::NoDescriptor => {
                "with esp-hal, add esp_bootloader_esp_idf::esp_app_desc!(); \
                an image that the ROM loads goes with --boot rom"
                    .into()
            }
            PlanError::NoBootloader => "build the plan with a bootloader".into(),
            PlanError::NoTable => {
                "flash bootloader and table too (--with-bootloader), or give --offset".into()
            }
            PlanError::UnknownPartition { nearest: Some(name), .. } => {
                format!("did you mean {name:?}?")
            }
            PlanError::UnknownPartition { apps, .. } => {
                format!("app partitions: {}", apps.join(", "))
            }
            PlanError::NoAppPartition => "flash a table that has one (--with-bootloader)".into(),
            PlanError::Hash { .. } | PlanError::FileTooShort { .. } | PlanError::File { .. } => {
                "build again: the plan and its files belong together".into()
            }
            PlanError::Schema { .. } => "the plan was written by another version".into(),
            _ => return None,
        };
        Some(hint)
    }
}
