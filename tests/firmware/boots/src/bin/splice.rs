//! Passes buffers between the main program and an interrupt, and measures what that costs.
//!
//! Prints how many nanoseconds it takes to send and receive 1 KiB by several channels. Then `ready`;
//! from then on the program sends numbered buffers to the interrupt of pin 4, which sends each back.
//! It prints `back N` for each, or `fault N` if the buffer has a wrong number or address.

#![no_std]
#![no_main]

use core::{cell::RefCell, hint::black_box, mem::MaybeUninit};

use critical_section::Mutex;
use embassy_sync::{blocking_mutex::raw::CriticalSectionRawMutex, zerocopy_channel};
use esp_backtrace as _;
use esp_hal::{
    clock::CpuClock,
    gpio::{Event, Input, InputConfig, Io, Pull},
    main,
    time::Instant,
};
use esp_println::print;
use esplice_rt::{
    arena::Arena,
    pool::{Buf, Pool},
    splice::{Receiver, Sender, SpliceChan},
};

esp_bootloader_esp_idf::esp_app_desc!();

const LEN: usize = 1024;
const COUNT: usize = 4;
const ROUNDS: u64 = 2000;

static THERE: SpliceChan<Buf, 2> = SpliceChan::new();
static BACK: SpliceChan<Buf, 2> = SpliceChan::new();
static MEASURED: SpliceChan<Buf, 2> = SpliceChan::new();

/// Pin and channel ends of the interrupt.
struct Ends {
    pin: Input<'static>,
    from_main: Receiver<'static, Buf, 2>,
    to_main: Sender<'static, Buf, 2>,
}
static ENDS: Mutex<RefCell<Option<Ends>>> = Mutex::new(RefCell::new(None));

fn arena() -> Arena {
    static mut MEMORY: [MaybeUninit<u8>; 8192] = [MaybeUninit::uninit(); 8192];
    // SAFETY: called once.
    Arena::new(unsafe { &mut *(&raw mut MEMORY) })
}

/// Prints how long a round of `work` takes.
fn measure(name: &str, mut work: impl FnMut()) {
    let start = Instant::now();
    for _ in 0..ROUNDS {
        work();
    }
    print!("{name}: {} ns\r\n", start.elapsed().as_micros() * 1000 / ROUNDS);
}

fn measure_all(pool: &'static Pool) {
    let (mut sender, mut receiver) = MEASURED.split().unwrap();
    let mut held = pool.take();
    measure("SpliceChan", || {
        let _ = sender.try_send(held.take().unwrap());
        held = receiver.try_recv().ok();
    });
    drop(held);
    measure("SpliceChan and its pool", || {
        let _ = sender.try_send(pool.take().unwrap());
        drop(receiver.try_recv());
    });

    static mut BUFFERS: [[u8; LEN]; 2] = [[0; LEN]; 2];
    // SAFETY: called once.
    let buffers = unsafe { &mut *(&raw mut BUFFERS) };
    let mut channel = zerocopy_channel::Channel::<CriticalSectionRawMutex, _>::new(buffers);
    let (mut sender, mut receiver) = channel.split();
    measure("embassy_sync::zerocopy_channel", || {
        black_box(sender.try_send());
        sender.send_done();
        black_box(receiver.try_receive());
        receiver.receive_done();
    });

    static mut QUEUE: heapless::spsc::Queue<[u8; LEN], 3> = heapless::spsc::Queue::new();
    // SAFETY: called once.
    let (mut producer, mut consumer) = unsafe { &mut *(&raw mut QUEUE) }.split();
    measure("heapless::spsc, two copies", || {
        let _ = producer.enqueue(black_box([0; LEN]));
        black_box(consumer.dequeue());
    });
}

#[main]
fn main() -> ! {
    let config = esp_hal::Config::default().with_cpu_clock(CpuClock::max());
    let peripherals = esp_hal::init(config);
    let pool = arena().pool(LEN, 32, COUNT).unwrap();
    measure_all(pool);

    let mut io = Io::new(peripherals.IO_MUX);
    io.set_interrupt_handler(on_pin);
    let mut pin = Input::new(peripherals.GPIO4, InputConfig::default().with_pull(Pull::Down));
    let (mut to_interrupt, from_main) = THERE.split().unwrap();
    let (to_main, mut from_interrupt) = BACK.split().unwrap();
    critical_section::with(|token| {
        pin.listen(Event::AnyEdge);
        ENDS.borrow_ref_mut(token).replace(Ends { pin, from_main, to_main });
    });
    print!("ready\r\n");

    let (mut next, mut expected) = (0_u32, 0_u32);
    let mut places = [core::ptr::null(); COUNT];
    loop {
        if let Some(mut buffer) = pool.take() {
            buffer.fill_from(&next.to_le_bytes());
            places[next as usize % COUNT] = buffer.as_ptr();
            if to_interrupt.try_send(buffer).is_ok() {
                next += 1;
            }
        }
        if let Ok(buffer) = from_interrupt.try_recv() {
            let same = *buffer == expected.to_le_bytes()
                && buffer.as_ptr() == places[expected as usize % COUNT];
            print!("{} {expected}\r\n", if same { "back" } else { "fault" });
            expected += 1;
        }
    }
}

#[esp_hal::handler]
fn on_pin() {
    critical_section::with(|token| {
        if let Some(ends) = ENDS.borrow_ref_mut(token).as_mut() {
            ends.pin.clear_interrupt();
            // At most two are on their way, so there is always room for the way back.
            if let Ok(buffer) = ends.from_main.try_recv() {
                let _ = ends.to_main.try_send(buffer);
            }
        }
    });
}
