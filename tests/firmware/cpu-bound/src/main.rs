//! A CPU-bound program for measuring an instruction set simulator.
//!
//! It runs [`work::run`] for [`ITERATIONS`] and leaves the outcome in `RESULT`, at the start of
//! DRAM (0x3FC88000): four words, the marker `DONE`, the checksum, the iterations run, and zero.
//! Then it stays in a jump to itself. A simulator runs until the marker is there, and the checksum
//! says whether it computed rightly; the host gets the same from the same `work.rs`.

#![no_std]
#![no_main]

mod work;

use core::sync::atomic::{AtomicU32, Ordering};

/// About 230 million instructions in all.
const ITERATIONS: u32 = 500;
/// "DONE" in ASCII, as the bytes stand in memory.
const DONE: u32 = u32::from_le_bytes(*b"DONE");

#[unsafe(no_mangle)]
#[unsafe(link_section = ".result")]
static RESULT: [AtomicU32; 4] = [const { AtomicU32::new(0) }; 4];

core::arch::global_asm!(
    r#"
    .section .init, "ax"
    .global _start
_start:
    la sp, _stack_top
    la t0, _bss_start
    la t1, _bss_end
1:  bgeu t0, t1, 2f
    sw zero, 0(t0)
    addi t0, t0, 4
    j 1b
2:  call rust_main
3:  j 3b
"#
);

#[unsafe(no_mangle)]
extern "C" fn rust_main() {
    let checksum = work::run(ITERATIONS);
    RESULT[1].store(checksum, Ordering::Relaxed);
    RESULT[2].store(ITERATIONS, Ordering::Relaxed);
    // Last, as whoever waits looks at this word.
    RESULT[0].store(DONE, Ordering::Release);
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
