//! Waits with esp-hal's `Delay`, which polls the system timer, and prints when the wait is over.

#![no_std]
#![no_main]

use esp_backtrace as _;
use esp_hal::{delay::Delay, main};
use esp_println::print;

esp_bootloader_esp_idf::esp_app_desc!();

#[main]
fn main() -> ! {
    let _peripherals = esp_hal::init(esp_hal::Config::default());
    print!("waiting\r\n");
    Delay::new().delay_millis(1500);
    print!("over\r\n");
    loop {
        core::hint::spin_loop();
    }
}
