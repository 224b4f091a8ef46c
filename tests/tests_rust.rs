//! Runs the example with tests on a board: `cargo test`, with `esplice run` as its runner, on the
//! virtual board. These tests compile firmware, into a directory that is kept between runs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{self, Said, finish, repository};
use esplice_chip::ChipDb;
use esplice_toolchain::{Machine, find_rust};

/// Runs a user's `cargo test --release` in `project`, with the compiler found here.
fn cargo_test(project: &Path, arguments: &[&str]) -> Said {
    let chip = ChipDb::embedded().find("esp32c3").unwrap();
    let toolchain = find_rust(chip, ChipDb::embedded(), &Machine::in_directory(project)).unwrap();
    let mut cargo = Command::new(&toolchain.cargo);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_") && name != "CARGO_HOME"
            || name.starts_with("ESPLICE")
            || name == "RUSTUP_TOOLCHAIN"
        {
            cargo.env_remove(name);
        }
    }
    // The runner is found on the PATH, as a user's is.
    let program = PathBuf::from(assert_cmd::cargo::cargo_bin!("esplice"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = program.parent().map(Path::to_owned).into_iter().chain(std::env::split_paths(&path));
    cargo
        .current_dir(project)
        .args(["test", "--release", "--quiet"])
        .args(toolchain.arguments())
        .args(arguments)
        .envs(toolchain.variables())
        .env("PATH", std::env::join_paths(path).unwrap())
        .env("CARGO_TARGET_DIR", support::toolchain::firmware_target())
        .env("SOURCE_DATE_EPOCH", esplice_toolchain::SOURCE_DATE_EPOCH)
        .env("ESPLICE_PROJECT_PORT", "sim:esp32c3")
        .env("NO_COLOR", "1");
    finish(&mut assert_cmd::Command::from_std(cargo))
}

#[test]
fn the_example_passes_on_the_virtual_board() {
    let project = repository().join("examples/tests-rust");
    let said = cargo_test(&project, &[]);
    assert_eq!(said.exit, 0, "{said:#?}");
    let expected = "\nrunning 3 tests\ntest checksums ... ok\ntest means ... ok\n\
                    test time_goes_on ... ok\n\ntest result: ok. 3 passed; 0 failed; 0 ignored; \
                    0 not run; finished in 0.";
    assert!(said.out.contains(expected), "{said:#?}");
    // Other output of the board is only shown for failed tests.
    assert!(!said.out.contains("of three values") && !said.out.contains("ESP-ROM"), "{said:#?}");

    let said = cargo_test(&project, &["--", "mean", "--test-threads", "1"]);
    assert_eq!(said.exit, 0, "{said:#?}");
    let expected = "\nrunning 1 test\ntest means ... ok\n\ntest result: ok. 1 passed; 0 failed; \
                    0 ignored; 0 not run; 2 filtered out; finished in 0.";
    assert!(said.out.contains(expected), "{said:#?}");
    let said = cargo_test(&project, &["--", "--list"]);
    let expected = "checksums: test\nmeans: test\ntime_goes_on: test\n\n3 tests, 0 benchmarks\n";
    assert!(said.exit == 0 && said.out.contains(expected), "{said:#?}");
}

#[test]
fn a_failure_and_a_panic_are_told_with_their_tests() {
    let directory = tempfile::tempdir().unwrap();
    let from = repository().join("examples/tests-rust");
    for file in [
        "Cargo.toml",
        "Cargo.lock",
        ".cargo/config.toml",
        "src/lib.rs",
        "src/board_tests.rs",
        "tests/math.rs",
    ] {
        let text = fs::read_to_string(from.join(file)).unwrap();
        // Another name: cargo distinguishes packages in one target directory by name.
        let text = text.replace("tests-rust", "broken-rust").replace("tests_rust", "broken_rust");
        let text = text.replace("0x2057", "0x2058");
        let text = text.replace("check!(mean(&[]).is_none());", "mean(&[]).unwrap();");
        let to = directory.path().join(file);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, text).unwrap();
    }
    let said = cargo_test(directory.path(), &[]);
    assert_ne!(said.exit, 0, "{said:#?}");
    for words in [
        "running 3 tests\ntest checksums ... FAILED\ntest means ... FAILED\n",
        "---- checksums ----\ncheck failed: fletcher16(b\"abcdef\") == 0x2058\n",
        "---- means ----\nof three values\n",
        "test result: FAILED. 0 passed; 2 failed; 0 ignored; 1 not run;",
    ] {
        assert!(said.out.contains(words), "no {words:?} in {said:#?}");
    }
    for words in [
        "error: the firmware panicked in test means: called `Option::unwrap()` on a `None` value",
        "at tests/math.rs:31",
        "exit status: 21",
    ] {
        assert!(said.err.contains(words), "no {words:?} in {said:#?}");
    }
}
