//! Builds firmware from a host program's build.rs. The build terminates even if both share a target
//! directory, is repeated when any input has changed, and its options and errors suit build.rs.

#![allow(clippy::disallowed_methods, reason = "the host's time, for processes that hang")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{bare, repository};

/// Longer than any of these builds takes on a busy machine. A deadlocked build would never end.
const LIMIT: Duration = Duration::from_secs(900);

/// Sources of a host program whose build script contains `BUILD`. It prints the firmware's text, as
/// stored in the image, and its build script counts its runs.
const BUILD_RS: &str = r#"use esplice_build::Firmware;

fn main() -> Result<(), esplice_build::Error> {
    let runs = std::path::Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../runs");
    let before = std::fs::read_to_string(&runs).unwrap_or_default();
    std::fs::write(runs, before + "x").unwrap();
    let built = BUILD;
    for file in built.files() {
        assert!(file.is_file(), "{} is missing", file.display());
    }
    println!("cargo::rustc-env=FIRMWARE={}", built.image.display());
    Ok(())
}
"#;

const MAIN_RS: &str = r#"static FIRMWARE: &[u8] = include_bytes!(env!("FIRMWARE"));

fn main() {
    let start = FIRMWARE.windows(5).position(|bytes| bytes == b"says ").unwrap();
    let rest = &FIRMWARE[start..];
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap();
    println!("{}", String::from_utf8_lossy(&rest[..end]));
}
"#;

/// A workspace with a host program, firmware, and a library used by the firmware.
struct Workspace {
    directory: tempfile::TempDir,
    host: String,
}

impl Workspace {
    /// Creates a workspace in which host program and firmware share cargo's target directory.
    /// `name` distinguishes the packages of different tests there.
    fn new(name: &str, build: &str) -> Workspace {
        let directory = tempfile::tempdir().unwrap();
        let host = format!("{name}-host");
        let workspace = Workspace { directory, host };
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("carried");
        workspace.write(
            ".cargo/config.toml",
            &format!("[build]\ntarget-dir = {target:?}\n[term]\nprogress.when = \"never\"\n"),
        );
        workspace.write(
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"host\", \"fw\", \"words\"]\n\
             [profile.release]\npanic = \"abort\"\nopt-level = \"s\"\ndebug-assertions = false\n\
             [profile.fast]\ninherits = \"release\"\nopt-level = 3\n",
        );
        // The versions of the repository, so that the registry is not contacted.
        let lock = repository().join("Cargo.lock");
        fs::copy(lock, workspace.path("Cargo.lock")).unwrap();
        let crates = repository().join("crates");
        workspace.write(
            "host/Cargo.toml",
            &format!(
                "[package]\nname = \"{}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
                 [build-dependencies]\nesplice-build = {{ path = {:?} }}\n",
                workspace.host,
                crates.join("esplice-build")
            ),
        );
        workspace.write("host/build.rs", &BUILD_RS.replace("BUILD", build));
        workspace.write("host/src/main.rs", MAIN_RS);
        workspace
            .write("words/src/lib.rs", "#![no_std]\npub const WORD: &str = \"says one\\n\";\n");
        workspace.write(
            "words/Cargo.toml",
            &format!(
                "[package]\nname = \"{name}-words\"\nversion = \"0.1.0\"\nedition = \"2024\"\n"
            ),
        );
        let words = format!("{}_words", name.replace('-', "_"));
        let text = format!(
            "if cfg!(feature = \"loud\") {{ \"says LOUD\\n\" }} else if cfg!(quiet) {{ \"says hush\\n\" }} \
             else if cfg!(debug_assertions) {{ \"says checked\\n\" }} else {{ {words}::WORD }}"
        );
        let more = format!(
            "default-run = \"{name}-fw\"\n[features]\nloud = []\n[dependencies]\n{name}-words = {{ path = \"../words\" }}\n"
        );
        bare::package(&workspace.path("fw"), &format!("{name}-fw"), &text, &more);
        workspace
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn replace(&self, name: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{name} has no {from:?}");
        self.write(name, &text.replace(from, to));
    }

    fn runs(&self) -> usize {
        fs::read_to_string(self.path("runs")).map_or(0, |runs| runs.len())
    }

    /// Runs `cargo run --release`, which must end within [`LIMIT`].
    fn cargo(&self) -> Output {
        let mut cargo = Command::new(env!("CARGO"));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("ESPLICE") || name == "CARGO_TARGET_DIR" {
                cargo.env_remove(name);
            }
        }
        cargo
            .current_dir(self.directory.path())
            .args(["run", "--release", "--quiet", "-p", &self.host])
            .env("ESPLICE", assert_cmd::cargo::cargo_bin!("esplice"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // A separate process group, because a hanging build has children.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut cargo, 0);
        let child = cargo.spawn().unwrap();
        let group = child.id();
        let waits = thread::spawn(move || child.wait_with_output().unwrap());
        let started = Instant::now();
        while !waits.is_finished() {
            if started.elapsed() > LIMIT {
                let _ = Command::new("kill").args(["-KILL", "--", &format!("-{group}")]).status();
                panic!("the build did not end within {} s", LIMIT.as_secs());
            }
            thread::sleep(Duration::from_millis(50));
        }
        waits.join().unwrap()
    }

    /// Checks the text of the firmware in the host program.
    #[track_caller]
    fn says(&self, expected: &str) {
        let output = self.cargo();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(said.trim_end(), expected);
    }
}

#[test]
fn firmware_is_built_again_when_what_it_is_made_of_changes() {
    let build = "Firmware::new(\"../fw\").chip(\"esp32c3\").build()?";
    let workspace = Workspace::new("again", build);
    workspace.says("says one");
    // The lock file now belongs to the workspace; nothing else has changed.
    workspace.says("says one");
    let runs = workspace.runs();
    workspace.says("says one");
    assert_eq!(workspace.runs(), runs, "nothing changed");

    workspace.replace("words/src/lib.rs", "says one", "says two");
    workspace.says("says two");

    workspace.replace("Cargo.toml", "debug-assertions = false", "debug-assertions = true");
    workspace.says("says checked");
    workspace.replace("Cargo.toml", "debug-assertions = true", "debug-assertions = false");
    workspace.says("says two");

    let config = fs::read_to_string(workspace.path(".cargo/config.toml")).unwrap();
    let flags = "[target.riscv32imc-unknown-none-elf]\nrustflags = [\"--cfg\", \"quiet\"]\n";
    workspace.write(".cargo/config.toml", &format!("{config}{flags}"));
    workspace.says("says hush");
    workspace.write(".cargo/config.toml", &config);
    workspace.says("says two");

    for file in ["Cargo.lock", "words/Cargo.toml", "fw/Cargo.toml", "fw/link.x"] {
        let runs = workspace.runs();
        let text = fs::read_to_string(workspace.path(file)).unwrap();
        workspace.write(file, &format!("{text}\n"));
        workspace.says("says two");
        assert_eq!(workspace.runs(), runs + 1, "{file}");
    }

    // A file that is new to the firmware.
    let program = fs::read_to_string(workspace.path("fw/src/main.rs")).unwrap();
    workspace.write("fw/src/more.rs", "pub const MORE: &str = \"says more\\n\";\n");
    let start = program.find("const WORDS").unwrap();
    let end = start + program[start..].find(";\n").unwrap();
    let program = format!(
        "{}mod more;\nconst WORDS: &str = more::MORE{}",
        &program[..start],
        &program[end..]
    );
    workspace.write("fw/src/main.rs", &program);
    workspace.says("says more");
    workspace.replace("fw/src/more.rs", "says more", "says less");
    workspace.says("says less");
}

#[test]
fn options_reach_the_build_and_errors_name_them() {
    let options = "Firmware::new(\"../fw\").chip(\"esp32c3\").bin(\"other\").profile(\"fast\").features([\"loud\"]).arg(\"--flash-size=8MB\").build()?";
    let workspace = Workspace::new("options", options);
    let fw = workspace.path("fw");
    fs::create_dir_all(fw.join("src/bin")).unwrap();
    fs::copy(fw.join("src/main.rs"), fw.join("src/bin/other.rs")).unwrap();
    workspace.says("says LOUD");
    let plan = Command::new("find")
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("carried/release/build"))
        .args(["-name", "fw-other-esp32c3.plan.json"])
        .output()
        .unwrap();
    assert!(!plan.stdout.is_empty(), "the files are named after binary and chip");

    let refused = |build: &str, words: &[&str]| {
        workspace.write("host/build.rs", &BUILD_RS.replace("BUILD", build));
        let output = workspace.cargo();
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        for word in words {
            assert!(said.contains(word), "no {word:?} in {said}");
        }
    };
    // Without a name in the settings file, the caller must name the chip.
    refused(
        "Firmware::new(\"../fw\").build()?",
        &["(exit code 2)", "hint: in build.rs, call ", ".chip(\"esp32c3\") for --target"],
    );
    workspace.replace("fw/Cargo.toml", "default-run = \"options-fw\"\n", "");
    refused(
        "Firmware::new(\"../fw\").chip(\"esp32c3\").build()?",
        &["hint: in build.rs, call ", ".bin(\"NAME\") for --bin"],
    );
    refused("Firmware::new(\"../nowhere\").build()?", &["cannot read ", "nowhere"]);
}
