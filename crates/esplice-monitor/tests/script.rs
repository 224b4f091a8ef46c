//! Tests of scripts on a board that sends fixed output at given milliseconds, whatever is done to
//! it.

use std::{fmt::Write as _, time::Duration};

use esplice_monitor::{Action, MonitorEvent, Outcome, Script, TestEvent, Tests, Watch, Watcher};
use esplice_protocol::Moment;

fn at(ms: u64) -> Moment {
    Moment::at(Duration::from_millis(ms))
}

/// Returns all events, one per line with its millisecond. `said` is the board's output, passed byte
/// by byte or in one piece. Time continues to `until`.
fn told(watch: &Watch, said: &[(u64, &str)], until: u64, single: bool) -> String {
    let mut text = String::new();
    let mut watcher = Watcher::new(watch, at(0));
    for now in 0..=until {
        let mut events = |event: MonitorEvent<'_>| match event {
            MonitorEvent::Expected { index, offset, .. } => {
                writeln!(text, "{now}: step {index} met at byte {offset}").unwrap();
            }
            MonitorEvent::Panic(panic) => {
                writeln!(text, "{now}: panic {}", panic.message).unwrap();
            }
            MonitorEvent::Test(TestEvent::Run { name }) => {
                writeln!(text, "{now}: test {name}").unwrap();
            }
            _ => {}
        };
        let mut outcome = None;
        for (when, bytes) in said.iter().filter(|(when, _)| *when == now) {
            let size = if single { 1 } else { bytes.len() };
            let mut pieces = bytes.as_bytes().chunks(size);
            outcome = pieces.find_map(|piece| watcher.push(piece, at(*when), &mut events));
        }
        let due = watcher.deadline().is_some_and(|deadline| deadline <= at(now));
        if due {
            outcome = outcome.or_else(|| watcher.tick(at(now), &mut events));
        }
        while let (None, Some(action)) = (&outcome, watcher.action()) {
            match action {
                Action::Send(bytes) => {
                    writeln!(text, "{now}: send {}", bytes.escape_ascii()).unwrap();
                }
                other => writeln!(text, "{now}: {other:?}").unwrap(),
            }
            outcome = watcher.done(at(now));
        }
        match outcome {
            Some(Outcome::Matched { .. }) => writeln!(text, "{now}: matched").unwrap(),
            Some(Outcome::TimedOut { missing, .. }) => {
                writeln!(text, "{now}: step {} missing {missing}", watcher.step()).unwrap();
            }
            Some(Outcome::Rejected { text: rejected, offset, .. }) => {
                writeln!(text, "{now}: rejected {rejected} at byte {offset}").unwrap();
            }
            Some(Outcome::Panic(_)) => writeln!(text, "{now}: ended by a panic").unwrap(),
            Some(Outcome::BootLoop(_)) => writeln!(text, "{now}: ended by a boot loop").unwrap(),
            Some(Outcome::Tests(report)) => writeln!(
                text,
                "{now}: tests {} passed {} failed {} untold",
                report.passed,
                report.failed,
                report.missing_tests()
            )
            .unwrap(),
            Some(Outcome::TestsTimedOut { running, .. }) => {
                writeln!(text, "{now}: tests timed out in {running:?}").unwrap();
            }
            Some(other) => writeln!(text, "{now}: {other:?}").unwrap(),
            None => continue,
        }
        return text;
    }
    text
}

#[track_caller]
fn check_watch(watch: &Watch, said: &[(u64, &str)], expected: &str) {
    for single in [false, true] {
        let expected: String = expected
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .fold(String::new(), |text, line| text + line + "\n");
        assert_eq!(told(watch, said, 20_000, single), expected, "byte by byte: {single}");
    }
}

#[track_caller]
fn check(script: &str, said: &[(u64, &str)], expected: &str) {
    let script = Script::parse(script).unwrap().steps.into_iter().map(|(_, step)| step).collect();
    let timeout = Some(Duration::from_secs(10));
    check_watch(&Watch::default().script(script).timeout(timeout), said, expected);
}

#[test]
fn steps_are_done_in_order() {
    check(
        "expect \"login: \"\nsend \"root\\r\"\nexpect /pass[a-z]+: /\nwait 500ms\nsend \
         \"x\\r\"\nexpect \"ok\"",
        &[(10, "boot\r\nlogin: "), (20, "root\r\npassword: "), (600, "ok\r\n")],
        "10: step 0 met at byte 6
         10: send root\\r
         20: step 2 met at byte 19
         520: send x\\r
         600: step 5 met at byte 29
         600: matched",
    );
}

#[test]
fn what_comes_in_a_pause_or_before_a_send_counts() {
    check(
        "expect \"a\"\nwait 100ms\nsend \"x\"\nexpect \"b\"\nexpect \"c\"",
        &[(10, "abc")],
        "10: step 0 met at byte 0
         10: step 3 met at byte 1
         10: step 4 met at byte 2
         110: send x
         110: matched",
    );
}

#[test]
fn what_came_before_a_reset_does_not() {
    check(
        "expect \"ready\"\nreset\nexpect \"ready\" within 1s",
        &[(10, "ready ready"), (500, "ready")],
        "10: step 0 met at byte 0
         10: Reset
         500: step 2 met at byte 11
         500: matched",
    );
    check(
        "expect \"ready\"\nreset\nexpect \"ready\" within 1s",
        &[(10, "ready ready")],
        "10: step 0 met at byte 0
         10: Reset
         1010: step 2 missing ready",
    );
}

#[test]
fn times_of_steps_and_of_the_whole() {
    check("expect \"a\" within 2s", &[], "2000: step 0 missing a");
    check("wait 3s\nexpect \"a\" within 2s", &[(5001, "a")], "5000: step 1 missing a");
    check("wait 3s\nexpect \"a\" within 20s", &[], "10000: step 1 missing a");
    check("wait 1s", &[], "1000: matched");
    check("wait 11s\nexpect \"b\"", &[], "10000: step 0 missing b");
}

#[test]
fn a_byte_behind_a_match_is_the_next_ones_first() {
    check(
        "expect /^ok$/\nexpect \"\\r\"\nexpect /^$\\n/\nexpect \"x\"",
        &[(10, "ok\r\n\nx")],
        "10: step 0 met at byte 0
         10: step 1 met at byte 2
         10: step 2 met at byte 4
         10: step 3 met at byte 5
         10: matched",
    );
}

#[test]
fn rejected_from_where_it_stands() {
    check(
        "expect \"a\"\nreject /E[0-9]/\nexpect \"b\"",
        &[(10, "E1 a E"), (20, "2 b")],
        "10: step 0 met at byte 3
         20: rejected /E[0-9]/ at byte 5",
    );
}

#[test]
fn panics_and_resets_where_they_are_allowed() {
    let banner = "rst:0x1 (POWERON),boot:0xc (SPI_FAST_FLASH_BOOT)\r\n";
    let banners = banner.repeat(9);
    let said = [(10, "panic: no\r\n"), (400, &banners), (500, "fine")];
    check("expect \"fine\"", &said, "310: panic no\n310: ended by a panic");
    check("allow panic\nexpect \"fine\"", &said, "310: panic no\n400: ended by a boot loop");
    check(
        "allow panic\nallow resets\nexpect \"fine\"",
        &said,
        "310: panic no
         500: step 2 met at byte 461
         500: matched",
    );
    // A reset by the script does not count as the board's own, and discards unfinished output.
    let resets = "reset\nexpect \"rst\"\n".repeat(5) + "expect \"fine\"";
    let said = [
        (10, "panic: no\r\n"),
        (400, banner),
        (401, banner),
        (402, banner),
        (403, banner),
        (404, banner),
        (500, "fine"),
    ];
    let wait = "expect \"panic\"\nwait 200ms\n";
    let text = told(
        &Watch::default().script(
            Script::parse(&format!("{wait}{resets}"))
                .unwrap()
                .steps
                .into_iter()
                .map(|s| s.1)
                .collect(),
        ),
        &said,
        1000,
        false,
    );
    assert!(text.ends_with("500: matched\n") && !text.contains("ended"), "{text}");
}

fn tests(within: u64) -> Watch {
    Watch::default().tests(Tests::Required { within: Duration::from_millis(within) })
}

#[test]
fn tests_end_the_watch() {
    check_watch(
        &tests(1000),
        &[
            (10, "esplice-test: begin 2\nesplice-test: run a\nesplice-test: ok a\n"),
            (900, "esplice-test: run b\n"),
            (1800, "esplice-test: failed b: no\nesplice-test: done\nmore"),
        ],
        "10: test a
         900: test b
         1800: tests 1 passed 1 failed 0 untold",
    );
    check_watch(&tests(1000), &[(10, "Hello\n")], "1000: tests timed out in None");
    check_watch(
        &tests(1000),
        &[(10, "esplice-test: run a\n"), (500, "busy\n")],
        "10: test a\n1010: tests timed out in Some(\"a\")",
    );
    let banner = "rst:0x7 (TG0WDT_SYS_RST),boot:0xc (SPI_FAST_FLASH_BOOT)\r\n";
    check_watch(
        &tests(1000),
        &[(1, banner), (10, "esplice-test: begin 2\nesplice-test: run a\n"), (500, banner)],
        "10: test a\n500: tests 0 passed 1 failed 1 untold",
    );
    check_watch(
        &tests(1000),
        &[(10, "esplice-test: run a\n"), (20, "panic: no\n")],
        "10: test a\n320: panic no\n320: ended by a panic",
    );
}

#[test]
fn where_they_are_not_wanted_tests_may_be_told_or_not() {
    let within = Duration::from_millis(1000);
    let heard = Watch::default().tests(Tests::IfReported { within });
    check_watch(&heard, &[(10, "panic: no\n")], "310: panic no");
    check_watch(
        &heard,
        &[(5000, "esplice-test: ok a\nesplice-test: exit 0\n")],
        "5000: tests 1 passed 0 failed 0 untold",
    );
    check_watch(&Watch::default(), &[(10, "esplice-test: done\n")], "");
}
