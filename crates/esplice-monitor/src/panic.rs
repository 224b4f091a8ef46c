//! Panics and crash dumps of the firmware kinds that run on these chips.

use esplice_protocol::Moment;

/// Lines kept of one panic; ESP-IDF's dump of registers and stack takes 48.
const MAX_LINES: usize = 128;

/// Addresses kept of one panic; esp-backtrace gives 10 by default, ESP-IDF 100 at most.
const MAX_ADDRESSES: usize = 128;

/// Cores of which a dump is kept beside the one that panicked; no chip has more than two.
const MAX_OTHER_CORES: usize = 3;

/// Lines that a message may have.
const MAX_MESSAGE_LINES: usize = 16;

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
}

impl PanicReport {
    /// The beginning of its ELF's SHA-256 in lower-case hex, where the firmware printed it. Source:
    /// ESP-IDF, `components/esp_system/panic.c`: `ELF file SHA256: …`.
    pub fn elf_sha256(&self) -> Option<&str> {
        self.lines.iter().find_map(|line| elf_sha256(line))
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

/// Collects one panic at a time from lines.
#[derive(Debug, Default)]
pub(crate) struct PanicCollector {
    current: Option<Collecting>,
}

#[derive(Debug)]
struct Collecting {
    report: PanicReport,
    phase: Phase,
    message_lines: usize,
    /// Heads of register dumps: ESP-IDF begins with the core that panicked.
    dumps: usize,
    /// A register was told that only a RISC-V has.
    is_riscv: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The next lines are the message.
    Message,
    /// Registers, stack, or a blank line.
    Body,
    /// After `Backtrace:`, an address a line.
    Backtrace,
}

impl PanicCollector {
    /// Whether a panic has begun and is not yet given out.
    pub fn is_collecting(&self) -> bool {
        self.current.is_some()
    }

    /// Gives out the panic that has begun, if one has.
    pub fn finish(&mut self) -> Option<PanicReport> {
        let Collecting { mut report, .. } = self.current.take()?;
        while report.lines.last().is_some_and(|line| line.trim().is_empty()) {
            report.lines.pop();
        }
        Some(report)
    }

    /// Takes the next line. Gives a panic when the line ends it.
    pub fn line(&mut self, line: &str, at: Moment) -> Option<PanicReport> {
        match &mut self.current {
            None => {
                self.current = Collecting::begin(line, at);
                None
            }
            Some(current) => {
                let over = current.line(line);
                if over { self.finish() } else { None }
            }
        }
    }
}

impl Collecting {
    fn begin(line: &str, at: Moment) -> Option<Collecting> {
        let Beginning { kind, message, location, more } = beginning(line)?;
        let phase = if more { Phase::Message } else { Phase::Body };
        let report = PanicReport {
            kind,
            message,
            location,
            addresses: vec![],
            backtrace_end: BacktraceEnd::Whole,
            other_cores: vec![],
            lines: vec![],
            at,
        };
        let mut collecting =
            Collecting { report, phase, message_lines: 0, dumps: 0, is_riscv: false };
        collecting.report.lines.push(line.to_owned());
        collecting.addresses(line);
        Some(collecting)
    }

    /// Takes a further line; true if it is the panic's last.
    fn line(&mut self, line: &str) -> bool {
        // The next boot is not the panic's, and comes at once after some of them.
        if line.starts_with("ESP-ROM:") || line.contains("rst:0x") {
            return true;
        }
        self.report.lines.push(line.to_owned());
        let text = line.trim();
        if let Some(core) = dumped_core(text) {
            self.dumps += 1;
            if self.dumps > 1 && self.report.other_cores.len() < MAX_OTHER_CORES {
                self.report.other_cores.push(OtherCore { core, addresses: vec![] });
            }
        }
        // esp-backtrace's banner stands before Rust's own line.
        let report = &self.report;
        let bare = report.kind == PanicKind::Rust
            && report.location.is_none()
            && report.message.is_empty();
        // Through defmt it tells the place alone.
        let rust = || rust_panic(line).or_else(|| place_alone(line));
        if let (true, Some(rust)) = (bare, rust()) {
            self.report.message = rust.message;
            self.report.location = rust.location;
            self.phase = if rust.more { Phase::Message } else { Phase::Body };
        } else if text.starts_with("Backtrace:") || text == "stack backtrace:" {
            self.phase = Phase::Backtrace;
            self.addresses(line);
        } else if text.starts_with("STACKDUMP: ") {
            self.phase = Phase::Body;
            self.addresses(line);
        } else if self.phase == Phase::Message {
            self.message(text);
        } else if self.phase == Phase::Backtrace && hex_word(text).is_some() {
            // esp-backtrace, `program_counter`: the return address less 4, on Xtensa less 3.
            self.found(hex_word(text), AddressKind::Call);
        } else {
            self.addresses(line);
        }
        // ESP-IDF's last word.
        text == "Rebooting..." || self.report.lines.len() >= MAX_LINES
    }

    fn message(&mut self, text: &str) {
        // esp-hal's exceptions: the registers, behind the message.
        if text.starts_with("TrapFrame {") {
            self.phase = Phase::Body;
            return;
        }
        if text.is_empty() {
            // esp-hal's own messages may begin with blank lines.
            if !self.report.message.is_empty() {
                self.phase = Phase::Body;
            }
            return;
        }
        if !self.report.message.is_empty() {
            self.report.message.push('\n');
        }
        self.report.message.push_str(text);
        self.message_lines += 1;
        if self.message_lines >= MAX_MESSAGE_LINES {
            self.phase = Phase::Body;
        }
        // esp-hal 1.2 src/exception_handler: `… mepc=0x…`, `… at 0x…, possibly called by 0x…`.
        if text.starts_with('[') {
            // The place is that of the handler and tells nothing.
            self.report.location.take_if(|place| place.file.contains("exception_handler"));
            for key in ["mepc=", "detected at ", "value at ", "segment at "] {
                self.found(after(text, key), AddressKind::Exact);
            }
            self.found(after(text, "called by "), AddressKind::Return);
        }
    }

    /// Takes the addresses from a line that is not an address alone. Only known labels count:
    /// dumps are full of numbers that are no code.
    fn addresses(&mut self, line: &str) {
        // TinyGo, `runtimePanicAt` in src/runtime/panic.go: the return address less a call's length.
        self.found(after(line, "runtime error at "), AddressKind::Call);
        // esp-backtrace without frame pointers: the program counter, as a call returned it, then
        // the stack's bytes.
        if let Some((pc, _)) =
            line.trim_start().strip_prefix("STACKDUMP: ").and_then(|rest| rest.split_once(' '))
        {
            self.found(u32::from_str_radix(pc, 16).ok(), AddressKind::Return);
        }
        // ESP-IDF, components/esp_libc (newlib) `abort`: the return address less 3.
        if let Some(pc) = after(line, "abort() was called at PC ") {
            self.found(Some(pc), AddressKind::Call);
            return;
        }
        if let Some((_, pairs)) = line.split_once("Backtrace:") {
            self.pairs(pairs);
            self.ends(pairs);
            return;
        }
        if line.starts_with("Backtrace ended abruptly") {
            self.report.backtrace_end = BacktraceEnd::NoTable;
            return;
        }
        // Registers: `MEPC    : 0x42000000  RA      : 0x…`, in the ROM's dump `PC` for `MEPC`, and
        // TinyGo's `pc`.
        let words: Vec<&str> =
            line.split([':', ' ', '\t']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let [name, value] = pair else { continue };
            self.is_riscv |= *name == "MEPC";
            if ["MEPC", "PC"].iter().any(|known| name.eq_ignore_ascii_case(known)) {
                self.found(hex_word(value), AddressKind::Exact);
            } else if name.eq_ignore_ascii_case("RA") {
                self.found(hex_word(value), AddressKind::Return);
            }
        }
    }

    /// Takes ESP-IDF's `PC:SP PC:SP …`.
    fn pairs(&mut self, pairs: &str) {
        let pcs = pairs.split_whitespace().filter_map(|pair| pair.split_once(':'));
        for (index, (pc, _)) in pcs.enumerate() {
            let Some(pc) = hex_word(pc) else { continue };
            // On Xtensa all are less 3, as if after a call (`esp_cpu_process_stack_pc`); on RISC-V they
            // are as they are (`esp_eh_frame_print_backtrace`). The first is where the program
            // stood, which the registers above it have told exactly.
            let exact = if self.is_riscv { Some(pc) } else { pc.checked_add(3) };
            let told = self
                .addresses_of_core()
                .first()
                .is_some_and(|first| first.kind == AddressKind::Exact && exact == Some(first.addr));
            if index == 0 && told {
                if self.is_riscv {
                    // The next is RA, and told as such.
                    self.addresses_of_core().truncate(1);
                }
                continue;
            }
            let kind = if self.is_riscv { AddressKind::Return } else { AddressKind::Call };
            self.found(Some(pc), kind);
        }
    }

    /// Takes what stands behind the last pair.
    fn ends(&mut self, pairs: &str) {
        if pairs.contains("|<-CORRUPTED") {
            self.report.backtrace_end = BacktraceEnd::Corrupted;
        } else if pairs.contains("|<-CONTINUES") {
            self.report.backtrace_end = BacktraceEnd::Continues;
        }
    }

    /// Of the core whose dump is being read.
    fn addresses_of_core(&mut self) -> &mut Vec<CodeAddress> {
        match self.report.other_cores.last_mut() {
            Some(other) => &mut other.addresses,
            None => &mut self.report.addresses,
        }
    }

    fn found(&mut self, addr: Option<u32>, kind: AddressKind) {
        let addresses = self.addresses_of_core();
        if addresses.len() < MAX_ADDRESSES {
            addresses.extend(addr.map(|addr| CodeAddress { addr, kind }));
        }
    }
}

/// The core whose registers come behind `line`. Source: ESP-IDF,
/// `components/esp_system/port/arch/*/panic_arch.c`: `Core  0 register dump:`.
pub(crate) fn dumped_core(line: &str) -> Option<u32> {
    line.strip_prefix("Core ")?.trim_start().strip_suffix(" register dump:")?.parse().ok()
}

struct Beginning {
    kind: PanicKind,
    message: String,
    location: Option<SourceLocation>,
    /// Whether the message comes on the next lines.
    more: bool,
}

/// What `line` says if a panic begins with it.
fn beginning(line: &str) -> Option<Beginning> {
    let told = |kind, message: &str| {
        Some(Beginning { kind, message: message.trim().to_owned(), location: None, more: false })
    };
    if let Some(rust) = rust_panic(line) {
        return Some(rust);
    }
    // esp-backtrace 0.20, src/lib.rs.
    if line.contains("====================== PANIC ======================") {
        return told(PanicKind::Rust, "");
    }
    if let Some(at) = line.find("Guru Meditation Error") {
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
    if line.contains("***ERROR*** A stack overflow in task") {
        return told(PanicKind::StackOverflow, line.trim_start_matches("***ERROR*** "));
    }
    if let Some(message) = line.strip_prefix("panic: ") {
        return told(PanicKind::Go, message);
    }
    if line.starts_with("*** Exception:") {
        return told(PanicKind::Exception, line.trim_start_matches("*** "));
    }
    None
}

/// Rust's line. The location tells it from a log that only mentions a panic.
fn rust_panic(line: &str) -> Option<Beginning> {
    let (_, rest) = line.split_once("panicked at ")?;
    let rest = rest.trim_end();
    let kind = PanicKind::Rust;
    // Before Rust 1.73: `panicked at 'message', FILE:LINE:COLUMN`.
    if let Some((message, place)) = rest.strip_prefix('\'').and_then(|r| r.rsplit_once("', ")) {
        let location = Some(source_location(place)?);
        return Some(Beginning { kind, message: message.to_owned(), location, more: false });
    }
    let location = Some(source_location(rest.strip_suffix(':')?)?);
    Some(Beginning { kind, message: String::new(), location, more: true })
}

/// `panicked at FILE:LINE:COLUMN` and nothing else, which without a banner before it is a log's. Source:
/// esp-backtrace 0.20 with its feature `defmt`; defmt 1.1, `PanicInfo`'s `Format`.
fn place_alone(line: &str) -> Option<Beginning> {
    let location = Some(source_location(line.trim().strip_prefix("panicked at ")?)?);
    Some(Beginning { kind: PanicKind::Rust, message: String::new(), location, more: false })
}

fn source_location(text: &str) -> Option<SourceLocation> {
    let mut parts = text.rsplitn(3, ':');
    let column = parts.next()?.parse().ok()?;
    let line = parts.next()?.parse().ok()?;
    let file = parts.next().filter(|file| !file.is_empty())?.to_owned();
    Some(SourceLocation { file, line, column })
}

/// The number behind `label`.
fn after(line: &str, label: &str) -> Option<u32> {
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
