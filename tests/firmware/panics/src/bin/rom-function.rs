//! Loads from an unmapped address in a function of the mask ROM.

#![no_std]
#![no_main]

use core::hint::black_box;

use esp_backtrace as _;
use esp_hal::main;
use esp_println::print;

esp_bootloader_esp_idf::esp_app_desc!();

unsafe extern "C" {
    /// A ROM function, linked by esp-rom-sys.
    fn esp_rom_crc32_le(crc: u32, bytes: *const u8, len: u32) -> u32;
}

#[main]
fn main() -> ! {
    let _peripherals = esp_hal::init(esp_hal::Config::default());
    print!("before\r\n");
    let crc = checksum(black_box(0x10 as *const u8));
    print!("{crc}\r\n");
    loop {}
}

#[inline(never)]
fn checksum(bytes: *const u8) -> u32 {
    !unsafe { esp_rom_crc32_le(0, bytes, 64) }
}
