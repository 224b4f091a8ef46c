//! Calls itself until the stack is full: esp-hal guards its end by a watchpoint of the CPU.

#![no_std]
#![no_main]

use core::hint::black_box;

use esp_backtrace as _;
use esp_hal::main;
use esp_println::print;

esp_bootloader_esp_idf::esp_app_desc!();

#[inline(never)]
fn down(depth: u32) -> u32 {
    let mut frame = [depth; 64];
    black_box(&mut frame);
    if depth == u32::MAX { 0 } else { down(depth + 1) + frame[5] }
}

#[main]
fn main() -> ! {
    let _peripherals = esp_hal::init(esp_hal::Config::default());
    print!("down it goes\r\n");
    print!("and came back with {}\r\n", down(0));
    loop {}
}
