//! Lays records out in pages.
//!
//! Where entries go follows ESP-IDF's generator, so that the bytes are the same: an entry that would
//! fill a page exactly begins the next one instead, unless it is a blob, which is split.

use std::collections::{HashMap, hash_map};

use derive_setters::Setters;

use crate::{
    Key, Value, Version,
    csv::{Csv, Record},
    format::{
        BITMAP, ENTRIES, ENTRY_LEN, EntryType, FIRST_ENTRY, HEADER_CRC, HEADER_VERSION, KEY_FIELD,
        MOST_CHUNKS, MOST_NAMESPACES, NAMES, NO_CHUNK, PAGE_LEN, PageState, crc, entry_crc,
    },
};

/// Length of the longest blob in bytes. Source: ESP-IDF Programming Guide, "Non-Volatile Storage
/// Library", section "Keys and Values".
pub const LARGEST_BLOB: usize = 508_000;

/// Length of the longest string in bytes, with its final zero, and of a blob of version 1.
const fn longest(version: Version) -> usize {
    match version {
        Version::V1 => 1984,
        Version::V2 => 4000,
    }
}

/// Size of the largest partition in bytes, far more than ESP-IDF can use.
pub(crate) const LARGEST_PARTITION: u32 = 64 << 20;

/// Pages from which on a partition can be written to by firmware.
const WRITABLE: usize = 3;

/// Options of [`make`].
#[derive(Debug, Clone, PartialEq, Eq, Setters)]
#[non_exhaustive]
pub struct MakeOptions {
    /// Size of the partition in bytes.
    pub size: u32,
    /// Version of the format.
    pub version: Version,
    /// The key to encrypt with.
    pub key: Option<Key>,
}

impl MakeOptions {
    /// Returns the options for a partition of `size` bytes, not encrypted.
    pub const fn new(size: u32) -> MakeOptions {
        MakeOptions { size, version: Version::V2, key: None }
    }

    /// Returns whether firmware can only read a partition of this size.
    pub const fn is_read_only(&self) -> bool {
        (self.size as usize) < WRITABLE * PAGE_LEN
    }
}

/// An error of [`make`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
#[non_exhaustive]
pub struct MakeError {
    /// Index in [`Csv::lines`] of the record that caused it; `None` if none did.
    pub record: Option<usize>,
    /// The error.
    pub fault: MakeFault,
}

/// The cause of an error of [`make`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MakeFault {
    /// A size that no partition has.
    #[error(
        "the size 0x{size:x} is not a multiple of 0x1000 from 0x1000 to 0x{LARGEST_PARTITION:x}"
    )]
    BadSize {
        /// The size.
        size: u32,
    },
    /// A key before the first namespace.
    #[error("key {key:?} belongs to no namespace")]
    NoNamespace {
        /// The key.
        key: String,
    },
    /// A key that a namespace has already.
    #[error("key {key:?} is already in namespace {namespace:?}")]
    Duplicate {
        /// The key.
        key: String,
        /// The namespace.
        namespace: String,
        /// Index of the first record.
        first: usize,
    },
    /// More namespaces than a partition can hold.
    #[error("a partition holds at most {most} namespaces")]
    TooManyNamespaces {
        /// Maximum number.
        most: usize,
    },
    /// A value that is too long.
    #[error("{what} {key:?} has {len} bytes, {most} is the most")]
    TooLong {
        /// `string` or `blob`.
        what: &'static str,
        /// The key.
        key: String,
        /// Length in bytes; of a string, with its final zero.
        len: usize,
        /// Maximum length in bytes.
        most: usize,
    },
    /// A blob in too many pages.
    #[error("blob {key:?} of {len} bytes would be in more than {most} pages")]
    ManyChunks {
        /// The key.
        key: String,
        /// Length in bytes.
        len: usize,
        /// Maximum number of pages.
        most: usize,
    },
    /// The partition is too small.
    #[error("the values need a partition of 0x{needed:x} bytes, not 0x{size:x}")]
    Full {
        /// Size of the smallest partition that holds them.
        needed: usize,
        /// Size of the partition.
        size: u32,
    },
}

impl MakeFault {
    /// Returns advice on how to fix the error.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            MakeFault::NoNamespace { .. } => {
                "write a row NAME,namespace,, before the first key".into()
            }
            MakeFault::Full { needed, .. } => format!("use --size 0x{needed:x}"),
            MakeFault::TooLong { what: "string", .. } => {
                "store it as a blob, with the encoding binary".into()
            }
            _ => return None,
        })
    }
}

/// Returns the content of a partition with these records.
///
/// A partition of one or two pages can only be read by firmware, so the result has just the pages
/// that are used, as the generator makes it.
///
/// # Errors
/// [`MakeError`], with the record that caused it.
pub fn make(csv: &Csv, options: &MakeOptions) -> Result<Vec<u8>, MakeError> {
    let size = options.size;
    let pages = size as usize / PAGE_LEN;
    if pages == 0 || size > LARGEST_PARTITION || !(size as usize).is_multiple_of(PAGE_LEN) {
        return Err(MakeError { record: None, fault: MakeFault::BadSize { size } });
    }
    let mut writer = Writer { version: options.version, key: options.key.as_ref(), pages: vec![] };
    writer.start_page();
    let mut names: HashMap<&str, u8> = HashMap::new();
    let mut current: Option<(&str, u8)> = None;
    let mut keys: HashMap<(u8, &str), usize> = HashMap::new();
    let mut full_at = None;
    // One page stays erased, so that firmware can move entries.
    let usable = if options.is_read_only() { pages } else { pages - 1 };
    for (at, line) in csv.lines().iter().enumerate() {
        let wrong = |fault: MakeFault| MakeError { record: Some(at), fault };
        match &line.record {
            Record::Namespace { name } => {
                let next = names.len() + 1;
                let index = match names.entry(name) {
                    hash_map::Entry::Occupied(known) => *known.get(),
                    hash_map::Entry::Vacant(new) => {
                        let most = MOST_NAMESPACES;
                        let index = u8::try_from(next).ok().filter(|_| next <= most);
                        let index = index.ok_or(wrong(MakeFault::TooManyNamespaces { most }))?;
                        writer.number(NAMES, name, &Value::U8(index));
                        *new.insert(index)
                    }
                };
                current = Some((name, index));
            }
            Record::Pair { key, value } => {
                let Some((namespace, index)) = current else {
                    return Err(wrong(MakeFault::NoNamespace { key: key.clone() }));
                };
                if let Some(first) = keys.insert((index, key), at) {
                    let (key, namespace) = (key.clone(), namespace.to_owned());
                    return Err(wrong(MakeFault::Duplicate { key, namespace, first }));
                }
                writer.pair(index, key, value).map_err(wrong)?;
            }
        }
        if writer.pages.len() > usable && full_at.is_none() {
            full_at = Some(at);
        }
    }
    if let Some(record) = full_at {
        let used = writer.pages.len();
        let stays_read_only = options.is_read_only() && used < WRITABLE;
        let needed = if stays_read_only { used } else { (used + 1).max(WRITABLE) } * PAGE_LEN;
        let fault = MakeFault::Full { needed, size };
        return Err(MakeError { record: Some(record), fault });
    }
    let mut bytes: Vec<u8> = writer.pages.into_iter().flat_map(|page| page.bytes).collect();
    if !options.is_read_only() {
        bytes.resize(size as usize, 0xff);
    }
    Ok(bytes)
}

/// Writes entries one after the other, and begins new pages.
struct Writer<'k> {
    version: Version,
    key: Option<&'k Key>,
    pages: Vec<Page>,
}

struct Page {
    bytes: Vec<u8>,
    /// Entries written.
    used: usize,
}

impl Writer<'_> {
    fn start_page(&mut self) {
        if let Some(last) = self.pages.last_mut() {
            last.bytes[..4].copy_from_slice(&PageState::Full.word().to_le_bytes());
        }
        let mut bytes = vec![0xff; PAGE_LEN];
        bytes[..4].copy_from_slice(&PageState::Active.word().to_le_bytes());
        bytes[4..8].copy_from_slice(&(self.pages.len() as u32).to_le_bytes());
        bytes[HEADER_VERSION] = self.version.byte();
        let sum = crc(&[&bytes[4..HEADER_CRC]]);
        bytes[HEADER_CRC..HEADER_CRC + 4].copy_from_slice(&sum.to_le_bytes());
        self.pages.push(Page { bytes, used: 0 });
    }

    /// Returns the number of entries that are free in the current page.
    fn free(&self) -> usize {
        self.pages.last().map_or(0, |page| ENTRIES - page.used)
    }

    /// Writes an entry.
    fn put(&mut self, mut entry: [u8; ENTRY_LEN]) {
        let number = self.pages.len().saturating_sub(1);
        let Some(page) = self.pages.last_mut() else { return };
        let at = FIRST_ENTRY + page.used * ENTRY_LEN;
        if let Some(key) = self.key {
            key.encrypt(&mut entry, number * PAGE_LEN + at);
        }
        page.bytes[at..at + ENTRY_LEN].copy_from_slice(&entry);
        // Two bits an entry: 11 is empty, 10 is written.
        page.bytes[BITMAP + page.used / 4] &= !(1 << (page.used % 4 * 2));
        page.used += 1;
    }

    /// Writes an entry, and entries with its data.
    fn put_with_data(&mut self, mut entry: [u8; ENTRY_LEN], data: &[u8]) {
        entry[24..26].copy_from_slice(&(data.len() as u16).to_le_bytes());
        entry[28..].copy_from_slice(&crc(&[data]).to_le_bytes());
        self.put(sealed(entry));
        for part in data.chunks(ENTRY_LEN) {
            let mut bytes = [0xff; ENTRY_LEN];
            bytes[..part.len()].copy_from_slice(part);
            self.put(bytes);
        }
    }

    fn pair(&mut self, namespace: u8, key: &str, value: &Value) -> Result<(), MakeFault> {
        match value {
            Value::Text(text) => {
                let mut bytes = text.clone().into_bytes();
                bytes.push(0);
                self.whole(namespace, key, EntryType::Text, &bytes)
            }
            Value::Blob(bytes) if self.version == Version::V1 => {
                self.whole(namespace, key, EntryType::Blob, bytes)
            }
            Value::Blob(bytes) => self.chunks(namespace, key, bytes),
            _ => {
                self.number(namespace, key, value);
                Ok(())
            }
        }
    }

    /// Writes a number.
    fn number(&mut self, namespace: u8, key: &str, value: &Value) {
        if self.free() == 0 {
            self.start_page();
        }
        let kind = match value {
            Value::U8(_) => EntryType::U8,
            Value::I8(_) => EntryType::I8,
            Value::U16(_) => EntryType::U16,
            Value::I16(_) => EntryType::I16,
            Value::U32(_) => EntryType::U32,
            Value::I32(_) => EntryType::I32,
            Value::U64(_) => EntryType::U64,
            Value::I64(_) => EntryType::I64,
            Value::Text(_) | Value::Blob(_) => return,
        };
        let mut entry = head(namespace, kind, 1, NO_CHUNK, key);
        let bytes = value.number_bytes().unwrap_or_default();
        entry[24..24 + bytes.len()].copy_from_slice(&bytes);
        self.put(sealed(entry));
    }

    /// Writes a string, or a blob of version 1, into one page.
    fn whole(
        &mut self,
        namespace: u8,
        key: &str,
        kind: EntryType,
        data: &[u8],
    ) -> Result<(), MakeFault> {
        let (len, most) = (data.len(), longest(self.version));
        if len > most {
            let what = if kind == EntryType::Text { "string" } else { "blob" };
            return Err(MakeFault::TooLong { what, key: key.to_owned(), len, most });
        }
        let span = 1 + data.len().div_ceil(ENTRY_LEN);
        // The generator leaves the last entry of a page empty after such values. It has no page for
        // a string that needs all entries; that begins a page here.
        let is_fresh = self.free() == ENTRIES;
        if span >= self.free() && !is_fresh {
            self.start_page();
        }
        self.put_with_data(head(namespace, kind, span as u8, NO_CHUNK, key), data);
        Ok(())
    }

    /// Writes a blob of version 2: chunks, each within one page, and their index.
    fn chunks(&mut self, namespace: u8, key: &str, data: &[u8]) -> Result<(), MakeFault> {
        if data.len() > LARGEST_BLOB {
            let (len, most) = (data.len(), LARGEST_BLOB);
            return Err(MakeFault::TooLong { what: "blob", key: key.to_owned(), len, most });
        }
        if self.free() == 0 {
            self.start_page();
        }
        let mut rest = data;
        let mut count = 0;
        loop {
            if count == MOST_CHUNKS {
                let (key, len, most) = (key.to_owned(), data.len(), MOST_CHUNKS);
                return Err(MakeFault::ManyChunks { key, len, most });
            }
            let room = (self.free() - 1) * ENTRY_LEN;
            let (chunk, later) = rest.split_at(rest.len().min(room));
            rest = later;
            let span = 1 + chunk.len().div_ceil(ENTRY_LEN);
            let entry = head(namespace, EntryType::Chunk, span as u8, count as u8, key);
            self.put_with_data(entry, chunk);
            count += 1;
            if !rest.is_empty() || room - chunk.len() < ENTRY_LEN {
                self.start_page();
            }
            if rest.is_empty() {
                break;
            }
        }
        let mut entry = head(namespace, EntryType::Index, 1, NO_CHUNK, key);
        entry[24..28].copy_from_slice(&(data.len() as u32).to_le_bytes());
        entry[28] = count as u8;
        // Number of the first chunk.
        entry[29] = 0;
        self.put(sealed(entry));
        Ok(())
    }
}

/// Returns an entry without data and checksum.
fn head(namespace: u8, kind: EntryType, span: u8, chunk: u8, key: &str) -> [u8; ENTRY_LEN] {
    let mut entry = [0xff; ENTRY_LEN];
    entry[..4].copy_from_slice(&[namespace, kind.byte(), span, chunk]);
    let name = &mut entry[8..8 + KEY_FIELD];
    name.fill(0);
    for (to, from) in name.iter_mut().zip(key.bytes()) {
        *to = from;
    }
    entry
}

/// Returns the entry with its checksum.
fn sealed(mut entry: [u8; ENTRY_LEN]) -> [u8; ENTRY_LEN] {
    let sum = entry_crc(&entry);
    entry[4..8].copy_from_slice(&sum.to_le_bytes());
    entry
}
