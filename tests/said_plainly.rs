//! What people read: a message on a line of its own, and one line where a linker says hundreds.

mod support;

use std::{fs, path::Path};

use support::{built_hello, finish, repository};

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

    // Apart, each stream has its own bytes alone.
    let mut apart = support::esplice(directory.path());
    let words = "run --elf hello.elf --target esp32c3 --port sim:esp32c3 --expect ok --timeout 5s";
    let said = finish(apart.args(words.split(' '))).check(0, &[]);
    assert!(said.out.ends_with("layout ok") && !said.err.contains("\n\n"), "{said:#?}");
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
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("firmware");
    let build = || {
        let mut command = support::esplice(directory.path());
        command.env("CARGO_TARGET_DIR", &target);
        finish(command.args(["build", "--target=esp32c3", "--output=out.bin"]))
    };
    let said = build().check(5, &["error: the program is not linked with linkall.x"]);
    assert!(said.err.contains("hint: give it in .cargo/config.toml: rustflags = "), "{said:#?}");
    assert!(!said.err.contains("undefined symbol"), "{said:#?}");

    fs::write(directory.path().join("esplice.toml"), "[layout.heap]\nsize = \"32K\"\n").unwrap();
    let words =
        "error: esplice.toml:1: the program is not linked with linkall.x, which the layout adds to";
    let said = build().check(6, &[words]);
    assert!(!said.err.contains("undefined symbol"), "{said:#?}");
}
