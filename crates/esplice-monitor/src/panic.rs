//! Panics and crash dumps of the kinds of firmware that run on these chips.

use esplice_protocol::Moment;

use crate::prefix;

/// The kind of panic and of the firmware that reported it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PanicKind {
    /// Rust: `panicked at FILE:LINE:COLUMN:`, with or without esp-backtrace's banner.
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
    /// Returns the name used in reports and events.
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

/// A source location as printed by the firmware.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceLocation {
    /// The file path as seen by the compiler.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
}

impl std::fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// The relation of an address to the instruction it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressKind {
    /// The address of the instruction itself: a program counter.
    Exact,
    /// The address after the call: a return address.
    Return,
    /// An address in the call or just before it: a return address minus 4, or minus 3 on Xtensa and
    /// from ESP-IDF.
    Call,
}

/// A code address as printed by the firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CodeAddress {
    /// The address.
    pub addr: u32,
    /// The relation to its instruction.
    pub kind: AddressKind,
}

impl CodeAddress {
    /// Returns an address within the instruction that is meant, such as the call. The bytes before
    /// and after it may belong to another line or function.
    pub fn instruction(self) -> u32 {
        match self.kind {
            AddressKind::Exact => self.addr,
            AddressKind::Return => self.addr.wrapping_sub(1),
            // A call has 2 to 4 bytes, so 1 or 2 bytes before its end are within it.
            AddressKind::Call => self.addr.wrapping_add(2),
        }
    }
}

/// The end of a backtrace printed by the firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum BacktraceEnd {
    /// The backtrace ends with the outermost function, as far as known.
    #[default]
    Whole,
    /// `|<-CORRUPTED`: the rest of the stack is invalid.
    Corrupted,
    /// `|<-CONTINUES`: there are more functions than the firmware prints.
    Continues,
    /// `Backtrace ended abruptly`: the firmware has no unwind table for the next function.
    NoTable,
}

/// The state of a core other than the one that panicked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OtherCore {
    /// The number of the core.
    pub core: u32,
    /// Code addresses in the order printed, innermost first.
    pub addresses: Vec<CodeAddress>,
}

/// A panic read from the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PanicReport {
    /// The kind of panic.
    pub kind: PanicKind,
    /// The message. It may have several lines or be empty.
    pub message: String,
    /// The source location, if printed. `None` for an exception, whose text names its handler.
    pub location: Option<SourceLocation>,
    /// Code addresses in the order printed. The failing one comes first if it is known.
    pub addresses: Vec<CodeAddress>,
    /// The end of the backtrace.
    pub backtrace_end: BacktraceEnd,
    /// The other cores, if they were dumped too.
    pub other_cores: Vec<OtherCore>,
    /// The lines of the panic as received, without escape sequences.
    pub lines: Vec<String>,
    /// The time at which the first line was complete, on the port's clock.
    pub at: Moment,
    /// True if a logger or a terminal has added a prefix to each line.
    pub(crate) is_prefixed: bool,
}

impl PanicReport {
    /// Returns the start of the SHA-256 of the firmware's ELF in lowercase hex, if printed. Source:
    /// ESP-IDF, `components/esp_system/panic.c`: `ELF file SHA256: …`.
    pub fn elf_sha256(&self) -> Option<&str> {
        self.lines.iter().find_map(|line| elf_sha256(line))
    }

    /// Returns the lines without the prefixes of loggers and terminals.
    pub(crate) fn bare_lines(&self) -> Vec<String> {
        let bare = |line: &String| match self.is_prefixed {
            true => prefix::strip(line).to_owned(),
            false => line.clone(),
        };
        self.lines.iter().map(bare).collect()
    }
}

/// Returns the start of an ELF's SHA-256 in lowercase hex, if `line` has it. Source: ESP-IDF,
/// `components/esp_system/panic.c`, and at boot `app_init: ELF file SHA256:  …` in
/// `components/esp_app_format/esp_app_desc.c`.
pub(crate) fn elf_sha256(line: &str) -> Option<&str> {
    let (_, hash) = line.split_once("ELF file SHA256:")?;
    let hash = hash.trim().trim_end_matches('.');
    let hex = hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (hex && !hash.is_empty()).then_some(hash)
}

/// Returns the hexadecimal number that follows `label`.
pub(crate) fn after(line: &str, label: &str) -> Option<u32> {
    let (_, rest) = line.split_once(label)?;
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
    hex_word(rest.get(..end)?)
}

/// Parses a word that consists of `0x` and hex digits only.
pub(crate) fn hex_word(word: &str) -> Option<u32> {
    let digits = word.strip_prefix("0x")?;
    let hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
    if hex { u32::from_str_radix(digits, 16).ok() } else { None }
}

/// Parses `0x` and hex digits at the start of `text`, whatever follows.
pub(crate) fn hex_prefix(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0x")?;
    let end = digits.find(|char: char| !char.is_ascii_hexdigit()).unwrap_or(digits.len());
    u32::from_str_radix(digits.get(..end)?, 16).ok()
}
