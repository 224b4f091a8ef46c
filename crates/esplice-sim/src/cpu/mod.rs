//! The CPU: an interpreter of RV32IMC + Zicsr + Zifencei (A as an option) with machine and user mode, traps and
//! interrupts as Espressif's single-core RISC-V chips have them.
//!
//! It knows nothing of the chip around it: every access goes through [`Bus`], interrupts come in by
//! [`Cpu::set_irq`], and ROM functions that the board carries out itself are addresses given to [`Cpu::set_hooks`].
//!
//! # How it is fast
//! Instructions are decoded once, into pages of small fixed-size operations (`cache`); the inner loop
//! (`execute`) then only looks at those. Three rules keep that right:
//! - The CPU tells the bus which bytes it holds decoded ([`Bus::decoded`]). When such bytes change, the bus says so by
//!   [`Bus::attention`] and [`Bus::take_code_change`]. [`crate::memory::Memory`] does all of this for plain memory.
//! - Interrupts, resets and all else that a device does to the CPU take effect when [`Cpu::run`] returns. A device
//!   access that has such an effect makes [`Bus::attention`] true and [`Bus::take_yield`] answer true: `run` then
//!   ends right after that instruction with [`Stop::YieldRequested`].
//! - Time that passes without an access (a timer expiring) is the caller's: it gives `run` the cycle of the next
//!   event as `until_cycle`, and `run` stops exactly there.
//!
//! # Example
//! ```text
//! loop {
//!     cpu.set_irq(soc.highest_interrupt());
//!     match cpu.run(&mut soc, soc.next_event()) {
//!         Stop::Budget | Stop::YieldRequested => soc.advance(cpu.cycles),
//!         Stop::Wfi => cpu.cycles = soc.next_event(),
//!         Stop::Hook(addr) => { /* the ROM function, then: */ cpu.pc = cpu.x[1]; }
//!         Stop::DoubleFault { .. } => break,
//!     }
//! }
//! ```

mod cache;
mod compressed;
mod csr;
mod decode;
mod execute;
mod guard;
mod trap;

pub use csr::{CpuModel, Csrs, MOST_PMP_ENTRIES, MOST_TRIGGERS};
pub(crate) use decode::{Kind, Op};
pub use trap::cause;

use cache::CodeCache;
use execute::Exit;
use guard::{Guard, Intent};

/// What the CPU sees of the world. All addresses are on the bus.
///
/// Addresses may be unaligned: the plain memories of these chips take that (see [`crate::memory`]); an implementer
/// whose device does not answers [`Fault::Misaligned`].
pub trait Bus {
    /// Called before every load and store with the value that [`Cpu::cycles`] will have after the instruction, so that
    /// a device can tell the time in the middle of a batch. Keep it to one assignment.
    fn at_cycle(&mut self, cycles: u64);
    /// Reads a byte.
    fn load8(&mut self, addr: u32) -> Result<u8, Fault>;
    /// Reads a little-endian halfword.
    fn load16(&mut self, addr: u32) -> Result<u16, Fault>;
    /// Reads a little-endian word.
    fn load32(&mut self, addr: u32) -> Result<u32, Fault>;
    /// Writes a byte.
    fn store8(&mut self, addr: u32, value: u8) -> Result<(), Fault>;
    /// Writes a little-endian halfword.
    fn store16(&mut self, addr: u32, value: u16) -> Result<(), Fault>;
    /// Writes a little-endian word.
    fn store32(&mut self, addr: u32, value: u32) -> Result<(), Fault>;
    /// The instruction halfword at `addr` (always even). Asked only when an instruction is decoded, not when it runs.
    fn fetch16(&mut self, addr: u32) -> Result<u16, Fault>;
    /// The CPU now holds a decoded copy of the instruction at `addr` of `len` bytes (2 or 4), and wants to hear
    /// of changes to it.
    fn decoded(&mut self, addr: u32, len: u32);
    /// Whether there is a code change or a yield to be taken. Polled after every load and store: keep it to one field.
    fn attention(&self) -> bool;
    /// The next range of addresses whose decoded instructions are out of date, if there is one. Asked until `None`.
    fn take_code_change(&mut self) -> Option<CodeChange>;
    /// Whether the board should be asked to look (an interrupt line changed, a reset was requested, a byte was sent …).
    /// Answers true once for each request, and takes the attention back.
    fn take_yield(&mut self) -> bool;
}

/// A range of bus addresses whose contents as code are no longer what was decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeChange {
    /// First address.
    pub addr: u32,
    /// Bytes from there.
    pub len: u32,
}

/// Why an access was refused. The address is the one asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing there to read, or reading is not allowed: mcause 5.
    LoadAccess,
    /// Nothing there to write, or writing is not allowed: mcause 7.
    StoreAccess,
    /// Nothing there to execute: mcause 1.
    FetchAccess,
    /// The address is not aligned and the memory or device needs it to be: mcause 4 for loads, 6 for stores.
    Misaligned,
}

/// Why [`Cpu::run`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// `until_cycle` is reached.
    Budget,
    /// pc stands at this hooked address, and nothing was executed there. The board carries the function out, charges
    /// [`Cpu::cycles`] and sets pc; or calls [`Cpu::pass_hook`] and runs on.
    Hook(u32),
    /// The CPU waits for an interrupt. It goes on with the next `run` after [`Cpu::set_irq`] gave it one; until then,
    /// `run` answers `Wfi` without using cycles.
    Wfi,
    /// The first instruction of the trap handler itself traps: no progress is possible without a reset.
    DoubleFault {
        /// Where the last trap happened: the address of the trap handler.
        pc: u32,
        /// Its mcause.
        cause: u32,
    },
    /// A device asked the board to look. The instruction is complete.
    YieldRequested,
}

/// One hart.
#[derive(Debug, Clone)]
pub struct Cpu {
    /// Integer registers. `x[0]` is 0: whoever sets registers from outside leaves it so.
    pub x: [u32; 32],
    /// Address of the next instruction.
    pub pc: u32,
    /// Cycles since power-on: one for each instruction, plus what hooks charge. Not changed by [`Cpu::reset`].
    pub cycles: u64,
    /// Control and status registers, and the privilege mode.
    pub csrs: Csrs,
    model: CpuModel,
    irq: u32,
    waiting: bool,
    /// The hooked address whose real instruction is to run next.
    pass_hook: Option<u32>,
    reservation: Option<u32>,
    cache: CodeCache,
    guard: Guard,
    /// The performance counter was read or set since it was last asked.
    counter_read: bool,
}

impl Cpu {
    /// A CPU at rest with pc 0; call [`Cpu::reset`] to give it its reset vector.
    pub fn new(model: CpuModel) -> Self {
        Self {
            x: [0; 32],
            pc: 0,
            cycles: 0,
            csrs: Csrs::at_reset(0, &model),
            model,
            irq: 0,
            waiting: false,
            pass_hook: None,
            reservation: None,
            cache: CodeCache::new(),
            guard: Guard::new(),
            counter_read: false,
        }
    }

    /// Puts registers and CSRs, with the performance counter, into their reset state and pc to the reset vector. Hooks,
    /// decoded code and [`Cpu::cycles`] stay.
    pub fn reset(&mut self, pc: u32) {
        self.x = [0; 32];
        self.pc = pc;
        self.csrs = Csrs::at_reset(self.cycles, &self.model);
        self.guard.refresh(&self.csrs);
        self.irq = 0;
        self.waiting = false;
        self.pass_hook = None;
        self.reservation = None;
    }

    /// Runs whole instructions until [`Cpu::cycles`] is `until_cycle`, or something else needs the board.
    pub fn run<B: Bus>(&mut self, bus: &mut B, until_cycle: u64) -> Stop {
        // What changed while the board was at work (flash MMU, a ROM function writing code).
        self.apply_code_changes(bus);
        self.guard.look(&self.csrs);
        loop {
            if self.waiting {
                if self.pending() == 0 {
                    return Stop::Wfi;
                }
                self.waiting = false;
            }
            if self.cycles >= until_cycle {
                return Stop::Budget;
            }
            // Before interrupts, so that a stop and its continuation are one visit of the address.
            if self.pass_hook.take() == Some(self.pc)
                && self.cache.is_hooked(self.pc)
                && let Some(stop) = self.step_hooked(bus)
            {
                return stop;
            }
            if self.cycles >= until_cycle {
                return Stop::Budget;
            }
            self.take_interrupt();
            match self.execute(bus, until_cycle, false) {
                Exit::Budget => return Stop::Budget,
                Exit::Guarded => {
                    if let Some(stop) = self.step_guarded(bus) {
                        return stop;
                    }
                }
                Exit::Undecoded => {
                    if let Err((cause, tval)) = cache::decode_run(&mut self.cache, bus, self.pc) {
                        // An instruction that can't be fetched takes its turn too: an endless trap uses up its budget.
                        self.cycles += 1;
                        if let Some(stop) = self.exception(cause, tval) {
                            return stop;
                        }
                    }
                }
                Exit::Hook => return Stop::Hook(self.pc),
                Exit::Trap { cause, tval } => {
                    if let Some(stop) = self.exception(cause, tval) {
                        return stop;
                    }
                }
                Exit::System(op) => {
                    if let Some(stop) = self.system(op, bus) {
                        return stop;
                    }
                }
                Exit::Attention => {
                    self.apply_code_changes(bus);
                    if bus.take_yield() {
                        return Stop::YieldRequested;
                    }
                }
            }
        }
    }

    /// The interrupts that are asserted, enabled by the interrupt matrix and of sufficient priority: bit n is CPU
    /// interrupt n. Of several, the lowest number is taken first: a matrix with priorities gives only its choice.
    pub fn set_irq(&mut self, pending: u32) {
        self.irq = pending;
    }

    /// Of the interrupts that the CPU knows of, only those in `pending` are still there.
    pub fn keep_irq(&mut self, pending: u32) {
        self.irq &= pending;
    }

    /// Whether the last [`Stop::Wfi`] still holds.
    pub fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Sets the addresses at which `run` stops with [`Stop::Hook`]; they replace the earlier ones. Odd ones are ignored.
    pub fn set_hooks(&mut self, addrs: impl IntoIterator<Item = u32>) {
        self.cache.set_hooks(addrs.into_iter().collect());
    }

    /// Lets the next `run` execute the real instruction at the present pc once, though it is hooked.
    pub fn pass_hook(&mut self) {
        self.pass_hook = Some(self.pc);
    }

    /// Forgets decoded instructions in a range of addresses.
    pub fn invalidate(&mut self, addr: u32, len: u32) {
        self.cache.invalidate(addr, len);
    }

    /// Forgets all decoded instructions.
    pub fn invalidate_all(&mut self) {
        self.cache.clear();
    }

    /// Whether an instruction has touched the performance counter since the last call: what it does then depends on
    /// the cycle.
    pub(crate) fn take_counter_read(&mut self) -> bool {
        std::mem::take(&mut self.counter_read)
    }

    /// The operation at an address, as it was decoded when it was executed.
    pub(crate) fn operation(&self, addr: u32) -> Op {
        self.cache.get(addr)
    }

    /// Whether a CSR is one of the performance counter's.
    pub(crate) fn is_counter(csr: u32) -> bool {
        matches!(csr, 0x7e0..=0x7e2 | 0x800..=0x802)
    }

    /// Whether a CSR is the count itself.
    pub(crate) fn is_count(csr: u32) -> bool {
        matches!(csr, 0x7e2 | 0x802)
    }

    fn apply_code_changes<B: Bus>(&mut self, bus: &mut B) {
        while let Some(change) = bus.take_code_change() {
            self.cache.invalidate(change.addr, change.len);
        }
    }
}
