//! An image like TinyGo's: the mask ROM loads it without a second-stage bootloader, and it maps
//! flash by the same ROM functions as TinyGo's start-up code (TinyGo, src/device/esp/esp32c3.S and
//! src/runtime/runtime_esp32c3.go): cache suspended, MMU cleared and set, cache invalidated and
//! resumed. Then it continues with code and constants in flash.

#![no_std]
#![no_main]

use core::{
    ptr::write_volatile,
    sync::atomic::{AtomicU32, Ordering},
};

/// UART0's FIFO (ESP32-C3 TRM, UART Controller, register summary) and its STATUS, whose bits 16 to
/// 25 count the waiting bytes.
const FIFO: *mut u32 = 0x6000_0000 as *mut u32;
const STATUS: *const u32 = 0x6000_001c as *const u32;

core::arch::global_asm!(
    r#"
    .section .init, "ax"
    .global _start
_start:
    la sp, _stack_top
    la a0, _bss_start
    li a1, 0
    la a2, _bss_end
    sub a2, a2, a0
    call rom_memset

    call Cache_Suspend_ICache
    mv s0, a0
    call Cache_MMU_Init
    li a0, 0            # flash, not external RAM
    li a1, 0x3c000000   # both windows have the same entries
    li a2, 0            # from the start of flash
    li a3, 64           # pages of 64 KiB
    li a4, 128          # 8 MiB
    li a5, 0            # each page its own
    call Cache_Dbus_MMU_Set
    call Cache_Invalidate_ICache_All
    mv a0, s0
    call Cache_Resume_ICache

    # Far away: in flash.
    la t0, rust_main
    jr t0
"#
);

unsafe extern "C" {
    fn rom_udivdi3(dividend: u64, divisor: u64) -> u64;
}

/// Variables in RAM, with and without an initial value.
static COUNTER: AtomicU32 = AtomicU32::new(41);
static CLEARED: AtomicU32 = AtomicU32::new(0);

#[unsafe(no_mangle)]
extern "C" fn rust_main() -> ! {
    COUNTER.store(COUNTER.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    print("maps flash itself: ");
    print_number(COUNTER.load(Ordering::Relaxed).into());
    print(" ");
    print_number(CLEARED.load(Ordering::Relaxed).into());
    print(" ");
    print_number(12_345_678_901_234);
    print("\r\n");
    CLEARED.store(1, Ordering::Relaxed);
    loop {
        core::hint::spin_loop();
    }
}

fn print(text: &str) {
    for byte in text.bytes() {
        // SAFETY: registers of the UART, which nothing else uses.
        unsafe {
            while STATUS.read_volatile() >> 16 & 0x3ff >= 120 {}
            write_volatile(FIFO, byte.into());
        }
    }
}

fn print_number(number: u64) {
    // SAFETY: a pure function of the ROM.
    let rest = unsafe { rom_udivdi3(number, 10) };
    if rest > 0 {
        print_number(rest);
    }
    let digit = b'0' + (number - 10 * rest) as u8;
    print(core::str::from_utf8(&[digit]).unwrap_or("?"));
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
