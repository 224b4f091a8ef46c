//! Panics in one of two embassy tasks.

#![no_std]
#![no_main]

extern crate alloc;

use core::hint::black_box;

use embassy_executor::Spawner;
use embassy_time::{Duration, Timer};
use esp_backtrace as _;
use esp_hal::timer::timg::TimerGroup;
use esp_println::print;

esp_bootloader_esp_idf::esp_app_desc!();

#[esp_rtos::main]
async fn main(spawner: Spawner) {
    let peripherals = esp_hal::init(esp_hal::Config::default());
    esp_alloc::heap_allocator!(size: 32 * 1024);
    let timers = TimerGroup::new(peripherals.TIMG0);
    esp_rtos::start(timers.timer0, peripherals.FROM_CPU_INTR0);
    print!("before\r\n");
    spawner.spawn(worker(black_box(3)).unwrap());
    loop {
        Timer::after(Duration::from_millis(100)).await;
    }
}

#[embassy_executor::task]
async fn worker(limit: u32) {
    for round in 0.. {
        Timer::after(Duration::from_millis(5)).await;
        check(round, limit);
    }
}

#[inline(never)]
fn check(round: u32, limit: u32) {
    assert!(round < limit, "round {round} is one too many");
}
