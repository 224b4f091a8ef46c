//! Errors in a partition table in CSV form.

use esplice_chip::FlashOffset;

/// An error in a partition table in CSV form, and its position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {fault}")]
#[non_exhaustive]
pub struct CsvError {
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// The error.
    pub fault: CsvFault,
}

/// The cause of a CSV error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CsvFault {
    /// The CSV has no rows.
    #[error("no partitions are listed")]
    Empty,
    /// A line that is too long.
    #[error("line of {len} bytes is longer than {most}")]
    LongLine {
        /// Length of the line in bytes.
        len: usize,
        /// Maximum length in bytes.
        most: usize,
    },
    /// More rows than a table can hold.
    #[error("a table holds at most {most} partitions")]
    TooMany {
        /// Maximum number of rows.
        most: usize,
    },
    /// A name that does not fit the table's field.
    #[error("partition name {name:?} is not 1 to {most} bytes without control characters")]
    BadName {
        /// The name.
        name: String,
        /// Maximum number of bytes.
        most: usize,
    },
    /// A field that must not be empty.
    #[error("{what} is empty")]
    Missing {
        /// The field.
        what: &'static str,
    },
    /// An unknown name.
    #[error("{what} {text:?} is neither a number nor one of {}", .known.join(", "))]
    UnknownName {
        /// The field.
        what: &'static str,
        /// The text in the CSV.
        text: String,
        /// The closest known name.
        nearest: Option<String>,
        /// All known names.
        known: Vec<String>,
    },
    /// An invalid number.
    #[error("{what} {text:?} is not {wanted}")]
    BadValue {
        /// The field.
        what: &'static str,
        /// The text in the CSV.
        text: String,
        /// The expected form.
        wanted: &'static str,
    },
    /// A size that is not positive, or that ends past 4 GiB.
    #[error("size {size} of partition {name} leaves no room for it")]
    BadSize {
        /// Name of the partition.
        name: String,
        /// The size as written.
        size: i64,
    },
    /// A partition begins before the previous one, or the table, ends.
    #[error(
        "partition {name} at {offset} begins before 0x{free_from:x}, where the previous one ends"
    )]
    Overlap {
        /// Name of the partition.
        name: String,
        /// Offset of the partition.
        offset: FlashOffset,
        /// The first free offset.
        free_from: u64,
    },
    /// A row of type `bootloader`, but the chip is unknown.
    #[error("a row for the bootloader needs the chip's boot offset")]
    NoBoot,
}

impl CsvFault {
    pub(crate) fn at(self, line: usize, column: usize) -> CsvError {
        CsvError { line, column, fault: self }
    }
}

impl CsvError {
    /// Returns advice on how to fix the error.
    pub fn hint(&self) -> Option<String> {
        Some(match &self.fault {
            CsvFault::UnknownName { nearest: Some(name), .. } => format!("did you mean {name:?}?"),
            CsvFault::Overlap { free_from, .. } => {
                format!("use 0x{free_from:x} or more, or leave the offset empty")
            }
            CsvFault::NoBoot => "name the chip with --target".into(),
            CsvFault::Empty => "write rows of Name, Type, SubType, Offset, Size, Flags".into(),
            _ => return None,
        })
    }
}
