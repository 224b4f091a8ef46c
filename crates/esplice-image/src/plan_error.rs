//! Why a flash plan can't be made, read or carried out.

use esplice_chip::FlashOffset;

use crate::{BootLayout, HeaderError, TableError};

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
    /// A file is longer than the partition it is for.
    #[error(
        "{name} of {len} bytes is {excess} bytes too large for partition {partition} \
        ({partition_len} bytes)"
    )]
    DataTooLarge {
        /// The file.
        name: String,
        /// Its length.
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
    /// Two writes for one byte.
    #[error("{first} ends at 0x{first_end:x}, behind the start of {second} at {second_offset}")]
    SameBytes {
        /// The one that begins first.
        first: String,
        /// Its end.
        first_end: u64,
        /// The other.
        second: String,
        /// Its place.
        second_offset: FlashOffset,
    },
    /// A write before the place that the merged image is for.
    #[error("{name} at {offset} is before the image's own offset {start}")]
    BeforeStart {
        /// The write.
        name: String,
        /// Its place.
        offset: FlashOffset,
        /// Where the image begins.
        start: FlashOffset,
    },
    /// Blocks of a UF2 file that can't be filled so.
    #[error("UF2 blocks of {len} bytes of data: a multiple of 4 from 4 to {most} is possible")]
    Uf2Chunk {
        /// Bytes asked for.
        len: usize,
        /// Most bytes.
        most: usize,
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
