//! TOML tables with the place of each value, for messages that name line and column.

use std::{
    fmt, fs,
    io::{self, Read as _},
    ops::Range,
    path::{Path, PathBuf},
};

use esplice_chip::nearest;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// Longest file, in bytes.
const MOST: u64 = 1 << 20;

/// Reason why a file of parts or voltages can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartsError {
    /// The file can't be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A place in the file is wrong.
    #[error("{}{line}:{column}: {message}", In(path.as_deref()))]
    Wrong {
        /// The file, unless only its text was parsed.
        path: Option<PathBuf>,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// Description of the fault.
        message: String,
        /// Description of the right form.
        hint: String,
    },
    /// The file with a part's contents can't be used.
    #[error("part {part:?}: {}: {source}", path.display())]
    Contents {
        /// Name of the part.
        part: String,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The chip does not have what a part is connected to.
    #[error("{message}")]
    NotOnChip {
        /// Description of the missing item.
        message: String,
        /// List of the known items.
        hint: String,
    },
}

impl PartsError {
    /// Returns advice for the user.
    pub fn hint(&self) -> Option<String> {
        match self {
            PartsError::Wrong { hint, .. } | PartsError::NotOnChip { hint, .. } => {
                Some(hint.clone())
            }
            PartsError::Read { .. } | PartsError::Contents { .. } => None,
        }
    }

    /// Adds the file to an error of its text.
    pub(super) fn in_file(self, file: &Path) -> PartsError {
        match self {
            PartsError::Wrong { line, column, message, hint, .. } => {
                PartsError::Wrong { path: Some(file.into()), line, column, message, hint }
            }
            other => other,
        }
    }
}

/// The file's name before a place in it.
struct In<'a>(Option<&'a Path>);

impl fmt::Display for In<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(path) => write!(f, "{}:", path.display()),
            None => Ok(()),
        }
    }
}

/// Reads a text file of a reasonable length.
pub(super) fn read(path: &Path) -> Result<String, PartsError> {
    let read = || {
        let mut text = String::new();
        fs::File::open(path)?.take(MOST + 1).read_to_string(&mut text)?;
        if text.len() as u64 > MOST {
            let message = format!("it has more than {MOST} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        Ok(text)
    };
    read().map_err(|source| PartsError::Read { path: path.into(), source })
}

/// Returns an error at a place of the text.
pub(super) fn wrong(text: &str, span: Range<usize>, message: String, hint: String) -> PartsError {
    let before = text.get(..span.start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    PartsError::Wrong {
        path: None,
        line: before.matches('\n').count() + 1,
        column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        message,
        hint,
    }
}

/// Parses a file's text.
pub(super) fn parse<'a>(
    text: &'a str,
    hint: &'static str,
) -> Result<Spanned<DeTable<'a>>, PartsError> {
    DeTable::parse(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        wrong(text, span, error.message().replace('\n', ", "), hint.into())
    })
}

/// A table of the file.
pub(super) struct Entry<'a> {
    pub text: &'a str,
    pub table: &'a DeTable<'a>,
    /// Place of the table.
    pub span: Range<usize>,
}

impl<'a> Entry<'a> {
    /// Returns an error at a value.
    pub fn wrong(&self, span: Range<usize>, message: String, hint: String) -> PartsError {
        wrong(self.text, span, message, hint)
    }

    /// Refuses keys that are not known.
    pub fn known(&self, known: &[&'static str]) -> Result<(), PartsError> {
        let Some((key, _)) =
            self.table.iter().find(|(key, _)| !known.contains(&key.get_ref().as_ref()))
        else {
            return Ok(());
        };
        let name = key.get_ref().as_ref();
        let hint = match nearest(name, known) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("known keys are {}", known.join(", ")),
        };
        Err(self.wrong(key.span(), format!("unknown key {name:?}"), hint))
    }

    fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        let found = self.table.iter().find(|(name, _)| name.get_ref().as_ref() == key);
        found.map(|(_, value)| value)
    }

    /// Returns the tables of an array of tables.
    pub fn tables(&self, key: &str) -> Result<Vec<Entry<'a>>, PartsError> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let no_tables = |span| {
            self.wrong(span, format!("{key} is not a list of tables"), format!("write [[{key}]]"))
        };
        let array = value.get_ref().as_array().ok_or_else(|| no_tables(value.span()))?;
        let entry = |value: &'a Spanned<DeValue<'a>>| {
            let table = value.get_ref().as_table().ok_or_else(|| no_tables(value.span()))?;
            Ok(Entry { text: self.text, table, span: value.span() })
        };
        array.iter().map(entry).collect()
    }

    /// Returns a text and its place.
    pub fn text(&self, key: &str) -> Result<Option<(&'a str, Range<usize>)>, PartsError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.get_ref().as_str() {
            Some(text) => Ok(Some((text, value.span()))),
            None => Err(self.wrong(
                value.span(),
                format!("{key} is not a text"),
                format!("write {key} = \"…\""),
            )),
        }
    }

    /// Returns a whole number from `least` to `most`, and its place.
    pub fn whole(
        &self,
        key: &str,
        least: u64,
        most: u64,
    ) -> Result<Option<(u64, Range<usize>)>, PartsError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.get_ref().as_integer().and_then(|number| {
            let digits = number.as_str().replace('_', "");
            u64::from_str_radix(digits.strip_prefix('+').unwrap_or(&digits), number.radix()).ok()
        });
        match number.filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some((number, value.span()))),
            None => Err(self.wrong(
                value.span(),
                format!("{key} is not a whole number from {least} to {most}"),
                format!("write {key} = {least}, for example"),
            )),
        }
    }

    /// Returns a number from `least` to `most`.
    pub fn number(&self, key: &str, least: f64, most: f64) -> Result<Option<f64>, PartsError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let digits = match value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str()),
            DeValue::Float(number) => Some(number.as_str()),
            _ => None,
        };
        let number = digits.and_then(|digits| digits.replace('_', "").parse::<f64>().ok());
        match number.filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong(
                value.span(),
                format!("{key} is not a number from {least} to {most}"),
                format!("write {key} = {least}, for example"),
            )),
        }
    }

    /// Returns an error about a key that the table must have.
    pub fn missing(&self, key: &str, hint: String) -> PartsError {
        self.wrong(self.span.clone(), format!("{key} is missing"), hint)
    }
}
