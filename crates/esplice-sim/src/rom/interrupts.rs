//! The ROM's interrupts: its vectors, its table of handlers, and the functions that set up both.
//! Flasher stubs rely on them; other firmware has its own vectors.

use super::{A0, Call, Flow, Hook, RA, SP, Table};
use crate::{
    cpu::{Bus, Cpu},
    soc::{
        Soc,
        interrupts::{ENABLE, PRIORITY_0, THRESHOLD, TYPE},
    },
};

pub(super) const HOOKS: &[(&str, Hook)] = &[
    ("ets_isr_attach", set_handler),
    ("intr_handler_set", set_handler),
    ("ets_isr_mask", |call| change(call, ENABLE, |old, bits| old & !bits)),
    ("esprv_intc_int_disable", |call| change(call, ENABLE, |old, bits| old & !bits)),
    ("ets_isr_unmask", |call| change(call, ENABLE, |old, bits| old | bits)),
    ("esprv_intc_int_enable", |call| change(call, ENABLE, |old, bits| old | bits)),
    ("esprv_intc_int_set_type", |call| {
        let (number, edge) = (call.arg(0) & 31, call.arg(1) != 0);
        set(call, TYPE, |old| old & !(1 << number) | u32::from(edge) << number)
    }),
    ("esprv_intc_int_set_priority", |call| {
        let (number, priority) = (call.arg(0) & 31, call.arg(1));
        set(call, PRIORITY_0 + 4 * number, |_| priority)
    }),
    ("esprv_intc_int_set_threshold", |call| {
        let threshold = call.arg(0);
        set(call, THRESHOLD, |_| threshold)
    }),
    ("intr_matrix_set", |call| {
        let (core, source, number) = (call.arg(0), call.arg(1), call.arg(2));
        match source {
            0..SOURCES if core == 0 => set(call, 4 * source, |_| number),
            _ => Flow::after(10),
        }
    }),
];

/// Number of map registers, which come first in the interrupt matrix (TRM 8.4).
const SOURCES: u32 = 62;
/// Number of entries in the ROM's table, and length of each: handler and argument.
const HANDLERS: u32 = 32;
const HANDLER_LEN: u32 = 8;

/// Length of the ROM's frame, and offset of each register in it (ROM: `_interrupt_exit`).
const FRAME_LEN: u32 = 0x90;
const FRAME: [(usize, u32); 29] = [
    (1, 4),
    (5, 20),
    (6, 24),
    (7, 28),
    (8, 32),
    (9, 36),
    (10, 40),
    (11, 44),
    (12, 48),
    (13, 52),
    (14, 56),
    (15, 60),
    (16, 64),
    (17, 68),
    (18, 72),
    (19, 76),
    (20, 80),
    (21, 84),
    (22, 88),
    (23, 92),
    (24, 96),
    (25, 100),
    (26, 104),
    (27, 108),
    (28, 112),
    (29, 116),
    (30, 120),
    (31, 124),
    (2, 8),
];
const S0: usize = 8;
const S1: usize = 9;
const S2: usize = 18;
const CSR_MSTATUS: u32 = 0x300;
const CSR_MEPC: u32 = 0x341;
const CSR_MCAUSE: u32 = 0x342;
const MSTATUS_MIE: u32 = 1 << 3;
/// Instructions of the ROM's entry and exit code together.
const CYCLES: u64 = 50;

/// A place in the ROM's interrupt handling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vector {
    /// The entry of an interrupt.
    Entry,
    /// The return from its handler.
    Exit,
}

impl Vector {
    /// Returns the vector at `addr`, if one is modelled.
    pub fn at(addr: u32, table: &Table) -> Option<Vector> {
        let texts = table.facts();
        match addr.wrapping_sub(texts.vectors) {
            1..0x80 if addr.is_multiple_of(4) => Some(Vector::Entry),
            _ if addr == texts.interrupt_exit => Some(Vector::Exit),
            _ => None,
        }
    }

    /// Returns the addresses of all vectors.
    pub fn addrs(table: &Table) -> impl Iterator<Item = u32> {
        let texts = table.facts();
        (1..HANDLERS)
            .map(|number| texts.vectors + 4 * number)
            .chain([texts.interrupt_exit, table.resume()])
    }

    /// Performs the vector's work and returns its cycles.
    pub fn run(self, cpu: &mut Cpu, soc: &mut Soc, table: &Table) -> u64 {
        match self {
            Vector::Entry => enter(cpu, soc, table),
            Vector::Exit => exit(cpu, soc),
        }
        CYCLES
    }
}

/// Enters a handler (ROM: `_interrupt_handler`, `_global_interrupt_handler`).
fn enter(cpu: &mut Cpu, soc: &mut Soc, table: &Table) {
    let frame = cpu.x[SP].wrapping_sub(FRAME_LEN);
    for (register, offset) in FRAME {
        let _ = soc.store32(frame.wrapping_add(offset), cpu.x[register]);
    }
    cpu.x[SP] = frame;
    let threshold = soc.base_of("intmtx").unwrap_or(0) + THRESHOLD;
    let number = cpu.read_csr(CSR_MCAUSE).unwrap_or(0) & (HANDLERS - 1);
    cpu.x[S0] = soc.load32(threshold).unwrap_or(0);
    cpu.x[S1] = cpu.read_csr(CSR_MSTATUS).unwrap_or(0);
    cpu.x[S2] = cpu.read_csr(CSR_MEPC).unwrap_or(0);
    // Only interrupts of a higher priority can preempt the handler.
    let priority = threshold - THRESHOLD + PRIORITY_0 + 4 * number;
    let priority = soc.load32(priority).unwrap_or(0);
    let _ = soc.store32(threshold, priority.wrapping_add(1));
    cpu.write_csr(CSR_MSTATUS, cpu.x[S1] | MSTATUS_MIE);
    let back = table.facts().interrupt_exit;
    let entry = table.data("s_intr_handlers").map(|handlers| handlers + HANDLER_LEN * number);
    let handler = entry.map_or(0, |entry| soc.load32(entry).unwrap_or(0));
    cpu.x[RA] = back;
    cpu.pc = back;
    if let (Some(entry), 1..) = (entry, handler) {
        cpu.x[A0] = soc.load32(entry + 4).unwrap_or(0);
        cpu.pc = handler & !1;
    }
}

/// Returns from a handler (ROM: `_interrupt_exit`).
fn exit(cpu: &mut Cpu, soc: &mut Soc) {
    let threshold = soc.base_of("intmtx").unwrap_or(0) + THRESHOLD;
    let _ = soc.store32(threshold, cpu.x[S0]);
    cpu.write_csr(CSR_MSTATUS, cpu.x[S1] & !MSTATUS_MIE);
    cpu.write_csr(CSR_MSTATUS, cpu.x[S1]);
    cpu.write_csr(CSR_MEPC, cpu.x[S2]);
    let frame = cpu.x[SP];
    for (register, offset) in FRAME {
        cpu.x[register] = soc.load32(frame.wrapping_add(offset)).unwrap_or(0);
    }
    cpu.return_from_trap();
}

/// Registers of the console UART after the ROM's loader has used it (ROM: `uartAttach`,
/// `Uart_Init`, read from the board that executes it; TRM 25): an interrupt for each byte, a glitch
/// filter, 8 data bits and 1 stop bit.
const CONSOLE: [(u32, u32); 4] = [(0x0c, 1), (0x18, 0x104), (0x20, 0x0400_001c), (0x24, 1)];

/// Sets console and interrupt matrix to the state after the ROM's loader has used the console: the
/// UART's interrupt has its number and is masked.
pub(crate) fn attach_console(soc: &mut Soc, table: &Table) {
    let console = soc.console();
    for (register, value) in CONSOLE {
        let _ = soc.store32(console + register, value);
    }
    let number = table.facts().console_interrupt & (HANDLERS - 1);
    let matrix = soc.base_of("intmtx").unwrap_or(0);
    if let Some(source) = soc.console_irq().filter(|source| *source < SOURCES) {
        let _ = soc.store32(matrix + 4 * source, number);
    }
    let _ = soc.store32(matrix + PRIORITY_0 + 4 * number, 1);
}

/// Sets a handler without checks (ROM: `intr_handler_set`).
fn set_handler(call: &mut Call<'_>) -> Flow {
    let (number, handler, argument) = (call.arg(0), call.arg(1), call.arg(2));
    if let Some(handlers) = call.data("s_intr_handlers") {
        let entry = handlers.wrapping_add(number.wrapping_mul(HANDLER_LEN));
        call.store(entry, handler);
        call.store(entry.wrapping_add(4), argument);
    }
    Flow::after(10)
}

fn change(call: &mut Call<'_>, register: u32, with: fn(u32, u32) -> u32) -> Flow {
    let bits = call.arg(0);
    set(call, register, |old| with(old, bits))
}

fn set(call: &mut Call<'_>, register: u32, with: impl Fn(u32) -> u32) -> Flow {
    if let Some(matrix) = call.soc.base_of("intmtx") {
        let value = with(call.load(matrix + register));
        call.store(matrix + register, value);
    }
    Flow::after(10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cpu::CpuModel, nor::Nor, soc::ResetReason};

    const HANDLER: u32 = 0x4038_1000;
    const CODE: u32 = 0x4038_0100;

    /// Checks that a handler for interrupt `number` is called with its argument, and that all
    /// registers are restored.
    fn check(number: u32, handler: u32) {
        let chip = esplice_chip::ChipDb::embedded().find("esp32c3").unwrap();
        let sim = chip.sim.as_ref().unwrap();
        let mut soc = Soc::new(chip, sim, Nor::in_memory(1 << 20, &sim.flash), true).unwrap();
        soc.reset(ResetReason::PowerOn);
        let table = Table::load(&sim.rom_table).unwrap();
        let mut cpu = Cpu::new(CpuModel::of(chip, sim));
        let entry = table.data("s_intr_handlers").unwrap() + HANDLER_LEN * number;
        soc.store32(entry, handler).unwrap();
        soc.store32(entry + 4, 0x1234).unwrap();
        let matrix = soc.base_of("intmtx").unwrap();
        soc.store32(matrix + THRESHOLD, 1).unwrap();
        soc.store32(matrix + PRIORITY_0 + 4 * number, 3).unwrap();
        for register in 1..32 {
            cpu.x[register] = 0x100 + register as u32;
        }
        cpu.x[SP] = 0x3fcd_0000;
        let before = cpu.x;
        cpu.write_csr(CSR_MCAUSE, 1 << 31 | number);
        cpu.write_csr(CSR_MEPC, CODE);
        cpu.write_csr(CSR_MSTATUS, 1 << 7 | 3 << 11);

        let vectors = table.facts().vectors;
        let at = Vector::at(vectors + 4 * number, &table);
        assert_eq!(at, Some(Vector::Entry));
        Vector::Entry.run(&mut cpu, &mut soc, &table);
        assert_eq!(soc.load32(matrix + THRESHOLD), Ok(4), "only interrupts of a higher priority");
        let back = table.facts().interrupt_exit;
        let (pc, argument) = match handler {
            0 => (back, before[A0]),
            _ => (HANDLER, 0x1234),
        };
        assert_eq!((cpu.pc, cpu.x[RA], cpu.x[A0]), (pc, back, argument));

        // The handler uses caller-saved registers, and keeps s0 to s11 and sp.
        for register in [5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17, 28, 29, 30, 31] {
            cpu.x[register] = 7;
        }
        assert_eq!(Vector::at(back, &table), Some(Vector::Exit));
        Vector::Exit.run(&mut cpu, &mut soc, &table);
        assert_eq!(cpu.x, before);
        assert_eq!(cpu.pc, CODE);
        assert_eq!(soc.load32(matrix + THRESHOLD), Ok(1));
        assert_ne!(cpu.read_csr(CSR_MSTATUS).unwrap() & MSTATUS_MIE, 0);
        assert_eq!(Vector::at(vectors, &table), None, "exceptions are handled by the panic code");
    }

    #[test]
    fn interrupts_come_back() {
        check(5, HANDLER);
        check(31, HANDLER);
        check(17, 0);
    }
}
