//! Why bytes are no partition table, or a table is refused.

use esplice_chip::FlashOffset;

use crate::PartitionTable;
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
    /// No row at all: erased flash, say.
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
    #[error(
        "{count} partitions are more than the {} a table holds",
        PartitionTable::MAX_PARTITIONS
    )]
    TooMany {
        /// Partitions there are.
        count: usize,
    },
    /// A name that the row's field can't hold.
    #[error("partition name {name:?} is not 1 to {NAME_LEN} bytes without a zero")]
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
    /// A partition ends behind the flash.
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
