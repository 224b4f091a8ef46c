//! A CPU-bound program for measuring an instruction set simulator.
//!
//! It runs [`work::run`] for [`ITERATIONS`] and stores the result in `RESULT`, at the start of DRAM
//! (0x3FC88000): four words, the marker `DONE`, the checksum, the number of iterations, and zero.
//! Then it jumps to itself forever. A simulator runs until the marker is present, and the checksum
//! shows whether it computed correctly; the host gets the same from the same `work.rs`.

#![no_std]
#![no_main]

mod work;

use core::sync::atomic::{AtomicU32, Ordering};

/// Number of iterations, about 230 million instructions in total.
const ITERATIONS: u32 = 500;
/// "DONE" in ASCII, in memory order.
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
    // Written last, because the simulator waits for this word.
    RESULT[0].store(DONE, Ordering::Release);
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
