//! Executes an invalid instruction.

#![no_std]
#![no_main]

use esp_backtrace as _;
use esp_hal::main;
use esp_println::print;

esp_bootloader_esp_idf::esp_app_desc!();

#[main]
fn main() -> ! {
    let _peripherals = esp_hal::init(esp_hal::Config::default());
    print!("before\r\n");
    unsafe { core::arch::asm!("unimp") };
    loop {}
}
