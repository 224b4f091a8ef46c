//! Finds the frame of a function that keeps a frame pointer, using the stack pointer instead.
//!
//! If a function keeps a frame pointer, its unwind table refers to the frame only through that
//! register. A dump of the stack contains the stack pointer and no other register, and a function
//! that never returns may have changed the frame pointer without saving it. The stack pointer is
//! always known.

use gimli::{
    BaseAddresses, CfaRule, FrameDescriptionEntry, UnwindContext, UnwindOffset, UnwindSection,
};

use super::Now;
use crate::{instruction::SP, symbols::Bytes};

/// Returns the canonical frame address computed from the stack pointer. The function's instructions
/// must show how much of the stack is in use, and the table must confirm it for the code before the
/// frame pointer is set.
pub(super) fn cfa_by_sp<'a, S: UnwindSection<Bytes<'a>>>(
    section: &S,
    bases: &BaseAddresses,
    fde: &FrameDescriptionEntry<Bytes<'a>>,
    now: &Now<'_>,
) -> Option<u32>
where
    S::Offset: UnwindOffset<usize>,
{
    let sp = now.registers.get(SP)?;
    let start = u32::try_from(fde.initial_address()).ok()?;
    let stack_taken = |at| (now.frame)(start, at)?.stack_taken();
    let taken = stack_taken(now.probe)?;
    let mut context = UnwindContext::new();
    let mut rows = fde.rows(section, bases, &mut context).ok()?;
    while let Some(row) = rows.next_row().ok()? {
        let first = u32::try_from(row.start_address()).ok().filter(|first| *first <= now.probe)?;
        let CfaRule::RegisterAndOffset { register, offset } = row.cfa() else { continue };
        let is_by_sp = usize::from(register.0) == SP && *offset > 0;
        if is_by_sp && stack_taken(first) == u32::try_from(*offset).ok() {
            return Some(sp.wrapping_add(taken));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::{Registers, Step, UnwindTables, tests::debug_frame};
    use crate::{
        by_code::tests::code,
        instruction::{RA, SP},
        symbols::Symbols,
    };

    const START: u32 = 0x2000;
    /// The upper end of the frame, and a return address below it.
    const CFA: u32 = 0x8_0020;
    const BACK: u32 = 0x3008;

    /// The prologue of Rust's precompiled library: 32 bytes, `ra` and `s0` at the top.
    const PROLOGUE: [u32; 4] = [
        0x1101, // 0: add sp,sp,-32
        0xce06, // 2: sw ra,28(sp)
        0xcc22, // 4: sw s0,24(sp)
        0x1000, // 6: add s0,sp,32
    ];
    // DWARF 5, section 6.4.2 and table 7.29: advance, define the CFA, registers at offsets from it.
    const TABLE: &[u8] = &[0x42, 0x0e, 32, 0x44, 0x81, 1, 0x88, 2, 0x42, 0x0c, 8, 0];
    const CALL: u32 = 0x9502; // jalr a0

    /// Unwinds one step from the return address at `at` of a function with this code and table. Its
    /// frame has `taken` bytes.
    fn step(words: &[u32], table: &[u8], at: u32, taken: u32, s0: Option<u32>) -> Step {
        let section = debug_frame(false, &[(START, table)]);
        let before = vec![0; 0x1000];
        let bytes = [before, code(words)].concat();
        let tables = UnwindTables::new(&section, &[], 0, 0, 4);
        let symbols = Symbols::of_unwind(0x1000..0x5000, tables).with_code(&bytes);
        let mut now = Registers { pc: START + at, ..Registers::default() };
        (now.x[SP], now.x[8], now.x[9]) = (Some(CFA - taken), s0, Some(9));
        let memory = |addr| match addr {
            _ if addr == CFA - 4 => Some(BACK),
            _ if addr == CFA - 8 => Some(0x1234),
            _ => None,
        };
        symbols.step(&now, true, None, &memory)
    }

    /// `found`: whether the caller is found if `s0` is unknown.
    #[track_caller]
    fn check(body: &[u32], table: &[u8], at: u32, taken: u32, found: bool) {
        for s0 in [None, Some(0x9_9990), Some(CFA)] {
            // A wrong frame pointer is used only if there is nothing else.
            if !found && s0 == Some(0x9_9990) {
                continue;
            }
            let step = step(body, table, at, taken, s0);
            match step {
                Step::Caller { registers, interrupted: false } if found || s0.is_some() => {
                    let all = [registers.pc, registers.x[RA].unwrap(), registers.x[SP].unwrap()];
                    assert_eq!(all, [BACK, BACK, CFA], "{s0:x?}");
                    assert_eq!(registers.x[8], Some(0x1234));
                }
                Step::End => assert!(!found && s0.is_none(), "{s0:x?}"),
                _ => panic!("{s0:x?}: {step:x?}"),
            }
        }
    }

    #[test]
    fn a_frame_is_found_by_the_stack_pointer() {
        check(&[&PROLOGUE[..], &[CALL]].concat(), TABLE, 0xa, 32, true);
        // After an early return inside the frame.
        let early = [0xc509, 0x40f2, 0x4462, 0x6105, 0x8082, CALL];
        check(&[&PROLOGUE[..], &early].concat(), TABLE, 0x14, 32, true);
        // After an early return before the frame.
        let table = [&[0x44], TABLE].concat();
        check(&[&[0xe111, 0x8082], &PROLOGUE[..], &[CALL]].concat(), &table, 0xe, 32, true);
    }

    #[test]
    fn a_frame_that_grows_by_constants_is_found() {
        // lui a0,1; sub sp,sp,a0
        let body = [&PROLOGUE[..], &[0x6505, 0x40a1_0133, CALL]].concat();
        check(&body, TABLE, 0x10, 4096 + 32, true);
        // lui t0,-1; add sp,sp,t0; add sp,sp,-16
        let body = [&PROLOGUE[..], &[0x72fd, 0x9116, 0x1141, CALL]].concat();
        check(&body, TABLE, 0x10, 4096 + 48, true);
    }

    #[test]
    fn a_frame_of_unknown_length_needs_its_pointer() {
        // sub sp,sp,a1
        check(&[&PROLOGUE[..], &[0x40b1_0133, CALL]].concat(), TABLE, 0xe, 32, false);
        // and sp,sp,-64
        check(&[&PROLOGUE[..], &[0xfc01_7113, CALL]].concat(), TABLE, 0xe, 32, false);
        // As before, with an early return after which the stack depth is unknown.
        let early = [0x40b1_0133, 0x8082, CALL];
        check(&[&PROLOGUE[..], &early].concat(), TABLE, 0x10, 32, false);
        // Code that does not match the table.
        check(&[&[0x1141], &PROLOGUE[1..], &[CALL]].concat(), TABLE, 0xa, 16, false);
    }

    #[test]
    fn a_function_that_never_returns_keeps_no_register() {
        // The frame pointer is saved, the return address is not, and s1 is overwritten: mv s1,a0.
        let body = [0x1141, 0xc422, 0x0800, 0x84aa, CALL];
        let table = [0x42, 0x0e, 16, 0x42, 0x88, 2, 0x42, 0x0c, 8, 0];
        let Step::NoReturnAddress(registers) = step(&body, &table, 0xa, 16, None) else { panic!() };
        assert_eq!((registers.x[SP], registers.x[8]), (Some(CFA), Some(0x1234)));
        assert_eq!(registers.x[9], None);
        let Step::NoReturnAddress(registers) = step(&body[..3], &table, 6, 16, None) else {
            panic!()
        };
        assert_eq!(registers.x[9], Some(9));
    }
}
