//! Errors in CSV files.

/// An error in a CSV file, and its position.
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
    /// No line names the columns.
    #[error("the file is empty")]
    Empty,
    /// The first line does not name a required column.
    #[error("the first line names no column {name:?}")]
    NoColumn {
        /// The column.
        name: &'static str,
    },
    /// A row with too few fields.
    #[error("the row has {found} fields, {wanted} are required")]
    FewFields {
        /// Number of fields.
        found: usize,
        /// Required number.
        wanted: usize,
    },
    /// A quoted field without an end.
    #[error("the quoted field that begins here has no end")]
    OpenQuote,
    /// Text between a quoted field and the next comma.
    #[error("{text:?} follows the end of a quoted field")]
    AfterQuote {
        /// The character.
        text: char,
    },
    /// A key or namespace that can't be stored.
    #[error("{what} {name:?} is not 1 to {most} bytes without control characters and outer blanks")]
    BadName {
        /// `key` or `namespace`.
        what: &'static str,
        /// The name.
        name: String,
        /// Maximum number of bytes.
        most: usize,
    },
    /// An unknown type or encoding.
    #[error("{what} {text:?} is not one of {}", .known.join(", "))]
    Unknown {
        /// `type` or `encoding`.
        what: &'static str,
        /// The text in the CSV.
        text: String,
        /// The closest known name.
        nearest: Option<String>,
        /// All known names.
        known: Vec<String>,
    },
    /// A number that is not one, or out of range.
    #[error("{text:?} is not a decimal number from {least} to {most}, as {encoding} requires")]
    BadNumber {
        /// The text in the CSV.
        text: String,
        /// The encoding.
        encoding: &'static str,
        /// Smallest number.
        least: i128,
        /// Largest number.
        most: i128,
    },
    /// Hexadecimal digits of an odd number.
    #[error("{count} hexadecimal digits are not whole bytes")]
    OddHex {
        /// Number of digits.
        count: usize,
    },
    /// A character that is not a hexadecimal digit.
    #[error("{text:?} is not a hexadecimal digit")]
    BadHex {
        /// The character.
        text: char,
    },
    /// Text that is not base64.
    #[error("the value is not base64: {reason}")]
    BadBase64 {
        /// The decoder's reason.
        reason: String,
    },
    /// A padded value that is longer than its length.
    #[error("the value has {len} bytes, more than the {most} of its encoding")]
    LongValue {
        /// Length of the value.
        len: usize,
        /// Length that the encoding names.
        most: usize,
    },
    /// A blob that is too long for any partition.
    #[error("a blob of {len} bytes is longer than {most}")]
    LongBlob {
        /// Length in bytes.
        len: usize,
        /// Maximum length in bytes.
        most: usize,
    },
    /// Values that fit no partition.
    #[error("the values up to here have more than {most} bytes")]
    TooMuch {
        /// Maximum number of bytes.
        most: usize,
    },
    /// A file that can't be read.
    #[error("cannot read {path}: {reason}")]
    File {
        /// The path in the CSV.
        path: String,
        /// The reason.
        reason: String,
    },
    /// A file for a string that is not text.
    #[error("{path} is not UTF-8, so it can't be a string")]
    NotText {
        /// The path in the CSV.
        path: String,
    },
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
            CsvFault::Empty | CsvFault::NoColumn { .. } | CsvFault::FewFields { .. } => {
                "the columns are key,type,encoding,value".into()
            }
            CsvFault::Unknown { nearest: Some(name), .. } => format!("did you mean {name:?}?"),
            CsvFault::AfterQuote { .. } => "write a quote within a quoted field twice: \"\"".into(),
            CsvFault::OpenQuote => "end it with a quote, before a comma or the line's end".into(),
            CsvFault::File { .. } => "paths are relative to the current directory".into(),
            CsvFault::NotText { .. } => "use the encoding binary".into(),
            _ => return None,
        })
    }
}
