//! Tests `esplice monitor` and the end of `esplice run`: scripts, reports, filters, tests on the
//! board, logs, and several ports.

use std::fs;

use crate::support::{Said, built, built_hello, elf, run};

/// Creates a board that prints `text` and then idles; its flash is `board.flash`.
fn board(text: &str) -> tempfile::TempDir {
    let directory = built(&elf::long_hello(text));
    run(directory.path(), "flash --port sim:esp32c3,flash=board.flash hello.bin").check(0, &[]);
    directory
}

const MONITOR: &str = "monitor --port sim:esp32c3,flash=board.flash";

fn monitor(directory: &tempfile::TempDir, words: &str) -> Said {
    run(directory.path(), &format!("{MONITOR} {words}"))
}

const LOG: &str =
    "I (200) main: starts\r\nE (201) wifi: no key\r\nD (202) wifi: scan\r\n> ready\r\n";

#[test]
fn a_script_is_done_and_reported() {
    let directory = board(LOG);
    let at = |name: &str| directory.path().join(name);
    let read = |name: &str| fs::read_to_string(at(name)).unwrap();
    fs::write(
        at("steps.txt"),
        "expect /E \\([0-9]+\\) wifi/\nexpect \"ready\" within 2s\nreset\nwait 100ms\nexpect \"> \
         ready\\r\\n\"\n",
    )
    .unwrap();
    fs::write(at("junit.xml"), "of another day").unwrap();
    let words = "--script steps.txt --junit junit.xml --report report.json --log all.log";
    let said = monitor(&directory, words).check(0, &["Expected output found"]);
    assert_eq!(said.out.matches("ESP-ROM:").count(), 2, "it was reset once: {said:#?}");
    assert!(said.out.ends_with("> ready\r\n"), "{said:#?}");
    // The log equals the output, except for the line that the reset cut off.
    assert_eq!(said.out.replace("ready\nESP-ROM", "readyESP-ROM"), read("all.log"));

    let junit = read("junit.xml");
    assert!(junit.contains(r#"tests="3" skipped="0" failures="0" errors="0""#), "{junit}");
    let report: serde_json::Value = serde_json::from_str(&read("report.json")).unwrap();
    assert_eq!((&report["ok"], &report["exit"]), (&true.into(), &0.into()));
    assert_eq!(report["parts"][2]["name"], r"expect > ready\r\n");
}

#[test]
fn what_does_not_come_is_told_with_the_place_and_the_last_lines() {
    let directory = board(LOG);
    let at = |name: &str| directory.path().join(name);
    fs::write(
        at("steps.txt"),
        "# one\nexpect \"ready\"\nexpect \"steady\" within 1s\nexpect \"go\"\n",
    )
    .unwrap();
    let said = monitor(&directory, "--script steps.txt --junit junit.xml --report report.json");
    let said = said.check(
        20,
        &[
            "error: expected output \"steady\" (line 3 of the script) did not appear within 1s: ",
            "hint: the last line was \"> ready\"",
            "The board's last lines:\n",
            "\n  | E (201) wifi: no key\n",
        ],
    );
    drop(said);
    let junit = fs::read_to_string(at("junit.xml")).unwrap();
    assert!(junit.contains(r#"tests="3" skipped="1" failures="1" errors="0""#), "{junit}");
    assert!(junit.contains("<failure message=\"expected output &quot;steady&quot;"), "{junit}");
    assert!(junit.contains("I (200) main: starts"), "{junit}");
    let report = fs::read_to_string(at("report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["ok"], &report["exit"]), (&false.into(), &20.into()));
    let verdicts: Vec<_> =
        report["parts"].as_array().unwrap().iter().map(|p| &p["verdict"]).collect();
    assert_eq!(verdicts, ["passed", "failed", "skipped"]);
}

#[test]
fn a_script_that_cannot_be_read_is_refused_before_the_port_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let words = "monitor --port /dev/esplice-has-no-such-port --script steps.txt";
    run(at, words).check(3, &["error: cannot read steps.txt"]);
    fs::write(at.join("steps.txt"), "expect \"a\"\nexspect \"b\"\n").unwrap();
    run(at, words).check(3, &["error: steps.txt:2: unknown statement \"exspect\"", "hint: "]);
    fs::write(at.join("steps.txt"), b"\xff").unwrap();
    run(at, words).check(3, &["error: steps.txt is not UTF-8"]);
    let both = "monitor --script steps.txt --expect a";
    run(at, both).check(2, &["cannot be used with"]);
    run(at, "monitor --expect /a(/")
        .check(2, &["regular expression /a(/: unclosed group", "hint: "]);
    run(at, "monitor --filter wifi=loud").check(2, &["\"loud\" is not a level", "warn,wifi=debug"]);
    run(at, "monitor --log steps.txt/such.log --port sim:esp32c3")
        .check(2, &["cannot write steps.txt/such.log"]);
}

#[test]
fn expressions_are_expected_and_rejected() {
    let directory = board(LOG);
    monitor(&directory, r"--expect /^E.\([0-9]+\)/ --expect /re[a-z]+y/").check(0, &[]);
    let said = monitor(&directory, r"--expect never --reject /wifi:.no/ --report report.json");
    said.check(
        25,
        &["error: rejected output /wifi:.no/ appeared", "in the line \"E (201) wifi: no\""],
    );
    let report = fs::read_to_string(directory.path().join("report.json")).unwrap();
    assert!(report.contains("rejected output"), "{report}");
}

#[test]
fn filters_and_time_stamps_change_what_is_shown_and_not_what_is_found() {
    let directory = board(LOG);
    let said = monitor(
        &directory,
        "--filter error,main=off --expect scan --expect ready\\r\\n --log all.log",
    );
    let said = said.check(0, &[]);
    assert!(said.out.ends_with("E (201) wifi: no key\r\n> ready\r\n"), "{said:#?}");
    assert!(!said.out.contains("main: starts") && !said.out.contains("scan"), "{said:#?}");
    let log = fs::read_to_string(directory.path().join("all.log")).unwrap();
    assert!(log.contains("main: starts") && log.ends_with(LOG), "{log}");

    let said = monitor(&directory, "--timestamps --expect ready\\r\\n").check(0, &[]);
    let last = said.out.lines().last().unwrap();
    assert!(last.starts_with("[    0.") && last.ends_with("] > ready"), "{said:#?}");
    assert!(said.out.lines().all(|line| line.starts_with('[')), "{said:#?}");
}

#[test]
fn several_ports_side_by_side() {
    let directory = board(LOG);
    let other = board("the other one\r\n");
    fs::copy(other.path().join("board.flash"), directory.path().join("other.flash")).unwrap();
    // Expectations apply to the first board.
    let words = format!(
        "{MONITOR} --port sim:esp32c3,flash=other.flash --expect ready --timeout 5s --log all.log"
    );
    let said =
        run(directory.path(), &words).check(0, &["1| is sim:esp32c3,flash=board.flash", "2| is "]);
    let lines: Vec<&str> = said.out.lines().collect();
    assert!(
        lines.iter().all(|line| line.starts_with("1| ") || line.starts_with("2| ")),
        "{lines:#?}"
    );
    assert!(lines.contains(&"1| E (201) wifi: no key"), "{lines:#?}");
    let log = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
    assert!(log("all.1.log").contains("wifi") && !log("all.2.log").contains("wifi"));
    assert!(!directory.path().join("all.log").exists());

    let words = format!("{words} --format json");
    let said = run(directory.path(), &words).check(0, &[]);
    let ports = said.out.lines().filter_map(|line| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        (event["event"] == "output").then(|| event["port"].as_str().unwrap().to_owned())
    });
    let ports: std::collections::BTreeSet<String> = ports.collect();
    assert_eq!(ports.len(), 2, "{ports:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_log_that_finds_no_room_is_told_once_and_the_board_is_watched_on() {
    let directory = board(LOG);
    let said = monitor(&directory, "--log /dev/full --expect ready");
    let said = said.check(
        1,
        &["Expected output found", "error: the log /dev/full ends here, after 0 bytes: "],
    );
    assert_eq!(said.err.matches("warning: the log /dev/full").count(), 1, "{said:#?}");
    assert!(said.out.ends_with("> ready"), "{said:#?}");
    // Another failure is reported first.
    monitor(&directory, "--log /dev/full --expect never --timeout 1s")
        .check(20, &["warning: the log"]);
}

const TESTS: &str = "noise\r\nesplice-test: begin 3\r\nesplice-test: run adds\r\nadding\r\n\
                     esplice-test: ok adds\r\nesplice-test: run divides\r\nleft: 1\r\n\
                     esplice-test: failed divides: 1 is not 2\r\nesplice-test: ignored sleeps: no sensor\r\n\
                     esplice-test: done\r\n";

#[test]
fn tests_on_the_board_are_told_as_cargo_tells_of_its_own() {
    let directory = board(TESTS);
    let said = monitor(&directory, "--tests --junit junit.xml");
    let said = said.check(40, &["error: 1 of 2 tests failed: divides: 1 is not 2"]);
    assert_eq!(
        said.out,
        "\nrunning 3 tests\ntest adds ... ok\ntest divides ... FAILED\n\
         test sleeps ... ignored, no sensor\n\nfailures:\n\n---- divides ----\nleft: 1\n1 is not 2\n\n\n\
         failures:\n    divides\n\ntest result: FAILED. 1 passed; 1 failed; 1 ignored; 0 not run; \
         finished in 0.02s\n\n"
    );
    let junit = fs::read_to_string(directory.path().join("junit.xml")).unwrap();
    assert!(junit.contains(r#"tests="3" skipped="1" failures="1" errors="0""#), "{junit}");

    // Without expectations, tests are reported as well, and the board's own output is shown.
    let said = monitor(&directory, "").check(40, &[]);
    assert!(said.out.contains("adding\r\nesplice-test: ok adds\r\n"), "{said:#?}");
    assert!(said.out.contains("test result: FAILED. 1 passed; 1 failed;"), "{said:#?}");
    let said = monitor(&directory, "--tests --nocapture").check(40, &[]);
    assert!(said.out.contains("adding\r\n") && said.out.contains("test result: "), "{said:#?}");

    let said = monitor(&directory, "--tests --format json");
    let tests: Vec<String> = said
        .out
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|event| event["event"] == "test")
        .map(|event| {
            format!("{} {}", event["name"].as_str().unwrap(), event["state"].as_str().unwrap())
        })
        .collect();
    let expected =
        ["adds started", "adds passed", "divides started", "divides failed", "sleeps ignored"];
    assert_eq!(tests, expected);
}

#[test]
fn how_tests_on_the_board_can_end() {
    let check = |text: &str, exit: i32, words: &[&str]| {
        let directory = board(text);
        let said = monitor(&directory, "--tests --timeout 3s").check(exit, words);
        (directory, said)
    };
    let begin = "esplice-test: begin 2\r\nesplice-test: run a\r\nesplice-test: ok a\r\n";
    let both = format!("{begin}esplice-test: ok b\r\nesplice-test: ");
    let (_, said) = check(&format!("{both}done\r\n"), 0, &[]);
    assert!(said.out.contains("test result: ok. 2 passed"), "{said:#?}");
    check(&format!("{both}exit 0\r\n"), 0, &[]);
    check(&format!("{both}exit 77\r\n"), 77, &["the firmware ended with exit code 77"]);
    check(&format!("{both}exit 3\r\n"), 40, &["the firmware ended with exit code 3"]);
    let untold = "1 of the announced tests did not run";
    check(&format!("{begin}esplice-test: done\r\n"), 40, &[untold]);
    let runs = format!("{begin}esplice-test: run b\r\nbusy\r\n");
    let (_, said) = check(&runs, 20, &["test b did not end within 3s", "last line was \"busy\""]);
    assert!(said.out.contains("test b ... FAILED") && said.out.contains("\nbusy\n"), "{said:#?}");
    let panic = format!("{runs}panicked at src/main.rs:3:5:\r\noh no\r\n");
    let words = ["error: the firmware panicked in test b: oh no at src/main.rs:3:5"];
    let (_, said) = check(&panic, 21, &words);
    assert!(said.out.contains("---- b ----\nbusy\npanicked at "), "{said:#?}");
    check("Hello\r\n", 20, &["no test began within 3s", "the last line was \"Hello\""]);
    check("esplice-test: fialed a\r\n", 20, &["an unknown line: esplice-test: fialed a"]);
}

/// `cargo test` starts its runner with an ELF in `deps`, which must report tests.
#[test]
fn a_test_of_cargos_is_known_by_its_place() {
    let directory = built_hello("Hello\r\n");
    let at = directory.path();
    fs::create_dir(at.join("deps")).unwrap();
    fs::copy(at.join("hello.elf"), at.join("deps/math-0123456789abcdef")).unwrap();
    let port = "--target esp32c3 --port sim:esp32c3 --timeout 1s";
    run(at, &format!("run {port} deps/math-0123456789abcdef"))
        .check(20, &["no test began within 1s"]);
    run(at, &format!("run {port} hello.elf")).check(0, &[]);
    run(at, &format!("run {port} --expect Hello deps/math-0123456789abcdef")).check(0, &[]);
}
