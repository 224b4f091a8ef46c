//! Stub files: a program for the chip's RAM that speaks the loader's protocol, faster and with
//! more commands.
//!
//! The files are JSON in esptool's format: `entry`, `text_start` and `data_start` are numbers,
//! `text` and `data` are the sections' bytes in base64. Other keys (`bss_start`, and those of
//! plugins) are ignored: esptool's own stubs start without them.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use esplice_chip::{Addr, Chip};
use serde::Deserialize;

/// Maximum size of a stub file in bytes; those of esptool 5.6 have at most 20,000.
const LARGEST_FILE: usize = 1 << 20;

/// A program for a chip's RAM that speaks the loader's protocol.
#[derive(Clone, PartialEq, Eq)]
pub struct Stub {
    /// Entry address.
    pub entry: Addr,
    /// Code section.
    pub text: StubSection,
    /// Data section, if any.
    pub data: Option<StubSection>,
    /// Number of bytes of the code that must be uploaded before the stub starts. The rest is in
    /// `parts`.
    core: usize,
    /// Parts of the code that may be uploaded later, through the stub itself; only esplice's own
    /// stub has them.
    parts: Vec<StubSection>,
}

/// A section of a stub: its bytes and their address.
#[derive(Clone, PartialEq, Eq)]
pub struct StubSection {
    /// Address in RAM.
    pub addr: Addr,
    /// The bytes, a multiple of 4.
    pub bytes: Vec<u8>,
}

/// Reason why a file is not a stub, or not one for the chip.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StubError {
    /// The file is larger than any stub.
    #[error("stub file of {len} bytes is larger than {LARGEST_FILE}")]
    Large {
        /// Size of the file in bytes.
        len: usize,
    },
    /// The file is not JSON with the keys of a stub.
    #[error("not a stub file: {message}")]
    Form {
        /// Message of the JSON parser.
        message: String,
    },
    /// A section is not base64.
    #[error("stub's {section} is not base64: {message}")]
    Base64 {
        /// `text` or `data`.
        section: &'static str,
        /// Message of the decoder.
        message: String,
    },
    /// The file contains no code.
    #[error("stub has no code")]
    Empty,
    /// The data section has no address.
    #[error("stub has data but no data_start")]
    NoPlace,
    /// The entry lies outside the code.
    #[error("stub's entry {entry} is outside its {len} bytes of code at {addr}")]
    Entry {
        /// The entry.
        entry: Addr,
        /// Address of the code.
        addr: Addr,
        /// Length of the code in bytes.
        len: usize,
    },
    /// A section lies outside the chip's RAM.
    #[error("stub's {section}, {len} bytes at {addr}, is outside the RAM of {chip}")]
    Outside {
        /// `text` or `data`.
        section: &'static str,
        /// Address of the section.
        addr: Addr,
        /// Length in bytes.
        len: usize,
        /// The chip's name.
        chip: String,
    },
}

impl StubError {
    /// Returns a hint on how to fix the error.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            StubError::Outside { chip, .. } => {
                format!("a stub fits one chip only: esptool's stub for this one is {chip}.json")
            }
            _ => "stub files are JSON with entry, text, text_start, data and data_start, as in \
                  esptool's folder targets/stub_flasher; --stub none uses the ROM loader"
                .into(),
        })
    }
}

#[derive(Deserialize)]
struct RawStub {
    entry: u32,
    text: String,
    text_start: u32,
    data: Option<String>,
    data_start: Option<u32>,
    core: Option<usize>,
    #[serde(default)]
    parts: Vec<RawPart>,
}

/// A part of the code that the core does not need.
#[derive(Deserialize)]
struct RawPart {
    start: u32,
    length: usize,
}

impl Stub {
    /// Reads a stub file.
    ///
    /// # Errors
    /// [`StubError`], all but `Outside`.
    pub fn parse(json: &[u8]) -> Result<Stub, StubError> {
        if json.len() > LARGEST_FILE {
            return Err(StubError::Large { len: json.len() });
        }
        let raw: RawStub = serde_json::from_slice(json)
            .map_err(|error| StubError::Form { message: error.to_string() })?;
        let text = section("text", raw.text_start, &raw.text)?.ok_or(StubError::Empty)?;
        let data = match (raw.data, raw.data_start) {
            (Some(data), Some(start)) => section("data", start, &data)?,
            (Some(data), None) if !data.is_empty() => return Err(StubError::NoPlace),
            _ => None,
        };
        let entry = Addr(raw.entry);
        let within = entry.0.checked_sub(text.addr.0).map(|at| at as usize);
        if within.is_none_or(|at| at >= text.bytes.len()) {
            return Err(StubError::Entry { entry, addr: text.addr, len: text.bytes.len() });
        }
        let core = raw.core.unwrap_or(text.bytes.len()).min(text.bytes.len());
        let mut parts = Vec::new();
        for RawPart { start, length } in raw.parts {
            let at = start.checked_sub(text.addr.0).map(|at| at as usize);
            let bytes = at.filter(|at| *at >= core).and_then(|at| text.bytes.get(at..));
            let bytes = bytes.and_then(|rest| rest.get(..length)).ok_or(StubError::Form {
                message: format!("the part at 0x{start:x} is outside the code after the core"),
            })?;
            parts.push(StubSection { addr: Addr(start), bytes: bytes.to_vec() });
        }
        Ok(Stub { entry, text, data, core, parts })
    }

    /// Returns esplice's own stub for `chip`, if there is one.
    pub fn own(chip: &Chip) -> Option<Stub> {
        // A test parses every file.
        Stub::parse(chip.stub_file()?.as_bytes()).ok()
    }

    /// Returns true if the stub knows the commands of esplice's own.
    pub(crate) fn is_own(&self) -> bool {
        !self.parts.is_empty()
    }

    /// Returns a part that the core does not need.
    pub(crate) fn part(&self, index: usize) -> Option<&StubSection> {
        self.parts.get(index)
    }

    /// Checks that the stub fits into `chip`'s RAM.
    ///
    /// # Errors
    /// [`StubError::Outside`].
    pub fn check(&self, chip: &Chip) -> Result<(), StubError> {
        for (name, section) in self.sections() {
            let fits = chip.region_at(section.addr).is_some_and(|region| {
                let enough = region.bytes_after(section.addr) as usize >= section.bytes.len();
                let runs = name != "text" || region.access.execute;
                region.access.write && enough && runs
            });
            if !fits {
                let (addr, len, chip) = (section.addr, section.bytes.len(), chip.name.clone());
                return Err(StubError::Outside { section: name, addr, len, chip });
            }
        }
        Ok(())
    }

    /// Returns the sections, with their names in the file.
    fn sections(&self) -> impl Iterator<Item = (&'static str, &StubSection)> {
        std::iter::once(("text", &self.text)).chain(self.data.iter().map(|data| ("data", data)))
    }

    /// Returns addresses and bytes to upload before the stub starts.
    pub(crate) fn first_upload(&self) -> impl Iterator<Item = (Addr, &[u8])> {
        let core = self.text.bytes.get(..self.core).unwrap_or(&self.text.bytes);
        let data = self.data.iter().map(|data| (data.addr, &data.bytes[..]));
        std::iter::once((self.text.addr, core)).chain(data)
    }

    /// Returns words of the code that identify the stub in a chip's RAM: at its entry, in the
    /// middle and at the end. Code does not change while it runs.
    pub(crate) fn marks(&self) -> Vec<(Addr, u32)> {
        let words = self.core / 4;
        let entry = (self.entry.0.saturating_sub(self.text.addr.0) / 4) as usize;
        let mut marks = Vec::new();
        for word in [entry, words / 2, words.saturating_sub(1)] {
            let at = word * 4;
            let bytes = self.text.bytes.get(at..).and_then(|rest| rest.first_chunk());
            if let Some(bytes) = bytes {
                marks.push((Addr(self.text.addr.0 + at as u32), u32::from_le_bytes(*bytes)));
            }
        }
        marks
    }
}

impl fmt::Debug for Stub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stub")
            .field("entry", &self.entry)
            .field("text", &self.text)
            .field("data", &self.data)
            .finish()
    }
}

impl fmt::Debug for StubSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes at {}", self.bytes.len(), self.addr)
    }
}

/// Decodes a section's bytes and pads them to a whole word, as loaders require. Returns `None` if
/// there are no bytes.
fn section(name: &'static str, addr: u32, base64: &str) -> Result<Option<StubSection>, StubError> {
    let mut bytes = STANDARD
        .decode(base64)
        .map_err(|error| StubError::Base64 { section: name, message: error.to_string() })?;
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    Ok((!bytes.is_empty()).then_some(StubSection { addr: Addr(addr), bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Code of eight bytes, data of three, and keys that are ignored.
    const FILE: &str = r#"{"entry": 1077412356, "text": "AQIDBAUGBwg=", "text_start": 1077412352,
        "data": "CQoL", "data_start": 1070165356, "bss_start": 1070088192,
        "plugin_table_offset": 156, "plugins": {"nand": {"text": "AAAA", "handlers": {}}}}"#;

    #[test]
    fn a_stub_file_is_read() {
        let stub = Stub::parse(FILE.as_bytes()).unwrap();
        assert_eq!(stub.entry, Addr(0x4038_0204));
        assert_eq!(stub.text.addr, Addr(0x4038_0200));
        assert_eq!(stub.text.bytes, [1, 2, 3, 4, 5, 6, 7, 8]);
        // Padded to whole words.
        assert_eq!(stub.data.as_ref().unwrap().bytes, [9, 10, 11, 0]);
        let word = |at, bytes| (Addr(at), u32::from_le_bytes(bytes));
        let last = word(0x4038_0204, [5, 6, 7, 8]);
        assert_eq!(stub.marks(), [last, last, last]);
        stub.check(esplice_chip::ChipDb::embedded().find("esp32c3").unwrap()).unwrap();
        let other =
            stub.check(esplice_chip::ChipDb::embedded().find("esp32c6").unwrap()).unwrap_err();
        let message = "stub's text, 8 bytes at 0x40380200, is outside the RAM of esp32c6";
        assert_eq!(other.to_string(), message);
    }

    #[test]
    fn what_is_no_stub_is_refused() {
        let check = |from: &str, to: &str, message: &str| {
            let error = Stub::parse(FILE.replace(from, to).as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), message);
            assert!(error.hint().is_some());
        };
        check("AQIDBAUGBwg=", "", "stub has no code");
        check("\"data_start\"", "\"elsewhere\"", "stub has data but no data_start");
        check("\"CQoL\"", "\"C_oL\"", "stub's data is not base64: Invalid symbol 95, offset 1.");
        for entry in ["1077412351", "1077412360", "0", "4294967295"] {
            let error = Stub::parse(FILE.replace("1077412356", entry).as_bytes()).unwrap_err();
            assert!(matches!(error, StubError::Entry { .. }), "{error}");
        }
        for broken in ["", "{}", "[1]", "\u{0}", "{\"entry\": -1}", "{\"entry\": 4294967296}"] {
            let error = Stub::parse(broken.as_bytes()).unwrap_err();
            assert!(matches!(error, StubError::Form { .. }), "{error}");
        }
        let large = vec![b' '; LARGEST_FILE + 1];
        assert!(matches!(Stub::parse(&large), Err(StubError::Large { .. })));
    }
}
