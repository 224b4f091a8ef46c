//! Panics in an interrupt handler, while the program computes.

#![no_std]
#![no_main]

use core::hint::black_box;

use esp_backtrace as _;
use esp_hal::{
    interrupt::{Priority, software::SoftwareInterrupt},
    main,
};
use esp_println::print;

esp_bootloader_esp_idf::esp_app_desc!();

#[main]
fn main() -> ! {
    let peripherals = esp_hal::init(esp_hal::Config::default());
    let mut software = SoftwareInterrupt::new(peripherals.FROM_CPU_INTR1);
    software.set_interrupt_handler(on_interrupt);
    print!("before\r\n");
    compute(&mut software);
    loop {}
}

#[inline(never)]
fn compute(software: &mut SoftwareInterrupt<'_, 1>) {
    software.raise();
    black_box(0);
}

#[esp_hal::handler(priority = Priority::Priority2)]
fn on_interrupt() {
    divide(black_box(0));
}

#[inline(never)]
fn divide(by: u32) -> u32 {
    100 / by
}
