//! Why a CSV is no partition table.

use esplice_chip::FlashOffset;

/// Why a CSV is no partition table, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {fault}")]
pub struct CsvError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub fault: CsvFault,
}

/// What is wrong with a CSV.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CsvFault {
    /// No row at all.
    #[error("no partition is listed")]
    Empty,
    /// A line that no table has.
    #[error("line of {len} bytes is longer than {most}")]
    LongLine {
        /// Its length.
        len: usize,
        /// Longest that is read.
        most: usize,
    },
    /// More rows than a table holds.
    #[error("a table holds at most {most} partitions")]
    TooMany {
        /// Most rows.
        most: usize,
    },
    /// A name that the table's field cannot hold.
    #[error("partition name {name:?} is not 1 to {most} bytes without control characters")]
    BadName {
        /// The name.
        name: String,
        /// Most bytes.
        most: usize,
    },
    /// A field that must not be empty.
    #[error("{what} is empty")]
    Missing {
        /// The field.
        what: &'static str,
    },
    /// A name that is not known.
    #[error("{what} {text:?} is neither a number nor one of {}", .known.join(", "))]
    UnknownName {
        /// The field.
        what: &'static str,
        /// What is written.
        text: String,
        /// The nearest known name.
        nearest: Option<String>,
        /// All known names.
        known: Vec<String>,
    },
    /// A number that is none.
    #[error("{what} {text:?} is not {wanted}")]
    BadValue {
        /// The field.
        what: &'static str,
        /// What is written.
        text: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// A size that leaves nothing, or ends past 4 GiB.
    #[error("size {size} of partition {name} leaves no room for it")]
    BadSize {
        /// The partition.
        name: String,
        /// The size as written.
        size: i64,
    },
    /// A partition begins before the one above it, or the table, ends.
    #[error(
        "partition {name} at {offset} begins before 0x{free_from:x}, where the one before ends"
    )]
    Overlap {
        /// The partition.
        name: String,
        /// Its offset.
        offset: FlashOffset,
        /// First free offset.
        free_from: u64,
    },
    /// A row of type `bootloader` where the chip is not known.
    #[error("a row for the bootloader needs the chip's boot offset")]
    NoBoot,
}

impl CsvFault {
    pub(crate) fn at(self, line: usize, column: usize) -> CsvError {
        CsvError { line, column, fault: self }
    }
}

impl CsvError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match &self.fault {
            CsvFault::UnknownName { nearest: Some(name), .. } => format!("did you mean {name:?}?"),
            CsvFault::Overlap { free_from, .. } => {
                format!("give 0x{free_from:x} or more, or leave the offset empty")
            }
            CsvFault::NoBoot => "name the chip with --target".into(),
            CsvFault::Empty => "write rows of Name, Type, SubType, Offset, Size, Flags".into(),
            _ => return None,
        })
    }
}
