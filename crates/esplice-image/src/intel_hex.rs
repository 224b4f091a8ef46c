//! Intel HEX: the content of a flash as lines of text.

use ihex::{ReaderError, Record};

use crate::byte_runs::{ByteRuns, DuplicateBytes};
use crate::{FormatError, LARGEST_FLASH, PlannedWrite};

/// Number of data bytes on a line, the usual number and esptool's.
const LINE_LEN: usize = 16;

/// Number of bytes that one base address covers (Intel, "Hexadecimal Object File Format
/// Specification", 1988, record type 04).
const REACH: usize = 0x1_0000;

/// Parses a file into one write for each gapless run of bytes, in order of offset.
///
/// # Errors
/// [`FormatError`] with the line, for any fault: a bad record, bytes that occur twice, offsets past
/// the largest flash, or a missing end record.
pub fn from_intel_hex(bytes: &[u8]) -> Result<Vec<PlannedWrite>, FormatError> {
    let text = str::from_utf8(bytes).map_err(|error| FormatError::HexNotText {
        line: 1 + bytes.iter().take(error.valid_up_to()).filter(|b| **b == b'\n').count(),
        offset: error.valid_up_to(),
    })?;
    // Some editors put a byte order mark before the first line.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut byte_runs = ByteRuns::default();
    let mut base = 0;
    let mut last = 0;
    let mut ended = false;
    for (number, line) in text.lines().enumerate() {
        let (number, line) = (number + 1, line.trim_end());
        if line.is_empty() {
            continue;
        }
        last = number;
        if ended {
            return Err(FormatError::HexAfterEnd { line: number });
        }
        let record = Record::from_record_string(line)
            .map_err(|error| FormatError::HexRecord { line: number, fault: fault(line, error) })?;
        match record {
            Record::Data { offset, value } => {
                let start = base + u64::from(offset);
                byte_runs
                    .add(number, start, &value)
                    .map_err(|end| FormatError::HexPastFlash { line: number, end })?;
            }
            Record::EndOfFile => ended = true,
            Record::ExtendedLinearAddress(high) => base = u64::from(high) << 16,
            Record::ExtendedSegmentAddress(segment) => base = u64::from(segment) << 4,
            // The program's entry point. An ESP32 image has it in its header.
            Record::StartLinearAddress(_) | Record::StartSegmentAddress { .. } => {}
        }
    }
    if !ended {
        return Err(FormatError::HexNoEnd { line: last });
    }
    let writes =
        byte_runs.into_writes().map_err(|DuplicateBytes { places: (first, second), offset }| {
            FormatError::HexTwice { first, second, offset }
        })?;
    if writes.is_empty() {
        return Err(FormatError::Nothing { kind: "Intel HEX" });
    }
    Ok(writes)
}

/// Describes the fault of a line, with its numbers if it has any.
fn fault(line: &str, error: ReaderError) -> String {
    let said = |at: usize| line.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    match error {
        ReaderError::ChecksumMismatch(computed, found) => {
            format!("checksum is {found:02X}, expected {computed:02X}")
        }
        ReaderError::PayloadLengthMismatch => format!(
            "it has {} bytes of data, but says {}",
            // Colon, length, offset, type and checksum.
            line.len().saturating_sub(11) / 2,
            said(1).unwrap_or(0),
        ),
        ReaderError::MissingStartCode => "it does not begin with ':'".into(),
        ReaderError::ContainsInvalidCharacters => {
            let place = line.char_indices().skip(1).find(|(_, c)| !c.is_ascii_hexdigit());
            let (column, found) = place.map_or((1, ' '), |(at, c)| (at + 1, c));
            format!("{found:?} in column {column} is not a hexadecimal digit")
        }
        ReaderError::RecordTooShort | ReaderError::RecordTooLong => {
            format!("it has {} characters, a record has 11 to 521", line.len())
        }
        ReaderError::RecordNotEvenLength => "its last byte has only one digit".into(),
        ReaderError::UnsupportedRecordType(kind) => {
            format!("record type {kind:02X} is unknown, not one of 00 to 05")
        }
        ReaderError::InvalidLengthForType => format!(
            "{} bytes of data are wrong for record type {:02X}",
            said(1).unwrap_or(0),
            said(7).unwrap_or(0),
        ),
    }
}

/// Writes `writes` as Intel HEX in the same way as `esptool merge-bin --format hex`: lines of 16
/// bytes, and base addresses only if the end is past 64 KiB.
///
/// # Errors
/// [`PlanError::SameBytes`](crate::PlanError::SameBytes) for bytes that occur twice,
/// [`PlanError::PastFlash`](crate::PlanError::PastFlash) for bytes past the largest flash.
pub fn to_intel_hex(writes: &[PlannedWrite]) -> Result<String, crate::PlanError> {
    let writes = crate::merge::in_order(writes, LARGEST_FLASH)?;
    let end = writes.last().map_or(0, |write| write.end());
    let mut base = (end > REACH as u64).then_some(None);
    let total: usize = writes.iter().map(|write| write.data.len()).sum();
    let mut text = String::with_capacity(total / LINE_LEN * 44 + 100);
    for joined in writes.chunk_by(|a, b| a.end() == u64::from(b.offset.0)) {
        let data: Vec<u8> = joined.iter().flat_map(|write| write.data.iter().copied()).collect();
        let mut at = joined.first().map_or(0, |write| write.offset.0 as usize);
        let mut rest = data.as_slice();
        while !rest.is_empty() {
            let high = (at / REACH) as u16;
            if let Some(told) = &mut base
                && *told != Some(high)
            {
                push(&mut text, &Record::ExtendedLinearAddress(high));
                *told = Some(high);
            }
            let (line, after) = rest.split_at(rest.len().min(LINE_LEN).min(REACH - at % REACH));
            push(&mut text, &Record::Data { offset: (at % REACH) as u16, value: line.to_vec() });
            at += line.len();
            rest = after;
        }
    }
    push(&mut text, &Record::EndOfFile);
    Ok(text)
}

fn push(text: &mut String, record: &Record) {
    // Only a line of more than 255 bytes could fail.
    text.push_str(&record.to_record_string().unwrap_or_default());
    text.push('\n');
}
