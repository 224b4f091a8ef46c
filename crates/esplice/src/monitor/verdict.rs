//! Converts the outcome of a watch into the result of the command.

use std::time::Duration;

use esplice_monitor::{BootLoop, Outcome, PanicReport, TestReport, TestResult};
use esplice_protocol::Port;

use crate::{
    cli::value,
    device::flashing::RESET_BY_HAND,
    ui::{
        exit::{Exit, Failure},
        shell::Shell,
    },
};

/// Number of last lines that are printed again after a failure.
const LAST_LINES: usize = 6;

/// Maximum number of failed tests named in an error.
const NAMED: usize = 5;

/// Facts about a watch that its outcome is reported with.
pub struct Case<'a> {
    pub timeout: Option<Duration>,
    /// The current line of the script, with its timeout.
    pub step: Option<(usize, Option<Duration>)>,
    pub tests: Option<&'a TestReport>,
    pub port: &'a dyn Port,
}

/// Returns the result of the command for `outcome`.
pub fn command_result(
    outcome: &Outcome,
    case: &Case<'_>,
    shell: &mut Shell,
) -> Result<(), Failure> {
    let failure = match outcome {
        Outcome::Matched { .. } => {
            shell.status("Expected output found");
            return Ok(());
        }
        Outcome::Ended { .. } => return Ok(()),
        Outcome::Tests(report) => return tests_ended(report),
        Outcome::Rejected { text, last_lines, .. } => {
            let failure =
                Failure::new(Exit::Rejected, format!("rejected output {} appeared", quoted(text)));
            match last_lines.last() {
                Some(line) => failure.hint(format!("it appeared in the line {line:?}")),
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
                format!("expected output {}{place} did not appear", quoted(missing))
            };
            let message = format!("{what} within {within}: {seen} bytes arrived");
            let failure = Failure::new(Exit::ExpectationTimedOut, message);
            match last_lines.last() {
                Some(line) => failure.hint(format!("the last line was {line:?}")),
                None => failure.hint(silent_board_hint(case.port)),
            }
        }
        Outcome::TestsTimedOut { running, within, seen, last_lines, .. } => {
            let within = value::duration_text(within);
            let message = match running {
                Some(name) => format!("test {name} did not end within {within}"),
                None if case.tests.is_some() => {
                    format!("the tests did not end: no test output arrived within {within}")
                }
                None => format!("no test began within {within}: {seen} bytes arrived"),
            };
            let failure = Failure::new(Exit::ExpectationTimedOut, message);
            match last_lines.last() {
                Some(line) => failure.hint(format!("the last line was {line:?}")),
                None => failure.hint(silent_board_hint(case.port)),
            }
        }
        Outcome::WrongBaud { seen, percent } => {
            let message = format!("{percent} % of the {seen} bytes received are not text");
            Failure::new(Exit::WrongBaud, message)
                .hint("give the firmware's baud rate with --monitor-baud")
        }
        Outcome::Panic(report) => {
            let test = case.tests.and_then(|tests| tests.ended_in.as_ref());
            let test = test.map(|name| format!(" in test {name}"));
            let test = test.unwrap_or_default();
            let message = format!("the firmware panicked{test}: {}", in_words(report));
            Failure::new(Exit::Panic, message)
        }
        Outcome::OtherProgram(found) => {
            Failure::new(Exit::Verify, format!("the written firmware does not run: {found}"))
                .hint("`esplice partition show` lists what the board boots")
        }
        Outcome::BootLoop(found) => {
            let failure = Failure::new(Exit::BootLoop, resets_again(found));
            let said = found.last_line.as_ref();
            let said = said.map(|line| format!("before it the board printed {line:?}"));
            // Without an image, there is no firmware that could reset the board.
            let allow = (!found.without_image).then(|| {
                "if the firmware resets itself on purpose, pass --allow-resets".to_owned()
            });
            match (said, allow) {
                (Some(said), Some(allow)) => failure.hint(format!("{said}; {allow}")),
                (said, allow) => match said.or(allow) {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                },
            }
        }
        other => Failure::new(Exit::Internal, format!("unknown outcome {other:?}")),
    };
    Err(failure)
}

/// Returns the last lines of an outcome, if they help to explain it.
pub fn last_lines(outcome: &Outcome) -> &[String] {
    let lines = match outcome {
        Outcome::Rejected { last_lines, .. }
        | Outcome::TimedOut { last_lines, .. }
        | Outcome::TestsTimedOut { last_lines, .. } => last_lines.as_slice(),
        _ => &[],
    };
    lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default()
}

/// Returns the result of tests, with their exit code.
fn tests_ended(report: &TestReport) -> Result<(), Failure> {
    if report.is_success() {
        return Ok(());
    }
    let exit = match report.exit {
        // The firmware's own code is passed through.
        Some(code) if Exit::FIRMWARE.contains(&code) => Exit::Firmware(code as u8),
        _ => Exit::Firmware(Exit::TESTS_FAILED),
    };
    let mut parts = vec![];
    let failed = report.cases.iter().filter_map(|case| match &case.result {
        TestResult::Failed { reason } => Some((case.name.as_str(), reason.as_str())),
        _ => None,
    });
    let failed: Vec<(&str, &str)> = failed.collect();
    match failed.as_slice() {
        [] if report.failed == 0 => {}
        [(name, reason)] if report.failed == 1 => {
            let reason = reason.lines().next().unwrap_or_default();
            let colon = if reason.is_empty() { "" } else { ": " };
            let told = reported_tests(report);
            parts.push(format!("1 of {told} tests failed: {name}{colon}{reason}"));
        }
        failed => {
            let names: Vec<&str> = failed.iter().map(|(name, _)| *name).take(NAMED).collect();
            let more = if report.failed > names.len() { ", …" } else { "" };
            let names = names.join(", ");
            parts.push(format!(
                "{} of {} tests failed: {names}{more}",
                report.failed,
                reported_tests(report)
            ));
        }
    }
    if let Some(name) = &report.ended_in
        && !failed.iter().any(|(failed, _)| failed == name)
    {
        parts.push(format!("the board was reset in test {name}, which was not counted"));
    }
    if report.missing_tests() > 0 {
        parts.push(format!("{} of the announced tests did not run", report.missing_tests()));
    }
    if let Some(code) = report.exit.filter(|code| *code != 0) {
        parts.push(format!("the firmware ended with exit code {code}"));
    }
    Err(Failure::new(exit, parts.join(", ")))
}

fn reported_tests(report: &TestReport) -> usize {
    report.passed + report.failed
}

fn silent_board_hint(port: &dyn Port) -> String {
    let mut hint = format!(
        "the board printed nothing: check that {} is the UART that the firmware writes to",
        port.name()
    );
    if !port.caps().lines {
        hint.push_str(&format!(", or {RESET_BY_HAND}"));
    }
    hint
}

/// Quotes a text as the user wrote it: in quotation marks, or in slashes for a regular expression.
fn quoted(text: &str) -> String {
    if text.len() > 2 && text.starts_with('/') && text.ends_with('/') {
        text.to_owned()
    } else {
        format!("\"{text}\"")
    }
}

pub fn resets_again(found: &BootLoop) -> String {
    format!("the board reset {} more times: {}", found.resets, found.reason)
}

/// Returns the panic message in one line, with its place if known.
pub fn in_words(report: &PanicReport) -> String {
    let message = report.message.lines().collect::<Vec<_>>().join(" ");
    match &report.location {
        Some(place) if message.is_empty() => format!("without a message at {place}"),
        Some(place) => format!("{message} at {place}"),
        None => message,
    }
}
