//! esptool and espflash flashing a virtual board in real time, each as a program and unmodified.
//!
//! `cargo bench -p esplice --bench flashing [-- FAST] [ELF …]`. Without ELFs it takes the example
//! firmware and the large one from `target/firmware`. Each tool writes the app image with its own
//! stub over a pty, to a flash that holds something else ("dirty") and to an erased one ("blank"), at
//! three rates. The board runs in real time behind a USB bridge, so that a second is a second; where
//! the host was behind by more than 1 % of what was measured, the figure is void and says so. With
//! `FAST` only 921600 baud. It takes some minutes: run it on a machine that does nothing else.

// Benchmarks are the one place that measures the host's time.
#![allow(clippy::disallowed_methods)]

#[path = "support/mod.rs"]
mod support;

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

/// ptys are the system's, and espflash needs Linux's mount namespaces.
#[cfg(not(target_os = "linux"))]
fn main() {
    println!("this benchmark runs on Linux");
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        fs,
        path::{Path, PathBuf},
        process::{Command, Stdio},
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        thread,
        time::Duration,
    };

    use esplice_sim::{Board, Bridge, TimeMode, nor::Nor, serve::Server};

    use super::support::{Peer, firmware, large_firmware, peer, timed, workspace};

    const BAUDS: [u32; 3] = [115_200, 921_600, 2_000_000];
    const OFFSET: u32 = 0x1_0000;
    /// Lag from which on a figure is void, as a part of the time.
    const MOST_LAG: f64 = 0.01;

    pub fn main() {
        let words: Vec<String> =
            std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
        let fast = words.iter().any(|word| word == "FAST");
        let elfs: Vec<PathBuf> =
            words.iter().filter(|word| *word != "FAST").map(PathBuf::from).collect();
        let elfs = match elfs.is_empty() {
            false => elfs,
            true => {
                let build = "esplice build examples/hello-rust --output target/firmware/hello.bin";
                vec![firmware("hello.elf", build), large_firmware()]
            }
        };
        let tools: Vec<(Peer, PathBuf)> = [Peer::Esptool, Peer::Espflash]
            .into_iter()
            .filter_map(|tool| Some((tool, peer(tool)?)))
            .collect();
        let dir = tempfile::tempdir().expect("a temporary directory");
        println!(
            "| image | baud | flash | tool | seconds | bytes sent | bytes heard | requests | behind |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
        for elf in &elfs {
            let image = image(elf, dir.path());
            let len = fs::metadata(&image).expect("it was built").len();
            let name = elf.file_stem().unwrap_or_default().to_string_lossy();
            for baud in BAUDS.into_iter().filter(|baud| !fast || *baud == 921_600) {
                for dirty in [true, false] {
                    for (tool, program) in &tools {
                        let row = measure(*tool, program, &image, baud, dirty, dir.path());
                        let state = if dirty { "dirty" } else { "blank" };
                        println!("| {name}, {len} bytes | {baud} | {state} | {row} |");
                    }
                }
            }
        }
    }

    /// The app image of an ELF.
    fn image(elf: &Path, dir: &Path) -> PathBuf {
        let image = dir.join(elf.with_extension("bin").file_name().unwrap_or_default());
        let status = Command::new(env!("CARGO_BIN_EXE_esplice"))
            .args(["build", "--target=esp32c3", "--quiet", "--image-only", "--elf"])
            .arg(elf)
            .arg("--output")
            .arg(&image)
            .status();
        assert!(status.is_ok_and(|status| status.success()), "no image of {}", elf.display());
        image
    }

    /// One write, as the last cells of a row.
    fn measure(
        tool: Peer,
        program: &Path,
        image: &Path,
        baud: u32,
        dirty: bool,
        dir: &Path,
    ) -> String {
        let chip = esplice_chip::find("esp32c3").expect("it is known");
        let timing = &chip.sim.as_ref().expect("there is a board").flash;
        let flash = dir.join("board.flash");
        let before = vec![if dirty { 0x5a } else { 0xff }; timing.size() as usize];
        fs::write(&flash, before).expect("there is room");
        let nor = Nor::open(&flash, timing.size(), timing).expect("it was just made");
        let mut board =
            Board::with_flash(chip, nor, TimeMode::Real).expect("the chip's data are good");
        board.hold_boot_pin(true);
        board.set_bridge(Bridge::Usb);
        let link = dir.join("board");
        let mut server = Server::new(board, TimeMode::Real);
        server.pty(&link).expect("there are ptys");
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let serving = thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                server.turn(&mut |_| {});
            }
            (server.board().counters(), server.frames(), server.lag())
        });
        // The ROM's words are over.
        thread::sleep(Duration::from_millis(200));
        let mut command = command(tool, program, &link, image, baud);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let (time, output) = timed(|| command.output());
        over.store(true, Ordering::Relaxed);
        let (counters, frames, lag) = serving.join().expect("the board lives on");
        let output = output.expect("it starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {errors}");
        let (written, image) = (fs::read(&flash), fs::read(image));
        let (written, image) = (written.expect("it is there"), image.expect("it is there"));
        let at = OFFSET as usize;
        assert!(written.get(at..at + image.len()) == Some(&image), "the flash differs");
        let name = match tool {
            Peer::Esptool => "esptool",
            Peer::Espflash => "espflash",
        };
        let void = match lag.most.as_secs_f64() > time.as_secs_f64() * MOST_LAG {
            true => ", void",
            false => "",
        };
        format!(
            "{name} | {:.2} | {} | {} | {frames} | {:.1} ms{void}",
            time.as_secs_f64(),
            counters.received,
            counters.sent,
            lag.most.as_secs_f64() * 1e3,
        )
    }

    fn command(tool: Peer, program: &Path, link: &Path, image: &Path, baud: u32) -> Command {
        let baud = baud.to_string();
        let mut command;
        match tool {
            Peer::Esptool => {
                command = Command::new(program);
                command.args(["--chip", "esp32c3", "--before", "no-reset", "--after", "no-reset"]);
                command.args(["--baud", &baud, "--port"]).arg(link);
                command.args(["write-flash", "0x10000"]).arg(image);
            }
            Peer::Espflash => {
                command = Command::new(workspace().join("scripts/as-tty"));
                command.arg(link).arg(program).arg("write-bin");
                command.args(["--chip", "esp32c3", "--before", "no-reset", "--after", "no-reset"]);
                command.args(["--baud", &baud, "--port", "/dev/ttyUSB0", "0x10000"]).arg(image);
                command.env("ESPFLASH_SKIP_UPDATE_CHECK", "true");
            }
        }
        command
    }
}
