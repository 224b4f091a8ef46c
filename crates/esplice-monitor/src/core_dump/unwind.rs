//! A task's registers and the unwinding of its stack.

use crate::{
    panic::{AddressKind, CodeAddress},
    symbols::{Architecture, Symbols},
    unwind::Registers,
};

/// Maximum number of functions per task.
const MAX_FRAMES: usize = 64;

/// The registers a task would resume with, or crashed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskRegisters {
    /// All registers of a RISC-V core.
    RiscV(Box<Registers>),
    /// The registers of an Xtensa core needed to unwind the stack: program counter, `a0` and `a1`.
    Xtensa { pc: u32, a0: u32, a1: u32 },
    /// Registers stored in the task's stack at this address.
    Saved { at: u32 },
}

/// Reads the registers of a note.
pub fn of_note(bytes: &[u8], architecture: Architecture) -> Option<TaskRegisters> {
    let word = |index: usize| -> Option<u32> {
        let word = bytes.get(4 * index..)?.first_chunk()?;
        Some(u32::from_le_bytes(*word))
    };
    match architecture {
        Architecture::RiscV => risc_v(&|index| word(index as usize)),
        // Source: ESP-IDF, src/port/xtensa/core_dump_port.c, `xtensa_gregset_t`, the same as gdb's:
        // eight special registers, 56 reserved words, then the address registers. The window begins
        // at the first of them.
        Architecture::Xtensa => {
            Some(TaskRegisters::Xtensa { pc: word(0)?, a0: word(64)?, a1: word(65)? })
        }
        Architecture::Other => None,
    }
}

/// Reads `pc`, then `x1` to `x31`. Source: ESP-IDF,
/// `components/riscv/include/riscv/rvruntime-frames.h`, `RvExcFrame`, and `riscv_regs` of
/// src/port/riscv/core_dump_port.c.
fn risc_v(word: &dyn Fn(u32) -> Option<u32>) -> Option<TaskRegisters> {
    let mut registers = Registers { pc: word(0)?, ..Registers::default() };
    for (index, register) in (0..).zip(&mut registers.x).skip(1) {
        *register = Some(word(index)?);
    }
    Some(TaskRegisters::RiscV(Box::new(registers)))
}

/// Reads the frame that an exception or a task switch left at the top of the stack. Source:
/// ESP-IDF, `components/xtensa/include/xtensa_context.h`: `XtExcFrame` (exit, pc, ps, a0, a1) if
/// the first word is an address, `XtSolFrame` (0, pc, ps, next, a0, a1) if it is zero.
fn xtensa(word: &dyn Fn(u32) -> Option<u32>) -> Option<TaskRegisters> {
    let first = if word(0)? == 0 { 4 } else { 3 };
    Some(TaskRegisters::Xtensa { pc: word(1)?, a0: word(first)?, a1: word(first + 1)? })
}

impl TaskRegisters {
    pub fn stack_pointer(&self) -> Option<u32> {
        match self {
            TaskRegisters::RiscV(registers) => registers.x.get(2).copied().flatten(),
            TaskRegisters::Xtensa { a1, .. } => Some(*a1),
            TaskRegisters::Saved { at } => Some(*at),
        }
    }

    /// Reads registers stored in the stack from there. Other registers are returned unchanged.
    pub fn resolve(
        &self,
        architecture: Option<Architecture>,
        memory: &dyn Fn(u32) -> Option<u32>,
    ) -> Option<TaskRegisters> {
        let TaskRegisters::Saved { at } = self else { return Some(self.clone()) };
        let word = |index: u32| memory(at.checked_add(index.checked_mul(4)?)?);
        match architecture? {
            Architecture::RiscV => risc_v(&word),
            Architecture::Xtensa => xtensa(&word),
            Architecture::Other => None,
        }
    }

    /// Returns the current instruction, then the return addresses up the stack.
    pub fn addresses(
        &self,
        symbols: Option<&Symbols<'_>>,
        memory: &dyn Fn(u32) -> Option<u32>,
    ) -> Vec<CodeAddress> {
        match self {
            TaskRegisters::RiscV(registers) => {
                let mut addresses =
                    vec![CodeAddress { addr: registers.pc, kind: AddressKind::Exact }];
                let callers = symbols.map(|symbols| symbols.unwind(registers, memory));
                addresses.extend(callers.unwrap_or_default().iter().map(|caller| CodeAddress {
                    addr: caller.addr,
                    kind: if caller.interrupted { AddressKind::Exact } else { AddressKind::Return },
                }));
                addresses
            }
            TaskRegisters::Xtensa { pc, a0, a1 } => windows(*pc, *a0, *a1, symbols, memory),
            TaskRegisters::Saved { .. } => vec![],
        }
    }
}

/// Unwinds the stack of an Xtensa core whose register windows are all spilled. The `a0` and `a1` of
/// each function's caller are in the 16 bytes below the function's stack pointer. Source: Xtensa
/// ISA, "Windowed register option", stack frames; ESP-IDF,
/// `components/esp_system/port/arch/xtensa/debug_helpers.c`.
fn windows(
    pc: u32,
    a0: u32,
    a1: u32,
    symbols: Option<&Symbols<'_>>,
    memory: &dyn Fn(u32) -> Option<u32>,
) -> Vec<CodeAddress> {
    // The upper two bits of a return address hold the window increment. Replace them by those of
    // code.
    let region = 0x4000_0000;
    let code = |addr: u32| addr & 0x3fff_ffff | region;
    let known = |addr: u32| symbols.is_none_or(|s| s.contains(addr.wrapping_sub(1).into()));
    let mut addresses = vec![CodeAddress { addr: code(pc), kind: AddressKind::Exact }];
    let (mut back, mut stack) = (a0, a1);
    while back != 0 && addresses.len() < MAX_FRAMES {
        let addr = code(back);
        if !known(addr) {
            break;
        }
        addresses.push(CodeAddress { addr, kind: AddressKind::Return });
        let saved = (|| Some((memory(stack.checked_sub(16)?)?, memory(stack.checked_sub(12)?)?)))();
        match saved {
            Some((next, above)) if above > stack => (back, stack) = (next, above),
            _ => break,
        }
    }
    addresses
}
