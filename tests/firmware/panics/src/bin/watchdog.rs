//! Starts a watchdog that is never fed, so that the board resets again and again.

#![no_std]
#![no_main]

use esp_backtrace as _;
use esp_hal::{
    main,
    time::Duration,
    timer::timg::{MwdtStage, TimerGroup},
};
use esp_println::print;

esp_bootloader_esp_idf::esp_app_desc!();

#[main]
fn main() -> ! {
    let peripherals = esp_hal::init(esp_hal::Config::default());
    let mut watchdog = TimerGroup::new(peripherals.TIMG0).wdt;
    watchdog.set_timeout(MwdtStage::Stage0, Duration::from_millis(100));
    watchdog.enable();
    print!("before\r\n");
    loop {}
}
