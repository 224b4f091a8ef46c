//! Translation of a panic's addresses into functions and lines.

use crate::{
    dump::Dump,
    panic::{AddressKind, CodeAddress, OtherCore, PanicReport},
    symbols::{Architecture, SymbolFrame, Symbols},
    trace::{TraceKind, TraceReport},
    unwind::Hints,
};

/// Maximum number of frames per panic. Endless recursion is folded first.
const MAX_FRAMES: usize = 256;

/// A function in a panic's call chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The address as printed by the firmware or as stored on the stack.
    pub addr: u32,
    /// The symbol from the ELF. `None` if it has none for the address, or if there is no ELF.
    pub symbol: Option<SymbolFrame>,
    /// Number of consecutive repetitions: more than one in a recursion and if a backtrace's tail
    /// repeats.
    pub times: u32,
}

/// Returns the frames of a panic, the failing one first. If `symbols` can unwind the printed
/// registers and stack, the frames come from there, otherwise from the printed addresses.
///
/// Only numbers that the firmware printed as addresses are looked up. Only those in executable
/// sections get a name.
pub fn decode(report: &PanicReport, symbols: Option<&Symbols<'_>>) -> Vec<Frame> {
    let exact = report.addresses.iter().find(|address| address.kind == AddressKind::Exact);
    let mepc = exact.map(|address| address.addr);
    let hints = Hints { location: report.location.as_ref(), mepc, has_place: false };
    let unwound =
        symbols.and_then(|symbols| unwound(Dump::find(&report.bare_lines())?, hints, symbols));
    frames(unwound.as_ref().unwrap_or(&report.addresses), symbols)
}

/// Returns the frames of another core, in the same way as [`decode`].
pub fn decode_core(
    report: &PanicReport,
    other: &OtherCore,
    symbols: Option<&Symbols<'_>>,
) -> Vec<Frame> {
    let dump = || Dump::of_core(&report.bare_lines(), other.core);
    let unwound = symbols.and_then(|symbols| unwound(dump()?, Hints::default(), symbols));
    frames(unwound.as_ref().unwrap_or(&other.addresses), symbols)
}

/// Returns the frames of a report outside of a panic, in the same way as [`decode`]. Of the numbers
/// in an arbitrary line, only code addresses are used.
pub fn decode_trace(report: &TraceReport, symbols: Option<&Symbols<'_>>) -> Vec<Frame> {
    let mut addresses = report.addresses.clone();
    if report.kind == TraceKind::Line {
        addresses.retain(|address| symbols.is_some_and(|s| s.contains(address.addr.into())));
    }
    let is_riscv = |symbols: &Symbols<'_>| symbols.architecture() == Architecture::RiscV;
    if report.is_pairs && symbols.is_some_and(is_riscv) {
        // Like the pairs of a `PanicReport`, except that no register holds the program counter.
        for (index, address) in addresses.iter_mut().enumerate() {
            address.kind = if index == 0 { AddressKind::Exact } else { AddressKind::Return };
        }
    }
    let dump = || Dump::find(&report.lines);
    let unwound = symbols.and_then(|symbols| unwound(dump()?, Hints::default(), symbols));
    frames(unwound.as_ref().unwrap_or(&addresses), symbols)
}

/// Looks up `addresses` in `symbols`. The innermost function comes first.
pub(crate) fn frames(addresses: &[CodeAddress], symbols: Option<&Symbols<'_>>) -> Vec<Frame> {
    let mut frames: Vec<Frame> = vec![];
    for (times, address) in folded(addresses) {
        let found = symbols.map(|symbols| symbols.frames(address.instruction().into()));
        let found = found.unwrap_or_default();
        let frame = |symbol| Frame { addr: address.addr, symbol, times };
        if found.is_empty() {
            frames.push(frame(None));
        }
        frames.extend(found.into_iter().map(|symbol| frame(Some(symbol))));
    }
    frames.truncate(MAX_FRAMES);
    frames
}

/// Returns the addresses found by unwinding a dump's stack. Returns `None` without a dump, or if
/// unwinding finds nothing beyond the dump's own text.
fn unwound(dump: Dump, hints: Hints<'_>, symbols: &Symbols<'_>) -> Option<Vec<CodeAddress>> {
    let callers = dump.callers(symbols, hints);
    if callers.is_empty() {
        return None;
    }
    let mut addresses = vec![CodeAddress { addr: dump.registers.pc, kind: AddressKind::Exact }];
    // Addresses in the message itself, such as the caller of `abort`, are part of this chain.
    addresses.extend(callers.iter().map(|caller| CodeAddress {
        addr: caller.addr,
        kind: if caller.interrupted { AddressKind::Exact } else { AddressKind::Return },
    }));
    Some(addresses)
}

/// Folds consecutive equal addresses into one with a count.
fn folded(addresses: &[CodeAddress]) -> Vec<(u32, CodeAddress)> {
    let mut folded: Vec<(u32, CodeAddress)> = vec![];
    for address in addresses {
        match folded.last_mut() {
            Some((times, last)) if last == address => *times = times.saturating_add(1),
            _ => folded.push((1, *address)),
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        panic::BacktraceEnd,
        panic_collect::PanicCollector,
        unwind::{
            UnwindTables,
            tests::{FUNCTIONS, debug_frame},
        },
    };

    const NAMES: &[(u64, &str)] = &[
        (0x1000, "leaf"),
        (0x2000, "_ZN4main6middle17h0123456789abcdefE"),
        (0x3000, "by_pointer"),
        (0x4000, "root"),
    ];

    fn report(text: &str) -> PanicReport {
        let mut collector = PanicCollector::default();
        let at = esplice_protocol::Moment::START;
        let told = text.lines().find_map(|line| collector.line(line, at));
        told.or_else(|| collector.finish()).unwrap()
    }

    /// Decodes the panic in `text` with unwind tables, then without.
    #[track_caller]
    fn check(text: &str, expected: &[(u32, &str)], without: &[(u32, &str)]) {
        let report = report(text);
        for (section, expected) in [(debug_frame(false, FUNCTIONS), expected), (vec![], without)] {
            let tables = UnwindTables::new(&section, &[], 0, 0, 4);
            let symbols = Symbols::of_unwind(0x1000..0x5000, tables).with_functions(NAMES);
            let name = |frame: &Frame| frame.symbol.as_ref()?.function.clone();
            let frames = decode(&report, Some(&symbols));
            let frames: Vec<(u32, String)> =
                frames.iter().map(|frame| (frame.addr, name(frame).unwrap_or_default())).collect();
            let expected: Vec<(u32, String)> =
                expected.iter().map(|(addr, name)| (*addr, (*name).to_owned())).collect();
            assert_eq!(frames, expected);
        }
    }

    /// A dump of ESP-IDF with the stack of a leaf function called by `middle`.
    const DUMP: &str = "\
        Core  0 register dump:\n\
        MEPC    : 0x00001004  RA      : 0x0000200a  SP      : 0x00080000  GP      : 0x00003000\n\
        TP      : 0x3fc87bb4  T0      : 0x00004010  T1      : 0x0000000f  T2      : 0x00000000\n\
        S0/FP   : 0x00080030  S1      : 0x00000000  A0      : 0x00000000  A1      : 0x00001010\n\
        MSTATUS : 0x00001881  MTVEC   : 0x00001001  MCAUSE  : 0x00000007  MTVAL   : 0x00000000\n\
        \n\
        Stack memory:\n\
        00080000: 0x00001008 0x00002008 0x00003008 0x00003008 0x00001010 0x00001010 0x0 0x0\n\
        00080020: 0x00000000 0x00000000 0x00000000 0x00004008 0xa5a5a5a5 0xa5a5a5a5 0x0 0x0\n\
        \n\
        Rebooting...\n";

    const UNWOUND: &[(u32, &str)] =
        &[(0x1004, "leaf"), (0x200a, "main::middle"), (0x3008, "by_pointer"), (0x4008, "root")];

    #[test]
    fn a_dumped_stack_is_unwound() {
        let text = format!("Guru Meditation Error: Core  0 panic'ed (Store access fault)\n{DUMP}");
        check(&text, UNWOUND, &[(0x1004, "leaf"), (0x200a, "main::middle")]);
        let text = format!("abort() was called at PC 0x00002007 on core 0\n{DUMP}");
        let named = [(0x2007, "main::middle"), (0x1004, "leaf"), (0x200a, "main::middle")];
        check(&text, UNWOUND, &named);
    }

    #[test]
    fn each_core_is_unwound_by_itself() {
        let first = DUMP.replace("0x00001004", "0x00004000").replace("Rebooting...\n", "");
        let first = first.replace("0x0000200a", "0x00000000").replace("Core  0", "Core  1");
        let report = report(&format!("Guru Meditation Error: Core  1\n{first}{DUMP}"));
        let section = debug_frame(false, FUNCTIONS);
        let tables = UnwindTables::new(&section, &[], 0, 0, 4);
        let symbols = Symbols::of_unwind(0x1000..0x5000, tables).with_functions(NAMES);
        let addresses = |frames: Vec<Frame>| frames.iter().map(|f| f.addr).collect::<Vec<_>>();
        assert_eq!(addresses(decode(&report, Some(&symbols))), [0x4000, 0]);
        let [other] = report.other_cores.as_slice() else { panic!("{report:?}") };
        assert_eq!(other.core, 0);
        let frames = decode_core(&report, other, Some(&symbols));
        assert_eq!(addresses(frames), UNWOUND.iter().map(|(addr, _)| *addr).collect::<Vec<_>>());
        assert_eq!(addresses(decode_core(&report, other, None)), [0x1004, 0x200a]);
    }

    #[test]
    fn pairs_are_of_the_instruction_on_risc_v_and_before_it_on_xtensa() {
        let head = "Guru Meditation Error: Core  0\nCore  0 register dump:\n";
        let pairs = "Backtrace: 0x00001004:0x3fc8 0x00002000:0x3fc8";
        let text = format!("{head}MEPC    : 0x00001004  RA      : 0x00002000\n{pairs}\n");
        let frames = [(0x1004, "leaf"), (0x2000, "leaf")];
        check(&text, &frames, &frames);
        let text =
            format!("{head}PC      : 0x00001007  PS      : 0x00060030\n{pairs} |<-CORRUPTED\n");
        let frames = [(0x1007, "leaf"), (0x2000, "main::middle")];
        check(&text, &frames, &frames);
        assert_eq!(report(&text).backtrace_end, BacktraceEnd::Corrupted);
    }

    #[test]
    fn a_stack_of_bytes_is_unwound() {
        // Dumped by `middle`, with an unknown frame pointer.
        let stack = "00100000 00200000 00300000 08300000 00000000".replace(' ', "");
        let text = format!("panicked at src/main.rs:9:5:\nno\nSTACKDUMP: 0000200a {stack}\n");
        let frames = [(0x200a, "main::middle"), (0x3008, "by_pointer")];
        check(&text, &frames, &frames[..1]);
    }

    #[test]
    fn printed_addresses_are_of_the_call_before_them() {
        // Each is at the very end of its function. The next address belongs to another one.
        let text = "panicked at src/main.rs:9:5:\nno\n\nBacktrace:\n\n0x1ffc\n0x2ffc\n0x9000\n";
        let frames = [(0x1ffc, "leaf"), (0x2ffc, "main::middle"), (0x9000, "")];
        check(text, &frames, &frames);
        let text = "[ProCpu] Stack overflow detected at 0x2000, possibly called by 0x2000";
        let text = format!("panicked at exception_handler/mod.rs:7:1:\n{text}\n");
        let frames = [(0x2000, "main::middle"), (0x2000, "leaf")];
        check(&text, &frames, &frames);
        let frames = [(0x1ffd, "leaf")];
        check("abort() was called at PC 0x00001ffd on core 0\n", &frames, &frames);
        let frames = [(0x1ffc, "leaf")];
        check("panic: runtime error at 0x1ffc: nil pointer dereference\n", &frames, &frames);
        let pairs = "Backtrace: 0x00001ffd:0x3ffb1f30 0x00002ffd:0x3ffb1f60 |<-CORRUPTED";
        let text = format!("Guru Meditation Error: Core  1\nPC      : 0x00002000\n{pairs}\n");
        let frames = [(0x2000, "main::middle"), (0x2ffd, "main::middle")];
        check(&text, &frames, &frames);
    }

    #[test]
    fn addresses_in_a_row_are_folded() {
        let [a, b] = [1, 2].map(|addr| CodeAddress { addr, kind: AddressKind::Call });
        assert_eq!(folded(&[a, b, b, b, a]), [(1, a), (3, b), (1, a)]);
        assert_eq!(folded(&[]), []);
    }
}
