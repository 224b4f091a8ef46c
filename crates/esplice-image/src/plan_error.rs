//! Why a flash plan can't be made, read or carried out.

use esplice_chip::FlashOffset;

use crate::{BootLayout, HeaderError, PartitionTable, TableError};

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
        /// Whether an app partition was asked for.
        apps: bool,
        /// Names of the partitions there are; of the apps where one was asked for.
        known: Vec<String>,
    },
    /// Several partitions of that name.
    #[error("several partitions are called {name:?}")]
    AmbiguousPartition {
        /// The name asked for.
        name: String,
    },
    /// The device's own table cannot be used.
    #[error("the board's partition table at {offset}: {source}")]
    DeviceTable {
        /// Its offset.
        offset: FlashOffset,
        /// What is wrong with it.
        source: TableError,
    },
    /// No partition table on the device.
    #[error("{}", table_not_found(*.known, *.from, *.to, *.bootloader_end))]
    TableNotFound {
        /// Where it should be, if that is certain.
        known: Option<FlashOffset>,
        /// First sector that was looked at.
        from: FlashOffset,
        /// End of the last sector that was looked at.
        to: FlashOffset,
        /// Where the device's bootloader ends, if it has one.
        bootloader_end: Option<FlashOffset>,
    },
    /// More than one table on the device.
    #[error("the board has {} partition tables, at {}", .offsets.len(), listed(.offsets))]
    SeveralTables {
        /// Their offsets.
        offsets: Vec<FlashOffset>,
    },
    /// The device's table is not where the plan has it.
    #[error("the board's partition table is at {found}, the plan's at {planned}")]
    TableElsewhere {
        /// The device's.
        found: FlashOffset,
        /// The plan's.
        planned: FlashOffset,
    },
    /// A table inside the bootloader.
    #[error("the partition table at {offset} would lie in the bootloader, which ends at {end}")]
    TableInBootloader {
        /// Offset of the table.
        offset: FlashOffset,
        /// End of the bootloader.
        end: FlashOffset,
    },
    /// The built-in bootloader does not look where the table is.
    #[error("the built-in bootloader looks for the partition table at {expected}, not at {offset}")]
    BuiltInBootloader {
        /// Where it looks.
        expected: FlashOffset,
        /// Where the table is to be.
        offset: FlashOffset,
    },
    /// A file that is no second-stage bootloader.
    #[error("{name} is not a second-stage bootloader for {chip}: not all of it loads into RAM")]
    NotABootloader {
        /// The file.
        name: String,
        /// The chip.
        chip: String,
    },
    /// The device would boot another app than the one to be written.
    #[error("the board boots {boots}, not {written}")]
    NotBooted {
        /// Where the app would go.
        written: String,
        /// The partition that boots.
        boots: String,
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
                "build with optimisation, or use a table with a larger app partition: \
                --with-bootloader writes the plan's own, --partition-table names another"
                    .into()
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
            PlanError::UnknownPartition { apps, known, .. } => {
                let what = if *apps { "app partitions" } else { "partitions" };
                format!("{what}: {}", known.join(", "))
            }
            PlanError::AmbiguousPartition { .. } => "give its offset instead".into(),
            PlanError::DeviceTable { .. } => {
                "`esplice partition show` lists it; --with-bootloader writes bootloader and table \
                again"
                    .into()
            }
            PlanError::TableNotFound { .. } => {
                "give its offset with --partition-table-offset, or write bootloader and table \
                with --with-bootloader"
                    .into()
            }
            PlanError::SeveralTables { .. } => {
                "say which one the bootloader uses with --partition-table-offset".into()
            }
            PlanError::TableElsewhere { found, .. } => {
                format!(
                    "give --partition-table-offset {found}, or --with-bootloader to replace \
                    bootloader and table"
                )
            }
            PlanError::TableInBootloader { end, .. } => {
                let free = end.0.next_multiple_of(PartitionTable::SECTOR_LEN);
                format!(
                    "the first free sector is at 0x{free:x}: --partition-table-offset says \
                    where the table is"
                )
            }
            PlanError::BuiltInBootloader { .. } => {
                "give a bootloader that was built for this offset, with --bootloader".into()
            }
            PlanError::NotABootloader { .. } => {
                "ESP-IDF builds it as build/bootloader/bootloader.bin".into()
            }
            PlanError::NotBooted { boots, .. } => {
                format!("give --partition {boots}, or erase the otadata partition")
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
