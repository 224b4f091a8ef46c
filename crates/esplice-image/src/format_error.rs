//! Errors of Intel HEX, UF2 and xz files.

use esplice_chip::FlashOffset;

use crate::LARGEST_FLASH;

/// The reason why an Intel HEX, UF2 or xz file can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// A byte that is not text.
    #[error("line {line} (byte {offset}) is not text")]
    HexNotText {
        /// Line, counted from 1.
        line: usize,
        /// Offset in the file, from 0.
        offset: usize,
    },
    /// An invalid record.
    #[error("line {line}: {fault}")]
    HexRecord {
        /// Line, counted from 1.
        line: usize,
        /// Description of the fault.
        fault: String,
    },
    /// Records after the end record.
    #[error("line {line} follows the end record")]
    HexAfterEnd {
        /// Line, counted from 1.
        line: usize,
    },
    /// The end record is missing.
    #[error("the file ends in line {line} without an end record")]
    HexNoEnd {
        /// The last line, counted from 1.
        line: usize,
    },
    /// Two records for the same byte.
    #[error("line {second} has bytes at {offset} that the lines from {first} on also have")]
    HexTwice {
        /// Line in which the earlier run of bytes begins, counted from 1.
        first: usize,
        /// Line in which the later run of bytes begins, counted from 1.
        second: usize,
        /// The flash offset.
        offset: FlashOffset,
    },
    /// A record for an offset past the largest flash.
    #[error("line {line} ends at 0x{end:x}, the largest flash at 0x{LARGEST_FLASH:x}")]
    HexPastFlash {
        /// Line, counted from 1.
        line: usize,
        /// End of the record's data.
        end: u64,
    },
    /// An invalid block.
    #[error("block at byte 0x{offset:x}: {fault}")]
    Uf2 {
        /// Offset in the file at which the block begins or the file ends.
        offset: usize,
        /// The fault of the block.
        fault: Uf2Fault,
    },
    /// Two blocks for the same byte.
    #[error("bytes at {offset} occur twice")]
    Uf2Twice {
        /// The flash offset.
        offset: FlashOffset,
    },
    /// A file without data.
    #[error("{kind} file without data")]
    Nothing {
        /// `Intel HEX` or `UF2`.
        kind: &'static str,
    },
    /// A damaged xz file.
    #[error("xz file at byte {offset}: {fault}")]
    Xz {
        /// Offset in the file, from 0.
        offset: u64,
        /// The fault at that offset.
        fault: &'static str,
    },
    /// The content is larger than allowed.
    #[error("xz file unpacks to more than {most} bytes")]
    XzLarge {
        /// Maximum number of bytes.
        most: usize,
    },
    /// A file that needs too large a dictionary.
    #[error("xz file needs more than {limit} bytes of memory to unpack")]
    XzMemory {
        /// Memory limit in bytes.
        limit: u64,
    },
}

/// The fault of a UF2 block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Uf2Fault {
    /// The file ends inside the block.
    #[error("it has {len} bytes, a block has 512")]
    Cut {
        /// Number of bytes in the file from the block's start.
        len: usize,
    },
    /// One of the three magic numbers of a block is wrong.
    #[error("its magic numbers are not those of a UF2 block")]
    Magic,
    /// A block number out of range.
    #[error("it is block {number} of {total}, numbers begin at 0")]
    Number {
        /// The block's number, from 0.
        number: u32,
        /// Number of blocks according to the block.
        total: u32,
    },
    /// The file ends before all blocks were present.
    #[error("the file ends here, and block {number} of {total} is missing")]
    Missing {
        /// Number of the missing block, from 0.
        number: u32,
        /// Number of blocks that there should be.
        total: u32,
    },
    /// A block for another chip.
    #[error("it is for family 0x{found:08x}, the previous ones are for 0x{first:08x}")]
    Family {
        /// The block's family ID, 0 for none.
        found: u32,
        /// The family ID of the other blocks, 0 for none.
        first: u32,
    },
    /// More data than fits in a block.
    #[error("it claims {len} bytes of data, but has room for {most}")]
    Length {
        /// Number of data bytes according to the block.
        len: u32,
        /// Maximum number of bytes.
        most: usize,
    },
    /// An address past the largest flash.
    #[error(
        "its data are for 0x{addr:x} to 0x{end:x}, the largest flash ends at 0x{LARGEST_FLASH:x}"
    )]
    PastFlash {
        /// Address of the data.
        addr: u32,
        /// End of the data.
        end: u64,
    },
    /// An MD5 for bytes that are missing or that another MD5 covers.
    #[error("an MD5 covers {len} bytes at 0x{start:x} that are missing or covered by another MD5")]
    Region {
        /// First address of the bytes.
        start: u32,
        /// Length in bytes.
        len: u32,
    },
    /// An MD5 that does not match.
    #[error("MD5 of {len} bytes at 0x{addr:x} is {stored}, expected {computed}")]
    Md5 {
        /// First address of the bytes.
        addr: u32,
        /// Length in bytes.
        len: u32,
        /// The stored MD5, in hex.
        stored: String,
        /// The computed MD5, in hex.
        computed: String,
    },
}

impl FormatError {
    /// Returns advice on how to fix the error.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            FormatError::HexNotText { .. } | FormatError::HexRecord { .. } => {
                "a line is ':', then length, offset, type, data and checksum as pairs of digits"
            }
            FormatError::HexAfterEnd { .. } => "pass several files separately, not joined",
            FormatError::HexNoEnd { .. } => {
                "the last line must be :00000001FF; was the file cut off?"
            }
            FormatError::HexPastFlash { .. }
            | FormatError::Uf2 { fault: Uf2Fault::PastFlash { .. }, .. } => {
                "offsets are those in flash, from 0, not addresses on the bus"
            }
            FormatError::Uf2 { fault: Uf2Fault::Cut { .. } | Uf2Fault::Missing { .. }, .. }
            | FormatError::Xz { .. } => "was the file cut off or changed? get it again",
            FormatError::XzMemory { .. } => "pack it with `xz -9` or less",
            FormatError::Uf2 { fault: Uf2Fault::Family { .. }, .. } => {
                "make one file for each chip"
            }
            _ => return None,
        };
        Some(hint.into())
    }
}
