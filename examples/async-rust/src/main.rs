//! Two tasks: one counts, the other prints the count on UART0 (115200 baud, 8N1) once a second.

#![no_std]
#![no_main]

extern crate alloc;

use core::sync::atomic::{AtomicU32, Ordering};

use embassy_executor::Spawner;
use embassy_time::{Duration, Timer};
use esp_backtrace as _;
use esp_hal::timer::timg::TimerGroup;
use esp_println::print;

// The descriptor that ESP-IDF's second-stage bootloader requires at the start of an app.
esp_bootloader_esp_idf::esp_app_desc!();

/// Rounds of [`count`].
static ROUNDS: AtomicU32 = AtomicU32::new(0);

#[esp_rtos::main]
async fn main(spawner: Spawner) {
    let peripherals = esp_hal::init(esp_hal::Config::default());
    esp_alloc::heap_allocator!(size: 32 * 1024);
    let timers = TimerGroup::new(peripherals.TIMG0);
    esp_rtos::start(timers.timer0, peripherals.FROM_CPU_INTR0);
    spawner.spawn(count().unwrap());
    loop {
        Timer::after(Duration::from_secs(1)).await;
        // `println!` ends lines with only `\n`; terminals need `\r\n`.
        print!("{} rounds\r\n", ROUNDS.load(Ordering::Relaxed));
    }
}

#[embassy_executor::task]
async fn count() {
    loop {
        Timer::after(Duration::from_millis(100)).await;
        // Only this task writes, so a chip without atomic addition, such as the ESP32-C3, needs none.
        ROUNDS.store(ROUNDS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}
