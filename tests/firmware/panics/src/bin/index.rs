//! Uses an index out of bounds, three calls deep.

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
    let value = outer(black_box(7));
    print!("{value}\r\n");
    loop {}
}

#[inline(never)]
fn outer(index: usize) -> u32 {
    middle(index) + 1
}

#[inline(never)]
fn middle(index: usize) -> u32 {
    inner(&[1, 2, 3], index) + 1
}

#[inline(never)]
fn inner(values: &[u32], index: usize) -> u32 {
    values[index]
}
