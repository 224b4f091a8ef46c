//! The stack unwound by call frame information, over memory that a dump shows.

use gimli::{
    BaseAddresses, CfaRule, DebugFrame, EhFrame, EndianSlice, FrameDescriptionEntry, LittleEndian,
    Register, RegisterRule, UnwindContext, UnwindSection,
};

use crate::symbols::{Bytes, Symbols};

/// Callers at most: a dump shows some kilobytes of stack, a frame takes 16 bytes at least.
const MAX_CALLERS: usize = 64;

/// RISC-V's integer registers. Source: RISC-V psABI, DWARF register numbers 0 to 31.
const REGISTERS: usize = 32;

/// The return address. Source: RISC-V psABI, register conventions.
const RA: usize = 1;

/// The stack pointer. Source: as above.
const SP: usize = 2;

/// A 32-bit RISC-V's registers at one moment, where they are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Registers {
    /// The program counter.
    pub pc: u32,
    /// `x0` to `x31`.
    pub x: [Option<u32>; REGISTERS],
}

/// `.debug_frame` and `.eh_frame`.
pub(crate) struct UnwindTables<'a> {
    debug_frame: DebugFrame<Bytes<'a>>,
    eh_frame: EhFrame<Bytes<'a>>,
    bases: BaseAddresses,
    is_empty: bool,
}

impl<'a> UnwindTables<'a> {
    pub fn new(
        debug_frame: &'a [u8],
        eh_frame: &'a [u8],
        eh_frame_addr: u64,
        text_addr: u64,
        address_size: u8,
    ) -> UnwindTables<'a> {
        let is_empty = debug_frame.is_empty() && eh_frame.is_empty();
        let mut debug_frame: DebugFrame<_> = EndianSlice::new(debug_frame, LittleEndian).into();
        debug_frame.set_address_size(address_size);
        let mut eh_frame: EhFrame<_> = EndianSlice::new(eh_frame, LittleEndian).into();
        eh_frame.set_address_size(address_size);
        let bases = BaseAddresses::default().set_eh_frame(eh_frame_addr).set_text(text_addr);
        UnwindTables { debug_frame, eh_frame, bases, is_empty }
    }

    /// Whether there is an entry for the function that `addr` lies in.
    fn covers(&self, addr: u32) -> bool {
        let addr = u64::from(addr);
        let (debug, eh) = (&self.debug_frame, &self.eh_frame);
        debug.fde_for_address(&self.bases, addr, DebugFrame::cie_from_offset).is_ok()
            || eh.fde_for_address(&self.bases, addr, EhFrame::cie_from_offset).is_ok()
    }

    /// The registers of the caller of the function that `probe` lies in, and whether that function
    /// is a trap's: its caller is then an instruction that was interrupted, and made no call.
    fn caller(
        &self,
        probe: u32,
        registers: &Registers,
        has_called: bool,
        memory: &dyn Fn(u32) -> Option<u32>,
    ) -> Option<(Registers, bool)> {
        // Rust's release builds and TinyGo have `.debug_frame` alone, C++ often `.eh_frame`.
        let by_debug =
            || caller(&self.debug_frame, &self.bases, probe, registers, has_called, memory);
        by_debug()
            .or_else(|| caller(&self.eh_frame, &self.bases, probe, registers, has_called, memory))
    }
}

impl Symbols<'_> {
    /// The callers of the instruction at `registers.pc`, the nearest first, as return addresses.
    /// `memory` gives the word at an address, where it is known.
    ///
    /// It ends where the tables or the memory do, and at the first address that is no code.
    pub fn unwind(
        &self,
        registers: &Registers,
        memory: &dyn Fn(u32) -> Option<u32>,
    ) -> Vec<Caller> {
        let mut callers: Vec<Caller> = vec![];
        let mut now = *registers;
        let mut probe = now.pc;
        let mut has_called = false;
        if !self.contains(probe.into()) {
            // A call to where no code is: the return address is all that tells.
            let Some(ra) = now.x[RA].filter(|ra| self.is_return(*ra)) else { return callers };
            callers.push(Caller { addr: ra, interrupted: false });
            now.pc = ra;
            probe = ra.wrapping_sub(1);
            has_called = true;
        }
        while callers.len() < MAX_CALLERS {
            let found = self.unwind.caller(probe, &now, has_called, memory);
            let of_rom = || self.rom.as_ref()?.unwind.caller(probe, &now, has_called, memory);
            let without_tables = || self.leaf_without_tables(&now, has_called);
            let found = found.or_else(of_rom).or_else(without_tables);
            let Some((caller, interrupted)) = found else { break };
            let known = if interrupted {
                self.contains(caller.pc.into())
            } else {
                self.is_return(caller.pc)
            };
            // Only the innermost function may have no frame of its own.
            let goes_up = caller.x[SP] > now.x[SP] || callers.is_empty() && caller.pc != now.pc;
            if !known || !goes_up {
                break;
            }
            callers.push(Caller { addr: caller.pc, interrupted });
            now = caller;
            has_called = !interrupted;
            probe = if interrupted { now.pc } else { now.pc.wrapping_sub(1) };
        }
        callers
    }

    /// The caller of the innermost function where no table tells of it, such as one of the ROM's: taken
    /// for a leaf, which returns by its register, unless that points into the function itself, as
    /// behind a call of its own.
    fn leaf_without_tables(&self, now: &Registers, has_called: bool) -> Option<(Registers, bool)> {
        let ra = now.x[RA].filter(|ra| !has_called && self.is_return(*ra))?;
        let covered = self.unwind.is_empty
            || self.unwind.covers(now.pc)
            || self.rom.as_ref().is_some_and(|rom| rom.unwind.covers(now.pc));
        if covered || self.is_one_function(now.pc.into(), ra.wrapping_sub(1).into()) {
            return None;
        }
        Some((Registers { pc: ra, ..*now }, false))
    }

    fn is_return(&self, addr: u32) -> bool {
        addr.checked_sub(1).is_some_and(|call| self.contains(call.into()))
    }
}

/// A caller that unwinding found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Where it goes on: behind its call, or at the instruction that was interrupted.
    pub addr: u32,
    /// Whether a trap interrupted it there, so that it made no call.
    pub interrupted: bool,
}

fn caller<'a, S: UnwindSection<Bytes<'a>>>(
    section: &S,
    bases: &BaseAddresses,
    probe: u32,
    registers: &Registers,
    has_called: bool,
    memory: &dyn Fn(u32) -> Option<u32>,
) -> Option<(Registers, bool)> {
    let fde: FrameDescriptionEntry<_> =
        section.fde_for_address(bases, probe.into(), S::cie_from_offset).ok()?;
    let mut context = UnwindContext::new();
    let row = fde.unwind_info_for_address(section, bases, &mut context, probe.into()).ok()?;
    let number = |register: Register| usize::from(register.0);
    let value = |register: Register| registers.x.get(number(register)).copied().flatten();
    let cfa = match row.cfa() {
        CfaRule::RegisterAndOffset { register, offset } => {
            value(*register)?.wrapping_add(*offset as u32)
        }
        CfaRule::Expression(_) => return None,
    };
    let ra = number(fde.cie().return_address_register());
    // A function that has called another has its return address in its frame, or nowhere any more:
    // compilers spare it in functions that never return.
    let kept = !matches!(row.register(Register(ra as u16)), None | Some(RegisterRule::SameValue));
    if has_called && !kept {
        return None;
    }
    let mut caller = *registers;
    for (index, kept) in caller.x.iter_mut().enumerate() {
        *kept = match row.register(Register(index as u16)) {
            // A caller's own stack pointer is by definition the CFA.
            None if index == SP => Some(cfa),
            None if index == RA || is_kept(index) => *kept,
            None | Some(RegisterRule::Undefined) => None,
            Some(RegisterRule::SameValue) => *kept,
            Some(RegisterRule::Offset(offset)) => memory(cfa.wrapping_add(offset as u32)),
            Some(RegisterRule::ValOffset(offset)) => Some(cfa.wrapping_add(offset as u32)),
            Some(RegisterRule::Register(other)) => value(other),
            Some(_) => None,
        };
    }
    caller.pc = caller.x.get(ra).copied().flatten()?;
    Some((caller, fde.is_signal_trampoline()))
}

/// Whether a function hands a register back as it got it: `sp`, `gp`, `tp`, `s0` to `s11`. Source:
/// RISC-V psABI, register conventions.
fn is_kept(register: usize) -> bool {
    matches!(register, 2..=4 | 8..=9 | 18..=27)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    // DWARF 5, section 6.4.2 and table 7.29.
    const ADVANCE_2: u8 = 0x42;
    const DEF_CFA: u8 = 0x0c;
    const DEF_CFA_OFFSET: u8 = 0x0e;
    const OFFSET_RA: u8 = 0x81;
    const OFFSET_S0: u8 = 0x88;
    const UNDEFINED: u8 = 0x07;

    /// A length before `body`, which zeros (`DW_CFA_nop`) fill up.
    fn entry(mut body: Vec<u8>) -> Vec<u8> {
        body.resize(body.len().next_multiple_of(4), 0);
        [&(body.len() as u32).to_le_bytes(), body.as_slice()].concat()
    }

    /// A `.debug_frame` of functions that each have 0x100 bytes.
    pub fn debug_frame(signal: bool, functions: &[(u32, &[u8])]) -> Vec<u8> {
        let augmentation: &[u8] = if signal { b"S\0" } else { b"\0" };
        let head = [
            &[0xff, 0xff, 0xff, 0xff, 4],
            augmentation,
            // Bytes of an address, of a segment; code in bytes, data in words downward; RA.
            &[4, 0, 1, 0x7c, 1],
            &[DEF_CFA, 2, 0],
        ];
        let mut section = entry(head.concat());
        for (addr, instructions) in functions {
            let (cie, len) = (0_u32.to_le_bytes(), 0x100_u32.to_le_bytes());
            section.extend(entry([&cie, &addr.to_le_bytes(), &len, *instructions].concat()));
        }
        section
    }

    const LEAF: &[u8] = &[];
    /// From its third byte on it has 16 bytes of stack, with the return address at their top.
    const FRAME: &[u8] = &[ADVANCE_2, DEF_CFA_OFFSET, 16, OFFSET_RA, 1];
    /// Its frame hangs on s0, which it has saved.
    const BY_POINTER: &[u8] = &[ADVANCE_2, DEF_CFA, 8, 0, OFFSET_RA, 1, OFFSET_S0, 2];
    const ROOT: &[u8] = &[UNDEFINED, 1];

    fn registers(pc: u32, ra: u32, sp: u32, s0: u32) -> Registers {
        let mut registers = Registers { pc, ..Registers::default() };
        registers.x[RA] = Some(ra);
        registers.x[SP] = Some(sp);
        registers.x[8] = Some(s0);
        registers
    }

    #[track_caller]
    fn check(section: &[u8], registers: &Registers, memory: &[(u32, u32)], expected: &[u32]) {
        let tables = UnwindTables::new(section, &[], 0, 0, 4);
        let symbols = Symbols::of_unwind(0x1000..0x5000, tables);
        let memory = |addr| memory.iter().find(|(at, _)| *at == addr).map(|(_, word)| *word);
        let callers = symbols.unwind(registers, &memory);
        assert_eq!(callers.iter().map(|caller| caller.addr).collect::<Vec<_>>(), expected);
    }

    pub const FUNCTIONS: &[(u32, &[u8])] =
        &[(0x1000, LEAF), (0x2000, FRAME), (0x3000, BY_POINTER), (0x4000, ROOT)];
    const STACK: &[(u32, u32)] = &[(0x8_000c, 0x3008), (0x8_002c, 0x4008), (0x8_0028, 0)];

    #[test]
    fn a_leaf_function_returns_by_its_register() {
        let section = debug_frame(false, FUNCTIONS);
        let now = registers(0x1004, 0x200a, 0x8_0000, 0x8_0030);
        check(&section, &now, STACK, &[0x200a, 0x3008, 0x4008]);
    }

    #[test]
    fn before_its_frame_a_function_is_as_a_leaf() {
        let section = debug_frame(false, FUNCTIONS);
        let now = registers(0x2000, 0x3008, 0x8_0010, 0x8_0030);
        check(&section, &now, STACK, &[0x3008, 0x4008]);
        let now = registers(0x2004, 0x1234, 0x8_0000, 0x8_0030);
        check(&section, &now, STACK, &[0x3008, 0x4008]);
    }

    #[test]
    fn a_call_to_nowhere_is_told_by_its_return_address() {
        let section = debug_frame(false, FUNCTIONS);
        let now = registers(0, 0x200a, 0x8_0000, 0x8_0030);
        check(&section, &now, STACK, &[0x200a, 0x3008, 0x4008]);
        let now = registers(0, 0, 0x8_0000, 0x8_0030);
        check(&section, &now, STACK, &[]);
    }

    #[test]
    fn it_ends_where_memory_tables_or_progress_do() {
        let section = debug_frame(false, FUNCTIONS);
        let now = registers(0x1004, 0x200a, 0x8_0000, 0x8_0030);
        check(&section, &now, &[], &[0x200a]);
        check(&section, &now, &[(0x8_000c, 0x9008)], &[0x200a]);
        check(&[], &now, STACK, &[]);
        // A leaf that is said to have called would go on for ever.
        check(&section, &registers(0x1004, 0x1006, 0x8_0000, 0), STACK, &[0x1006]);
        // So would one that never returns: it has a frame and no return address in it.
        let section = debug_frame(false, &[(0x2000, &[ADVANCE_2, DEF_CFA_OFFSET, 16])]);
        let now = registers(0, 0x2004, 0x8_0000, 0);
        check(&section, &now, &[(0x8_000c, 0x3008)], &[0x2004]);
    }

    #[test]
    fn what_a_trap_interrupted_made_no_call() {
        let mut section = debug_frame(true, &[(0x2000, FRAME)]);
        let plain = debug_frame(false, &[(0x3000, LEAF)]);
        let at = section.len() as u32;
        let mut plain = plain;
        // Its entry names where its own head lies.
        let fde = plain.len() - 16;
        plain[fde + 4..fde + 8].copy_from_slice(&at.to_le_bytes());
        section.extend(plain);
        let tables = UnwindTables::new(&section, &[], 0, 0, 4);
        let symbols = Symbols::of_unwind(0x1000..0x5000, tables);
        // The first instruction of a function was interrupted: a byte before is another's.
        let callers = symbols.unwind(&registers(0x2004, 0, 0x8_0000, 0), &|addr| {
            (addr == 0x8_000c).then_some(0x3000)
        });
        assert_eq!(callers, [Caller { addr: 0x3000, interrupted: true }]);
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let section = debug_frame(false, FUNCTIONS);
        for at in 0..section.len() {
            for bit in 0..8 {
                let mut broken = section.clone();
                broken[at] ^= 1 << bit;
                let tables = UnwindTables::new(&broken, &broken, 0, 0, 4);
                let symbols = Symbols::of_unwind(0x1000..0x5000, tables);
                let now = registers(0x1004, 0x200a, 0x8_0000, 0x8_0030);
                assert!(symbols.unwind(&now, &|_| Some(0x2004)).len() <= MAX_CALLERS);
            }
        }
    }
}
