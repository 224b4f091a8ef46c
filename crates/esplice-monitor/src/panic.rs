//! Panics and crash dumps of the firmware kinds that run on these chips.

use esplice_protocol::Moment;

use crate::prefix;

/// Which kind of firmware told of its end, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PanicKind {
    /// Rust: `panicked at FILE:LINE:COLUMN:`, with esp-backtrace's banner or without.
    Rust,
    /// ESP-IDF and the mask ROM: `Guru Meditation Error`.
    GuruMeditation,
    /// ESP-IDF: `abort() was called at PC`.
    Abort,
    /// C: `assert failed:`.
    Assert,
    /// FreeRTOS: `A stack overflow in task … has been detected`.
    StackOverflow,
    /// Go: `panic:`.
    Go,
    /// TinyGo: `*** Exception:`.
    Exception,
}

impl PanicKind {
    /// Its name in reports and events.
    pub fn name(self) -> &'static str {
        match self {
            PanicKind::Rust => "rust",
            PanicKind::GuruMeditation => "guru-meditation",
            PanicKind::Abort => "abort",
            PanicKind::Assert => "assert",
            PanicKind::StackOverflow => "stack-overflow",
            PanicKind::Go => "go",
            PanicKind::Exception => "exception",
        }
    }
}

/// A place in source, as the firmware printed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLocation {
    /// The file's path as the compiler saw it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

impl std::fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// What an address says of the instruction it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressKind {
    /// It is the instruction's own: a program counter.
    Exact,
    /// Behind the call: a return address.
    Return,
    /// In the call or just before: a return address less 4 or, on Xtensa and from ESP-IDF, less 3.
    Call,
}

/// An address of code, as the firmware printed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeAddress {
    /// The number.
    pub addr: u32,
    /// What it says.
    pub kind: AddressKind,
}

impl CodeAddress {
    /// An address within the instruction that is meant: of a call, and not what comes behind it or
    /// before, which may be another line or another function.
    pub fn instruction(self) -> u32 {
        match self.kind {
            AddressKind::Exact => self.addr,
            AddressKind::Return => self.addr.wrapping_sub(1),
            // A call has 2 to 4 bytes: 2 before its end is within it, and so is 1.
            AddressKind::Call => self.addr.wrapping_add(2),
        }
    }
}

/// How a backtrace that the firmware printed ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum BacktraceEnd {
    /// With the first function of all, as far as is told.
    #[default]
    Whole,
    /// `|<-CORRUPTED`: the stack makes no sense from there on.
    Corrupted,
    /// `|<-CONTINUES`: there are more functions than the firmware prints.
    Continues,
    /// `Backtrace ended abruptly`: the firmware has no unwind table for the next function.
    NoTable,
}

/// What another core than the one that panicked was doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherCore {
    /// Its number.
    pub core: u32,
    /// Code addresses in the order printed, the innermost first.
    pub addresses: Vec<CodeAddress>,
}

/// A panic as read from the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PanicReport {
    /// Who told it.
    pub kind: PanicKind,
    /// What it said; may have several lines, may be empty.
    pub message: String,
    /// Where, if the text says so; none for an exception, whose text names its handler.
    pub location: Option<SourceLocation>,
    /// Code addresses in the order printed, the failing one first where it is known.
    pub addresses: Vec<CodeAddress>,
    /// How the backtrace among them ends.
    pub backtrace_end: BacktraceEnd,
    /// The other cores, where they were dumped too.
    pub other_cores: Vec<OtherCore>,
    /// The panic's lines as they came, escape sequences taken out.
    pub lines: Vec<String>,
    /// When its first line was complete, on the port's clock.
    pub at: Moment,
    /// A logger or a terminal has put something before each line.
    pub(crate) is_prefixed: bool,
}

impl PanicReport {
    /// The beginning of its ELF's SHA-256 in lower-case hex, where the firmware printed it. Source:
    /// ESP-IDF, `components/esp_system/panic.c`: `ELF file SHA256: …`.
    pub fn elf_sha256(&self) -> Option<&str> {
        self.lines.iter().find_map(|line| elf_sha256(line))
    }

    /// Returns its lines without what a logger or a terminal put before them.
    pub(crate) fn bare_lines(&self) -> Vec<String> {
        let bare = |line: &String| match self.is_prefixed {
            true => prefix::strip(line).to_owned(),
            false => line.clone(),
        };
        self.lines.iter().map(bare).collect()
    }
}

/// The beginning of an ELF's SHA-256 in lower-case hex, where `line` tells it. Source: ESP-IDF,
/// `components/esp_system/panic.c`, and at boot `app_init: ELF file SHA256:  …` in
/// `components/esp_app_format/esp_app_desc.c`.
pub(crate) fn elf_sha256(line: &str) -> Option<&str> {
    let (_, hash) = line.split_once("ELF file SHA256:")?;
    let hash = hash.trim().trim_end_matches('.');
    let hex = hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (hex && !hash.is_empty()).then_some(hash)
}

/// The number behind `label`.
pub(crate) fn after(line: &str, label: &str) -> Option<u32> {
    let (_, rest) = line.split_once(label)?;
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
    hex_word(rest.get(..end)?)
}

/// A word that is `0x` and hex digits and nothing else.
pub(crate) fn hex_word(word: &str) -> Option<u32> {
    let digits = word.strip_prefix("0x")?;
    let hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
    if hex { u32::from_str_radix(digits, 16).ok() } else { None }
}

/// Reads `0x` and hex digits at the beginning of `text`, whatever follows them.
pub(crate) fn hex_prefix(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0x")?;
    let end = digits.find(|char: char| !char.is_ascii_hexdigit()).unwrap_or(digits.len());
    u32::from_str_radix(digits.get(..end)?, 16).ok()
}
