//! Tests reading of a board's log: reports outside of panics, colours, intended resets, cargo's
//! test arguments, and events.

use std::{fs, path::Path};

use crate::support::{Said, built, elf, run};
use serde_json::Value;

/// Creates a board that prints `text` and then idles; its flash is `board.flash`.
fn board(text: &str) -> tempfile::TempDir {
    let directory = built(&elf::long_hello(text));
    run(directory.path(), "flash --port sim:esp32c3,flash=board.flash hello.bin").check(0, &[]);
    directory
}

fn monitor(directory: &Path, words: &str) -> Said {
    run(directory, &format!("monitor --port sim:esp32c3,flash=board.flash {words}"))
}

fn events(said: &Said, name: &str) -> Vec<Value> {
    let events = said.out.lines().map(|line| serde_json::from_str(line).expect("a line is JSON"));
    events.filter(|event: &Value| event["event"] == name).collect()
}

/// The program of [`elf::hello`] begins at 0x42010400, and has no symbols.
const TRACES: &str = "E (1) app: ESP_ERROR_CHECK_WITHOUT_ABORT failed: esp_err_t 0x103 (X) at 0x42010404\r\n\
     W (2) app: a callback at 0x42010408\r\n\
     Backtrace: 0x42010400:0x3fc80000 0x42010408:0x3fc80010\r\n\
     ready\r\n";

#[test]
fn addresses_outside_of_panics_are_events_and_end_nothing() {
    let directory = board(TRACES);
    let at = directory.path();
    let kinds = |words: &str| {
        let words = format!("--elf hello.elf --expect ready\\r\\n --format json {words}");
        let said = monitor(at, &words).check(0, &[]);
        let kind = |event: &Value| {
            let frames = event["frames"].as_array().unwrap();
            let first = frames[0]["addr"].as_u64().unwrap();
            format!("{} {first:#x} of {}", event["kind"].as_str().unwrap(), frames.len())
        };
        events(&said, "trace").iter().map(kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds(""), ["error-check 0x42010404 of 1", "backtrace 0x42010400 of 2"]);
    assert_eq!(
        kinds("--decode all"),
        ["error-check 0x42010404 of 1", "line 0x42010408 of 1", "backtrace 0x42010400 of 2"]
    );
    assert_eq!(kinds("--decode none"), Vec::<String>::new());
    run(at, "monitor --decode some").check(2, &["must be reports, all or none"]);
}

#[test]
fn colours_are_left_out_of_what_is_looked_for() {
    let text = "\x1b[0;32mI (100) wifi: con\x1b[1mnected\x1b[0m\r\nhelo\x08lo\r\nend\r\n";
    let directory = board(text);
    let at = directory.path();
    monitor(at, "--expect wifi:.connected\\r\\n --timeout 1s").check(20, &[]);
    monitor(at, "--expect connected\\r\\n --expect helolo\\r\\n").check(0, &[]);
    monitor(at, "--expect /^I.\\([0-9]+\\).wifi:.connected$/ --expect end").check(0, &[]);
    monitor(at, "--reject connected --expect end").check(25, &["rejected output \"connected\""]);
    // An expectation with escape sequences finds hidden bytes, and so does any with --raw.
    monitor(at, "--expect con\\e[1mnected\\x1b[0m\\r\\n --expect end").check(0, &[]);
    monitor(at, "--raw --expect connected --timeout 1s").check(20, &[]);
    fs::write(at.join("steps.txt"), "expect \"connected\"\nexpect \"end\"\n").unwrap();
    monitor(at, "--script steps.txt").check(0, &[]);
    monitor(at, "--script steps.txt --raw --timeout 1s").check(20, &[]);
    let said = monitor(at, "--filter wifi --expect end").check(0, &[]);
    assert!(said.out.contains("I (100) wifi: connected\r\n"), "{said:#?}");
    assert!(!said.out.contains("hel"), "{said:#?}");
}

#[test]
fn several_texts_of_the_settings_are_expected_in_order() {
    let directory = board("one\r\ntwo\r\n");
    let at = directory.path();
    let settings = |expect: &str| {
        fs::write(at.join("esplice.toml"), format!("[monitor]\nexpect = {expect}\n")).unwrap();
    };
    settings("['one', '/^tw./']");
    monitor(at, "").check(0, &["Expected output found"]);
    settings("['two', 'one']");
    monitor(at, "--timeout 1s").check(20, &["\"one\" did not appear"]);
    monitor(at, "--expect one").check(0, &[]);
    settings("3");
    monitor(at, "").check(2, &["expect must be a text or a list of texts"]);
}

#[test]
fn resets_on_purpose_are_allowed_and_the_hint_says_how() {
    let reset = |reason: &str| {
        format!("rst:0x3 ({reason}),boot:0xc (SPI_FAST_FLASH_BOOT)\r\nworks\r\n").repeat(6)
    };
    let directory = board(&format!("{}end\r\n", reset("RTC_SW_SYS_RST")));
    let hint = "hint: before it the board printed \"works\"; if the firmware resets itself on purpose, \
                pass --allow-resets";
    monitor(directory.path(), "--expect end").check(22, &["reset 3 more times", hint]);
    monitor(directory.path(), "--expect end --allow-resets").check(0, &[]);
    let said = monitor(directory.path(), "--allow-resets --timeout 1s").check(0, &[]);
    assert!(!said.err.contains("more times"), "{said:#?}");
    let directory = board(&format!("{}end\r\n", reset("DSLEEP")));
    monitor(directory.path(), "--expect end").check(0, &[]);
}

#[test]
fn a_reset_that_cannot_be_is_refused_before_the_port_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("steps.txt"), "expect \"a\"\nreset\n").unwrap();
    // Nobody listens on this port.
    let said = run(directory.path(), "monitor --port tcp://127.0.0.1:1 --script steps.txt");
    said.check(
        2,
        &["steps.txt:2: the script resets the board, and tcp://127.0.0.1:1 has no reset"],
    );
}

const TESTS: &str = "esplice-test: begin 3\r\nesplice-test: test adds\r\nesplice-test: test divides\r\n\
                     esplice-test: test sleeps\r\nesplice-test: run adds\r\nesplice-test: ok adds\r\n\
                     esplice-test: run divides\r\nesplice-test: failed divides: no\r\n\
                     esplice-test: run sleeps\r\nesplice-test: ok sleeps\r\nesplice-test: done\r\n";

/// Runs a board like cargo's runner, for the test binary `math`.
fn runner(text: &str, words: &str) -> (tempfile::TempDir, Said) {
    let directory = built(&elf::long_hello(text));
    let at = directory.path();
    fs::create_dir(at.join("deps")).unwrap();
    fs::copy(at.join("hello.elf"), at.join("deps/math-0123456789abcdef")).unwrap();
    let flags = "run --target esp32c3 --port sim:esp32c3 --timeout 3s --junit junit.xml";
    let said = run(at, &format!("{flags} deps/math-0123456789abcdef {words}"));
    (directory, said)
}

#[test]
fn cargos_test_arguments_choose_and_list() {
    let (directory, said) = runner(TESTS, "");
    said.check(40, &["error: 1 of 3 tests failed: divides: no"]);
    let junit = fs::read_to_string(directory.path().join("junit.math.xml")).unwrap();
    assert!(junit.contains("<testsuite name=\"math\""), "{junit}");
    assert!(!directory.path().join("junit.xml").exists());

    let (_, said) = runner(TESTS, "adds --test-threads=1 --exact");
    let said = said.check(0, &[]);
    let expected = "\nrunning 1 test\ntest adds ... ok\n\ntest result: ok. 1 passed; 0 failed; \
                    0 ignored; 0 not run; 2 filtered out; finished in";
    assert!(said.out.contains(expected), "{said:#?}");
    let (_, said) = runner(TESTS, "--skip divides --color always");
    assert!(
        said.check(0, &[]).out.contains("2 passed; 0 failed; 0 ignored; 0 not run; 1 filtered")
    );
    let (_, said) = runner(TESTS, "--list --format terse");
    let said = said.check(0, &[]);
    assert!(
        said.out.ends_with("adds: test\ndivides: test\nsleeps: test\n\n3 tests, 0 benchmarks\n")
    );
    assert!(!said.out.contains("ok"), "{said:#?}");
    // A flag that neither cargo nor esplice has is still refused.
    runner(TESTS, "--no-such-flag").1.check(2, &["unexpected argument '--no-such-flag'"]);
}

#[test]
fn tests_that_are_to_panic_pass_by_it() {
    let panic = "panicked at src/main.rs:3:5:\r\nindex out of bounds\r\n";
    let of = |text: &str| {
        format!(
            "esplice-test: begin 2\r\nesplice-test: run a\r\nesplice-test: ok a\r\n\
             esplice-test: should-panic b{text}\r\n{panic}"
        )
    };
    let (_, said) = runner(&of(": out of bounds"), "");
    let said = said.check(0, &[]);
    assert!(said.out.contains("test b ... ok\n") && !said.err.contains("panicked"), "{said:#?}");
    let (_, said) = runner(&of(": no such"), "");
    said.check(40, &["1 of 2 tests failed: b: it panicked with \"index out of bounds\""]);
}

#[test]
fn a_board_that_resets_within_a_test_names_the_test() {
    let text = "esplice-test: begin 2\r\nesplice-test: run a\r\nesplice-test: ok a\r\n\
                esplice-test: run b\r\nrst:0x3 (RTC_SW_SYS_RST),boot:0xc (SPI_FAST_FLASH_BOOT)\r\n\
                esplice-test: ok b\r\nesplice-test: done\r\n";
    let (_, said) = runner(text, "");
    said.check(40, &["1 of 2 tests failed: b: the board was reset while it ran"]);
    // The reset occurs in a test that is filtered out, before the one that counts.
    let (_, said) = runner(&text.replace("run a\r\nesplice-test: ok a", "test a"), "a");
    said.check(40, &["the board was reset in test b, which was not counted"]);
    runner(text, "--allow-resets").1.check(0, &[]);
}

#[test]
fn events_have_places_names_and_both_times() {
    let directory = board("panicked at src/main.rs:3:5:\r\noh no\r\nReady\r\n");
    let at = directory.path();
    let said = monitor(at, "--format json --expect never --timeout 1s").check(21, &[]);
    let panics = events(&said, "panic");
    assert_eq!(panics[0]["message"], "oh no Ready", "{panics:#?}");
    let place = serde_json::json!({ "file": "src/main.rs", "line": 3, "column": 5 });
    assert_eq!(panics[0]["place"], place);
    let summary = &events(&said, "summary")[0];
    assert!(summary["seconds"].is_number() && summary["host_seconds"].as_f64().unwrap() > 0.0);
    let said = run(at, "run hello.bin --port sim:esp32c3 --expect Ready --format json");
    let stages: Vec<String> = events(&said, "stage")
        .iter()
        .map(|event| format!("{} {}", event["name"], event["state"]).replace('"', ""))
        .collect();
    for stage in ["connect", "detect", "write", "start", "watch"] {
        assert!(stages.contains(&format!("{stage} started")), "{stage}: {stages:?}");
    }
    let verified = &events(&said, "verified")[0];
    assert_eq!((&verified["name"], &verified["algorithm"]), (&"app".into(), &"md5".into()));
    assert_eq!(verified["hash"].as_str().unwrap().len(), 32);
}
