//! Allocates from the heap and from each arena, checks alignment and bounds, and prints on UART0
//! (115200 baud, 8N1) where they are. The layout is in `esplice.toml`.

#![no_std]
#![no_main]

extern crate alloc;

use core::mem::MaybeUninit;

use alloc::boxed::Box;
use esp_backtrace as _;
use esp_hal::{delay::Delay, main};
use esp_println::print;

/// Generated from `esplice.toml` by build.rs.
mod layout {
    include!(concat!(env!("OUT_DIR"), "/esplice_layout.rs"));
}

// The descriptor that ESP-IDF's second-stage bootloader requires at the start of an app.
esp_bootloader_esp_idf::esp_app_desc!();

/// Allocates pieces of an arena, one after another.
struct Bump {
    free: &'static mut [MaybeUninit<u8>],
}

impl Bump {
    /// Allocates `len` bytes of `value`, aligned to `align`. Returns none if the arena is full.
    fn alloc(&mut self, len: usize, align: usize, value: u8) -> Option<&'static mut [u8]> {
        let free = core::mem::take(&mut self.free);
        let skip = free.as_ptr().align_offset(align);
        if skip.checked_add(len).is_none_or(|needed| needed > free.len()) {
            self.free = free;
            return None;
        }
        let (piece, rest) = free.split_at_mut(skip).1.split_at_mut(len);
        self.free = rest;
        piece.fill(MaybeUninit::new(value));
        let (start, len) = (piece.as_mut_ptr().cast::<u8>(), piece.len());
        // SAFETY: these bytes have just been written, and no other reference to them exists.
        Some(unsafe { core::slice::from_raw_parts_mut(start, len) })
    }
}

/// Allocates the whole arena, and prints its address.
fn exercise(name: &str, arena: &'static mut [MaybeUninit<u8>], align: usize) {
    let (start, size) = (arena.as_ptr() as usize, arena.len());
    assert!(start.is_multiple_of(align), "{name} at {start:#x} is not aligned to {align}");
    let mut arena = Bump { free: arena };
    let mut taken = 0;
    let mut value = 0_u8;
    while let Some(piece) = arena.alloc(size / 8, 4, value) {
        let at = piece.as_ptr() as usize;
        assert!(at >= start && at + piece.len() <= start + size, "{name} returned {at:#x}");
        assert!(piece.iter().all(|byte| *byte == value), "{name} does not hold the bytes written");
        taken += piece.len();
        value += 1;
    }
    assert!(taken == size / 8 * 8, "{name} returned {taken} of {size} bytes");
    print!("arena {name} at {start:#010x}, {size} bytes\r\n");
}

#[main]
fn main() -> ! {
    let _peripherals = esp_hal::init(esp_hal::Config::default());

    let heap = layout::heap().unwrap();
    let (start, size) = (heap.as_ptr() as usize, heap.len());
    layout::add_heap_to_esp_alloc!(Some(heap)).unwrap();
    let boxed = Box::new([0x55_u8; 4096]);
    let at = boxed.as_ptr() as usize;
    assert!(at >= start && at + boxed.len() <= start + size, "the heap returned {at:#x}");
    assert!(boxed.iter().all(|byte| *byte == 0x55));
    print!("heap at {start:#010x}, {size} bytes\r\n");

    exercise("dma", layout::dma().unwrap(), 64);
    exercise("frames", layout::frames().unwrap(), 256);
    exercise("log", layout::log().unwrap(), 16);
    // Each is returned only once.
    assert!(layout::heap().is_none() && layout::dma().is_none() && layout::log().is_none());
    print!("all is where it should be\r\n");

    let delay = Delay::new();
    loop {
        delay.delay_millis(1000);
    }
}
