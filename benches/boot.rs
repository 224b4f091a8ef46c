//! A virtual board in host time: from power-on to the line that the example prints, and the speed
//! at which the whole board, not only its CPU, executes firmware that computes without pause.
//!
//! `cargo bench -p esplice --bench boot`. It compiles `examples/hello-rust` first, and takes the
//! CPU-bound firmware that `tests/firmware/build-cpu-bound` builds.

#[path = "support/mod.rs"]
mod support;

use std::{fs, process::Command, time::Duration};

use esplice_image::{ImageOptions, build_image};
use esplice_monitor::{Expectation, Outcome, Watch, watch};
use esplice_sim::{Board, SimPort, TimeMode, nor::Nor};
use support::{Timings, firmware, timed, workspace};

const RUNS: usize = 25;

/// Board time that the CPU-bound firmware is given: shorter than the watchdogs of a boot from
/// flash, which it does not feed.
const SLICE: Duration = Duration::from_millis(800);

fn main() {
    boot();
    speed();
}

fn boot() {
    let flash = hello_flash();
    let mut runs = Vec::new();
    let mut board_time = Duration::ZERO;
    for round in 0..=RUNS {
        let (time, at) = timed(|| {
            let mut port =
                SimPort::open_with("sim:esp32c3", |nor| put(nor, &flash)).expect("a board");
            let expect = Expectation::parse(r"Hello, World!\r\n").expect("good escapes");
            let options = Watch {
                expect: vec![expect],
                timeout: Some(Duration::from_secs(5)),
                ..Watch::default()
            };
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
        "power-on to the expected line, {RUNS} runs: min {:.1} ms   median {:.1} ms   max {:.1} ms of host time ({} ms of the board's)",
        timings.min_ms(),
        timings.median_ms(),
        timings.max_ms(),
        board_time.as_millis(),
    );
}

fn speed() {
    let elf = fs::read(firmware("cpu-bound.elf", "tests/firmware/build-cpu-bound"))
        .expect("the firmware can be read");
    let chip = esplice_chip::find("esp32c3").expect("a known chip");
    let timing = &chip.sim.as_ref().expect("a virtual board").flash;
    // An image at the boot offset, which the ROM loads into RAM and starts.
    let image = build_image(&elf, chip, &ImageOptions::for_chip(chip)).expect("an image");
    let mut best = 0.0_f64;
    for _ in 0..5 {
        let mut nor = Nor::in_memory(timing.size(), timing);
        put(&mut nor, &image.bytes);
        let mut board = Board::with_flash(chip, nor, TimeMode::Virtual).expect("a board");
        // Past the ROM, which computes nothing.
        board.run_to(Duration::from_millis(100), false).expect("the firmware starts");
        let (cycles, resets) = (board.cycles(), board.resets());
        let (time, result) = timed(|| board.run_to(board.now() + SLICE, false));
        result.expect("the firmware runs");
        assert_eq!(board.resets(), resets, "a watchdog cut the run short");
        let mips = (board.cycles() - cycles) as f64 / time.as_secs_f64() / 1e6;
        println!("{mips:8.1} MIPS of a whole board");
        best = best.max(mips);
    }
    println!("{best:8.1} MIPS at best");
}

/// The example's whole flash from offset 0.
fn hello_flash() -> Vec<u8> {
    let out = workspace().join("target/firmware/hello.bin");
    fs::create_dir_all(out.with_file_name("")).expect("a directory for the firmware");
    let status = Command::new(env!("CARGO_BIN_EXE_esplice"))
        .current_dir(workspace())
        .args(["build", "--target=esp32c3", "examples/hello-rust", "--output"])
        .arg(&out)
        .status();
    assert!(status.is_ok_and(|status| status.success()), "the example does not compile");
    fs::read(out.with_extension("merged.bin")).expect("a merged image")
}

fn put(nor: &mut Nor, bytes: &[u8]) {
    nor.program(0, bytes).expect("room in the flash");
}
