//! Images without a second-stage bootloader.

use esplice_image::{ImageOptions, build_image};
use esplice_sim::{millis, secs};

use crate::{
    boots::bench::{Rom, chip, compiled_app},
    compile::compiled,
    firmware::{Code, rom_image},
};

/// An image of TinyGo's kind, which maps flash itself. Its constants, code, data and use of the
/// ROM's 64-bit division are correct only if MMU entries, copies and cleared memory are.
pub fn an_image_that_maps_flash_itself(rom: &Rom) {
    let elf = std::fs::read(compiled("maps-flash", "maps-flash")).unwrap();
    let image = build_image(&elf, chip(), &ImageOptions::for_chip(chip())).unwrap();
    let mut board = rom.board(&[(0, &image.bytes)]);
    board.run_until(b"entry 0x40380000\r\n", secs(1)).unwrap();
    let said = board.run_until(b"\r\n", secs(1)).unwrap();
    assert_eq!(String::from_utf8_lossy(&said), "maps flash itself: 42 0 12345678901234\r\n");
}

/// An app for the second-stage bootloader, written to the boot offset. The ROM loads its padding to
/// address 0, where writes are lost, and enters unmapped code.
pub fn an_app_in_the_bootloader_s_place(rom: &Rom) {
    let mut board = rom.board(&[(0, &compiled_app("usb"))]);
    let said = board.run_until(b"MCAUSE", secs(1)).unwrap();
    let said = String::from_utf8_lossy(&said);
    let (before, dump) = said.split_once("Core 0 register dump:\r\n").unwrap_or((&said, ""));
    let (_, loads) = before.split_once("mode:DIO, clock div:1\r\n").unwrap_or(("", before));
    let lines: Vec<&str> = loads.lines().collect();
    let [segments @ .., entry, fault] = &lines[..] else { panic!("{said}") };
    assert!(
        segments.iter().all(|line| ["load:0x3", "load:0x4", "load:0x00000000,"]
            .iter()
            .any(|start| line.starts_with(start))),
        "{said}"
    );
    assert!(segments.iter().any(|line| line.starts_with("load:0x00000000,")), "{said}");
    let entry = entry.strip_prefix("entry ").unwrap_or_else(|| panic!("{said}"));
    assert_eq!(*fault, "Guru Meditation Error: Core 0 panic'ed (Instruction access fault)");
    assert!(dump.starts_with(&format!("PC      : {entry}  ")), "{said}");
    board.run_until(b"rst:0x7 (TG0WDT_SYS_RST)", secs(4)).unwrap();
}

/// Words of the ROM's own data that firmware reads; they must be the same for each kind of ROM.
pub fn the_rom_s_data(rom: &Rom) {
    // g_usb_print and g_uart_print, in one word.
    let code = Code::new().flush().copy(0x3fcd_ffd0, 0x3fc8_0000);
    let code = code.copy(0x3fc8_0000, 0x6000_0000).copy(0x3fc8_0001, 0x6000_0000).wait();
    let mut board = rom.board(&[(0, &rom_image(&code))]);
    board.run_until(b"entry 0x40380000\r\n", secs(1)).unwrap();
    assert_eq!(board.run_for(millis(10)).unwrap(), [1, 1]);
}
