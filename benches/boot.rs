//! Measures a virtual board in host time: from power-on to the line that the example prints, with
//! hooked ROM functions and with the mask ROM; the speed at which the whole board, not only its
//! CPU, executes firmware that computes without pause, on bare metal and under a scheduler; the
//! cost of waiting; and the memory that a thousand boards leave behind.
//!
//! `cargo bench -p esplice --bench boot` compiles `examples/hello-rust` and `tests/firmware/boots`
//! first, and uses the CPU-bound firmware that `tests/firmware/build-cpu-bound` builds.

#[path = "../crates/esplice-sim/tests/mask_rom/mod.rs"]
mod mask_rom;
#[path = "support/mod.rs"]
mod support;

use std::{fs, path::PathBuf, process::Command, time::Duration};

use esplice_chip::ChipDb;
use esplice_image::{ImageOptions, build_image};
use esplice_monitor::{Expectation, Outcome, Watch, watch};
use esplice_sim::{Board, SimPort};
use support::{Timings, firmware, timed, workspace};

const RUNS: usize = 25;

/// Board time for the CPU-bound firmware: shorter than the watchdogs of a boot from flash, which it
/// does not feed.
const SLICE: Duration = Duration::from_millis(800);
/// Board time spent waiting.
const WAIT: Duration = Duration::from_secs(10);
const BOARDS: u32 = 1000;

fn main() {
    let hello = whole_flash("examples/hello-rust", None);
    let rom = mask_rom::path();
    boot("carried out", "sim:esp32c3", &hello);
    boot("executed", &format!("sim:esp32c3,rom={}", rom.display()), &hello);
    speed("CPU-bound firmware", &cpu_bound(), b"entry ");
    speed(
        "esp-rtos with three busy tasks",
        &whole_flash("tests/firmware/boots", Some("tasks")),
        b"all busy",
    );
    waits(&hello);
    many();
}

/// Measures firmware that prints a line each second, and waits with esp-hal's `Delay` in between.
fn waits(flash: &[u8]) {
    for skip in [true, false] {
        let mut board = Board::new("esp32c3").expect("a board");
        board.load_flash(flash).expect("room in the flash");
        board.skip_idle(skip);
        board.run_until(b"Hello, World!", Duration::from_secs(2)).expect("the firmware starts");
        let (cycles, idle) = (board.cycles(), board.idle_cycles());
        let (time, result) = timed(|| board.run_to(board.now() + WAIT, false));
        result.expect("the firmware runs");
        println!(
            "{} s of the example's waiting, idle skipping {}: {:.1} ms of host time, {} instructions executed",
            WAIT.as_secs(),
            if skip { "on" } else { "off" },
            time.as_secs_f64() * 1e3,
            board.cycles() - cycles - (board.idle_cycles() - idle),
        );
    }
}

/// Runs boards one after the other, and measures the memory left.
fn many() {
    let mut after_100 = 0;
    let (time, ()) = timed(|| {
        for count in 1..=BOARDS {
            let mut board = Board::new("esp32c3").expect("a board");
            board.run_for(Duration::from_millis(10)).expect("the board runs");
            drop(board);
            if count == 100 {
                after_100 = resident();
            }
        }
    });
    println!(
        "{BOARDS} boards created, run for 10 ms and dropped: {:.2} ms of host time each; {after_100} KiB resident after 100, {} KiB more at the end",
        time.as_secs_f64() * 1e3 / f64::from(BOARDS),
        resident().saturating_sub(after_100),
    );
}

/// Returns the resident memory in KiB; 0 if the system does not report it.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

fn boot(rom: &str, port: &str, flash: &[u8]) {
    let mut runs = Vec::new();
    let mut board_time = Duration::ZERO;
    for round in 0..=RUNS {
        let (time, at) = timed(|| {
            let mut port =
                SimPort::open_with(port, |nor| nor.put(0, flash).expect("room in the flash"))
                    .expect("a board");
            let expect = Expectation::parse(r"Hello, World!\r\n").expect("good escapes");
            let options =
                Watch::default().expect(vec![expect]).timeout(Some(Duration::from_secs(5)));
            match watch(&mut port, &options, &mut |_| {}) {
                Ok(Outcome::Matched { at, .. }) => at,
                other => panic!("the example does not print its line: {other:?}"),
            }
        });
        board_time = at.since_start();
        if round > 0 {
            runs.push(time);
        }
    }
    let timings = Timings::new("boot", runs);
    println!(
        "power-on to the expected line, ROM {rom}, {RUNS} runs: min {:.1} ms   median {:.1} ms   max {:.1} ms of host time ({} ms of the board's)",
        timings.min_ms(),
        timings.median_ms(),
        timings.max_ms(),
        board_time.as_millis(),
    );
}

/// Measures firmware that computes from the moment it has printed `start`.
fn speed(name: &str, flash: &[u8], start: &[u8]) {
    let mut best = 0.0_f64;
    for _ in 0..5 {
        let mut board = Board::new("esp32c3").expect("a board");
        board.load_flash(flash).expect("room in the flash");
        board.skip_idle(false);
        board.run_until(start, Duration::from_secs(2)).expect("the firmware starts");
        let (cycles, resets) = (board.cycles(), board.resets());
        let (time, result) = timed(|| board.run_to(board.now() + SLICE, false));
        result.expect("the firmware runs");
        assert_eq!(board.resets(), resets, "a watchdog cut the run short");
        let mips = (board.cycles() - cycles) as f64 / time.as_secs_f64() / 1e6;
        println!("{mips:8.1} MIPS of a whole board, {name}");
        best = best.max(mips);
    }
    println!("{best:8.1} MIPS at best");
}

/// Makes an image at the boot offset, which the ROM loads into RAM and starts.
fn cpu_bound() -> Vec<u8> {
    let elf = fs::read(firmware("cpu-bound.elf", "tests/firmware/build-cpu-bound"))
        .expect("the firmware can be read");
    let chip = ChipDb::embedded().find("esp32c3").expect("a known chip");
    build_image(&elf, chip, &ImageOptions::for_chip(chip)).expect("an image").bytes
}

/// Compiles a project, and returns its whole flash from offset 0.
fn whole_flash(project: &str, bin: Option<&str>) -> Vec<u8> {
    let name = bin.unwrap_or("hello");
    let out: PathBuf = workspace().join("target/firmware").join(name).with_extension("bin");
    fs::create_dir_all(out.with_file_name("")).expect("a directory for the firmware");
    let mut command = Command::new(env!("CARGO_BIN_EXE_esplice"));
    command.current_dir(workspace()).args(["build", "--target=esp32c3", project, "--output"]);
    command.arg(&out);
    if let Some(bin) = bin {
        command.args(["--bin", bin]);
    }
    assert!(command.status().is_ok_and(|status| status.success()), "{project} does not compile");
    fs::read(out.with_extension("merged.bin")).expect("a merged image")
}
