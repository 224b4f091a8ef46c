//! Code for a debugger: calls in flash and RAM, a variable that changes, an interrupt every
//! millisecond, a wait for it, and a loop that a debugger ends.

#![no_std]
#![no_main]

use core::{
    cell::RefCell,
    sync::atomic::{AtomicU32, Ordering},
};

use embassy_sync::blocking_mutex::{Mutex, raw::CriticalSectionRawMutex};
use esp_backtrace as _;
use esp_hal::{
    Blocking, handler, main, ram,
    time::Rate,
    timer::{PeriodicTimer, systimer::SystemTimer},
};
use esp_println::print;

esp_bootloader_esp_idf::esp_app_desc!();

static TICKER: Mutex<CriticalSectionRawMutex, RefCell<Option<PeriodicTimer<'static, Blocking>>>> =
    Mutex::new(RefCell::new(None));

/// Number of rounds of the main loop.
#[unsafe(no_mangle)]
static ROUNDS: AtomicU32 = AtomicU32::new(0);
/// Result of the last round.
#[unsafe(no_mangle)]
static RESULT: AtomicU32 = AtomicU32::new(0);
/// Number of interrupts.
#[unsafe(no_mangle)]
static TICKS: AtomicU32 = AtomicU32::new(0);
/// Nonzero makes the main loop spin until a debugger clears it.
#[unsafe(no_mangle)]
static SPIN: AtomicU32 = AtomicU32::new(0);

#[main]
fn main() -> ! {
    let peripherals = esp_hal::init(esp_hal::Config::default());
    let mut ticker = PeriodicTimer::new(SystemTimer::new(peripherals.SYSTIMER).alarm0);
    ticker.set_interrupt_handler(on_tick);
    ticker.listen();
    ticker.start(Rate::from_hz(1000).as_duration()).unwrap();
    TICKER.lock(|place| place.replace(Some(ticker)));
    loop {
        play_round();
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn play_round() {
    let round = ROUNDS.load(Ordering::Relaxed) + 1;
    ROUNDS.store(round, Ordering::Relaxed);
    let result = add_up(round, in_ram(round));
    RESULT.store(result, Ordering::Relaxed);
    if round % 100 == 0 {
        print!("round {round}\r\n");
    }
    spin();
    wait();
}

/// Adds the numbers up to `last`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn add_up(last: u32, start: u32) -> u32 {
    let mut sum = start;
    for number in 0..core::hint::black_box(last % 50) {
        sum = sum.wrapping_add(number);
    }
    core::hint::black_box(sum)
}

#[unsafe(no_mangle)]
#[ram]
extern "C" fn in_ram(value: u32) -> u32 {
    core::hint::black_box(value.wrapping_mul(3))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn spin() {
    while SPIN.load(Ordering::Relaxed) != 0 {
        core::hint::spin_loop();
    }
}

/// Waits for the next interrupt.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn wait() {
    esp_hal::interrupt::wait_for_interrupt();
    core::hint::black_box(());
}

#[handler]
fn on_tick() {
    count_tick();
    TICKER.lock(|ticker| {
        if let Some(ticker) = ticker.borrow_mut().as_mut() {
            ticker.clear_interrupt();
        }
    });
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn count_tick() {
    TICKS.store(TICKS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}
