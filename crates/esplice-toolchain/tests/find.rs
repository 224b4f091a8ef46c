//! Tests of the search for a Rust toolchain, on simulated machines.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use esplice_chip::ChipDb;
use esplice_toolchain::{ErrorKind, Probe, RustToolchain, ToolchainError, find_rust};

const TARGET: &str = "riscv32imc-unknown-none-elf";
const RUSTUP_ROOT: &str = "/home/u/.rustup/toolchains/stable";

/// A machine in memory.
#[derive(Default, Clone)]
struct Fake {
    files: Vec<PathBuf>,
    /// Programs by directory, in path order.
    path: Vec<PathBuf>,
    /// Answers by program and arguments.
    answers: BTreeMap<String, String>,
    variables: BTreeMap<String, String>,
    /// Contents of files, by path.
    texts: BTreeMap<PathBuf, String>,
    /// Error output of programs that fail.
    complaint: String,
}

impl Probe for Fake {
    fn exists(&self, path: &Path) -> bool {
        self.files.iter().chain(&self.path).any(|file| file.starts_with(path))
    }

    fn entries(&self, path: &Path) -> Vec<PathBuf> {
        let below = |file: &PathBuf| Some(path.join(file.strip_prefix(path).ok()?.iter().next()?));
        self.files.iter().filter_map(below).collect()
    }

    fn text(&self, path: &Path) -> Option<String> {
        self.texts.get(path).cloned()
    }

    fn resolved(&self, path: &Path) -> Option<PathBuf> {
        // Like rustup with its proxies.
        let is_rustups = path.starts_with("/home/u/.cargo/bin");
        let resolved = if is_rustups { path.with_file_name("rustup") } else { path.to_owned() };
        self.exists(&resolved).then_some(resolved)
    }

    fn directory(&self) -> PathBuf {
        "/home/u/project".into()
    }

    fn cargo_home(&self) -> Option<PathBuf> {
        Some("/home/u/.cargo".into())
    }

    fn output(&self, program: &Path, args: &[&str]) -> Option<String> {
        self.answers.get(&format!("{} {}", program.display(), args.join(" "))).cloned()
    }

    fn error_output(&self, _: &Path, _: &[&str]) -> Option<String> {
        Some(self.complaint.clone())
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

    fn text_file(mut self, path: &str, text: &str) -> Self {
        self.texts.insert(path.into(), text.into());
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    fn rustc(self, rustc: &str, sysroot: &str) -> Self {
        self.answer(&format!("{rustc} --print sysroot"), &format!("{sysroot}\n"))
    }

    /// rustup with a toolchain that has only the host's target, with its rust-lld.
    fn rustup(self) -> Self {
        self.program("/home/u/.cargo/bin/cargo")
            .program("/home/u/.cargo/bin/rustc")
            .program("/home/u/.cargo/bin/rustup")
            .rustc("/home/u/.cargo/bin/rustc", RUSTUP_ROOT)
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
        self.program("/usr/bin/apt-get")
            .program("/usr/bin/cargo")
            .program("/usr/bin/rustc")
            .rustc("/usr/bin/rustc", "/usr")
    }

    fn debian_sources(self) -> Self {
        self.file("/usr/lib/rustlib/src/rust/library/Cargo.toml")
    }

    fn lld(self, name: &str) -> Self {
        self.program(&format!("/usr/bin/{name}"))
    }
}

/// Returns the cargo call in one line: variables, program, arguments.
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
    let chip = ChipDb::embedded().find("esp32c3").unwrap();
    let found = match find_rust(chip, ChipDb::embedded(), &machine) {
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
        Ok(find_rust(ChipDb::embedded().find("esp32c3").unwrap(), ChipDb::embedded(), &m)?.linker)
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

/// The files are read directly, without querying cargo.
#[test]
fn the_users_own_linker_stands() {
    let cfgs = format!("/usr/bin/rustc --print cfg --target {TARGET}");
    let machine = || {
        let machine = Fake::default().debian().debian_sources().lld("ld.lld-19");
        machine.answer(&cfgs, "target_arch=\"riscv32\"\ntarget_os=\"none\"\n")
    };
    let project = "/home/u/project/.cargo/config.toml";
    let with = |config: &str| machine().text_file(project, config);
    let own = "RUSTC_BOOTSTRAP=1 /usr/bin/cargo --target TARGET -Zbuild-std=core,alloc";
    let named = format!("[target.{TARGET}]\nlinker = \"mine\"\n");
    let by_cfg = "[target.'cfg(target_arch=\"riscv32\")']\nlinker = \"mine\"\n";
    check(machine().variable("CARGO_TARGET_RISCV32IMC_UNKNOWN_NONE_ELF_LINKER", "mine"), own);
    for config in [&named, by_cfg] {
        check(with(config), own);
        for file in [
            "/home/u/project/.cargo/config",
            "/home/u/.cargo/config.toml",
            "/home/.cargo/config.toml",
            "/.cargo/config.toml",
        ] {
            check(machine().text_file(file, config), own);
        }
    }

    let ours = DEBIAN_LINE.strip_prefix("RUSTC=/usr/bin/rustc ").unwrap();
    for other in [
        "[target.'cfg(target_arch=\"xtensa\")']\nlinker = \"mine\"\n",
        "[target.x86_64-unknown-linux-gnu]\nlinker = \"mold\"\n",
        "[target.riscv32imc-unknown-none-elf]\nrunner = \"esplice run\"\n",
        "[target.'not a platform(']\nlinker = \"mine\"\n",
        "[target]\nriscv32imc-unknown-none-elf = 1\n",
        "target = 1\n",
        "",
    ] {
        check(with(other), ours);
    }
    check(machine().text_file("/home/v/.cargo/config.toml", &named), ours);
}

#[test]
fn the_nearest_of_several_linkers_is_told_and_a_name_stands_over_a_cfg() {
    let machine = || {
        let cfgs = format!("/usr/bin/rustc --print cfg --target {TARGET}");
        Fake::default().debian().debian_sources().answer(&cfgs, "target_arch=\"riscv32\"\n")
    };
    let named = |linker: &str| format!("[target.{TARGET}]\nlinker = \"{linker}\"\n");
    let by_cfg = "[target.'cfg(target_arch=\"riscv32\")']\nlinker = \"by-cfg\"\n";
    let linker = |machine: Fake| {
        find_rust(ChipDb::embedded().find("esp32c3").unwrap(), ChipDb::embedded(), &machine)
            .unwrap()
            .user_linker
    };
    let near = "/home/u/project/.cargo/config.toml";
    let far = "/home/u/.cargo/config.toml";
    for (config, home, expected) in [
        (named("near"), named("far"), "near"),
        (by_cfg.to_owned(), named("far"), "far"),
        (format!("{by_cfg}{}", named("near")), String::new(), "near"),
        (by_cfg.to_owned(), String::new(), "by-cfg"),
    ] {
        let machine = machine().text_file(near, &config).text_file(far, &home);
        assert_eq!(linker(machine).as_deref(), Some(expected), "{config}");
    }
}

/// Configurations that only cargo can interpret.
#[test]
fn cargo_is_asked_where_its_files_include_others() {
    let ask = "/usr/bin/cargo -Zunstable-options config get --format json-value target";
    let ask_build = "/usr/bin/cargo -Zunstable-options config get --format json-value build.target";
    let machine = |config: &str, answer: &str| {
        let machine = Fake::default().debian().debian_sources().lld("ld.lld-19");
        machine.text_file("/home/u/project/.cargo/config.toml", config).answer(ask, answer)
    };
    let own = "RUSTC_BOOTSTRAP=1 /usr/bin/cargo --target TARGET -Zbuild-std=core,alloc";
    let ours = DEBIAN_LINE.strip_prefix("RUSTC=/usr/bin/rustc ").unwrap();
    let answer = format!(r#"{{"{TARGET}":{{"linker":"mine"}}}}"#);
    check(machine("include = \"other.toml\"\n", &answer), own);
    check(machine("no toml", &answer), own);
    for other in ["[]", "", "{}", r#"{"x86_64-unknown-linux-gnu":{"linker":"mold"}}"#] {
        check(machine("include = \"other.toml\"\n", other), ours);
    }
    check(machine("", &answer), ours);
    let other = machine("no toml", "{}").answer(ask_build, "\"riscv32imac-unknown-none-elf\"");
    let error = find_rust(ChipDb::embedded().find("esp32c3").unwrap(), ChipDb::embedded(), &other)
        .unwrap_err();
    assert!(error.to_string().starts_with("cargo's configuration builds for"), "{error}");
}

/// Saves a process for each build.
#[test]
fn a_compiler_that_lies_in_its_sysroot_is_not_asked_for_it() {
    let silent = |machine: Fake| Fake { answers: BTreeMap::new(), ..machine };
    let machine = || silent(Fake::default().debian().debian_sources().lld("ld.lld-19"));
    check(machine(), DEBIAN_LINE.strip_prefix("RUSTC=/usr/bin/rustc ").unwrap());
    // Next to rustup it may be a proxy, as a hard link.
    let beside = machine().program("/usr/bin/rustup");
    assert!(
        find_rust(ChipDb::embedded().find("esp32c3").unwrap(), ChipDb::embedded(), &beside)
            .is_err()
    );
}

#[test]
fn the_users_rustc_is_asked() {
    let machine = Fake::default().rustup().variable("RUSTC", "/opt/rust/bin/rustc");
    check(
        machine
            .rustc("/opt/rust/bin/rustc", "/opt/rust")
            .file(&format!("/opt/rust/lib/rustlib/{TARGET}/lib/libcore.rlib"))
            .file("/opt/rust/lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld"),
        "/home/u/.cargo/bin/cargo --target TARGET",
    );
}

#[test]
fn a_path_with_quotes_is_still_one_toml_string() {
    let machine = Fake::default().debian().debian_sources();
    let found = find_rust(
        ChipDb::embedded().find("esp32c3").unwrap(),
        ChipDb::embedded(),
        &machine.program(r#"/opt/a "b" \c/ld.lld-19"#),
    )
    .unwrap();
    let last = found.arguments().pop().unwrap();
    assert_eq!(
        last.to_str().unwrap(),
        format!(r#"target.{TARGET}.linker="/opt/a \"b\" \\c/ld.lld-19""#)
    );
}

/// Upstream compilers list the target and have its library's sources, but cannot generate code for
/// it.
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
    for chip in ChipDb::embedded().chips() {
        let machine = xtensa(chip, both.clone(), "    esp32\n    esp8266\n");
        match (&chip.toolchain.rust_install, find_rust(chip, ChipDb::embedded(), &machine)) {
            (Some(command), Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::ToolchainMissing);
                assert!(error.to_string().contains(&chip.toolchain.rust_target), "{error}");
                assert!(error.hint().unwrap().contains(command), "{error}: {:?}", error.hint());
                let cpu = format!("    {}\n", chip.toolchain.rust_processors[0]);
                let found =
                    find_rust(chip, ChipDb::embedded(), &xtensa(chip, both.clone(), &cpu)).unwrap();
                assert_eq!(found.rustc, Path::new("/home/u/.cargo/bin/rustc"));
                assert_eq!(found.build_std, ["core", "alloc"]);
            }
            (None, Ok(_)) => {}
            (_, found) => panic!("{}: {found:?}", chip.name),
        }
    }
}

const CONFIG: &str = "/home/u/project/.cargo/config.toml";

/// A toolchain pinned by the project is the only one used to build it.
#[test]
fn a_pinned_toolchain_is_not_replaced() {
    let file = "[toolchain]\nchannel = \"nightly-2024-06-01\"\n";
    let others = || Fake::default().debian().debian_sources().lld("ld.lld-19");
    for (name, text) in [("rust-toolchain.toml", file), ("rust-toolchain", "nightly-2024-06-01\n")]
    {
        for directory in ["/home/u/project", "/home/u"] {
            let path = format!("{directory}/{name}");
            let pinned = |machine: Fake| machine.text_file(&path, text);
            let mut machine = pinned(Fake::default().rustup());
            machine.path.extend(others().path);
            machine.files.extend(others().files);
            machine.answers.extend(others().answers);
            // The toolchain is installed, with or without the target.
            check(machine.clone().rustup_target(), "/home/u/.cargo/bin/cargo --target TARGET");
            check(
                machine.clone(),
                "no Rust toolchain here can build for TARGET\n\
                 run `rustup target add --toolchain nightly-2024-06-01 TARGET`",
            );
            // The toolchain is not installed.
            machine.answers.retain(|question, _| !question.starts_with("/home/u"));
            machine.complaint = "info: syncing\nerror: toolchain 'nightly-2024-06-01' is not \
                                 installed\nhelp: run rustup\n"
                .into();
            check(
                machine,
                &format!(
                    "{path} asks for the toolchain nightly-2024-06-01: toolchain \
                     'nightly-2024-06-01' is not installed\n\
                     run `rustup toolchain install nightly-2024-06-01`"
                ),
            );
        }
    }
    // A cargo that is not rustup's ignores such files.
    let plain = others().text_file("/home/u/project/rust-toolchain.toml", file);
    check(plain, DEBIAN_LINE.strip_prefix("RUSTC=/usr/bin/rustc ").unwrap());
}

#[test]
fn the_projects_own_target_is_respected() {
    let other = "riscv32i-unknown-none-elf";
    let with = |config: &str| Fake::default().rustup().rustup_sources().text_file(CONFIG, config);
    let build = format!("[build]\ntarget = \"{other}\"\n");
    let own = format!("RUSTC_BOOTSTRAP=1 /home/u/.cargo/bin/cargo --target {other}");
    check(with(&build), &format!("{own} -Zbuild-std=core,alloc"));
    check(with(&format!("{build}[unstable]\nbuild-std = [\"core\"]\n")), &own);
    let installed = format!("{RUSTUP_ROOT}/lib/rustlib/{other}/lib/libcore.rlib");
    let plain = format!("/home/u/.cargo/bin/cargo --target {other}");
    check(with(&build).file(&installed), &plain);
    // The file is relative to the project, and the variable overrides it.
    check(
        with("[build]\ntarget = \"boards/mine.json\"\n[unstable]\nbuild-std = [\"core\"]\n"),
        "RUSTC_BOOTSTRAP=1 /home/u/.cargo/bin/cargo --target /home/u/project/boards/mine.json",
    );
    let variable = with("[build]\ntarget = \"riscv32imac-unknown-none-elf\"\n")
        .variable("CARGO_BUILD_TARGET", other)
        .file(&installed);
    check(variable, &plain);
    check(
        with("[build]\ntarget = \"riscv32imac-unknown-none-elf\"\n"),
        "/home/u/project/.cargo/config.toml builds for riscv32imac-unknown-none-elf, and the \
         ESP32-C3 runs TARGET\n\
         set it to TARGET, or pass the chip that the project is for with --target",
    );
    // The nearest file wins.
    let far = "[build]\ntarget = \"riscv32imac-unknown-none-elf\"\n";
    let near = with(&build).text_file("/home/u/.cargo/config.toml", far).file(&installed);
    check(near, &plain);
}

#[test]
fn a_project_with_std_is_built_where_its_tools_are() {
    let target = "riscv32imc-esp-espidf";
    let config = format!(
        "[build]\ntarget = \"{target}\"\n[target.{target}]\nlinker = \"ldproxy\"\n\
         [unstable]\nbuild-std = [\"std\", \"panic_abort\"]\n"
    );
    let with = |machine: Fake| machine.text_file(CONFIG, &config);
    let whole = || Fake::default().rustup().rustup_sources().program("/home/u/.cargo/bin/ldproxy");
    let line = format!("RUSTC_BOOTSTRAP=1 /home/u/.cargo/bin/cargo --target {target}");
    check(with(whole()), &line);
    let bare = config.replace("[unstable]\nbuild-std = [\"std\", \"panic_abort\"]\n", "");
    let no_list = whole().text_file(CONFIG, &bare);
    check(no_list, &format!("{line} -Zbuild-std=std,panic_abort"));

    let refused = |what: &str, how: &str| {
        format!(
            "a project with the standard library ({target} in {CONFIG}) needs {what}\nrun {how}; \
             \"The Rust on ESP Book\" lists what else ESP-IDF needs"
        )
    };
    // Neither Debian's compiler nor an installed bare-metal target is accepted.
    let machine = Fake::default().rustup().rustup_sources().debian().debian_sources();
    check(with(machine), &refused("ldproxy", "`cargo install ldproxy`"));
    let machine = Fake::default().rustup().rustup_target().debian().debian_sources();
    check(
        with(machine.lld("ld.lld-19")),
        &refused(
            "Rust with the sources of its library, and ldproxy",
            "`rustup toolchain install nightly --component rust-src`, and `cargo install ldproxy`",
        ),
    );
    let no_linker = format!("[build]\ntarget = \"{target}\"\n");
    check(
        whole().text_file(CONFIG, &no_linker),
        &refused(
            "a linker for riscv32imc-esp-espidf in .cargo/config.toml",
            "`cargo install ldproxy`",
        ),
    );
}
