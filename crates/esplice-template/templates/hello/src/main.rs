//! Prints `Hello, World!` on UART0 (115200 baud, 8N1), once a second.

#![no_std]
#![no_main]

use esp_backtrace as _;
use esp_hal::{delay::Delay, main};
use esp_println::print;

// The descriptor that ESP-IDF's second-stage bootloader requires at the start of an app.
esp_bootloader_esp_idf::esp_app_desc!();

#[main]
fn main() -> ! {
    let _peripherals = esp_hal::init(esp_hal::Config::default());
    let delay = Delay::new();

    loop {
        // `println!` ends lines with only `\n`; terminals need `\r\n`.
        print!("Hello, World!\r\n");
        delay.delay_millis(1000);
    }
}
