//! How long a frame is, by the formats that it names, and whether it may be decoded at all.
//!
//! A frame comes from outside: its counts and its nesting must not be believed before the bytes for
//! them are seen. The wire format is that of defmt 1.1 (`src/export`, read by defmt-decoder 1.2,
//! `src/decoder.rs`).

use std::collections::BTreeMap;

use super::MAX_FRAME;
use defmt_parser::{DisplayHint, Fragment, Parameter, ParserMode, TimePrecision, Type};

/// How deep formats may nest: structures within structures.
const MAX_DEPTH: usize = 32;

/// Values that one frame may have, and elements of one slice.
const MAX_VALUES: usize = 4096;

/// The last second that a date is written for, that of the year 9999, after 1970. Source:
/// ISO 8601, years have four digits.
const LAST_SECOND: u128 = 253_402_300_799;

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoFrame {
    /// They could become one.
    NotWhole,
    /// They cannot.
    Never,
}

/// Bytes of the frame that `bytes` begin with.
pub fn frame(
    bytes: &[u8],
    formats: &BTreeMap<u16, String>,
    timestamp: Option<&str>,
) -> Result<usize, NoFrame> {
    let mut walk = Walk { rest: bytes, formats, values: 0, is_short: false };
    match walk.frame(timestamp) {
        Some(()) => Ok(bytes.len().saturating_sub(walk.rest.len())),
        None if walk.is_short => Err(NoFrame::NotWhole),
        None => Err(NoFrame::Never),
    }
}

struct Walk<'a> {
    rest: &'a [u8],
    formats: &'a BTreeMap<u16, String>,
    values: usize,
    /// It ended for want of bytes.
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
            // What is longer than a frame may be is none, whatever comes.
            self.is_short = len <= MAX_FRAME;
            return None;
        };
        self.rest = rest;
        Some(taken)
    }

    /// A little-endian number of `len` bytes, 16 at most.
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

    /// What stands for a variant of an enumeration, `A|B|C`; any other format is itself.
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

    /// Passes over the values of `format`. `hint` is that of the value which they make up.
    fn values(&mut self, format: &str, hint: Option<&DisplayHint>, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        let fragments = defmt_parser::parse(format, ParserMode::ForwardsCompatible).ok()?;
        let parameters = fragments.into_iter().filter_map(|fragment| match fragment {
            Fragment::Parameter(parameter) => Some(parameter),
            Fragment::Literal(_) => None,
        });
        // Several of one number are one value, shown several times, or several fields of its bits.
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
                // Text up to a byte that UTF-8 has not.
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
                // Its end is the number 0.
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
            // Elements may have no bytes of their own.
            self.values += 1;
            if self.values > MAX_VALUES {
                return None;
            }
            let format = self.variant(format)?;
            self.values(format, hint, depth + 1)?;
        }
        Some(())
    }

    /// The octets between the lowest and the highest bit that are shown.
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

    /// A number, which as a date may not be out of all calendars.
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
