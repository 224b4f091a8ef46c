//! Panics with a message of several lines.

#![no_std]
#![no_main]

use core::hint::black_box;

use esp_backtrace as _;
use esp_hal::main;
use esp_println::print;

esp_bootloader_esp_idf::esp_app_desc!();

#[main]
fn main() -> ! {
    let _peripherals = esp_hal::init(esp_hal::Config::default());
    print!("before\r\n");
    panic!("first line\nsecond line {}", black_box(2));
}
