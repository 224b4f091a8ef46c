//! Edits that are made to the large firmware.

use std::{fs, path::Path};

/// File, old text, and new text.
pub type Change = (&'static str, &'static str, &'static str);

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

/// The kinds of edits.
pub const KINDS: &[(&str, &[Change])] = &[
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

/// Source files that contain functions.
pub const SOURCES: &[&str] = &["src/main.rs", "src/report.rs", "src/sensors.rs", "src/wifi.rs"];

/// Inserts a random statement at the start of a random function of the project. Returns the file
/// and the statement.
pub fn draw(project: &Path, drawn: &mut Drawn, number: usize) -> (&'static str, String) {
    let mut places = Vec::new();
    for file in SOURCES {
        let text = fs::read_to_string(project.join(file)).expect("the file is UTF-8");
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            // Code of a disabled feature is not part of this firmware.
            let head = lines.get(at.saturating_sub(3)..at).unwrap_or_default();
            if head.iter().any(|line| line.starts_with("#[cfg(feature")) {
                continue;
            }
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
    // A function with a result cannot return early, so it gets a loop instead.
    let statement = statement.replace("return;", "core::hint::black_box(0);");
    let path = project.join(file);
    let text = fs::read_to_string(&path).expect("the file is UTF-8");
    let mut lines: Vec<&str> = text.lines().collect();
    lines.insert(at + 1, &statement);
    fs::write(path, lines.join("\n") + "\n").expect("the disk has space");
    (file, statement)
}

/// Xorshift (Marsaglia, Xorshift RNGs).
pub struct Drawn(pub u64);

impl Drawn {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}
