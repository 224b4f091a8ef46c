//! Tests the virtual board with an independent flasher: the esptool program, with its own flasher
//! stub running on the board, both with hooked ROM functions and with the mask ROM.

use std::fs;

use crate::{
    mask_rom,
    support::served::{Board, FLASH_LEN, esptool, image, written},
};

const TCP: [&str; 5] = ["--tcp", "127.0.0.1:0", "--time", "none", "--download"];

/// Runs esptool with these arguments, which must succeed; its output must contain the given texts.
#[track_caller]
fn run(board: &Board, words: &str, told: &[&str]) {
    run_with(esptool(), board, words, told);
}

/// The same with esptool's older stub, the only one up to version 4 and still included.
#[track_caller]
fn run_with_older_stub(board: &Board, words: &str, told: &[&str]) {
    let mut command = esptool();
    command.env("ESPTOOL_STUB_VERSION", "1");
    run_with(command, board, words, told);
}

#[track_caller]
fn run_with(mut command: std::process::Command, board: &Board, words: &str, told: &[&str]) {
    command.args(["--chip", "esp32c3", "--port", &board.port]).args(words.split_whitespace());
    board.run(&mut command, told);
}

/// Runs all operations of esptool on a board, with its stub; `before` are the global flags.
fn everything(board: &Board, before: &str) {
    everything_by(run, board, before);
}

fn everything_by(run: fn(&Board, &str, &[&str]), board: &Board, before: &str) {
    let image = image(&board.path("image.bin"));
    let erased = vec![0xff; FLASH_LEN];
    let does = |words: &str, told: &[&str]| run(board, &format!("{before} {words}"), told);
    does("chip-id", &["Stub flasher", "MAC:"]);
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
fn with_its_stub_on_the_mask_rom() {
    everything(&on_the_mask_rom("none"), "");
}

#[test]
fn with_its_older_stub() {
    everything_by(run_with_older_stub, &Board::new(&TCP), "");
}

/// The stub's receive loop polls ROM functions, which read from the port that reached the loader.
#[test]
fn with_its_older_stub_over_the_chips_own_usb() {
    let board = Board::new(&[&TCP[..], &["--line", "usb"]].concat());
    let image = image(&board.path("image.bin"));
    run_with_older_stub(&board, "write-flash 0x10000 image.bin", &["Hash of data verified"]);
    assert!(board.flash() == written(&image), "the flash differs");
    run_with_older_stub(&board, "read-flash 0x10000 90001 back.bin", &["Read 90001 bytes"]);
    assert!(fs::read(board.path("back.bin")).unwrap() == image, "what was read differs");
}

#[test]
fn with_its_older_stub_on_the_mask_rom() {
    everything_by(run_with_older_stub, &on_the_mask_rom("none"), "");
}

/// Creates a board in download mode that executes the mask ROM.
fn on_the_mask_rom(time: &str) -> Board {
    let rom = mask_rom::path().to_string_lossy().into_owned();
    Board::new(&["--tcp", "127.0.0.1:0", "--download", "--time", time, "--rom", &rom])
}

#[test]
fn without_its_stub_over_tcp() {
    without_its_stub(|| Board::new(&TCP));
}

#[test]
fn without_its_stub_on_the_mask_rom() {
    without_its_stub(|| on_the_mask_rom("none"));
}

fn without_its_stub(new: impl Fn() -> Board) {
    for compression in ["--compress", "--no-compress"] {
        let board = new();
        let image = image(&board.path("image.bin"));
        let does = |words: &str, told: &[&str]| run(&board, &format!("--no-stub {words}"), told);
        does("get-security-info", &["Secure Boot: Disabled"]);
        does("flash-id", &["Manufacturer: ef", "Device: 4016"]);
        let write = format!("write-flash {compression} 0x10000 image.bin");
        does(&write, &["Hash of data verified"]);
        assert!(board.flash() == written(&image), "{compression}: the flash differs");
        does("verify-flash 0x10000 image.bin", &["Verification successful"]);
    }
}

/// If the wire takes time, a byte not read in time is lost: the stub's interrupts must arrive on
/// time.
#[test]
fn with_its_stub_where_the_wire_takes_time() {
    where_the_wire_takes_time(&Board::new(&[
        "--tcp",
        "127.0.0.1:0",
        "--time",
        "virtual",
        "--download",
    ]));
}

#[test]
fn with_its_stub_on_the_mask_rom_where_the_wire_takes_time() {
    where_the_wire_takes_time(&on_the_mask_rom("virtual"));
}

fn where_the_wire_takes_time(board: &Board) {
    let image = image(&board.path("image.bin"));
    for baud in ["115200", "921600"] {
        run(
            board,
            &format!("--baud {baud} write-flash 0x10000 image.bin"),
            &["Stub flasher", "Hash of data verified"],
        );
        assert!(board.flash() == written(&image), "{baud}: the flash differs");
        run(board, &format!("--baud {baud} erase-region 0x10000 0x16000"), &["erased"]);
    }
}

/// esptool resets the board into download mode by itself, and starts it at the end. Its RFC 2217
/// client polls for each answer every 50 ms, so this test does little.
#[test]
fn with_automatic_reset_over_rfc2217() {
    let board = Board::new(&["--rfc2217", "127.0.0.1:0", "--time", "none"]);
    let image = image(&board.path("image.bin"));
    let words = "--baud 921600 write-flash 0x10000 image.bin";
    run(&board, words, &["Stub flasher", "Changing baud rate", "Hash of data verified"]);
    assert!(board.flash() == written(&image), "the flash differs");
    run(&board, "--no-stub flash-id", &["Manufacturer: ef", "Hard resetting"]);
}

/// Each of several boards of one program has its own port and flash.
#[test]
fn several_boards_at_once() {
    const COUNT: usize = 3;
    let boards =
        Board::new(&["--tcp", "127.0.0.1:0", "--time", "none", "--download", "--count", "3"]);
    let mut ports = boards.ports.clone();
    ports.sort();
    ports.dedup();
    assert_eq!(ports.len(), COUNT, "{:?}", boards.ports);
    let mut images = Vec::new();
    let mut running = Vec::new();
    for (number, port) in boards.ports.iter().enumerate() {
        let name = format!("image{number}.bin");
        let mut image = image(&boards.path(&name));
        image.rotate_left(number * 1000);
        fs::write(boards.path(&name), &image).unwrap();
        images.push(image);
        let mut command = esptool();
        command
            .args(["--chip", "esp32c3", "--port", port, "write-flash", "0x10000", &name])
            .current_dir(boards.directory())
            .stdout(std::process::Stdio::piped());
        running.push(command.spawn().unwrap());
    }
    for (number, (running, image)) in running.into_iter().zip(images).enumerate() {
        let output = running.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains("Hash of data verified"), "{text}");
        let flash = fs::read(boards.path(&format!("board{number}.flash"))).unwrap();
        assert!(flash == written(&image), "board {number}: the flash differs");
    }
}

/// The chip's own USB: esptool resets the board as for any USB port.
#[test]
fn with_its_stub_over_usb() {
    over_usb(&[]);
}

#[test]
fn with_its_stub_over_usb_on_the_mask_rom() {
    let rom = mask_rom::path().to_string_lossy().into_owned();
    over_usb(&["--rom", &rom]);
}

fn over_usb(flags: &[&str]) {
    let usb = ["--time", "none", "--line", "usb"];
    let board = Board::new(&[&["--tcp", "127.0.0.1:0", "--download"][..], &usb, flags].concat());
    let image = image(&board.path("image.bin"));
    let does = |words: &str, told: &[&str]| {
        run(&board, &format!("--before no-reset --after no-reset {words}"), told);
    };
    does("write-flash 0x10000 image.bin", &["Stub flasher", "Hash of data verified"]);
    assert!(board.flash() == written(&image), "the flash differs");
    does("read-flash 0x10000 90001 back.bin", &["Read 90001 bytes"]);
    assert!(fs::read(board.path("back.bin")).unwrap() == image, "what was read differs");
    let board = Board::new(&[&["--rfc2217", "127.0.0.1:0"][..], &usb, flags].concat());
    let words = "--before usb-reset --no-stub flash-id";
    run(&board, words, &["Detected flash size: 4MB", "Hard resetting"]);
}

/// A pty carries the baud rate, and so the wire's time, but neither DTR nor RTS.
#[cfg(unix)]
#[test]
fn over_a_pty() {
    let board = Board::new(&["--pty", "board", "--time", "virtual", "--download"]);
    everything(&board, "--before no-reset --after no-reset");
    // A clean exit removes the link.
    assert!(fs::symlink_metadata(board.path("board")).is_ok());
    let directory = board.interrupt();
    assert!(fs::symlink_metadata(directory.path().join("board")).is_err());
}

#[cfg(unix)]
#[test]
fn without_its_stub_over_a_pty() {
    let board = Board::new(&["--pty", "board", "--time", "virtual", "--download"]);
    let image = image(&board.path("image.bin"));
    let words =
        "--before no-reset --after no-reset --no-stub --baud 921600 write-flash 0x10000 image.bin";
    run(&board, words, &["Changing baud rate", "Hash of data verified"]);
    assert!(board.flash() == written(&image), "the flash differs");
}

/// In secure download mode, the ROM accepts plain writes and reports few facts.
#[test]
fn in_secure_download_mode() {
    let board = Board::new(&[&TCP[..], &["--efuse", "enable-security-download:1"]].concat());
    let image = image(&board.path("image.bin"));
    run(&board, "--no-stub get-security-info", &["Flags: 0x00000004"]);
    run(&board, "--no-stub write-flash 0x10000 image.bin", &["in Secure Download Mode"]);
    assert!(board.flash() == written(&image), "the flash differs");
    let mut command = esptool();
    command.args(["--chip", "esp32c3", "--port", &board.port]).args(["--no-stub", "read-mac"]);
    let told = board.run_with_exit(&mut command, 2);
    assert!(told.contains("not available in Secure Download Mode"), "{told}");
}
