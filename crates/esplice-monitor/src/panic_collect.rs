//! Collects a panic from the lines it is printed in.

use esplice_protocol::Moment;

use crate::{
    panic::{
        AddressKind, BacktraceEnd, CodeAddress, OtherCore, PanicKind, PanicReport, after,
        hex_prefix, hex_word,
    },
    panic_start::{PanicStart, nested, parse_start, place_alone, rust_panic, without_place_of_log},
    prefix,
};

/// Maximum number of lines kept per panic. ESP-IDF's dump of registers and stack takes 48.
const MAX_LINES: usize = 128;

/// Maximum number of addresses kept per panic. esp-backtrace prints 10 by default, ESP-IDF at most
/// 100.
const MAX_ADDRESSES: usize = 128;

/// Maximum number of dumps kept in addition to the core that panicked. No chip has more than two
/// cores.
const MAX_OTHER_CORES: usize = 3;

/// Maximum number of lines of a message.
const MAX_MESSAGE_LINES: usize = 16;

/// A collector of one panic at a time.
#[derive(Debug, Default)]
pub(crate) struct PanicCollector {
    current: Option<Collecting>,
}

#[derive(Debug)]
struct Collecting {
    report: PanicReport,
    phase: Phase,
    message_lines: usize,
    /// The kind of addresses in a backtrace with one address per line.
    listed: AddressKind,
    /// True if backtrace lines may follow without a heading.
    lists_bare: bool,
    /// True if the message is that of an exception, which contains addresses.
    is_exception: bool,
    /// The core of the first dump.
    core: Option<u32>,
    /// Number of register dumps seen. ESP-IDF starts with the core that panicked.
    dumps: usize,
    /// True if a register was printed that only RISC-V has.
    is_riscv: bool,
    /// The return address from the registers, until the backtrace begins.
    returns_to: Option<u32>,
    /// Program counters of interrupted code on the core that panicked.
    interrupted: Vec<CodeAddress>,
    /// The core whose interrupted code is being printed.
    interrupted_core: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The next lines are part of the message.
    Message,
    /// Within `PanicInfo { … }`, printed by esp-backtrace before 0.11.
    Info {
        /// True if the message is being read.
        message: bool,
    },
    /// Registers, stack, or a blank line.
    Body,
    /// After `Backtrace:`, one address per line.
    Backtrace,
}

impl PanicCollector {
    /// Returns whether a panic has begun and was not yet returned.
    pub fn is_collecting(&self) -> bool {
        self.current.is_some()
    }

    /// Returns the panic that has begun, if there is one.
    pub fn finish(&mut self) -> Option<PanicReport> {
        let Collecting { mut report, interrupted, .. } = self.current.take()?;
        while report.lines.last().is_some_and(|line| line.trim().is_empty()) {
            report.lines.pop();
        }
        report.addresses.extend(interrupted);
        Some(report)
    }

    /// Takes the next line. Returns a panic if the line ends it. The start of another panic, from a
    /// failing panic handler, also ends it and is collected next.
    pub fn line(&mut self, line: &str, at: Moment) -> Option<PanicReport> {
        let Some(current) = &mut self.current else {
            self.current = Collecting::begin(line, at);
            return None;
        };
        if let Some(start) = nested(line) {
            let (head, second) = line.split_at(start);
            // The output of the first panic is cut off within its line.
            let is_prefix = current.report.is_prefixed && prefix::strip(head).trim().is_empty();
            let second = if is_prefix { line } else { second };
            if !head.trim().is_empty() && !is_prefix {
                current.line(head);
            }
            let second = Collecting::begin(second, at).map(|mut second| {
                second.report.is_prefixed |= current.report.is_prefixed;
                second
            });
            let first = self.finish();
            self.current = second;
            return first;
        }
        let over = current.line(line);
        if over { self.finish() } else { None }
    }
}

impl Collecting {
    fn begin(line: &str, at: Moment) -> Option<Collecting> {
        // `panic: ` after a logger's level is a line about something else.
        let bare = prefix::strip_times(line);
        let PanicStart { kind, message, location, more, raw_addresses } = parse_start(bare)?;
        let report = PanicReport {
            kind,
            message,
            location,
            addresses: vec![],
            backtrace_end: BacktraceEnd::Whole,
            other_cores: vec![],
            lines: vec![line.to_owned()],
            at,
            is_prefixed: prefix::strip(line) != line,
        };
        let lists_bare = kind == PanicKind::Exception && raw_addresses;
        let mut collecting = Collecting {
            report,
            phase: if more { Phase::Message } else { Phase::Body },
            message_lines: 0,
            listed: if raw_addresses { AddressKind::Return } else { AddressKind::Call },
            lists_bare,
            is_exception: lists_bare,
            core: None,
            dumps: 0,
            is_riscv: false,
            returns_to: None,
            interrupted: vec![],
            interrupted_core: None,
        };
        if lists_bare {
            collecting.exception(bare);
        } else {
            collecting.addresses(bare);
        }
        Some(collecting)
    }

    /// Takes a further line. Returns true if it is the panic's last.
    fn line(&mut self, line: &str) -> bool {
        let bare = if self.report.is_prefixed { prefix::strip(line) } else { line };
        // The next boot is not part of the panic, and may follow it immediately.
        if bare.starts_with("ESP-ROM:") || line.contains("rst:0x") {
            return true;
        }
        self.report.lines.push(line.to_owned());
        let text =
            if self.report.is_prefixed { without_place_of_log(bare.trim()) } else { bare.trim() };
        self.core_head(text);
        // esp-backtrace's banner precedes Rust's own line.
        let report = &self.report;
        let is_bare = report.kind == PanicKind::Rust
            && report.location.is_none()
            && report.message.is_empty();
        // Through defmt only the source location is printed.
        let rust = || rust_panic(text).or_else(|| place_alone(text));
        if let (true, Some(rust)) = (is_bare, rust()) {
            self.report.message = rust.message;
            self.report.location = rust.location;
            self.phase = if rust.more { Phase::Message } else { Phase::Body };
        } else if text.starts_with("Backtrace:") || text == "stack backtrace:" {
            self.phase = Phase::Backtrace;
            self.addresses(text);
        } else if text.starts_with("STACKDUMP: ") {
            self.phase = Phase::Body;
            self.addresses(text);
        } else if let Phase::Info { message } = self.phase {
            self.info(text, message);
        } else if self.phase == Phase::Message {
            self.message(text);
        } else if let Some(addr) = hex_word(text).filter(|_| self.lists()) {
            self.listed(addr);
        } else {
            self.addresses(text);
        }
        // The last line that ESP-IDF prints.
        text == "Rebooting..." || self.report.lines.len() >= MAX_LINES
    }

    /// Returns whether a line with a single address belongs to the backtrace.
    fn lists(&self) -> bool {
        self.phase == Phase::Backtrace || self.lists_bare
    }

    fn listed(&mut self, addr: u32) {
        // The register dump already has it.
        if self.returns_to.take() != Some(addr) {
            self.found(Some(addr), self.listed);
        }
    }

    /// Reads lines that state which core the next lines are about.
    fn core_head(&mut self, text: &str) {
        if let Some(core) = dumped_core(text) {
            self.dumps += 1;
            self.core.get_or_insert(core);
            self.interrupted_core = None;
            if self.dumps > 1 {
                self.other_core(core);
            }
        }
        // ESP-IDF, components/esp_system/port/arch/xtensa/panic_arch.c.
        let interrupted = text.strip_suffix(" was running in ISR context:");
        if let Some(core) = interrupted.and_then(|text| text.strip_prefix("Core ")) {
            self.interrupted_core = core.trim().parse().ok();
        }
    }

    fn other_core(&mut self, core: u32) {
        if self.report.other_cores.len() < MAX_OTHER_CORES {
            self.report.other_cores.push(OtherCore { core, addresses: vec![] });
        }
    }

    /// Reads a line of `PanicInfo { … }`. Only the message is new information.
    fn info(&mut self, text: &str, message: bool) {
        let next = match text {
            "message: Some(" => Phase::Info { message: true },
            ")," if message => Phase::Info { message: false },
            "}" => Phase::Body,
            _ if message => {
                self.add_to_message(text.strip_suffix(',').unwrap_or(text));
                return;
            }
            _ => return,
        };
        self.phase = next;
    }

    fn message(&mut self, text: &str) {
        if text == "PanicInfo {" {
            self.phase = Phase::Info { message: false };
            return;
        }
        // The registers of esp-hal's exceptions, after the message.
        if text.starts_with("TrapFrame {") || text.starts_with("Context {") {
            self.phase = Phase::Body;
            self.context(text);
            return;
        }
        if text.is_empty() {
            // esp-hal's messages may begin with blank lines.
            if !self.report.message.is_empty() {
                self.phase = Phase::Body;
            }
            return;
        }
        // The location is that of the handler and carries no information.
        let handler = self.report.location.take_if(|at| at.file.contains("exception_handler"));
        self.is_exception |= handler.is_some() || text.starts_with('[');
        if self.is_exception {
            self.exception(text);
        }
        self.add_to_message(text);
    }

    fn add_to_message(&mut self, text: &str) {
        if !self.report.message.is_empty() {
            self.report.message.push('\n');
        }
        self.report.message.push_str(text);
        self.message_lines += 1;
        if self.message_lines >= MAX_MESSAGE_LINES {
            self.phase = Phase::Body;
        }
    }

    /// Reads the addresses in an exception's message. Source: esp-hal 1.0 to 1.2,
    /// `src/exception_handler`; esp-backtrace before 0.14.
    fn exception(&mut self, text: &str) {
        for key in ["mepc=", "detected at ", "value at ", "segment at ", "exception at "] {
            self.found(after(text, key), AddressKind::Exact);
        }
        self.found(after(text, "called by "), AddressKind::Return);
    }

    /// Reads `Context { PC: 1107306400, PS: 393237, A0: 2181042944, … }`: registers in decimal, as
    /// printed for Xtensa. Source: esp-hal 1.0 to 1.2.
    fn context(&mut self, text: &str) {
        if text.starts_with("TrapFrame {") {
            self.listed = AddressKind::Call;
        }
        let Some((_, fields)) = text.split_once('{') else { return };
        for field in fields.split([',', '}']) {
            let Some((name, value)) = field.trim().split_once(": ") else { continue };
            let value = hex_word(value).or_else(|| value.parse().ok());
            match (name, value) {
                ("PC", pc) => self.found(pc, AddressKind::Exact),
                ("A0", Some(a0)) => self.returns(of_window(a0)),
                _ => {}
            }
        }
    }

    fn returns(&mut self, addr: u32) {
        self.returns_to = Some(addr);
        self.found(Some(addr), AddressKind::Return);
    }

    /// Reads the addresses in a line that is not a single address. Only those after known labels
    /// count, as dumps are full of numbers that are not code addresses.
    fn addresses(&mut self, line: &str) {
        // TinyGo, `runtimePanicAt` in src/runtime/panic.go: the return address minus the length of
        // a call.
        self.found(after(line, "runtime error at "), AddressKind::Call);
        // esp-backtrace without frame pointers: the program counter as returned by a call, then the
        // bytes of the stack.
        if let Some((pc, _)) =
            line.trim_start().strip_prefix("STACKDUMP: ").and_then(|rest| rest.split_once(' '))
        {
            self.found(u32::from_str_radix(pc, 16).ok(), AddressKind::Return);
        }
        // ESP-IDF 6, components/esp_libc/src/assert.c: the return address, or that minus the length
        // of a call.
        self.found(after(line, "Assert failed in "), AddressKind::Call);
        // ESP-IDF, components/esp_libc (newlib) `abort`: the return address minus 3.
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
        if line.starts_with("TrapFrame {") || line.starts_with("Context {") {
            self.context(line);
            return;
        }
        self.registers(line);
    }

    /// Reads registers: `MEPC    : 0x42000000  RA      : 0x…`, `PC` instead of `MEPC` in the ROM's
    /// dump, TinyGo's `pc`, and `PC=0x42000000  RA/x1=0x…` of esp-backtrace before 0.14.
    fn registers(&mut self, line: &str) {
        let words: Vec<&str> =
            line.split([':', ' ', '\t', '=']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let [name, value] = pair else { continue };
            let name = name.split('/').next().unwrap_or_default();
            self.is_riscv |= name == "MEPC";
            if ["MEPC", "PC"].iter().any(|known| name.eq_ignore_ascii_case(known)) {
                // A panic within the handler cuts the line off after the digits.
                let pc = hex_prefix(value);
                let told = |first: &CodeAddress| {
                    first.kind == AddressKind::Exact && pc == Some(first.addr)
                };
                if !self.addresses_of_core().first().is_some_and(told) {
                    self.found(pc, AddressKind::Exact);
                }
            } else if name.eq_ignore_ascii_case("RA") {
                if let Some(ra) = hex_word(value) {
                    self.returns(ra);
                }
            } else if name.starts_with("EPC") {
                self.interrupted(hex_word(value).filter(|pc| *pc != 0));
            }
        }
    }

    /// Records the program counter of interrupted code.
    fn interrupted(&mut self, pc: Option<u32>) {
        let (Some(addr), Some(core)) = (pc, self.interrupted_core) else { return };
        let address = CodeAddress { addr, kind: AddressKind::Exact };
        if self.core.is_none_or(|panicked| panicked == core) {
            if self.interrupted.len() < MAX_ADDRESSES {
                self.interrupted.push(address);
            }
            return;
        }
        if self.report.other_cores.last().is_none_or(|other| other.core != core) {
            self.other_core(core);
        }
        if let Some(other) = self.report.other_cores.last_mut()
            && other.core == core
            && other.addresses.len() < MAX_ADDRESSES
        {
            other.addresses.push(address);
        }
    }

    /// Reads ESP-IDF's `PC:SP PC:SP …`. Other firmware prints addresses without a stack pointer.
    fn pairs(&mut self, pairs: &str) {
        let pcs = pairs.split_whitespace().map(|pair| pair.split(':').next().unwrap_or(pair));
        for (index, pc) in pcs.filter_map(hex_word).enumerate() {
            // On Xtensa all are reduced by 3, as if after a call (`esp_cpu_process_stack_pc`); on
            // RISC-V they are unchanged (`esp_eh_frame_print_backtrace`). The first is the program
            // counter, which the registers above have already shown exactly. ESP-IDF before 3.1
            // prints it unchanged.
            let exact = [Some(pc), pc.checked_add(3).filter(|_| !self.is_riscv)];
            let told = self.addresses_of_core().first().is_some_and(|first| {
                first.kind == AddressKind::Exact && exact.contains(&Some(first.addr))
            });
            if index == 0 && told {
                if self.is_riscv {
                    // The next one is RA and was printed as such.
                    self.addresses_of_core().truncate(1);
                }
                continue;
            }
            let kind = if self.is_riscv { AddressKind::Return } else { AddressKind::Call };
            self.found(Some(pc), kind);
        }
    }

    /// Reads the mark after the last pair.
    fn ends(&mut self, pairs: &str) {
        if pairs.contains("|<-CORRUPTED") {
            self.report.backtrace_end = BacktraceEnd::Corrupted;
        } else if pairs.contains("|<-CONTINUES") {
            self.report.backtrace_end = BacktraceEnd::Continues;
        }
    }

    /// Returns the addresses of the core whose dump is being read.
    fn addresses_of_core(&mut self) -> &mut Vec<CodeAddress> {
        match self.report.other_cores.last_mut() {
            Some(other) if self.dumps > 1 => &mut other.addresses,
            _ => &mut self.report.addresses,
        }
    }

    fn found(&mut self, addr: Option<u32>, kind: AddressKind) {
        let addresses = self.addresses_of_core();
        if addresses.len() < MAX_ADDRESSES {
            addresses.extend(addr.map(|addr| CodeAddress { addr, kind }));
        }
    }
}

/// Returns the core whose registers follow `line`. Source: ESP-IDF,
/// `components/esp_system/port/arch/*/panic_arch.c`: `Core  0 register dump:`.
pub(crate) fn dumped_core(line: &str) -> Option<u32> {
    line.strip_prefix("Core ")?.trim_start().strip_suffix(" register dump:")?.parse().ok()
}

/// Returns the address for a return address of Xtensa's windowed calls. Its two highest bits hold
/// the window size, and code lies in the second quarter of the address space. Source: Xtensa ISA,
/// 4.7.1.
pub(crate) fn of_window(a0: u32) -> u32 {
    (a0 & 0x3fff_ffff) | 0x4000_0000
}
