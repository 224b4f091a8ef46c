//! Reads the rows of CSV files: namespaces, keys and values.
//!
//! ```text
//! key,type,encoding,value
//! storage,namespace,,
//! limit,data,u16,500
//! certificate,file,binary,certificate.der
//! ```
//!
//! Source: ESP-IDF Programming Guide, "NVS Partition Generator Utility". Details that it does not
//! specify were found by comparing with the generator's output, see `tests/cases`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use esplice_chip::nearest;

use crate::{
    Value,
    csv_error::{CsvError, CsvFault},
    csv_rows::{Field, rows},
    format::KEY_FIELD,
    make::{LARGEST_BLOB, LARGEST_PARTITION},
    wifi::Wifi,
};

/// A namespace, or a key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record {
    /// A namespace, to which the following keys belong.
    Namespace {
        /// Name of the namespace.
        name: String,
    },
    /// A key and its value.
    Pair {
        /// The key.
        key: String,
        /// The value.
        value: Value,
    },
}

/// A record, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Line {
    /// Number of the call of [`Csv::add`], from 0.
    pub source: usize,
    /// Line of the row, counted from 1.
    pub line: usize,
    /// Column of the key, counted from 1.
    pub column: usize,
    /// True if the row does not list the record, but the generator adds it to Wi-Fi settings.
    pub added: bool,
    /// The record.
    pub record: Record,
}

/// The records of CSV files, in order.
#[derive(Debug, Clone, Default)]
pub struct Csv {
    sources: usize,
    lines: Vec<Line>,
    /// Bytes of all strings and blobs.
    len: usize,
    wifi: Wifi,
}

/// Reads the file at a path of a CSV row, or returns why that is not possible.
pub type ReadFile<'r> = dyn FnMut(&str) -> Result<Vec<u8>, String> + 'r;

/// Types of rows.
const TYPES: [&str; 3] = ["namespace", "data", "file"];

/// Name of an encoding of numbers, smallest and largest number, and what makes the value.
type Number = (&'static str, i128, i128, fn(i128) -> Value);

/// Encodings of numbers.
const NUMBERS: [Number; 8] = [
    ("u8", 0, u8::MAX as i128, |number| Value::U8(number as u8)),
    ("i8", i8::MIN as i128, i8::MAX as i128, |number| Value::I8(number as i8)),
    ("u16", 0, u16::MAX as i128, |number| Value::U16(number as u16)),
    ("i16", i16::MIN as i128, i16::MAX as i128, |number| Value::I16(number as i16)),
    ("u32", 0, u32::MAX as i128, |number| Value::U32(number as u32)),
    ("i32", i32::MIN as i128, i32::MAX as i128, |number| Value::I32(number as i32)),
    ("u64", 0, u64::MAX as i128, |number| Value::U64(number as u64)),
    ("i64", i64::MIN as i128, i64::MAX as i128, |number| Value::I64(number as i64)),
];

/// Other encodings, as shown in errors.
const OTHERS: [&str; 6] =
    ["string", "binary", "hex2bin", "base64", "blob_fill(LEN;0xNN)", "blob_sz_fill(LEN;0xNN)"];

impl Csv {
    /// Adds the rows of a CSV file, and reads the files that they name.
    ///
    /// # Errors
    /// [`CsvError`], with line and column.
    pub fn add(&mut self, text: &str, read: &mut ReadFile<'_>) -> Result<(), CsvError> {
        let mut rows = rows(text)?.into_iter();
        let head = rows.next().ok_or(CsvFault::Empty.at(1, 1))?;
        let column = |name: &'static str| {
            let at = head.iter().position(|field| field.text.trim() == name);
            let line = head.first().map_or(1, |field| field.line);
            at.ok_or(CsvFault::NoColumn { name }.at(line, 1))
        };
        let columns = [column("key")?, column("type")?, column("encoding")?, column("value")?];
        for row in rows {
            let missing = |wanted: usize| {
                let last = row.last().cloned().unwrap_or_default();
                let column = last.column + last.text.chars().count();
                CsvFault::FewFields { found: row.len(), wanted }.at(last.line, column)
            };
            // A namespace has neither encoding nor value.
            let is_namespace = row.get(columns[1]).is_some_and(|kind| kind.text.trim() == TYPES[0]);
            let empty = Field::default();
            let [key, kind, encoding, value] = columns.map(|at| row.get(at));
            let (Some(key), Some(kind)) = (key, kind) else { return Err(missing(head.len())) };
            let (encoding, value) = match (encoding, value) {
                (Some(encoding), Some(value)) => (encoding, value),
                _ if is_namespace => (&empty, &empty),
                _ => return Err(missing(head.len())),
            };
            self.row(key, kind, encoding, value, read)?;
        }
        self.sources += 1;
        Ok(())
    }

    /// Returns the records.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    fn row(
        &mut self,
        key: &Field,
        kind: &Field,
        encoding: &Field,
        value: &Field,
        read: &mut ReadFile<'_>,
    ) -> Result<(), CsvError> {
        let kind_name = kind.text.trim();
        if !TYPES.contains(&kind_name) {
            return Err(kind.fault(CsvFault::Unknown {
                what: "type",
                text: kind.text.clone(),
                nearest: nearest(kind_name, &TYPES),
                known: TYPES.map(str::to_owned).to_vec(),
            }));
        }
        let is_namespace = kind_name == TYPES[0];
        let name = name(if is_namespace { "namespace" } else { "key" }, key)?;
        if is_namespace {
            self.push(key, false, Record::Namespace { name });
            return Ok(());
        }
        let (bytes, path) = match kind_name {
            "file" => {
                let path = value.text.as_str();
                let read = read(path).map_err(|reason| {
                    value.fault(CsvFault::File { path: path.to_owned(), reason })
                })?;
                (Some(read), path)
            }
            _ => (None, ""),
        };
        let parsed = parse(encoding, value, bytes, path)?;
        self.len += match &parsed {
            Value::Text(text) => text.len(),
            Value::Blob(bytes) => bytes.len(),
            _ => 0,
        };
        if self.len > LARGEST_PARTITION as usize {
            return Err(value.fault(CsvFault::TooMuch { most: LARGEST_PARTITION as usize }));
        }
        let wifi = self.wifi.clone().with(&name, &value.text);
        for (key_name, bytes) in &wifi.before {
            let key_name = (*key_name).to_owned();
            let value = Value::Blob(bytes.clone());
            self.push(key, true, Record::Pair { key: key_name, value });
        }
        self.push(key, false, Record::Pair { key: name, value: parsed });
        for (key_name, bytes) in &wifi.after {
            let key_name = (*key_name).to_owned();
            let value = Value::Blob(bytes.clone());
            self.push(key, true, Record::Pair { key: key_name, value });
        }
        self.wifi = wifi.state;
        Ok(())
    }

    fn push(&mut self, key: &Field, added: bool, record: Record) {
        let (source, line, column) = (self.sources, key.line, key.column);
        self.lines.push(Line { source, line, column, added, record });
    }
}

/// Checks the name of a key or a namespace.
fn name(what: &'static str, field: &Field) -> Result<String, CsvError> {
    let name = &field.text;
    let most = KEY_FIELD - 1;
    let fits = (1..=most).contains(&name.len());
    if !fits || name.contains(char::is_control) || name.trim() != name {
        return Err(field.fault(CsvFault::BadName { what, name: name.clone(), most }));
    }
    Ok(name.clone())
}

/// Parses a value, which is the field's text or the content of the file at `path`.
fn parse(
    encoding: &Field,
    value: &Field,
    file: Option<Vec<u8>>,
    path: &str,
) -> Result<Value, CsvError> {
    let lower = encoding.text.trim().to_ascii_lowercase();
    let text = || match &file {
        Some(bytes) => std::str::from_utf8(bytes)
            .map_err(|_| value.fault(CsvFault::NotText { path: path.to_owned() })),
        None => Ok(value.text.as_str()),
    };
    let bytes = || file.clone().unwrap_or_else(|| value.text.clone().into_bytes());
    if let Some((name, least, most, make)) = NUMBERS.iter().find(|(name, ..)| *name == lower) {
        let text = text()?;
        let number = number(text).filter(|number| (*least..=*most).contains(number));
        return number.map(make).ok_or_else(|| {
            let text: String = text.chars().take(40).collect();
            let (encoding, least, most) = (*name, *least, *most);
            value.fault(CsvFault::BadNumber { text, encoding, least, most })
        });
    }
    let blob = match lower.as_str() {
        "string" => return text().map(|text| Value::Text(text.to_owned())),
        "binary" => bytes(),
        "hex2bin" => from_hex(text()?, value, file.is_some())?,
        "base64" => {
            let text: String = text()?.chars().filter(|c| !c.is_ascii_whitespace()).collect();
            STANDARD
                .decode(text)
                .map_err(|error| value.fault(CsvFault::BadBase64 { reason: error.to_string() }))?
        }
        _ => match fill(&lower) {
            Some(fill) => fill.pad(&bytes(), encoding, value)?,
            None => {
                let known: Vec<String> = NUMBERS
                    .iter()
                    .map(|(name, ..)| *name)
                    .chain(OTHERS)
                    .map(str::to_owned)
                    .collect();
                return Err(encoding.fault(CsvFault::Unknown {
                    what: "encoding",
                    text: encoding.text.clone(),
                    nearest: nearest(&lower, &known),
                    known,
                }));
            }
        },
    };
    if blob.len() > LARGEST_BLOB {
        let (len, most) = (blob.len(), LARGEST_BLOB);
        return Err(value.fault(CsvFault::LongBlob { len, most }));
    }
    Ok(Value::Blob(blob))
}

/// Parses a decimal number with a sign, blanks around it, and underscores between digits.
fn number(text: &str) -> Option<i128> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.starts_with('_') || digits.ends_with('_') || digits.contains("__") {
        return None;
    }
    let digits = digits.replace('_', "");
    if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse::<i128>().ok()?;
    Some(if negative { -number } else { number })
}

fn from_hex(text: &str, value: &Field, is_file: bool) -> Result<Vec<u8>, CsvError> {
    let digits = text.trim();
    let indent = text.chars().take_while(|c| c.is_whitespace()).count();
    if let Some((at, c)) = digits.chars().enumerate().find(|(_, c)| !c.is_ascii_hexdigit()) {
        let fault = CsvFault::BadHex { text: c };
        return Err(if is_file { value.fault(fault) } else { value.fault_at(indent + at, fault) });
    }
    let count = digits.len();
    hex::decode(digits).map_err(|_| value.fault(CsvFault::OddHex { count }))
}

/// A blob that is padded to a length.
struct Fill {
    len: usize,
    byte: u8,
    /// True if the value's length comes first, in four bytes.
    with_len: bool,
}

/// Parses `blob_fill(LEN;0xNN)` and `blob_sz_fill(LEN;0xNN)`.
fn fill(text: &str) -> Option<Fill> {
    let (with_len, rest) = match text.strip_prefix("blob_fill(") {
        Some(rest) => (false, rest),
        None => (true, text.strip_prefix("blob_sz_fill(")?),
    };
    let (len, byte) = rest.strip_suffix(')')?.split_once(';')?;
    let is_number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let digits = byte.strip_prefix("0x").filter(|digits| digits.len() == 2)?;
    let byte = u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?;
    // A length that no number holds is also longer than any blob.
    let len = is_number(len).then(|| len.parse().unwrap_or(usize::MAX))?;
    Some(Fill { len, byte, with_len })
}

impl Fill {
    fn pad(&self, bytes: &[u8], encoding: &Field, value: &Field) -> Result<Vec<u8>, CsvError> {
        if self.len > LARGEST_BLOB {
            let (len, most) = (self.len, LARGEST_BLOB);
            return Err(encoding.fault(CsvFault::LongBlob { len, most }));
        }
        if bytes.len() > self.len {
            let (len, most) = (bytes.len(), self.len);
            return Err(value.fault(CsvFault::LongValue { len, most }));
        }
        let mut blob = Vec::new();
        if self.with_len {
            blob.extend((bytes.len() as u32).to_le_bytes());
        }
        blob.extend(bytes);
        blob.resize(blob.len() + self.len - bytes.len(), self.byte);
        Ok(blob)
    }
}
