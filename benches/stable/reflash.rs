//! Measures how long it takes to update a board from one build to the next.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use super::project::Built;

/// Baud rate of the transfer.
const BAUD: &str = "921600";

/// Flashes virtual boards.
pub struct Boards {
    directory: tempfile::TempDir,
    espflash: Option<PathBuf>,
}

/// The content of a flash after flashing a build.
pub struct Flashed(Vec<u8>);

impl Boards {
    pub fn new(espflash: Option<PathBuf>) -> Boards {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Boards { directory, espflash }
    }

    /// Flashes a build to an erased board.
    pub fn flashed(&self, built: &Built) -> Flashed {
        let _ = fs::remove_file(self.directory.path().join("board.flash"));
        self.esplice(built);
        self.now()
    }

    /// Returns the seconds on the board's clock that `esplice flash` takes from one build to
    /// another, from the reset into download mode to the reset into the app.
    pub fn seconds(&self, from: &Flashed, to: &Built) -> f64 {
        fs::write(self.directory.path().join("board.flash"), &from.0).expect("the disk has space");
        self.esplice(to)
    }

    fn esplice(&self, built: &Built) -> f64 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_esplice"));
        command.current_dir(self.directory.path()).arg("flash").arg(&built.path);
        command.args(["--port", "sim:esp32c3,flash=board.flash,time=virtual"]);
        command.args(["--baud", BAUD, "--format", "json"]);
        let done = command.stderr(Stdio::piped()).output().expect("esplice starts");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let out = String::from_utf8_lossy(&done.stdout);
        let last = out.lines().last().unwrap_or_default();
        let summary: serde_json::Value = serde_json::from_str(last).expect("a summary");
        summary["seconds"].as_f64().expect("the port's time")
    }

    /// Returns the board's current flash content.
    pub fn now(&self) -> Flashed {
        let flash = self.directory.path().join("board.flash");
        Flashed(fs::read(flash).expect("the flash file exists"))
    }

    /// Returns the app's output until it ends or has run for some seconds, and the exit code of
    /// `esplice run`.
    pub fn says(&self, built: &Built) -> (String, Option<i32>) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_esplice"));
        command.current_dir(self.directory.path()).args(["run", "--elf"]);
        command.arg(built.path.with_extension("elf")).args(["--port", "sim:esp32c3"]);
        command.args(["--timeout", "8s", "--expect", "nothing says this"]);
        let done = command.output().expect("esplice starts");
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        // The text before it is the bootloader's, which contains lengths and times.
        let own = said.rsplit_once("Loaded app from partition").expect("the app booted").1;
        (own.to_owned(), done.status.code())
    }

    /// Returns the seconds that espflash takes to write the app of `to`, if it is installed. It
    /// skips an app that is unchanged as a whole, and is given only the app. The board waits in
    /// download mode and runs in real time. The second figure is the host's maximum lag.
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
        fs::write(&flash, &from.0).expect("the disk has space");
        let chip = esplice_chip::ChipDb::embedded().find("esp32c3").expect("the chip is known");
        let timing = &chip.sim.as_ref().expect("the chip has a virtual board").flash;
        let nor =
            Nor::open(&flash, timing.size(), timing).expect("the flash file was just created");
        let mut board =
            Board::with_flash(chip, nor, TimeMode::Real).expect("the chip's data is valid");
        // A pty has no reset lines.
        board.hold_boot_pin(true);
        board.set_bridge(Bridge::Usb);
        let link = self.directory.path().join("board");
        let mut server = Server::new(board, TimeMode::Real);
        server.pty(&link).expect("the system has ptys");
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let serving = thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                server.turn(&mut |_| {});
            }
            server.lag().most.as_secs_f64()
        });
        // By then the ROM has finished its output.
        thread::sleep(Duration::from_millis(200));
        let mut command = Command::new(workspace().join("scripts/as-tty"));
        command.arg(&link).arg(program).args(["write-bin", "--chip", "esp32c3"]);
        command.args(["--before", "no-reset", "--after", "no-reset", "--baud", BAUD]);
        command.args(["--port", "/dev/ttyUSB0", "0x10000"]).arg(&to.path);
        command.env("ESPFLASH_SKIP_UPDATE_CHECK", "true").stdin(Stdio::null());
        let (time, done) = timed(|| command.output());
        over.store(true, Ordering::Relaxed);
        let lag = serving.join().expect("the server thread does not panic");
        let done = done.expect("the program starts");
        if !done.status.success() {
            println!("espflash failed: {}", String::from_utf8_lossy(&done.stderr));
            return None;
        }
        let written = fs::read(&flash).expect("the file exists");
        assert!(written.get(0x1_0000..).is_some_and(|app| app.starts_with(&to.image)));
        Some((time.as_secs_f64(), lag))
    }

    /// espflash requires ports that the system lists, which is only arranged on Linux.
    #[cfg(not(target_os = "linux"))]
    pub fn espflash(&self, _: &Flashed, _: &Built) -> Option<(f64, f64)> {
        self.espflash.as_ref().and(None)
    }
}
