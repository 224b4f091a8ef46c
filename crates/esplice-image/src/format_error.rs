//! What is wrong with a HEX, UF2 or xz file.

use esplice_chip::FlashOffset;

use crate::LARGEST_FLASH;

/// Why a file of another format can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A byte that is no text.
    #[error("line {line} (byte {offset}) is not text")]
    HexNotText {
        /// Line, from 1.
        line: usize,
        /// Byte of the file, from 0.
        offset: usize,
    },
    /// A record that is none.
    #[error("line {line}: {fault}")]
    HexRecord {
        /// Line, from 1.
        line: usize,
        /// What is wrong with it.
        fault: String,
    },
    /// Records behind the last.
    #[error("line {line} stands behind the end record")]
    HexAfterEnd {
        /// Line, from 1.
        line: usize,
    },
    /// The last record is missing.
    #[error("the file ends in line {line} without an end record")]
    HexNoEnd {
        /// The last line, from 1.
        line: usize,
    },
    /// Two records for one byte.
    #[error("line {second} gives bytes at {offset} that line {first} and those behind it gave")]
    HexTwice {
        /// Line that the earlier stretch begins in, from 1.
        first: usize,
        /// Line that the later stretch begins in, from 1.
        second: usize,
        /// The place in flash.
        offset: FlashOffset,
    },
    /// A record for a place that no flash has.
    #[error("line {line} ends at 0x{end:x}, the largest flash at 0x{LARGEST_FLASH:x}")]
    HexPastFlash {
        /// Line, from 1.
        line: usize,
        /// Where its data end.
        end: u64,
    },
    /// A block that is none.
    #[error("block at byte 0x{offset:x}: {fault}")]
    Uf2 {
        /// Byte of the file at which the block begins, or the file ends.
        offset: usize,
        /// What is wrong with it.
        fault: Uf2Fault,
    },
    /// Two blocks for one byte.
    #[error("bytes at {offset} are given twice")]
    Uf2Twice {
        /// The place in flash.
        offset: FlashOffset,
    },
    /// A file without data.
    #[error("{kind} file without data")]
    Nothing {
        /// `Intel HEX`, `UF2`.
        kind: &'static str,
    },
    /// A damaged xz file.
    #[error("xz file at byte {offset}: {fault}")]
    Xz {
        /// Byte of the file, from 0.
        offset: u64,
        /// What is wrong there.
        fault: &'static str,
    },
    /// More content than is taken.
    #[error("xz file unpacks to more than {most} bytes")]
    XzLarge {
        /// Most bytes.
        most: usize,
    },
    /// A file that wants a large dictionary.
    #[error("xz file needs more than {limit} bytes of memory to unpack")]
    XzMemory {
        /// Bytes that are granted.
        limit: u64,
    },
}

/// What is wrong with a block of UF2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Uf2Fault {
    /// The file ends inside it.
    #[error("it has {len} bytes, a block has 512")]
    Cut {
        /// Bytes there are.
        len: usize,
    },
    /// One of the three words that mark a block.
    #[error("its marks are not those of a UF2 block")]
    Magic,
    /// A number that its group does not have.
    #[error("it is block {number} of {total}, numbers begin at 0")]
    Number {
        /// Its number, from 0.
        number: u32,
        /// Blocks it says there are.
        total: u32,
    },
    /// The file ends, and a block is missing.
    #[error("the file ends here, and block {number} of {total} is missing")]
    Missing {
        /// Number of the missing block, from 0.
        number: u32,
        /// Blocks there should be.
        total: u32,
    },
    /// A block for another chip.
    #[error("it is for family 0x{found:08x}, those before are for 0x{first:08x}")]
    Family {
        /// Its family, 0 for none.
        found: u32,
        /// The others', 0 for none.
        first: u32,
    },
    /// More data than there is room for.
    #[error("it says {len} bytes of data, there is room for {most}")]
    Length {
        /// Bytes it says.
        len: u32,
        /// Most bytes.
        most: usize,
    },
    /// A place that no flash has.
    #[error(
        "its data are for 0x{addr:x} to 0x{end:x}, the largest flash ends at 0x{LARGEST_FLASH:x}"
    )]
    PastFlash {
        /// Place of the data.
        addr: u32,
        /// Where they end.
        end: u64,
    },
    /// An MD5 of bytes that are not there, or of some that another MD5 is of.
    #[error("an MD5 is of {len} bytes at 0x{start:x}, which are not all there for it alone")]
    Region {
        /// Place of the bytes.
        start: u32,
        /// Length in bytes.
        len: u32,
    },
    /// An MD5 that does not fit.
    #[error("MD5 of {len} bytes at 0x{addr:x} is {stored}, expected {computed}")]
    Md5 {
        /// Place of the bytes.
        addr: u32,
        /// Length in bytes.
        len: u32,
        /// As stored, in hex.
        stored: String,
        /// As computed, in hex.
        computed: String,
    },
}

impl FormatError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            FormatError::HexNotText { .. } | FormatError::HexRecord { .. } => {
                "a line is ':', then length, offset, type, data and checksum as pairs of digits"
            }
            FormatError::HexAfterEnd { .. } => "several files are given one by one, not joined",
            FormatError::HexNoEnd { .. } => {
                "the last line has to be :00000001FF; was the file cut off?"
            }
            FormatError::HexPastFlash { .. }
            | FormatError::Uf2 { fault: Uf2Fault::PastFlash { .. }, .. } => {
                "offsets are those in flash, from 0, not addresses on the bus"
            }
            FormatError::Uf2 { fault: Uf2Fault::Cut { .. } | Uf2Fault::Missing { .. }, .. }
            | FormatError::Xz { .. } => "was the file cut off or changed? get it anew",
            FormatError::XzMemory { .. } => "pack it with `xz -9` or less",
            FormatError::Uf2 { fault: Uf2Fault::Family { .. }, .. } => {
                "make one file for each chip"
            }
            _ => return None,
        };
        Some(hint.into())
    }
}
