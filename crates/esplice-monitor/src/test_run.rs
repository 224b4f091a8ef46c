//! Tests that run on a board and tell their results a line each.
//!
//! A line of the convention begins with [`MARK`], at its beginning or behind a blank, so that loggers
//! may print it too; everything else is what the firmware says besides:
//!
//! ```text
//! esplice-test: begin 3
//! esplice-test: run adds
//! esplice-test: ok adds
//! esplice-test: run divides
//! esplice-test: failed divides: left is 1, right is 2
//! esplice-test: ignored overflows: needs a sensor
//! esplice-test: done
//! ```

use std::time::Duration;

use esplice_protocol::Moment;

/// What a line of the convention begins with.
pub const MARK: &str = "esplice-test: ";

/// Results that are kept; more are only counted.
const MOST_CASES: usize = 10_000;

/// Lines kept of what the firmware says while a test runs.
const MOST_LINES: usize = 200;

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TestResult {
    /// It passed.
    Passed,
    /// It failed.
    Failed {
        /// Why, in the firmware's words or, where it could not say it, in ours; may be empty.
        reason: String,
    },
    /// It was not run.
    Ignored {
        /// Why; may be empty.
        reason: String,
    },
}

/// One test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestCase {
    /// Its name, as the firmware printed it.
    pub name: String,
    /// How it ended.
    pub result: TestResult,
    /// From its beginning to its result, where the firmware told of both.
    pub time: Option<Duration>,
    /// What the firmware said meanwhile, its last lines; empty unless it failed.
    pub output: Vec<String>,
}

/// What a board told of its tests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TestReport {
    /// The tests in the order of their results.
    pub cases: Vec<TestCase>,
    /// Tests that passed.
    pub passed: usize,
    /// Tests that failed.
    pub failed: usize,
    /// Tests that were not run.
    pub ignored: usize,
    /// How many the firmware had announced.
    pub announced: Option<usize>,
    /// The firmware's own exit code, if it gave one.
    pub exit: Option<u32>,
    /// From the first line of the convention to the last.
    pub time: Duration,
}

impl TestReport {
    /// Tests that were announced and of which nothing was told.
    pub fn untold(&self) -> usize {
        let told = self.passed + self.failed + self.ignored;
        self.announced.unwrap_or(0).saturating_sub(told)
    }

    /// Whether all is well: nothing failed, nothing is missing, and no other exit code than 0.
    pub fn is_success(&self) -> bool {
        self.failed == 0 && self.untold() == 0 && self.exit.unwrap_or(0) == 0
    }
}

/// What is told of tests while they run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TestEvent<'a> {
    /// Tests begin.
    Begin {
        /// How many, if the firmware says so.
        count: Option<usize>,
    },
    /// A test begins.
    Run {
        /// Its name.
        name: &'a str,
    },
    /// A test has ended.
    Ended(&'a TestCase),
    /// A line with the mark that says nothing known.
    Unknown {
        /// What follows the mark.
        line: &'a str,
    },
}

/// What a line means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told<'a> {
    Begin(Option<usize>),
    Run(&'a str),
    /// The name may be empty: that of the running test.
    Ok(&'a str),
    Failed(&'a str, &'a str),
    Ignored(&'a str, &'a str),
    Done,
    Exit(u32),
    Unknown(&'a str),
}

/// Whether `line` is one of the convention's.
pub fn is_test_line(line: &str) -> bool {
    told(line).is_some()
}

fn told(line: &str) -> Option<Told<'_>> {
    let at = line.find(MARK)?;
    let (before, rest) = (line.get(..at)?, line.get(at + MARK.len()..)?);
    if before.chars().next_back().is_some_and(|char| !char.is_whitespace()) {
        return None;
    }
    let rest = rest.trim();
    let (word, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let rest = rest.trim();
    let told = match (word, rest) {
        ("begin", "") => Told::Begin(None),
        ("begin", count) => match count.parse() {
            Ok(count) => Told::Begin(Some(count)),
            Err(_) => return unknown(line),
        },
        ("run", "") => return unknown(line),
        ("run", name) => Told::Run(name),
        ("ok", name) => Told::Ok(name),
        ("failed" | "failed:", _) | ("ignored" | "ignored:", _) => {
            let (name, reason) = if word.ends_with(':') {
                ("", rest)
            } else {
                rest.split_once(": ").unwrap_or((rest.trim_end_matches(':'), ""))
            };
            match word.trim_end_matches(':') {
                "failed" => Told::Failed(name, reason.trim()),
                _ if name.is_empty() => return unknown(line),
                _ => Told::Ignored(name, reason.trim()),
            }
        }
        ("done", "") => Told::Done,
        ("exit", code) => match code.parse() {
            Ok(code) => Told::Exit(code),
            Err(_) => return unknown(line),
        },
        _ => return unknown(line),
    };
    Some(told)
}

fn unknown(line: &str) -> Option<Told<'_>> {
    line.split_once(MARK).map(|(_, rest)| Told::Unknown(rest.trim()))
}

/// Follows the tests of a board.
#[derive(Debug, Default)]
pub(crate) struct TestRun {
    report: TestReport,
    running: Option<Running>,
    /// When the first line of the convention came.
    began: Option<Moment>,
    /// When the last did.
    last: Option<Moment>,
}

#[derive(Debug)]
struct Running {
    name: String,
    since: Moment,
    output: Vec<String>,
}

impl TestRun {
    /// Whether the board has told of tests.
    pub fn has_begun(&self) -> bool {
        self.began.is_some()
    }

    /// When the last line of the convention came.
    pub fn last(&self) -> Option<Moment> {
        self.last
    }

    /// The test that runs.
    pub fn running(&self) -> Option<&str> {
        self.running.as_ref().map(|running| running.name.as_str())
    }

    /// What has been told so far.
    pub fn report(&self) -> &TestReport {
        &self.report
    }

    /// Takes the next line. True if it was the last of the tests.
    pub fn line(&mut self, line: &str, now: Moment, events: &mut dyn FnMut(TestEvent<'_>)) -> bool {
        let Some(told) = told(line) else {
            if let Some(running) = &mut self.running {
                if running.output.len() >= MOST_LINES {
                    running.output.remove(0);
                }
                running.output.push(line.to_owned());
            }
            return false;
        };
        // Anybody may print such a line; tests are under way with the first that says something.
        if let Told::Unknown(line) = told {
            events(TestEvent::Unknown { line });
            return false;
        }
        let began = *self.began.get_or_insert(now);
        self.last = Some(now);
        self.report.time = now.since(began);
        match told {
            Told::Begin(count) => {
                self.was_reset(now, events);
                let sum = self.report.announced.unwrap_or(0).saturating_add(count.unwrap_or(0));
                self.report.announced = count.map(|_| sum).or(self.report.announced);
                events(TestEvent::Begin { count });
            }
            Told::Run(name) => {
                self.abandon("it did not say how it ended", now, events);
                self.running = Some(Running { name: name.to_owned(), since: now, output: vec![] });
                events(TestEvent::Run { name });
            }
            Told::Ok(name) => self.ended(name, TestResult::Passed, now, events),
            Told::Failed(name, reason) => {
                let result = TestResult::Failed { reason: reason.to_owned() };
                self.ended(name, result, now, events);
            }
            Told::Ignored(name, reason) => {
                let result = TestResult::Ignored { reason: reason.to_owned() };
                self.ended(name, result, now, events);
            }
            Told::Done => {
                self.abandon("it did not say how it ended", now, events);
                return true;
            }
            Told::Exit(code) => {
                self.abandon("it did not say how it ended", now, events);
                self.report.exit = Some(code);
                return true;
            }
            Told::Unknown(_) => {}
        }
        false
    }

    /// The board was reset. True if that ends the tests: one ran.
    pub fn was_reset(&mut self, now: Moment, events: &mut dyn FnMut(TestEvent<'_>)) -> bool {
        let ran = self.running.is_some();
        self.abandon("the board was reset while it ran", now, events);
        ran
    }

    /// The test that runs has failed, for a reason that the firmware could not tell.
    pub fn abandon(&mut self, reason: &str, now: Moment, events: &mut dyn FnMut(TestEvent<'_>)) {
        if self.running.is_some() {
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

    /// What is told of the lines, one millisecond apart, and the report.
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
        assert_eq!((report.untold(), report.is_success()), (0, false));
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
        assert!(over && !report.is_success() && report.untold() == 1);
        let (_, report, over) = run(&["esplice-test: run a", "esplice-test: done"]);
        assert!(over && !report.is_success());
        assert_eq!(summary(&report), ["a failed: it did not say how it ended"]);
        let (_, report, _) = run(&["esplice-test: run a", "esplice-test: begin 1"]);
        assert_eq!(summary(&report), ["a failed: the board was reset while it ran"]);
        let (_, report, over) = run(&["esplice-test: exit 41"]);
        assert!(over && !report.is_success() && report.exit == Some(41));
        let (_, report, over) = run(&["esplice-test: exit 0"]);
        assert!(over && report.is_success());
    }

    #[test]
    fn foreign_and_unknown_lines() {
        for line in ["", "esplice-test", "my-esplice-test: ok a", "(esplice-test: ok a)"] {
            assert!(!is_test_line(line), "{line}");
        }
        for line in ["okay a", "run", "begin x", "done now", "exit -1", "ignored", "ignored: a"] {
            let (told, report, over) = run(&[&format!("{MARK}{line}")]);
            assert!(told.len() == 1 && told[0].starts_with("Unknown"), "{line}: {told:?}");
            assert!(!over && report == TestReport::default());
        }
    }
}
