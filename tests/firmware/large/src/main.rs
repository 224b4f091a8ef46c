//! A firmware of realistic size: a scheduler, several tasks, JSON reports and Wi-Fi.
//!
//! Benchmarks link it, make its image, flash it and compare it; its work has no other use. The
//! features `edit-string`, `edit-function` and `edit-new-function` each make one small edit.

#![no_std]
#![no_main]

extern crate alloc;

mod report;
mod sensors;
mod wifi;

use embassy_executor::Spawner;
use embassy_sync::{blocking_mutex::raw::CriticalSectionRawMutex, channel::Channel};
use embassy_time::{Duration, Timer};
use esp_backtrace as _;
use esp_hal::{clock::CpuClock, ram, timer::timg::TimerGroup};
use esp_println::print;

use crate::{report::Report, sensors::Reading};

esp_bootloader_esp_idf::esp_app_desc!();

/// Channel from the sampling task to the reporting one.
type Readings = Channel<CriticalSectionRawMutex, Reading, 16>;
static READINGS: Readings = Channel::new();

#[cfg(not(feature = "edit-string"))]
const GREETING: &str = "large: all tasks started";
#[cfg(feature = "edit-string")]
const GREETING: &str = "large: every task started, and this line is longer";

#[esp_rtos::main]
async fn main(spawner: Spawner) {
    let peripherals = esp_hal::init(esp_hal::Config::default().with_cpu_clock(CpuClock::max()));
    esp_alloc::heap_allocator!(#[ram(reclaimed)] size: 64 * 1024);
    esp_alloc::heap_allocator!(size: 64 * 1024);

    let timers = TimerGroup::new(peripherals.TIMG0);
    esp_rtos::start(timers.timer0, peripherals.FROM_CPU_INTR0);

    spawner.spawn(sample(0).unwrap());
    spawner.spawn(sample(1).unwrap());
    spawner.spawn(write_reports().unwrap());
    spawner.spawn(wifi::scan(peripherals.WIFI).unwrap());

    loop {
        print!("{GREETING}\r\n");
        Timer::after(Duration::from_secs(5)).await;
    }
}

/// Samples one channel ten times a second.
#[embassy_executor::task(pool_size = 2)]
async fn sample(channel: u8) {
    let mut sensor = sensors::Sensor::new(channel);
    loop {
        READINGS.send(sensor.read()).await;
        Timer::after(Duration::from_millis(100)).await;
    }
}

/// Collects readings and prints each batch as JSON, after reading it back.
#[embassy_executor::task]
async fn write_reports() {
    let mut report = Report::new("bench");
    loop {
        report.add(READINGS.receive().await);
        if report.is_full() {
            match report.to_checked_json() {
                Ok(text) => print!("{text}\r\n"),
                Err(error) => print!("report: {error}\r\n"),
            }
            report = Report::new("bench");
        }
    }
}
