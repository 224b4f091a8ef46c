//! Images without a second-stage bootloader.

use esplice_image::{ImageOptions, build_image};
use esplice_sim::secs;

use crate::{
    bench::{Rom, chip},
    compile::compiled,
};

/// An image of TinyGo's kind, which maps flash itself: constants, code, data and 64-bit division of
/// the ROM come out right only if its MMU entries, copies and cleared memory do.
pub fn an_image_that_maps_flash_itself(rom: &Rom) {
    let elf = std::fs::read(compiled("maps-flash", "maps-flash")).unwrap();
    let image = build_image(&elf, chip(), &ImageOptions::for_chip(chip())).unwrap();
    let mut board = rom.board(&[(0, &image.bytes)]);
    board.run_until(b"entry 0x40380000\r\n", secs(1)).unwrap();
    let said = board.run_until(b"\r\n", secs(1)).unwrap();
    assert_eq!(String::from_utf8_lossy(&said), "maps flash itself: 42 0 12345678901234\r\n");
}
