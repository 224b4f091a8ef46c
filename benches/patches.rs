//! Compares the sizes of patches with those of other programs, for edits of the large firmware.
//!
//! Each kind of edit is made to the original sources, linked normally. Then 20 random edits with a fixed
//! seed follow each other. Each patch is applied and compared. `-- kinds` leaves the random edits
//! out. `-- pair BASE IMAGE` compares two files instead.
//!
//! The peers run as programs: `zstd --patch-from` from the PATH, and bsdiff4 and detools in the
//! Python named by `ESPLICE_BENCH_PEERS`, such as that of a virtual environment. A peer that is not
//! installed is left out.

// Benchmarks are the one place that measures the host's time.
#![allow(clippy::disallowed_methods)]

#[allow(dead_code, reason = "shared with the benchmark of stable links")]
#[path = "stable/edits.rs"]
mod edits;
#[allow(dead_code, reason = "shared with the benchmark of stable links")]
#[path = "stable/project.rs"]
mod project;
mod support;
#[path = "../tests/support/toolchain.rs"]
mod toolchain;

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
    time::Instant,
};

use edits::{Drawn, KINDS};
use esplice_delta::Isa;
use project::{Built, Project};

/// Number of random edits.
const DRAWN: usize = 20;
/// Goals: bytes for the edit of a function, and the share of detools with heatshrink for others.
const GOAL_FUNCTION: usize = 600;
const GOAL_SHARE: f64 = 0.25;
/// Goal for the seconds that a patch takes to make.
const GOAL_SECONDS: f64 = 20.0;

/// Prints the sizes of bsdiff4, detools with heatshrink and detools with LZMA.
const PEERS: &str = "
import io, sys, bsdiff4, detools
base, image = (open(name, 'rb').read() for name in sys.argv[1:3])
def detool(compression):
    patch = io.BytesIO()
    detools.create_patch(io.BytesIO(base), io.BytesIO(image), patch, compression=compression)
    return len(patch.getvalue())
print(len(bsdiff4.diff(base, image)), detool('heatshrink'), detool('lzma'))
";

/// Sizes for one pair; a peer that is not installed has none.
struct Row {
    esplice: usize,
    seconds: f64,
    python: Option<[usize; 3]>,
    zstd: Option<usize>,
}

fn main() -> ExitCode {
    if let Some(code) = project::link_timed() {
        return code;
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    println!(
        "| edit | image | esplice | bsdiff4 | detools, heatshrink | detools, LZMA | zstd | seconds |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut goals = Vec::new();
    if let Some(at) = words.iter().position(|word| word == "pair") {
        let [base, image] = [&words[at + 1], &words[at + 2]].map(Path::new);
        print(&format!("{}", image.display()), base, image, &mut goals);
    } else {
        let project = Project::new("tests/firmware/large", "large");
        let first = project.build("patch-base", false);
        for (number, (kind, changes)) in KINDS.iter().enumerate() {
            project.restore();
            changes.iter().for_each(|change| project.change(change));
            let next = project.build(&format!("patch-{number}"), false);
            let row = print(kind, &first.path, &next.path, &mut goals);
            if *kind == "new function and caller" {
                let len = row.esplice;
                goals.push((len <= GOAL_FUNCTION, format!("{kind}: {len} bytes")));
            }
        }
        if !words.iter().any(|word| word == "kinds") {
            project.restore();
            drawn(&project, first, &mut goals);
        }
    }
    println!();
    for (is_met, goal) in &goals {
        println!("{}: {goal}", if *is_met { "met" } else { "not met" });
    }
    ExitCode::SUCCESS
}

fn drawn(project: &Project, first: Built, goals: &mut Vec<(bool, String)>) {
    let mut last = first;
    let mut drawn = Drawn(0x9e37_79b9_7f4a_7c15);
    for number in 0..DRAWN {
        let (file, _) = edits::draw(&project.path(), &mut drawn, number);
        let next = project.build(&format!("patch-drawn-{number}"), false);
        print(&format!("drawn {number}, {file}"), &last.path, &next.path, goals);
        last = next;
    }
}

fn print(name: &str, base: &Path, image: &Path, goals: &mut Vec<(bool, String)>) -> Row {
    let row = compare(base, image);
    let shown = |size: Option<usize>| size.map_or("–".to_owned(), |size| size.to_string());
    let python = |at: usize| shown(row.python.map(|sizes| sizes[at]));
    println!(
        "| {name} | {} | {} | {} | {} | {} | {} | {:.2} |",
        fs::metadata(image).map_or(0, |file| file.len()),
        row.esplice,
        python(0),
        python(1),
        python(2),
        shown(row.zstd),
        row.seconds,
    );
    if let Some([_, heatshrink, _]) = row.python {
        let share = row.esplice as f64 / heatshrink as f64;
        let text = format!("{name}: {share:.3} of detools with heatshrink, goal {GOAL_SHARE}");
        goals.push((share <= GOAL_SHARE, text));
    }
    if row.seconds > GOAL_SECONDS {
        goals.push((false, format!("{name}: {:.1} s, goal {GOAL_SECONDS} s", row.seconds)));
    }
    row
}

fn compare(base: &Path, image: &Path) -> Row {
    let [old, new] = [base, image].map(|path| fs::read(path).expect("the image is readable"));
    let start = Instant::now();
    let patch = esplice_delta::diff(&old, &new, Isa::RiscV).expect("the patch is made");
    let seconds = start.elapsed().as_secs_f64();
    assert!(esplice_delta::apply(&old, &patch.bytes).as_deref() == Ok(&new[..]));
    Row {
        esplice: patch.bytes.len(),
        seconds,
        python: python(base, image),
        zstd: zstd(base, image),
    }
}

fn python(base: &Path, image: &Path) -> Option<[usize; 3]> {
    let python = std::env::var_os("ESPLICE_BENCH_PEERS")?;
    let output = Command::new(python).args(["-c", PEERS]).args([base, image]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let sizes: Vec<usize> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    sizes.try_into().ok()
}

fn zstd(base: &Path, image: &Path) -> Option<usize> {
    let from = format!("--patch-from={}", base.display());
    let output = Command::new("zstd").args(["-q", "-19", "-c", &from]).arg(image).output().ok()?;
    output.status.success().then_some(output.stdout.len())
}
