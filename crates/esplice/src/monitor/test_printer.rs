//! Prints tests on the board in the style of `cargo test`.

use esplice_monitor::{TestCase, TestEvent, TestReport, TestResult};

use crate::ui::{
    event::{Event, TestState},
    shell::Shell,
};

/// Prints test results.
#[derive(Debug)]
pub struct TestPrinter {
    /// True if a line is printed at each test's end; otherwise the board's own lines are shown.
    pub told: bool,
}

impl TestPrinter {
    pub fn print(&mut self, event: &TestEvent<'_>, shell: &mut Shell) {
        match event {
            TestEvent::Begin { count: Some(count) } => {
                let tests = if *count == 1 { "test" } else { "tests" };
                self.line(&format!("\nrunning {count} {tests}\n"), shell);
            }
            TestEvent::Run { name } => shell.event(&Event::Test {
                name: (*name).to_owned(),
                state: TestState::Started,
                reason: None,
                seconds: None,
                host_seconds: shell.host_seconds(),
            }),
            TestEvent::Ended(case) => {
                shell.event(&test_event(case, shell.host_seconds()));
                let result = match &case.result {
                    TestResult::Passed => "ok".to_owned(),
                    TestResult::Ignored { reason } if reason.is_empty() => "ignored".to_owned(),
                    TestResult::Ignored { reason } => format!("ignored, {reason}"),
                    _ => "FAILED".to_owned(),
                };
                self.line(&format!("test {} ... {result}\n", case.name), shell);
            }
            TestEvent::Unknown { line } => {
                shell.warning(&format!("an unknown line: esplice-test: {line}"));
            }
            _ => {}
        }
    }

    /// Prints the summary when the last test is over, or none will follow.
    pub fn finish(&self, report: &TestReport, complete: bool, shell: &mut Shell) {
        if !shell.is_json() {
            shell.print_instead_of_board(&summary(report, complete, self.told));
        }
    }

    /// Lists the names of all tests, as cargo's own harness does.
    pub fn list(report: &TestReport, shell: &mut Shell) {
        if shell.is_json() {
            let names = report.names.clone();
            shell.event(&Event::Result { name: "tests", value: names.into() });
            return;
        }
        let mut text = String::new();
        report.names.iter().for_each(|name| text.push_str(&format!("{name}: test\n")));
        let count = report.names.len();
        let tests = if count == 1 { "test" } else { "tests" };
        text.push_str(&format!("\n{count} {tests}, 0 benchmarks\n"));
        shell.board_output(text.as_bytes());
    }

    fn line(&self, text: &str, shell: &mut Shell) {
        if self.told && !shell.is_json() {
            shell.print_instead_of_board(text);
        }
    }
}

fn test_event(case: &TestCase, host_seconds: f64) -> Event {
    let (state, reason) = match &case.result {
        TestResult::Passed => (TestState::Passed, None),
        TestResult::Ignored { reason } => (TestState::Ignored, Some(reason.clone())),
        TestResult::Failed { reason } => (TestState::Failed, Some(reason.clone())),
        _ => (TestState::Failed, None),
    };
    let seconds = case.time.map(|time| time.as_secs_f64());
    Event::Test { name: case.name.clone(), state, reason, seconds, host_seconds }
}

/// Formats the failures and the result line; with `outputs`, including the output of failed tests.
fn summary(report: &TestReport, complete: bool, outputs: bool) -> String {
    let mut text = String::new();
    let failed = report.cases.iter().filter_map(|case| match &case.result {
        TestResult::Failed { reason } => Some((case, reason)),
        _ => None,
    });
    let failed: Vec<_> = failed.collect();
    if !failed.is_empty() {
        text.push_str("\nfailures:\n\n");
        for (case, reason) in &failed {
            text.push_str(&format!("---- {} ----\n", case.name));
            if outputs {
                case.output.iter().for_each(|line| text.push_str(&format!("{line}\n")));
            }
            if !reason.is_empty() {
                text.push_str(&format!("{reason}\n"));
            }
            text.push('\n');
        }
        text.push_str("\nfailures:\n");
        failed.iter().for_each(|(case, _)| text.push_str(&format!("    {}\n", case.name)));
    }
    let result = if complete && report.is_success() { "ok" } else { "FAILED" };
    let TestReport { passed, failed, ignored, .. } = report;
    text.push_str(&format!(
        "\ntest result: {result}. {passed} passed; {failed} failed; {ignored} ignored; {} not run; \
         {}finished in {:.2}s\n\n",
        report.missing_tests(),
        match report.filtered_out() {
            0 => String::new(),
            count => format!("{count} filtered out; "),
        },
        report.time.as_secs_f64()
    ));
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_summary_is_cargos() {
        let failed = TestCase {
            name: "divides".into(),
            result: TestResult::Failed { reason: "1 is not 2".into() },
            time: None,
            output: vec!["dividing".into()],
        };
        let mut report = TestReport::default();
        report.cases = vec![failed];
        (report.passed, report.failed, report.announced) = (1, 1, Some(3));
        report.time = Duration::from_millis(1234);
        assert_eq!(
            summary(&report, true, true),
            "\nfailures:\n\n---- divides ----\ndividing\n1 is not 2\n\n\nfailures:\n    divides\n\n\
             test result: FAILED. 1 passed; 1 failed; 0 ignored; 1 not run; finished in 1.23s\n\n"
        );
        let mut report = TestReport::default();
        report.passed = 2;
        let line = "test result: ok. 2 passed; 0 failed; 0 ignored; 0 not run; finished in 0.00s";
        assert_eq!(summary(&report, true, true), format!("\n{line}\n\n"));
        assert!(summary(&report, false, true).contains("FAILED"));
        report.filtered = 3;
        assert!(summary(&report, true, true).contains("0 not run; 3 filtered out; finished in"));
    }
}
