//! Checks the length of a frame against its formats, and whether it may be decoded at all.
//!
//! Frames come from outside: their counts and nesting must not be trusted before the bytes for them
//! have arrived. The wire format is that of defmt 1.1 (`src/export`, read by defmt-decoder 1.2,
//! `src/decoder.rs`).

use std::collections::BTreeMap;

use super::MAX_FRAME;
use defmt_parser::{DisplayHint, Fragment, Parameter, ParserMode, TimePrecision, Type};

/// Maximum nesting depth of formats: structures within structures.
const MAX_DEPTH: usize = 32;

/// Maximum number of values in a frame, and of elements in a slice.
const MAX_VALUES: usize = 4096;

/// The last second formatted as a date, at the end of the year 9999, counted from 1970. Source: ISO
/// 8601, years have four digits.
const LAST_SECOND: u128 = 253_402_300_799;

/// The reason why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoFrame {
    /// More bytes may complete a frame.
    Incomplete,
    /// No further bytes can make them a frame.
    Never,
}

/// Returns the length of the frame at the start of `bytes`.
pub fn frame(
    bytes: &[u8],
    formats: &BTreeMap<u16, String>,
    timestamp: Option<&str>,
) -> Result<usize, NoFrame> {
    let mut walk = Walk { rest: bytes, formats, values: 0, is_short: false };
    match walk.frame(timestamp) {
        Some(()) => Ok(bytes.len().saturating_sub(walk.rest.len())),
        None if walk.is_short => Err(NoFrame::Incomplete),
        None => Err(NoFrame::Never),
    }
}

struct Walk<'a> {
    rest: &'a [u8],
    formats: &'a BTreeMap<u16, String>,
    values: usize,
    /// True if the walk ended because bytes were missing.
    is_short: bool,
}

impl<'a> Walk<'a> {
    fn frame(&mut self, timestamp: Option<&str>) -> Option<()> {
        let format = self.format()?;
        if let Some(timestamp) = timestamp {
            self.values(timestamp, None, 0)?;
        }
        self.values(format, None, 0)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            // A frame can never be longer than the maximum, whatever arrives.
            self.is_short = len <= MAX_FRAME;
            return None;
        };
        self.rest = rest;
        Some(taken)
    }

    /// Reads a little-endian number of at most 16 bytes.
    fn number(&mut self, len: usize) -> Option<u128> {
        let mut bytes = [0; 16];
        bytes.get_mut(..len)?.copy_from_slice(self.take(len)?);
        Some(u128::from_le_bytes(bytes))
    }

    fn count(&mut self) -> Option<usize> {
        usize::try_from(self.number(4)?).ok()
    }

    fn format(&mut self) -> Option<&'a str> {
        let number = u16::try_from(self.number(2)?).ok()?;
        self.formats.get(&number).map(String::as_str)
    }

    /// Returns the text of an enumeration's variant in `A|B|C`. Any other format is returned
    /// unchanged.
    fn variant(&mut self, format: &'a str) -> Option<&'a str> {
        let bars = format.matches('|').count();
        let len = match bars {
            0 => return Some(format),
            _ if u8::try_from(bars).is_ok() => 1,
            _ if u16::try_from(bars).is_ok() => 2,
            _ => 4,
        };
        let variant = usize::try_from(self.number(len)?).ok()?;
        format.split('|').nth(variant)
    }

    /// Skips the values of `format`. `hint` is the display hint of the value they form.
    fn values(&mut self, format: &str, hint: Option<&DisplayHint>, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        let fragments = defmt_parser::parse(format, ParserMode::ForwardsCompatible).ok()?;
        let parameters = fragments.into_iter().filter_map(|fragment| match fragment {
            Fragment::Parameter(parameter) => Some(parameter),
            Fragment::Literal(_) => None,
        });
        // Parameters with the same number are one value, shown several times or as several bit
        // fields.
        let mut numbered: BTreeMap<usize, Vec<Parameter>> = BTreeMap::new();
        for parameter in parameters {
            numbered.entry(parameter.index).or_default().push(parameter);
        }
        numbered.values().try_for_each(|same| self.value(same, hint, depth))
    }

    fn value(
        &mut self,
        same: &[Parameter],
        outer: Option<&DisplayHint>,
        depth: usize,
    ) -> Option<()> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return None;
        }
        let first = same.first()?;
        let hint = first.hint.as_ref().or(outer);
        match &first.ty {
            Type::Bool | Type::U8 | Type::I8 => self.integer(1, same, outer),
            Type::U16 | Type::I16 => self.integer(2, same, outer),
            Type::U32 | Type::I32 | Type::Usize | Type::Isize => self.integer(4, same, outer),
            Type::U64 | Type::I64 => self.integer(8, same, outer),
            Type::U128 | Type::I128 => self.integer(16, same, outer),
            Type::F32 | Type::Char => self.take(4).map(|_| ()),
            Type::F64 => self.take(8).map(|_| ()),
            Type::IStr => self.format().map(|_| ()),
            Type::Str | Type::U8Slice => {
                let len = self.count()?;
                self.take(len).map(|_| ())
            }
            Type::U8Array(len) => self.take(*len).map(|_| ()),
            Type::Debug | Type::Display => {
                // Text up to a byte that does not occur in UTF-8.
                let end = self.rest.iter().position(|byte| *byte == 0xff);
                let len = end.unwrap_or(self.rest.len());
                self.take(len + 1).map(|_| ())
            }
            Type::BitField(_) => self.bits(same),
            Type::Format => {
                let format = self.format()?;
                let format = self.variant(format)?;
                self.values(format, hint, depth + 1)
            }
            Type::FormatSlice => {
                let count = self.count()?;
                self.elements(count, hint, depth)
            }
            Type::FormatArray(count) => self.elements(*count, hint, depth),
            Type::FormatSequence => loop {
                // The number 0 ends the sequence.
                if self.rest.starts_with(&[0, 0]) {
                    break self.take(2).map(|_| ());
                }
                let format = self.format()?;
                self.values += 1;
                if self.values > MAX_VALUES {
                    break None;
                }
                self.values(format, hint, depth + 1)?;
            },
        }
    }

    fn elements(&mut self, count: usize, hint: Option<&DisplayHint>, depth: usize) -> Option<()> {
        if count > MAX_VALUES {
            return None;
        }
        let format = self.format()?;
        for _ in 0..count {
            // Elements may have no bytes.
            self.values += 1;
            if self.values > MAX_VALUES {
                return None;
            }
            let format = self.variant(format)?;
            self.values(format, hint, depth + 1)?;
        }
        Some(())
    }

    /// Reads the octets from the lowest to the highest bit shown.
    fn bits(&mut self, same: &[Parameter]) -> Option<()> {
        let ranges = same.iter().filter_map(|parameter| match &parameter.ty {
            Type::BitField(range) => Some(range),
            _ => None,
        });
        let low = ranges.clone().map(|range| range.start / 8).min()?;
        let high = ranges.map(|range| range.end.saturating_sub(1) / 8).max()?;
        let octets = usize::from(high.checked_sub(low)?) + 1;
        self.take(octets.next_power_of_two()).map(|_| ())
    }

    /// Reads a number. A date must be within the calendar's range.
    fn integer(
        &mut self,
        len: usize,
        same: &[Parameter],
        outer: Option<&DisplayHint>,
    ) -> Option<()> {
        let number = self.number(len)?;
        let hints = same.iter().filter_map(|parameter| parameter.hint.as_ref()).chain(outer);
        for hint in hints {
            let DisplayHint::ISO8601(precision) = hint else { continue };
            let a_second = match precision {
                TimePrecision::Micros => 1_000_000,
                TimePrecision::Millis => 1_000,
                TimePrecision::Seconds => 1,
            };
            if number / a_second > LAST_SECOND {
                return None;
            }
        }
        Some(())
    }
}
