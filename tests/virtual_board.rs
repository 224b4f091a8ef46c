//! Tests virtual boards on the command line: where their cable is plugged in, and errors for
//! behaviour that is not modelled.

use std::{fs, path::Path, process::Command};

use crate::support::served::{self, Board};

/// Makes a flash whose headerless image calls a ROM function that is not modelled: direct boot,
/// `qsort`.
fn unmodelled() -> Vec<u8> {
    let words: [u32; 6] = [
        0xaedb_041d,
        0xaedb_041d,
        0x4000_02b7, // lui t0, 0x40000
        0x4342_8293, // addi t0, t0, 0x434
        0x0002_80e7, // jalr ra, t0
        0x0000_006f, // j .
    ];
    let mut flash: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    flash.resize(served::FLASH_LEN, 0xff);
    flash
}

/// Runs `esplice WORDS` in `directory`, which must end with `exit`, and returns its output.
#[track_caller]
fn esplice(directory: &Path, words: &str, exit: i32) -> String {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("esplice"));
    let output = command.args(words.split_whitespace()).current_dir(directory).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{words}: {text}");
    text
}

/// XIAO and QT Py use the chip's own USB: the ROM's first output after a reset appears there.
#[test]
fn a_board_has_its_cable_where_its_socket_is() {
    let directory = tempfile::tempdir().unwrap();
    for board in
        ["xiao-esp32c3", "qtpy-esp32c3", "esp32c3,line=usb", "esp32-c3-devkitm-1", "esp32c3"]
    {
        for reset in ["", "--no-reset"] {
            let words = format!("monitor --port sim:{board} {reset} --timeout 3s --expect header:");
            let said = esplice(directory.path(), &words, 0);
            assert!(said.contains("ESP-ROM:esp32c3-api1-20210207"), "{board} {reset}: {said}");
            let over_usb = reset.is_empty() && !board.contains("devkitm") && board != "esp32c3";
            let reason = if over_usb { "rst:0x15" } else { "rst:0x1 " };
            assert!(said.contains(reason), "{board} {reset}: {said}");
        }
        // The loader is reached at the first attempt, without any reset option.
        let said = esplice(directory.path(), &format!("detect --port sim:{board}"), 0);
        assert!(said.contains("4096 KB") && !said.contains("try 2"), "{board}: {said}");
    }
}

#[test]
fn what_is_not_modelled_ends_with_its_own_code() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("board.flash"), unmodelled()).unwrap();
    let port = "sim:esp32c3,flash=board.flash";
    let said = esplice(directory.path(), &format!("monitor --port {port} --expect Hello"), 27);
    assert!(said.contains("ROM function qsort at 0x40000434 is not modelled"), "{said}");
    assert!(said.contains(&format!("--port {port},rom=FILE")), "{said}");
}

/// Ctrl-C is the normal end of `esplice sim`, unless its board has stopped.
#[cfg(unix)]
#[test]
fn a_served_board_ends_well_unless_it_met_what_is_not_modelled() {
    Board::new(&["--tcp", "127.0.0.1:0"]).interrupt();
    let board = Board::with_flash(&["--tcp", "127.0.0.1:0"], Some(&unmodelled()));
    std::thread::park_timeout(std::time::Duration::from_secs(2));
    board.interrupt_with_exit(27);
}

#[test]
fn a_chip_without_a_virtual_board_names_those_that_have_one() {
    let directory = tempfile::tempdir().unwrap();
    for words in ["monitor --port sim:esp32s3", "sim --chip esp32s3 --tcp 127.0.0.1:0"] {
        let said = esplice(directory.path(), words, 10);
        assert!(said.contains("there is no virtual ESP32-S3"), "{said}");
        assert!(said.contains("hint: chips with a virtual board: esp32c2, esp32c3, "), "{said}");
    }
}

/// Most boards execute the mask ROM, which must be given.
#[test]
fn a_board_without_its_rom_says_what_it_needs() {
    let directory = tempfile::tempdir().unwrap();
    for words in ["monitor --port sim:xiao-esp32c6", "sim --chip esp32c6 --tcp 127.0.0.1:0"] {
        let said = esplice(directory.path(), words, 2);
        assert!(said.contains("the virtual ESP32-C6 needs the chip's mask ROM"), "{said}");
        assert!(said.contains("rom=FILE") && said.contains("--rom FILE"), "{said}");
    }
}

/// The port that `esplice sim` prints works for esplice, too.
#[test]
fn the_port_that_is_printed_is_accepted() {
    let board = Board::new(&["--tcp", "127.0.0.1:0", "--download"]);
    assert!(board.port.starts_with("socket://"), "{}", board.port);
    let said = esplice(board.directory(), &format!("detect --port {}", board.port), 0);
    assert!(said.contains("ESP32-C3"), "{said}");
}
