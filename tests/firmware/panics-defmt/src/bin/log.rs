//! A defmt log mixed with text, and a panic reported through defmt.

#![no_std]
#![no_main]

use core::hint::black_box;

use esp_backtrace as _;
use esp_hal::main;
use esp_println::print;

esp_bootloader_esp_idf::esp_app_desc!();

#[derive(defmt::Format)]
struct Point {
    x: i16,
    y: i16,
}

#[main]
fn main() -> ! {
    let _peripherals = esp_hal::init(esp_hal::Config::default());
    print!("before\r\n");
    defmt::info!("count {=u8} at {}", black_box(7), Point { x: 1, y: black_box(-2) });
    defmt::println!("just a line");
    print!("text between frames\r\n");
    sensor::read(black_box(3));
    loop {}
}

mod sensor {
    #[inline(never)]
    pub fn read(channel: u8) {
        defmt::warn!("channel {} does not answer", channel);
        panic!("no channel {channel}");
    }
}
