//! What the boards of all chips do that execute their mask ROM: the ROM's messages, and a boot
//! through ESP-IDF's second-stage bootloader to an app.

use std::time::Duration;

use crate::{
    firmware::{Code, app_of},
    mask_rom,
};
use std::sync::Arc;

use esplice_chip::{Chip, ChipDb};
use esplice_image::{FlashMode, FlashParams, PartitionTable};
use esplice_sim::{Board, TimeMode, nor::Nor};

/// A chip and what its ROM and bootloader print.
struct Case {
    chip: &'static str,
    banner: &'static str,
    boot: &'static str,
    download: &'static str,
    /// Lines that the bootloader prints, among others.
    bootloader: &'static [&'static str],
}

const CASES: [Case; 3] = [
    Case {
        chip: "esp32c3",
        banner: "ESP-ROM:esp32c3-api1-20210207\r\nBuild:Feb  7 2021\r\n",
        boot: "rst:0x1 (POWERON),boot:0xc (SPI_FAST_FLASH_BOOT)\r\n",
        download: "rst:0x1 (POWERON),boot:0x4 (DOWNLOAD(USB/UART0/1))\r\nwaiting for download\r\n",
        bootloader: &["boot: chip revision: v0.4", "SPI Speed      : 80MHz"],
    },
    Case {
        chip: "esp32c6",
        banner: "ESP-ROM:esp32c6-20220919\r\nBuild:Sep 19 2022\r\n",
        boot: "rst:0x1 (POWERON),boot:0xc (SPI_FAST_FLASH_BOOT)\r\n",
        download: "rst:0x1 (POWERON),boot:0x4 (DOWNLOAD(USB/UART0/SDIO_FEI_FEO))\r\n\
                   waiting for download\r\n",
        bootloader: &["boot: chip revision: v0.2", "SPI Speed      : 80MHz"],
    },
    Case {
        chip: "esp32h2",
        banner: "ESP-ROM:esp32h2-20221101\r\nBuild:Nov  1 2022\r\n",
        boot: "rst:0x1 (POWERON),boot:0xc (SPI_FAST_FLASH_BOOT)\r\n",
        download: "rst:0x1 (POWERON),boot:0x4 (DOWNLOAD(USB/UART0))\r\n\
                   waiting for download\r\n",
        bootloader: &["boot: chip revision: v0.2", "SPI Speed      : 64MHz"],
    },
];

fn chip(case: &Case) -> &'static Arc<Chip> {
    ChipDb::embedded().find(case.chip).unwrap()
}

fn board(case: &Case, nor: Nor) -> Board {
    let board = Board::with_flash(chip(case), nor, TimeMode::Virtual).unwrap();
    board.with_rom(&mask_rom::image_of(case.chip))
}

fn blank(case: &Case) -> Nor {
    let timing = &chip(case).sim.as_ref().unwrap().flash;
    Nor::in_memory(timing.size(), timing)
}

/// Returns the usual flash: ESP-IDF's bootloader, its table, an app.
fn flash(case: &Case, app: &[u8]) -> Nor {
    let chip = chip(case);
    let freq = chip.image.default_flash_freq.clone();
    let params = FlashParams { mode: FlashMode::Dio, freq, size: 4 << 20 };
    let bootloader = esplice_image::second_stage(chip, &params).unwrap().bytes;
    let table = PartitionTable::esp_idf_default().to_bytes().unwrap();
    let mut nor = blank(case);
    for (offset, bytes) in [(0, bootloader.as_slice()), (0x8000, &table), (0x1_0000, app)] {
        nor.program(offset, bytes).unwrap();
    }
    nor
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn blank_flash_is_an_invalid_header() {
    for case in CASES {
        let mut board = board(&case, blank(&case));
        let said = text(&board.run_for(Duration::from_millis(30)).unwrap());
        let expected = format!("{}{}invalid header: 0xffffffff\r\n", case.banner, case.boot);
        assert!(said.starts_with(&expected), "{}: {said}", case.chip);
    }
}

#[test]
fn the_boot_pin_selects_the_loader() {
    for case in CASES {
        let mut board = board(&case, blank(&case));
        board.hold_boot_pin(true);
        let said = text(&board.run_for(Duration::from_millis(50)).unwrap());
        assert_eq!(said, format!("{}{}", case.banner, case.download), "{}", case.chip);
    }
}

#[test]
fn the_bootloader_starts_an_app() {
    for case in CASES {
        let code = Code::new().say("app runs\r\n");
        let mut board = board(&case, flash(&case, &app_of(chip(&case), &code)));
        let said = text(&board.run_until(b"app runs\r\n", Duration::from_millis(400)).unwrap());
        assert!(said.starts_with(case.banner), "{}: {said}", case.chip);
        for line in case.bootloader {
            assert!(said.contains(line), "{}: {said}", case.chip);
        }
        let end = "Loaded app from partition at offset 0x10000\r\napp runs\r\n";
        assert!(said.ends_with(end), "{}: {said}", case.chip);
    }
}

/// Without the ROM such a board says what it needs.
#[test]
fn a_board_whose_rom_is_not_modelled_needs_it() {
    let mut board = Board::new("esp32c6").unwrap();
    let error = board.run_for(Duration::from_millis(10)).unwrap_err();
    assert!(
        error.to_string().contains("the virtual ESP32-C6 needs the chip's mask ROM"),
        "{error}"
    );
    assert!(error.hint().is_some_and(|hint| hint.contains("rom=FILE")));
    let error = esplice_sim::spec::Spec::parse("sim:esp32c6", ChipDb::embedded()).unwrap_err();
    assert_eq!(error.to_string(), "the virtual ESP32-C6 needs the chip's mask ROM");
    assert!(error.hint().is_some_and(|hint| hint.contains("rom=FILE")));
    esplice_sim::spec::Spec::parse("sim:esp32c6,rom=rom.elf", ChipDb::embedded()).unwrap();
}
