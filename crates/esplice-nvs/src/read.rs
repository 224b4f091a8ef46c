//! Reads the content of a partition. Nothing is skipped silently: what firmware would not see is
//! reported as a defect, and shown as far as it can be read.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    Key, Value, Version,
    defect::{Defect, Fault},
    format::{
        BITMAP, ENTRIES, ENTRY_LEN, EntryState, EntryType, FIRST_ENTRY, HEADER_CRC, HEADER_VERSION,
        KEY_FIELD, NAMES, PAGE_LEN, PageState, crc, entry_crc,
    },
};

/// The content of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Dump {
    /// The pages, in their order in flash.
    pub pages: Vec<Page>,
    /// Names of the namespaces, also of those without keys, in the order of their indices.
    pub namespaces: Vec<String>,
    /// The keys and their values, in the order in which they were written.
    pub items: Vec<Item>,
    /// The defects, in the order of their offsets.
    pub defects: Vec<Defect>,
}

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// Offset in the partition.
    pub offset: usize,
    /// State.
    pub state: PageState,
    /// Sequence number; `None` for an erased page.
    pub sequence: Option<u32>,
    /// Version of the format; `None` if it is unknown.
    pub version: Option<Version>,
    /// Number of entries in use.
    pub written: usize,
    /// Number of erased entries, whose place is lost until the page is erased.
    pub erased: usize,
    /// Number of free entries.
    pub empty: usize,
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Item {
    /// Namespace. If it has no name, `#` and its index.
    pub namespace: String,
    /// The key.
    pub key: String,
    /// The value. Bytes of a damaged one are as they are in flash.
    pub value: Value,
    /// Offset of the first entry in the partition.
    pub offset: usize,
    /// True if a checksum is wrong, or if parts are missing.
    pub damaged: bool,
}

impl Dump {
    /// Returns whether most entries have wrong checksums, as in an encrypted partition that is read
    /// without its key, or with another one.
    pub fn seems_encrypted(&self) -> bool {
        let is_wrong = |defect: &&Defect| matches!(defect.fault, Fault::EntryCrc { .. });
        let wrong = self.defects.iter().filter(is_wrong).count();
        let written: usize = self.pages.iter().map(|page| page.written).sum();
        wrong > 0 && wrong * 2 > written
    }
}

/// Reads the content of a partition, encrypted if there is a key.
pub fn read(bytes: &[u8], key: Option<&Key>) -> Dump {
    let mut reader = Reader { bytes, key, raw: Vec::new(), dump: Dump::default() };
    reader.pages();
    reader.resolve();
    let mut dump = reader.dump;
    dump.defects.sort_by_key(|defect| defect.offset);
    dump
}

struct Reader<'b> {
    bytes: &'b [u8],
    key: Option<&'b Key>,
    raw: Vec<Raw>,
    dump: Dump,
}

/// An entry with its data.
struct Raw {
    namespace: u8,
    kind: EntryType,
    key: String,
    chunk: u8,
    /// The eight bytes of a number or an index.
    field: [u8; 8],
    data: Vec<u8>,
    offset: usize,
    sequence: u32,
    damaged: bool,
}

impl Reader<'_> {
    fn defect(&mut self, offset: usize, fault: Fault) {
        self.dump.defects.push(Defect { offset, fault });
    }

    fn pages(&mut self) {
        let bytes = self.bytes;
        let mut sequences = BTreeSet::new();
        for (number, page) in bytes.chunks(PAGE_LEN).enumerate() {
            let offset = number * PAGE_LEN;
            if page.len() < PAGE_LEN {
                self.defect(offset, Fault::Truncated { len: page.len() });
            }
            let mut whole = page.to_vec();
            whole.resize(PAGE_LEN, 0xff);
            self.page(offset, page.len(), &whole, &mut sequences);
        }
        // Entries of a page with a lower sequence number are older.
        self.raw.sort_by_key(|raw| (raw.sequence, raw.offset));
    }

    fn page(&mut self, offset: usize, len: usize, page: &[u8], seen: &mut BTreeSet<u32>) {
        let word = |at: usize| page.get(at..at + 4).map_or(0, |bytes| number(bytes) as u32);
        let state = PageState::from_word(word(0));
        let is_erased = page.iter().all(|byte| *byte == 0xff);
        let mut info = Page {
            offset,
            state,
            sequence: None,
            version: None,
            written: 0,
            erased: 0,
            empty: ENTRIES,
        };
        if is_erased {
            self.dump.pages.push(info);
            return;
        }
        match state {
            PageState::Empty => self.defect(offset, Fault::NotErased),
            PageState::Corrupt => self.defect(offset, Fault::CorruptPage),
            PageState::Unknown(word) => self.defect(offset, Fault::BadState { word }),
            _ => {}
        }
        let (stored, computed) = (word(HEADER_CRC), crc(&[&page[4..HEADER_CRC]]));
        if stored != computed {
            self.defect(offset, Fault::HeaderCrc { stored, computed });
        }
        let byte = page[HEADER_VERSION];
        info.version = Version::from_byte(byte);
        if info.version.is_none() {
            self.defect(offset, Fault::BadVersion { byte });
        }
        let sequence = word(4);
        info.sequence = Some(sequence);
        if stored == computed && !seen.insert(sequence) {
            self.defect(offset, Fault::SameSequence { number: sequence });
        }
        self.entries(&mut info, len, page, sequence);
        self.dump.pages.push(info);
    }

    fn entries(&mut self, info: &mut Page, len: usize, page: &[u8], sequence: u32) {
        let bitmap = &page[BITMAP..FIRST_ENTRY];
        let states: Vec<EntryState> = (0..ENTRIES).map(|at| EntryState::of(bitmap, at)).collect();
        let count = |state| states.iter().filter(|known| **known == state).count();
        info.written = count(EntryState::Written);
        info.erased = count(EntryState::Erased);
        info.empty = count(EntryState::Empty);
        let mut entry = 0;
        while entry < ENTRIES {
            let at = FIRST_ENTRY + entry * ENTRY_LEN;
            let offset = info.offset + at;
            // What the dump does not contain was reported before.
            if at + ENTRY_LEN > len {
                return;
            }
            let step = match states[entry] {
                EntryState::Written => self.entry(info.offset, page, entry, &states, sequence),
                EntryState::Erased => 1,
                EntryState::Invalid => {
                    self.defect(offset, Fault::BadEntryState { entry });
                    1
                }
                EntryState::Empty => {
                    if page[at..at + ENTRY_LEN].iter().any(|byte| *byte != 0xff) {
                        self.defect(offset, Fault::Unmarked { entry });
                    }
                    1
                }
            };
            entry += step.max(1);
        }
    }

    /// Returns the decrypted entry.
    fn plain(&self, page_offset: usize, page: &[u8], entry: usize) -> [u8; ENTRY_LEN] {
        let at = FIRST_ENTRY + entry * ENTRY_LEN;
        let mut bytes = [0xff; ENTRY_LEN];
        bytes.copy_from_slice(&page[at..at + ENTRY_LEN]);
        if let Some(key) = self.key {
            key.decrypt(&mut bytes, page_offset + at);
        }
        bytes
    }

    /// Reads a written entry, and returns the number of entries that it spans.
    fn entry(
        &mut self,
        page_offset: usize,
        page: &[u8],
        entry: usize,
        states: &[EntryState],
        sequence: u32,
    ) -> usize {
        let offset = page_offset + FIRST_ENTRY + entry * ENTRY_LEN;
        let bytes = self.plain(page_offset, page, entry);
        let (stored, computed) = (number(&bytes[4..8]) as u32, entry_crc(&bytes));
        if stored != computed {
            self.defect(offset, Fault::EntryCrc { entry, stored, computed });
            return 1;
        }
        let [namespace, byte, span, chunk] = [bytes[0], bytes[1], bytes[2], bytes[3]];
        let Some(kind) = EntryType::from_byte(byte) else {
            self.defect(offset, Fault::BadType { entry, byte });
            return 1;
        };
        let name = &bytes[8..8 + KEY_FIELD];
        let end = name.iter().position(|byte| *byte == 0);
        let key = end.and_then(|end| std::str::from_utf8(&name[..end]).ok());
        let Some(key) = key.map(str::to_owned) else {
            self.defect(offset, Fault::BadKey { entry });
            return 1;
        };
        let is_written = |at: usize| states.get(at) == Some(&EntryState::Written);
        let spans = entry..entry + usize::from(span);
        if span == 0 || (!kind.has_data() && span != 1) || !spans.clone().all(is_written) {
            self.defect(offset, Fault::BadSpan { entry, key, span });
            return 1;
        }
        let mut field = [0; 8];
        field.copy_from_slice(&bytes[24..]);
        let mut raw = Raw {
            namespace,
            kind,
            key: key.clone(),
            chunk,
            field,
            data: Vec::new(),
            offset,
            sequence,
            damaged: false,
        };
        if kind.has_data() {
            let all = spans.skip(1).flat_map(|at| self.plain(page_offset, page, at));
            raw.data = all.collect();
            let len = usize::from(u16::from_le_bytes([field[0], field[1]]));
            if len > raw.data.len() {
                self.defect(offset, Fault::BadLen { key: key.clone(), len, span });
                raw.damaged = true;
            }
            raw.data.truncate(len);
            let (stored, computed) = (number(&field[4..]) as u32, crc(&[&raw.data]));
            if stored != computed && !raw.damaged {
                self.defect(offset, Fault::DataCrc { key, stored, computed });
                raw.damaged = true;
            }
        }
        self.raw.push(raw);
        usize::from(span)
    }

    /// Combines entries to keys and values.
    fn resolve(&mut self) {
        let raw = std::mem::take(&mut self.raw);
        let mut names: BTreeMap<u8, String> = BTreeMap::new();
        for entry in raw.iter().filter(|entry| entry.namespace == NAMES) {
            names.insert(entry.field[0], entry.key.clone());
        }
        // The last entry of a key is in effect.
        type Id<'r> = (u8, &'r str, bool, u8);
        let id = |entry: &Raw| -> (bool, u8) {
            let is_chunk = entry.kind == EntryType::Chunk;
            (is_chunk, if is_chunk { entry.chunk } else { 0 })
        };
        let mut last: HashMap<Id<'_>, usize> = HashMap::new();
        for (at, entry) in raw.iter().enumerate() {
            let (is_chunk, chunk) = id(entry);
            last.insert((entry.namespace, &entry.key, is_chunk, chunk), at);
        }
        let mut used = BTreeSet::new();
        let chunk_of = |entry: &Raw, chunk: u8| {
            last.get(&(entry.namespace, entry.key.as_str(), true, chunk)).copied()
        };
        for (at, entry) in raw.iter().enumerate() {
            if entry.namespace == NAMES || entry.kind == EntryType::Chunk {
                continue;
            }
            let (key, offset) = (entry.key.clone(), entry.offset);
            if last.get(&(entry.namespace, entry.key.as_str(), false, 0)) != Some(&at) {
                self.defect(offset, Fault::Replaced { key });
                continue;
            }
            let mut damaged = entry.damaged;
            let value = match entry.kind {
                EntryType::Text => {
                    let text = entry.data.strip_suffix(&[0]);
                    let is_text = text.is_some_and(|text| std::str::from_utf8(text).is_ok());
                    if !is_text && !entry.damaged {
                        self.defect(offset, Fault::NotText { key: key.clone() });
                        damaged = true;
                    }
                    let text = text.unwrap_or(&entry.data);
                    Value::Text(String::from_utf8_lossy(text).into_owned())
                }
                EntryType::Index => {
                    let wanted = number(&entry.field[..4]) as usize;
                    let (count, first) = (entry.field[4], entry.field[5]);
                    let mut data = Vec::new();
                    let mut is_whole = true;
                    for chunk in (0..count).map(|at| first.wrapping_add(at)) {
                        match chunk_of(entry, chunk) {
                            Some(found) => {
                                used.insert(found);
                                data.extend_from_slice(&raw[found].data);
                                damaged |= raw[found].damaged;
                            }
                            None => {
                                self.defect(offset, Fault::NoChunk { key: key.clone(), chunk });
                                is_whole = false;
                            }
                        }
                    }
                    if is_whole && data.len() != wanted && !damaged {
                        let found = data.len();
                        self.defect(offset, Fault::BlobLen { key: key.clone(), found, wanted });
                        damaged = true;
                    }
                    damaged |= !is_whole;
                    Value::Blob(data)
                }
                EntryType::Blob | EntryType::Chunk => Value::Blob(entry.data.clone()),
                kind => number_value(kind, &entry.field),
            };
            let namespace = names.get(&entry.namespace).cloned().unwrap_or_else(|| {
                let index = entry.namespace;
                self.defect(offset, Fault::NoNamespace { key: key.clone(), index });
                format!("#{index}")
            });
            self.dump.items.push(Item { namespace, key, value, offset, damaged });
        }
        for (at, entry) in raw.iter().enumerate() {
            if entry.kind == EntryType::Chunk && !used.contains(&at) {
                let (key, chunk) = (entry.key.clone(), entry.chunk);
                self.defect(entry.offset, Fault::StrayChunk { key, chunk });
            }
        }
        self.dump.namespaces = names.into_values().collect();
    }
}

/// Returns a little-endian number of up to eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn number_value(kind: EntryType, field: &[u8; 8]) -> Value {
    let number = number(field);
    match kind {
        EntryType::U8 => Value::U8(number as u8),
        EntryType::I8 => Value::I8(number as i8),
        EntryType::U16 => Value::U16(number as u16),
        EntryType::I16 => Value::I16(number as i16),
        EntryType::U32 => Value::U32(number as u32),
        EntryType::I32 => Value::I32(number as i32),
        EntryType::I64 => Value::I64(number as i64),
        _ => Value::U64(number),
    }
}
