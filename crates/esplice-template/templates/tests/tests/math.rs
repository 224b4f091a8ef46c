//! `cargo test` runs these on a board.

#![no_std]
#![no_main]

use esp_backtrace as _;
use esp_hal::{main, time::Instant};
use esp_println::print;
use tests_rust::{board_tests, board_tests::Failure, check, fletcher16, mean};

// The descriptor that ESP-IDF's second-stage bootloader requires at the start of an app.
esp_bootloader_esp_idf::esp_app_desc!();

#[main]
fn main() -> ! {
    esp_hal::init(esp_hal::Config::default());
    board_tests!(checksums, means, time_goes_on)
}

fn checksums() -> Result<(), Failure> {
    check!(fletcher16(b"abcde") == 0xc8f0);
    check!(fletcher16(b"abcdef") == 0x2057);
    check!(fletcher16(b"") == 0);
    Ok(())
}

fn means() -> Result<(), Failure> {
    print!("of three values\r\n");
    check!(mean(&[1, 2, 6]) == Some(3));
    check!(mean(&[i32::MAX, i32::MAX]) == Some(i32::MAX));
    check!(mean(&[]).is_none());
    Ok(())
}

fn time_goes_on() -> Result<(), Failure> {
    let start = Instant::now();
    while start.elapsed().as_micros() < 100 {}
    check!(start.elapsed().as_micros() < 10_000);
    Ok(())
}
