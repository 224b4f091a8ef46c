//! Partition tables as CSV, in the dialect of ESP-IDF's generator (gen_esp32part.py).
//!
//! ```text
//! # Name,   Type, SubType, Offset,  Size, Flags
//! nvs,      data, nvs,     ,        0x6000,
//! factory,  app,  factory, 0x10000, 1M,
//! ```
//!
//! Source: ESP-IDF documentation, "Partition Tables". Details that it does not specify were found
//! by comparing with the generator's output, see `tests/tables`.

use esplice_chip::{FlashOffset, nearest};

use crate::csv_error::{CsvError, CsvFault};
use crate::partition::{
    APP_ALIGN, DATA_UNDEFINED, FLAGS, NAME_LEN, SECTOR, TYPE_APP, TYPE_BOOTLOADER, TYPE_TABLE,
    TYPES, subtypes,
};
use crate::{Partition, PartitionTable, TableError};

/// Values that a CSV does not contain itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CsvOptions {
    /// Flash offset of the table. Partitions without an offset follow it.
    pub table_offset: FlashOffset,
    /// Flash offset of the bootloader, for rows of type `bootloader`; with `None` such rows are
    /// refused.
    pub boot_offset: Option<FlashOffset>,
}

impl CsvOptions {
    /// Returns options for a table at this flash offset, without rows of type `bootloader`.
    pub const fn new(table_offset: FlashOffset) -> CsvOptions {
        CsvOptions { table_offset, boot_offset: None }
    }

    /// Sets the flash offset of the bootloader.
    pub const fn boot_offset(mut self, boot_offset: Option<FlashOffset>) -> CsvOptions {
        self.boot_offset = boot_offset;
        self
    }
}

/// Maximum length of a line in bytes.
const LONGEST_LINE: usize = 4096;

impl PartitionTable {
    /// Parses a table in CSV form. Missing offsets are filled in. A negative size means "up to this
    /// offset". A byte order mark and all kinds of line ends are accepted.
    ///
    /// # Errors
    /// [`CsvError`], with line and column.
    pub fn from_csv(text: &str, options: &CsvOptions) -> Result<Self, CsvError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut rows: Vec<Row> = Vec::new();
        for (number, line) in (1..).zip(lines(text)) {
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                continue;
            }
            if line.len() > LONGEST_LINE {
                let (len, most) = (line.len(), LONGEST_LINE);
                return Err(CsvFault::LongLine { len, most }.at(number, 1));
            }
            if rows.len() > Self::MAX_PARTITIONS {
                let most = Self::MAX_PARTITIONS + 1;
                return Err(CsvFault::TooMany { most }.at(number, 1));
            }
            rows.push(Row::parse(line, number, options)?);
        }
        if rows.is_empty() {
            return Err(CsvFault::Empty.at(1, 1));
        }
        place(rows, options)
    }

    /// Returns the table as CSV, identical to the output of ESP-IDF's generator.
    ///
    /// # Errors
    /// [`TableError::NotCsv`] for a name that can't be written as CSV, [`TableError::UnknownFlags`]
    /// for flags without a name.
    pub fn to_csv(&self) -> Result<String, TableError> {
        let mut text =
            String::from("# ESP-IDF Partition Table\n# Name, Type, SubType, Offset, Size, Flags\n");
        for p in &self.partitions {
            let broken = |c: char| matches!(c, ',' | char::REPLACEMENT_CHARACTER) || c.is_control();
            let name = &p.name;
            if name.contains(broken) || name.starts_with('#') || name.trim() != name {
                return Err(TableError::NotCsv { name: name.clone() });
            }
            let known = FLAGS.iter().fold(0, |bits, (_, bit)| bits | bit);
            if p.flags & !known != 0 {
                return Err(TableError::UnknownFlags { name: name.clone(), flags: p.flags });
            }
            let kind = TYPES.iter().find(|(_, kind)| *kind == p.kind);
            let kind = kind.map_or_else(|| p.kind.to_string(), |(name, _)| (*name).to_owned());
            let subtype = p.known_subtype().unwrap_or_else(|| p.subtype.to_string());
            let (offset, size, flags) = (p.offset.0, size_text(p.len), p.flag_names().join(":"));
            text.push_str(&format!("{name},{kind},{subtype},0x{offset:x},{size},{flags}\n"));
        }
        Ok(text)
    }
}

/// Formats a length as the generator does: in M or K if it is a multiple.
fn size_text(len: u32) -> String {
    match len {
        _ if len.is_multiple_of(1 << 20) => format!("{}M", len >> 20),
        _ if len.is_multiple_of(1 << 10) => format!("{}K", len >> 10),
        _ => format!("0x{len:x}"),
    }
}

/// Returns the lines without their ends, which may be those of any system.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        line.split('\r')
    })
}

/// A row as written; missing values are filled in later.
struct Row {
    line: usize,
    name: String,
    kind: u8,
    subtype: u8,
    offset: Option<u32>,
    /// Column of the offset.
    offset_column: usize,
    size: i64,
    size_column: usize,
    flags: u32,
}

/// A field and its column, counted in characters from 1.
#[derive(Clone, Copy)]
struct Field<'l> {
    text: &'l str,
    line: usize,
    column: usize,
}

impl<'l> Field<'l> {
    /// Splits a line into its fields. Missing fields are empty, at the line's end.
    fn split(line: &'l str, number: usize) -> impl Iterator<Item = Field<'l>> {
        let mut column = 1;
        let fields = line.split(',').map(move |whole| {
            let indent = whole.chars().take_while(|c| c.is_whitespace()).count();
            let len = whole.chars().count();
            let start = if indent == len { column } else { column + indent };
            let field = Field { text: whole.trim(), line: number, column: start };
            column += len + 1;
            field
        });
        let end = line.trim_end().chars().count() + 1;
        fields.chain(std::iter::repeat(Field { text: "", line: number, column: end }))
    }

    fn fault(&self, fault: CsvFault) -> CsvError {
        fault.at(self.line, self.column)
    }

    /// Parses a number, or one of `names` in any case.
    fn value(&self, what: &'static str, names: &[(String, u8)]) -> Result<u8, CsvError> {
        if let Some(number) = number(self.text) {
            let number = u8::try_from(number).ok();
            return number.ok_or_else(|| self.not_a(what, "0 to 255"));
        }
        let lower = self.text.to_lowercase();
        let named = names.iter().find(|(name, _)| *name == lower);
        named.map(|(_, number)| *number).ok_or_else(|| {
            let names: Vec<&String> = names.iter().map(|(name, _)| name).collect();
            self.fault(CsvFault::UnknownName {
                what,
                text: self.text.to_owned(),
                nearest: nearest(&lower, &names),
                known: names.into_iter().cloned().collect(),
            })
        })
    }

    /// Parses a number of bytes.
    fn bytes(&self, what: &'static str) -> Result<i64, CsvError> {
        let wanted = "a number such as 0x10000, 64K or 1M, below 4 GiB";
        let limit = i64::from(u32::MAX);
        let number = number(self.text).filter(|number| (-limit..=limit).contains(number));
        number.ok_or_else(|| self.not_a(what, wanted))
    }

    fn not_a(&self, what: &'static str, wanted: &'static str) -> CsvError {
        self.fault(CsvFault::BadValue { what, text: self.text.to_owned(), wanted })
    }
}

impl Row {
    fn parse(line: &str, number: usize, options: &CsvOptions) -> Result<Row, CsvError> {
        let mut fields = Field::split(line, number);
        let mut next = || fields.next().unwrap_or(Field { text: "", line: number, column: 1 });
        let [name, kind, subtype, offset, size, flags] = [(); 6].map(|()| next());
        // Tables read from devices show control characters as replacement characters, so such a
        // name could never be found.
        let fits = (1..=NAME_LEN).contains(&name.text.len());
        if !fits || name.text.contains(char::is_control) {
            let most = NAME_LEN;
            return Err(name.fault(CsvFault::BadName { name: name.text.to_owned(), most }));
        }
        if kind.text.is_empty() {
            return Err(kind.fault(CsvFault::Missing { what: "type" }));
        }
        let types: Vec<(String, u8)> =
            TYPES.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
        let kind = kind.value("type", &types)?;
        let subtype = match subtype.text {
            "" if kind == TYPE_APP => {
                return Err(subtype.fault(CsvFault::Missing { what: "subtype of an app" }));
            }
            "" => DATA_UNDEFINED,
            _ => subtype.value("subtype", &subtypes(kind))?,
        };
        let mut row = Row {
            line: number,
            name: name.text.to_owned(),
            kind,
            subtype,
            offset: None,
            offset_column: offset.column,
            size: 0,
            size_column: size.column,
            flags: flag_bits(&flags)?,
        };
        row.set_place(&offset, &size, options)?;
        Ok(row)
    }

    /// Sets offset and size. Those of the bootloader and of the table itself are fixed.
    fn set_place(
        &mut self,
        offset: &Field<'_>,
        size: &Field<'_>,
        options: &CsvOptions,
    ) -> Result<(), CsvError> {
        let is_primary = self.as_partition().is_primary();
        match self.kind {
            TYPE_BOOTLOADER => {
                let boot = options.boot_offset.ok_or_else(|| offset.fault(CsvFault::NoBoot))?;
                self.size = i64::from(options.table_offset.0) - i64::from(boot.0);
                self.offset = is_primary.then_some(boot.0);
            }
            TYPE_TABLE => {
                self.size = i64::from(SECTOR);
                self.offset = is_primary.then_some(options.table_offset.0);
            }
            _ if size.text.is_empty() => {
                return Err(size.fault(CsvFault::Missing { what: "size" }));
            }
            _ => self.size = size.bytes("size")?,
        }
        if !is_primary && !offset.text.is_empty() {
            let bytes = offset.bytes("offset")?;
            let wanted = "a number such as 0x10000, 64K or 1M, below 4 GiB";
            let bytes = u32::try_from(bytes).map_err(|_| offset.not_a("offset", wanted))?;
            self.offset = Some(bytes);
        }
        Ok(())
    }

    fn as_partition(&self) -> Partition {
        Partition {
            name: self.name.clone(),
            kind: self.kind,
            subtype: self.subtype,
            offset: FlashOffset(self.offset.unwrap_or(0)),
            len: 0,
            flags: self.flags,
        }
    }
}

fn flag_bits(field: &Field<'_>) -> Result<u32, CsvError> {
    let mut bits = 0;
    for flag in field.text.split(':').filter(|flag| !flag.is_empty()) {
        let known = FLAGS.iter().find(|(name, _)| *name == flag);
        let (_, bit) = known.ok_or_else(|| {
            let names: Vec<String> = FLAGS.iter().map(|(name, _)| (*name).to_owned()).collect();
            field.fault(CsvFault::UnknownName {
                what: "flag",
                text: flag.to_owned(),
                nearest: nearest(flag, &names),
                known: names,
            })
        })?;
        bits |= bit;
    }
    Ok(bits)
}

/// Fills in missing offsets, each after the row before it, and converts sizes that mean an end
/// offset.
fn place(rows: Vec<Row>, options: &CsvOptions) -> Result<PartitionTable, CsvError> {
    let mut last_end = u64::from(options.table_offset.0) + u64::from(SECTOR);
    let mut partitions = Vec::new();
    for row in rows {
        let mut partition = row.as_partition();
        let wrong_size = || {
            let (line, column) = (row.line, row.size_column);
            CsvFault::BadSize { name: row.name.clone(), size: row.size }.at(line, column)
        };
        if !partition.is_primary() {
            let align = if partition.is_app() { APP_ALIGN } else { SECTOR };
            let offset = match row.offset {
                Some(offset) if u64::from(offset) < last_end => {
                    let name = row.name;
                    let offset = FlashOffset(offset);
                    let fault = CsvFault::Overlap { name, offset, free_from: last_end };
                    return Err(fault.at(row.line, row.offset_column));
                }
                Some(offset) => offset,
                None => u32::try_from(last_end.next_multiple_of(align.into()))
                    .map_err(|_| wrong_size())?,
            };
            partition.offset = FlashOffset(offset);
        }
        let offset = i64::from(partition.offset.0);
        let size = if row.size < 0 { -row.size - offset } else { row.size };
        partition.len = u32::try_from(size).ok().filter(|len| *len > 0).ok_or_else(wrong_size)?;
        if partition.end() > 1 << 32 {
            return Err(wrong_size());
        }
        if !partition.is_primary() {
            last_end = partition.end();
        }
        partitions.push(partition);
    }
    Ok(PartitionTable { partitions })
}

/// Parses a number as the generator does: decimal, 0x, 0o or 0b, with a sign, underscores between
/// digits, and a final K or M.
fn number(text: &str) -> Option<i64> {
    let last = text.chars().next_back()?;
    let factor = match last.to_ascii_lowercase() {
        'k' => 1 << 10,
        'm' => 1 << 20,
        _ => 1,
    };
    let digits = if factor == 1 { text } else { &text[..text.len() - 1] };
    let digits = digits.trim();
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits.strip_prefix('+').unwrap_or(digits)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        _ => (10, lower.as_str()),
    };
    // A leading zero might mean octal, so the generator refuses it.
    if radix == 10 && digits.len() > 1 && digits.starts_with('0') && digits.contains(|c| c > '0') {
        return None;
    }
    // A single underscore is allowed between two digits, and after the base prefix.
    let digits = if radix == 10 { digits } else { digits.strip_prefix('_').unwrap_or(digits) };
    if digits.starts_with('_') || digits.ends_with('_') || digits.contains("__") {
        return None;
    }
    let digits = digits.replace('_', "");
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let number = i64::from_str_radix(&digits, radix).ok()?.checked_mul(factor)?;
    Some(if negative { -number } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_the_generator_reads_them() {
        let cases = [
            ("0x10000", Some(0x1_0000)),
            ("0X1f", Some(0x1f)),
            ("64K", Some(0x1_0000)),
            ("1m", Some(1 << 20)),
            ("0x10k", Some(0x4000)),
            ("-0x400000", Some(-0x40_0000)),
            ("0", Some(0)),
            ("00", Some(0)),
            ("1_000", Some(1000)),
            ("0b1010", Some(10)),
            ("0o17", Some(15)),
            ("010", None),
            ("0x", None),
            ("", None),
            ("K", None),
            ("1.5M", None),
            ("1__0", None),
            ("ff", None),
            ("99999999999999999999", None),
            ("9223372036854775807M", None),
        ];
        for (text, expected) in cases {
            assert_eq!(number(text), expected, "{text:?}");
        }
    }
}
