//! defmt log frames. Their texts are stored only in the ELF, not in the firmware.

mod sizes;
mod stream;

use std::collections::BTreeMap;

use crate::filter::Level;
use defmt_decoder::{Encoding, Locations, Table};

use sizes::NoFrame;
pub(crate) use stream::{Demux, Piece};

/// Maximum length of a frame in bytes. Source: defmt has no limit of its own; the buffers of its
/// transports have 1 KiB (defmt-rtt) or less.
pub(crate) const MAX_FRAME: usize = 4096;

/// An ELF whose defmt data cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("no readable defmt data: {reason}")]
#[non_exhaustive]
pub struct DefmtError {
    /// The cause, as reported by defmt's own reader.
    pub reason: String,
}

/// A message received as a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogFrame {
    /// The level. `None` for `defmt::println!`.
    pub level: Option<Level>,
    /// The timestamp in the firmware's own format. `None` if it defines none.
    pub timestamp: Option<String>,
    /// The text. It may have several lines.
    pub message: String,
    /// The module that logged it, such as `app::net`, if debug information has it.
    pub module: Option<String>,
    /// File and line, if debug information has them.
    pub place: Option<(String, u64)>,
}

impl std::fmt::Display for LogFrame {
    /// Writes the frame as a log line: `0.012 INFO  app::net: text`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(timestamp) = &self.timestamp {
            write!(f, "{timestamp} ")?;
        }
        if let Some(level) = self.level {
            write!(f, "{:5} ", level.name())?;
            if let Some(module) = &self.module {
                write!(f, "{module}: ")?;
            }
        }
        f.write_str(&self.message)
    }
}

/// The texts of a firmware's log, and the encoding of its frames.
pub struct DefmtTable {
    table: Table,
    /// The same texts by number, to examine a frame before it is decoded.
    formats: BTreeMap<u16, String>,
    timestamp: Option<String>,
    locations: Locations,
}

impl std::fmt::Debug for DefmtTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DefmtTable").field("formats", &self.formats.len()).finish_non_exhaustive()
    }
}

impl DefmtTable {
    /// Reads the table of an ELF. Returns `None` if the firmware does not use defmt.
    ///
    /// # Errors
    ///
    /// Returns an error if the file is not an ELF, the table is broken, or its version is unknown.
    pub fn from_elf(elf: &[u8]) -> Result<Option<DefmtTable>, DefmtError> {
        let error = |reason: String| DefmtError { reason };
        // defmt's reader also rejects some ELFs without such a log.
        if object::File::parse(elf).is_ok_and(|file| !has_defmt(&file)) {
            return Ok(None);
        }
        let table = Table::parse(elf).map_err(|e| error(e.to_string()))?;
        let Some(table) = table else { return Ok(None) };
        let (formats, timestamp) = formats(elf).map_err(|e| error(e.to_string()))?;
        // Locations need full debug information. Line tables are not enough.
        let locations = table.get_locations(elf).unwrap_or_default();
        Ok(Some(DefmtTable { table, formats, timestamp, locations }))
    }

    fn is_raw(&self) -> bool {
        matches!(self.table.encoding(), Encoding::Raw)
    }

    /// Decodes a frame whose encoding was already removed.
    fn decode(&self, bytes: &[u8]) -> Result<LogFrame, NoFrame> {
        // defmt's own decoder trusts the sizes and the nesting depth that a frame states.
        let len = sizes::frame(bytes, &self.formats, self.timestamp.as_deref())?;
        let bytes = bytes.get(..len).ok_or(NoFrame::Never)?;
        let (frame, _) = self.table.decode(bytes).map_err(|_| NoFrame::Never)?;
        let location = self.locations.get(&frame.index());
        Ok(LogFrame {
            level: frame.level().map(level),
            timestamp: frame.display_timestamp().map(|timestamp| timestamp.to_string()),
            message: frame.display_message().to_string(),
            module: location.map(|location| location.module.clone()),
            place: location.map(|place| (place.file.display().to_string(), place.line)),
        })
    }
}

fn level(level: defmt_parser::Level) -> Level {
    match level {
        defmt_parser::Level::Trace => Level::Trace,
        defmt_parser::Level::Debug => Level::Debug,
        defmt_parser::Level::Info => Level::Info,
        defmt_parser::Level::Warn => Level::Warn,
        defmt_parser::Level::Error => Level::Error,
    }
}

/// Returns whether the ELF has the section `.defmt`.
fn has_defmt(file: &object::File<'_>) -> bool {
    use object::{Object as _, ObjectSection as _};
    let of_defmt = |name: &str| name == ".defmt" || name.starts_with(".defmt.");
    file.sections().any(|section| section.name().is_ok_and(of_defmt))
}

/// Returns the texts of the section `.defmt` by number, and the format of timestamps. A text is the
/// name of a symbol, in JSON, and its number is the address of that symbol. Source: defmt-decoder
/// 1.2, `src/elf2table`.
fn formats(elf: &[u8]) -> Result<(BTreeMap<u16, String>, Option<String>), object::Error> {
    use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

    let file = object::File::parse(elf)?;
    let of_defmt = |section: &object::Section<'_, '_>| {
        section.name().is_ok_and(|name| name == ".defmt" || name.starts_with(".defmt."))
    };
    let sections: Vec<_> = file.sections().filter(of_defmt).map(|s| s.index()).collect();
    let (mut formats, mut timestamp) = (BTreeMap::new(), None);
    for symbol in file.symbols() {
        if !symbol.section_index().is_some_and(|index| sections.contains(&index)) {
            continue;
        }
        let Ok(name) = symbol.name() else { continue };
        let Ok(name) = serde_json::from_str::<serde_json::Value>(name) else { continue };
        let text = |key: &str| name.get(key).and_then(|value| value.as_str());
        let (Some(tag), Some(data)) = (text("tag"), text("data")) else { continue };
        if tag == "defmt_timestamp" {
            timestamp = Some(data.to_owned());
        } else if let Ok(number) = u16::try_from(symbol.address())
            && tag != "defmt_bitflags_value"
        {
            formats.insert(number, data.to_owned());
        }
    }
    Ok((formats, timestamp))
}
