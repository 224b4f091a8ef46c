//! Code addresses in reports that do not end the firmware: watchdogs, failed checks, heap traces,
//! and backtraces printed by firmware that continues to run.

use esplice_protocol::Moment;

use crate::{
    panic::{AddressKind, BacktraceEnd, CodeAddress, hex_prefix, hex_word},
    panic_collect::dumped_core,
    prefix,
};

/// Maximum number of addresses kept per report.
const MAX_ADDRESSES: usize = 128;

/// Maximum number of lines kept per report. ESP-IDF's dump of registers and stack takes 48.
const MAX_LINES: usize = 128;

/// Maximum number of blank lines between a heading and its addresses.
const MOST_BLANK: usize = 3;

/// Maximum length in characters of a backtrace heading. A longer line is about something else.
const LONGEST_HEADING: usize = 80;

/// Number of lines after the task watchdog's own within which a backtrace belongs to its report.
const WATCHDOG_LINES: usize = 160;

/// The selection of addresses outside of panics to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Addresses {
    /// Addresses in known reports and in lines that look like a backtrace.
    #[default]
    Reports,
    /// Also any number in any line that could be a code address.
    All,
    /// No addresses.
    Ignored,
}

/// The source of the addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceKind {
    /// ESP-IDF's task watchdog.
    TaskWatchdog,
    /// ESP-IDF's `ESP_ERROR_CHECK` and `ESP_ERROR_CHECK_WITHOUT_ABORT`.
    ErrorCheck,
    /// A record of ESP-IDF's heap trace.
    HeapTrace,
    /// Lines that look like a backtrace.
    Backtrace,
    /// An arbitrary line, see [`Addresses::All`].
    Line,
}

impl TraceKind {
    /// Returns the name used in events.
    pub fn name(self) -> &'static str {
        match self {
            TraceKind::TaskWatchdog => "task-watchdog",
            TraceKind::ErrorCheck => "error-check",
            TraceKind::HeapTrace => "heap-trace",
            TraceKind::Backtrace => "backtrace",
            TraceKind::Line => "line",
        }
    }
}

/// Addresses printed by firmware that continues to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceReport {
    /// The source of the addresses.
    pub kind: TraceKind,
    /// The message. May be empty.
    pub message: String,
    /// The addresses in the order printed. For [`TraceKind::Line`] they are numbers that may not be
    /// addresses.
    pub addresses: Vec<CodeAddress>,
    /// The end of the backtrace.
    pub backtrace_end: BacktraceEnd,
    /// The lines without the prefixes of loggers and terminals.
    pub lines: Vec<String>,
    /// The time at which the first line was complete, on the port's clock.
    pub at: Moment,
    /// True if the addresses are ESP-IDF's pairs, whose meaning depends on the processor.
    pub(crate) is_pairs: bool,
}

/// A collector of reports from lines.
#[derive(Debug)]
pub(crate) struct TraceCollector {
    wanted: Addresses,
    current: Option<Collecting>,
    /// The task watchdog's message, and the number of lines since.
    watchdog: Option<(String, usize)>,
}

#[derive(Debug)]
struct Collecting {
    report: TraceReport,
    form: Form,
    blank: usize,
}

/// The form of a report's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// One or more addresses per line, after a heading.
    List,
    /// Registers and stack.
    Dump,
}

impl TraceCollector {
    pub fn new(wanted: Addresses) -> TraceCollector {
        TraceCollector { wanted, current: None, watchdog: None }
    }

    /// Returns whether a report has begun and was not yet returned.
    pub fn is_collecting(&self) -> bool {
        self.current.is_some()
    }

    /// Returns the report that has begun, if it has addresses.
    pub fn finish(&mut self) -> Option<TraceReport> {
        let report = self.current.take()?.report;
        (!report.addresses.is_empty()).then_some(report)
    }

    /// Discards unfinished reports because the board restarts.
    pub fn reset(&mut self) {
        self.current = None;
        self.watchdog = None;
    }

    /// Takes the next line outside of panics. Passes finished reports to `tell`.
    pub fn line(&mut self, line: &str, at: Moment, tell: &mut dyn FnMut(&TraceReport)) {
        if self.wanted == Addresses::Ignored {
            return;
        }
        let bare = prefix::strip(line);
        let text = bare.trim();
        if let Some(current) = &mut self.current {
            if current.line(text) {
                return;
            }
            if let Some(report) = self.finish() {
                tell(&report);
            }
        }
        self.watchdog(text);
        if let Some(report) = self.whole(text, at) {
            tell(&report);
        } else if let Some(form) = heading(text) {
            let kind = self.kind();
            let report = TraceReport::new(kind, self.message(text), text, at);
            self.current = Some(Collecting { report, form, blank: 0 });
        } else {
            self.any(text, at, tell);
        }
    }

    /// Takes a line of a panic, whose known addresses belong to the panic report.
    pub fn panic_line(&mut self, line: &str, at: Moment, tell: &mut dyn FnMut(&TraceReport)) {
        self.reset();
        self.any(prefix::strip(line).trim(), at, tell);
    }

    fn any(&self, text: &str, at: Moment, tell: &mut dyn FnMut(&TraceReport)) {
        if self.wanted != Addresses::All {
            return;
        }
        let mut report = TraceReport::new(TraceKind::Line, String::new(), text, at);
        numbers(text, &mut |addr| report.push(addr, AddressKind::Exact));
        if !report.addresses.is_empty() {
            tell(&report);
        }
    }

    /// Tracks the task watchdog's lines before its backtraces.
    fn watchdog(&mut self, text: &str) {
        if text.starts_with("Task watchdog got triggered") {
            self.watchdog = Some((text.to_owned(), 0));
            return;
        }
        let Some((message, lines)) = &mut self.watchdog else { return };
        *lines += 1;
        // Tasks that did not reset the watchdog: ` - IDLE0 (CPU 0)`.
        if let Some(task) = text.strip_prefix("- ").filter(|_| message.len() < MAX_LINES * 2) {
            message.push_str(if message.ends_with(':') { " " } else { ", " });
            message.push_str(task);
        }
        if *lines > WATCHDOG_LINES {
            self.watchdog = None;
        }
    }

    fn kind(&self) -> TraceKind {
        if self.watchdog.is_some() { TraceKind::TaskWatchdog } else { TraceKind::Backtrace }
    }

    fn message(&self, heading: &str) -> String {
        match &self.watchdog {
            Some((message, _)) => message.clone(),
            None => heading.trim_end_matches(':').to_owned(),
        }
    }

    /// Returns a report if `text` is a complete one.
    fn whole(&self, text: &str, at: Moment) -> Option<TraceReport> {
        if text.starts_with("ESP_ERROR_CHECK") && text.contains(" failed: esp_err_t 0x") {
            // Source: ESP-IDF, components/esp_system/esp_err.c: the return address minus the length
            // of a call.
            let (_, place) = text.rsplit_once(" at ")?;
            let mut report = TraceReport::new(TraceKind::ErrorCheck, text.to_owned(), text, at);
            report.push(hex_prefix(place)?, AddressKind::Call);
            return Some(report);
        }
        // Source: ESP-IDF, components/heap/include/heap_trace.inc: `… caller 0x…:0x…`,
        // `freed by 0x…:0x…`.
        let callers = text
            .strip_prefix("freed by 0x")
            .or_else(|| text.split_once(" bytes (@ 0x")?.1.split_once(" caller 0x").map(|c| c.1));
        if let Some(callers) = callers {
            let mut report = TraceReport::new(TraceKind::HeapTrace, text.to_owned(), text, at);
            for caller in format!("0x{callers}").split(':').map_while(hex_prefix) {
                report.push(caller, AddressKind::Call);
            }
            return (!report.addresses.is_empty()).then_some(report);
        }
        let (_, behind) = split_at_heading(text)?;
        let mut report = TraceReport::new(self.kind(), self.message(""), text, at);
        report.add(behind);
        (!report.addresses.is_empty()).then_some(report)
    }
}

impl TraceReport {
    fn new(kind: TraceKind, message: String, line: &str, at: Moment) -> TraceReport {
        TraceReport {
            kind,
            message,
            addresses: vec![],
            backtrace_end: BacktraceEnd::Whole,
            lines: vec![line.to_owned()],
            at,
            is_pairs: false,
        }
    }

    fn push(&mut self, addr: u32, kind: AddressKind) {
        if self.addresses.len() < MAX_ADDRESSES {
            self.addresses.push(CodeAddress { addr, kind });
        }
    }

    /// Adds the addresses of a backtrace in a part of a line. Returns whether there are any.
    fn add(&mut self, text: &str) -> bool {
        let before = self.addresses.len();
        if text.contains("|<-CORRUPTED") {
            self.backtrace_end = BacktraceEnd::Corrupted;
        } else if text.contains("|<-CONTINUES") {
            self.backtrace_end = BacktraceEnd::Continues;
        }
        let pair = |word: &str| {
            let (pc, sp) = word.split_once(':')?;
            hex_word(sp)?;
            hex_word(pc)
        };
        let words = text.split_whitespace();
        let pairs: Vec<u32> = words.filter_map(pair).collect();
        if !pairs.is_empty() {
            self.is_pairs = true;
            pairs.iter().for_each(|pc| self.push(*pc, AddressKind::Call));
        } else if let Some(addr) = hex_word(text.trim()) {
            // The form of esp-backtrace: the return address minus the length of a call.
            self.push(addr, AddressKind::Call);
        } else {
            numbers(text, &mut |addr| {
                // The program counter comes first.
                let first = self.addresses.is_empty();
                self.push(addr, if first { AddressKind::Exact } else { AddressKind::Return });
            });
        }
        self.addresses.len() > before
    }
}

impl Collecting {
    /// Takes a further line. Returns false if it is not part of the report.
    fn line(&mut self, text: &str) -> bool {
        let more = match (self.form, text) {
            (_, "") => {
                self.blank += 1;
                // A list ends with a blank line, but a dump contains some.
                let over = self.form == Form::List && !self.report.addresses.is_empty();
                return self.blank <= MOST_BLANK && !over;
            }
            (Form::List, _) => self.report.add(text),
            (Form::Dump, _) => self.dump(text),
        };
        self.blank = 0;
        let fits = more && self.report.lines.len() < MAX_LINES;
        if fits {
            self.report.lines.push(text.to_owned());
        }
        fits
    }

    /// Reads a line of ESP-IDF's registers and stack.
    fn dump(&mut self, text: &str) -> bool {
        let Some((name, rest)) = text.split_once(':') else { return false };
        let name = name.trim();
        if name == "Stack memory" {
            return true;
        }
        let Some(value) = hex_prefix(rest.trim_start()) else { return false };
        let is_stack = name.len() == 8 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_register = name.len() <= 8
            && name.starts_with(|char: char| char.is_ascii_uppercase())
            && !name.contains(' ');
        if is_register && matches!(name, "MEPC" | "PC") {
            self.report.push(value, AddressKind::Exact);
            let mut words = rest.split([':', ' ']).filter(|word| !word.is_empty()).skip(1);
            if let (Some("RA"), Some(ra)) = (words.next(), words.next().and_then(hex_word)) {
                self.report.push(ra, AddressKind::Return);
            }
        }
        is_stack || is_register
    }
}

/// Returns the form of the report that `text` begins, if its addresses follow on the next lines.
fn heading(text: &str) -> Option<Form> {
    if dumped_core(text).is_some() {
        return Some(Form::Dump);
    }
    let (head, behind) = split_at_heading(text)?;
    // A line that only ends with these words is about something else.
    let is_heading = match behind.trim() {
        ":" | "|" => true,
        "" => text.starts_with("Print CPU") || head.split(' ').count() <= 2,
        _ => false,
    };
    (text.len() <= LONGEST_HEADING && is_heading).then_some(Form::List)
}

/// Splits `text` after the words of a backtrace heading.
fn split_at_heading(text: &str) -> Option<(&str, &str)> {
    const WORDS: [&str; 6] =
        ["backtrace", "back trace", "stack trace", "stacktrace", "call trace", "call stack"];
    let lower = text.to_ascii_lowercase();
    let end = |word: &str| lower.find(word).map(|at| at + word.len());
    let at = WORDS.iter().filter_map(|word| end(word)).min()?;
    Some((text.get(..at)?, text.get(at..)?))
}

/// Finds numbers in `text` that could be addresses: `0x` and eight hex digits, anywhere.
fn numbers(text: &str, found: &mut dyn FnMut(u32)) {
    for (at, _) in text.match_indices("0x") {
        let digits = text.get(at + 2..).unwrap_or_default();
        let len = digits.bytes().take_while(u8::is_ascii_hexdigit).count();
        let joined = text.get(..at).is_some_and(|before| {
            before.ends_with(|char: char| char.is_ascii_alphanumeric() || char == '_')
        });
        let number = digits.get(..8).filter(|_| len == 8 && !joined);
        if let Some(addr) = number.and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
            found(addr);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reports(wanted: Addresses, text: &str) -> Vec<(TraceKind, Vec<u32>)> {
        let mut collector = TraceCollector::new(wanted);
        let mut found = vec![];
        let mut tell = |report: &TraceReport| {
            found.push((report.kind, report.addresses.iter().map(|a| a.addr).collect()));
        };
        for line in text.lines() {
            collector.line(line, Moment::START, &mut tell);
        }
        if let Some(report) = collector.finish() {
            tell(&report);
        }
        found
    }

    #[track_caller]
    fn check(text: &str, expected: &[(TraceKind, &[u32])]) {
        let expected: Vec<_> = expected.iter().map(|(kind, all)| (*kind, all.to_vec())).collect();
        assert_eq!(reports(Addresses::Reports, text), expected, "{text:?}");
    }

    #[test]
    fn other_runtimes_backtraces_are_read() {
        let found: &[(TraceKind, &[u32])] = &[(TraceKind::Backtrace, &[0x4200_0010, 0x4200_0020])];
        for text in [
            "Backtrace: 0x42000010:0x3fc80000 0x42000020:0x3fc80010 |<-CORRUPTED",
            "Backtrace:0x42000010 0x42000020",
            "backtrace| 0: 0x42000010 0x42000020",
            "Stack trace:\n#0 0x42000010 in main\n#1 0x42000020 in start\ndone",
            "Call trace:\n\n  [0x42000010]\n  [0x42000020]\n\n0x42000030",
            "E (12) app: Call stack:\nE (12) app: 0x42000010\nE (12) app: 0x42000020\nE (12) app: \
             x",
            "esp_backtrace:\n\n0x42000010\n0x42000020",
        ] {
            check(text, found);
        }
    }

    #[test]
    fn lines_that_only_mention_one_are_none() {
        for text in [
            "Backtrace:",
            "Backtrace:\nnone\n0x42000010",
            "I (1) app: no backtrace is printed here, but an address follows\n0x42000010",
            "I (1) app: registered at 0x42000010",
            "caller 0x42000010",
            "rst:0x1 (POWERON),boot:0xc (SPI_FAST_FLASH_BOOT)",
        ] {
            check(text, &[]);
        }
    }

    #[test]
    fn any_number_of_eight_digits_counts_where_all_do() {
        let text = "I (1) a: at 0x42000010, not 0x4200001 nor 0x420000101 nor g0x42000010";
        assert_eq!(reports(Addresses::All, text), [(TraceKind::Line, vec![0x4200_0010])]);
        assert_eq!(reports(Addresses::Ignored, "Backtrace: 0x42000010:0x3fc80000"), []);
    }
}
