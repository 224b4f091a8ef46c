//! Splits CSV text into rows of fields, each with its position.
//!
//! The rules are those of Python's `csv` module, which ESP-IDF's generator uses: a field is quoted
//! only if it begins with a quote, quotes are written twice within it, and it may span lines. Lines
//! that begin with `#` are dropped before that, even within a quoted field.

use crate::csv_error::{CsvError, CsvFault};

/// A field and its position.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Field {
    pub(crate) text: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
    /// True if the field was quoted.
    pub(crate) quoted: bool,
}

impl Field {
    pub(crate) fn fault(&self, fault: CsvFault) -> CsvError {
        fault.at(self.line, self.column)
    }

    /// Reports a fault at the character with this index.
    pub(crate) fn fault_at(&self, index: usize, fault: CsvFault) -> CsvError {
        let before: Vec<char> = self.text.chars().take(index).collect();
        match before.iter().rposition(|c| *c == '\n') {
            Some(end) => {
                let lines = before.iter().filter(|c| **c == '\n').count();
                fault.at(self.line + lines, before.len() - end)
            }
            None => {
                let quotes = before.iter().filter(|c| **c == '"').count();
                let more = if self.quoted { 1 + quotes } else { 0 };
                fault.at(self.line, self.column + more + index)
            }
        }
    }
}

/// Where the parser is within a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Start,
    Plain,
    Quoted,
    /// After a quote in a quoted field: its end, or the first of two.
    Quote,
}

/// Returns the rows that have fields.
pub(crate) fn rows(text: &str) -> Result<Vec<Vec<Field>>, CsvError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut rows = Vec::new();
    let mut row: Vec<Field> = Vec::new();
    let mut field = Field::default();
    let mut at = At::Start;
    for (number, line) in (1..).zip(text.split('\n')) {
        if line.starts_with('#') {
            continue;
        }
        if at == At::Quoted {
            field.text.push('\n');
        } else {
            field = Field { line: number, column: 1, ..Field::default() };
            at = At::Start;
        }
        for (column, c) in (1..).zip(line.chars()) {
            at = match (at, c) {
                (At::Start, '"') => {
                    field.quoted = true;
                    At::Quoted
                }
                (At::Start | At::Plain | At::Quote, ',') => {
                    let next = Field { line: number, column: column + 1, ..Field::default() };
                    row.push(std::mem::replace(&mut field, next));
                    At::Start
                }
                (At::Quoted, '"') => At::Quote,
                (At::Quote, '"') | (At::Quoted, _) => {
                    field.text.push(c);
                    At::Quoted
                }
                (At::Quote, _) => return Err(CsvFault::AfterQuote { text: c }.at(number, column)),
                (At::Start | At::Plain, _) => {
                    field.text.push(c);
                    At::Plain
                }
            };
        }
        if at == At::Quoted {
            continue;
        }
        // A line without any character is no row.
        if !row.is_empty() || at != At::Start {
            row.push(std::mem::take(&mut field));
            rows.push(std::mem::take(&mut row));
        }
        at = At::Start;
    }
    if at == At::Quoted {
        return Err(field.fault(CsvFault::OpenQuote));
    }
    Ok(rows)
}
