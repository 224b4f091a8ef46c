//! Tests of files that are loaded as flash contents but are something else.

use esplice_sim::{Board, SimError};

/// Returns the start of an app image: header, a segment at `addr`, the descriptor's magic (ESP-IDF,
/// esp_app_format.h and esp_app_desc.h).
fn app(addr: u32) -> Vec<u8> {
    let mut image = vec![0xe9, 1, 2, 0x20];
    image.resize(24, 0);
    image.extend(addr.to_le_bytes());
    image.extend(256_u32.to_le_bytes());
    image.extend(0xabcd_5432_u32.to_le_bytes());
    image.resize(512, 0);
    image
}

#[test]
fn other_files_than_a_whole_flash_are_refused_at_once() {
    for (bytes, what) in [
        (b"\x7fELF\x01\x01\x01".to_vec(), "an ELF"),
        (b"UF2\nWQ]\x9e".to_vec(), "a UF2 file"),
        (b":020000040000FA\n".to_vec(), "an Intel HEX file"),
        (app(0x3c00_0020), "only an app image"),
    ] {
        let mut board = Board::new("esp32c3").unwrap();
        let before = board.flash().bytes().to_vec();
        let error = board.load_flash(&bytes).unwrap_err();
        assert!(matches!(error, SimError::NotFlashContents { .. }), "{error}");
        let text = format!("this is {what}, not the contents of a flash chip from offset 0: load ");
        assert!(error.to_string().starts_with(&text), "{error}");
        assert!(error.to_string().contains("NAME.merged.bin"), "{error}");
        assert!(board.flash().bytes() == before, "nothing was loaded");
    }
}

#[test]
fn what_the_rom_may_load_is_taken() {
    // A program in RAM with a descriptor, an erased start, an empty image, and a text that starts
    // like Intel HEX.
    for bytes in [app(0x3fc8_0000), vec![0xff; 0x1000], Vec::new(), b":-)".to_vec()] {
        Board::new("esp32c3").unwrap().load_flash(&bytes).unwrap();
    }
}
