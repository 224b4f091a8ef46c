//! The virtual board's wire, judged by a flasher that knows nothing of this project: esptool, as a
//! program, with its own flasher stub executed on the board.

mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use support::repository;

const FLASH_LEN: usize = 4 << 20;
const OFFSET: usize = 0x1_0000;

/// A board that `esplice sim` offers; it ends with this value.
struct Board {
    program: Child,
    url: String,
    directory: tempfile::TempDir,
}

impl Board {
    fn new(flags: &[&str]) -> Board {
        let directory = tempfile::tempdir().unwrap();
        let mut program = Command::new(assert_cmd::cargo::cargo_bin!("esplice"))
            .args(["sim", "--chip", "esp32c3", "--flash", "board.flash", "--quiet"])
            .args(flags)
            .current_dir(directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(program.stdout.take().unwrap()).read_line(&mut url).unwrap();
        Board { program, url: url.trim().to_owned(), directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn flash(&self) -> Vec<u8> {
        fs::read(self.path("board.flash")).unwrap()
    }

    /// esptool with these words; its words must be among what it says, and it must succeed.
    fn esptool(&self, words: &str, told: &[&str]) {
        let output = esptool()
            .args(["--chip", "esp32c3", "--port", &self.url])
            .args(words.split_whitespace())
            .current_dir(self.directory.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words}: {text}{errors}");
        for part in told {
            assert!(text.contains(part), "{words}: no {part:?} in {text}");
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // The test is over either way.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// The program esptool: `ESPLICE_ESPTOOL`, else the one on PATH. Without it the test fails, as an
/// independent opinion that is silently missing is worse than none.
fn esptool() -> Command {
    let program = std::env::var_os("ESPLICE_ESPTOOL").map_or("esptool".into(), PathBuf::from);
    let program = if program.is_relative() && program.components().count() > 1 {
        repository().join(program)
    } else {
        program
    };
    let found = Command::new(&program).arg("version").output();
    assert!(
        found.as_ref().is_ok_and(|output| output.status.success()),
        "cannot run {program:?}: {found:?}; install it with `pip install esptool==5.6.0`, or name \
         it in ESPLICE_ESPTOOL",
    );
    Command::new(program)
}

/// An image of odd length that compresses to about half.
fn image(path: &Path) -> Vec<u8> {
    let mut seed = 1_u32;
    let bytes: Vec<u8> = (0..90_001)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 28) as u8 | 0x40
        })
        .collect();
    fs::write(path, &bytes).unwrap();
    bytes
}

/// What a write of `image` at [`OFFSET`] leaves of an erased flash; the last sector is filled up
/// with ones.
fn written(image: &[u8]) -> Vec<u8> {
    let mut flash = vec![0xff; FLASH_LEN];
    flash[OFFSET..OFFSET + image.len()].copy_from_slice(image);
    flash
}

const TCP: [&str; 5] = ["--tcp", "127.0.0.1:0", "--time", "none", "--download"];

/// All that esptool does to a board, with its stub: `before` are its flags.
fn everything(board: &Board, before: &str) {
    let image = image(&board.path("image.bin"));
    let erased = vec![0xff; FLASH_LEN];
    let does = |words: &str, told: &[&str]| board.esptool(&format!("{before} {words}"), told);
    does("chip-id", &["Stub flasher running", "MAC:"]);
    does("flash-id", &["Manufacturer: ef", "Device: 4016", "Detected flash size: 4MB"]);
    does("get-security-info", &["Secure Boot: Disabled", "Flash Encryption: Disabled"]);
    does("write-flash 0x10000 image.bin", &["Hash of data verified"]);
    assert!(board.flash() == written(&image), "the flash differs");
    does("verify-flash 0x10000 image.bin", &["Verification successful"]);
    does("read-flash 0x10000 90001 back.bin", &["Read 90001 bytes"]);
    assert!(fs::read(board.path("back.bin")).unwrap() == image, "what was read differs");
    does("erase-region 0x10000 0x16000", &["erased successfully"]);
    assert!(board.flash() == erased, "the flash is not erased");
    does("write-flash --no-compress 0x10000 image.bin", &["Hash of data verified"]);
    assert!(board.flash() == written(&image), "the flash differs");
    does("erase-flash", &["erased successfully"]);
    assert!(board.flash() == erased, "the flash is not erased");
}

#[test]
fn with_its_stub_over_tcp() {
    everything(&Board::new(&TCP), "");
}

#[test]
fn without_its_stub_over_tcp() {
    for compression in ["--compress", "--no-compress"] {
        let board = Board::new(&TCP);
        let image = image(&board.path("image.bin"));
        let does = |words: &str, told: &[&str]| board.esptool(&format!("--no-stub {words}"), told);
        does("get-security-info", &["Secure Boot: Disabled"]);
        does("flash-id", &["Manufacturer: ef", "Device: 4016"]);
        let write = format!("write-flash {compression} 0x10000 image.bin");
        does(&write, &["Hash of data verified"]);
        assert!(board.flash() == written(&image), "{compression}: the flash differs");
        does("verify-flash 0x10000 image.bin", &["Verification successful"]);
    }
}

/// Where the wire takes time a byte that is not taken in time is lost: the stub's interrupts must
/// come when they should.
#[test]
fn with_its_stub_where_the_wire_takes_time() {
    let board = Board::new(&["--tcp", "127.0.0.1:0", "--time", "virtual", "--download"]);
    let image = image(&board.path("image.bin"));
    for baud in ["115200", "921600"] {
        board.esptool(
            &format!("--baud {baud} write-flash 0x10000 image.bin"),
            &["Stub flasher", "Hash of data verified"],
        );
        assert!(board.flash() == written(&image), "{baud}: the flash differs");
        board.esptool(&format!("--baud {baud} erase-region 0x10000 0x16000"), &["erased"]);
    }
}

/// esptool resets the board into download mode by itself, and lets it run at the end. Its RFC 2217
/// client looks for each answer every 50 ms, so little is done here.
#[test]
fn with_automatic_reset_over_rfc2217() {
    let board = Board::new(&["--rfc2217", "127.0.0.1:0", "--time", "none"]);
    let image = image(&board.path("image.bin"));
    let words = "--baud 921600 write-flash 0x10000 image.bin";
    board.esptool(words, &["Stub flasher", "Changing baud rate", "Hash of data verified"]);
    assert!(board.flash() == written(&image), "the flash differs");
    board.esptool("--no-stub flash-id", &["Manufacturer: ef", "Hard resetting"]);
}
