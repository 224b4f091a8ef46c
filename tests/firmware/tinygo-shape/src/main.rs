//! Repeats the steps of TinyGo's runtime before a program's `main`, with a program that checks that
//! all of its memory has the expected content.
#![no_std]
#![no_main]

use core::{arch::global_asm, panic::PanicInfo, ptr};

// As in TinyGo's src/device/esp/esp32c3.S and src/device/riscv/start.S: the MMU is cleared, flash
// from offset 0 is mapped at 0x3c000000 (and thereby at 0x42000000), then `_start` runs. A
// second-stage bootloader, which maps flash itself, must call `_start` directly.
global_asm!(
    r#"
    .section .init, "ax"
    .global call_start_cpu0
call_start_cpu0:
    call Cache_Suspend_ICache
    mv s0, a0
    call Cache_Invalidate_ICache_All
    call Cache_MMU_Init
    li a0, 0                // flash, not external RAM
    li a1, 0x3c000000       // where it is shown
    li a2, 0                // from which byte of flash on
    li a3, 64               // KiB of a page
    li a4, 128              // pages
    li a5, 0
    call Cache_Dbus_MMU_Set
    mv a0, s0
    call Cache_Resume_ICache
    j _start

    .global _start
_start:
    la sp, _stack_top
    .option push
    .option norelax
    la gp, __global_pointer$
    .option pop
    call main
"#
);

unsafe extern "C" {
    static mut _sbss: u32;
    static mut _ebss: u32;
}

/// Longer than a page of the MMU, so that code begins in a page where read-only data end.
static TABLE: [u32; 0x4800] = {
    let mut table = [0; 0x4800];
    let mut at = 0;
    while at < table.len() {
        table[at] = (at as u32).wrapping_mul(0x9e37_79b9);
        at += 1;
    }
    table
};
static mut INITIALISED: u32 = 0x1234_5678;
#[cfg(not(feature = "odd"))]
static mut ZEROED: [u32; 8] = [0; 8];
#[cfg(feature = "odd")]
static mut ZEROED: [u32; 9] = [0; 9];
/// Data whose last word the first instruction would overwrite.
#[cfg(feature = "odd")]
static mut ALIGNED: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    // Technical Reference Manual: TIMG_WDTCONFIG0; RTC_CNTL_WDTWPROTECT and RTC_CNTL_WDTCONFIG0;
    // RTC_CNTL_SWD_WPROTECT and RTC_CNTL_SWD_CONF with SWD_DISABLE.
    for (register, value) in [
        (0x6001_f048, 0),
        (0x6000_80a8, 0x50d8_3aa1),
        (0x6000_8090, 0),
        (0x6000_80b0, 0x8f1d_312a),
        (0x6000_80ac, 1 << 30),
    ] {
        unsafe { ptr::with_exposed_provenance_mut::<u32>(register).write_volatile(value) };
    }
    unsafe {
        let mut word = &raw mut _sbss;
        while word < &raw mut _ebss {
            word.write_volatile(0);
            word = word.add(1);
        }
    }
    say(if sound() { "Hello, World!\r\n" } else { "Memory is not as it was made\r\n" });
    loop {}
}

fn sound() -> bool {
    let expected = |at: usize| (at as u32).wrapping_mul(0x9e37_79b9);
    let table = (0..TABLE.len())
        .all(|at| unsafe { (&raw const TABLE[at]).read_volatile() } == expected(at));
    let data = unsafe { (&raw const INITIALISED).read_volatile() } == 0x1234_5678;
    let zero = (0..8).all(|at| unsafe { (&raw const ZEROED[at]).read_volatile() } == 0);
    table && data && zero && aligned()
}

#[cfg(feature = "odd")]
fn aligned() -> bool {
    let expected = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];
    (0..2).all(|at| unsafe { (&raw const ALIGNED[at]).read_volatile() } == expected[at])
}

#[cfg(not(feature = "odd"))]
fn aligned() -> bool {
    true
}

fn say(text: &str) {
    // UART_FIFO_REG of UART0: Technical Reference Manual, UART Controller.
    let fifo = ptr::with_exposed_provenance_mut::<u32>(0x6000_0000);
    for byte in text.bytes() {
        unsafe { fifo.write_volatile(byte.into()) };
    }
}

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    loop {}
}
