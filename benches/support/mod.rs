//! Helpers shared by the benchmarks: peers, firmware, and interleaved runs.

// Each benchmark uses only a part of this.
#![allow(dead_code)]
// Benchmarks are the one place that measures the host's time.
#![allow(clippy::disallowed_methods)]

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Another tool for the same task.
#[derive(Debug, Clone, Copy)]
pub enum Peer {
    /// espflash, from `ESPLICE_ESPFLASH` or PATH.
    Espflash,
    /// esptool, from `ESPLICE_ESPTOOL` or PATH.
    Esptool,
}

/// Returns the peer's program, or prints that it is missing.
pub fn peer(peer: Peer) -> Option<PathBuf> {
    let (variable, name, install) = match peer {
        Peer::Espflash => ("ESPLICE_ESPFLASH", "espflash", "cargo install espflash"),
        Peer::Esptool => ("ESPLICE_ESPTOOL", "esptool", "pip install esptool"),
    };
    let program = std::env::var_os(variable).map_or_else(|| name.into(), PathBuf::from);
    let answers = Command::new(&program)
        .arg(if matches!(peer, Peer::Esptool) { "version" } else { "--version" })
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !answers {
        println!("{name}: not here, left out ({install}, or set {variable})");
    }
    answers.then_some(program)
}

/// Returns the ELF that `tests/firmware/build-large` builds.
pub fn large_firmware() -> PathBuf {
    firmware("large.elf", "tests/firmware/build-large")
}

/// Returns an ELF of the built test firmware, or reports the command that builds it.
pub fn firmware(name: &str, built_by: &str) -> PathBuf {
    let path = workspace().join("target/firmware").join(name);
    assert!(path.is_file(), "{} is missing: run {built_by} first", path.display());
    path
}

/// Returns the workspace's folder.
pub fn workspace() -> &'static Path {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir.ancestors().nth(2).expect("crates/ is in the workspace")
}

/// Wall-clock times of one tool.
pub struct Timings {
    /// The tool.
    pub name: &'static str,
    runs: Vec<Duration>,
}

impl Timings {
    /// Sorts durations given in any order.
    pub fn new(name: &'static str, mut runs: Vec<Duration>) -> Timings {
        runs.sort();
        Timings { name, runs }
    }

    /// Returns the fastest run, in milliseconds.
    pub fn min_ms(&self) -> f64 {
        ms(self.runs[0])
    }

    /// Returns the median run, in milliseconds.
    pub fn median_ms(&self) -> f64 {
        ms(self.runs[self.runs.len() / 2])
    }

    /// Returns the slowest run, in milliseconds.
    pub fn max_ms(&self) -> f64 {
        ms(self.runs[self.runs.len() - 1])
    }
}

/// Returns the time that `f` takes.
pub fn timed<T>(f: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let value = f();
    (start.elapsed(), value)
}

/// Runs the tools in turn, A B C A B C …, after a warm-up round that is not counted. If a tool has
/// several commands, each round uses the next one.
pub fn run_interleaved(tools: &mut [(&'static str, Vec<Command>)], runs: usize) -> Vec<Timings> {
    let mut all = vec![Vec::with_capacity(runs); tools.len()];
    for round in 0..=runs {
        for ((name, commands), times) in tools.iter_mut().zip(&mut all) {
            let turn = round % commands.len();
            let command = &mut commands[turn];
            command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
            let (time, status) = timed(|| command.status());
            let status = status.unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(status.success(), "{name} ended with {status}");
            if round > 0 {
                times.push(time);
            }
        }
    }
    tools.iter().zip(all).map(|((name, _), runs)| Timings::new(name, runs)).collect()
}

/// The argument with which the benchmark asks a copy of itself for time and peak memory of a
/// program.
const PEAK: &str = "--peak-of";

/// Returns the program and its arguments, if this process is such a copy.
pub fn asked_for_peak() -> Option<Vec<std::ffi::OsString>> {
    let mut words = std::env::args_os().skip(1);
    (words.next()? == PEAK).then(|| words.collect())
}

/// Runs the program and prints its time in nanoseconds and its peak memory in bytes: the maximum
/// over all children, of which this process has no other.
pub fn print_peak(words: &[std::ffi::OsString]) {
    let (program, words) = words.split_first().expect("a program");
    let mut command = Command::new(program);
    command.args(words).stdout(Stdio::null()).stdin(Stdio::null());
    let (time, status) = timed(|| command.status());
    if !status.as_ref().is_ok_and(|status| status.success()) {
        eprintln!("{program:?} ended with {status:?}");
        std::process::exit(1);
    }
    print!("{}", time.as_nanos());
    #[cfg(unix)]
    {
        use nix::sys::resource::{UsageWho, getrusage};
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("getrusage succeeds");
        // Linux counts in KiB, macOS in bytes.
        let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
        print!(" {}", usage.max_rss() * unit);
    }
    println!();
}

/// Measurements of one run of a command.
pub struct Counted {
    /// Duration of the run.
    pub time: Duration,
    /// Peak memory in bytes, if the system counts it.
    pub peak: Option<u64>,
}

/// Runs `command` and measures it.
///
/// # Errors
/// Returns the stderr output of a failed command.
pub fn counted(command: &Command) -> Result<Counted, String> {
    let mut copy = Command::new(std::env::current_exe().expect("the program is running"));
    copy.arg(PEAK).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => copy.env(name, value),
            None => copy.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        copy.current_dir(directory);
    }
    let output = copy.stdin(Stdio::null()).output().expect("a copy of this program starts");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let mut numbers = said.split_whitespace().map(str::parse);
    let time = numbers.next().and_then(Result::ok).expect("the copy prints the time");
    let peak = numbers.next().and_then(Result::ok);
    Ok(Counted { time: Duration::from_nanos(time), peak })
}

/// Returns the peak memory of one run of `command` in bytes, or `None` if the system does not count
/// it.
pub fn peak_memory(command: &mut Command) -> Option<u64> {
    counted(command).unwrap_or_else(|said| panic!("{command:?} failed: {said}")).peak
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
