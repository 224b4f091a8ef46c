//! Measures the time that `esplice build` adds to cargo on an unchanged project.
//!
//! Stand-ins time the programs that it starts: this benchmark, under the names of cargo and rustc
//! and first on the PATH, starts the real ones and records their duration. Programs started by
//! cargo count as cargo's. Other benchmarks measure peak memory and other tools.

// Benchmarks are the one place that measures the host's time.
#![allow(clippy::disallowed_methods)]

mod support;

use std::{
    env,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use esplice_chip::ChipDb;
use esplice_toolchain::{Machine, find_rust};
use support::{Timings, workspace};

const RUNS: usize = 15;

/// Goal for the time in addition to cargo's own processes.
const MOST_MS: f64 = 30.0;

/// Variable with the file in which a stand-in records its time.
const LOG: &str = "ESPLICE_BENCH_LOG";
const REAL: [(&str, &str); 2] =
    [("cargo", "ESPLICE_BENCH_CARGO"), ("rustc", "ESPLICE_BENCH_RUSTC")];

fn main() -> ExitCode {
    let name = env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let stands_for = REAL.iter().find(|(real, _)| name.file_name().is_some_and(|n| n == *real));
    if let Some((name, variable)) = stands_for {
        return stand_in(name, variable);
    }

    let project = workspace().join("examples/arenas-rust");
    let chip = ChipDb::embedded().find("esp32c3").expect("the chip is known");
    let found = find_rust(chip, ChipDb::embedded(), &Machine::in_directory(&project))
        .expect("a toolchain is installed");
    let scratch = tempfile::tempdir().expect("the disk has space");
    let log = scratch.path().join("log");
    let stand_ins = scratch.path().join("stand-ins");
    fs::create_dir(&stand_ins).expect("the disk has space");
    let this = env::current_exe().expect("the program is running");
    for (name, _) in REAL {
        std::os::unix::fs::symlink(&this, stand_ins.join(name)).expect("the disk has space");
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([stand_ins].into_iter().chain(env::split_paths(&path)));

    let mut command = Command::new(env!("CARGO_BIN_EXE_esplice"));
    command
        .args(["build", "--quiet", "--target=esp32c3", "--output"])
        .arg(scratch.path().join("arenas.bin"))
        .arg(&project)
        .env("CARGO_TARGET_DIR", workspace().join("target/firmware/bench"))
        .env("PATH", path.expect("the PATH can be joined"))
        .env(LOG, &log)
        .env(REAL[0].1, &found.cargo)
        .env(REAL[1].1, &found.rustc)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut build = || {
        let _ = fs::remove_file(&log);
        let start = Instant::now();
        assert!(command.status().is_ok_and(|status| status.success()), "the example builds");
        let whole = start.elapsed();
        let text = fs::read_to_string(&log).expect("the stand-ins were started");
        let spent = |name: &str| {
            let lines =
                text.lines().filter_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
            Duration::from_nanos(lines.sum())
        };
        (whole, spent("cargo"), spent("rustc"))
    };
    build();

    let runs: Vec<_> = (0..RUNS).map(|_| build()).collect();
    let print = |name, of: fn(&(Duration, Duration, Duration)) -> Duration| {
        let timings = Timings::new(name, runs.iter().map(of).collect());
        println!("{name:40} {:8.1} ms (fastest {:.1})", timings.median_ms(), timings.min_ms());
        timings.median_ms()
    };
    print("esplice build, unchanged", |(whole, ..)| *whole);
    print("cargo's processes", |(_, cargo, _)| *cargo);
    let added = print("beside cargo", |(whole, cargo, _)| whole.saturating_sub(*cargo));
    print("of that, asking rustc", |(_, _, rustc)| *rustc);
    let held = if added <= MOST_MS { "as asked for" } else { "MORE than asked for" };
    println!("esplice build adds {added:.1} ms to cargo, {held} ({MOST_MS})");
    ExitCode::SUCCESS
}

/// Runs the real program and records its time. Programs started by it are not recorded separately.
fn stand_in(name: &str, variable: &str) -> ExitCode {
    let mut command = Command::new(env::var_os(variable).expect("the benchmark sets the variable"));
    command.args(env::args_os().skip(1)).env_remove(LOG);
    let start = Instant::now();
    let status = command.status().expect("the program starts");
    let took = start.elapsed();
    if let Some(log) = env::var_os(LOG) {
        let mut log = File::options()
            .create(true)
            .append(true)
            .open(Path::new(&log))
            .expect("the disk has space");
        writeln!(log, "{name} {}", took.as_nanos()).expect("the disk has space");
    }
    ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1))
}
