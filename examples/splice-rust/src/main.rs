//! Answers each line that arrives on UART0 (115200 baud, 8N1) with the sum of its bytes. Three tasks
//! pass a line on: one receives it into a buffer, one adds the sum, one sends it. The buffer's bytes
//! stay in their place in the arena `lines`, which esplice.toml reserves; the answer says so.

#![no_std]
#![no_main]

use core::fmt::{self, Write as _};

use embassy_executor::Spawner;
use esp_backtrace as _;
use esp_hal::{
    Async,
    timer::timg::TimerGroup,
    uart::{Config, Uart, UartRx, UartTx},
};
use esplice_rt::{
    arena::Arena,
    pool::{Buf, Pool},
    splice::{Receiver, Sender, SpliceChan},
};

/// Generated from `esplice.toml` by build.rs.
mod layout {
    include!(concat!(env!("OUT_DIR"), "/esplice_layout.rs"));
}

// The descriptor that ESP-IDF's second-stage bootloader requires at the start of an app.
esp_bootloader_esp_idf::esp_app_desc!();

/// Longest line in bytes, with its answer.
const LINE: usize = 128;

/// A line on its way.
struct Line {
    bytes: Buf,
    /// Address at which it was received.
    at: usize,
}

/// At most two lines wait between two tasks.
type Chan = SpliceChan<Line, 2>;
type To = Sender<'static, Line, 2>;
type From = Receiver<'static, Line, 2>;

static RECEIVED: Chan = SpliceChan::new();
static SUMMED: Chan = SpliceChan::new();

#[esp_rtos::main]
async fn main(spawner: Spawner) {
    let peripherals = esp_hal::init(esp_hal::Config::default());
    esp_alloc::heap_allocator!(size: 16 * 1024);
    let timers = TimerGroup::new(peripherals.TIMG0);
    esp_rtos::start(timers.timer0, peripherals.FROM_CPU_INTR0);

    let mut arena = Arena::new(layout::lines().unwrap());
    let pool = arena.pool(LINE, 64, 8).unwrap();
    // The UART keeps the pins that the bootloader has printed on.
    let uart = Uart::new(peripherals.UART0, Config::default()).unwrap().into_async();
    let (from_host, to_host) = uart.split();
    let (to_sum, received) = RECEIVED.split().unwrap();
    let (to_send, summed) = SUMMED.split().unwrap();
    spawner.spawn(sum(received, to_send).unwrap());
    spawner.spawn(send(summed, to_host, pool).unwrap());
    receive(from_host, pool, to_sum).await;
}

/// Receives lines into buffers.
async fn receive(mut uart: UartRx<'static, Async>, pool: &'static Pool, mut to: To) {
    loop {
        let mut bytes = pool.wait().await;
        // Room for the answer is left.
        while bytes.len() < LINE - 40 && bytes.last() != Some(&b'\n') {
            let at = bytes.len();
            match uart.read_async(&mut bytes.spare()[at..=at]).await {
                Ok(count) => bytes.set_len(at + count),
                // What arrived too fast or broken is lost; the line goes on.
                Err(_) => {}
            }
        }
        let at = bytes.as_ptr() as usize;
        let _ = to.send(Line { bytes, at }).await;
    }
}

/// Appends the sum of a line's bytes.
#[embassy_executor::task]
async fn sum(mut from: From, mut to: To) {
    while let Some(mut line) = from.recv().await {
        let text = line.bytes.trim_ascii_end().len();
        line.bytes.set_len(text);
        let sum: u32 = line.bytes.iter().map(|byte| u32::from(*byte)).sum();
        let _ = write!(Append(&mut line.bytes), ": sum {sum}");
        let _ = to.send(line).await;
    }
}

/// Sends lines to the host.
#[embassy_executor::task]
async fn send(mut from: From, mut uart: UartTx<'static, Async>, pool: &'static Pool) {
    let _ = write_all(&mut uart, b"ready\r\n").await;
    while let Some(mut line) = from.recv().await {
        let place = if line.bytes.as_ptr() as usize == line.at { "not copied" } else { "copied" };
        let least = pool.least_available();
        let _ = write!(Append(&mut line.bytes), ", {place}, {least} buffers left\r\n");
        let _ = write_all(&mut uart, &line.bytes).await;
    }
}

async fn write_all(
    uart: &mut UartTx<'static, Async>,
    mut bytes: &[u8],
) -> Result<(), esp_hal::uart::TxError> {
    while !bytes.is_empty() {
        let count = uart.write_async(bytes).await?;
        bytes = &bytes[count..];
    }
    uart.flush_async().await
}

/// Appends text to a buffer, as far as there is room.
struct Append<'a>(&'a mut Buf);

impl fmt::Write for Append<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.push_all(text.as_bytes()) == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}
