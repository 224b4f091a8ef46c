//! Helpers of the cases: boards, flash contents, firmware, and the expected output.

use std::{path::Path, sync::Arc};

use crate::{compile::compiled, mask_rom};
use esplice_chip::{Chip, ChipDb};
use esplice_image::{
    FlashMode, FlashParams, ImageOptions, PartitionTable, build_image, second_stage,
};
use esplice_sim::{Board, TimeMode, nor::Nor};

/// The kind of mask ROM of a board.
#[derive(Debug, Clone, Copy)]
pub enum Rom {
    /// ROM functions are modelled.
    Hooked,
    /// The ROM's own code is executed.
    Executed,
}

pub fn chip() -> &'static Arc<Chip> {
    ChipDb::embedded().find("esp32c3").unwrap()
}

impl Rom {
    /// Returns a powered board with each of `parts` at its offset in flash.
    pub fn board(self, parts: &[(u32, &[u8])]) -> Board {
        self.timed_board(TimeMode::Virtual, parts)
    }

    /// Returns a board like [`Rom::board`] in the given time mode.
    pub fn timed_board(self, time: TimeMode, parts: &[(u32, &[u8])]) -> Board {
        let timing = &chip().sim.as_ref().unwrap().flash;
        let nor = Nor::in_memory(timing.size(), timing);
        let mut board = Board::with_flash(chip(), nor, time).unwrap();
        for (offset, bytes) in parts {
            board.load_flash_at(*offset, bytes).unwrap();
        }
        match self {
            Rom::Hooked => board,
            Rom::Executed => board.with_rom(mask_rom::image()),
        }
    }

    /// Returns a board with bootloader, ESP-IDF's default table and `app`.
    pub fn with_app(self, app: &[u8]) -> Board {
        self.board(&[(0, &bootloader()), (0x8000, &default_table()), (0x1_0000, app)])
    }
}

pub fn bootloader() -> Vec<u8> {
    let params = FlashParams { mode: FlashMode::Dio, freq: "80m".into(), size: 4 << 20 };
    second_stage(chip(), &params).unwrap().bytes
}

pub fn default_table() -> Vec<u8> {
    PartitionTable::esp_idf_default().to_bytes().unwrap()
}

/// Returns the image of a binary of `tests/firmware/boots`.
pub fn compiled_app(bin: &str) -> Vec<u8> {
    let elf = std::fs::read(compiled("boots", bin)).unwrap();
    build_image(&elf, chip(), &ImageOptions::for_chip(chip())).unwrap().bytes
}

/// Returns the app's output, which follows the bootloader's last line.
#[track_caller]
pub fn after_boot(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let Some((_, rest)) = said.split_once("boot: Loaded app from partition at offset ") else {
        panic!("the bootloader started no app: {said}");
    };
    rest.split_once("\r\n").map_or("", |(_, rest)| rest).to_owned()
}

/// Returns the contents of the file called `name` in `expected/`.
pub fn expected_output(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/boots/expected").join(name);
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Compares `text` with the file called `name` in `expected/`.
#[track_caller]
pub fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/boots/expected").join(name);
    if std::env::var_os("ESPLICE_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == expected, "{name}: found:\n{text}\nexpected:\n{expected}");
}

/// Returns a whole flash from offset 0 with bootloader, default table and a binary of
/// `tests/firmware/boots`.
pub fn whole_flash(bin: &str) -> Vec<u8> {
    let mut flash = bootloader();
    for (offset, part) in [(0x8000, default_table()), (0x1_0000, compiled_app(bin))] {
        flash.resize(offset, 0xff);
        flash.extend(part);
    }
    flash
}
