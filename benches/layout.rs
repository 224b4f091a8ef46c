//! What `esplice build` adds to cargo on a project that has not changed.
//!
//! The programs that it starts are timed by stand-ins: this benchmark under the names of cargo and rustc,
//! first on the path, starts the real ones and notes how long they took. What cargo itself starts is
//! cargo's. Peak memory and peers are other benchmarks' affair.

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

use esplice_toolchain::{Machine, find_rust};
use support::{Timings, workspace};

const RUNS: usize = 15;

/// What is asked for beside cargo's own processes.
const MOST_MS: f64 = 30.0;

/// Where a stand-in notes its time, and what it stands for.
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
    let chip = esplice_chip::find("esp32c3").expect("it is known");
    let found = find_rust(chip, &Machine::seen_from(&project)).expect("there is a toolchain");
    let scratch = tempfile::tempdir().expect("there is room");
    let log = scratch.path().join("log");
    let stand_ins = scratch.path().join("stand-ins");
    fs::create_dir(&stand_ins).expect("there is room");
    let this = env::current_exe().expect("it runs");
    for (name, _) in REAL {
        std::os::unix::fs::symlink(&this, stand_ins.join(name)).expect("there is room");
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([stand_ins].into_iter().chain(env::split_paths(&path)));

    let mut command = Command::new(env!("CARGO_BIN_EXE_esplice"));
    command
        .args(["build", "--quiet", "--target=esp32c3", "--output"])
        .arg(scratch.path().join("arenas.bin"))
        .arg(&project)
        .env("CARGO_TARGET_DIR", workspace().join("target/firmware/bench"))
        .env("PATH", path.expect("the path has no odd names"))
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

/// Runs the real program and notes its time. What that starts is no longer noted.
fn stand_in(name: &str, variable: &str) -> ExitCode {
    let mut command = Command::new(env::var_os(variable).expect("the benchmark names it"));
    command.args(env::args_os().skip(1)).env_remove(LOG);
    let start = Instant::now();
    let status = command.status().expect("it starts");
    let took = start.elapsed();
    if let Some(log) = env::var_os(LOG) {
        let mut log =
            File::options().create(true).append(true).open(Path::new(&log)).expect("room");
        writeln!(log, "{name} {}", took.as_nanos()).expect("room");
    }
    ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1))
}
