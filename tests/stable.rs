//! Tests layout-stable links of real firmware with the installed linker: what they keep, what they
//! cost, and that nothing else differs. These tests compile firmware, into a directory that is kept
//! between runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use crate::support::{self, Said, finish, repository};
use esplice_monitor::Symbols;
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

/// A copy of a project for editing, and the results of its builds.
struct Project {
    directory: tempfile::TempDir,
    /// Where its last crate is compiled; the other crates are shared with the other tests.
    target: PathBuf,
    /// Additional variables for cargo.
    variables: Vec<(&'static str, &'static str)>,
}

impl Project {
    fn copy_of(example: &str, settings: &str) -> Project {
        let directory = tempfile::tempdir().unwrap();
        copy(&repository().join(example), &directory.path().join("project"));
        let file = directory.path().join("project/esplice.toml");
        let own = fs::read_to_string(&file).unwrap_or_default();
        fs::write(&file, format!("{own}\n{settings}")).unwrap();
        let target = support::toolchain::firmware_target();
        Project { directory, target, variables: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn esplice(&self, words: &str) -> Said {
        let mut command = support::esplice(self.directory.path());
        command.env("CARGO_TARGET_DIR", &self.target);
        command.envs(self.variables.iter().copied());
        finish(command.args(words.split_whitespace()))
    }

    /// Builds the project as NAME.bin and the files next to it.
    fn build(&self, name: &str, flags: &str) -> Said {
        let words = format!("build project --target=esp32c3 --output {name}.bin {flags}");
        self.esplice(&words).check(0, &[])
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.path("project").join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from:?} is in {file}");
        fs::write(&path, text.replace(from, to)).unwrap();
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Returns the firmware's output up to `expect`, without the bootloader's, which contains
    /// lengths and times.
    fn says(&self, name: &str, expect: &str) -> String {
        let words = format!("run --elf {name}.elf --port sim:esp32c3 --timeout 10s --expect");
        let mut command = support::esplice(self.directory.path());
        let said = finish(command.args(words.split_whitespace()).arg(expect)).check(0, &[]);
        let (_, own) = said.out.rsplit_once("Loaded app from partition").expect("the app booted");
        own.to_owned()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Returns the number of sectors of 4096 bytes in which two images differ.
fn sectors(old: &[u8], new: &[u8]) -> usize {
    let total = old.len().max(new.len()).div_ceil(4096);
    let sector = |bytes: &[u8], n: usize| bytes.chunks(4096).nth(n).map(<[u8]>::to_vec);
    (0..total).filter(|n| sector(old, *n) != sector(new, *n)).count()
}

/// Returns the names of symbols, and whether they are variables, without labels that the compiler
/// numbers and the blocks into which it merges variables by default.
fn names(elf: &[u8]) -> BTreeMap<String, bool> {
    let file = object::File::parse(elf).unwrap();
    let named = file.symbols().map(|symbol| {
        let is_variable = symbol.kind() == object::SymbolKind::Data;
        (symbol.name().unwrap().to_owned(), is_variable)
    });
    let label = |name: &str| {
        ["$", ".L0 ", ".Lpcrel", ".LBB", ".L_MergedGlobals", "L_MergedGlobals"]
            .iter()
            .any(|l| name.starts_with(l))
    };
    named.filter(|(name, _)| !label(name)).collect()
}

/// Returns sections with their types and flags, except the merge flags (SHF_MERGE, SHF_STRINGS).
fn attributes(elf: &[u8]) -> Vec<String> {
    let file = object::File::parse(elf).unwrap();
    let told = |section: object::Section<'_, '_>| {
        let object::SectionFlags::Elf { sh_flags, sh_type, .. } = section.flags() else { panic!() };
        format!("{} {sh_type:?} {:#x}", section.name().unwrap(), sh_flags.0 & !0x30)
    };
    file.sections().map(told).collect()
}

/// Returns the symbols at the start or end of each section, without those of the code, such as
/// `_bss_start` and `_stack_end`, as the linker script defines them.
fn boundaries(elf: &[u8]) -> BTreeMap<String, BTreeSet<String>> {
    let file = object::File::parse(elf).unwrap();
    let loaded = |section: &object::Section<'_, '_>| {
        let object::SectionFlags::Elf { sh_flags, .. } = section.flags() else { panic!() };
        sh_flags.0 & 2 != 0 && section.size() > 0
    };
    let sections: Vec<_> = file.sections().filter(loaded).collect();
    let ends_so = |name: &str| name.ends_with("_start") || name.ends_with("_end");
    let named = file.symbols().filter(|symbol| symbol.name().is_ok_and(ends_so));
    let described = named.map(|symbol| {
        let mut places = BTreeSet::new();
        for section in &sections {
            let (name, start) = (section.name().unwrap(), section.address());
            if symbol.address() == start {
                places.insert(format!("start of {name}"));
            }
            if symbol.address() == start + section.size() {
                places.insert(format!("end of {name}"));
            }
        }
        (symbol.name().unwrap().to_owned(), places)
    });
    described.filter(|(name, places)| name != "_start" && !places.is_empty()).collect()
}

/// Returns the address of a symbol.
fn address(elf: &[u8], name: &str) -> u64 {
    let file = object::File::parse(elf).unwrap();
    let found = file.symbols().find(|symbol| symbol.name() == Ok(name));
    found.unwrap_or_else(|| panic!("no {name}")).address()
}

/// Returns random addresses in functions that have the same length in both ELFs, by xorshift
/// (Marsaglia, Xorshift RNGs).
fn drawn(old: &[u8], new: &[u8], count: usize) -> Vec<(u64, u64)> {
    let functions = |elf: &[u8]| -> BTreeMap<String, (u64, u64)> {
        let file = object::File::parse(elf).unwrap();
        let text = file.symbols().filter(|s| s.kind() == object::SymbolKind::Text && s.size() > 0);
        text.map(|s| (s.name().unwrap().to_owned(), (s.address(), s.size()))).collect()
    };
    let (old, new) = (functions(old), functions(new));
    let both: Vec<(u64, u64, u64)> = old
        .iter()
        .filter_map(|(name, (addr, len))| {
            let (to, to_len) = new.get(name)?;
            (len == to_len).then_some((*addr, *to, *len))
        })
        .collect();
    assert!(both.len() > 50, "{} functions", both.len());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    (0..count)
        .map(|_| {
            let (from, to, len) = both[draw(both.len() as u64) as usize];
            let offset = draw(len) & !1;
            (from + offset, to + offset)
        })
        .collect()
}

/// Checks that the normal and the stable link have the same symbols, attributes, lines and output.
#[track_caller]
fn same_but_for_addresses(project: &Project, expect: &str) {
    let (normal, stable) = (project.bytes("normal.elf"), project.bytes("stable.elf"));
    let (before, after) = (names(&normal), names(&stable));
    for name in before.keys() {
        assert!(after.contains_key(name), "no {name}");
    }
    // Variables that are no longer merged have symbols of their own.
    for (name, is_variable) in &after {
        assert!(before.contains_key(name) || *is_variable, "{name} is new");
    }
    assert_eq!(attributes(&normal), attributes(&stable));
    let (before, after) = (boundaries(&normal), boundaries(&stable));
    assert!(before.len() >= 6, "{before:#?}");
    for (name, places) in &before {
        let now = after.get(name).unwrap_or_else(|| panic!("{name} is at no section's end"));
        assert!(places.intersection(now).next().is_some(), "{name}: {places:?}, {now:?}");
    }
    // The stack guard is at the same distance from its end, and the vectors are where the CPU
    // expects them.
    for elf in [&normal, &stable] {
        assert_eq!(address(elf, "__stack_chk_guard") - address(elf, "_stack_end"), 60);
        assert_eq!(address(elf, "_vector_table") % 256, 0);
    }
    let (before, after) =
        (Symbols::from_elf(&normal).unwrap(), Symbols::from_elf(&stable).unwrap());
    for (old, new) in drawn(&normal, &stable, 1000) {
        let lines = |symbols: &Symbols<'_>, addr| {
            let frames = symbols.frames(addr).into_iter();
            frames.map(|frame| format!("{frame:?}")).collect::<Vec<_>>()
        };
        assert_eq!(lines(&before, old), lines(&after, new), "{old:#x} and {new:#x}");
    }
    assert_eq!(project.says("normal", expect), project.says("stable", expect));
}

/// Returns the records in a target directory that belong to the ELF called `hello…`.
fn records(target: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![target.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let cargos = ["deps", "build", ".fingerprint", "incremental"].contains(&name.as_str());
            if path.is_dir() && !cargos {
                open.push(path);
            } else if name.starts_with("hello") && name.ends_with(".stable") {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn heap_and_arenas_are_laid_out_along() {
    let settings = "[layout.stable-room]\ncode = 16\n";
    let project = Project::copy_of("examples/arenas-rust", settings);
    let expect = r"all is where it should be\r\n";
    // Its build script finds the crate through a path.
    let crates = repository().join("crates");
    project.edit("Cargo.toml", "../../crates", &crates.to_string_lossy());
    project.build("normal", "");
    project.build("stable", "--fresh");
    for elf in ["normal.elf", "stable.elf"] {
        project.esplice(&format!("layout check project --elf {elf}")).check(0, &[]);
    }
    let says = |name| project.says(name, expect);
    // Addresses of arenas depend on the length of what precedes them.
    let words = |text: String| {
        let words = text.split_whitespace().filter(|word| !word.starts_with("0x"));
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(words(says("normal")), words(says("stable")));

    let (old, elf) = (project.bytes("stable.bin"), project.bytes("stable.elf"));
    project.edit("src/main.rs", "all is where it should be", "all of it is where it should be");
    project.build("stable", "--stable");
    let differ = sectors(&old, &project.bytes("stable.bin"));
    assert!(differ <= 5, "{differ} sectors");
    project.says("stable", r"all of it is where it should be\r\n");

    fs::write(project.path("old.elf"), elf).unwrap();
    let said = project.esplice("layout diff old.elf stable.elf").check(0, &[]);
    assert!(said.out.contains(&format!("{differ} of ")), "{said:#?}");
    assert!(said.out.contains(", 0 moved, 0 evicted, "), "{said:#?}");
}

/// Without LTO, the objects of each crate are linked, and those of the library from its archive.
#[test]
fn with_thin_lto_and_without_little_moves_too() {
    for lto in ["thin", "off"] {
        let kept = "[layout]\nstable-record = \"kept.stable\"\n";
        let mut project = Project::copy_of("examples/hello-rust", kept);
        project.variables = vec![("CARGO_PROFILE_RELEASE_LTO", lto)];
        let name = project.target.file_name().unwrap().to_string_lossy();
        project.target = project.target.with_file_name(format!("{name}-{lto}"));
        project.build("normal", "");
        project.build("stable", "--stable");
        same_but_for_addresses(&project, r"Hello, World!\r\n");
        let old = project.bytes("stable.bin");
        project.edit("src/main.rs", "Hello, World!", "Hello, World! And all who sail on her.");
        let said = project.build("stable", "--stable");
        assert!(!said.err.contains("warning: l"), "{said:#?}");
        let differ = sectors(&old, &project.bytes("stable.bin"));
        assert!(differ <= 5, "{differ} sectors with lto = {lto}");
        project.says("stable", r"And all who sail on her.\r\n");
    }
}

/// cargo on its own, with `esplice-ld`, a link to esplice, as the linker in its configuration.
#[cfg(unix)]
#[test]
fn plain_cargo_links_through_it() {
    let project = Project::copy_of("tests/firmware/cpu-bound", "");
    let root = project.path("project");
    // Its build script looks for scripts next to it.
    let scripts = repository().join("linker-scripts");
    project.edit("build.rs", "{here}/../../../linker-scripts", &scripts.to_string_lossy());
    let triple = "riscv32imc-unknown-none-elf";
    let config =
        format!("[build]\ntarget = \"{triple}\"\n[target.{triple}]\nlinker = \"esplice-ld\"\n");
    fs::create_dir_all(root.join(".cargo")).unwrap();
    fs::write(root.join(".cargo/config.toml"), config).unwrap();
    let programs = project.path("programs");
    fs::create_dir(&programs).unwrap();
    let esplice = assert_cmd::cargo::cargo_bin!("esplice");
    std::os::unix::fs::symlink(esplice, programs.join("esplice-ld")).unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(programs).chain(std::env::split_paths(&path));
    let path = std::env::join_paths(path).unwrap();

    let sysroot = std::process::Command::new("rustc").args(["--print", "sysroot"]).output();
    let sysroot = String::from_utf8(sysroot.unwrap().stdout).unwrap();
    let has_target = Path::new(sysroot.trim()).join("lib/rustlib").join(triple).exists();
    let target = project.target.with_file_name("plain-cargo");
    let build = || {
        let mut command = std::process::Command::new("cargo");
        command.current_dir(&root).args(["build", "--release"]).env("PATH", &path);
        command.env("CARGO_TARGET_DIR", &target).env_remove("RUSTFLAGS");
        if !has_target {
            command.arg("-Zbuild-std=core").env("RUSTC_BOOTSTRAP", "1");
        }
        let done = command.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let release = target.join(triple).join("release");
        let report = fs::read(release.join("cpu_bound.stable.json")).expect("a report");
        let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
        assert_eq!(report["warning"], serde_json::Value::Null);
        assert!(release.join("cpu_bound.stable").is_file());
        (fs::read(release.join("cpu-bound")).unwrap(), report)
    };
    let _ = fs::remove_dir_all(target.join(triple));
    let (first, report) = build();
    assert_eq!(report["fresh"], true);
    // Makes one function slightly longer.
    project.edit("src/work.rs", "if crc & 1 == 1 {", "if crc & 1 == core::hint::black_box(1) {");
    let (second, report) = build();
    assert_eq!(report["fresh"], false);
    let functions = |elf: &[u8]| -> BTreeMap<String, (u64, u64)> {
        let file = object::File::parse(elf).unwrap();
        let text = file.symbols().filter(|symbol| symbol.kind() == object::SymbolKind::Text);
        let named = text.map(|s| (s.name().unwrap().to_owned(), (s.address(), s.size())));
        named.filter(|(_, (_, len))| *len > 0).collect()
    };
    let (before, after) = (functions(&first), functions(&second));
    assert!(before.len() >= 2 && before != after, "{before:?}");
    let moved = report["moved"].as_array().unwrap();
    for (name, (addr, _)) in &before {
        let Some((now, _)) = after.get(name) else { continue };
        let listed = moved.iter().any(|section| section[0] == format!(".text.{name}"));
        assert!(addr == now || listed, "{name} from {addr:#x} to {now:#x}");
    }
}

/// Tests that depend on the compiler; `scripts/test` runs them with each one.
mod with_each_compiler {
    use super::*;

    #[test]
    fn hello_with_a_longer_string_differs_in_a_few_sectors() {
        let project = Project::copy_of("examples/hello-rust", "");
        // By default only one of them merges variables into blocks, so both are given the option.
        project.build("normal", "");
        // The directory may have the record of an earlier run.
        let said = project.build("stable", "--fresh");
        assert!(!said.out.contains("sectors"), "{said:#?}");
        same_but_for_addresses(&project, r"Hello, World!\r\n");

        let old = project.bytes("stable.bin");
        project.edit("src/main.rs", "Hello, World!", "Hello, World! And all who sail on her.");
        let said = project.build("stable", "--stable");
        let new = project.bytes("stable.bin");
        let differ = sectors(&old, &new);
        assert!(differ <= 5, "{differ} sectors");
        let line = format!(
            "{differ} of {} sectors differ from the last build\n",
            new.len().div_ceil(4096)
        );
        assert!(said.out.ends_with(&line), "{said:#?}");
        assert!(!said.err.contains("warning: l"), "{said:#?}");

        // The same sources with the same record, from the linker on, give the same bytes.
        let records = records(&project.target);
        let kept: Vec<(PathBuf, Vec<u8>)> =
            records.iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        assert!(!kept.is_empty());
        project.edit("src/main.rs", "fn main", "// Only cargo sees this.\nfn main");
        project.edit("src/main.rs", "// Only cargo sees this.\nfn main", "fn main");
        project.build("again", "--stable");
        assert!(project.bytes("again.bin") == new, "linked again");

        // A damaged record: laid out again, with one warning, and the program runs.
        for (path, bytes) in &kept {
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        }
        project.edit("src/main.rs", "And all who sail", "And everyone who sails");
        let said = project.build("stable", "--stable");
        assert_eq!(said.err.matches("warning: ").count(), 1, "{said:#?}");
        assert!(said.err.contains("laid out again: the record of the last link"), "{said:#?}");
        project.says("stable", r"everyone who sails on her.\r\n");
    }
}
