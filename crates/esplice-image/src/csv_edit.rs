//! Edits a partition table in CSV form in place: comments, blank lines and columns stay as they are.

use crate::{CsvError, CsvOptions, PartitionTable};

/// A column of a partition table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CsvColumn {
    /// The name.
    Name,
    /// The type.
    Type,
    /// The subtype.
    SubType,
    /// The offset, which may be empty.
    Offset,
    /// The size.
    Size,
    /// The flags, which may be empty.
    Flags,
}

impl CsvColumn {
    /// All columns, in their order.
    pub const ALL: [CsvColumn; 6] = [
        CsvColumn::Name,
        CsvColumn::Type,
        CsvColumn::SubType,
        CsvColumn::Offset,
        CsvColumn::Size,
        CsvColumn::Flags,
    ];

    /// Returns the column's name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            CsvColumn::Name => "name",
            CsvColumn::Type => "type",
            CsvColumn::SubType => "subtype",
            CsvColumn::Offset => "offset",
            CsvColumn::Size => "size",
            CsvColumn::Flags => "flags",
        }
    }

    fn index(self) -> usize {
        CsvColumn::ALL.iter().position(|column| *column == self).unwrap_or(0)
    }
}

/// The reason why a table can't be edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CsvEditError {
    /// The table is invalid, before or after the edit.
    #[error(transparent)]
    Csv(#[from] CsvError),
    /// No row has this name.
    #[error("no partition is called {name:?}")]
    NoRow {
        /// The name.
        name: String,
        /// The closest name.
        nearest: Option<String>,
    },
    /// A value that would change the shape of the file.
    #[error("{value:?} can't be a field of CSV")]
    BadValue {
        /// The value.
        value: String,
    },
}

impl CsvEditError {
    /// Returns advice on how to fix the error.
    pub fn hint(&self) -> Option<String> {
        match self {
            CsvEditError::Csv(error) => error.hint(),
            CsvEditError::NoRow { nearest, .. } => {
                nearest.as_ref().map(|name| format!("did you mean {name:?}?"))
            }
            CsvEditError::BadValue { .. } => None,
        }
    }
}

impl PartitionTable {
    /// Returns the CSV with these values in the row of the partition `name`, and the new table.
    ///
    /// # Errors
    /// [`CsvEditError`]; also if the table is invalid afterwards, such as when partitions overlap.
    pub fn edit_csv(
        text: &str,
        name: &str,
        values: &[(CsvColumn, String)],
        options: &CsvOptions,
    ) -> Result<(String, PartitionTable), CsvEditError> {
        let table = PartitionTable::from_csv(text, options)?;
        if table.find(name).is_none() {
            let names: Vec<&String> = table.partitions.iter().map(|row| &row.name).collect();
            let nearest = esplice_chip::nearest(name, &names);
            return Err(CsvEditError::NoRow { name: name.to_owned(), nearest });
        }
        let odd = |c: char| matches!(c, ',' | '#') || c.is_control();
        if let Some((_, value)) = values.iter().find(|(_, value)| value.contains(odd)) {
            return Err(CsvEditError::BadValue { value: value.clone() });
        }
        let mut is_done = false;
        let edited: String = text
            .split_inclusive('\n')
            .map(|line| {
                if is_done || !is_row(line, name) {
                    return line.to_owned();
                }
                is_done = true;
                values.iter().fold(line.to_owned(), |line, (column, value)| {
                    with_field(&line, column.index(), value)
                })
            })
            .collect();
        let table = PartitionTable::from_csv(&edited, options)?;
        Ok((edited, table))
    }
}

fn is_row(line: &str, name: &str) -> bool {
    let line = line.trim_start_matches('\u{feff}');
    !line.trim_start().starts_with('#') && line.split(',').next().map(str::trim) == Some(name)
}

/// Returns the line with another value in a field, which keeps its width if the value fits.
fn with_field(line: &str, index: usize, value: &str) -> String {
    let body = line.trim_end_matches(['\r', '\n']);
    let end = &line[body.len()..];
    let mut fields: Vec<String> = body.split(',').map(str::to_owned).collect();
    while fields.len() <= index {
        fields.push(" ".to_owned());
    }
    let old = &fields[index];
    let is_last = index + 1 == fields.len();
    let blank = old.trim().is_empty();
    let indent: String = match blank {
        true => old.chars().take(1).collect(),
        false => old.chars().take_while(|c| c.is_whitespace()).collect(),
    };
    let mut field = format!("{indent}{value}");
    if !is_last {
        let width = old.chars().count();
        field.extend(std::iter::repeat_n(' ', width.saturating_sub(field.chars().count())));
    }
    fields[index] = field;
    format!("{}{end}", fields.join(","))
}
