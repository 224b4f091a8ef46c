//! Reports of a watch in files, for CI: JUnit XML and JSON.

use std::{path::Path, time::Duration};

use esplice_monitor::{TestReport, TestResult};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde::Serialize;

use crate::{
    files::{output_place::OutputPlace, outputs::Outputs},
    ui::{
        exit::{Exit, Failure},
        shell::Shell,
    },
};

/// Destinations of the reports.
#[derive(Debug, Default)]
pub struct ReportFiles {
    /// Name of the test binary, if cargo runs several.
    pub name: Option<String>,
    junit: Option<OutputPlace>,
    json: Option<OutputPlace>,
}

/// Result of a part of a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Passed,
    Failed,
    Skipped,
}

/// An expected output, or a test on the board.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    pub name: String,
    pub verdict: Verdict,
    /// Time in the port's clock.
    pub seconds: Option<f64>,
    /// Why the part failed or was skipped.
    pub message: Option<String>,
    /// Output of the board, for a part that failed.
    pub output: Vec<String>,
}

/// The report of a watch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WatchReport {
    /// Version of the format.
    pub v: u32,
    /// Name of the test binary, if cargo started the command.
    pub name: Option<String>,
    /// The port's name.
    pub port: String,
    pub ok: bool,
    /// The exit code.
    pub exit: u8,
    /// Why the command failed.
    pub message: Option<String>,
    pub hint: Option<String>,
    /// Time in the port's clock.
    pub seconds: f64,
    pub parts: Vec<Part>,
    /// Reported panics, decoded if an ELF was available.
    pub panics: Vec<String>,
    /// The last lines of the board's output.
    pub last_lines: Vec<String>,
}

impl ReportFiles {
    /// Finds the destinations of reports, and removes old ones, so that none is mistaken for a new
    /// one.
    pub fn open(junit: Option<&Path>, json: Option<&Path>) -> Result<ReportFiles, Failure> {
        let find = |path: Option<&Path>| path.map(OutputPlace::find).transpose();
        let files = ReportFiles { name: None, junit: find(junit)?, json: find(json)? };
        for place in [&files.junit, &files.json].into_iter().flatten() {
            place.remove()?;
        }
        Ok(files)
    }

    /// Returns the files for one of several tests, such as `junit.math.xml` for `junit.xml`.
    pub fn named(&self, name: &str) -> Result<ReportFiles, Failure> {
        let path = |place: &OutputPlace| {
            let path = place.named();
            let mut file = path.file_stem().unwrap_or_default().to_owned();
            file.push(format!(".{name}"));
            if let Some(extension) = path.extension() {
                file.push(".");
                file.push(extension);
            }
            path.with_file_name(file)
        };
        let [junit, json] = [&self.junit, &self.json].map(|place| place.as_ref().map(path));
        let files = ReportFiles::open(junit.as_deref(), json.as_deref())?;
        Ok(ReportFiles { name: Some(name.to_owned()), ..files })
    }

    /// Writes the requested reports.
    pub fn write(&self, report: &WatchReport, shell: &mut Shell) -> Result<(), Failure> {
        let mut outputs = Outputs::default();
        if let Some(place) = &self.junit {
            let text = junit(report).map_err(|error| {
                Failure::new(Exit::Internal, format!("cannot make a JUnit report: {error}"))
            })?;
            outputs.add_at(place, text.as_bytes())?;
        }
        if let Some(place) = &self.json {
            // Texts and numbers cannot fail to serialize.
            let text = serde_json::to_string_pretty(report).unwrap_or_default();
            outputs.add_at(place, (text + "\n").as_bytes())?;
        }
        outputs.commit(shell)
    }
}

/// Returns a part for each test on the board.
pub fn parts_of(tests: &TestReport) -> Vec<Part> {
    let part = |case: &esplice_monitor::TestCase| {
        let (verdict, message) = match &case.result {
            TestResult::Passed => (Verdict::Passed, None),
            TestResult::Ignored { reason } => (Verdict::Skipped, Some(reason.clone())),
            TestResult::Failed { reason } => (Verdict::Failed, Some(reason.clone())),
            _ => (Verdict::Failed, None),
        };
        Part {
            name: case.name.clone(),
            verdict,
            seconds: case.time.map(|time| time.as_secs_f64()),
            message,
            output: case.output.clone(),
        }
    };
    let untold = (0..tests.missing_tests()).map(|number| Part {
        name: format!("announced but not run {}", number + 1),
        verdict: Verdict::Failed,
        seconds: None,
        message: Some("the firmware announced more tests than it reported".into()),
        output: vec![],
    });
    // The count comes from the firmware, so it is limited to what a reader can use.
    tests.cases.iter().map(part).chain(untold.take(100)).collect()
}

fn junit(report: &WatchReport) -> Result<String, quick_junit::SerializeError> {
    let mut suite = TestSuite::new(report.name.as_deref().unwrap_or(&report.port));
    let time = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
    for part in &report.parts {
        let mut status = match part.verdict {
            Verdict::Passed => TestCaseStatus::success(),
            Verdict::Failed => TestCaseStatus::non_success(NonSuccessKind::Failure),
            Verdict::Skipped => TestCaseStatus::skipped(),
        };
        if let Some(message) = &part.message {
            status.set_message(message.as_str());
        }
        let mut case = TestCase::new(part.name.as_str(), status);
        case.set_classname(report.name.as_deref().unwrap_or("board"));
        if let Some(seconds) = part.seconds {
            case.set_time(time(seconds));
        }
        if !part.output.is_empty() {
            case.set_system_out(part.output.join("\n"));
        }
        suite.add_test_case(case);
    }
    let said: Vec<&str> =
        report.panics.iter().chain(&report.last_lines).map(String::as_str).collect();
    if !said.is_empty() {
        suite.set_system_out(said.join("\n"));
    }
    suite.set_time(time(report.seconds));
    let mut all = Report::new("esplice");
    all.set_time(time(report.seconds));
    all.add_test_suite(suite);
    all.to_string()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::ui::shell::Format;

    fn report() -> WatchReport {
        let part = |name: &str, verdict, message: Option<&str>| Part {
            name: name.into(),
            verdict,
            seconds: Some(0.25),
            message: message.map(str::to_owned),
            output: vec![],
        };
        WatchReport {
            v: 1,
            name: None,
            port: "sim:esp32c3".into(),
            ok: false,
            exit: 20,
            message: Some("no".into()),
            hint: None,
            seconds: 1.5,
            parts: vec![
                part("a \"<b>\"", Verdict::Passed, None),
                part("c", Verdict::Failed, Some("it did not come & \u{1} so on")),
                part("d", Verdict::Skipped, Some("")),
            ],
            panics: vec![],
            last_lines: vec!["]]> <x>".into()],
        }
    }

    #[test]
    fn junit_counts_and_escapes() {
        let xml = junit(&report()).unwrap();
        let has = |text: &str| assert!(xml.contains(text), "no {text} in {xml}");
        has(r#"tests="3" skipped="1" errors="0" failures="1""#);
        has(r#"<testcase name="a &quot;&lt;b&gt;&quot;" classname="board" time="0.250""#);
        has("it did not come &amp;  so on");
        has(r#"time="1.500""#);
        assert!(!xml.contains("<x>") && !xml.contains('\u{1}'), "{xml}");
    }

    #[test]
    fn each_of_cargos_tests_has_its_files_and_its_suite() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let files = ReportFiles::open(Some(&path("a.xml")), Some(&path("b"))).unwrap();
        let files = files.named("math").unwrap();
        let named = |place: &Option<OutputPlace>| place.as_ref().map(|p| p.named().to_owned());
        assert_eq!(named(&files.junit), Some(path("a.math.xml")));
        assert_eq!(named(&files.json), Some(path("b.math")));
        let xml = junit(&WatchReport { name: Some("math".into()), ..report() }).unwrap();
        assert!(xml.contains(r#"<testsuite name="math""#), "{xml}");
        assert!(xml.contains(r#"classname="math""#), "{xml}");
        let xml = junit(&report()).unwrap();
        assert!(xml.contains(r#"<testsuite name="sim:esp32c3""#), "{xml}");
    }

    #[test]
    fn both_are_written_and_old_ones_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let mut shell = Shell::new(Format::Text, true);
        let mut check = |junit: &str, json: &str| {
            let files = ReportFiles::open(Some(&path(junit)), Some(&path(json))).unwrap();
            assert!(!path(junit).exists() && !path(json).exists());
            files.write(&report(), &mut shell).unwrap();
            let json = fs::read_to_string(path(json)).unwrap();
            let value: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(value["parts"][1]["verdict"], "failed");
            assert!(fs::read_to_string(path(junit)).unwrap().starts_with("<?xml"));
        };
        check("a.xml", "a.json");
        check("a.xml", "a.json");
        // A missing directory is created, as for other outputs.
        check("new/a.xml", "new/a.json");
        let failure = ReportFiles::open(Some(directory.path()), None).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
    }
}
