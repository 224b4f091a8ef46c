//! Traps: exceptions, interrupts and returning from them.

use super::{Cpu, Stop};

/// Values of mcause (RISC-V privileged specification, table "Machine cause register values").
pub mod cause {
    /// Instruction access fault.
    pub const FETCH_ACCESS: u32 = 1;
    /// Illegal instruction. mtval holds its bits.
    pub const ILLEGAL: u32 = 2;
    /// ebreak.
    pub const BREAKPOINT: u32 = 3;
    /// Load address misaligned.
    pub const LOAD_MISALIGNED: u32 = 4;
    /// Load access fault.
    pub const LOAD_ACCESS: u32 = 5;
    /// Store or atomic address misaligned.
    pub const STORE_MISALIGNED: u32 = 6;
    /// Store or atomic access fault.
    pub const STORE_ACCESS: u32 = 7;
    /// ecall from user mode.
    pub const ECALL_USER: u32 = 8;
    /// ecall from machine mode.
    pub const ECALL_MACHINE: u32 = 11;
    /// Set for interrupts. The other bits then hold the number of the CPU interrupt.
    pub const INTERRUPT: u32 = 1 << 31;
}

/// mstatus bits.
pub(super) const MIE: u32 = 1 << 3;
pub(super) const MPIE: u32 = 1 << 7;
pub(super) const MPP: u32 = 3 << 11;
pub(super) const TW: u32 = 1 << 21;

/// tcontrol bits (RISC-V debug specification, "Trigger control").
pub(super) const MTE: u32 = 1 << 3;
const MPTE: u32 = 1 << 7;

impl Cpu {
    /// Takes an exception at pc. Returns a stop if the handler's first instruction raised it.
    pub(super) fn exception(&mut self, cause: u32, tval: u32) -> Option<Stop> {
        let handler = self.csrs.mtvec & !0xff;
        if self.pc == handler && self.csrs.in_exception {
            return Some(Stop::DoubleFault { pc: self.pc, cause });
        }
        self.enter_trap(cause, tval, handler);
        None
    }

    /// Returns the interrupts that wake the CPU and are taken if mstatus allows.
    pub(super) fn pending(&self) -> u32 {
        if self.model.interrupt_csrs { self.irq & self.csrs.mie } else { self.irq }
    }

    /// Returns whether an interrupt is taken before the next instruction.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.pending() != 0 && (self.csrs.mstatus & MIE != 0 || self.csrs.user_mode)
    }

    /// Takes the pending interrupt with the lowest number, if interrupts are enabled.
    pub(super) fn take_interrupt(&mut self) {
        // User mode never masks machine interrupts (privileged specification, 3.1.6.1).
        let pending = self.pending();
        if pending != 0 && (self.csrs.mstatus & MIE != 0 || self.csrs.user_mode) {
            let number = pending.trailing_zeros();
            let handler = (self.csrs.mtvec & !0xff).wrapping_add(4 * number);
            self.enter_trap(cause::INTERRUPT | number, 0, handler);
        }
    }

    /// Takes the interrupt that is due before the next instruction. Returns whether there was one.
    pub(crate) fn take_pending_interrupt(&mut self) -> bool {
        self.waiting = false;
        let due = self.is_interrupted();
        self.take_interrupt();
        due
    }

    fn enter_trap(&mut self, cause: u32, tval: u32, handler: u32) {
        self.traps += 1;
        let csrs = &mut self.csrs;
        csrs.mepc = self.pc;
        csrs.mcause = cause;
        csrs.mtval = tval;
        let mie = csrs.mstatus & MIE != 0;
        csrs.mstatus &= !(MIE | MPIE | MPP);
        csrs.mstatus |= if mie { MPIE } else { 0 } | if csrs.user_mode { 0 } else { MPP };
        csrs.user_mode = false;
        let mte = csrs.tcontrol & MTE != 0;
        csrs.tcontrol = if mte { MPTE } else { 0 };
        csrs.in_exception = cause & cause::INTERRUPT == 0;
        self.guard.update_world(csrs);
        self.reservation = None;
        self.pc = handler;
    }

    /// Returns from a trap like `mret`.
    pub(crate) fn return_from_trap(&mut self) {
        self.mret();
    }

    pub(super) fn mret(&mut self) {
        let csrs = &mut self.csrs;
        let mpie = csrs.mstatus & MPIE != 0;
        csrs.user_mode = csrs.mstatus & MPP == 0;
        csrs.mstatus &= !(MIE | MPP);
        csrs.mstatus |= MPIE | if mpie { MIE } else { 0 };
        let mpte = csrs.tcontrol & MPTE != 0;
        csrs.tcontrol = MPTE | if mpte { MTE } else { 0 };
        csrs.in_exception = false;
        self.guard.update_world(csrs);
        self.reservation = None;
        self.pc = csrs.mepc;
    }
}
