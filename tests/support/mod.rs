//! Helpers shared by the tests of whole commands.

pub mod bare;
pub mod elf;
#[cfg(unix)]
pub mod pty;
pub mod served;
pub mod toolchain;

use std::path::{Path, PathBuf};

use assert_cmd::Command;

/// Exit code and output of a command.
#[derive(Debug)]
pub struct Said {
    pub exit: i32,
    pub out: String,
    pub err: String,
}

/// Returns a command for the program in `directory`, without variables of the tests' own
/// environment.
pub fn esplice(directory: &Path) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("esplice"));
    command.current_dir(directory).env("NO_COLOR", "1");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ESPLICE") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs the program with arguments separated by blanks.
pub fn run(directory: &Path, words: &str) -> Said {
    finish(esplice(directory).args(words.split_whitespace()))
}

pub fn finish(command: &mut Command) -> Said {
    let output = command.output().expect("the program can be started");
    Said {
        exit: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Said {
    /// Checks that the command ended with `exit`, and that stderr contains each of `words`.
    #[track_caller]
    pub fn check(self, exit: i32, words: &[&str]) -> Said {
        assert_eq!(self.exit, exit, "{self:#?}");
        for word in words {
            assert!(self.err.contains(word), "no {word:?} in {self:#?}");
        }
        // Every failure is reported as a message, never as a panic.
        assert!(!self.err.contains("panicked at"), "{self:#?}");
        self
    }
}

/// Returns the names of the files in `directory`, sorted.
pub fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("the directory can be read");
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Returns the root of the repository.
pub fn repository() -> PathBuf {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    top.expect("the package is two levels below it").to_owned()
}

/// Creates a directory with `hello.elf`, which prints `text`, and the outputs of `build` for it.
pub fn built_hello(text: &str) -> tempfile::TempDir {
    built(&elf::hello(text))
}

/// The same with another ELF.
pub fn built(elf: &elf::Elf) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("the disk has space");
    let elf = elf.to_bytes();
    std::fs::write(directory.path().join("hello.elf"), elf).expect("the disk has space");
    run(directory.path(), "build --target esp32c3 --elf hello.elf --output hello.bin")
        .check(0, &[]);
    directory
}

/// Returns the `result` event in the output of a command with `--format json`.
pub fn result(said: &Said) -> serde_json::Value {
    let events = said.out.lines().map(|line| serde_json::from_str(line).expect("a line is JSON"));
    let mut results = events.filter(|event: &serde_json::Value| event["event"] == "result");
    results.next().expect("there is a result event")
}
