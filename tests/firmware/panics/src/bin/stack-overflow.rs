//! Calls itself until the stack is full: esp-hal guards its end by a watchpoint of the CPU.

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
    let value = down(0);
    print!("{value}\r\n");
    loop {}
}

#[inline(never)]
fn down(depth: u32) -> u32 {
    let mut frame = [depth; 64];
    black_box(&mut frame);
    if depth == u32::MAX { 0 } else { down(depth + 1) + frame[5] }
}
