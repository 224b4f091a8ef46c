//! Errors of making, reading and resolving a flash plan.

use esplice_chip::FlashOffset;

use crate::{BootLayout, HeaderError, PartitionTable, TableError};

/// The reason why a plan can't be made, read or resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The chip is unknown.
    #[error(transparent)]
    Chip(#[from] esplice_chip::ChipError),
    /// The device has a different chip.
    #[error("the image is for {planned}, the device is {device}")]
    WrongChip {
        /// The plan's chip.
        planned: String,
        /// The device's chip.
        device: String,
    },
    /// The device is older than the image requires.
    #[error("{what} needs chip revision v{}.{} or later, the device is v{}.{}",
        min / 100, min % 100, device.0, device.1)]
    RevisionTooOld {
        /// `the app` or `the bootloader`.
        what: &'static str,
        /// Minimum revision, major × 100 + minor.
        min: u16,
        /// The device's revision.
        device: (u8, u8),
    },
    /// The device is newer than the image allows.
    #[error("{what} needs chip revision v{}.{} or earlier, the device is v{}.{}",
        max / 100, max % 100, device.0, device.1)]
    RevisionTooNew {
        /// `the app` or `the bootloader`.
        what: &'static str,
        /// Maximum revision, major × 100 + minor.
        max: u16,
        /// The device's revision.
        device: (u8, u8),
    },
    /// The app is larger than its partition.
    #[error(
        "app of {len} bytes is {excess} bytes too large for partition {partition} \
        ({partition_len} bytes)"
    )]
    AppTooLarge {
        /// Length of the app in bytes.
        len: usize,
        /// Number of bytes past the partition.
        excess: usize,
        /// Name of the partition.
        partition: String,
        /// Length of the partition in bytes.
        partition_len: u32,
    },
    /// A file is larger than its partition.
    #[error(
        "{name} of {len} bytes is {excess} bytes too large for partition {partition} \
        ({partition_len} bytes)"
    )]
    DataTooLarge {
        /// Name of the file.
        name: String,
        /// Length of the file in bytes.
        len: usize,
        /// Number of bytes past the partition.
        excess: usize,
        /// Name of the partition.
        partition: String,
        /// Length of the partition in bytes.
        partition_len: u32,
    },
    /// A write ends past the end of flash.
    #[error("{name} of {len} bytes at {offset} ends at 0x{:x}, {} bytes past the flash of \
        {flash_size} bytes", u64::from(offset.0) + *len as u64,
        u64::from(offset.0) + *len as u64 - u64::from(*flash_size))]
    PastFlash {
        /// Name of the write.
        name: String,
        /// Length in bytes.
        len: usize,
        /// Offset of the write.
        offset: FlashOffset,
        /// Flash size in bytes.
        flash_size: u32,
    },
    /// Two writes share an erase sector.
    #[error(
        "{first} ends at 0x{first_end:x}, in the flash sector where {second} begins at \
        {second_offset}"
    )]
    Overlap {
        /// Name of the write that begins first.
        first: String,
        /// End of that write.
        first_end: u64,
        /// Name of the other write.
        second: String,
        /// Offset of the other write.
        second_offset: FlashOffset,
    },
    /// Two writes to the same byte.
    #[error("{first} ends at 0x{first_end:x}, after the start of {second} at {second_offset}")]
    SameBytes {
        /// Name of the write that begins first.
        first: String,
        /// End of that write.
        first_end: u64,
        /// Name of the other write.
        second: String,
        /// Offset of the other write.
        second_offset: FlashOffset,
    },
    /// A write before the offset at which the merged image begins.
    #[error("{name} at {offset} is before the image's offset {start}")]
    BeforeStart {
        /// Name of the write.
        name: String,
        /// Offset of the write.
        offset: FlashOffset,
        /// Offset at which the image begins.
        start: FlashOffset,
    },
    /// A size of UF2 blocks that is not possible.
    #[error("UF2 blocks can't have {len} bytes of data, only a multiple of 4 from 4 to {most}")]
    Uf2Chunk {
        /// The requested number of data bytes.
        len: usize,
        /// Maximum number of data bytes.
        most: usize,
    },
    /// A write that does not begin at a sector.
    #[error("{name} at {offset} does not begin at a flash sector (0x{align:x} bytes)")]
    Unaligned {
        /// Name of the write.
        name: String,
        /// Offset of the write.
        offset: FlashOffset,
        /// Sector size in bytes.
        align: u32,
    },
    /// A boot layout that [`make_plan`](crate::make_plan) does not support.
    #[error("boot layout {boot} has no plan yet")]
    LayoutUnsupported {
        /// The layout.
        boot: BootLayout,
    },
    /// The app has no descriptor, so the bootloader would not start it.
    #[error("app has no descriptor at byte 0x20, the second-stage bootloader would refuse it")]
    NoDescriptor,
    /// The plan contains no app.
    #[error("the plan has no app")]
    NoApp,
    /// A bootloader must be written, but the plan has none.
    #[error("a bootloader must be written, but the plan has none")]
    NoBootloader,
    /// Neither device nor plan has a partition table.
    #[error("neither the device nor the plan has a partition table")]
    NoTable,
    /// The table has no app partition.
    #[error("the partition table has no app partition")]
    NoAppPartition,
    /// No partition has this name.
    #[error("no partition is called {name:?}")]
    UnknownPartition {
        /// The requested name.
        name: String,
        /// The closest known name.
        nearest: Option<String>,
        /// True if an app partition was requested.
        apps: bool,
        /// Names of the partitions, or only of the app partitions if one was requested.
        known: Vec<String>,
    },
    /// Several partitions have this name.
    #[error("several partitions are called {name:?}")]
    AmbiguousPartition {
        /// The requested name.
        name: String,
    },
    /// The device's own table can't be used.
    #[error("the board's partition table at {offset}: {source}")]
    DeviceTable {
        /// Offset of the table.
        offset: FlashOffset,
        /// Fault of the table.
        source: TableError,
    },
    /// The device has no partition table.
    #[error("{}", table_not_found(*.known, *.from, *.to, *.bootloader_end))]
    TableNotFound {
        /// The table's offset, if that is certain.
        known: Option<FlashOffset>,
        /// Offset of the first searched sector.
        from: FlashOffset,
        /// End of the last searched sector.
        to: FlashOffset,
        /// End of the device's bootloader, if it has one.
        bootloader_end: Option<FlashOffset>,
    },
    /// The device has more than one table.
    #[error("the board has {} partition tables, at {}", .offsets.len(), listed(.offsets))]
    SeveralTables {
        /// Offsets of the tables.
        offsets: Vec<FlashOffset>,
    },
    /// The device's table is at a different offset than the plan's.
    #[error("the board's partition table is at {found}, the plan's at {planned}")]
    TableElsewhere {
        /// Offset of the device's table.
        found: FlashOffset,
        /// Offset of the plan's table.
        planned: FlashOffset,
    },
    /// The table overlaps the bootloader.
    #[error("the partition table at {offset} would lie in the bootloader, which ends at {end}")]
    TableInBootloader {
        /// Offset of the table.
        offset: FlashOffset,
        /// End of the bootloader.
        end: FlashOffset,
    },
    /// The built-in bootloader looks for the table at a different offset.
    #[error("the built-in bootloader looks for the partition table at {expected}, not at {offset}")]
    BuiltInBootloader {
        /// Offset at which it looks.
        expected: FlashOffset,
        /// Offset of the table.
        offset: FlashOffset,
    },
    /// A file that is not a second-stage bootloader.
    #[error("{name} is not a second-stage bootloader for {chip}: not all of it loads into RAM")]
    NotABootloader {
        /// Name of the file.
        name: String,
        /// Name of the chip.
        chip: String,
    },
    /// The device would boot a different app than the one to be written.
    #[error("the board boots {boots}, not {written}")]
    NotBooted {
        /// Partition or offset of the app.
        written: String,
        /// Name of the partition that boots.
        boots: String,
    },
    /// The partition is not for apps.
    #[error("partition {name} is of type {kind}, not app")]
    NotForApps {
        /// Name of the partition.
        name: String,
        /// Type of the partition.
        kind: String,
    },
    /// Both a partition and an offset were requested.
    #[error("partition {partition} and offset {offset} exclude each other")]
    PartitionAndOffset {
        /// Name of the partition.
        partition: String,
        /// The offset.
        offset: FlashOffset,
    },
    /// A partition was requested, but the boot layout has none.
    #[error("boot layout {boot} has no partitions, but {partition:?} was requested")]
    NoPartitions {
        /// The layout.
        boot: BootLayout,
        /// Name of the partition.
        partition: String,
    },
    /// The partition table is damaged or contradicts itself.
    #[error(transparent)]
    Table(#[from] TableError),
    /// One of the images is not valid.
    #[error("{name}: {source}")]
    Image {
        /// Name of the write.
        name: String,
        /// Fault of the image.
        source: HeaderError,
    },
    /// The image is for a different chip than requested.
    #[error("{name} has chip id {found}, {chip} has {expected}")]
    ImageForOtherChip {
        /// Name of the write.
        name: String,
        /// Chip ID in the image's header.
        found: u16,
        /// The requested chip.
        chip: String,
        /// The chip ID of that chip.
        expected: u16,
    },
    /// The chip has no meaning for a code in the image's header.
    #[error("{name} has {field} code 0x{code:x} in its header, which is unknown for {chip}")]
    UnknownCode {
        /// Name of the write.
        name: String,
        /// `flash mode`, `flash frequency` or `flash size`.
        field: &'static str,
        /// The code.
        code: u8,
        /// Name of the chip.
        chip: String,
    },
    /// The text is not a plan.
    #[error("plan: {message}")]
    Json {
        /// Description of the fault, with line and column for JSON errors.
        message: String,
    },
    /// The plan has an unknown schema.
    #[error("plan has schema {found}, only {known} is supported")]
    Schema {
        /// The plan's schema.
        found: u64,
        /// The supported schema.
        known: u64,
    },
    /// A path outside the plan's directory.
    #[error("plan names the file {path:?}, which is not a relative path inside its directory")]
    Path {
        /// The path.
        path: String,
    },
    /// A file of the plan can't be read.
    #[error("plan's file {path}: {message}")]
    File {
        /// The path, as in the plan.
        path: String,
        /// The read error.
        message: String,
    },
    /// A file is shorter than the plan requires.
    #[error("plan's file {path} has {len} bytes, {name} needs {needed}")]
    FileTooShort {
        /// The path, as in the plan.
        path: String,
        /// Name of the write.
        name: String,
        /// Length of the file in bytes.
        len: usize,
        /// Required length in bytes.
        needed: u64,
    },
    /// A file has changed since the plan was written.
    #[error("plan's file {path}: SHA-256 of {name} is {found}, the plan says {expected}")]
    Hash {
        /// The path, as in the plan.
        path: String,
        /// Name of the write.
        name: String,
        /// SHA-256 of the bytes, in hex.
        found: String,
        /// SHA-256 in the plan, in hex.
        expected: String,
    },
}

impl PlanError {
    /// Returns advice on how to fix the error.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            PlanError::Chip(error) => return error.hint(),
            PlanError::Table(error) => return error.hint(),
            PlanError::WrongChip { device, .. } => format!("build it with --target {device}"),
            PlanError::AppTooLarge { .. } => {
                "build with optimisation, or use a table with a larger app partition: \
                --with-bootloader writes the plan's table, --partition-table sets a custom one"
                    .into()
            }
            PlanError::NoDescriptor => {
                "with esp-hal, add esp_bootloader_esp_idf::esp_app_desc!(); \
                for an image that the ROM loads, use --boot rom"
                    .into()
            }
            PlanError::NoBootloader => "build the plan with a bootloader".into(),
            PlanError::NoTable => {
                "flash bootloader and table too (--with-bootloader), or pass --offset".into()
            }
            PlanError::UnknownPartition { nearest: Some(name), .. } => {
                format!("did you mean {name:?}?")
            }
            PlanError::UnknownPartition { apps, known, .. } => {
                let what = if *apps { "app partitions" } else { "partitions" };
                format!("{what}: {}", known.join(", "))
            }
            PlanError::AmbiguousPartition { .. } => "pass its offset instead".into(),
            PlanError::DeviceTable { .. } => {
                "`esplice partition show` lists it; --with-bootloader writes bootloader and table \
                again"
                    .into()
            }
            PlanError::TableNotFound { .. } => {
                "pass its offset with --partition-table-offset, or write bootloader and table \
                with --with-bootloader"
                    .into()
            }
            PlanError::SeveralTables { .. } => {
                "pass the offset that the bootloader uses with --partition-table-offset".into()
            }
            PlanError::TableElsewhere { found, .. } => {
                format!(
                    "pass --partition-table-offset {found}, or --with-bootloader to replace \
                    bootloader and table"
                )
            }
            PlanError::TableInBootloader { end, .. } => {
                let free = end.0.next_multiple_of(PartitionTable::SECTOR_LEN);
                format!(
                    "the first free sector is at 0x{free:x}: set the table's offset with \
                    --partition-table-offset"
                )
            }
            PlanError::BuiltInBootloader { .. } => {
                "pass a bootloader that was built for this offset with --bootloader".into()
            }
            PlanError::NotABootloader { .. } => {
                "ESP-IDF builds it as build/bootloader/bootloader.bin".into()
            }
            PlanError::NotBooted { boots, .. } => {
                format!("pass --partition {boots}, or erase the otadata partition")
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

fn listed(offsets: &[FlashOffset]) -> String {
    offsets.iter().map(FlashOffset::to_string).collect::<Vec<_>>().join(" and ")
}

fn table_not_found(
    known: Option<FlashOffset>,
    from: FlashOffset,
    to: FlashOffset,
    bootloader_end: Option<FlashOffset>,
) -> String {
    let place = match known {
        Some(offset) => format!("at {offset}"),
        None => format!("from {from} to {to}"),
    };
    match bootloader_end {
        Some(end) => {
            format!("no partition table {place}, and the board has a bootloader that ends at {end}")
        }
        None => format!("the board has no partition table {place}"),
    }
}
