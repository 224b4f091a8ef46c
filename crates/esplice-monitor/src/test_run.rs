//! Tests that run on a board and print their results, one line each.
//!
//! A line of this protocol begins with [`MARK`], either at its start or after whitespace, so that
//! loggers may print it too. All other lines are ordinary output:
//!
//! ```text
//! esplice-test: begin 4
//! esplice-test: test adds
//! esplice-test: run adds
//! esplice-test: ok adds
//! esplice-test: run divides
//! esplice-test: failed divides: left is 1, right is 2
//! esplice-test: ignored overflows: needs a sensor
//! esplice-test: should-panic unwraps: on a `None` value
//! esplice-test: done
//! ```

use std::time::Duration;

use esplice_protocol::Moment;

/// The start of each line of the test protocol.
pub const MARK: &str = "esplice-test: ";

/// Maximum number of results kept. Further ones are only counted.
const MOST_CASES: usize = 10_000;

/// Maximum number of output lines kept for a running test.
const MOST_LINES: usize = 200;

/// The result of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TestResult {
    /// The test passed.
    Passed,
    /// The test failed.
    Failed {
        /// The reason printed by the firmware, or the observed one if it could not print any. May
        /// be empty.
        reason: String,
    },
    /// The test was not run.
    Ignored {
        /// The reason. May be empty.
        reason: String,
    },
}

/// A test and its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestCase {
    /// The name as printed by the firmware.
    pub name: String,
    /// The result.
    pub result: TestResult,
    /// The time from start to result, if the firmware printed both.
    pub time: Option<Duration>,
    /// The last lines printed while the test ran. Empty unless it failed.
    pub output: Vec<String>,
}

/// A selection of the tests that count. The board runs all of them, as nothing is sent to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TestSelection {
    /// Parts of names. A test counts if its name contains one of them, or if there are none.
    pub filters: Vec<String>,
    /// Parts of names. A test does not count if its name contains one of them.
    pub skip: Vec<String>,
    /// True if the filters are whole names.
    pub exact: bool,
    /// True if only names are wanted, no results.
    pub list: bool,
}

impl TestSelection {
    /// Returns whether all tests are selected, for their results.
    pub fn is_all(&self) -> bool {
        self.filters.is_empty() && self.skip.is_empty() && !self.list
    }

    /// Returns whether the test called `name` counts.
    pub fn is_selected(&self, name: &str) -> bool {
        let fits = |filter: &String| match self.exact {
            true => name == filter,
            false => name.contains(filter.as_str()),
        };
        let wanted = self.filters.is_empty() || self.filters.iter().any(fits);
        wanted && !self.skip.iter().any(fits)
    }
}

/// The tests that a board reported.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TestReport {
    /// The tests in the order of their results.
    pub cases: Vec<TestCase>,
    /// Number of tests that passed.
    pub passed: usize,
    /// Number of tests that failed.
    pub failed: usize,
    /// Number of tests that were not run.
    pub ignored: usize,
    /// Number of reported tests that do not count according to the selection.
    pub filtered: usize,
    /// Number of tests that the firmware announced.
    pub announced: Option<usize>,
    /// The names of all known tests, in the order printed.
    pub names: Vec<String>,
    /// Number of selected tests, once all announced tests are named.
    pub selected: Option<usize>,
    /// The test ended by a panic, a reset or the timeout.
    pub ended_in: Option<String>,
    /// The firmware's exit code, if it printed one.
    pub exit: Option<u32>,
    /// The time from the first to the last line of the test protocol.
    pub time: Duration,
}

impl TestReport {
    /// Returns the number of selected tests that were announced but not reported.
    pub fn missing_tests(&self) -> usize {
        let told = self.passed + self.failed + self.ignored;
        match self.selected {
            Some(selected) => selected.saturating_sub(told),
            None => self.announced.unwrap_or(0).saturating_sub(told + self.filtered),
        }
    }

    /// Returns the number of tests that do not count according to the selection, as far as known.
    pub fn filtered_out(&self) -> usize {
        let named = self.selected.map(|selected| self.names.len().saturating_sub(selected));
        named.unwrap_or(self.filtered)
    }

    /// Returns true if nothing failed, no test is missing, and the exit code is 0 or absent.
    pub fn is_success(&self) -> bool {
        self.failed == 0 && self.missing_tests() == 0 && self.exit.unwrap_or(0) == 0
    }
}

/// An event of the tests on a board.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TestEvent<'a> {
    /// Tests begin. Sent again once the number of selected tests is known.
    Begin {
        /// The number of tests, if the firmware printed it.
        count: Option<usize>,
    },
    /// A test begins.
    Run {
        /// The name of the test.
        name: &'a str,
    },
    /// A test has ended.
    Ended(&'a TestCase),
    /// A line with the mark and unknown content.
    Unknown {
        /// The text after the mark.
        line: &'a str,
    },
}

/// The meaning of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TestLine<'a> {
    Begin(Option<usize>),
    /// Only the name of a test.
    Test(&'a str),
    Run(&'a str),
    /// A test begins that must panic with a message containing this text.
    ShouldPanic(&'a str, &'a str),
    /// The name may be empty and is then that of the running test.
    Ok(&'a str),
    Failed(&'a str, &'a str),
    Ignored(&'a str, &'a str),
    Done,
    Exit(u32),
    Unknown(&'a str),
}

/// Returns whether `line` belongs to the test protocol.
pub fn is_test_line(line: &str) -> bool {
    parse_test_line(line).is_some()
}

fn parse_test_line(line: &str) -> Option<TestLine<'_>> {
    let at = line.find(MARK)?;
    let (before, rest) = (line.get(..at)?, line.get(at + MARK.len()..)?);
    if before.chars().next_back().is_some_and(|char| !char.is_whitespace()) {
        return None;
    }
    let rest = rest.trim();
    let (word, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let rest = rest.trim();
    let told = match (word, rest) {
        ("begin", "") => TestLine::Begin(None),
        ("begin", count) => match count.parse() {
            Ok(count) => TestLine::Begin(Some(count)),
            Err(_) => return unknown(line),
        },
        ("run" | "test" | "should-panic", "") => return unknown(line),
        ("run", name) => TestLine::Run(name),
        ("test", name) => TestLine::Test(name),
        ("should-panic", rest) => {
            let (name, text) = rest.split_once(": ").unwrap_or((rest, ""));
            TestLine::ShouldPanic(name.trim_end_matches(':'), text.trim())
        }
        ("ok", name) => TestLine::Ok(name),
        ("failed" | "failed:", _) | ("ignored" | "ignored:", _) => {
            let (name, reason) = if word.ends_with(':') {
                ("", rest)
            } else {
                rest.split_once(": ").unwrap_or((rest.trim_end_matches(':'), ""))
            };
            match word.trim_end_matches(':') {
                "failed" => TestLine::Failed(name, reason.trim()),
                _ if name.is_empty() => return unknown(line),
                _ => TestLine::Ignored(name, reason.trim()),
            }
        }
        ("done", "") => TestLine::Done,
        ("exit", code) => match code.parse() {
            Ok(code) => TestLine::Exit(code),
            Err(_) => return unknown(line),
        },
        _ => return unknown(line),
    };
    Some(told)
}

fn unknown(line: &str) -> Option<TestLine<'_>> {
    line.split_once(MARK).map(|(_, rest)| TestLine::Unknown(rest.trim()))
}

/// Tracks the tests on a board.
#[derive(Debug, Default)]
pub(crate) struct TestRun {
    selection: TestSelection,
    report: TestReport,
    running: Option<Running>,
    /// The time of the first line of the test protocol.
    began: Option<Moment>,
    /// The time of the last line of the test protocol.
    last: Option<Moment>,
}

#[derive(Debug)]
struct Running {
    name: String,
    since: Moment,
    output: Vec<String>,
    /// True if the test counts according to the selection.
    counts: bool,
    /// The text that the panic message must contain, if the test must panic.
    should_panic: Option<String>,
}

impl TestRun {
    pub fn new(selection: TestSelection) -> TestRun {
        TestRun { selection, ..TestRun::default() }
    }

    /// Returns whether the board has reported any tests.
    pub fn has_begun(&self) -> bool {
        self.began.is_some()
    }

    /// Returns the time of the last line of the test protocol.
    pub fn last(&self) -> Option<Moment> {
        self.last
    }

    /// Returns the name of the running test.
    pub fn running(&self) -> Option<&str> {
        self.running.as_ref().map(|running| running.name.as_str())
    }

    /// Returns the report so far.
    pub fn report(&self) -> &TestReport {
        &self.report
    }

    /// Returns whether all announced tests have been reported.
    pub fn is_complete(&self) -> bool {
        self.running.is_none()
            && self.report.announced.is_some()
            && self.report.missing_tests() == 0
    }

    /// Takes the next line. Returns true if it ends the tests.
    pub fn line(&mut self, line: &str, now: Moment, events: &mut dyn FnMut(TestEvent<'_>)) -> bool {
        let Some(told) = parse_test_line(line) else {
            if let Some(running) = &mut self.running {
                if running.output.len() >= MOST_LINES {
                    running.output.remove(0);
                }
                running.output.push(line.to_owned());
            }
            return false;
        };
        // Any firmware may print such a line. Tests have begun only with the first known one.
        if let TestLine::Unknown(line) = told {
            events(TestEvent::Unknown { line });
            return false;
        }
        let began = *self.began.get_or_insert(now);
        self.last = Some(now);
        self.report.time = now.since(began);
        match told {
            TestLine::Begin(count) => {
                self.was_reset(now, events);
                let sum = self.report.announced.unwrap_or(0).saturating_add(count.unwrap_or(0));
                self.report.announced = count.map(|_| sum).or(self.report.announced);
                // The number of selected tests is known once their names are.
                let count = count.filter(|_| self.selection.is_all());
                events(TestEvent::Begin { count });
            }
            TestLine::Test(name) => {
                self.name(name);
                let all = self.report.announced.is_some_and(|n| self.report.names.len() >= n);
                if all && !self.selection.is_all() && self.report.selected.is_none() {
                    // In a list no result counts.
                    let counts =
                        |name: &&String| !self.selection.list && self.selection.is_selected(name);
                    let selected = self.report.names.iter().filter(counts).count();
                    self.report.selected = Some(selected);
                    if self.selection.list || selected == 0 {
                        return true;
                    }
                    events(TestEvent::Begin { count: Some(selected) });
                }
            }
            TestLine::Run(name) => self.runs(name, None, now, events),
            TestLine::ShouldPanic(name, text) => self.runs(name, Some(text), now, events),
            TestLine::Ok(name) => self.ended(name, TestResult::Passed, now, events),
            TestLine::Failed(name, reason) => {
                let result = TestResult::Failed { reason: reason.to_owned() };
                self.ended(name, result, now, events);
            }
            TestLine::Ignored(name, reason) => {
                let result = TestResult::Ignored { reason: reason.to_owned() };
                self.ended(name, result, now, events);
            }
            TestLine::Done => {
                self.abandon("it printed no result", now, events);
                return true;
            }
            TestLine::Exit(code) => {
                self.abandon("it printed no result", now, events);
                self.report.exit = Some(code);
                return true;
            }
            TestLine::Unknown(_) => {}
        }
        // Once all selected tests have ended, do not wait for the others.
        self.report.selected.is_some() && self.is_complete()
    }

    /// Records the name of a test.
    fn name(&mut self, name: &str) {
        let names = &mut self.report.names;
        if names.len() < MOST_CASES && !names.iter().rev().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }

    fn runs(
        &mut self,
        name: &str,
        should_panic: Option<&str>,
        now: Moment,
        events: &mut dyn FnMut(TestEvent<'_>),
    ) {
        self.abandon("it printed no result", now, events);
        self.name(name);
        let counts = self.selection.is_selected(name) && !self.selection.list;
        self.running = Some(Running {
            name: name.to_owned(),
            since: now,
            output: vec![],
            counts,
            should_panic: should_panic.map(str::to_owned),
        });
        if counts {
            events(TestEvent::Run { name });
        }
    }

    /// Takes a panic of the board. Returns true if the running test had to panic and so has ended.
    pub fn panicked(
        &mut self,
        message: &str,
        now: Moment,
        events: &mut dyn FnMut(TestEvent<'_>),
    ) -> bool {
        let running = self.running.as_ref();
        let Some(text) = running.and_then(|running| running.should_panic.clone()) else {
            return false;
        };
        self.last = Some(now);
        let result = if message.contains(&text) {
            TestResult::Passed
        } else {
            let reason = format!("it panicked with {message:?}, expected {text:?}");
            TestResult::Failed { reason }
        };
        // The expected panic has occurred.
        if let Some(running) = &mut self.running {
            running.should_panic = None;
        }
        self.ended("", result, now, events);
        true
    }

    /// Takes a reset of the board. Returns true if a test was running, which ends the tests.
    pub fn was_reset(&mut self, now: Moment, events: &mut dyn FnMut(TestEvent<'_>)) -> bool {
        let ran = self.running.is_some();
        self.interrupt("the board was reset while it ran", now, events);
        ran
    }

    /// Ends the tests because something outside of the running test has ended it.
    pub fn interrupt(&mut self, reason: &str, now: Moment, events: &mut dyn FnMut(TestEvent<'_>)) {
        self.report.ended_in = self.running.as_ref().map(|running| running.name.clone());
        self.abandon(reason, now, events);
    }

    /// Fails the running test for a reason that the firmware could not print.
    pub fn abandon(&mut self, reason: &str, now: Moment, events: &mut dyn FnMut(TestEvent<'_>)) {
        if let Some(running) = &mut self.running {
            running.should_panic = None;
            let result = TestResult::Failed { reason: reason.to_owned() };
            self.ended("", result, now, events);
        }
    }

    fn ended(
        &mut self,
        name: &str,
        result: TestResult,
        now: Moment,
        events: &mut dyn FnMut(TestEvent<'_>),
    ) {
        let running = self.running.take_if(|running| name.is_empty() || running.name == name);
        let counts = running.as_ref().map_or_else(
            || self.selection.is_selected(name) && !self.selection.list,
            |running| running.counts,
        );
        self.name(running.as_ref().map_or(name, |running| running.name.as_str()));
        if !counts {
            self.report.filtered += 1;
            return;
        }
        let had_to_panic = running.as_ref().is_some_and(|running| running.should_panic.is_some());
        let result = match result {
            TestResult::Passed if had_to_panic => {
                TestResult::Failed { reason: "it did not panic as expected".into() }
            }
            result => result,
        };
        let failed = matches!(result, TestResult::Failed { .. });
        let (name, time, output) = match running {
            Some(running) => {
                let output = if failed { running.output } else { vec![] };
                (running.name, Some(now.since(running.since)), output)
            }
            None => (name.to_owned(), None, vec![]),
        };
        let count = match &result {
            TestResult::Passed => &mut self.report.passed,
            TestResult::Failed { .. } => &mut self.report.failed,
            TestResult::Ignored { .. } => &mut self.report.ignored,
        };
        *count += 1;
        let case = TestCase { name, result, time, output };
        events(TestEvent::Ended(&case));
        if self.report.cases.len() < MOST_CASES {
            self.report.cases.push(case);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the events for the lines, sent one millisecond apart, and the report.
    fn run(lines: &[&str]) -> (Vec<String>, TestReport, bool) {
        let mut run = TestRun::default();
        let mut told = vec![];
        let mut over = false;
        for (at, line) in lines.iter().enumerate() {
            let now = Moment::at(Duration::from_millis(at as u64));
            over = run.line(line, now, &mut |event| told.push(format!("{event:?}")));
        }
        (told, run.report().clone(), over)
    }

    fn summary(report: &TestReport) -> Vec<String> {
        let word = |case: &TestResult| match case {
            TestResult::Passed => "ok".to_owned(),
            TestResult::Failed { reason } => format!("failed: {reason}"),
            TestResult::Ignored { reason } => format!("ignored: {reason}"),
        };
        report.cases.iter().map(|case| format!("{} {}", case.name, word(&case.result))).collect()
    }

    #[test]
    fn results_are_collected() {
        let (told, report, over) = run(&[
            "boot",
            "esplice-test: begin 4",
            "esplice-test: run adds",
            "adding",
            "esplice-test: ok adds",
            "INFO - esplice-test: run mod::divides",
            "left: 1",
            "INFO - esplice-test: failed mod::divides: 1 is not 2: really",
            "esplice-test: ignored sleeps: no sensor",
            "esplice-test: ok never-begun",
            "esplice-test: done",
        ]);
        assert!(over && told.len() == 7, "{told:#?}");
        assert_eq!(
            summary(&report),
            [
                "adds ok",
                "mod::divides failed: 1 is not 2: really",
                "sleeps ignored: no sensor",
                "never-begun ok",
            ]
        );
        assert_eq!((report.passed, report.failed, report.ignored), (2, 1, 1));
        assert_eq!((report.missing_tests(), report.is_success()), (0, false));
        assert_eq!(report.cases[1].output, ["left: 1"]);
        assert_eq!(report.cases[0].time, Some(Duration::from_millis(2)));
        assert_eq!(report.time, Duration::from_millis(9));
    }

    #[test]
    fn names_may_be_left_out_where_a_test_runs() {
        let (_, report, _) = run(&[
            "esplice-test: run a",
            "esplice-test: failed",
            "esplice-test: run b",
            "esplice-test: failed: no",
            "esplice-test: run c",
            "esplice-test: ok",
        ]);
        assert_eq!(summary(&report), ["a failed: ", "b failed: no", "c ok"]);
    }

    #[test]
    fn what_is_missing_is_no_success() {
        let (_, report, over) =
            run(&["esplice-test: begin 2", "esplice-test: ok a", "esplice-test: done"]);
        assert!(over && !report.is_success() && report.missing_tests() == 1);
        let (_, report, over) = run(&["esplice-test: run a", "esplice-test: done"]);
        assert!(over && !report.is_success());
        assert_eq!(summary(&report), ["a failed: it printed no result"]);
        let (_, report, _) = run(&["esplice-test: run a", "esplice-test: begin 1"]);
        assert_eq!(summary(&report), ["a failed: the board was reset while it ran"]);
        let (_, report, over) = run(&["esplice-test: exit 41"]);
        assert!(over && !report.is_success() && report.exit == Some(41));
        let (_, report, over) = run(&["esplice-test: exit 0"]);
        assert!(over && report.is_success());
    }

    fn run_selected(selection: TestSelection, lines: &[&str]) -> (Vec<String>, TestReport, usize) {
        let mut run = TestRun::new(selection);
        let mut told = vec![];
        let over = lines.iter().position(|line| {
            let mut tell = |event: TestEvent<'_>| match event {
                TestEvent::Ended(case) => told.push(case.name.clone()),
                TestEvent::Begin { count } => told.push(format!("{count:?}")),
                _ => {}
            };
            match line.strip_prefix("PANIC ") {
                Some(message) => {
                    run.panicked(message, Moment::START, &mut tell);
                    false
                }
                None => run.line(line, Moment::START, &mut tell),
            }
        });
        (told, run.report().clone(), over.unwrap_or(lines.len()))
    }

    const NAMED: &[&str] = &[
        "esplice-test: begin 3",
        "esplice-test: test adds",
        "esplice-test: test mod::adds",
        "esplice-test: test sleeps",
        "esplice-test: run adds",
        "esplice-test: ok adds",
        "esplice-test: run mod::adds",
        "esplice-test: failed mod::adds: no",
        "esplice-test: run sleeps",
        "esplice-test: ok sleeps",
        "esplice-test: done",
    ];

    #[test]
    fn selected_tests_count_and_the_others_do_not() {
        let of = |filters: &[&str], skip: &[&str], exact| TestSelection {
            filters: filters.iter().map(|text| (*text).to_owned()).collect(),
            skip: skip.iter().map(|text| (*text).to_owned()).collect(),
            exact,
            list: false,
        };
        let (told, report, over) = run_selected(of(&["adds"], &[], true), NAMED);
        assert_eq!(told, ["None", "Some(1)", "adds"]);
        assert_eq!((over, report.filtered_out(), report.is_success()), (5, 2, true));
        let (told, report, over) = run_selected(of(&["adds"], &[], false), NAMED);
        assert_eq!(told, ["None", "Some(2)", "adds", "mod::adds"]);
        assert_eq!((over, report.filtered_out(), report.is_success()), (7, 1, false));
        let (_, report, over) = run_selected(of(&[], &["mod"], false), NAMED);
        assert_eq!((over, report.passed, report.filtered_out()), (9, 2, 1));
        let (_, report, over) = run_selected(of(&["none such"], &[], false), NAMED);
        assert_eq!((over, report.filtered_out(), report.is_success()), (3, 3, true));
        // Without names, the watch waits for all tests.
        let unnamed: Vec<&str> =
            NAMED.iter().copied().filter(|line| !line.contains(": test ")).collect();
        let (_, report, over) = run_selected(of(&["adds"], &[], true), &unnamed);
        assert_eq!((over, report.passed, report.filtered_out()), (7, 1, 2));
        assert_eq!((report.missing_tests(), report.is_success()), (0, true));
    }

    #[test]
    fn names_are_listed_and_end_the_list() {
        let list = TestSelection { list: true, ..TestSelection::default() };
        let (_, report, over) = run_selected(list.clone(), NAMED);
        assert_eq!((over, report.names.len(), report.is_success()), (3, 3, true));
        let (_, report, over) = run_selected(list, &NAMED[4..]);
        assert_eq!((over, report.names.len(), report.failed), (6, 3, 0));
    }

    #[test]
    fn tests_that_are_to_panic_pass_by_it() {
        let all = TestSelection::default;
        let (_, report, _) = run_selected(
            all(),
            &[
                "esplice-test: begin 3",
                "esplice-test: should-panic a",
                "PANIC anything",
                "esplice-test: should-panic b: bounds",
                "PANIC index out of bounds",
                "esplice-test: should-panic c: bounds",
                "PANIC no",
            ],
        );
        assert_eq!(
            summary(&report),
            ["a ok", "b ok", "c failed: it panicked with \"no\", expected \"bounds\""]
        );
        let lines = ["esplice-test: should-panic a", "esplice-test: ok a"];
        let (_, report, _) = run_selected(all(), &lines);
        assert_eq!(summary(&report), ["a failed: it did not panic as expected"]);
        let lines = ["esplice-test: should-panic a", "esplice-test: failed: no", "PANIC late"];
        let (_, report, _) = run_selected(all(), &lines);
        assert_eq!(summary(&report), ["a failed: no"]);
    }

    #[test]
    fn foreign_and_unknown_lines() {
        for line in ["", "esplice-test", "my-esplice-test: ok a", "(esplice-test: ok a)"] {
            assert!(!is_test_line(line), "{line}");
        }
        for line in [
            "okay a",
            "run",
            "test",
            "should-panic",
            "begin x",
            "done now",
            "exit -1",
            "ignored",
            "ignored: a",
        ] {
            let (told, report, over) = run(&[&format!("{MARK}{line}")]);
            assert!(told.len() == 1 && told[0].starts_with("Unknown"), "{line}: {told:?}");
            assert!(!over && report == TestReport::default());
        }
    }
}
