//! Why bytes are no partition table, or a table is refused.

use esplice_chip::FlashOffset;

use crate::partition::NAME_LEN;

/// Why bytes are no partition table, or a table is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// A row begins with neither magic.
    #[error("row {row} of the partition table begins with {found:02x?}, not with aa 50")]
    BadMagic {
        /// Row, from 0.
        row: usize,
        /// Its first two bytes.
        found: [u8; 2],
    },
    /// The bytes end within a row, or before any end mark.
    #[error("partition table is truncated at {len} bytes, in row {row}")]
    Truncated {
        /// Bytes there are.
        len: usize,
        /// Row that is cut, from 0.
        row: usize,
    },
    /// All rows are used, and none ends the table.
    #[error("none of the {rows} rows of the partition table ends it")]
    NoEnd {
        /// Rows there are.
        rows: usize,
    },
    /// Something follows the MD5 row that does not end the table.
    #[error("row {row} of the partition table follows its MD5 row")]
    AfterMd5 {
        /// The row, from 0.
        row: usize,
    },
    /// No row at all, as in erased flash.
    #[error("partition table is empty")]
    Empty,
    /// The MD5 row does not fit the rows before it.
    #[error("MD5 of the partition table is {computed}, its MD5 row says {stored}")]
    Md5Mismatch {
        /// As the row says, in hex.
        stored: String,
        /// As computed, in hex.
        computed: String,
    },
    /// More rows than a table holds.
    #[error("{count} partitions are more than the {most} a table holds")]
    TooMany {
        /// Partitions there are.
        count: usize,
        /// Most partitions.
        most: usize,
    },
    /// A name that the row's field can't hold, or that is no text.
    #[error("partition name {name:?} is not a text of 1 to {NAME_LEN} bytes")]
    BadName {
        /// The name.
        name: String,
    },
    /// Two partitions of one name.
    #[error("two partitions are called {name:?}")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// Offset or length not a multiple of what it must be.
    #[error("partition {name} at {offset} of 0x{len:x} bytes is not aligned to 0x{align:x}")]
    Unaligned {
        /// Its name.
        name: String,
        /// Its offset.
        offset: FlashOffset,
        /// Its length.
        len: u32,
        /// The alignment asked.
        align: u32,
    },
    /// Two partitions of which the bootloader knows only one.
    #[error("partitions {first} and {second} are both {kind}")]
    SameKind {
        /// Type and subtype: `app factory`.
        kind: String,
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// An app partition that the bootloader loads nothing from.
    #[error("app partition {name} of 0x{len:x} bytes is larger than 0x{most:x}")]
    AppPartitionTooLarge {
        /// Its name.
        name: String,
        /// Its length.
        len: u32,
        /// Most bytes.
        most: u32,
    },
    /// An otadata partition of another size than two sectors.
    #[error("partition {name} for otadata has 0x{len:x} bytes instead of 0x{needed:x}")]
    OtadataLen {
        /// Its name.
        name: String,
        /// Its length.
        len: u32,
        /// What it must have.
        needed: u32,
    },
    /// A partition that its users write to is marked read-only.
    #[error("partition {name} of subtype {subtype} cannot be read-only")]
    NotReadOnly {
        /// Its name.
        name: String,
        /// Its subtype.
        subtype: String,
    },
    /// An NVS partition that is too small to be written to.
    #[error("partition {name} for NVS has 0x{len:x} bytes: below 0x{needed:x} it must be readonly")]
    NvsTooSmall {
        /// Its name.
        name: String,
        /// Its length.
        len: u32,
        /// Least for one that is written to.
        needed: u32,
    },
    /// A name that CSV cannot hold.
    #[error("partition name {name:?} cannot be written as CSV")]
    NotCsv {
        /// The name.
        name: String,
    },
    /// Flags that have no name in CSV.
    #[error("flags 0x{flags:x} of partition {name} have no name in CSV")]
    UnknownFlags {
        /// The partition.
        name: String,
        /// Its flags.
        flags: u32,
    },
    /// Two partitions share bytes.
    #[error("partitions {first} and {second} overlap at {offset}")]
    Overlap {
        /// The one that begins first.
        first: String,
        /// The other.
        second: String,
        /// Where the other begins.
        offset: FlashOffset,
    },
    /// A partition ends past the flash.
    #[error("partition {name} ends at 0x{end:x}, the flash at 0x{flash_size:x}")]
    PastFlash {
        /// Its name.
        name: String,
        /// Its end.
        end: u64,
        /// Size of the flash in bytes.
        flash_size: u32,
    },
    /// A partition begins before the table ends.
    #[error(
        "partition {name} at {offset} begins before the partition table's end at 0x{table_end:x}"
    )]
    BeforeTable {
        /// Its name.
        name: String,
        /// Its offset.
        offset: FlashOffset,
        /// End of the table's sector.
        table_end: u64,
    },
}

impl TableError {
    /// Whether ESP-IDF's generator refuses the table and the bootloader boots from it all the same.
    pub fn is_remark(&self) -> bool {
        match self {
            TableError::DuplicateName { .. }
            | TableError::NotReadOnly { .. }
            | TableError::NvsTooSmall { .. } => true,
            // The bootloader needs room for two records, and ignores the rest.
            TableError::OtadataLen { len, needed, .. } => len >= needed,
            _ => false,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            TableError::Empty => Some("the flash holds no table here".into()),
            TableError::Md5Mismatch { .. } | TableError::BadMagic { .. } => {
                Some("the table is damaged, or this is no partition table".into())
            }
            TableError::PastFlash { .. } => {
                Some("give the flash size that the board has, or make the partition smaller".into())
            }
            _ => None,
        }
    }
}
