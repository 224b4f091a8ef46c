//! No value, whatever its content and origin, makes esplice print control sequences for the
//! terminal.

use std::{ffi::OsString, fs, path::Path};

use crate::support::{built_hello, elf, esplice, finish};

/// Clears the screen, sets a title, moves the cursor, begins a sequence in its 8-bit form, reverses
/// the writing direction, and continues on a separate line.
const HOSTILE: &str = "a\x1b[2Jb\x1b]0;t\x07c\u{9b}31md\u{202e}e\rf\x08g\nerror: h";

/// The same without characters that some systems do not allow in file names.
const NAME: &str = "a\x1b[2Jb\u{9b}31md\u{202e}e\rf";

/// Runs the program and checks that its output contains no control sequences. Returns the exit
/// code.
#[track_caller]
fn check(at: &Path, words: &[&str]) -> i32 {
    let args: Vec<OsString> = words.iter().map(OsString::from).collect();
    let mut exit = 0;
    for format in ["text", "json"] {
        let mut command = esplice(at);
        command.args(["--format", format]).args(&args);
        let said = finish(&mut command);
        harmless(words, &said.err);
        // No value starts a line that looks like a message.
        assert!(!said.err.contains("\nerror: h"), "{words:?}: {:?}", said.err);
        if format == "text" {
            harmless(words, &said.out);
        } else {
            // JSON contains values unchanged, escaped as JSON requires.
            for line in said.out.lines() {
                let event: Result<serde_json::Value, _> = serde_json::from_str(line);
                assert!(event.is_ok(), "{words:?}: {line:?}");
            }
        }
        exit = said.exit;
    }
    exit
}

#[track_caller]
fn harmless(words: &[&str], text: &str) {
    let drives = |c: char| {
        (c.is_control() && c != '\n' && c != '\t') || matches!(c, '\u{200e}'..='\u{202e}')
    };
    // A board may end its lines in any way.
    let text = text.replace("\r\n", "\n");
    assert!(!text.contains(drives), "{words:?}: {text:?}");
}

#[test]
fn words_of_the_command_line() {
    let directory = built_hello("Hello\r\n");
    let at = directory.path();
    for (words, exit) in [
        (&["build", "--elf", HOSTILE][..], 3),
        (&["build", "--target", HOSTILE], 2),
        (&["build", "--target", "esp32c3", "--elf", "hello.elf", "-o", "no/\x1b[2J/a.bin"], 0),
        (&["build", "--elf", "hello.elf", "--target", "esp32c3", "--flash-size", HOSTILE], 2),
        (&["build", "--elf", "hello.elf", "--target", "esp32c3", "--flash-mode", HOSTILE], 2),
        (&["image", "info", HOSTILE], 3),
        (&["image", "merge", "-o", "x.bin", HOSTILE, "hello.bin"], 3),
        (&["layout", "show", HOSTILE], 3),
        (&["flash", HOSTILE], 3),
        (&["flash", "hello.bin", "--port", HOSTILE], 10),
        (&["flash", "hello.bin", "--port", "sim:a\x1b[2J"], 2),
        (&["flash", "hello.bin", "--port", "sim:esp32c3,flash=hello.bin/a\x1b[2J"], 10),
        (&["flash", "hello.bin", "--port", "tcp://a\x1b[2J:1"], 10),
        (&["flash", "hello.bin", "--port", "rfc2217://a\x1b[2J:1"], 10),
        (&["flash", "hello.bin", "--port", "sim:esp32c3", "--partition", HOSTILE], 6),
        (&["flash", "hello.bin", "--port", "sim:esp32c3", "--reset", HOSTILE], 2),
        (&["flash", "hello.bin", "--port", "sim:esp32c3", "--stub", HOSTILE], 3),
        (&["read", "--partition", HOSTILE, "x.bin", "--port", "sim:esp32c3"], 6),
        (&["run", "hello.bin", "--port", "sim:esp32c3", "--script", HOSTILE], 3),
        (
            &["run", "hello.bin", "--port", "sim:esp32c3", "--expect", HOSTILE, "--timeout", "1s"],
            20,
        ),
        (&["run", "hello.bin", "--port", "sim:esp32c3", "--expect", "/\x1b[2J(/"], 2),
        (&[HOSTILE], 2),
        (&["build", HOSTILE, HOSTILE], 2),
        (&["build", "--no\x1b[2J"], 2),
        (&["config", HOSTILE], 3),
    ] {
        assert_eq!(check(at, words), exit, "{words:?}");
    }
}

#[test]
fn settings() {
    let directory = built_hello("Hello\r\n");
    let at = directory.path();
    let toml = HOSTILE.chars().map(|c| match c {
        ' '..='~' => c.to_string(),
        c => format!("\\u{:04x}", u32::from(c)),
    });
    let toml: String = toml.collect();
    for text in [
        format!("[\"{toml}\"]\na = 1"),
        format!("[flash]\n\"{toml}\" = 1"),
        format!("[project]\ntarget = \"{toml}\""),
        format!("[project]\nport = \"{toml}\""),
        format!("[image]\nflash-size = \"{toml}\""),
        format!("[build]\npackage = \"{toml}\"\nfeatures = [\"{toml}\"]"),
        format!("[build]\noutput = \"{toml}\""),
        format!("[monitor]\nexpect = \"{toml}\""),
        format!("[ports.\"{toml}\"]\nport = \"{toml}\""),
        format!("[layout]\n\"{toml}\" = 1"),
        // A broken file whose line is shown.
        format!("[flash]\n{HOSTILE} = "),
    ] {
        fs::write(at.join("esplice.toml"), &text).unwrap();
        check(at, &["config"]);
        check(at, &["build", "--elf", "hello.elf", "--target", "esp32c3"]);
        check(at, &["flash", "hello.bin", "--port", "sim:esp32c3"]);
    }
    fs::remove_file(at.join("esplice.toml")).unwrap();
    let mut command = esplice(at);
    command.env("ESPLICE_FLASH_BAUD", HOSTILE).args(["config"]);
    let said = finish(&mut command);
    assert_eq!(said.exit, 2);
    harmless(&["ESPLICE_FLASH_BAUD"], &said.err);
}

#[test]
fn files_of_every_kind() {
    let directory = built_hello("Hello\r\n");
    let at = directory.path();
    let write = |name: &str, text: &[u8]| fs::write(at.join(name), text).unwrap();
    // A plan with its own name, file and chip.
    let plan = fs::read_to_string(at.join("hello.plan.json")).unwrap();
    let json = serde_json::to_string(HOSTILE).unwrap();
    for old in
        ["\"app\"", "\"hello.merged.bin\"", "\"esp32c3\"", "\"idf\"", "\"dio\"", "\"schema\""]
    {
        write("hello.plan.json", plan.replacen(old, &json, 1).as_bytes());
        check(at, &["flash", "hello.bin", "--port", "sim:esp32c3"]);
    }
    fs::remove_file(at.join("hello.plan.json")).unwrap();
    // Chip and board files.
    for text in [
        format!("{HOSTILE} = 1"),
        format!("[board]\nname = {json}"),
        format!("name = {json}\nchip = {json}"),
    ] {
        write("target.toml", text.as_bytes());
        check(at, &["build", "--target-file", "target.toml", "--elf", "hello.elf"]);
    }
    // Faults, scripts, stubs.
    for text in [format!("{HOSTILE} = 1"), format!("[[fault]]\nkind = {json}")] {
        write("faults.toml", text.as_bytes());
        check(at, &["flash", "hello.bin", "--port", "sim:esp32c3,faults=faults.toml"]);
    }
    for text in [HOSTILE.to_owned(), format!("expect \"{NAME}\""), format!("send /{NAME}")] {
        write("script.txt", text.as_bytes());
        let words = ["run", "hello.bin", "--port", "sim:esp32c3", "--script", "script.txt"];
        check(at, &words);
    }
    write("stub.json", format!("{{{json}: 1}}").as_bytes());
    check(at, &["flash", "hello.bin", "--port", "sim:esp32c3", "--stub", "stub.json"]);
    // Text that is not an image.
    write("text.bin", HOSTILE.as_bytes());
    check(at, &["image", "info", "text.bin"]);
    check(at, &["flash", "text.bin", "--port", "sim:esp32c3"]);
    // The partition table of an image, whose labels anybody may have written.
    let mut merged = fs::read(at.join("hello.merged.bin")).unwrap();
    for row in 0..3 {
        let label = 0x8000 + row * 32 + 12;
        merged[label..label + 16].copy_from_slice(b"\x1b[2J\xe2\x80\xae\x9b31m\r\x08\x07\0\0");
    }
    write("label.bin", &merged);
    check(at, &["image", "info", "label.bin"]);
    check(at, &["image", "verify", "label.bin"]);
    check(at, &["image", "split", "label.bin", "-o", "parts"]);
    // The same on a board.
    write("board.flash", &{
        merged.resize(4 << 20, 0xff);
        merged
    });
    check(
        at,
        &["flash", "hello.bin", "--port", "sim:esp32c3,flash=board.flash", "--partition", "x"],
    );
    check(at, &["read", "--partition", "x", "a.bin", "--port", "sim:esp32c3,flash=board.flash"]);
}

#[test]
fn elfs() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let mut elf = elf::hello("Hello\x1b[2J\r\n");
    elf.sections[1].name = "\x1b[2J\u{202e}.text\r\x08";
    // The descriptor's name and version.
    elf.sections[0].data[16..24].copy_from_slice(b"0\x1b[2J\r\x08\x07");
    elf.sections[0].data[48..56].copy_from_slice(b"h\x1b[2J\r\x08\x07");
    fs::write(at.join("a.elf"), elf.to_bytes()).unwrap();
    check(at, &["build", "--target", "esp32c3", "--elf", "a.elf", "-o", "a.bin"]);
    check(at, &["image", "info", "a.bin"]);
    check(at, &["layout", "show", "--target", "esp32c3", "a.elf"]);
    check(at, &["layout", "check", "--target", "esp32c3", "a.elf"]);
    check(at, &["layout", "diff", "--target", "esp32c3", "a.elf", "a.elf"]);
    // The board prints it as well, in the middle of a watch and at its end.
    let run = ["run", "a.bin", "--port", "sim:esp32c3", "--timeout", "1s"];
    check(at, &run);
    let mut expect = run.to_vec();
    expect.extend(["--expect", "never"]);
    assert_eq!(check(at, &expect), 20);
    elf.sections[1].addr = 0x1000_0000;
    fs::write(at.join("b.elf"), elf.to_bytes()).unwrap();
    assert_eq!(check(at, &["build", "--target", "esp32c3", "--elf", "b.elf", "-o", "b.bin"]), 3);
}

/// Compilers' colours are kept, and no other sequences.
#[cfg(unix)]
#[test]
fn compilers() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    fs::write(at.join("Cargo.toml"), "[package]\nname = \"a\x1b[2J\"\nedition = \"2024\"\n")
        .unwrap();
    fs::create_dir(at.join("src")).unwrap();
    fs::write(at.join("src/main.rs"), "").unwrap();
    check(at, &["build", "--target", "esp32c3"]);
}

#[cfg(unix)]
#[test]
fn names_of_files() {
    let directory = built_hello("Hello\r\n");
    let at = directory.path();
    for (from, to) in
        [("hello.elf", "elf"), ("hello.bin", "bin"), ("hello.merged.bin", "merged.bin")]
    {
        fs::copy(at.join(from), at.join(format!("{NAME}.{to}"))).unwrap();
    }
    let name = |end: &str| format!("{NAME}.{end}");
    check(at, &["build", "--target", "esp32c3", "--elf", &name("elf"), "-o", &name("new.bin")]);
    check(at, &["image", "info", &name("bin")]);
    check(at, &["image", "verify", &name("merged.bin")]);
    check(at, &["image", "merge", "0x0", &name("bin"), "-o", &name("out.bin")]);
    check(at, &["flash", &name("bin"), "--port", "sim:esp32c3"]);
    check(at, &["flash", &name("bin"), "--port", "sim:esp32c3", "--offset", "0x1000"]);
    check(at, &["verify", "0x0", &name("bin"), "--port", "sim:esp32c3"]);
    check(at, &["layout", "show", "--target", "esp32c3", &name("elf"), "--svg", &name("svg")]);
}
