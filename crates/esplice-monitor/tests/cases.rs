//! Checks that each capture in `tests/cases` yields the expected events and outcome, however it is
//! split.

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use esplice_monitor::{
    BacktraceEnd, CodeAddress, CoreDump, Expectation, MonitorEvent, Outcome, PanicReport,
    TraceReport, Watch, Watcher,
};
use esplice_protocol::Moment;
use proptest::prelude::*;

struct Case {
    name: String,
    log: Vec<u8>,
    watch: Watch,
}

fn cases() -> Vec<Case> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut cases = vec![];
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let mut watch = Watch::default().timeout(Some(Duration::from_secs(5)));
        for line in fs::read_to_string(path.with_extension("watch")).unwrap().lines() {
            match line.split_once(": ").unwrap() {
                ("expect", text) => watch.expect.push(Expectation::parse(text).unwrap()),
                ("reject", text) => watch.reject.push(Expectation::parse(text).unwrap()),
                ("timeout", seconds) => {
                    watch.timeout = Some(Duration::from_secs(seconds.parse().unwrap()));
                }
                (key, _) => panic!("{}: unknown key {key}", path.display()),
            }
        }
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        cases.push(Case { name, log: fs::read(&path).unwrap(), watch });
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(cases.len() > 20, "the case folder was not found");
    cases
}

/// Returns events and outcome as text. All `pieces` arrive at one moment, followed by silence.
fn told<'a>(watch: &Watch, pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut text = String::new();
    let mut watcher = Watcher::new(watch, Moment::START);
    let mut events = |event: MonitorEvent<'_>| match event {
        MonitorEvent::Boot(banner) => writeln!(text, "boot: {banner}").unwrap(),
        MonitorEvent::Panic(panic) => tell_panic(panic, &mut text),
        MonitorEvent::Trace(trace) => tell_trace(trace, &mut text),
        MonitorEvent::Expected { index, offset, .. } => {
            writeln!(text, "expected {index}: at byte {offset}").unwrap();
        }
        MonitorEvent::BootError(error) => {
            writeln!(text, "boot error: {}", error.kind.description()).unwrap();
        }
        MonitorEvent::SavedPc(pc) => writeln!(text, "saved pc: {pc:#010x}").unwrap(),
        MonitorEvent::CoreDump(dump) => tell_dump(dump, &mut text),
        MonitorEvent::CoreDumpBroken(error) => writeln!(text, "core dump: {error}").unwrap(),
        MonitorEvent::Text(_) | MonitorEvent::Rom(_) => {}
        other => writeln!(text, "{other:?}").unwrap(),
    };
    let now = Moment::at(Duration::from_millis(100));
    let mut outcome = pieces.into_iter().find_map(|piece| watcher.push(piece, now, &mut events));
    while outcome.is_none() {
        let deadline = watcher.deadline().expect("all cases have a timeout");
        outcome = watcher.tick(deadline, &mut events);
    }
    match outcome.unwrap() {
        // Already reported by other events.
        Outcome::Panic(_) => writeln!(text, "outcome: Panic").unwrap(),
        other => writeln!(text, "outcome: {other:#?}").unwrap(),
    }
    text
}

fn tell_dump(dump: &CoreDump, text: &mut String) {
    let CoreDump { format, chip_id, is_sound, elf_sha256, reason, tasks, .. } = dump;
    writeln!(text, "core dump: {format:?}, chip {chip_id}, sound: {is_sound}").unwrap();
    writeln!(text, "  ELF {elf_sha256:?}, {reason:?}").unwrap();
    for task in tasks {
        let crashed = if task.crashed { " crashed" } else { "" };
        writeln!(text, "  task {:#010x} {:?}{crashed}", task.tcb, task.name).unwrap();
        for frame in dump.frames(task, None) {
            writeln!(text, "    {:#010x}", frame.addr).unwrap();
        }
    }
}

fn tell_trace(trace: &TraceReport, text: &mut String) {
    let TraceReport { kind, message, addresses, lines, backtrace_end, .. } = trace;
    writeln!(text, "trace: {}\n  message: {message:?}", kind.name()).unwrap();
    for address in addresses {
        writeln!(text, "  {:#010x} {:?}", address.addr, address.kind).unwrap();
    }
    if *backtrace_end != BacktraceEnd::Whole {
        writeln!(text, "  ends: {backtrace_end:?}").unwrap();
    }
    for line in lines {
        writeln!(text, "  | {line}").unwrap();
    }
}

fn tell_panic(panic: &PanicReport, text: &mut String) {
    let PanicReport { kind, message, location, addresses, lines, .. } = panic;
    let location = location.as_ref().map_or("nowhere known".to_owned(), ToString::to_string);
    writeln!(text, "panic: {} at {location}\n  message: {message:?}", kind.name()).unwrap();
    for address in addresses {
        writeln!(text, "  {:#010x} {:?}", address.addr, address.kind).unwrap();
    }
    if panic.backtrace_end != BacktraceEnd::Whole {
        writeln!(text, "  ends: {:?}", panic.backtrace_end).unwrap();
    }
    for other in &panic.other_cores {
        writeln!(text, "  core {}:", other.core).unwrap();
        for address in &other.addresses {
            writeln!(text, "    {:#010x} {:?}", address.addr, address.kind).unwrap();
        }
    }
    for line in lines {
        writeln!(text, "  | {line}").unwrap();
    }
}

#[test]
fn captures_give_what_stands_beside_them() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut wrong = vec![];
    for case in cases() {
        let found = told(&case.watch, [case.log.as_slice()]);
        let path = dir.join(&case.name).with_extension("out");
        if std::env::var_os("UPDATE_CASES").is_some() {
            fs::write(&path, &found).unwrap();
        }
        if fs::read_to_string(&path).unwrap_or_default() != found {
            wrong.push(format!("{}:\n{found}", case.name));
        }
    }
    assert!(wrong.is_empty(), "cases that differ from their .out files:\n{}", wrong.join("\n"));
}

#[test]
fn single_bytes_give_the_same() {
    for case in cases() {
        let whole = told(&case.watch, [case.log.as_slice()]);
        assert_eq!(told(&case.watch, case.log.chunks(1)), whole, "{}", case.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn pieces_of_any_size_give_the_same(cuts in proptest::collection::vec(1usize..200, 1..20)) {
        for case in cases() {
            let mut rest = case.log.as_slice();
            let mut pieces = vec![];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, behind) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = behind;
            }
            let whole = told(&case.watch, [case.log.as_slice()]);
            prop_assert_eq!(told(&case.watch, pieces), whole, "{}", case.name);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let never = Expectation::parse("never to be seen").unwrap();
        let watch =
            Watch::default().expect(vec![never]).timeout(Some(Duration::from_secs(1)));
        told(&watch, [bytes.as_slice()]);
    }

    /// Complete lines, partial lines and noise from the captures, shuffled.
    #[test]
    fn no_mixture_makes_it_panic(picks in proptest::collection::vec((0usize..10_000, 0usize..80), 0..60)) {
        let lines: Vec<Vec<u8>> = cases()
            .iter()
            .flat_map(|case| case.log.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>())
            .collect();
        let mixture: Vec<u8> = picks
            .iter()
            .flat_map(|(line, len)| {
                let line = &lines[line % lines.len()];
                line[..line.len().min(*len)].to_vec()
            })
            .collect();
        let watch = Watch::default().timeout(Some(Duration::from_secs(1)));
        let told = told(&watch, [mixture.as_slice()]);
        prop_assert!(told.contains("outcome: Ended"));
    }
}

#[test]
fn only_these_match() {
    for case in cases() {
        let mut watcher = Watcher::new(&case.watch, Moment::START);
        let outcome = watcher.push(&case.log, Moment::START, &mut |_| {});
        let early = matches!(outcome, Some(Outcome::Matched { .. }));
        let named = [
            "binary-among-text",
            "expected-in-a-panic",
            "in-order",
            "log-about-a-panic",
            "matched",
            "two-resets-and-fine",
        ];
        let named = named.contains(&case.name.as_str());
        assert_eq!(early, named, "{}", case.name);
    }
}

/// Returns the panics and traces in `log` without their lines.
fn reports(watch: &Watch, log: &[u8]) -> Vec<(String, Vec<CodeAddress>)> {
    let mut found = vec![];
    let mut watcher = Watcher::new(watch, Moment::START);
    let mut events = |event: MonitorEvent<'_>| match event {
        MonitorEvent::Panic(panic) => {
            let PanicReport { kind, message, location, addresses, other_cores, .. } = panic;
            let others = other_cores.iter().flat_map(|core| core.addresses.clone());
            let addresses = addresses.iter().copied().chain(others).collect();
            found.push((format!("{kind:?} {message} {location:?}"), addresses));
        }
        MonitorEvent::Trace(trace) => {
            found.push((format!("{:?} {}", trace.kind, trace.message), trace.addresses.clone()));
        }
        _ => {}
    };
    let mut outcome = watcher.push(log, Moment::START, &mut events);
    while outcome.is_none() {
        let deadline = watcher.deadline().expect("all cases have a timeout");
        outcome = watcher.tick(deadline, &mut events);
    }
    found
}

/// Changes that a logger, a terminal or a cable makes to each line.
type Variant = (&'static str, fn(&str) -> String);

const VARIANTS: &[Variant] = &[
    ("CRLF", |line| format!("{line}\r\n")),
    ("two CRs", |line| format!("{line}\r\r\n")),
    ("colours", |line| format!("\x1b[0;31m{line}\x1b[0m\r\n")),
    ("times", |line| format!("[08:34:28] {line}\n")),
    ("times and no blank", |line| format!("[08:34:28]{line}\r\n")),
    ("dates", |line| format!("[2024-05-01 08:34:28.123] {line}\n")),
    ("arrows", |line| format!("08:34:28.123 > {line}\n")),
    ("colours and times", |line| format!("[08:34:28] \x1b[1;31m{line}\x1b[0m\n")),
];

#[test]
fn loggers_terminals_and_line_ends_change_nothing() {
    let mut seen = 0;
    for case in cases() {
        // The other captures are not text or have no reports.
        let kinds = ["idf-", "esp-", "rust-", "tinygo-", "other-", "live-", "rom-panic"];
        let named = kinds.iter().any(|kind| case.name.starts_with(kind));
        if !named || std::str::from_utf8(&case.log).is_err() || case.name.contains("core-dump") {
            continue;
        }
        let log = String::from_utf8(case.log.clone()).unwrap();
        let expected = reports(&case.watch, &case.log);
        assert!(!expected.is_empty() || case.name == "live-watchdog", "{}", case.name);
        for (name, change) in VARIANTS {
            let changed: String = log.lines().map(change).collect();
            let found = reports(&case.watch, changed.as_bytes());
            assert_eq!(found, expected, "{} with {name}", case.name);
        }
        seen += 1;
    }
    assert!(seen > 30, "{seen} cases");
}
