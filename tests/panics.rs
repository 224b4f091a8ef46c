//! Panics of real firmware on the virtual board, decoded. This test compiles firmware, into a
//! directory that is kept between runs.

mod support;

use std::path::Path;

use serde_json::Value;
use support::{Said, finish, repository};

/// Runs the program at the top of the repository, with a place for firmware under its own target
/// directory.
fn esplice(args: &[&str]) -> Said {
    let mut command = support::esplice(&repository());
    command.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("firmware"));
    finish(command.args(args))
}

const FIRMWARE: &str = "tests/firmware/panics";
const NEVER: [&str; 4] = ["--expect", "never to come", "--timeout", "3s"];

#[test]
fn an_index_out_of_bounds_three_calls_deep() {
    let run = ["run", "--target=esp32c3", "--bin=index", "--port=sim:esp32c3", FIRMWARE];
    let said = esplice(&[&run[..], &NEVER].concat()).check(21, &[]);
    let source = format!("{FIRMWARE}/src/bin/index.rs");
    let calls = [
        ("index::inner", 35, "values[index]"),
        ("index::middle", 30, "inner(&[1, 2, 3], index) + 1"),
        ("index::outer", 25, "middle(index) + 1"),
        ("main", 18, "let value = outer(black_box(7));"),
    ];
    let mut rest = said.err.as_str();
    for (function, line, quoted) in calls {
        let frame = format!(" {function} at {source}:{line}\n{line:10} | {quoted}\n");
        let found = rest.find(&frame).unwrap_or_else(|| panic!("no {frame:?} in {said:#?}"));
        rest = &rest[found..];
    }
    assert_eq!(rest.matches("times)").count(), 1, "the tail is folded: {said:#?}");
    assert!(rest.contains("\nerror: the firmware panicked: index out of bounds"), "{said:#?}");
}

#[test]
fn an_exception_in_steps() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    let (image, elf) = (at("null-load.bin"), at("null-load.elf"));
    esplice(&["build", "--target=esp32c3", "--bin=null-load", "--output", &image, FIRMWARE])
        .check(0, &[]);
    let port = format!("--port=sim:esp32c3,flash={}", at("board.flash"));
    esplice(&["flash", &port, &image]).check(0, &[]);

    let monitor = ["monitor", &port, "--format=json"];
    let frames = |more: &[&str]| {
        let said = esplice(&[&monitor[..], &NEVER, more].concat()).check(21, &[]);
        let events = said.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let panic = events.into_iter().find(|event| event["event"] == "panic").unwrap();
        panic["frames"].as_array().unwrap().clone()
    };
    let line = |frame: &Value| {
        let file = frame["file"].as_str().unwrap_or_default();
        (file.ends_with("src/bin/null-load.rs"), frame["line"].as_u64())
    };
    let decoded = frames(&["--elf", &elf]);
    // The load itself is a function of core's, put into main.
    assert_eq!(decoded[0]["inlined"], true, "{decoded:#?}");
    let main = decoded.iter().find(|frame| frame["inlined"] == false).unwrap();
    assert_eq!(line(main), (true, Some(18)), "{decoded:#?}");
    assert_eq!(main["addr"], decoded[0]["addr"]);

    let bare = frames(&[]);
    assert_eq!(bare[0]["addr"], main["addr"]);
    assert!(bare.iter().all(|frame| frame["function"].is_null() && frame["line"].is_null()));
    // An image finds its ELF beside it.
    let run = ["run", &port, &image];
    let said = esplice(&[&run[..], &NEVER].concat()).check(21, &["src/bin/null-load.rs:18"]);
    std::fs::write(&elf, "another").unwrap();
    let other = esplice(&[&run[..], &NEVER].concat()).check(21, &["panics are not decoded"]);
    assert!(said.err.contains("Backtrace, ") && !other.err.contains("Backtrace, "), "{other:#?}");
}
