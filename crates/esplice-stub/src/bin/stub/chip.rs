//! The chip's registers and memory, made from its data file by the build script.

include!(concat!(env!("OUT_DIR"), "/chip.rs"));

/// Reads the register at `addr`.
#[inline(always)]
pub fn read(addr: u32) -> u32 {
    // SAFETY: the addresses come from the chip's data, or from the user by READ_REG.
    unsafe { (addr as *const u32).read_volatile() }
}

/// Writes the register at `addr`.
#[inline(always)]
pub fn write(addr: u32, value: u32) {
    // SAFETY: as for `read`.
    unsafe { (addr as *mut u32).write_volatile(value) }
}

/// Writes the bits in `mask`.
pub fn modify(addr: u32, value: u32, mask: u32) {
    write(addr, read(addr) & !mask | value & mask);
}

/// Does register writes of address, value and mask, in order.
pub fn apply(writes: &[[u32; 3]]) {
    for [addr, value, mask] in writes {
        if *mask == !0 {
            write(*addr, *value);
        } else {
            modify(*addr, *value, *mask);
        }
    }
}

// The system timer (TRM, System Timer; the same on all these chips): 16 MHz.
const UNIT0_OP: u32 = SYSTIMER + 0x04;
const UNIT0_VALUE_LO: u32 = SYSTIMER + 0x44;
const UPDATE: u32 = 1 << 30;
const VALID: u32 = 1 << 29;
const TICKS_PER_US: u32 = 16;

/// Returns the time in microseconds; it wraps after 268 s.
pub fn micros() -> u32 {
    write(UNIT0_OP, UPDATE);
    while read(UNIT0_OP) & VALID == 0 {}
    read(UNIT0_VALUE_LO) / TICKS_PER_US
}

/// Returns the microseconds from `since` to now.
pub fn elapsed(since: u32) -> u32 {
    const WRAP: u32 = u32::MAX / TICKS_PER_US;
    micros().wrapping_sub(since) & WRAP
}

/// Waits.
pub fn delay(us: u32) {
    let since = micros();
    while elapsed(since) < us {}
}

/// Raises the clocks of CPU and flash bus, or restores what they were.
#[derive(Default)]
pub struct Clocks {
    before: [u32; CLOCKS.len()],
    raised: bool,
}

impl Clocks {
    pub fn raise(&mut self) {
        if self.raised {
            return;
        }
        for (before, [addr, ..]) in self.before.iter_mut().zip(CLOCKS) {
            *before = read(*addr);
        }
        apply(CLOCKS);
        self.raised = true;
    }

    pub fn restore(&mut self) {
        if self.raised {
            for (before, [addr, ..]) in self.before.iter().zip(CLOCKS).rev() {
                write(*addr, *before);
            }
            self.raised = false;
        }
    }

    /// Returns the CPU's clock in MHz.
    pub fn mhz(&self) -> u32 {
        if self.raised { CPU_MHZ } else { BOOT_MHZ }
    }
}

/// Resets the chip so that it samples its strapping pins and boots from flash.
pub fn reset() -> ! {
    apply(RESET);
    loop {
        core::hint::spin_loop();
    }
}
