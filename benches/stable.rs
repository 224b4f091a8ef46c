//! Measures what an edit of a firmware changes in flash, linked normally and layout-stable, and the
//! cost.
//!
//! Each kind of edit is made to the original sources of the large firmware, with the record of
//! their link. 20 random edits with a fixed seed follow each other, each compared with the build
//! before it. Then the example's text becomes longer. Each build is also flashed over the one
//! before it, on a virtual board with its own clock, and once by espflash in real time, if it is
//! installed (`ESPLICE_ESPFLASH`). The benchmark ends with the goals that were met.
//! `ESPLICE_BENCH_LTO` selects an LTO mode: `off` (the firmware's own), `thin` or `fat`.
//!
//! `-- drawn` makes only the random edits, `-- kinds` one edit of each kind. Nothing is flashed
//! then, so that it takes a few minutes. Both print the cost of a layout-stable link and the
//! sectors of each edit. After `drawn`, `drawn-N.elf`, `.bin` and `.stable.json` of each edit stay
//! in the directory that it prints last, for comparison with `esplice layout diff`.
//! `scripts/with-toolchain NAME` before the command selects the compiler.
//!
//! The time of a normal link is that of the linker; the time of a stable link includes all work
//! around it. On a busy machine these seconds mean little; sectors and the board's seconds are
//! unaffected.

// Benchmarks are the one place that measures the host's time.
#![allow(clippy::disallowed_methods)]

#[path = "stable/edits.rs"]
mod edits;
#[path = "stable/project.rs"]
mod project;
#[path = "stable/reflash.rs"]
mod reflash;
mod support;
#[path = "../tests/support/toolchain.rs"]
mod toolchain;

use std::{fs, process::ExitCode};

use edits::{Change, Drawn, KINDS};
use project::{Built, Project};
use reflash::Boards;
use support::{Peer, peer};

/// Number of random edits.
const DRAWN: usize = 20;
/// Goals for the sectors that differ after a random edit, median and maximum.
const GOAL_MEDIAN: usize = 5;
const GOAL_WORST: usize = 16;
/// Goal for the sectors that differ in the example with a longer text.
const GOAL_HELLO: usize = 5;
/// Goals for the cost: percent of the image, bytes of RAM, and seconds.
const GOAL_IMAGE: f64 = 2.5;
const GOAL_RAM: i64 = 2560;
const GOAL_SECONDS: f64 = 1.5;

fn main() -> ExitCode {
    if let Some(code) = project::link_timed() {
        return code;
    }
    for word in std::env::args().skip(1) {
        match word.as_str() {
            "drawn" => return drawn_alone(),
            "kinds" => return kinds_alone(),
            _ => {}
        }
    }
    let boards = Boards::new(peer(Peer::Espflash));
    let mut goals = Vec::new();
    large(&boards, &mut goals);
    hello(&mut goals);
    println!();
    for (is_met, goal) in &goals {
        println!("{}: {goal}", if *is_met { "met" } else { "not met" });
    }
    ExitCode::SUCCESS
}

type Goals = Vec<(bool, String)>;

fn large(boards: &Boards, goals: &mut Goals) {
    let project = Project::new("tests/firmware/large", "large");
    let normal = project.build("normal", false);
    let fresh = project.build("stable", true);
    assert!(fresh.report["links"].is_u64(), "linked normally: {}", fresh.report);
    let record = fs::read(project.record()).expect("a record was written");
    let grown = percent(&normal, &fresh);
    let ram = i64::from(fresh.ram) - i64::from(normal.ram);
    println!(
        "image {} -> {} bytes ({grown:+.2} %), RAM {ram:+} bytes; record of {} bytes; link {:.2} s \
         normally, {:.2} s layout-stable for the first time\n",
        normal.image.len(),
        fresh.image.len(),
        record.len(),
        normal.linker.iter().sum::<f64>(),
        fresh.seconds(),
    );
    goals.push((grown <= GOAL_IMAGE, format!("image {grown:+.2} %, goal at most {GOAL_IMAGE} %")));
    goals.push((ram <= GOAL_RAM, format!("RAM {ram:+} bytes, goal at most {GOAL_RAM}")));

    let (said, exit) = boards.says(&normal);
    assert!(said.contains("all tasks started"), "{said}");
    assert_eq!(boards.says(&fresh), (said.clone(), exit));
    println!(
        "both say the same on a virtual board: {} lines, then exit {exit:?}\n",
        said.lines().count()
    );

    let (on_normal, on_stable) = (boards.flashed(&normal), boards.flashed(&fresh));
    let mut added = Vec::new();
    let mut worst = 0;
    println!(
        "| edit | sectors, normal link | stable link | moved | image grows | linker runs | link takes \
         longer by | reflash, normal link | stable link |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (number, (kind, changes)) in KINDS.iter().enumerate() {
        project.restore();
        changes.iter().for_each(|change| project.change(change));
        let edited = project.build("normal-edited", false);
        fs::write(project.record(), &record).expect("the disk has space");
        let stable = project.build("stable-edited", true);
        let longer = stable.seconds() - edited.linker.iter().sum::<f64>();
        added.push(longer);
        let differ = sectors(&fresh.image, &stable.image);
        worst = worst.max(differ);
        println!(
            "| {kind} | {} | {differ} of {} | {} | {} | {} | {longer:.2} s | {:.2} s | {:.2} s |",
            sectors(&normal.image, &edited.image),
            stable.image.len().div_ceil(4096),
            stable.moved(),
            stable.image.len() as i64 - fresh.image.len() as i64,
            stable.linker.len(),
            boards.seconds(&on_normal, &edited),
            boards.seconds(&on_stable, &stable),
        );
        if number == 0 {
            for (name, from, to) in
                [("normal", &on_normal, &edited), ("stable", &on_stable, &stable)]
            {
                if let Some((seconds, behind)) = boards.espflash(from, to) {
                    eprintln!(
                        "espflash, {kind}, {name} link: {seconds:.2} s (host behind by {:.0} ms)",
                        behind * 1e3
                    );
                }
            }
        }
    }
    drawn(&project, &record, boards, &mut worst, &mut added, goals);
    goals.push((
        worst <= GOAL_WORST,
        format!("worst of all edits {worst} sectors, goal at most {GOAL_WORST}"),
    ));
    added.sort_by(f64::total_cmp);
    let (middle, most) = (added[added.len() / 2], added[added.len() - 1]);
    goals.push((
        middle <= GOAL_SECONDS,
        format!("link longer by {middle:.2} s (median; at most {most:.2}), goal {GOAL_SECONDS} s"),
    ));
}

/// Builds the large firmware normally and layout-stable for the first time, and prints the cost.
fn first_builds(project: &Project) -> Built {
    let normal = project.build("normal", false);
    let first = project.build("drawn-start", true);
    assert!(first.report["links"].is_u64(), "linked normally: {}", first.report);
    let (image, ram) = (percent(&normal, &first), i64::from(first.ram) - i64::from(normal.ram));
    println!(
        "image {} -> {} bytes ({image:+.2} %), RAM {ram:+} bytes",
        normal.image.len(),
        first.image.len(),
    );
    first
}

/// Makes one edit of each kind without flashing anything.
fn kinds_alone() -> ExitCode {
    let project = Project::new("tests/firmware/large", "large");
    let first = first_builds(&project);
    let record = fs::read(project.record()).expect("a record was written");
    let mut worst = 0;
    for (kind, changes) in KINDS {
        project.restore();
        changes.iter().for_each(|change| project.change(change));
        fs::write(project.record(), &record).expect("the disk has space");
        let next = project.build("stable-edited", true);
        let differ = sectors(&first.image, &next.image);
        println!("{differ:2} sectors, moved {}: {kind}", next.moved());
        worst = worst.max(differ);
    }
    let met = if worst <= GOAL_WORST { "met" } else { "not met" };
    println!("{met}: worst of each kind {worst} sectors, goal at most {GOAL_WORST}");
    ExitCode::SUCCESS
}

/// Makes the random edits without flashing anything.
fn drawn_alone() -> ExitCode {
    let project = Project::new("tests/firmware/large", "large");
    let first = first_builds(&project);
    let mut counts = Vec::new();
    let _ = draw_all(&project, first, |step| {
        println!(
            "{:2}: {:2} sectors, moved {}, {}: {}",
            step.number,
            step.sectors,
            step.next.moved(),
            step.file,
            step.statement,
        );
        project.keep(&format!("drawn-{}", step.number), &step.next.report);
        counts.push(step.sectors);
    });
    println!("\nsectors {counts:?}");
    counts.sort_unstable();
    let (middle, worst) = (counts[DRAWN / 2], counts[DRAWN - 1]);
    for (reached, goal, name) in [(middle, GOAL_MEDIAN, "median"), (worst, GOAL_WORST, "worst")] {
        let met = if reached <= goal { "met" } else { "not met" };
        println!("{met}: drawn edits {reached} sectors ({name}), goal at most {goal}");
    }
    println!("builds are in {}", project.directory().display());
    ExitCode::SUCCESS
}

/// A random edit that was built.
struct Step<'a> {
    number: usize,
    file: &'static str,
    statement: String,
    /// Number of sectors that differ from the build before it.
    sectors: usize,
    next: &'a Built,
}

/// Makes the random edits one after the other, starting at the first build, and returns the last
/// build.
fn draw_all(project: &Project, first: Built, mut each: impl FnMut(&Step<'_>)) -> Built {
    let mut last = first;
    let mut drawn = Drawn(0x9e37_79b9_7f4a_7c15);
    for number in 0..DRAWN {
        let (file, statement) = edits::draw(&project.path(), &mut drawn, number);
        let next = project.build(&format!("drawn-{number}"), true);
        let sectors = sectors(&last.image, &next.image);
        each(&Step { number, file, statement, sectors, next: &next });
        last = next;
    }
    last
}

/// Makes the random edits, and flashes each over the one before it.
fn drawn(
    project: &Project,
    record: &[u8],
    boards: &Boards,
    worst: &mut usize,
    added: &mut Vec<f64>,
    goals: &mut Goals,
) {
    project.restore();
    fs::write(project.record(), record).expect("the disk has space");
    let normal = project.build("normal", false).linker.iter().sum::<f64>();
    let first = project.build("stable", true);
    let len = first.image.len();
    let mut on_board = boards.flashed(&first);
    let (mut counts, mut seconds, mut moved, mut anew) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let last = draw_all(project, first, |step| {
        counts.push(step.sectors);
        seconds.push(boards.seconds(&on_board, step.next));
        on_board = boards.now();
        moved.push(step.next.moved());
        anew += usize::from(step.next.report["fresh"] == true);
        added.push(step.next.seconds() - normal);
    });
    println!(
        "\n{DRAWN} drawn edits, one after the other: sectors {counts:?}, moved {moved:?}, laid out again \
         {anew} times; image {:+} bytes; reflash {:.2} s (median), {:.2} s (longest)",
        last.image.len() as i64 - len as i64,
        median(&mut seconds),
        seconds.iter().copied().fold(0.0, f64::max),
    );
    counts.sort_unstable();
    let middle = counts[DRAWN / 2];
    *worst = (*worst).max(counts[DRAWN - 1]);
    goals.push((
        middle <= GOAL_MEDIAN,
        format!("drawn edits {middle} sectors (median), goal at most {GOAL_MEDIAN}"),
    ));
}

fn hello(goals: &mut Goals) {
    let project = Project::new("examples/hello-rust", "hello-rust");
    let normal = project.build("normal", false);
    let fresh = project.build("stable", true);
    let longer: Change = (
        "src/main.rs",
        "\"Hello, World!",
        "\"Hello, World! And all who sail on her, and yet more.",
    );
    project.change(&longer);
    let stable = project.build("stable-edited", true);
    let differ = sectors(&fresh.image, &stable.image);
    println!(
        "\nhello, longer text: {differ} of {} sectors; image {} -> {} bytes ({:+.2} %), RAM {:+} bytes",
        stable.image.len().div_ceil(4096),
        normal.image.len(),
        fresh.image.len(),
        percent(&normal, &fresh),
        i64::from(fresh.ram) - i64::from(normal.ram),
    );
    goals.push((
        differ <= GOAL_HELLO,
        format!("hello with a longer text {differ} sectors, goal at most {GOAL_HELLO}"),
    ));
}

fn median(of: &mut [f64]) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

/// Returns by how many percent the second image is longer.
fn percent(normal: &Built, stable: &Built) -> f64 {
    stable.image.len() as f64 / normal.image.len() as f64 * 100.0 - 100.0
}

fn sectors(old: &[u8], new: &[u8]) -> usize {
    let total = old.len().max(new.len()).div_ceil(4096);
    let (mut old, mut new) = (old.chunks(4096), new.chunks(4096));
    (0..total).filter(|_| old.next() != new.next()).count()
}
