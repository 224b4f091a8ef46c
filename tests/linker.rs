//! Tests esplice as the linker of small objects, with lld as the real linker: its messages, what it
//! keeps, and that no record can break a link.

// Parts of it are for a linker used only by other tests.

use std::{fs, path::PathBuf};

use crate::{
    objects::{ALLOC, EXEC, Section, archive, function, object, strings, variable},
    support::{self, Said, finish},
};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

/// A script like those of firmware: symbols at the ends of sections and in the middle, and sections
/// that nothing refers to but that are kept.
const SCRIPT: &str = "\
ENTRY(_start)
MEMORY { CODE : ORIGIN = 0x40380000, LENGTH = 64K
         DATA : ORIGIN = 0x3FC90000, LENGTH = 64K }
SECTIONS {
  .trap : ALIGN(256) { _trap_start = ABSOLUTE(.); KEEP(*(.trap)) *(.trap.*) } > CODE
  .text : ALIGN(4) {
    _text_start = .;
    KEEP(*(.init))
    *(.text .text.*)
    _text_middle = .;
    KEEP(*(.late))
    _text_end = .;
  } > CODE
  .rodata : ALIGN(4) { _rodata_start = .; *(.rodata .rodata.*) . = ALIGN(4); _rodata_end = .; } > DATA
  .bss (NOLOAD) : ALIGN(4) { _bss_start = .; *(.bss .bss.*) . = ALIGN(4); _bss_end = .; } > DATA
  /DISCARD/ : { *(.eh_frame) }
}
ASSERT(_bss_end >= _bss_start, \"the end comes first\")
";

/// A directory with the files of a link.
struct Bench {
    directory: tempfile::TempDir,
}

/// An object to link: the length of its function, its text, and its compiler.
struct Source<'a> {
    len: u32,
    text: &'a str,
    compiler: &'a str,
}

const SOURCE: Source<'_> = Source { len: 100, text: "hello", compiler: "rustc version 1.95.0" };

fn raw(name: &str, flags: u32, data: &[u8]) -> Section {
    Section {
        name: name.into(),
        kind: 1,
        flags,
        align: 4,
        data: data.to_vec(),
        ..Section::default()
    }
}

impl Bench {
    fn new(source: &Source<'_>) -> Bench {
        let bench = Bench { directory: tempfile::tempdir().unwrap() };
        bench.write("link.x", SCRIPT.as_bytes());
        bench.compile(source);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn compile(&self, source: &Source<'_>) {
        let texts = [(".La".to_owned(), source.text.to_owned()), (".Lb".into(), "stays".into())];
        let mut start = raw(".init", ALLOC | EXEC, b"\x13\0\0\0\x13\0\0\0");
        start.symbols.push(("_start".into(), 0, true));
        start.refers = vec!["_3app4main".into()];
        let main = object(&[
            function("_3app4main", source.len, 2, &[".La", ".Lb", "helper", "_3app5other"]),
            function("_3app5other", 40, 2, &["_3app5count"]),
            function("_3app6nobody", 64, 2, &[]),
            strings(&texts),
            variable("_3app5count", 4),
            raw(".trap", ALLOC | EXEC, b"a trap vector, kept."),
            raw(".late", ALLOC | EXEC, b"kept as well"),
            start,
            raw(".comment", 0, format!("{}\0", source.compiler).as_bytes()),
        ]);
        let needed = object(&[function("helper", 24, 2, &["state"]), variable("state", 8)]);
        let other = object(&[function("unasked", 100, 2, &[])]);
        self.write("main.o", &main);
        self.write("libx.a", &archive(&[("other.o", other), ("needed.o", needed)]));
    }

    /// Links with `flags` into NAME.
    fn link(&self, name: &str, flags: &str) -> Said {
        let mut command = support::esplice(self.directory.path());
        command.env("PATH", with_lld());
        command.args(flags.split_whitespace());
        command.args([
            "-m",
            "elf32lriscv",
            "--gc-sections",
            "-Tlink.x",
            "main.o",
            "-L",
            ".",
            "-lx",
        ]);
        finish(command.args(["-o", name]))
    }

    fn stable(&self, name: &str, flags: &str) -> Said {
        let own = "--esplice-ld --esplice-own=app --esplice-record=kept.stable";
        self.link(name, &format!("{own} {flags}"))
    }

    /// Links without esplice. Whatever prevents a stable link is reported, and changes nothing
    /// here.
    fn normal(&self, name: &str) -> Said {
        let against = "prevents a stable link";
        self.link(name, "--esplice-ld --icf=safe").check(0, &[against])
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn report(&self, name: &str) -> serde_json::Value {
        serde_json::from_slice(&self.bytes(&format!("{name}.stable.json"))).unwrap()
    }
}

/// Returns the PATH with rustc's own lld in front, as when rustc calls its linker.
fn with_lld() -> std::ffi::OsString {
    let ask = |question: &[&str]| {
        let answer = std::process::Command::new("rustc").args(question).output().unwrap();
        String::from_utf8(answer.stdout).unwrap()
    };
    let host = ask(&["-vV"]);
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let sysroot = PathBuf::from(ask(&["--print", "sysroot"]).trim());
    let own = sysroot.join("lib/rustlib").join(host).join("bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(own).chain(std::env::split_paths(&path))).unwrap()
}

/// Returns the symbols that the script defines at a section's start or end.
fn boundaries(elf: &[u8]) -> Vec<(String, String)> {
    let file = object::File::parse(elf).unwrap();
    let mut all = Vec::new();
    for symbol in file.symbols() {
        let name = symbol.name().unwrap();
        let Some((of, end)) = name.strip_prefix('_').and_then(|name| name.rsplit_once('_')) else {
            continue;
        };
        let Some(section) = file.section_by_name(&format!(".{of}")) else { continue };
        let place = match symbol.address() {
            at if at == section.address() => "start",
            at if at == section.address() + section.size() => "end",
            _ => "within",
        };
        all.push((name.to_owned(), place.to_owned()));
        assert!(end != "start" || place == "start", "{name} is {place} of {of}");
    }
    all.sort();
    all
}

fn section(elf: &[u8], name: &str) -> (u64, Vec<u8>) {
    let file = object::File::parse(elf).unwrap();
    let section = file.section_by_name(name).unwrap();
    (section.address(), section.data().unwrap().to_vec())
}

fn address(elf: &[u8], name: &str) -> Option<u64> {
    let file = object::File::parse(elf).unwrap();
    file.symbols().find(|symbol| symbol.name() == Ok(name)).map(|symbol| symbol.address())
}

#[test]
fn what_the_script_says_holds_as_in_a_normal_link() {
    let bench = Bench::new(&SOURCE);
    bench.normal("normal");
    assert_eq!(bench.stable("fresh", "").check(0, &[]).err, "");
    bench.compile(&Source { len: 120, text: "hello, hello, hello", ..SOURCE });
    assert_eq!(bench.stable("pinned", "").check(0, &[]).err, "");
    let (normal, fresh, pinned) =
        (bench.bytes("normal"), bench.bytes("fresh"), bench.bytes("pinned"));
    assert!(boundaries(&normal).len() >= 8, "{:?}", boundaries(&normal));
    for (name, elf) in [("fresh", &fresh), ("pinned", &pinned)] {
        assert_eq!(boundaries(&normal), boundaries(elf), "{name}");
        // Kept sections are present, at the place that the script defines.
        let (trap, text) = (section(elf, ".trap"), section(elf, ".text"));
        assert_eq!(trap.0 % 256, 0);
        assert!(trap.1.starts_with(b"a trap vector, kept."), "{name}");
        assert_eq!(address(elf, "_start"), Some(text.0), "{name}");
        assert!(text.1.ends_with(b"kept as well"), "{name}");
        // Unused sections are not.
        assert_eq!(address(elf, "_3app6nobody"), None, "{name}");
        assert_eq!(address(elf, "unasked"), None, "{name}");
        let count = |elf| object::File::parse(elf).unwrap().symbols().count();
        assert_eq!(count(&normal[..]), count(&elf[..]), "{name}");
    }
    // The edit moved only what it had to.
    for name in ["_3app4main", "_3app5other", "helper", "_3app5count", "state", "_text_end"] {
        assert_eq!(address(&fresh, name), address(&pinned, name), "{name}");
    }
    let report = bench.report("pinned");
    assert_eq!((&report["fresh"], &report["moved"]), (&false.into(), &serde_json::json!([])));
}

#[test]
fn the_same_sources_and_record_give_the_same_bytes() {
    let bench = Bench::new(&SOURCE);
    bench.stable("first", "").check(0, &[]);
    let record = bench.bytes("kept.stable");
    bench.compile(&Source { len: 400, text: "another", ..SOURCE });
    bench.stable("second", "").check(0, &[]);
    let (elf, next) = (bench.bytes("second"), bench.bytes("kept.stable"));
    bench.write("kept.stable", &record);
    bench.stable("second", "").check(0, &[]);
    assert!(bench.bytes("second") == elf && bench.bytes("kept.stable") == next);
}

#[test]
fn no_record_spoils_a_link() {
    let fresh = |source: &Source<'_>, flags: &str| {
        let bench = Bench::new(source);
        bench.stable("elf", flags).check(0, &[]);
        bench.bytes("elf")
    };
    let edited = Source { len: 130, text: "edited", ..SOURCE };
    let other_compiler = Source { compiler: "rustc version 1.96.0", ..edited };
    type Spoil = fn(&Bench);
    let nothing: Spoil = |_| {};
    let cases: &[(&str, Spoil, &Source<'_>, &str)] = &[
        ("the record has another profile", nothing, &edited, "--esplice-profile=dev"),
        ("the record has another compiler", nothing, &other_compiler, ""),
        ("the record has another settings", nothing, &edited, "--esplice-tail=.text+64"),
        ("the record has another linker options", nothing, &edited, "-z max-page-size=8192"),
        ("it is not a record", |b| b.write("kept.stable", b"hello"), &edited, ""),
        ("it is not a record", |b| b.write("kept.stable", b""), &edited, ""),
        (
            "its checksum is wrong",
            |b| {
                let mut bytes = b.bytes("kept.stable");
                let at = bytes.len() / 2;
                bytes[at] ^= 1;
                b.write("kept.stable", &bytes);
            },
            &edited,
            "",
        ),
        (
            "its checksum is wrong",
            |b| b.write("kept.stable", &b.bytes("kept.stable")[..40]),
            &edited,
            "",
        ),
        (
            "it has version 9",
            |b| {
                let mut bytes = b.bytes("kept.stable");
                bytes[8] = 9;
                b.write("kept.stable", &bytes);
            },
            &edited,
            "",
        ),
    ];
    for (warning, spoil, source, flags) in cases {
        let bench = Bench::new(&SOURCE);
        bench.stable("elf", "").check(0, &[]);
        spoil(&bench);
        bench.compile(source);
        let said = bench.stable("elf", flags).check(0, &["laid out again: ", warning]);
        assert_eq!(said.err.lines().count(), 1, "{said:#?}");
        assert!(bench.bytes("elf") == fresh(source, flags), "{warning}");
        // The next link has a record again.
        assert_eq!(bench.stable("elf", flags).check(0, &[]).err, "");
    }

    // Another script: the same warning, with the layout of this script.
    let bench = Bench::new(&SOURCE);
    bench.stable("elf", "").check(0, &[]);
    bench.write("link.x", SCRIPT.replace("0x40380000", "0x40381000").as_bytes());
    bench.stable("elf", "").check(0, &["the record has another linker script"]);
    assert_eq!(section(&bench.bytes("elf"), ".trap").0, 0x4038_1000);
}

#[test]
fn a_record_of_another_program_pins_nothing_wrongly() {
    let bench = Bench::new(&SOURCE);
    bench.stable("elf", "").check(0, &[]);
    let main = object(&[
        function("_start", 300, 2, &["_9different"]),
        function("_9different", 5000, 16, &["_9big"]),
        variable("_9big", 400),
        raw(".comment", 0, b"rustc version 1.95.0\0"),
    ]);
    bench.write("main.o", &main);
    bench.normal("normal");
    bench.stable("elf", "").check(0, &[]);
    let (normal, elf) = (bench.bytes("normal"), bench.bytes("elf"));
    assert_eq!(boundaries(&normal), boundaries(&elf));
    assert_eq!(address(&elf, "_9different").unwrap() % 16, 0);
}

#[test]
fn what_goes_against_it_is_linked_normally_and_said() {
    let bench = Bench::new(&SOURCE);
    let said = bench.stable("elf", "--emit-relocs");
    said.check(0, &["esplice-ld: warning: linked normally: --emit-relocs prevents a stable link"]);
    assert!(!bench.path("kept.stable").exists());
    bench.write("link.x", SCRIPT.replace("ALIGN(256) {", "SUBALIGN(16) {").as_bytes());
    bench.stable("elf", "").check(0, &["linked normally: the linker script has SUBALIGN"]);
}

#[test]
fn faults_of_the_program_are_told_once_and_by_the_linker() {
    let bench = Bench::new(&SOURCE);
    bench.write("libx.a", &archive(&[("none.o", object(&[variable("none", 4)]))]));
    let said = bench.stable("elf", "").check(1, &[]);
    assert_eq!(said.err.matches("undefined symbol: helper").count(), 1, "{said:#?}");
    assert!(!bench.path("elf").exists() && !bench.path("kept.stable").exists());
}

#[test]
fn arguments_may_stand_in_a_file() {
    let bench = Bench::new(&SOURCE);
    bench.stable("plain", "").check(0, &[]);
    // As rustc does with many arguments: the only argument is a file.
    let words = "--esplice-ld --esplice-own=\"app\"\n--esplice-record=kept.stable -m elf32lriscv\n\
                 --gc-sections -T link.x main.o -L. -lx -o 'file'";
    bench.write("words", words.as_bytes());
    let mut command = support::esplice(bench.directory.path());
    finish(command.env("PATH", with_lld()).arg("@words")).check(0, &[]);
    assert!(bench.bytes("plain") == bench.bytes("file"));
    assert_eq!(bench.report("file")["fresh"], false);
}

#[test]
fn when_gaps_take_too_much_it_is_laid_out_anew_and_said() {
    let bench = Bench::new(&Source { len: 2000, ..SOURCE });
    let linked = |warnings: &[&str]| {
        let said = bench.stable("elf", "--esplice-waste=10").check(0, warnings);
        assert_eq!(said.err.lines().count(), warnings.len(), "{said:#?}");
    };
    linked(&[]);
    // A long function becomes short: the next link finds the gap in the record.
    bench.compile(&Source { len: 100, ..SOURCE });
    linked(&[]);
    linked(&["laid out again: gaps took more than 10 % of the program"]);
    assert_eq!(bench.report("elf")["fresh"], true);
    linked(&[]);
    assert_eq!(bench.report("elf")["fresh"], false);
    // No warning if requested explicitly.
    assert_eq!(bench.stable("elf", "--esplice-waste=10 --esplice-fresh").check(0, &[]).err, "");
    assert_eq!(bench.report("elf")["fresh"], true);
}
