//! A scheduler with threads, tasks, timers and interrupts, as used by `esp-rtos` and embassy. First
//! the tasks wait for each other and for timers. Then all of them compute without a pause, which
//! the benchmark of the whole board measures.

#![no_std]
#![no_main]

extern crate alloc;

use core::{
    cell::RefCell,
    sync::atomic::{AtomicU32, Ordering},
};

use embassy_executor::Spawner;
use embassy_sync::{
    blocking_mutex::{Mutex, raw::CriticalSectionRawMutex},
    channel::Channel,
    signal::Signal,
};
use embassy_time::{Duration, Instant, Timer};
use esp_backtrace as _;
use esp_hal::{
    Blocking,
    clock::CpuClock,
    interrupt::{Priority, software::SoftwareInterrupt},
    peripherals::FROM_CPU_INTR1,
    time::Rate,
    timer::{PeriodicTimer, systimer::SystemTimer, timg::TimerGroup},
};
use esp_println::print;

esp_bootloader_esp_idf::esp_app_desc!();

/// Numbers from the two producers to the consumer.
static NUMBERS: Channel<CriticalSectionRawMutex, u32, 4> = Channel::new();
/// Signal by which the software interrupt's handler wakes a task.
static RAISED: Signal<CriticalSectionRawMutex, u32> = Signal::new();
static RAISES: AtomicU32 = AtomicU32::new(0);
/// Timer that raises an interrupt every millisecond while the tasks compute.
static TICKER: Mutex<CriticalSectionRawMutex, RefCell<Option<PeriodicTimer<'static, Blocking>>>> =
    Mutex::new(RefCell::new(None));
static TICKS: AtomicU32 = AtomicU32::new(0);
/// Number of turns of each busy task.
static TURNS: [AtomicU32; 3] = [const { AtomicU32::new(0) }; 3];

#[esp_rtos::main]
async fn main(spawner: Spawner) {
    let peripherals = esp_hal::init(esp_hal::Config::default().with_cpu_clock(CpuClock::max()));
    esp_alloc::heap_allocator!(size: 64 * 1024);
    let timers = TimerGroup::new(peripherals.TIMG0);
    esp_rtos::start(timers.timer0, peripherals.FROM_CPU_INTR0);
    print!("scheduler runs\r\n");

    let mut software = SoftwareInterrupt::new(peripherals.FROM_CPU_INTR1);
    software.set_interrupt_handler(on_software_interrupt);
    spawner.spawn(produce(1, 3).unwrap());
    spawner.spawn(produce(100, 5).unwrap());

    let start = Instant::now();
    let mut sum = 0;
    for _ in 0..10 {
        sum += NUMBERS.receive().await;
    }
    print!("ten numbers, sum {sum}, after {} ms\r\n", start.elapsed().as_millis());

    for _ in 0..3 {
        software.raise();
        let count = RAISED.wait().await;
        print!("software interrupt {count}\r\n");
    }

    let start = Instant::now();
    Timer::after(Duration::from_millis(20)).await;
    print!("slept {} ms\r\n", start.elapsed().as_millis());

    let mut ticker = PeriodicTimer::new(SystemTimer::new(peripherals.SYSTIMER).alarm0);
    ticker.set_interrupt_handler(on_tick);
    ticker.listen();
    ticker.start(Rate::from_hz(1000).as_duration()).unwrap();
    TICKER.lock(|place| place.replace(Some(ticker)));
    for number in 0..3 {
        spawner.spawn(compute(number).unwrap());
    }
    print!("busy\r\n");
    loop {
        Timer::after(Duration::from_millis(100)).await;
        let ticks = TICKS.load(Ordering::Relaxed);
        TICKS.store(0, Ordering::Relaxed);
        let busy = TURNS.iter().all(|turns| turns.load(Ordering::Relaxed) > 10) && ticks > 90;
        TURNS.iter().for_each(|turns| turns.store(0, Ordering::Relaxed));
        print!("{}\r\n", if busy { "all busy" } else { "starved" });
    }
}

/// Sends numbers from `first` on, one per `pause` milliseconds.
#[embassy_executor::task(pool_size = 2)]
async fn produce(first: u32, pause: u64) {
    for number in first..first + 5 {
        Timer::after(Duration::from_millis(pause)).await;
        NUMBERS.send(number).await;
    }
}

/// Computes, and yields to the other tasks.
#[embassy_executor::task(pool_size = 3)]
async fn compute(number: usize) {
    let mut state = number as u32 + 1;
    loop {
        for _ in 0..1000 {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
        }
        core::hint::black_box(state);
        let turns = &TURNS[number];
        turns.store(turns.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        let_others_run().await;
    }
}

/// Is ready at the second poll.
async fn let_others_run() {
    let mut looked = false;
    core::future::poll_fn(|context| {
        if core::mem::replace(&mut looked, true) {
            return core::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        core::task::Poll::Pending
    })
    .await;
}

#[esp_hal::handler]
fn on_tick() {
    TICKER.lock(|ticker| {
        if let Some(ticker) = ticker.borrow_mut().as_mut() {
            ticker.clear_interrupt();
        }
    });
    TICKS.store(TICKS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

#[esp_hal::handler(priority = Priority::Priority2)]
fn on_software_interrupt() {
    // SAFETY: the interrupt is handled only here, and `main` only raises it.
    unsafe { SoftwareInterrupt::new(FROM_CPU_INTR1::steal()) }.reset();
    // The chip has no atomic addition; nothing else writes here.
    let count = RAISES.load(Ordering::Relaxed) + 1;
    RAISES.store(count, Ordering::Relaxed);
    RAISED.signal(count);
}
