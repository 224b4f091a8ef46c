//! From how a watch ended to how the command ends.

use std::time::Duration;

use esplice_monitor::{BootLoop, Outcome, PanicReport, TestReport};
use esplice_protocol::Port;

use crate::{
    exit::{Exit, Failure},
    flashing::RESET_BY_HAND,
    shell::Shell,
    value,
};

/// Lines of a board's output that are told again where it failed.
const LAST_LINES: usize = 6;

/// What an outcome is weighed with.
pub struct Case<'a> {
    pub timeout: Option<Duration>,
    /// The line of the script that the watch stood at, with how long that was given.
    pub step: Option<(usize, Option<Duration>)>,
    pub tests: Option<&'a TestReport>,
    pub port: &'a dyn Port,
}

/// What `outcome` means for the command.
pub fn settled(outcome: &Outcome, case: &Case<'_>, shell: &mut Shell) -> Result<(), Failure> {
    let failure = match outcome {
        Outcome::Matched { .. } => {
            shell.status("Expected output found");
            return Ok(());
        }
        Outcome::Ended { .. } => return Ok(()),
        Outcome::Tests(report) => return tests_ended(report),
        Outcome::Rejected { text, last_lines, .. } => {
            let failure =
                Failure::new(Exit::Rejected, format!("rejected output {} came", quoted(text)));
            match last_lines.last() {
                Some(line) => failure.hint(format!("it came in the line {line:?}")),
                None => failure,
            }
        }
        Outcome::TimedOut { missing, seen, last_lines } => {
            let place = case.step.map(|(line, _)| format!(" (line {line} of the script)"));
            let place = place.unwrap_or_default();
            let within = case.step.and_then(|(_, within)| within).or(case.timeout);
            let within = within.as_ref().map(value::duration_text).unwrap_or_default();
            let what = if missing.is_empty() {
                format!("the script{place} did not end")
            } else {
                format!("expected output {}{place} did not come", quoted(missing))
            };
            let message = format!("{what} within {within}: {seen} bytes came");
            let failure = Failure::new(Exit::ExpectationTimedOut, message);
            match last_lines.last() {
                Some(line) => failure.hint(format!("the last line was {line:?}")),
                None => failure.hint(said_nothing(case.port)),
            }
        }
        Outcome::TestsTimedOut { running, within, seen, last_lines, .. } => {
            let within = value::duration_text(within);
            let message = match running {
                Some(name) => format!("test {name} did not end within {within}"),
                None if case.tests.is_some() => {
                    format!("the tests did not end: nothing of them came within {within}")
                }
                None => format!("no test began within {within}: {seen} bytes came"),
            };
            let failure = Failure::new(Exit::ExpectationTimedOut, message);
            match last_lines.last() {
                Some(line) => failure.hint(format!("the last line was {line:?}")),
                None => failure.hint(said_nothing(case.port)),
            }
        }
        Outcome::WrongBaud { seen, percent } => {
            let message = format!("{percent} % of the {seen} bytes that came are no text");
            Failure::new(Exit::WrongBaud, message)
                .hint("give the firmware's baud rate with --monitor-baud")
        }
        Outcome::Panic(report) => {
            let test = panicked_test(case.tests).map(|name| format!(" in test {name}"));
            let test = test.unwrap_or_default();
            let message = format!("the firmware panicked{test}: {}", in_words(report));
            Failure::new(Exit::Panic, message)
        }
        Outcome::OtherProgram(found) => {
            Failure::new(Exit::Verify, format!("what was written does not run: {found}"))
                .hint("`esplice partition show` lists what the board boots")
        }
        Outcome::BootLoop(found) => {
            let failure = Failure::new(Exit::BootLoop, resets_again(found));
            match &found.last_line {
                Some(line) => failure.hint(format!("before it the board said {line:?}")),
                None => failure,
            }
        }
        other => Failure::new(Exit::Internal, format!("unknown outcome {other:?}")),
    };
    Err(failure)
}

/// The last lines of an outcome, where these say why.
pub fn last_lines(outcome: &Outcome) -> &[String] {
    let lines = match outcome {
        Outcome::Rejected { last_lines, .. }
        | Outcome::TimedOut { last_lines, .. }
        | Outcome::TestsTimedOut { last_lines, .. } => last_lines.as_slice(),
        _ => &[],
    };
    lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default()
}

/// The exit code of tests, and what is wrong with them.
fn tests_ended(report: &TestReport) -> Result<(), Failure> {
    if report.is_success() {
        return Ok(());
    }
    let exit = match report.exit {
        // The firmware's own code passes through.
        Some(code) if Exit::FIRMWARE.contains(&code) => Exit::Firmware(code as u8),
        _ => Exit::Firmware(Exit::TESTS_FAILED),
    };
    let mut parts = vec![];
    if report.failed > 0 {
        parts.push(format!("{} of {} tests failed", report.failed, told(report)));
    }
    if report.untold() > 0 {
        parts.push(format!("{} of the announced tests did not run", report.untold()));
    }
    if let Some(code) = report.exit.filter(|code| *code != 0) {
        parts.push(format!("the firmware ended with exit code {code}"));
    }
    Err(Failure::new(exit, parts.join(", ")))
}

fn told(report: &TestReport) -> usize {
    report.passed + report.failed
}

/// The test that a panic ended: the last that failed.
fn panicked_test(tests: Option<&TestReport>) -> Option<&str> {
    tests?.cases.last().map(|case| case.name.as_str())
}

fn said_nothing(port: &dyn Port) -> String {
    let mut hint = format!(
        "the board said nothing: check that {} is the UART that the firmware writes to",
        port.name()
    );
    if !port.caps().lines {
        hint.push_str(&format!(", or {RESET_BY_HAND}"));
    }
    hint
}

/// Text as the user wrote it: in quotation marks, or an expression in its slashes.
fn quoted(text: &str) -> String {
    if text.len() > 2 && text.starts_with('/') && text.ends_with('/') {
        text.to_owned()
    } else {
        format!("\"{text}\"")
    }
}

pub fn resets_again(found: &BootLoop) -> String {
    format!("the board reset {} times more: {}", found.resets, found.reason)
}

/// The message in one line, with its place where that is known.
pub fn in_words(report: &PanicReport) -> String {
    let message = report.message.lines().collect::<Vec<_>>().join(" ");
    match &report.location {
        Some(place) if message.is_empty() => format!("without a message at {place}"),
        Some(place) => format!("{message} at {place}"),
        None => message,
    }
}
