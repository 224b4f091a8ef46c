//! Prints the record of the panic before the last reset, if there is one, and then panics.

#![no_std]
#![no_main]

use core::{mem::MaybeUninit, panic::PanicInfo};

use esp_hal::{delay::Delay, main, ram, system::software_reset};
use esp_println::print;
use esplice_rt::crash;

esp_bootloader_esp_idf::esp_app_desc!();

/// Keeps its contents over a reset.
#[ram(unstable(rtc_fast, persistent))]
static mut RECORD: [u8; 512] = [0; 512];

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    crash::record(info, crash::frames());
    software_reset()
}

#[main]
fn main() -> ! {
    let peripherals = esp_hal::init(esp_hal::Config::default());
    drop(peripherals);
    // SAFETY: nothing else uses this static, and bytes are valid as bytes that may not be.
    let memory: &'static mut [MaybeUninit<u8>] =
        unsafe { &mut *(&raw mut RECORD).cast::<[MaybeUninit<u8>; 512]>() };
    match crash::install(memory) {
        Some(crash) => print!("before the reset: {crash}that was all\r\n"),
        None => print!("no record\r\n"),
    }
    // The reset would take what the UART has not sent yet.
    Delay::new().delay_millis(50);
    outer(3);
    print!("not reached\r\n");
    loop {}
}

#[inline(never)]
fn outer(number: u32) {
    inner(core::hint::black_box(number));
    core::hint::black_box(());
}

#[inline(never)]
fn inner(number: u32) {
    if core::hint::black_box(number) == 3 {
        panic!("number {number} is too many");
    }
}
