//! `-v` and `--log-file`: what a user attaches to a bug report.

use std::{fs, path::Path};

use crate::support::{self, Said, built_hello, finish};

const RUN: &[&str] = &["run", "--port=sim:esp32c3", "--expect=Hello", "hello.bin"];

fn run(at: &Path, more: &[&str]) -> Said {
    finish(support::esplice(at).args(RUN).args(more))
}

/// Commands that leave out a detail are also told apart by their log: every frame is in it.
#[test]
fn the_log_file_has_frames_messages_and_no_contents() {
    let directory = built_hello("Hello\r\n");
    let at = directory.path();
    let quiet = run(at, &[]).check(0, &[]);
    let said = run(at, &["--log-file", "a.log"]).check(0, &[]);
    // The screen is the same as without it.
    assert_eq!(said.err, quiet.err);
    let log = fs::read_to_string(at.join("a.log")).unwrap();
    for words in [
        "arguments=",
        "request at=",
        "opcode=Sync",
        "reply at=",
        "status=",
        "the virtual board resets",
        "INFO esplice::messages: Expected output found",
    ] {
        assert!(log.contains(words), "no {words:?} in {log}");
    }
    assert!(log.lines().count() > 50, "{log}");
    assert!(log.lines().all(|line| line.len() < 1000), "{log}");
}

#[test]
fn verbose_shows_more_on_stderr() {
    let directory = built_hello("Hello\r\n");
    let at = directory.path();
    let plain = run(at, &[]).check(0, &[]);
    assert!(!plain.err.contains("DEBUG"), "{plain:#?}");
    let debug = run(at, &["-v"]).check(0, &["DEBUG esplice_flash"]);
    assert!(!debug.err.contains("TRACE"), "{debug:#?}");
    run(at, &["-vv"]).check(0, &["TRACE esplice_flash::session: request", "opcode=Sync"]);
    // Standard output stays the board's.
    assert_eq!(debug.out, plain.out);
}

#[test]
fn an_error_is_in_the_log_and_so_is_what_led_to_it() {
    let directory = built_hello("Hello\r\n");
    let at = directory.path();
    run(at, &["--timeout=100ms", "--expect=never", "--log-file=b.log"]).check(20, &[]);
    let log = fs::read_to_string(at.join("b.log")).unwrap();
    assert!(log.contains("ERROR esplice::messages: "), "{log}");
}

#[test]
fn escape_sequences_do_not_reach_the_log() {
    let directory = built_hello("Hello\r\n");
    let at = directory.path();
    let mut command = support::esplice(at);
    finish(command.args(["build", "--elf", "a\x1b[2Jb\nerror: c", "--log-file=c.log"]))
        .check(3, &[]);
    let log = fs::read_to_string(at.join("c.log")).unwrap();
    assert!(!log.contains('\x1b') && !log.contains("\nerror: "), "{log:?}");
}

#[test]
fn a_log_that_cannot_be_written() {
    let directory = built_hello("Hello\r\n");
    let at = directory.path();
    run(at, &["--log-file=none/a.log"]).check(2, &["error: cannot write none/a.log"]);
    run(at, &["--log-file=."]).check(2, &["error: log file . is not a regular file"]);
}
