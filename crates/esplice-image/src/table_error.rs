//! Errors in partition tables.

use esplice_chip::FlashOffset;

use crate::partition::NAME_LEN;

/// The reason why bytes are not a partition table, or a table is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// A row begins with none of the known magic numbers.
    #[error("row {row} of the partition table begins with {found:02x?}, not with aa 50")]
    BadMagic {
        /// Number of the row, from 0.
        row: usize,
        /// First two bytes of the row.
        found: [u8; 2],
    },
    /// The bytes end within a row, or before an end marker.
    #[error("partition table is truncated at {len} bytes, in row {row}")]
    Truncated {
        /// Number of bytes.
        len: usize,
        /// Number of the incomplete row, from 0.
        row: usize,
    },
    /// All rows are used, and none is an end marker.
    #[error("the partition table has no end marker in its {rows} rows")]
    NoEnd {
        /// Number of rows.
        rows: usize,
    },
    /// A row other than the end marker follows the MD5 row.
    #[error("row {row} of the partition table follows its MD5 row")]
    AfterMd5 {
        /// Number of the row, from 0.
        row: usize,
    },
    /// The table has no rows, as in erased flash.
    #[error("partition table is empty")]
    Empty,
    /// The MD5 row does not match the rows before it.
    #[error("MD5 of the partition table is {computed}, its MD5 row says {stored}")]
    Md5Mismatch {
        /// The stored MD5, in hex.
        stored: String,
        /// The computed MD5, in hex.
        computed: String,
    },
    /// More partitions than a table can hold.
    #[error("{count} partitions are more than the {most} a table holds")]
    TooMany {
        /// Number of partitions.
        count: usize,
        /// Maximum number of partitions.
        most: usize,
    },
    /// A name that does not fit the row's field, or that is not text.
    #[error("partition name {name:?} is not text of 1 to {NAME_LEN} bytes")]
    BadName {
        /// The name.
        name: String,
    },
    /// Two partitions have the same name.
    #[error("two partitions are called {name:?}")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// An offset or length that is not aligned.
    #[error("partition {name} at {offset} of 0x{len:x} bytes is not aligned to 0x{align:x}")]
    Unaligned {
        /// Name of the partition.
        name: String,
        /// Offset of the partition.
        offset: FlashOffset,
        /// Length of the partition in bytes.
        len: u32,
        /// The required alignment.
        align: u32,
    },
    /// Two partitions of a kind of which the bootloader uses only one.
    #[error("partitions {first} and {second} are both {kind}")]
    SameKind {
        /// Type and subtype, such as `app factory`.
        kind: String,
        /// Name of the first one.
        first: String,
        /// Name of the second one.
        second: String,
    },
    /// An app partition that is too large for the bootloader.
    #[error("app partition {name} of 0x{len:x} bytes is larger than 0x{most:x}")]
    AppPartitionTooLarge {
        /// Name of the partition.
        name: String,
        /// Length of the partition in bytes.
        len: u32,
        /// Maximum length in bytes.
        most: u32,
    },
    /// An otadata partition that is not two sectors long.
    #[error("partition {name} for otadata has 0x{len:x} bytes instead of 0x{needed:x}")]
    OtadataLen {
        /// Name of the partition.
        name: String,
        /// Length of the partition in bytes.
        len: u32,
        /// Required length in bytes.
        needed: u32,
    },
    /// A partition that must be writable is marked read-only.
    #[error("partition {name} of subtype {subtype} cannot be read-only")]
    NotReadOnly {
        /// Name of the partition.
        name: String,
        /// Subtype of the partition.
        subtype: String,
    },
    /// An NVS partition that is too small to be writable.
    #[error("partition {name} for NVS has 0x{len:x} bytes: below 0x{needed:x} it must be readonly")]
    NvsTooSmall {
        /// Name of the partition.
        name: String,
        /// Length of the partition in bytes.
        len: u32,
        /// Minimum length of a writable one in bytes.
        needed: u32,
    },
    /// A name that can't be written as CSV.
    #[error("partition name {name:?} cannot be written as CSV")]
    NotCsv {
        /// The name.
        name: String,
    },
    /// Flags that have no name in CSV.
    #[error("flags 0x{flags:x} of partition {name} have no name in CSV")]
    UnknownFlags {
        /// Name of the partition.
        name: String,
        /// Flags of the partition.
        flags: u32,
    },
    /// Two partitions share bytes.
    #[error("partitions {first} and {second} overlap at {offset}")]
    Overlap {
        /// Name of the partition that begins first.
        first: String,
        /// Name of the other partition.
        second: String,
        /// Offset at which the other one begins.
        offset: FlashOffset,
    },
    /// A partition ends past the end of flash.
    #[error("partition {name} ends at 0x{end:x}, the flash at 0x{flash_size:x}")]
    PastFlash {
        /// Name of the partition.
        name: String,
        /// End of the partition.
        end: u64,
        /// Flash size in bytes.
        flash_size: u32,
    },
    /// A partition begins before the table ends.
    #[error(
        "partition {name} at {offset} begins before the partition table's end at 0x{table_end:x}"
    )]
    BeforeTable {
        /// Name of the partition.
        name: String,
        /// Offset of the partition.
        offset: FlashOffset,
        /// End of the table's sector.
        table_end: u64,
    },
}

impl TableError {
    /// Returns whether ESP-IDF's generator refuses the table, but the bootloader still boots from
    /// it.
    pub fn is_remark(&self) -> bool {
        match self {
            TableError::DuplicateName { .. }
            | TableError::NotReadOnly { .. }
            | TableError::NvsTooSmall { .. } => true,
            // The bootloader needs space for two records and ignores the rest.
            TableError::OtadataLen { len, needed, .. } => len >= needed,
            _ => false,
        }
    }

    /// Returns advice on how to fix the error.
    pub fn hint(&self) -> Option<String> {
        match self {
            TableError::Empty => Some("the flash has no table at this offset".into()),
            TableError::Md5Mismatch { .. } | TableError::BadMagic { .. } => {
                Some("the table is damaged, or this is not a partition table".into())
            }
            TableError::PastFlash { .. } => {
                Some("use the board's flash size, or make the partition smaller".into())
            }
            _ => None,
        }
    }
}
