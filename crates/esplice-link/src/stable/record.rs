//! The record that one link leaves for the next: the place of each section.
//!
//! | bytes | meaning |
//! |-------|---------|
//! | 8 | `ESPLSTBL` |
//! | 1 | version, 3 |
//! | 8 | the first bytes of the SHA-256 of everything after it |
//! | … | contexts, zones and sections, in numbers of 7 bits per byte, lowest first |
//!
//! A record is untrusted input. It only suggests that a section may have its former place again,
//! and the linker verifies that.

use super::{StableError, digest::Digests, digest::text_digest};

const MAGIC: &[u8] = b"ESPLSTBL";
const VERSION: u8 = 3;

/// The record of a link.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Properties that the link depended on in addition to its objects, by name.
    pub(crate) contexts: Vec<(String, u64)>,
    /// The zones, by name of output section and number in it.
    pub(crate) zones: Vec<ZoneRecord>,
    /// The sections, by zone and offset.
    pub(crate) entries: Vec<Entry>,
    /// Bytes in zones that no section used: at the baseline, and now.
    pub(crate) waste: (u64, u64),
}

/// Extent of a zone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ZoneRecord {
    pub output: String,
    pub number: u32,
    /// Offset of its first section, from the start of the output section.
    pub start: u32,
    /// Offset of its end.
    pub end: u32,
}

/// Place of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Entry {
    /// Index of its zone.
    pub zone: u32,
    /// Offset from the start of the output section.
    pub offset: u32,
    /// Size as linked.
    pub size: u32,
    /// Size as compiled; the linker makes code shorter.
    pub input_size: u32,
    /// Room after it that belongs to it.
    pub slack: u32,
    pub anonymous: bool,
    /// True if the linker placed it directly after the previous entry by itself.
    pub chained: bool,
    /// Digest of the name of its file; 0 for the program's own objects.
    pub file: u64,
    pub digests: Digests,
}

impl Record {
    /// Decodes a record.
    ///
    /// # Errors
    /// [`StableError::BadRecord`] if it is not a record, or damaged, or of another version.
    ///
    /// ```
    /// use esplice_link::stable::Record;
    /// let record = Record::default();
    /// assert_eq!(Record::from_bytes(&record.to_bytes()).unwrap(), record);
    /// ```
    pub fn from_bytes(bytes: &[u8]) -> Result<Record, StableError> {
        let bad = |message: &str| StableError::BadRecord { message: message.to_owned() };
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| bad("it is not a record"))?;
        let (version, rest) = rest.split_first().ok_or_else(|| bad("it is truncated"))?;
        if *version != VERSION {
            return Err(bad(&format!("it has version {version}, not {VERSION}")));
        }
        let (sum, body) = rest.split_at_checked(8).ok_or_else(|| bad("it is truncated"))?;
        if sum != text_digest(body).to_be_bytes() {
            return Err(bad("its checksum is wrong"));
        }
        let mut reader = Reader { rest: body };
        let record = reader.record().ok_or_else(|| bad("its contents are invalid"))?;
        if !reader.rest.is_empty() {
            return Err(bad("it has trailing bytes"));
        }
        Ok(record)
    }

    /// Encodes the record. Equal records have equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        number(&mut body, self.contexts.len() as u64);
        for (name, digest) in &self.contexts {
            text(&mut body, name);
            body.extend(digest.to_be_bytes());
        }
        number(&mut body, self.zones.len() as u64);
        for zone in &self.zones {
            text(&mut body, &zone.output);
            for value in [zone.number, zone.start, zone.end] {
                number(&mut body, value.into());
            }
        }
        number(&mut body, self.waste.0);
        number(&mut body, self.waste.1);
        number(&mut body, self.entries.len() as u64);
        let mut last = (0, 0);
        for entry in &self.entries {
            if entry.zone != last.0 {
                last = (entry.zone, 0);
            }
            // Zone and flags, then the distance from the end of the previous section.
            let marks = u64::from(entry.chained) << 1 | u64::from(entry.anonymous);
            number(&mut body, u64::from(entry.zone) << 2 | marks);
            number(&mut body, entry.offset.wrapping_sub(last.1).into());
            number(&mut body, entry.size.into());
            number(&mut body, entry.input_size.wrapping_sub(entry.size).into());
            number(&mut body, entry.slack.into());
            last.1 = entry.offset.wrapping_add(entry.size);
            let Digests { content, full, shape, name, exact } = entry.digests;
            for digest in [entry.file, content, full, shape, name, exact] {
                body.extend(digest.to_be_bytes());
            }
        }
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        bytes.extend(text_digest(&body).to_be_bytes());
        bytes.extend(body);
        bytes
    }

    /// Returns the number of sections in the record.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether the record has no sections.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

fn number(to: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn text(to: &mut Vec<u8>, text: &str) {
    number(to, text.len() as u64);
    to.extend_from_slice(text.as_bytes());
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn record(&mut self) -> Option<Record> {
        let mut record = Record::default();
        for _ in 0..self.number()? {
            record.contexts.push((self.text()?, self.digest()?));
        }
        for _ in 0..self.number()? {
            record.zones.push(ZoneRecord {
                output: self.text()?,
                number: self.short()?,
                start: self.short()?,
                end: self.short()?,
            });
        }
        record.waste = (self.number()?, self.number()?);
        let mut last = (0, 0);
        for _ in 0..self.number()? {
            let head = self.number()?;
            let zone = u32::try_from(head >> 2).ok()?;
            record.zones.get(zone as usize)?;
            if zone != last.0 {
                last = (zone, 0);
            }
            let (anonymous, chained) = (head & 1 != 0, head & 2 != 0);
            let mut entry = Entry { zone, anonymous, chained, ..Entry::default() };
            entry.offset = self.short()?.wrapping_add(last.1);
            entry.size = self.short()?;
            entry.input_size = self.short()?.wrapping_add(entry.size);
            entry.slack = self.short()?;
            last.1 = entry.offset.wrapping_add(entry.size);
            entry.file = self.digest()?;
            entry.digests = Digests {
                content: self.digest()?,
                full: self.digest()?,
                shape: self.digest()?,
                name: self.digest()?,
                exact: self.digest()?,
            };
            record.entries.push(entry);
        }
        Some(record)
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn short(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    fn digest(&mut self) -> Option<u64> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u64::from_be_bytes(*bytes))
    }

    fn text(&mut self) -> Option<String> {
        let len = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        String::from_utf8(bytes.to_vec()).ok()
    }
}
