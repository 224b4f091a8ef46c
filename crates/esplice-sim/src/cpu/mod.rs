//! The CPU: an interpreter for RV32IMC, Zicsr and Zifencei (and optionally A) with machine and user
//! mode, and with traps and interrupts as in Espressif's single-core RISC-V chips.
//!
//! The CPU knows nothing about the rest of the chip. Every access goes through [`Bus`], interrupts
//! are set with [`Cpu::set_irq`], and ROM functions that the board emulates are addresses passed to
//! [`Cpu::set_hooks`].
//!
//! # Performance
//! Instructions are decoded once, into pages of small fixed-size operations (`cache`); the inner
//! loop (`execute`) then looks only at those. Three rules keep this correct:
//! - The CPU notifies the bus of the bytes it holds decoded ([`Bus::decoded`]). When such bytes
//!   change, the bus reports it through [`Bus::attention`] and [`Bus::take_code_change`].
//!   [`crate::memory::Memory`] does all of this for plain memory.
//! - Interrupts, resets and other effects of devices on the CPU take place when [`Cpu::run`]
//!   returns. A device access with such an effect makes [`Bus::attention`] and [`Bus::take_yield`]
//!   return true, and `run` then returns [`Stop::YieldRequested`] right after that instruction.
//! - The caller handles time that passes without an access, such as an expiring timer. It passes
//!   the cycle of the next event to `run` as `until_cycle`, and `run` stops exactly there.
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

pub use csr::{CpuModel, Csrs, MAX_PMP_ENTRIES, MAX_TRIGGERS};
pub(crate) use decode::{Kind, Op};
pub use trap::cause;

pub(crate) use cache::CodeCache;
use execute::Exit;
use guard::{AccessKind, Guard};

/// The CPU's interface to the rest of the chip. All addresses are bus addresses.
///
/// Addresses may be unaligned, which the plain memories of these chips support (see
/// [`crate::memory`]). A device that does not support them returns [`Fault::Misaligned`].
pub trait Bus {
    /// Called before every load and store with the value that [`Cpu::cycles`] will have after the
    /// instruction, so that a device knows the time in the middle of a batch. Keep it to one
    /// assignment.
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
    /// Returns the instruction halfword at `addr` (always even). Called only when an instruction is
    /// decoded, not when it runs.
    fn fetch16(&mut self, addr: u32) -> Result<u16, Fault>;
    /// Called when the CPU holds a decoded copy of the instruction of `len` bytes (2 or 4) at
    /// `addr`. Changes to these bytes must be reported from then on.
    fn decoded(&mut self, addr: u32, len: u32);
    /// Returns whether a code change or a yield is pending. Polled after every load and store: keep
    /// it to one field.
    fn attention(&self) -> bool;
    /// Returns the next range of addresses whose decoded instructions are outdated, if there is
    /// one. Called until it returns `None`.
    fn take_code_change(&mut self) -> Option<CodeChange>;
    /// Returns whether the board must act (an interrupt line changed, a reset was requested, a byte
    /// was sent …). Returns true once per request and clears the attention flag.
    fn take_yield(&mut self) -> bool;
}

/// A range of bus addresses whose code has changed since it was decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeChange {
    /// First address.
    pub addr: u32,
    /// Length in bytes.
    pub len: u32,
}

/// Why an access was refused. The faulting address is the requested one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is readable there, or reading is not allowed: mcause 5.
    LoadAccess,
    /// Nothing is writable there, or writing is not allowed: mcause 7.
    StoreAccess,
    /// Nothing is executable there: mcause 1.
    FetchAccess,
    /// The address is not aligned as the memory or device requires: mcause 4 for loads, 6 for
    /// stores.
    Misaligned,
}

/// Why [`Cpu::run`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The CPU has reached `until_cycle`.
    Budget,
    /// pc is at this hooked address and the instruction there has not run. The board either
    /// emulates the function, adds its cost to [`Cpu::cycles`] and sets pc, or calls
    /// [`Cpu::pass_hook`] and runs on.
    Hook(u32),
    /// pc is at a breakpoint of the debugger and the instruction there has not run. After
    /// `pass_breakpoint`, the next `run` executes it.
    Breakpoint,
    /// The CPU waits for an interrupt. Until [`Cpu::set_irq`] reports one, each `run` returns `Wfi`
    /// without using cycles.
    Wfi,
    /// The first instruction of the trap handler itself traps. Only a reset helps.
    DoubleFault {
        /// Address of the last trap, which is that of the trap handler.
        pc: u32,
        /// mcause of the last trap.
        cause: u32,
    },
    /// A device requested the board's attention. The instruction is complete.
    YieldRequested,
}

/// A single-hart CPU.
#[derive(Debug, Clone)]
pub struct Cpu {
    /// Integer registers. `x[0]` is 0, and callers that set registers must keep it so.
    pub x: [u32; 32],
    /// Address of the next instruction.
    pub pc: u32,
    /// Cycles since power-on: one per instruction plus the cost of hooks. Not changed by
    /// [`Cpu::reset`].
    pub cycles: u64,
    /// Control and status registers and the privilege mode.
    pub csrs: Csrs,
    model: CpuModel,
    irq: u32,
    waiting: bool,
    /// Hooked address whose real instruction runs next.
    pass_hook: Option<u32>,
    /// Breakpoint that the next `run` ignores.
    pass_breakpoint: Option<u32>,
    /// Number of traps taken since power-on.
    pub(crate) traps: u64,
    reservation: Option<u32>,
    cache: CodeCache,
    guard: Guard,
    /// True if the performance counter was read or set since the last query.
    counter_read: bool,
}

impl Cpu {
    /// Creates a CPU in its reset state with pc 0. Call [`Cpu::reset`] to set the reset vector.
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
            pass_breakpoint: None,
            traps: 0,
            reservation: None,
            cache: CodeCache::new(),
            guard: Guard::new(),
            counter_read: false,
        }
    }

    /// Resets the registers, the CSRs and the performance counter, and sets pc to the reset vector.
    /// Keeps hooks, decoded code and [`Cpu::cycles`].
    pub fn reset(&mut self, pc: u32) {
        self.x = [0; 32];
        self.pc = pc;
        self.csrs = Csrs::at_reset(self.cycles, &self.model);
        self.guard.refresh(&self.csrs);
        self.irq = 0;
        self.waiting = false;
        self.pass_hook = None;
        self.pass_breakpoint = None;
        self.reservation = None;
    }

    /// Runs whole instructions until [`Cpu::cycles`] is `until_cycle` or the board is needed.
    pub fn run<B: Bus>(&mut self, bus: &mut B, until_cycle: u64) -> Stop {
        // Apply changes made while the board was active (flash MMU, a ROM function writing code).
        self.apply_code_changes(bus);
        self.guard.update_world(&self.csrs);
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
            // Before interrupts, so that a stop and its continuation count as one visit of the
            // address.
            if self.pass_hook.take() == Some(self.pc)
                && self.cache.is_hooked(self.pc)
                && let Some(stop) = self.step_hooked(bus)
            {
                return stop;
            }
            if self.pass_breakpoint.take() == Some(self.pc)
                && self.cache.has_breakpoint(self.pc)
                && let Some(stop) = self.step_breakpoint(bus)
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
                        // A failed fetch also uses a cycle, so that an endless trap uses up its
                        // budget.
                        self.cycles += 1;
                        if let Some(stop) = self.exception(cause, tval) {
                            return stop;
                        }
                    }
                }
                Exit::Hook => return self.hook_stop(),
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

    /// Sets the interrupts that are asserted, enabled by the interrupt matrix and of sufficient
    /// priority: bit n is CPU interrupt n. The lowest number is taken first, so a matrix with
    /// priorities passes only its choice.
    pub fn set_irq(&mut self, pending: u32) {
        self.irq = pending;
    }

    /// Clears all pending interrupts that are not in `pending`.
    pub fn clear_irq_except(&mut self, pending: u32) {
        self.irq &= pending;
    }

    /// Returns whether the last [`Stop::Wfi`] still applies.
    pub fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Replaces the addresses at which `run` stops with [`Stop::Hook`]. Odd addresses are ignored.
    pub fn set_hooks(&mut self, addrs: impl IntoIterator<Item = u32>) {
        self.cache.set_hooks(addrs.into_iter().collect());
    }

    /// Replaces the addresses at which `run` stops with [`Stop::Breakpoint`]. Code and what it reads
    /// stay unchanged, and execution elsewhere is not slower.
    pub(crate) fn set_breakpoints(&mut self, addrs: impl IntoIterator<Item = u32>) {
        self.cache.set_breakpoints(addrs.into_iter().collect());
    }

    /// Makes the next `run` ignore a breakpoint at the current pc.
    pub(crate) fn pass_breakpoint(&mut self) {
        self.pass_breakpoint = Some(self.pc);
    }

    /// Discards the decoded instructions and returns them, without the hooks and breakpoints.
    pub(crate) fn take_decoded(&mut self) -> CodeCache {
        let emptied = self.cache.emptied();
        std::mem::replace(&mut self.cache, emptied)
    }

    /// Restores what [`Cpu::take_decoded`] returned.
    pub(crate) fn restore_decoded(&mut self, cache: CodeCache) {
        self.cache = cache;
    }

    /// Makes the next `run` execute the real instruction at the current pc once, although it is
    /// hooked.
    pub fn pass_hook(&mut self) {
        self.pass_hook = Some(self.pc);
    }

    /// Discards the decoded instructions in a range of addresses.
    pub fn invalidate(&mut self, addr: u32, len: u32) {
        self.cache.invalidate(addr, len);
    }

    /// Discards all decoded instructions.
    pub fn invalidate_all(&mut self) {
        self.cache.clear();
    }

    /// Returns whether an instruction has accessed the performance counter since the last call. Its
    /// behaviour then depends on the cycle.
    pub(crate) fn take_counter_read(&mut self) -> bool {
        std::mem::take(&mut self.counter_read)
    }

    /// Returns the operation at an address as it was decoded for execution.
    pub(crate) fn operation(&self, addr: u32) -> Op {
        self.cache.get(addr)
    }

    /// Returns whether a CSR belongs to the performance counter.
    pub(crate) fn is_counter(csr: u32) -> bool {
        matches!(csr, 0x7e0..=0x7e2 | 0x800..=0x802)
    }

    /// Returns whether a CSR holds the performance counter's value.
    pub(crate) fn is_count(csr: u32) -> bool {
        matches!(csr, 0x7e2 | 0x802)
    }

    fn apply_code_changes<B: Bus>(&mut self, bus: &mut B) {
        while let Some(change) = bus.take_code_change() {
            self.cache.invalidate(change.addr, change.len);
        }
    }
}
