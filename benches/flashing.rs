//! Measures esptool, espflash and esplice flashing a virtual board in real time, each as a program.
//!
//! `cargo bench -p esplice --bench flashing [-- WORD …]` prints a table in Markdown, for
//! docs/src/benchmarks.md. The tools take turns writing bootloader, partition table and app: over a
//! pty, which has no reset, and esptool and esplice also over RFC 2217 with reset; to a flash with
//! other content ("dirty") and to an erased one ("blank"), at two rates; and with only the ROM
//! loader. Each tool uses its own stub. The
//! first firmware is written again unchanged, and with one sector that differs, and 1 MiB is read.
//! The board runs in real time with a USB bridge, so that a second is a second. If the host was
//! late by more than 1 % of the measured time, the figure is marked void. The benchmark ends with
//! the goals that were met. It takes some minutes and needs an otherwise idle machine.
//!
//! Words: paths of ELFs, used instead of the example firmware and the large one in
//! `target/firmware`; `FAST` for 921600 baud and only the first firmware; `PEERS` for esptool and
//! espflash on the pty, at 115200, 921600 and 2,000,000 baud, the table of docs/src/guide/peers.md;
//! and filters for rows, with one value or several separated by commas:
//! `tool=esptool,espflash,esplice`, `baud=` with any rates, `over=pty,rfc2217`,
//! `flash=dirty,blank,unchanged,sector`, `work=write,rom,read`.

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

/// ptys are a Unix feature, and espflash needs Linux's mount namespaces.
#[cfg(not(target_os = "linux"))]
fn main() {
    println!("this benchmark runs on Linux");
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        cell::Cell,
        fmt, fs,
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

    use super::support::{Peer, counted, firmware, large_firmware, peer, workspace};

    /// Default rates, and those of the table of peers.
    const BAUDS: [u32; 2] = [921_600, 2_000_000];
    const PEERS_BAUDS: [u32; 3] = [115_200, 921_600, 2_000_000];
    const APP: usize = 0x1_0000;
    const TABLE: usize = 0x8000;
    const FLASH: usize = 4 << 20;
    const SECTOR: usize = 0x1000;
    /// Number of bytes of flash to read.
    const READ: usize = 1 << 20;
    /// Lag at which a figure becomes void, as a fraction of the time.
    const MOST_LAG: f64 = 0.01;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Tool {
        Esptool,
        Espflash,
        Esplice,
    }

    impl fmt::Display for Tool {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(match self {
                Tool::Esptool => "esptool",
                Tool::Espflash => "espflash",
                Tool::Esplice => "esplice",
            })
        }
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Route {
        Pty,
        Rfc2217,
    }

    impl fmt::Display for Route {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(match self {
                Route::Pty => "pty",
                Route::Rfc2217 => "RFC 2217",
            })
        }
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Work {
        Write,
        /// With only the ROM loader.
        WriteByRom,
        Read,
    }

    impl fmt::Display for Work {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(match self {
                Work::Write => "write",
                Work::WriteByRom => "write, ROM loader alone",
                Work::Read => "read",
            })
        }
    }

    /// The selected rows; a kind without filter selects all.
    #[derive(Default)]
    struct Asked {
        elfs: Vec<PathBuf>,
        fast: bool,
        /// Filters such as `tool=esptool`.
        only: Vec<(String, Vec<String>)>,
    }

    impl Asked {
        fn from_words(words: impl Iterator<Item = String>) -> Asked {
            let mut asked = Asked::default();
            for word in words.filter(|word| !word.starts_with("--")) {
                match word.split_once('=') {
                    _ if word == "FAST" => asked.fast = true,
                    _ if word == "PEERS" => {
                        asked.only("tool", "esptool,espflash");
                        asked.only("over", "pty");
                        asked.only("work", "write");
                        asked.only("flash", "dirty,blank");
                        asked.only("baud", &PEERS_BAUDS.map(|baud| baud.to_string()).join(","));
                    }
                    Some((kind @ ("tool" | "over" | "work" | "flash" | "baud"), values)) => {
                        asked.only(kind, values);
                    }
                    _ => asked.elfs.push(word.into()),
                }
            }
            asked
        }

        fn only(&mut self, kind: &str, values: &str) {
            self.only.push((kind.to_owned(), values.split(',').map(str::to_owned).collect()));
        }

        fn is(&self, kind: &str, value: &str) -> bool {
            let mut of_kind = self.only.iter().filter(|(of, _)| of == kind);
            of_kind.all(|(_, values)| values.iter().any(|of| of == value))
        }

        /// Returns whether the row is selected; `state` is the flash's initial state.
        fn wants(&self, run: &Run<'_>, state: &str) -> bool {
            let over = match run.route {
                Route::Pty => "pty",
                Route::Rfc2217 => "rfc2217",
            };
            let work = match run.work {
                Work::Write => "write",
                Work::WriteByRom => "rom",
                Work::Read => "read",
            };
            let flash = state.rsplit(' ').next().unwrap_or_default();
            self.is("tool", &run.tool.to_string())
                && self.is("over", over)
                && self.is("work", work)
                && (run.work == Work::Read || self.is("flash", flash))
                && self.is("baud", &run.baud.to_string())
        }

        fn bauds(&self) -> Vec<u32> {
            let named = self.only.iter().find(|(kind, _)| kind == "baud");
            match named {
                Some((_, bauds)) => {
                    let bauds = bauds.iter().map(|baud| baud.parse().expect("a baud rate"));
                    bauds.collect()
                }
                None if self.fast => vec![921_600],
                None => BAUDS.to_vec(),
            }
        }
    }

    /// One run of a tool.
    #[derive(Clone, Copy)]
    struct Run<'a> {
        tool: Tool,
        route: Route,
        work: Work,
        baud: u32,
        parts: &'a Parts,
        /// Initial content of the flash.
        before: &'a [u8],
    }

    /// Cost of a run.
    #[derive(Clone, Copy)]
    struct Took {
        seconds: f64,
        sent: u64,
        heard: u64,
        requests: u64,
        lag: f64,
        /// Peak memory of the tool in bytes.
        peak: Option<u64>,
    }

    /// The three files of a firmware, and the flash that contains them.
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
        dir: tempfile::TempDir,
        asked: Asked,
        /// Highest peak memory of esplice in any row.
        most_memory: Cell<u64>,
    }

    pub fn main() {
        let asked = Asked::from_words(std::env::args().skip(1));
        let (mut elfs, bauds) = (asked.elfs.clone(), asked.bauds());
        if elfs.is_empty() {
            let build = "esplice build examples/hello-rust --output target/firmware/hello.bin";
            elfs.push(firmware("hello.elf", build));
            if !asked.fast {
                elfs.push(large_firmware());
            }
        }
        let programs = Programs::find(asked);
        println!(
            "| image | work | baud | over | flash | tool | seconds | bytes sent | bytes heard | frames | of the wire | behind | memory |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
        let mut goals = Vec::new();
        for (number, elf) in elfs.iter().enumerate() {
            let parts = Parts::build(elf, programs.dir.path());
            for &baud in &bauds {
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
            let dirty = vec![0x5a; FLASH];
            programs.all(Work::WriteByRom, Route::Pty, 921_600, "dirty", &parts, &dirty);
            if number == 0 {
                goals.extend(programs.others(&parts));
            }
        }
        if programs.most_memory.get() > 0 {
            let mib = programs.most_memory.get() as f64 / f64::from(1 << 20);
            goals.push(goal("peak memory of esplice in MiB", mib, 24.0));
        }
        println!();
        goals.iter().for_each(|goal| println!("{goal}"));
    }

    /// Checks the goals for a firmware on a dirty flash: the first one, and larger ones.
    fn write_goals(number: usize, parts: &Parts, took: &[(Tool, Took)]) -> Vec<String> {
        let Some(own) = of(took, Tool::Esplice) else { return Vec::new() };
        let peers = took.iter().filter(|(tool, _)| *tool != Tool::Esplice);
        let better = peers.map(|(_, took)| took.seconds).fold(f64::INFINITY, f64::min);
        if better.is_infinite() {
            return Vec::new();
        }
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

    /// Formats a goal of at most `most`.
    fn goal(name: &str, found: f64, most: f64) -> String {
        let word = if found <= most { "met" } else { "not met" };
        format!("{word}: {name}: {found:.2}, goal at most {most}")
    }

    impl Programs {
        fn find(asked: Asked) -> Programs {
            let esptool = peer(Peer::Esptool);
            let dir = tempfile::tempdir().expect("a temporary directory");
            let (espflash, most_memory) = (peer(Peer::Espflash), Cell::new(0));
            Programs { esptool, espflash, dir, asked, most_memory }
        }

        /// Runs all tools that support it, one after another, a row each.
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
                    // espflash cannot open network ports, and its reads are broken.
                    Tool::Espflash => {
                        self.espflash.is_some() && route == Route::Pty && work != Work::Read
                    }
                    Tool::Esplice => true,
                };
                let run = Run { tool, route, work, baud, parts, before };
                if !is_there || !self.asked.wants(&run, state) {
                    continue;
                }
                let row =
                    format!("| {} | {work} | {baud} | {route} | {state} | {tool} |", parts.name);
                let took = match self.measure(run) {
                    Ok(took) => took,
                    Err(said) => {
                        println!("{row} failed | | | | | | |");
                        eprintln!("{tool} said: {}", said.trim());
                        continue;
                    }
                };
                let peak = took.peak.unwrap_or(0);
                if tool == Tool::Esplice {
                    self.most_memory.set(self.most_memory.get().max(peak));
                }
                let wire = (took.sent + took.heard) as f64 * 10.0 / f64::from(baud);
                let void = if took.lag > took.seconds * MOST_LAG { ", void" } else { "" };
                println!(
                    "{row} {:.2} | {} | {} | {} | {:.2} | {:.1} ms{void} | {:.1} MiB |",
                    took.seconds,
                    took.sent,
                    took.heard,
                    took.requests,
                    wire / took.seconds,
                    took.lag * 1e3,
                    peak as f64 / f64::from(1 << 20),
                );
                all.push((tool, took));
            }
            all
        }

        /// Measures an unchanged firmware, one with a sector that differs, and reading; returns the
        /// goals.
        fn others(&self, parts: &Parts) -> Vec<String> {
            let (route, baud) = (Route::Pty, 921_600);
            let mut goals = Vec::new();
            let mut written = vec![0x5a; FLASH];
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
            goals
        }

        /// Measures a run; the error is the tool's output.
        fn measure(&self, run: Run<'_>) -> Result<Took, String> {
            let (mut took, done) = self.serve(run, |command| counted(command));
            let done = done?;
            (took.seconds, took.peak) = (done.time.as_secs_f64(), done.peak);
            let flash = fs::read(self.dir.path().join("board.flash")).expect("the file exists");
            let at = APP..APP + parts_len(&run);
            assert!(flash[at.clone()] == run.parts.merged[at], "{:?}: the flash differs", run.tool);
            if run.work == Work::Read {
                let read = fs::read(self.dir.path().join("read.bin")).expect("the file exists");
                assert!(read == flash[..READ], "{:?}: what was read differs", run.tool);
            }
            Ok(took)
        }

        /// Does `work` with the run's command while the board is served. Returns the cost without
        /// the time.
        fn serve<T>(&self, run: Run<'_>, work: impl FnOnce(&mut Command) -> T) -> (Took, T) {
            let chip = esplice_chip::ChipDb::embedded().find("esp32c3").expect("the chip is known");
            let timing = &chip.sim.as_ref().expect("the chip has a virtual board").flash;
            let flash = self.dir.path().join("board.flash");
            fs::write(&flash, run.before).expect("the disk has space");
            let nor =
                Nor::open(&flash, timing.size(), timing).expect("the flash file was just created");
            let mut board =
                Board::with_flash(chip, nor, TimeMode::Real).expect("the chip's data is valid");
            // A pty has no reset lines.
            board.hold_boot_pin(run.route == Route::Pty);
            board.set_bridge(Bridge::Usb);
            let link = self.dir.path().join("board");
            let mut server = Server::new(board, TimeMode::Real);
            let port = match run.route {
                Route::Pty => {
                    server.pty(&link).expect("the system has ptys");
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
            // By then the ROM has finished its output.
            thread::sleep(Duration::from_millis(200));
            let done = work(&mut self.command(run, &port));
            over.store(true, Ordering::Relaxed);
            let (counters, requests, lag) =
                serving.join().expect("the server thread does not panic");
            let took = Took {
                seconds: 0.0,
                peak: None,
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
                    // espflash takes only one file, so it writes the one that contains all of them.
                    // For the ROM loader it has whole sectors, because the loader refuses the end
                    // otherwise (docs/src/guide/peers.md).
                    let by_rom = run.work == Work::WriteByRom;
                    let merged =
                        parts.app.with_extension(if by_rom { "all" } else { "merged.bin" });
                    command.arg(port).arg(program).arg("write-bin");
                    command.args(["--chip", "esp32c3", "--before", "no-reset"]);
                    command.args(["--after", "no-reset", "--baud", &baud]);
                    if by_rom {
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
                    if matches!(run.work, Work::WriteByRom) {
                        command.args(["--stub", "none"]);
                    }
                    command
                }
            }
        }
    }

    /// Returns the number of the app's bytes on the board afterwards.
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
                .stdout(Stdio::null())
                .status();
            assert!(status.is_ok_and(|status| status.success()), "no image of {}", elf.display());
            let merged = fs::read(app.with_extension("merged.bin")).expect("the file was built");
            let app_len = fs::metadata(&app).expect("the file was built").len() as usize;
            let part = |name: &str, bytes: &[u8]| {
                let path = dir.join(name);
                let len = bytes.iter().rposition(|byte| *byte != 0xff).map_or(0, |last| last + 1);
                fs::write(&path, &bytes[..len.next_multiple_of(4)]).expect("the disk has space");
                path
            };
            let mut sectors = merged.clone();
            sectors.resize(merged.len().next_multiple_of(SECTOR), 0xff);
            fs::write(app.with_extension("all"), &sectors).expect("the disk has space");
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
}
