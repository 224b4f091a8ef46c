//! Uses the heap in two regions, prints the result, and ends in a panic printed by esp-backtrace.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::{collections::BTreeMap, format, vec::Vec};

use esp_backtrace as _;
use esp_hal::{main, ram};
use esp_println::print;

esp_bootloader_esp_idf::esp_app_desc!();

#[main]
fn main() -> ! {
    let _peripherals = esp_hal::init(esp_hal::Config::default());
    // RAM used earlier by the second-stage bootloader, and ordinary RAM.
    esp_alloc::heap_allocator!(#[ram(reclaimed)] size: 48 * 1024);
    esp_alloc::heap_allocator!(size: 64 * 1024);

    let free = esp_alloc::HEAP.free();
    let mut squares = BTreeMap::new();
    for number in 0..200_u32 {
        squares.insert(number, number * number);
    }
    let sum: u32 = squares.values().sum();
    // More than either region holds.
    let blocks: Vec<Vec<u8>> = (0..9).map(|byte| alloc::vec![byte; 10 * 1024]).collect();
    let total: usize = blocks.iter().map(|block| usize::from(block[100])).sum();
    print!("sum {sum}, blocks {total}\r\n");
    let message = format!("the heap held {} squares", squares.len());
    drop((squares, blocks));
    let used = free - esp_alloc::HEAP.free();
    print!("{}\r\n", if used <= message.capacity() + 64 { "all given back" } else { "leaking" });
    panic!("{message}");
}
