//! Recognition of the first line of a panic, for the known kinds of firmware.

use crate::{
    panic::{PanicKind, SourceLocation, hex_prefix},
    prefix,
};

/// The content of a panic's first line.
pub(crate) struct PanicStart {
    pub kind: PanicKind,
    pub message: String,
    pub location: Option<SourceLocation>,
    /// True if the message follows on the next lines.
    pub more: bool,
    /// True if addresses printed one per line are return addresses, not reduced by the length of a
    /// call.
    pub raw_addresses: bool,
}

/// Parses `line` as the first line of a panic, if it is one.
pub(crate) fn parse_start(line: &str) -> Option<PanicStart> {
    let told = |kind, message: &str| Some(PanicStart::new(kind, message.trim()));
    if let Some(rust) = rust_panic(line) {
        return Some(rust);
    }
    if line.contains(BANNER) {
        return told(PanicKind::Rust, "");
    }
    if let Some(at) = line.find(GURU) {
        return told(PanicKind::GuruMeditation, line.get(at..)?);
    }
    if let Some(at) = line.find("abort() was called at PC") {
        return told(PanicKind::Abort, line.get(at..)?);
    }
    if line.starts_with("assert failed: ")
        || line.starts_with("assertion \"") && line.contains(" failed: file ")
    {
        return told(PanicKind::Assert, line);
    }
    // ESP-IDF 6 with its binary log, which prints the function's address instead of its name.
    if let Some(rest) =
        prefix::strip_esp_idf(line).unwrap_or(line).strip_prefix("Assert failed in ")
        && hex_prefix(rest).is_some()
    {
        return told(PanicKind::Assert, &format!("Assert failed in {rest}"));
    }
    if line.contains("***ERROR*** A stack overflow in task") {
        return told(PanicKind::StackOverflow, line.trim_start_matches("***ERROR*** "));
    }
    if let Some(message) = line.strip_prefix("panic: ") {
        return told(PanicKind::Go, message);
    }
    if line.starts_with("*** Exception:") {
        return told(PanicKind::Exception, line.trim_start_matches("*** "));
    }
    if is_bare_exception(line) {
        let mut beginning = PanicStart::new(PanicKind::Exception, line.trim());
        beginning.raw_addresses = true;
        return Some(beginning);
    }
    None
}

/// Source: ESP-IDF, `components/esp_system/panic.c`, and the mask ROMs.
const GURU: &str = "Guru Meditation Error";

/// Source: esp-backtrace from 0.14 on, `src/lib.rs`.
const BANNER: &str = "====================== PANIC ======================";

/// Returns the position in `line` at which another panic begins, because the panic handler itself
/// failed.
pub(crate) fn nested(line: &str) -> Option<usize> {
    line.find(GURU)
}

impl PanicStart {
    fn new(kind: PanicKind, message: &str) -> PanicStart {
        let message = message.to_owned();
        PanicStart { kind, message, location: None, more: false, raw_addresses: false }
    }

    fn rust(message: &str, location: Option<SourceLocation>, more: bool) -> PanicStart {
        PanicStart { location, more, ..PanicStart::new(PanicKind::Rust, message) }
    }
}

/// Parses Rust's own line. The location distinguishes it from a log that only mentions a panic.
pub(crate) fn rust_panic(line: &str) -> Option<PanicStart> {
    if let Some((_, rest)) = line.split_once("!! A panic occured ") {
        return esp_backtrace_before_0_14(rest);
    }
    let (_, rest) = line.split_once("panicked at ")?;
    let rest = rest.trim_end();
    // Before Rust 1.73: `panicked at 'message', FILE:LINE:COLUMN`.
    if let Some((message, place)) = rest.strip_prefix('\'').and_then(|r| r.rsplit_once("', ")) {
        return Some(PanicStart::rust(message, Some(source_location(place)?), false));
    }
    let location = Some(source_location(rest.strip_suffix(':')?)?);
    Some(PanicStart::rust("", location, true))
}

/// Parses `in 'FILE', at line LINE, column COLUMN: MESSAGE`. The message may follow on the next
/// lines. Source: esp-backtrace 0.7 to 0.13, `src/lib.rs`.
fn esp_backtrace_before_0_14(rest: &str) -> Option<PanicStart> {
    if rest.starts_with("at an unknown location") {
        return Some(PanicStart::rust("", None, true));
    }
    let (file, rest) = rest.strip_prefix("in '")?.rsplit_once("', at line ")?;
    let (line, rest) = rest.split_once(", column ")?;
    let end = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
    let (column, rest) = rest.split_at(end);
    let (line, column) = (line.parse().ok()?, column.parse().ok()?);
    let location = Some(SourceLocation { file: file.to_owned(), line, column });
    let message = rest.trim_start_matches(':').trim();
    let mut beginning = PanicStart::rust(message, location, true);
    // 0.7 and 0.9 print return addresses and no colon; later versions subtract the length of a
    // call.
    beginning.raw_addresses = rest.trim().is_empty();
    Some(beginning)
}

/// Parses `panicked at FILE:LINE:COLUMN` with nothing before it and possibly a message after it.
/// This is an ordinary log line unless a banner came before. Source: esp-backtrace 0.20 with its
/// feature `defmt`; defmt 1.1, `PanicInfo`'s `Format`. Terminals that print defmt frames add the
/// location in parentheses.
pub(crate) fn place_alone(line: &str) -> Option<PanicStart> {
    let rest = without_place_of_log(line.trim()).strip_prefix("panicked at ")?;
    if let Some(location) = source_location(rest) {
        return Some(PanicStart::rust("", Some(location), false));
    }
    let at = rest.match_indices(": ").map(|(at, _)| at);
    let (location, message) = at
        .filter_map(|at| Some((source_location(rest.get(..at)?)?, rest.get(at + 2..)?)))
        .next()?;
    Some(PanicStart::rust(message.trim(), Some(location), false))
}

/// Removes ` (esp_backtrace src/lib.rs:25)` from the end of a line.
pub(crate) fn without_place_of_log(line: &str) -> &str {
    let Some((text, place)) = line.strip_suffix(')').and_then(|line| line.rsplit_once(" (")) else {
        return line;
    };
    let is_place = place.split_once(' ').and_then(|(_, place)| place.rsplit_once(':')).is_some_and(
        |(file, number)| file.contains('.') && number.bytes().all(|byte| byte.is_ascii_digit()),
    );
    if is_place { text } else { line }
}

/// Recognises exceptions that esp-backtrace before 0.14 prints without Rust's panic: `Exception '…'
/// mepc=0x…`, `Exception occured '…'`, `Stack overflow detected at 0x… called by 0x…`.
fn is_bare_exception(line: &str) -> bool {
    let of_riscv = line.starts_with("Exception '") && line.contains("' mepc=0x");
    let of_xtensa = line.starts_with("Exception occured '") && line.trim_end().ends_with('\'');
    let overflow = line
        .strip_prefix("Stack overflow detected at ")
        .is_some_and(|rest| hex_prefix(rest).is_some() && rest.contains(" called by 0x"));
    of_riscv || of_xtensa || overflow
}

fn source_location(text: &str) -> Option<SourceLocation> {
    let mut parts = text.rsplitn(3, ':');
    let column = parts.next()?.parse().ok()?;
    let line = parts.next()?.parse().ok()?;
    let file = parts.next().filter(|file| !file.is_empty())?.to_owned();
    Some(SourceLocation { file, line, column })
}
