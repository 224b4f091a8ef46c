//! Addresses of code in reports that are not the firmware's end: watchdogs, failed checks, heap
//! traces, backtraces that it prints and then goes on.

use esplice_protocol::Moment;

use crate::{
    panic::{AddressKind, BacktraceEnd, CodeAddress, hex_prefix, hex_word},
    panic_collect::dumped_core,
    prefix,
};

/// Addresses kept of one report.
const MAX_ADDRESSES: usize = 128;

/// Lines kept of one report; ESP-IDF's dump of registers and stack takes 48.
const MAX_LINES: usize = 128;

/// Blank lines that may stand between a heading and its addresses.
const MOST_BLANK: usize = 3;

/// Characters of the longest heading of a backtrace; a longer line is about something else.
const LONGEST_HEADING: usize = 80;

/// Lines after the task watchdog's own within which a backtrace is one of its report.
const WATCHDOG_LINES: usize = 160;

/// Which addresses outside of panics are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Addresses {
    /// Those of known reports and of lines that look like a backtrace.
    #[default]
    Reports,
    /// Any number in any line that could be an address of code, too.
    All,
    /// None.
    Ignored,
}

/// What printed the addresses.
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
    /// Any line, see [`Addresses::All`].
    Line,
}

impl TraceKind {
    /// Its name in events.
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

/// Addresses that the firmware printed while it runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceReport {
    /// What printed them.
    pub kind: TraceKind,
    /// What it said; may be empty.
    pub message: String,
    /// The addresses in the order printed. Of [`TraceKind::Line`] they are numbers that may be none.
    pub addresses: Vec<CodeAddress>,
    /// How the backtrace ends.
    pub backtrace_end: BacktraceEnd,
    /// Its lines without what a logger or a terminal put before them.
    pub lines: Vec<String>,
    /// When its first line was complete, on the port's clock.
    pub at: Moment,
    /// The addresses are ESP-IDF's pairs, whose meaning depends on the processor.
    pub(crate) is_pairs: bool,
}

/// Collects reports from lines.
#[derive(Debug)]
pub(crate) struct TraceCollector {
    wanted: Addresses,
    current: Option<Collecting>,
    /// The task watchdog's message, and how many lines ago it came.
    watchdog: Option<(String, usize)>,
}

#[derive(Debug)]
struct Collecting {
    report: TraceReport,
    form: Form,
    blank: usize,
}

/// What the lines of a report look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// An address or more a line, behind a heading.
    List,
    /// Registers and stack.
    Dump,
}

impl TraceCollector {
    pub fn new(wanted: Addresses) -> TraceCollector {
        TraceCollector { wanted, current: None, watchdog: None }
    }

    /// Whether a report has begun and is not yet given out.
    pub fn is_collecting(&self) -> bool {
        self.current.is_some()
    }

    /// Gives out the report that has begun, if it has addresses.
    pub fn finish(&mut self) -> Option<TraceReport> {
        let report = self.current.take()?.report;
        (!report.addresses.is_empty()).then_some(report)
    }

    /// The board begins again: what it was printing is over.
    pub fn reset(&mut self) {
        self.current = None;
        self.watchdog = None;
    }

    /// Takes the next line that is no panic's, and gives out reports to `tell`.
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

    /// Takes a line of a panic: its known addresses are the panic's.
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

    /// Follows what the task watchdog says before its backtraces.
    fn watchdog(&mut self, text: &str) {
        if text.starts_with("Task watchdog got triggered") {
            self.watchdog = Some((text.to_owned(), 0));
            return;
        }
        let Some((message, lines)) = &mut self.watchdog else { return };
        *lines += 1;
        // The tasks that did not reset it: ` - IDLE0 (CPU 0)`.
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

    /// A report that `text` is by itself.
    fn whole(&self, text: &str, at: Moment) -> Option<TraceReport> {
        if text.starts_with("ESP_ERROR_CHECK") && text.contains(" failed: esp_err_t 0x") {
            // Source: ESP-IDF, components/esp_system/esp_err.c: the return address less a call's length.
            let (_, place) = text.rsplit_once(" at ")?;
            let mut report = TraceReport::new(TraceKind::ErrorCheck, text.to_owned(), text, at);
            report.push(hex_prefix(place)?, AddressKind::Call);
            return Some(report);
        }
        // Source: ESP-IDF, components/heap/include/heap_trace.inc: `… caller 0x…:0x…`, `freed by 0x…:0x…`.
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

    /// Takes the addresses of a backtrace from a part of a line; whether there are any.
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
            // esp-backtrace prints them so: the return address less a call's length.
            self.push(addr, AddressKind::Call);
        } else {
            numbers(text, &mut |addr| {
                // Where the program stood comes first.
                let first = self.addresses.is_empty();
                self.push(addr, if first { AddressKind::Exact } else { AddressKind::Return });
            });
        }
        self.addresses.len() > before
    }
}

impl Collecting {
    /// Takes a further line; false if it is none of the report's.
    fn line(&mut self, text: &str) -> bool {
        let more = match (self.form, text) {
            (_, "") => {
                self.blank += 1;
                // A list ends with a blank line; a dump has some within it.
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

    /// Takes a line of ESP-IDF's registers and stack.
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

/// What begins with `text`, whose addresses follow on the next lines.
fn heading(text: &str) -> Option<Form> {
    if dumped_core(text).is_some() {
        return Some(Form::Dump);
    }
    let (head, behind) = split_at_heading(text)?;
    // A line that only ends with the word is about something else.
    let is_heading = match behind.trim() {
        ":" | "|" => true,
        "" => text.starts_with("Print CPU") || head.split(' ').count() <= 2,
        _ => false,
    };
    (text.len() <= LONGEST_HEADING && is_heading).then_some(Form::List)
}

/// What stands in `text` before and behind the words that head a backtrace.
fn split_at_heading(text: &str) -> Option<(&str, &str)> {
    const WORDS: [&str; 6] =
        ["backtrace", "back trace", "stack trace", "stacktrace", "call trace", "call stack"];
    let lower = text.to_ascii_lowercase();
    let end = |word: &str| lower.find(word).map(|at| at + word.len());
    let at = WORDS.iter().filter_map(|word| end(word)).min()?;
    Some((text.get(..at)?, text.get(at..)?))
}

/// Numbers in `text` that could be addresses: `0x` and eight hex digits, wherever they stand.
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
            "E (12) app: Call stack:\nE (12) app: 0x42000010\nE (12) app: 0x42000020\nE (12) app: x",
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
