//! The search for a Rust toolchain, on machines that exist only here.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use esplice_toolchain::{ErrorKind, Probe, RustToolchain, ToolchainError, find_rust};

const TARGET: &str = "riscv32imc-unknown-none-elf";
const RUSTUP_ROOT: &str = "/home/u/.rustup/toolchains/stable";

/// A machine in memory.
#[derive(Default, Clone)]
struct Fake {
    files: Vec<PathBuf>,
    /// Programs by directory of the path, in order.
    path: Vec<PathBuf>,
    /// Answers by program and arguments.
    answers: BTreeMap<String, String>,
    variables: BTreeMap<String, String>,
}

impl Probe for Fake {
    fn exists(&self, path: &Path) -> bool {
        self.files.iter().chain(&self.path).any(|file| file.starts_with(path))
    }

    fn output(&self, program: &Path, args: &[&str]) -> Option<String> {
        self.answers.get(&format!("{} {}", program.display(), args.join(" "))).cloned()
    }

    fn on_path(&self, prefix: &str) -> Vec<PathBuf> {
        let named = |p: &&PathBuf| p.file_name().unwrap().to_str().unwrap().starts_with(prefix);
        self.path.iter().filter(named).cloned().collect()
    }

    fn variable(&self, name: &str) -> Option<OsString> {
        self.variables.get(name).map(OsString::from)
    }
}

impl Fake {
    fn file(mut self, path: &str) -> Self {
        self.files.push(path.into());
        self
    }

    fn program(mut self, path: &str) -> Self {
        self.path.push(path.into());
        self
    }

    fn answer(mut self, question: &str, answer: &str) -> Self {
        self.answers.insert(question.into(), answer.into());
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    fn rustc(self, rustc: &str, sysroot: &str, version: &str) -> Self {
        self.answer(&format!("{rustc} --print sysroot"), &format!("{sysroot}\n")).answer(
            &format!("{rustc} -vV"),
            &format!("rustc {version}\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n"),
        )
    }

    /// rustup with a toolchain for the host alone, with its rust-lld.
    fn rustup(self) -> Self {
        self.program("/home/u/.cargo/bin/cargo")
            .program("/home/u/.cargo/bin/rustc")
            .program("/home/u/.cargo/bin/rustup")
            .rustc("/home/u/.cargo/bin/rustc", RUSTUP_ROOT, "1.95.0")
            .file(&format!("{RUSTUP_ROOT}/lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld"))
    }

    fn rustup_target(self) -> Self {
        self.file(&format!("{RUSTUP_ROOT}/lib/rustlib/{TARGET}/lib/libcore.rlib"))
    }

    fn rustup_sources(self) -> Self {
        self.file(&format!("{RUSTUP_ROOT}/lib/rustlib/src/rust/library/Cargo.toml"))
    }

    /// Debian with rustc-web and cargo-web.
    fn debian(self) -> Self {
        self.program("/usr/bin/apt-get").program("/usr/bin/cargo").program("/usr/bin/rustc").rustc(
            "/usr/bin/rustc",
            "/usr",
            "1.96.0",
        )
    }

    fn debian_sources(self) -> Self {
        self.file("/usr/lib/rustlib/src/rust/library/Cargo.toml")
    }

    fn lld(self, name: &str) -> Self {
        self.program(&format!("/usr/bin/{name}"))
    }
}

/// What cargo would be run with, in one line: variables, program, arguments.
fn line(found: &RustToolchain) -> String {
    let mut words: Vec<String> = found
        .variables()
        .iter()
        .map(|(name, value)| format!("{name}={}", value.to_string_lossy()))
        .collect();
    words.push(found.cargo.display().to_string());
    words.extend(found.arguments().iter().map(|a| a.to_string_lossy().into_owned()));
    words.join(" ").replace(TARGET, "TARGET")
}

#[track_caller]
fn check(machine: Fake, expected: &str) {
    let chip = esplice_chip::find("esp32c3").unwrap();
    let found = match find_rust(chip, &machine) {
        Ok(found) => line(&found),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ToolchainMissing);
            format!("{error}\n{}", error.hint().unwrap_or_default()).replace(TARGET, "TARGET")
        }
    };
    assert_eq!(found, expected);
}

const DEBIAN_LINE: &str = "RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 /usr/bin/cargo --target TARGET \
     -Zbuild-std=core,alloc --config target.TARGET.linker=\"/usr/bin/ld.lld-19\"";

#[test]
fn an_installed_target_comes_first() {
    let expected = "/home/u/.cargo/bin/cargo --target TARGET";
    check(Fake::default().rustup().rustup_target(), expected);
    let all = Fake::default().rustup().rustup_target().rustup_sources();
    check(all.debian().debian_sources().lld("ld.lld-19"), expected);
}

#[test]
fn sources_of_the_active_toolchain_come_second() {
    let expected =
        "RUSTC_BOOTSTRAP=1 /home/u/.cargo/bin/cargo --target TARGET -Zbuild-std=core,alloc";
    check(Fake::default().rustup().rustup_sources(), expected);
    let both = Fake::default().rustup().rustup_sources().debian().debian_sources();
    check(both.lld("ld.lld-19"), expected);
}

#[test]
fn debian_stands_in_behind_a_rustup_without_the_target() {
    check(Fake::default().rustup().debian().debian_sources().lld("ld.lld-19"), DEBIAN_LINE);
}

#[test]
fn debian_alone_is_the_active_toolchain() {
    check(
        Fake::default().debian().debian_sources().lld("ld.lld-19"),
        DEBIAN_LINE.strip_prefix("RUSTC=/usr/bin/rustc ").unwrap(),
    );
}

#[test]
fn debian_without_its_sources_is_none() {
    check(
        Fake::default().rustup().debian().lld("ld.lld-19"),
        "no Rust toolchain here can build for TARGET\n\
         run `rustup target add TARGET`, or `apt-get install --no-install-recommends rustc-web \
         cargo-web rust-web-src lld-19`",
    );
}

#[test]
fn nothing_at_all_names_what_installs_it() {
    check(
        Fake::default(),
        "no Rust toolchain here can build for TARGET\n\
         install Rust with rustup (https://rustup.rs), then run `rustup target add TARGET`",
    );
    check(
        Fake::default().program("/usr/bin/apt-get"),
        "no Rust toolchain here can build for TARGET\n\
         run `apt-get install --no-install-recommends rustc-web cargo-web rust-web-src lld-19`",
    );
    check(
        Fake::default().rustup(),
        "no Rust toolchain here can build for TARGET\nrun `rustup target add TARGET`",
    );
}

#[test]
fn a_broken_compiler_is_passed_over() {
    let mut machine = Fake::default().rustup().rustup_target().debian().debian_sources();
    machine.answers.retain(|question, _| !question.starts_with("/home/u"));
    check(machine.lld("ld.lld-19"), DEBIAN_LINE);
}

#[test]
fn a_missing_linker_is_named() {
    check(
        Fake::default().rustup().debian().debian_sources(),
        "no linker for TARGET: neither rust-lld in /usr nor ld.lld on the path\n\
         run `apt-get install --no-install-recommends lld-19`",
    );
}

#[test]
fn the_newest_lld_is_taken() {
    let machine = || Fake::default().debian().debian_sources().rustup();
    let linker = |m: Fake| -> Result<_, ToolchainError> {
        Ok(find_rust(esplice_chip::find("esp32c3").unwrap(), &m)?.linker)
    };
    let plain = "/usr/bin/ld.lld --version";
    for (machine, expected) in [
        (machine().lld("ld.lld-14").lld("ld.lld-19").lld("ld.lld-9"), "/usr/bin/ld.lld-19"),
        (
            machine().lld("ld.lld").lld("ld.lld-19").answer(plain, "LLD 22.1.0 (compatible)"),
            "/usr/bin/ld.lld",
        ),
        (
            machine().lld("ld.lld").lld("ld.lld-19").answer(plain, "Debian LLD 14.0.6"),
            "/usr/bin/ld.lld-19",
        ),
        (machine().lld("ld.lld").lld("ld.lld-19"), "/usr/bin/ld.lld-19"),
        (machine().lld("ld.lld-extra").lld("ld.lld-15"), "/usr/bin/ld.lld-15"),
        (machine().program("/opt/bin/ld.lld-19").lld("ld.lld-19"), "/opt/bin/ld.lld-19"),
    ] {
        assert_eq!(linker(machine).unwrap(), Some(PathBuf::from(expected)));
    }
}

#[test]
fn the_users_own_linker_stands() {
    let machine = || Fake::default().debian().debian_sources();
    let ask = "/usr/bin/cargo -Zunstable-options config get --format json-value target";
    let cfgs = format!("/usr/bin/rustc --print cfg --target {TARGET}");
    let with_cfgs = |config: &str| {
        machine().answer(ask, config).answer(&cfgs, "target_arch=\"riscv32\"\ntarget_os=\"none\"\n")
    };
    let own = "RUSTC_BOOTSTRAP=1 /usr/bin/cargo --target TARGET -Zbuild-std=core,alloc";
    check(machine().variable("CARGO_TARGET_RISCV32IMC_UNKNOWN_NONE_ELF_LINKER", "mine"), own);
    check(with_cfgs(&format!(r#"{{"{TARGET}":{{"linker":"mine"}}}}"#)), own);
    check(with_cfgs(r#"{"cfg(target_arch=\"riscv32\")":{"linker":"mine"}}"#), own);

    let ours = DEBIAN_LINE.strip_prefix("RUSTC=/usr/bin/rustc ").unwrap();
    for other in [
        r#"{"cfg(target_arch=\"xtensa\")":{"linker":"mine"}}"#,
        r#"{"x86_64-unknown-linux-gnu":{"linker":"mold"}}"#,
        r#"{"riscv32imc-unknown-none-elf":{"runner":"esplice run"}}"#,
        r#"{"not a platform(":{"linker":"mine"}}"#,
        "[]",
        "",
    ] {
        check(with_cfgs(other).lld("ld.lld-19"), ours);
    }
}

#[test]
fn the_users_rustc_is_asked() {
    let machine = Fake::default().rustup().variable("RUSTC", "/opt/rust/bin/rustc");
    check(
        machine
            .rustc("/opt/rust/bin/rustc", "/opt/rust", "1.97.0-nightly")
            .file(&format!("/opt/rust/lib/rustlib/{TARGET}/lib/libcore.rlib"))
            .file("/opt/rust/lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld"),
        "/home/u/.cargo/bin/cargo --target TARGET",
    );
}

#[test]
fn a_path_with_quotes_is_still_one_toml_string() {
    let machine = Fake::default().debian().debian_sources();
    let found = find_rust(
        esplice_chip::find("esp32c3").unwrap(),
        &machine.program(r#"/opt/a "b" \c/ld.lld-19"#),
    )
    .unwrap();
    let last = found.arguments().pop().unwrap();
    assert_eq!(
        last.to_str().unwrap(),
        format!(r#"target.{TARGET}.linker="/opt/a \"b\" \\c/ld.lld-19""#)
    );
}

/// Upstream's compilers list the target and have its library's sources, and make no code for it.
#[test]
fn a_chip_with_a_compiler_of_its_own_is_built_with_that_alone() {
    let xtensa = |chip: &esplice_chip::Chip, machine: Fake, cpus: &str| {
        let target = &chip.toolchain.rust_target;
        machine.answer(
            &format!("/home/u/.cargo/bin/rustc --print target-cpus --target {target}"),
            &format!("Available CPUs for this target:\n    generic\n{cpus}"),
        )
    };
    let both = Fake::default().rustup().rustup_sources().debian().debian_sources().lld("ld.lld-19");
    for chip in esplice_chip::all() {
        let machine = xtensa(chip, both.clone(), "    esp32\n    esp8266\n");
        match (&chip.toolchain.rust_install, find_rust(chip, &machine)) {
            (Some(command), Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::ToolchainMissing);
                assert!(error.to_string().contains(&chip.toolchain.rust_target), "{error}");
                assert!(error.hint().unwrap().contains(command), "{error}: {:?}", error.hint());
                let cpu = format!("    {}\n", chip.toolchain.rust_processors[0]);
                let found = find_rust(chip, &xtensa(chip, both.clone(), &cpu)).unwrap();
                assert_eq!(found.rustc, Path::new("/home/u/.cargo/bin/rustc"));
                assert_eq!(found.build_std, ["core", "alloc"]);
            }
            (None, Ok(_)) => {}
            (_, found) => panic!("{}: {found:?}", chip.name),
        }
    }
}
