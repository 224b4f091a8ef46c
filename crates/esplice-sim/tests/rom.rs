//! Tests of a board that executes the mask ROM: its boot, and files that are not a ROM.

use std::{sync::Arc, time::Duration};

use crate::{
    firmware::{Code, app},
    mask_rom,
};
use esplice_chip::{Chip, ChipDb};
use esplice_image::{FlashMode, FlashParams, PartitionTable};
use esplice_sim::{Board, RomImage, TimeMode, nor::Nor};

fn chip() -> &'static Arc<Chip> {
    ChipDb::embedded().find("esp32c3").unwrap()
}

/// Returns the usual flash: ESP-IDF's bootloader, its table, an app.
fn flash(app: &[u8]) -> Nor {
    let params = FlashParams { mode: FlashMode::Dio, freq: "80m".into(), size: 4 << 20 };
    let bootloader = esplice_image::second_stage(chip(), &params).unwrap().bytes;
    let table = PartitionTable::esp_idf_default().to_bytes().unwrap();
    let timing = &chip().sim.as_ref().unwrap().flash;
    let mut nor = Nor::in_memory(timing.size(), timing);
    for (offset, bytes) in [(0, bootloader.as_slice()), (0x8000, &table), (0x1_0000, app)] {
        nor.program(offset, bytes).unwrap();
    }
    nor
}

#[test]
fn the_usual_flash_boots() {
    let nor = flash(&app(&Code::new().say("app runs\r\n")));
    let mut board =
        Board::with_flash(chip(), nor, TimeMode::Virtual).unwrap().with_rom(mask_rom::image());
    let text = board.run_until(b"app runs\r\n", Duration::from_millis(300)).unwrap();
    let text = String::from_utf8_lossy(&text);
    assert!(text.starts_with("ESP-ROM:esp32c3-api1-20210207\r\nBuild:Feb  7 2021\r\n"), "{text}");
    assert!(
        text.ends_with("Loaded app from partition at offset 0x10000\r\napp runs\r\n"),
        "{text}"
    );
}

/// Checks the error for a ROM file changed by `change`.
#[track_caller]
fn refused(change: impl FnOnce(&mut Vec<u8>), message: &str) {
    let mut elf = mask_rom::elf();
    change(&mut elf);
    let error = RomImage::from_elf(&elf, chip()).unwrap_err();
    assert!(error.to_string().contains(message), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("esp-rom-elfs")), "{error}");
}

#[test]
fn a_file_that_is_no_rom_is_refused_with_what_it_is() {
    refused(Vec::clear, "the ROM file of 0 bytes is not a 32-bit ELF file: it is too short");
    refused(|elf| elf[0] = 0xe9, "it begins with e9454c460101");
    refused(|elf| elf[4] = 2, "class 2 and byte order 1 instead of 1 and 1");
    refused(|elf| elf[18] = 94, "is for ELF machine 94, and the ESP32-C3 is machine 243");
    refused(|elf| elf.truncate(0x1_0000), "of 65536 bytes is not a 32-bit ELF file");
    // The file has no sections left.
    refused(|elf| elf[48..50].fill(0), "has no code at 0x40000000, where the ESP32-C3 starts");
    // The section `.fixed.text`, whose bytes begin at 0x1000: jump and chip ID.
    refused(|elf| elf[0x1000..0x1004].fill(0), "its first code is 20168 bytes at 0x3ff19c00");
    // Section 69, `.rodata`, with its address increased.
    refused(
        |elf| elf[0x87174 + 69 * 40 + 12..][..4].copy_from_slice(&0x3ff1_f000_u32.to_le_bytes()),
        ".rodata of the ROM file, 20168 bytes at 0x3ff1f000, runs past rom-data, 131072 bytes at",
    );
    refused(
        |elf| elf[0x1014] = 2,
        "_rom_chip_id at 0x40000014 is 0x00000002 instead of 0x00000003",
    );
}
