//! Tests the virtual boards of all chips whose mask ROM can be executed with independent flashers
//! and with esplice itself.

use std::fs;

use crate::{
    mask_rom,
    support::{
        self,
        served::{Board, FLASH_LEN, esptool, image, written},
    },
};

/// Chips, and what esptool and esplice say about their boards.
const CHIPS: [(&str, &str); 3] = [
    ("esp32c2", "ESP32-C2 (revision v1.2)"),
    ("esp32c6", "ESP32-C6 (QFN40) (revision v0.2)"),
    ("esp32h2", "ESP32-H2 (revision v0.2)"),
];

fn board(chip: &str, time: &str) -> Board {
    let rom = mask_rom::path_of(chip).to_string_lossy().into_owned();
    Board::of(chip, &["--tcp", "127.0.0.1:0", "--download", "--time", time, "--rom", &rom], None)
}

#[track_caller]
fn run(board: &Board, chip: &str, words: &str, told: &[&str]) {
    let mut command = esptool();
    command.args(["--chip", chip, "--port", &board.port]).args(words.split_whitespace());
    board.run(&mut command, told);
}

#[test]
fn esptool_with_its_stub() {
    for (chip, name) in CHIPS {
        let board = board(chip, "none");
        let image = image(&board.path("image.bin"));
        let does = |words: &str, told: &[&str]| run(&board, chip, words, told);
        does("flash-id", &[name, "Stub flasher running", "Detected flash size: 4MB"]);
        does("get-security-info", &["Secure Boot: Disabled", "Flash Encryption: Disabled"]);
        does("write-flash 0x10000 image.bin", &["Hash of data verified"]);
        assert!(board.flash() == written(&image), "{chip}: the flash differs");
        does("verify-flash 0x10000 image.bin", &["Verification successful"]);
        does("read-flash 0x10000 90001 back.bin", &["Read 90001 bytes"]);
        assert!(fs::read(board.path("back.bin")).unwrap() == image, "{chip}");
        does("erase-flash", &["erased successfully"]);
        assert!(board.flash() == vec![0xff; FLASH_LEN], "{chip}: the flash is not erased");
    }
}

#[test]
fn esptool_without_its_stub() {
    for (chip, name) in CHIPS {
        for compression in ["--compress", "--no-compress"] {
            let board = board(chip, "none");
            let image = image(&board.path("image.bin"));
            let does = |words: &str, told: &[&str]| {
                run(&board, chip, &format!("--no-stub {words}"), told);
            };
            does("flash-id", &[name, "Manufacturer: ef", "Device: 4016"]);
            let write = format!("write-flash {compression} 0x10000 image.bin");
            does(&write, &["Hash of data verified"]);
            assert!(board.flash() == written(&image), "{chip}, {compression}: the flash differs");
        }
    }
}

/// If the wire takes time, a byte not read in time is lost.
#[test]
fn esptool_where_the_wire_takes_time() {
    for (chip, _) in CHIPS {
        let board = board(chip, "virtual");
        let image = image(&board.path("image.bin"));
        run(
            &board,
            chip,
            "--baud 921600 write-flash 0x10000 image.bin",
            &["Hash of data verified"],
        );
        assert!(board.flash() == written(&image), "{chip}: the flash differs");
    }
}

/// Writes with the ROM loader alone at the default and at a raised rate, and detects the chip.
#[test]
fn esplice_s_own_flasher() {
    for (chip, _) in CHIPS {
        let directory = tempfile::tempdir().unwrap();
        let image = image(&directory.path().join("image.bin"));
        let rom = mask_rom::path_of(chip);
        let port = format!("sim:{chip},flash=board.flash,rom={}", rom.display());
        let esplice = |words: &str| support::run(directory.path(), words).check(0, &[]);
        let said = esplice(&format!("detect --port {port}"));
        assert!(
            said.out.contains("mac       02:00:00:") && said.out.contains("flash     4096 KB"),
            "{said:#?}"
        );
        for baud in [115_200, 921_600] {
            let said = esplice(&format!("write --port {port} --baud {baud} 0x10000 image.bin"));
            assert!(said.out.contains("erified") || said.err.contains("erified"), "{said:#?}");
            let flash = fs::read(directory.path().join("board.flash")).unwrap();
            assert!(flash == written(&image), "{chip}: the flash differs");
        }
    }
}

/// Over the chip's own USB, where it has one.
#[test]
fn esptool_over_usb() {
    for (chip, _) in CHIPS.into_iter().filter(|(chip, _)| *chip != "esp32c2") {
        let rom = mask_rom::path_of(chip).to_string_lossy().into_owned();
        let flags = ["--tcp", "127.0.0.1:0", "--time", "none", "--download", "--line", "usb"];
        for stub in ["", "--no-stub "] {
            let board = Board::of(chip, &[&flags[..], &["--rom", &rom]].concat(), None);
            let image = image(&board.path("image.bin"));
            let write = format!("{stub}write-flash 0x10000 image.bin");
            run(&board, chip, &write, &["Hash of data verified"]);
            assert!(board.flash() == written(&image), "{chip}, {stub}: the flash differs");
        }
    }
}

/// The program espflash, with its stub and without.
#[cfg(target_os = "linux")]
#[test]
fn the_program_espflash() {
    for (chip, name) in CHIPS {
        let rom = mask_rom::path_of(chip).to_string_lossy().into_owned();
        let flags = ["--pty", "board", "--time", "virtual", "--download", "--rom", &rom];
        let board = Board::of(chip, &flags, None);
        let image = image(&board.path("image.bin"));
        let does = |words: &str, told: &[&str]| crate::espflash::run_for(chip, &board, words, told);
        let revision = name.rsplit_once('(').unwrap().1.trim_end_matches(')');
        does("board-info", &[&format!("{chip} ({revision})"), "Flash size:        4MB"]);
        does("write-bin 0x10000 image.bin", &["successfully written"]);
        assert!(board.flash() == written(&image), "{chip}: the flash differs");
        does("erase-region 0x10000 0x16000", &["Erasing region"]);
        assert!(board.flash() == vec![0xff; FLASH_LEN], "{chip}: the flash is not erased");
        // The last one, because the stub keeps the rate.
        does("write-bin --baud 921600 0x10000 image.bin", &["successfully written"]);
        assert!(board.flash() == written(&image), "{chip}: the flash differs");

        let board = Board::of(chip, &flags, None);
        fs::write(board.path("image.bin"), &image).unwrap();
        let write = "write-bin --no-stub 0x10000 image.bin";
        crate::espflash::run_for(chip, &board, write, &["successfully written"]);
        let end = crate::support::served::OFFSET + image.len();
        assert!(
            board.flash()[crate::support::served::OFFSET..end] == image,
            "{chip}: the flash differs"
        );
    }
}
