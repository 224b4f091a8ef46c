//! The ROM's handling of an exception while its own vectors are set: the image crashed before it
//! set its own vectors (ROM: `_interrupt_handler`, `ets_fatal_exception_handler`).

use std::fmt::Write as _;

use super::Call;
use crate::soc::interrupts::THRESHOLD;

/// Names of causes, by mcause.
const CAUSES: [&str; 17] = [
    "Instruction address misaligned",
    "Instruction access fault",
    "Illegal instruction",
    "Breakpoint",
    "Load address misaligned",
    "Load access fault",
    "Store/AMO address misaligned",
    "Store/AMO access fault",
    "Environment call from U-mode",
    "Environment call from S-mode",
    "Reserved",
    "Environment call from M-mode",
    "Instruction page fault",
    "Load page fault",
    "Reserved",
    "Store/AMO page fault",
    "Reserved",
];

/// Names in the dump; registers 1 to 31 are between PC and MSTATUS.
const NAMES: [&str; 36] = [
    "PC", "RA", "SP", "GP", "TP", "T0", "T1", "T2", "S0", "S1", "A0", "A1", "A2", "A3", "A4", "A5",
    "A6", "A7", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "S11", "T3", "T4", "T5",
    "T6", "MSTATUS", "MCAUSE", "MTVAL", "INTLEVEL",
];

/// Bytes of stack in the dump.
const STACK: u32 = 0x400;

/// Returns the report of the exception that was just taken.
pub(super) fn report(call: &mut Call<'_>) -> String {
    let csrs = &call.cpu.csrs;
    let (mstatus, mepc, mcause, mtval) = (csrs.mstatus, csrs.mepc, csrs.mcause, csrs.mtval);
    let matrix = call.soc.base_of("intmtx").unwrap_or(0);
    let level = call.load(matrix + THRESHOLD);
    let mut values = vec![mepc];
    values.extend(&call.cpu.x[1..]);
    values.extend([mstatus, mcause, mtval, level]);
    let cause = CAUSES.get(mcause as usize).unwrap_or(&"Unknown");
    let mut text = format!("Guru Meditation Error: Core 0 panic'ed ({cause})\n");
    text.push_str("Core 0 register dump:\n");
    for (number, (name, value)) in (1..).zip(NAMES.iter().zip(values)) {
        let end = if number % 4 == 0 { "\n" } else { "  " };
        // Writing to a string can't fail.
        let _ = write!(text, "{name:<8}: 0x{value:08x}{end}");
    }
    text.push_str("\n\nStack memory:\n");
    let stack = call.cpu.x[super::SP];
    for row in (0..STACK).step_by(32) {
        let at = stack.wrapping_add(row);
        let _ = write!(text, "{at:08x}: ");
        for word in 0..8 {
            let value = call.load(at.wrapping_add(4 * word));
            let _ = write!(text, "0x{value:08x}{}", if word == 7 { '\n' } else { ' ' });
        }
    }
    text.push('\n');
    text
}
