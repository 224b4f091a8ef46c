//! What an edit of the large firmware changes in flash, linked normally and layout-stable.
//!
//! Each kind of edit is made to the same sources, with the record of their link; 20 edits drawn by a seed
//! follow each other, each against the build before it. `ESPLICE_BENCH_LTO` names an LTO mode: `off` (the
//! firmware's own), `thin` or `fat`. Builds last; on a busy machine the seconds mean little, the sectors
//! stay what they are.

// Benchmarks are the one place that measures the host's time.
#![allow(clippy::disallowed_methods)]

mod support;

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use object::{Object as _, ObjectSection as _};
use support::workspace;

/// File, what stands there, and what takes its place.
type Change = (&'static str, &'static str, &'static str);

const STRING: Change = (
    "src/main.rs",
    "\"large: all tasks started\"",
    "\"large: all of the tasks are started now, and this is a longer line\"",
);
const BRANCH: Change = (
    "src/sensors.rs",
    "    if value < -20.0 {",
    "    if value > 90.0 && value < 95.0 {\n        return Level::Good;\n    }\n    if value < -20.0 {",
);
const FUNCTION: Change = (
    "src/sensors.rs",
    "fn level_of(value: f32) -> Level {",
    "#[inline(never)]\nfn bend(x: f32) -> f32 {\n    100.0 * (x + 0.02 * x * x - 0.004 * x * x * x)\n}\n\n\
     fn level_of(value: f32) -> Level {\n    let value = bend(value / 100.0);",
);
const DEPENDENCY: Change = (
    "src/wifi.rs",
    "    loop {\n",
    "    loop {\n        print!(\"wifi: {} s\\r\\n\", embassy_time::Instant::now().as_secs());\n",
);
const VENDOR: Change = (
    "src/wifi.rs",
    "    loop {\n",
    "    if let Ok(rssi) = controller.rssi() {\n        print!(\"wifi: {rssi}\\r\\n\");\n    }\n    loop {\n",
);
const COMMENT: Change =
    ("src/wifi.rs", "//! Scans for", "//! One line more.\n//! And another.\n//! Scans for");
const STATIC: Change = (
    "src/sensors.rs",
    "        let raw = self.next_raw();",
    "        use core::sync::atomic::{AtomicU32, Ordering};\n\
     static READ: AtomicU32 = AtomicU32::new(0);\n\
     READ.store(READ.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);\n\
     let raw = self.next_raw();",
);

const KINDS: &[(&str, &[Change])] = &[
    ("longer string", &[STRING]),
    ("constant of the same size", &[("src/main.rs", "from_millis(100)", "from_millis(120)")]),
    ("new branch", &[BRANCH]),
    ("new function and caller", &[FUNCTION]),
    ("first use of a dependency's function", &[DEPENDENCY]),
    ("first use of a vendor library's function", &[VENDOR]),
    ("comment lines on top", &[COMMENT]),
    ("new static and its use", &[STATIC]),
    (
        "version bump",
        &[
            ("Cargo.toml", "version = \"0.1.0\"", "version = \"0.1.1\""),
            (
                "Cargo.lock",
                "name = \"large\"\nversion = \"0.1.0\"",
                "name = \"large\"\nversion = \"0.1.1\"",
            ),
        ],
    ),
    ("six at once", &[STRING, BRANCH, DEPENDENCY, VENDOR, COMMENT, STATIC]),
];

const SOURCES: &[&str] = &["src/main.rs", "src/report.rs", "src/sensors.rs", "src/wifi.rs"];
const DRAWN: usize = 20;

fn main() {
    let bench = Bench::new();
    let normal = bench.build("normal", false);
    let base = bench.build("stable", true);
    let record = fs::read(bench.record()).expect("a record was written");
    let growth = base.image.len() as f64 / normal.image.len() as f64 * 100.0 - 100.0;
    println!(
        "image {} -> {} bytes ({growth:+.2} %), RAM {:+} bytes; record of {} bytes\n",
        normal.image.len(),
        base.image.len(),
        i64::from(base.ram) - i64::from(normal.ram),
        record.len()
    );

    println!("| edit | normal link | stable link | image grows | links | seconds |");
    println!("|---|---|---|---|---|---|");
    for (kind, changes) in KINDS {
        bench.restore();
        for change in *changes {
            bench.change(change);
        }
        let edited = bench.build("normal", false);
        fs::write(bench.record(), &record).expect("there is room");
        let stable = bench.build("stable", true);
        println!(
            "| {kind} | {} | {} of {} | {} | {} | {:.2} |",
            sectors(&normal.image, &edited.image),
            sectors(&base.image, &stable.image),
            stable.image.len().div_ceil(4096),
            stable.image.len() as i64 - base.image.len() as i64,
            stable.links,
            stable.seconds
        );
    }

    bench.restore();
    fs::write(bench.record(), &record).expect("there is room");
    let mut last = bench.build("stable", true);
    let mut drawn = Drawn(0x9e37_79b9_7f4a_7c15);
    let mut counts = Vec::new();
    for number in 0..DRAWN {
        bench.draw(&mut drawn, number);
        let next = bench.build("stable", true);
        counts.push(sectors(&last.image, &next.image));
        last = next;
    }
    let in_order = counts.clone();
    counts.sort_unstable();
    println!(
        "\n{DRAWN} drawn edits, one after the other: median {}, worst {} sectors {in_order:?}; image {:+} bytes",
        counts[DRAWN / 2],
        counts[DRAWN - 1],
        last.image.len() as i64 - base.image.len() as i64,
    );
}

/// A copy of the firmware that is edited.
struct Bench {
    directory: PathBuf,
}

struct Built {
    image: Vec<u8>,
    /// Bytes of RAM before the stack.
    ram: u32,
    links: u64,
    seconds: f64,
}

impl Bench {
    fn new() -> Bench {
        let bench = Bench { directory: workspace().join("target/firmware/bench-stable") };
        let project = bench.project();
        fs::create_dir_all(project.join("src")).expect("there is room");
        fs::create_dir_all(project.join(".cargo")).expect("there is room");
        let toml = "[project]\ntarget = \"esp32c3\"\n[layout]\nstable-record = \"large.stable\"\n";
        fs::write(project.join("esplice.toml"), toml).expect("there is room");
        let _ = fs::remove_file(bench.record());
        bench.restore();
        bench
    }

    fn project(&self) -> PathBuf {
        self.directory.join("project")
    }

    fn record(&self) -> PathBuf {
        self.project().join("large.stable")
    }

    /// The sources as they are in the repository.
    fn restore(&self) {
        let files = SOURCES.iter().chain(&["Cargo.toml", "Cargo.lock", ".cargo/config.toml"]);
        for file in files {
            let from = workspace().join("tests/firmware/large").join(file);
            let (to, text) = (self.project().join(file), fs::read(from).expect("it is there"));
            if fs::read(&to).is_ok_and(|there| there == text) {
                continue;
            }
            fs::write(to, text).expect("there is room");
        }
    }

    fn change(&self, (file, from, to): &Change) {
        let path = self.project().join(file);
        let text = fs::read_to_string(&path).expect("it is text");
        assert!(text.contains(from), "{from:?} is in {file}");
        fs::write(path, text.replacen(from, to, 1)).expect("there is room");
    }

    /// Puts a statement at the start of a function.
    fn draw(&self, drawn: &mut Drawn, number: usize) {
        let mut places = Vec::new();
        for file in SOURCES {
            let text = fs::read_to_string(self.project().join(file)).expect("it is text");
            for (at, line) in text.lines().enumerate() {
                let starts = line.trim_start();
                let named = ["fn ", "pub fn ", "async fn ", "pub async fn "];
                if line.ends_with('{') && named.iter().any(|start| starts.starts_with(start)) {
                    places.push((*file, at));
                }
            }
        }
        let (file, at) = places[drawn.below(places.len())];
        let value = drawn.below(1 << 20);
        let statement = match drawn.below(4) {
            0 => format!("esp_println::print!(\"edit {number} says {value}\\r\\n\");"),
            1 => format!("if core::hint::black_box({value}) == {number} {{ return; }}"),
            2 => format!("core::hint::black_box([{value}_u32; 6]);"),
            _ => format!("assert!(core::hint::black_box({value}) != {number}, \"edit {number}\");"),
        };
        // A value cannot be left out; such a function gets a loop instead.
        let statement = statement.replace("return;", "core::hint::black_box(0);");
        let path = self.project().join(file);
        let text = fs::read_to_string(&path).expect("it is text");
        let mut lines: Vec<&str> = text.lines().collect();
        lines.insert(at + 1, &statement);
        fs::write(path, lines.join("\n") + "\n").expect("there is room");
    }

    fn build(&self, name: &str, stable: bool) -> Built {
        let output = self.directory.join(format!("{name}.bin"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_esplice"));
        command.args(["build", "--quiet", "--output"]).arg(&output).arg(self.project());
        command.args(stable.then_some("--stable"));
        let target = self.directory.join("target");
        command.env("CARGO_TARGET_DIR", &target).stdout(Stdio::null());
        if let Some(lto) = std::env::var_os("ESPLICE_BENCH_LTO") {
            command.env("CARGO_PROFILE_RELEASE_LTO", lto);
        }
        let done = command.output().expect("esplice starts");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let elf = fs::read(output.with_extension("elf")).expect("an ELF was written");
        let report = target.join("riscv32imc-unknown-none-elf/release/large.stable.json");
        let report = fs::read(report).unwrap_or_default();
        let report: serde_json::Value = serde_json::from_slice(&report).unwrap_or_default();
        Built {
            image: fs::read(&output).expect("an image was written"),
            ram: ram(&elf),
            links: report["links"].as_u64().unwrap_or_default(),
            seconds: report["seconds"].as_f64().unwrap_or_default(),
        }
    }
}

/// Where the stack ends tells how much of the RAM lies before it.
fn ram(elf: &[u8]) -> u32 {
    let file = object::File::parse(elf).expect("an ELF");
    let stack = file.section_by_name(".stack").expect("esp-hal's stack");
    u32::try_from(stack.address()).expect("32 bits")
}

fn sectors(old: &[u8], new: &[u8]) -> usize {
    let total = old.len().max(new.len()).div_ceil(4096);
    let (mut old, mut new) = (old.chunks(4096), new.chunks(4096));
    (0..total).filter(|_| old.next() != new.next()).count()
}

/// Xorshift (Marsaglia, Xorshift RNGs).
struct Drawn(u64);

impl Drawn {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}
