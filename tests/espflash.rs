//! Tests the virtual board with an unmodified espflash program, with its own flasher stub running
//! on the board and without.
//!
//! espflash opens only serial ports that the system lists. `scripts/as-tty` makes the board's pty
//! appear as one, in a mount namespace. If a namespace cannot be created, these tests fail with the
//! reason.
#![cfg(target_os = "linux")]

use std::{fs, process::Command};

use crate::{
    mask_rom,
    support::{
        self, repository,
        served::{Board, FLASH_LEN, OFFSET, image, peer, written},
    },
};
use md5::{Digest as _, Md5};

/// The board's pty has no DTR and RTS, so these cannot reset it.
const FLAGS: [&str; 6] = ["--port", "/dev/ttyUSB0", "--before", "no-reset", "--after", "no-reset"];

/// Runs espflash with these arguments, which must succeed; its output must contain `told`.
#[track_caller]
fn run(board: &Board, words: &str, told: &[&str]) {
    run_for("esp32c3", board, words, told);
}

/// The same for another chip.
#[track_caller]
pub fn run_for(chip: &str, board: &Board, words: &str, told: &[&str]) {
    let install = "cargo install espflash --locked --version 4.7.0";
    let espflash = peer("ESPLICE_ESPFLASH", "espflash", "--version", install);
    let mut words = words.split_whitespace();
    let command = words.next().unwrap();
    let mut as_tty = Command::new(repository().join("scripts/as-tty"));
    as_tty
        .arg(&board.port)
        .arg(espflash)
        .arg(command)
        .args(["--chip", chip])
        .args(FLAGS)
        .args(words)
        .env("ESPFLASH_SKIP_UPDATE_CHECK", "true")
        // Its settings and its log stay in the test's directory.
        .env("HOME", board.directory())
        .env_remove("RUST_LOG");
    board.run(&mut as_tty, told);
}

fn md5_of(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

const SERVED: [&str; 5] = ["--pty", "board", "--time", "virtual", "--download"];

/// Creates a board that implements ROM functions itself, or one that executes the mask ROM.
fn board(executes_rom: bool) -> Board {
    let rom = mask_rom::path().to_string_lossy().into_owned();
    let rom = ["--rom", &rom];
    Board::new(&[&SERVED[..], if executes_rom { &rom } else { &[] }].concat())
}

#[test]
fn with_its_stub() {
    everything(&board(false));
}

#[test]
fn with_its_stub_on_the_mask_rom() {
    everything(&board(true));
}

fn everything(board: &Board) {
    let image = image(&board.path("image.bin"));
    let erased = vec![0xff; FLASH_LEN];
    let digest = md5_of(&image);
    run(board, "board-info", &["esp32c3 (revision v0.4)", "Flash size:        4MB", "MAC"]);
    run(board, "board-info", &["Security Information", "Secure Boot: Disabled"]);
    run(board, "write-bin 0x10000 image.bin", &["successfully written"]);
    assert!(board.flash() == written(&image), "the flash differs");
    run(board, "checksum-md5 0x10000 90001", &[&format!("0x{digest}")]);
    run(board, "read-flash 0x10000 90001 back.bin", &["successfully read"]);
    assert!(fs::read(board.path("back.bin")).unwrap() == image, "what was read differs");
    run(board, "erase-region 0x10000 0x16000", &["Erasing region"]);
    assert!(board.flash() == erased, "the flash is not erased");
    run(board, "write-bin --baud 921600 0x10000 image.bin", &["successfully written"]);
    assert!(board.flash() == written(&image), "the flash differs");
}

#[test]
fn erases_everything() {
    let board = Board::with_flash(&SERVED, Some(&vec![0; FLASH_LEN]));
    run(&board, "erase-flash", &["Flash has been erased"]);
    assert!(board.flash() == vec![0xff; FLASH_LEN], "the flash is not erased");
}

/// Reading is not covered: without a stub, espflash requests wrong places.
#[test]
fn without_its_stub() {
    for executes_rom in [false, true] {
        write_without_stub(&board(executes_rom));
    }
}

fn write_without_stub(board: &Board) {
    let image = image(&board.path("image.bin"));
    run(board, "board-info --no-stub", &["esp32c3 (revision v0.4)", "Secure Boot: Disabled"]);
    run(board, "write-bin --no-stub 0x10000 image.bin", &["successfully written"]);
    assert!(board.flash()[OFFSET..OFFSET + image.len()] == image, "the flash differs");
}

/// Flashes bootloader, partition table and app of an ELF. espflash verifies each, and the board
/// boots them.
#[test]
fn an_elf_that_then_runs() {
    let board = board(false);
    let hello = support::elf::hello("Hello, World!\r\n");
    fs::write(board.path("hello.elf"), hello.to_bytes()).unwrap();
    run(&board, "flash hello.elf", &["Flashing has completed"]);
    let directory = board.interrupt();
    let words = "monitor --port sim:esp32c3,flash=board.flash --expect World!\\r\\n --timeout 5s";
    support::run(directory.path(), words).check(0, &[]);
}

/// espflash lists the port completely: name, ids, manufacturer and product.
#[test]
fn its_list_of_ports_is_complete() {
    let board = board(false);
    let install = "cargo install espflash --locked --version 4.7.0";
    let espflash = peer("ESPLICE_ESPFLASH", "espflash", "--version", install);
    let mut as_tty = Command::new(repository().join("scripts/as-tty"));
    as_tty.arg(&board.port).arg(espflash).args(["list-ports", "--skip-update-check"]);
    as_tty.env("HOME", board.directory()).env_remove("RUST_LOG");
    let listed = board.run(&mut as_tty, &["/dev/ttyUSB0"]);
    let port = listed.lines().find(|line| line.starts_with("/dev/ttyUSB0")).unwrap();
    let ids = ["10C4:EA60", "EA60:10C4"].iter().any(|ids| port.contains(ids));
    assert!(ids && port.ends_with("Silicon Labs  esplice virtual board"), "{port:?}");
}
