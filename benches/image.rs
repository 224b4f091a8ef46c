//! Compares image generation with `espflash save-image` and `esptool elf2image`, in one run.
//!
//! `cargo bench -p esplice --bench image [-- ELF]`. Without a path, it uses the large firmware of
//! `tests/firmware/large`, which `tests/firmware/build-large` builds. Each tool runs as a program
//! and is timed from outside, in turn, so that a change in the machine's speed affects all of them.
//! `esplice build` writes the merged flash, the plan and a copy of the ELF in addition to the
//! image; `--image-only` writes the same as the others. Peak memory is measured in a separate run,
//! as counted by the system (Unix).

#[path = "support/mod.rs"]
mod support;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use support::{Peer, Timings, large_firmware, peer, run_interleaved};

const RUNS: usize = 15;

/// Goals: fractions of espflash's and esptool's median time, and memory above the ELF's size.
const OF_ESPFLASH: f64 = 0.7;
const OF_ESPTOOL: f64 = 0.15;
const MIB_ABOVE_ELF: f64 = 16.0;

fn main() {
    if let Some(words) = support::asked_for_peak() {
        return support::print_peak(&words);
    }
    let elf = std::env::args().skip(1).find(|arg| !arg.starts_with("--")).map(Into::into);
    let elf: PathBuf = elf.unwrap_or_else(large_firmware);
    let dir = tempfile::tempdir().expect("a temporary directory");
    println!("image of {} ({} bytes), {RUNS} runs each", elf.display(), size(&elf));

    let peers = Peers { espflash: peer(Peer::Espflash), esptool: peer(Peer::Esptool) };

    // The same ELF again, with the outputs of the previous run in place.
    report("the same ELF again", &run_interleaved(&mut tools(&peers, &elf, dir.path()), RUNS));

    peaks(&mut tools(&peers, &elf, dir.path()), size(&elf));

    // A different ELF, as after an edit: all outputs change.
    let edited = elf.with_file_name("large-edit-string.elf");
    if edited.is_file() {
        let mut both: Vec<_> = tools(&peers, &elf, dir.path());
        let other = tools(&peers, &edited, dir.path());
        for ((_, commands), (_, others)) in both.iter_mut().zip(other) {
            commands.extend(others);
        }
        report("another ELF each time", &run_interleaved(&mut both, RUNS));
    }
    println!("image: {} bytes", size(&dir.path().join("esplice.bin")));
}

struct Peers {
    espflash: Option<PathBuf>,
    esptool: Option<PathBuf>,
}

/// Returns the command of each tool for `elf`.
fn tools(peers: &Peers, elf: &Path, dir: &Path) -> Vec<(&'static str, Vec<Command>)> {
    let ours = |output: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_esplice"));
        command.args(["build", "--target=esp32c3", "--quiet", "--elf"]).arg(elf);
        command.arg("--output").arg(dir.join(output));
        command
    };
    let mut image_only = ours("alone.bin");
    image_only.arg("--image-only");
    let mut tools = vec![
        ("build --image-only", vec![image_only]),
        ("build, all four files", vec![ours("esplice.bin")]),
    ];

    if let Some(program) = &peers.espflash {
        let mut command = Command::new(program);
        command.args(["save-image", "--chip", "esp32c3", "--skip-update-check"]);
        command.arg(elf).arg(dir.join("espflash.bin"));
        tools.push(("espflash save-image", vec![command]));
    }
    if let Some(program) = &peers.esptool {
        let mut command = Command::new(program);
        command.args(["--chip", "esp32c3", "elf2image", "--flash-mode", "dio"]);
        command.args(["--flash-freq", "80m", "--flash-size", "4MB", "-o"]);
        command.arg(dir.join("esptool.bin")).arg(elf);
        tools.push(("esptool elf2image", vec![command]));
    }
    tools
}

fn report(what: &str, timings: &[Timings]) {
    println!("{what}:");
    let Some(ours) = timings.first() else { return };
    for timing in timings {
        println!(
            "  {:22} min {:8.1} ms   median {:8.1} ms   max {:8.1} ms   {:6.2} x the first",
            timing.name,
            timing.min_ms(),
            timing.median_ms(),
            timing.max_ms(),
            timing.median_ms() / ours.median_ms(),
        );
    }
    for (peer, most) in [("espflash save-image", OF_ESPFLASH), ("esptool elf2image", OF_ESPTOOL)] {
        if let Some(theirs) = timings.iter().find(|timing| timing.name == peer) {
            let ratio = ours.median_ms() / theirs.median_ms();
            let held = if ratio <= most { "as asked for" } else { "MORE than asked for" };
            println!("  {} is {ratio:.2} x {peer}, {held} ({most})", ours.name);
        }
    }
}

/// Prints the peak memory of each tool, and the part above the ELF's size.
fn peaks(tools: &mut [(&'static str, Vec<Command>)], elf: u64) {
    println!("peak memory:");
    for (number, (name, commands)) in tools.iter_mut().enumerate() {
        let Some(peak) = commands.first_mut().and_then(support::peak_memory) else {
            println!("  {name:22} is not counted here");
            continue;
        };
        let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
        let above = mib(peak.saturating_sub(elf));
        let held = match (number, above <= MIB_ABOVE_ELF) {
            (0, true) => ", as asked for",
            (0, false) => ", MORE than asked for",
            _ => "",
        };
        println!("  {name:22} {:8.1} MiB, {above:6.1} above the ELF{held}", mib(peak));
    }
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |meta| meta.len())
}
