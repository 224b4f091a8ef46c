//! esptool, espflash and esplice flashing a virtual board in real time, each as a program.
//!
//! `cargo bench -p esplice --bench flashing [-- FAST] [ELF …]`. Without ELFs it takes the example
//! firmware and the large one from `target/firmware`. Each tool writes bootloader, partition table and app,
//! one after another: over a pty, which has no reset, and esptool and esplice over RFC 2217 with reset; to a
//! flash that holds something else ("dirty") and to an erased one ("blank"), at two rates. esptool and esplice
//! use esptool's stub of generation 2; espflash has only its own. Then the first firmware by the ROM loader
//! alone, again unchanged, with one sector that differs, and 1 MiB is read. The board runs in real time behind
//! a USB bridge, so that a second is a second; where the host was behind by more than 1 % of what was
//! measured, the figure is void and says so. In the end it says which goals were met. With `FAST` only
//! 921600 baud and the first firmware. It takes some minutes: run it on a machine that does nothing else.

// Benchmarks are the one place that measures the host's time.
#![allow(clippy::disallowed_methods)]

#[path = "support/mod.rs"]
mod support;

#[cfg(target_os = "linux")]
fn main() {
    if let Some(words) = support::asked_for_peak() {
        return support::print_peak(&words);
    }
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

    use esplice_sim::{
        Board, Bridge, TimeMode,
        nor::Nor,
        serve::{Server, Wire},
    };

    use super::support::{Peer, firmware, large_firmware, peak_memory, peer, timed, workspace};

    const BAUDS: [u32; 2] = [921_600, 2_000_000];
    const APP: usize = 0x1_0000;
    const TABLE: usize = 0x8000;
    const FLASH: usize = 4 << 20;
    /// Bytes of flash that are read.
    const READ: usize = 1 << 20;
    /// Lag from which on a figure is void, as a part of the time.
    const MOST_LAG: f64 = 0.01;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Tool {
        Esptool,
        Espflash,
        Esplice,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Route {
        Pty,
        Rfc2217,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Work {
        Write,
        /// By the ROM loader alone.
        WriteByRom,
        Read,
    }

    /// One run of a tool.
    #[derive(Clone, Copy)]
    struct Run<'a> {
        tool: Tool,
        route: Route,
        work: Work,
        baud: u32,
        parts: &'a Parts,
        /// What the flash holds before.
        before: &'a [u8],
    }

    /// What a run took.
    #[derive(Clone, Copy)]
    struct Took {
        seconds: f64,
        sent: u64,
        heard: u64,
        requests: u64,
        lag: f64,
    }

    /// The three files of a firmware, and the flash that holds them.
    struct Parts {
        name: String,
        bootloader: PathBuf,
        table: PathBuf,
        app: PathBuf,
        app_len: usize,
        merged: Vec<u8>,
    }

    struct Programs {
        esptool: Option<PathBuf>,
        espflash: Option<PathBuf>,
        stub: Option<PathBuf>,
        dir: tempfile::TempDir,
    }

    pub fn main() {
        let words: Vec<String> =
            std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
        let fast = words.iter().any(|word| word == "FAST");
        let mut elfs: Vec<PathBuf> =
            words.iter().filter(|word| *word != "FAST").map(PathBuf::from).collect();
        if elfs.is_empty() {
            let build = "esplice build examples/hello-rust --output target/firmware/hello.bin";
            elfs.push(firmware("hello.elf", build));
            if !fast {
                elfs.push(large_firmware());
            }
        }
        let programs = Programs::find();
        println!(
            "| image | work | baud | over | flash | tool | seconds | bytes sent | bytes heard | requests | of the wire | behind |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
        let mut goals = Vec::new();
        for (number, elf) in elfs.iter().enumerate() {
            let parts = Parts::build(elf, programs.dir.path());
            let bauds = BAUDS.into_iter().filter(|baud| !fast || *baud == 921_600);
            for baud in bauds {
                for route in [Route::Pty, Route::Rfc2217] {
                    for (state, byte) in [("dirty", 0x5a), ("blank", 0xff)] {
                        let before = vec![byte; FLASH];
                        let took = programs.all(Work::Write, route, baud, state, &parts, &before);
                        if (baud, route, state) == (921_600, Route::Pty, "dirty") {
                            goals.extend(write_goals(number, &parts, &took));
                        }
                    }
                }
            }
            if number == 0 {
                goals.extend(programs.others(&parts));
            }
        }
        println!();
        goals.iter().for_each(|goal| println!("{goal}"));
    }

    /// What a firmware on a dirty flash is to take: the first one, and larger ones.
    fn write_goals(number: usize, parts: &Parts, took: &[(Tool, Took)]) -> Vec<String> {
        let Some(own) = of(took, Tool::Esplice) else { return Vec::new() };
        let peers = took.iter().filter(|(tool, _)| *tool != Tool::Esplice);
        let better = peers.map(|(_, took)| took.seconds).fold(f64::INFINITY, f64::min);
        let most = if number == 0 { 0.7 } else { 0.9 };
        let name = format!("{} at 921600, dirty, against the better peer", parts.name);
        let mut goals = vec![goal(&name, own.seconds / better, most)];
        if number == 0 {
            goals.push(goal(
                &format!("{} at 921600, dirty, seconds", parts.name),
                own.seconds,
                1.8,
            ));
        }
        goals
    }

    fn of(took: &[(Tool, Took)], tool: Tool) -> Option<Took> {
        took.iter().find(|(of, _)| *of == tool).map(|(_, took)| *took)
    }

    /// A goal of at most `most`.
    fn goal(name: &str, found: f64, most: f64) -> String {
        let word = if found <= most { "met" } else { "not met" };
        format!("{word}: {name}: {found:.2}, goal at most {most}")
    }

    impl Programs {
        fn find() -> Programs {
            let esptool = peer(Peer::Esptool);
            let stub = esptool.as_deref().and_then(stub_of);
            if stub.is_none() {
                println!("no stub of esptool's here: esplice looks for one itself");
            }
            let dir = tempfile::tempdir().expect("a temporary directory");
            Programs { esptool, espflash: peer(Peer::Espflash), stub, dir }
        }

        /// All tools that can do it, one after another, each a row.
        fn all(
            &self,
            work: Work,
            route: Route,
            baud: u32,
            state: &str,
            parts: &Parts,
            before: &[u8],
        ) -> Vec<(Tool, Took)> {
            let mut all = Vec::new();
            for tool in [Tool::Esptool, Tool::Espflash, Tool::Esplice] {
                let is_there = match tool {
                    Tool::Esptool => self.esptool.is_some(),
                    // It opens no ports of other machines, and its reads are broken.
                    Tool::Espflash => {
                        self.espflash.is_some() && route == Route::Pty && work != Work::Read
                    }
                    Tool::Esplice => true,
                };
                if !is_there {
                    continue;
                }
                let run = Run { tool, route, work, baud, parts, before };
                let Some(took) = self.measure(run) else {
                    println!(
                        "| {} | {work:?} | {baud} | {route:?} | {state} | {tool:?} | failed | | | | | |",
                        parts.name
                    );
                    continue;
                };
                let wire = (took.sent + took.heard) as f64 * 10.0 / f64::from(baud);
                let void = if took.lag > took.seconds * MOST_LAG { ", void" } else { "" };
                println!(
                    "| {} | {work:?} | {baud} | {route:?} | {state} | {tool:?} | {:.2} | {} | {} | {} | {:.2} | {:.1} ms{void} |",
                    parts.name,
                    took.seconds,
                    took.sent,
                    took.heard,
                    took.requests,
                    wire / took.seconds,
                    took.lag * 1e3,
                );
                all.push((tool, took));
            }
            all
        }

        /// By the ROM loader, unchanged, with one sector that differs, and reading; gives the goals.
        fn others(&self, parts: &Parts) -> Vec<String> {
            let (route, baud) = (Route::Pty, 921_600);
            let dirty = vec![0x5a; FLASH];
            self.all(Work::WriteByRom, route, baud, "dirty", parts, &dirty);
            let mut goals = Vec::new();
            let mut written = dirty;
            written[..parts.merged.len()].copy_from_slice(&parts.merged);
            let mut altered = written.clone();
            altered[APP + 0x5000] ^= 1;
            for (state, before, most) in
                [("unchanged", &written, 0.3), ("one sector", &altered, 0.2)]
            {
                let took = self.all(Work::Write, route, baud, state, parts, before);
                if let (Some(own), Some(peer)) =
                    (of(&took, Tool::Esplice), of(&took, Tool::Espflash))
                {
                    let name = format!("{}, {state}, against espflash", parts.name);
                    goals.push(goal(&name, own.seconds / peer.seconds, most));
                }
            }
            let took = self.all(Work::Read, route, baud, "1 MiB", parts, &written);
            if let Some(own) = of(&took, Tool::Esplice) {
                let rate = READ as f64 / own.seconds / (f64::from(baud) / 10.0);
                let word = if rate >= 0.9 { "met" } else { "not met" };
                goals.push(format!(
                    "{word}: read of 1 MiB: {rate:.2} of the wire, goal at least 0.9"
                ));
            }
            let run = Run {
                tool: Tool::Esplice,
                route,
                work: Work::Write,
                baud,
                parts,
                before: &altered,
            };
            let (_, peak) = self.serve(run, |command| peak_memory(command).unwrap_or(0));
            goals.push(goal("peak memory in MiB", peak as f64 / f64::from(1 << 20), 24.0));
            goals
        }

        /// None where a peer can't do it.
        fn measure(&self, run: Run<'_>) -> Option<Took> {
            let mut seconds = None;
            let (mut took, ()) = self.serve(run, |command| {
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
                let (time, output) = timed(|| command.output());
                let output = output.expect("it starts");
                let errors = String::from_utf8_lossy(&output.stderr);
                let is_good = output.status.success();
                assert!(is_good || run.tool != Tool::Esplice, "{command:?}: {errors}");
                seconds = is_good.then_some(time.as_secs_f64());
            });
            took.seconds = seconds?;
            let flash = fs::read(self.dir.path().join("board.flash")).expect("it is there");
            let at = APP..APP + parts_len(&run);
            assert!(flash[at.clone()] == run.parts.merged[at], "{:?}: the flash differs", run.tool);
            if run.work == Work::Read {
                let read = fs::read(self.dir.path().join("read.bin")).expect("it is there");
                assert!(read == flash[..READ], "{:?}: what was read differs", run.tool);
            }
            Some(took)
        }

        /// Does `work` with the run's command while the board is served; without the time it took.
        fn serve<T>(&self, run: Run<'_>, work: impl FnOnce(&mut Command) -> T) -> (Took, T) {
            let chip = esplice_chip::find("esp32c3").expect("it is known");
            let timing = &chip.sim.as_ref().expect("there is a board").flash;
            let flash = self.dir.path().join("board.flash");
            fs::write(&flash, run.before).expect("there is room");
            let nor = Nor::open(&flash, timing.size(), timing).expect("it was just made");
            let mut board =
                Board::with_flash(chip, nor, TimeMode::Real).expect("the chip's data are good");
            // A pty has no lines to reset with.
            board.hold_boot_pin(run.route == Route::Pty);
            board.set_bridge(Bridge::Usb);
            let link = self.dir.path().join("board");
            let mut server = Server::new(board, TimeMode::Real);
            let port = match run.route {
                Route::Pty => {
                    server.pty(&link).expect("there are ptys");
                    link.to_string_lossy().into_owned()
                }
                Route::Rfc2217 => {
                    let at = server.listen(Wire::Rfc2217, "127.0.0.1:0").expect("a free port");
                    format!("rfc2217://{at}")
                }
            };
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
            let done = work(&mut self.command(run, &port));
            over.store(true, Ordering::Relaxed);
            let (counters, requests, lag) = serving.join().expect("the board lives on");
            let took = Took {
                seconds: 0.0,
                sent: counters.received,
                heard: counters.sent,
                requests,
                lag: lag.most.as_secs_f64(),
            };
            (took, done)
        }

        fn command(&self, run: Run<'_>, port: &str) -> Command {
            let baud = run.baud.to_string();
            let parts = run.parts;
            let files: [(&str, &Path); 3] =
                [("0x0", &parts.bootloader), ("0x8000", &parts.table), ("0x10000", &parts.app)];
            let read = self.dir.path().join("read.bin");
            let resets = run.route == Route::Rfc2217;
            match run.tool {
                Tool::Esptool => {
                    let program = self.esptool.as_deref().unwrap_or(Path::new("esptool"));
                    let mut command = Command::new(program);
                    let (before, after) = match resets {
                        true => ("default-reset", "hard-reset"),
                        false => ("no-reset", "no-reset"),
                    };
                    command.args(["--chip", "esp32c3", "--before", before, "--after", after]);
                    command.args(["--baud", &baud, "--port", port]);
                    if run.work == Work::WriteByRom {
                        command.arg("--no-stub");
                    }
                    if run.work == Work::Read {
                        command.args(["read-flash", "0", &READ.to_string()]).arg(read);
                        return command;
                    }
                    command.arg("write-flash");
                    for (offset, file) in files {
                        command.arg(offset).arg(file);
                    }
                    command
                }
                Tool::Espflash => {
                    let program = self.espflash.as_deref().unwrap_or(Path::new("espflash"));
                    let mut command = Command::new(workspace().join("scripts/as-tty"));
                    // Of several files it takes none: it writes the one that holds all of them.
                    let merged = parts.app.with_extension("all");
                    command.arg(port).arg(program).arg("write-bin");
                    command.args(["--chip", "esp32c3", "--before", "no-reset"]);
                    command.args(["--after", "no-reset", "--baud", &baud]);
                    if run.work == Work::WriteByRom {
                        command.arg("--no-stub");
                    }
                    command.args(["--port", "/dev/ttyUSB0", "0x0"]).arg(merged);
                    command.env("ESPFLASH_SKIP_UPDATE_CHECK", "true");
                    command
                }
                Tool::Esplice => {
                    let mut command = Command::new(env!("CARGO_BIN_EXE_esplice"));
                    command.current_dir(self.dir.path());
                    match run.work {
                        Work::Read => command.args(["read", "0", &READ.to_string()]).arg(read),
                        Work::Write | Work::WriteByRom => command.arg("write"),
                    };
                    if run.work != Work::Read {
                        for (offset, file) in files {
                            command.arg(offset).arg(file);
                        }
                    }
                    command.args(["--chip", "esp32c3", "--baud", &baud, "--port", port]);
                    if !resets {
                        command.arg("--stay");
                    }
                    match (&self.stub, run.work) {
                        (_, Work::WriteByRom) => command.args(["--stub", "none"]),
                        (Some(stub), _) => command.arg("--stub").arg(stub),
                        (None, _) => &mut command,
                    };
                    command
                }
            }
        }
    }

    /// Bytes of the app that are there afterwards.
    fn parts_len(run: &Run<'_>) -> usize {
        run.parts.app_len
    }

    impl Parts {
        /// Builds bootloader, table and app of an ELF.
        fn build(elf: &Path, dir: &Path) -> Parts {
            let app = dir.join(elf.with_extension("bin").file_name().unwrap_or_default());
            let status = Command::new(env!("CARGO_BIN_EXE_esplice"))
                .args(["build", "--target=esp32c3", "--quiet", "--elf"])
                .arg(elf)
                .arg("--output")
                .arg(&app)
                .current_dir(dir)
                .status();
            assert!(status.is_ok_and(|status| status.success()), "no image of {}", elf.display());
            let merged = fs::read(app.with_extension("merged.bin")).expect("it was built");
            let app_len = fs::metadata(&app).expect("it was built").len() as usize;
            let part = |name: &str, bytes: &[u8]| {
                let path = dir.join(name);
                let len = bytes.iter().rposition(|byte| *byte != 0xff).map_or(0, |last| last + 1);
                fs::write(&path, &bytes[..len.next_multiple_of(4)]).expect("there is room");
                path
            };
            fs::write(app.with_extension("all"), &merged).expect("there is room");
            let name = elf.file_stem().unwrap_or_default().to_string_lossy();
            Parts {
                name: format!("{name}, {app_len} bytes"),
                bootloader: part("bootloader.part", &merged[..TABLE]),
                table: part("table.part", &merged[TABLE..TABLE + 0xc00]),
                app,
                app_len,
                merged,
            }
        }
    }

    /// esptool's stub of generation 2, beside the program.
    fn stub_of(esptool: &Path) -> Option<PathBuf> {
        let program = fs::canonicalize(esptool).ok()?;
        let lib = program.parent()?.parent()?.join("lib");
        let stub = "site-packages/esptool/targets/stub_flasher/2/esp32c3.json";
        let found = fs::read_dir(lib).ok()?.flatten().map(|python| python.path().join(stub));
        found.into_iter().find(|file| file.is_file())
    }
}
