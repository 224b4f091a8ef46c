//! How long it takes to bring a board from one build to the next.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{project::Built, support::stub_of};

/// The rate of the transfer.
const BAUD: &str = "921600";

/// Flashes virtual boards.
pub struct Boards {
    directory: tempfile::TempDir,
    /// esptool's stub; esplice looks for one itself where there is none.
    stub: Option<PathBuf>,
    espflash: Option<PathBuf>,
}

/// A flash with a build on it.
pub struct Flashed(Vec<u8>);

impl Boards {
    pub fn new(esptool: Option<&Path>, espflash: Option<PathBuf>) -> Boards {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Boards { directory, stub: esptool.and_then(stub_of), espflash }
    }

    /// A board that was erased gets a build.
    pub fn flashed(&self, built: &Built) -> Flashed {
        let _ = fs::remove_file(self.directory.path().join("board.flash"));
        self.esplice(built);
        self.now()
    }

    /// Seconds of the board's clock that `esplice flash` takes from one build to another, from the
    /// reset into download mode to the reset into the app.
    pub fn seconds(&self, from: &Flashed, to: &Built) -> f64 {
        fs::write(self.directory.path().join("board.flash"), &from.0).expect("there is room");
        self.esplice(to)
    }

    fn esplice(&self, built: &Built) -> f64 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_esplice"));
        command.current_dir(self.directory.path()).arg("flash").arg(&built.path);
        command.args(["--port", "sim:esp32c3,flash=board.flash,time=virtual"]);
        command.args(["--baud", BAUD, "--format", "json"]);
        if let Some(stub) = &self.stub {
            command.arg("--stub").arg(stub);
        }
        let done = command.stderr(Stdio::piped()).output().expect("esplice starts");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let out = String::from_utf8_lossy(&done.stdout);
        let last = out.lines().last().unwrap_or_default();
        let summary: serde_json::Value = serde_json::from_str(last).expect("a summary");
        summary["seconds"].as_f64().expect("the port's time")
    }

    /// What the board holds now.
    pub fn now(&self) -> Flashed {
        let flash = self.directory.path().join("board.flash");
        Flashed(fs::read(flash).expect("it was made"))
    }

    /// What the app says until it ends or has run for some seconds, and how `esplice run` ended.
    pub fn says(&self, built: &Built) -> (String, Option<i32>) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_esplice"));
        command.current_dir(self.directory.path()).args(["run", "--elf"]);
        command.arg(built.path.with_extension("elf")).args(["--port", "sim:esp32c3"]);
        command.args(["--timeout", "8s", "--expect", "nothing says this"]);
        let done = command.output().expect("esplice starts");
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        // What stands before is the bootloader's, which tells lengths and times.
        let own = said.rsplit_once("Loaded app from partition").expect("it booted").1;
        (own.to_owned(), done.status.code())
    }

    /// Seconds that espflash takes to write the app of `to`, where it is here: it skips what is
    /// unchanged as a whole, and is given the app alone. The board holds still in download mode and
    /// runs in real time. The second figure is how far the host was behind at most.
    #[cfg(target_os = "linux")]
    pub fn espflash(&self, from: &Flashed, to: &Built) -> Option<(f64, f64)> {
        use std::{
            sync::{
                Arc,
                atomic::{AtomicBool, Ordering},
            },
            thread,
            time::Duration,
        };

        use esplice_sim::{Board, Bridge, TimeMode, nor::Nor, serve::Server};

        use super::support::{timed, workspace};

        let program = self.espflash.as_ref()?;
        let flash = self.directory.path().join("board.flash");
        fs::write(&flash, &from.0).expect("there is room");
        let chip = esplice_chip::find("esp32c3").expect("it is known");
        let timing = &chip.sim.as_ref().expect("there is a board").flash;
        let nor = Nor::open(&flash, timing.size(), timing).expect("it was just made");
        let mut board =
            Board::with_flash(chip, nor, TimeMode::Real).expect("the chip's data are good");
        // A pty has no lines to reset with.
        board.hold_boot_pin(true);
        board.set_bridge(Bridge::Usb);
        let link = self.directory.path().join("board");
        let mut server = Server::new(board, TimeMode::Real);
        server.pty(&link).expect("there are ptys");
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let serving = thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                server.turn(&mut |_| {});
            }
            server.lag().most.as_secs_f64()
        });
        // The ROM's words are over.
        thread::sleep(Duration::from_millis(200));
        let mut command = Command::new(workspace().join("scripts/as-tty"));
        command.arg(&link).arg(program).args(["write-bin", "--chip", "esp32c3"]);
        command.args(["--before", "no-reset", "--after", "no-reset", "--baud", BAUD]);
        command.args(["--port", "/dev/ttyUSB0", "0x10000"]).arg(&to.path);
        command.env("ESPFLASH_SKIP_UPDATE_CHECK", "true").stdin(Stdio::null());
        let (time, done) = timed(|| command.output());
        over.store(true, Ordering::Relaxed);
        let lag = serving.join().expect("the board lives on");
        let done = done.expect("it starts");
        if !done.status.success() {
            println!("espflash failed: {}", String::from_utf8_lossy(&done.stderr));
            return None;
        }
        let written = fs::read(&flash).expect("it is there");
        assert!(written.get(0x1_0000..).is_some_and(|app| app.starts_with(&to.image)));
        Some((time.as_secs_f64(), lag))
    }

    /// It wants ports that the system knows; that is arranged on Linux alone.
    #[cfg(not(target_os = "linux"))]
    pub fn espflash(&self, _: &Flashed, _: &Built) -> Option<(f64, f64)> {
        self.espflash.as_ref().and(None)
    }
}
