//! Tests messages for people: each on a line of its own, and one line for hundreds of a linker's.

use std::fs;

use crate::support::{self, bare, built_hello, finish, repository, toolchain::firmware_target};

#[cfg(unix)]
#[test]
fn a_message_begins_on_a_line_of_its_own() {
    let directory = built_hello("layout ok");
    let program = assert_cmd::cargo::cargo_bin!("esplice");
    let line = format!(
        "{} run --elf hello.elf --target esp32c3 --port sim:esp32c3 --expect ok --timeout 5s 2>&1",
        program.display()
    );
    let mut shell = assert_cmd::Command::new("sh");
    let said = finish(shell.args(["-c", &line]).current_dir(directory.path()));
    assert_eq!(said.exit, 0, "{said:#?}");
    assert!(said.out.ends_with("layout ok\nExpected output found\n"), "{said:#?}");

    // Separated, each stream contains only its own bytes.
    let mut apart = support::esplice(directory.path());
    let words = "run --elf hello.elf --target esp32c3 --port sim:esp32c3 --expect ok --timeout 5s";
    let said = finish(apart.args(words.split(' '))).check(0, &[]);
    assert!(said.out.ends_with("layout ok") && !said.err.contains("\n\n"), "{said:#?}");
}

/// With `--format json`, compiler messages are events with their place.
#[test]
fn compiler_errors_are_events() {
    let directory = tempfile::tempdir().unwrap();
    bare::package(directory.path(), "mistyped", "never", "[workspace]\n");
    let main = directory.path().join("src/main.rs");
    let source = fs::read_to_string(&main).unwrap() + "\npub fn f() -> u32 {\n    \"a\"\n}\n";
    let line = source.lines().position(|line| line == "    \"a\"").unwrap() + 1;
    fs::write(&main, source).unwrap();
    let mut command = support::esplice(directory.path());
    command.env("CARGO_TARGET_DIR", firmware_target());
    let words = "build --target=esp32c3 --format json --output out.bin .";
    let said = finish(command.args(words.split(' ')));
    assert_eq!(said.exit, 5, "{said:#?}");
    let events: Vec<serde_json::Value> =
        said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = events.iter().filter(|event| event["event"] == "diagnostic").collect();
    let mistyped = told.iter().find(|event| event["code"] == "E0308");
    let mistyped = mistyped.unwrap_or_else(|| panic!("{said:#?}"));
    assert_eq!((&mistyped["level"], &mistyped["place"]["line"]), (&"error".into(), &line.into()));
    assert!(mistyped["place"]["file"].as_str().unwrap().ends_with("main.rs"), "{mistyped}");
    assert!(mistyped["rendered"].as_str().unwrap().contains("mismatched types"), "{mistyped}");
    let levels = ["error", "warning", "note", "help"];
    assert!(told.iter().all(|event| levels.contains(&event["level"].as_str().unwrap())));
}

#[test]
fn a_missing_linker_script_is_said_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let example = repository().join("examples/hello-rust");
    for file in ["Cargo.toml", "Cargo.lock", ".cargo/config.toml", "src/main.rs"] {
        let text = fs::read_to_string(example.join(file)).unwrap();
        let lines = text.lines().filter(|line| !line.contains("linkall.x"));
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        let to = directory.path().join(file);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, text.replace("hello-rust", "unscripted-rust")).unwrap();
    }
    let build = || {
        let mut command = support::esplice(directory.path());
        command.env("CARGO_TARGET_DIR", firmware_target());
        finish(command.args(["build", "--target=esp32c3", "--output=out.bin"]))
    };
    let said = build().check(5, &["error: the program is not linked with linkall.x"]);
    assert!(said.err.contains("hint: add it to .cargo/config.toml: rustflags = "), "{said:#?}");
    assert!(!said.err.contains("undefined symbol"), "{said:#?}");

    fs::write(directory.path().join("esplice.toml"), "[layout.heap]\nsize = \"32K\"\n").unwrap();
    let words =
        "error: esplice.toml:1: the program is not linked with linkall.x, which the layout extends";
    let said = build().check(6, &[words]);
    assert!(!said.err.contains("undefined symbol"), "{said:#?}");
}
