//! Stack unwinding with call frame information, over the memory contained in a dump.

mod frame_pointer;

use std::cell::{LazyCell, OnceCell};

use gimli::{
    BaseAddresses, CfaRule, CieOrFde, DebugFrame, EhFrame, EndianSlice, FrameDescriptionEntry,
    LittleEndian, Register, RegisterRule, UnwindContext, UnwindOffset, UnwindSection,
};

use crate::{
    by_code::{self, CodeFrame},
    instruction::{RA, SP},
    lost_return,
    panic::SourceLocation,
    symbols::{Architecture, Bytes, Symbols},
};

/// Maximum number of callers. A dump has some kilobytes of stack, and a frame takes at least 16
/// bytes.
const MAX_CALLERS: usize = 64;

/// Number of RISC-V integer registers. Source: RISC-V psABI, DWARF register numbers 0 to 31.
pub(crate) const REGISTERS: usize = 32;

/// The known registers of a 32-bit RISC-V core at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Registers {
    /// The program counter.
    pub pc: u32,
    /// `x0` to `x31`, if known.
    pub x: [Option<u32>; REGISTERS],
}

impl Registers {
    /// Returns a register from `x0` to `x31`, if known.
    pub(crate) fn get(&self, register: usize) -> Option<u32> {
        self.x.get(register).copied().flatten()
    }
}

/// Information from a panic other than registers and stack.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hints<'h> {
    /// The source location of the panic.
    pub location: Option<&'h SourceLocation>,
    /// The address of the instruction interrupted by a trap.
    pub mepc: Option<u32>,
    /// True if unwinding has passed that location.
    pub has_place: bool,
}

impl Hints<'_> {
    /// Returns whether the instruction at `addr` is at the source location of the panic.
    pub(crate) fn is_place(&self, symbols: &Symbols<'_>, addr: u32) -> bool {
        let Some(SourceLocation { file, line, .. }) = self.location else { return false };
        let frames = symbols.frames(addr.into());
        frames.iter().any(|frame| {
            let same = |path: &str| path.ends_with(file.as_str()) || file.ends_with(path);
            frame.line == Some(*line) && frame.file.as_deref().is_some_and(same)
        })
    }
}

/// One unwinding step from a function to its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Caller {
        registers: Registers,
        /// True if the function is a trap handler, so the interrupted code made no call.
        interrupted: bool,
    },
    /// The caller's registers except for the program counter: the function keeps no return address.
    NoReturnAddress(Registers),
    End,
}

/// The current position in the call chain.
struct Now<'n> {
    /// An address within the current instruction, which is a call for all but the innermost
    /// function.
    probe: u32,
    registers: &'n Registers,
    has_called: bool,
    memory: &'n dyn Fn(u32) -> Option<u32>,
    /// Returns the frame at the second address, in the function that starts at the first, derived
    /// from its instructions.
    frame: &'n dyn Fn(u32, u32) -> Option<CodeFrame>,
}

/// `.debug_frame` and `.eh_frame`.
pub(crate) struct UnwindTables<'a> {
    debug_frame: DebugFrame<Bytes<'a>>,
    eh_frame: EhFrame<Bytes<'a>>,
    bases: BaseAddresses,
    is_empty: bool,
    /// The address ranges and entries of each section, read once.
    places: [OnceCell<Vec<Place>>; 2],
}

/// The first address of a function, the address after its end, and the offset of its entry.
type Place = (u64, u64, usize);

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
        UnwindTables { debug_frame, eh_frame, bases, is_empty, places: Default::default() }
    }

    /// Reads the positions of the entries.
    pub fn prepare(&self) {
        self.covers(0);
    }

    /// Returns whether there is an entry for the function at `addr`.
    fn covers(&self, addr: u32) -> bool {
        let [debug, eh] = &self.places;
        entry(&self.debug_frame, debug, &self.bases, addr).is_some()
            || entry(&self.eh_frame, eh, &self.bases, addr).is_some()
    }

    /// Unwinds from the function at `now.probe`. Returns `None` if there is no entry for it.
    fn step(&self, now: &Now<'_>) -> Option<Step> {
        // Rust's release builds and TinyGo have only `.debug_frame`, C++ often `.eh_frame`.
        let bases = &self.bases;
        let [debug, eh] = &self.places;
        let (debug_frame, eh_frame) = (&self.debug_frame, &self.eh_frame);
        entry(debug_frame, debug, bases, now.probe)
            .map(|fde| step(debug_frame, bases, &fde, now))
            .filter(|step| *step != Step::End)
            .or_else(|| {
                let fde = entry(eh_frame, eh, bases, now.probe)?;
                Some(step(eh_frame, bases, &fde, now))
            })
    }
}

/// Returns the entry for the function at `addr`.
fn entry<'a, S: UnwindSection<Bytes<'a>>>(
    section: &S,
    places: &OnceCell<Vec<Place>>,
    bases: &BaseAddresses,
    addr: u32,
) -> Option<FrameDescriptionEntry<Bytes<'a>>>
where
    S::Offset: UnwindOffset<usize> + From<usize>,
{
    let addr = u64::from(addr);
    let places = places.get_or_init(|| {
        let mut places = vec![];
        let mut entries = section.entries(bases);
        while let Ok(Some(found)) = entries.next() {
            let CieOrFde::Fde(partial) = found else { continue };
            if let Ok(fde) = partial.parse(S::cie_from_offset) {
                let start = fde.initial_address();
                places.push((start, start.saturating_add(fde.len()), fde.offset()));
            }
        }
        places.sort_unstable();
        places
    });
    // Entries of functions that the linker removed begin at 0 and may overlap.
    let behind = places.partition_point(|(start, ..)| *start <= addr);
    let mut before = places.get(..behind)?.iter().rev();
    let (_, _, offset) = before.find(|(start, end, _)| (*start..*end).contains(&addr))?;
    section.fde_from_offset(bases, (*offset).into(), S::cie_from_offset).ok()
}

impl Symbols<'_> {
    /// Returns the callers of the instruction at `registers.pc` as return addresses, nearest first.
    /// `memory` returns the word at an address, if known.
    ///
    /// Unwinding uses the unwind tables. Without a table entry it uses the effect of the function's
    /// own instructions on the stack. From a function that keeps no return address, such as one
    /// that never returns, it goes to the only caller that the stack confirms. It stops where this
    /// information or the memory ends, and at the first address that is not code.
    pub fn unwind(
        &self,
        registers: &Registers,
        memory: &dyn Fn(u32) -> Option<u32>,
    ) -> Vec<Caller> {
        self.unwind_with(registers, Hints::default(), memory)
    }

    pub(crate) fn unwind_with(
        &self,
        registers: &Registers,
        mut hints: Hints<'_>,
        memory: &dyn Fn(u32) -> Option<u32>,
    ) -> Vec<Caller> {
        let mut callers: Vec<Caller> = vec![];
        let mut now = *registers;
        let mut has_called = false;
        if !self.contains(now.pc.into()) {
            // After a call to a non-code address, only the return address is usable.
            let Some(ra) = now.x[RA].filter(|ra| self.is_return(*ra)) else { return callers };
            callers.push(Caller { addr: ra, interrupted: false });
            now.pc = ra;
            has_called = true;
        }
        while callers.len() < MAX_CALLERS {
            let probe = if has_called { now.pc.wrapping_sub(1) } else { now.pc };
            let mepc = self.code_frame(probe).and_then(|frame| frame.mepc(&now, memory));
            hints.mepc = mepc.filter(|pc| self.contains((*pc).into())).or(hints.mepc);
            hints.has_place |= hints.is_place(self, probe);
            let (caller, interrupted) = match self.step(&now, has_called, hints.mepc, memory) {
                Step::Caller { registers, interrupted } => (registers, interrupted),
                Step::NoReturnAddress(caller) => {
                    let chain = lost_return::find(self, probe, &caller, &hints, memory);
                    let Some(chain) = chain else { break };
                    hints.has_place |= chain.has_place;
                    callers.extend(&chain.callers);
                    callers.truncate(MAX_CALLERS);
                    (now, has_called) = (chain.end, !chain.interrupted);
                    continue;
                }
                Step::End => break,
            };
            let known = if interrupted {
                self.contains(caller.pc.into())
            } else {
                self.is_return(caller.pc)
            };
            // Only the innermost or an interrupted function may have no frame.
            let goes_up = caller.x[SP] > now.x[SP] || !has_called && caller.pc != now.pc;
            if !known || !goes_up {
                break;
            }
            callers.push(Caller { addr: caller.pc, interrupted });
            now = caller;
            has_called = !interrupted;
        }
        callers
    }

    /// Unwinds one step from `now`, which is after a call if `has_called`. `mepc` is the address of
    /// a trap, if there was one.
    pub(crate) fn step(
        &self,
        now: &Registers,
        has_called: bool,
        mepc: Option<u32>,
        memory: &dyn Fn(u32) -> Option<u32>,
    ) -> Step {
        let probe = if has_called { now.pc.wrapping_sub(1) } else { now.pc };
        let frame = |start, at| {
            let is_risc_v = self.architecture() == Architecture::RiscV;
            is_risc_v.then(|| CodeFrame::at(self.code_from(start), start, at)).flatten()
        };
        let at = Now { probe, registers: now, has_called, memory, frame: &frame };
        let of_rom = || self.rom.as_ref()?.unwind.step(&at);
        if let Some(step) = self.unwind.step(&at).or_else(of_rom) {
            return step;
        }
        if has_called && self.architecture() == Architecture::RiscV {
            let code = self.code_from(now.pc);
            if let Some(step) = by_code::interrupted(code, now, mepc, memory) {
                return step;
            }
        }
        match self.code_frame(probe) {
            Some(frame) => frame.step(now, has_called, memory),
            None => self
                .leaf_without_tables(now, has_called)
                .map_or(Step::End, |registers| Step::Caller { registers, interrupted: false }),
        }
    }

    /// Returns the frame at `probe`, derived from the code of its function.
    fn code_frame(&self, probe: u32) -> Option<CodeFrame> {
        let start = self.start_of(probe)?;
        CodeFrame::at(self.code_from(start), start, probe)
    }

    /// Returns the caller of the innermost function if neither table nor code covers it. The
    /// function is assumed to be a leaf that returns through its register, unless that register
    /// points into the function itself, as after a call it made.
    fn leaf_without_tables(&self, now: &Registers, has_called: bool) -> Option<Registers> {
        let ra = now.x[RA].filter(|ra| !has_called && self.is_return(*ra))?;
        let covered = self.unwind.is_empty
            || self.unwind.covers(now.pc)
            || self.rom.as_ref().is_some_and(|rom| rom.unwind.covers(now.pc));
        if covered || self.is_one_function(now.pc.into(), ra.wrapping_sub(1).into()) {
            return None;
        }
        Some(Registers { pc: ra, ..*now })
    }

    fn is_return(&self, addr: u32) -> bool {
        addr.checked_sub(1).is_some_and(|call| self.contains(call.into()))
    }
}

/// A caller found by unwinding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Caller {
    /// The address at which it continues: after its call, or at the interrupted instruction.
    pub addr: u32,
    /// True if a trap interrupted it there, so that it made no call.
    pub interrupted: bool,
}

fn step<'a, S: UnwindSection<Bytes<'a>>>(
    section: &S,
    bases: &BaseAddresses,
    fde: &FrameDescriptionEntry<Bytes<'a>>,
    now: &Now<'_>,
) -> Step {
    let Now { registers, has_called, memory, .. } = *now;
    let mut context = UnwindContext::new();
    let row = fde.unwind_info_for_address(section, bases, &mut context, now.probe.into());
    let Ok(row) = row else { return Step::End };
    let number = |register: Register| usize::from(register.0);
    let value = |register: Register| registers.x.get(number(register)).copied().flatten();
    let cfa = match row.cfa() {
        CfaRule::RegisterAndOffset { register, offset } => {
            let by_sp = || frame_pointer::cfa_by_sp(section, bases, fde, now);
            let by_sp = if number(*register) == SP { None } else { by_sp() };
            by_sp.or_else(|| Some(value(*register)?.wrapping_add(*offset as u32)))
        }
        CfaRule::Expression(_) => None,
    };
    let Some(cfa) = cfa else { return Step::End };
    let code = LazyCell::new(|| {
        let start = u32::try_from(fde.initial_address()).ok()?;
        (now.frame)(start, now.probe)
    });
    let has_clobbered = |register| code.as_ref().is_some_and(|code| code.has_clobbered(register));
    let ra = number(fde.cie().return_address_register());
    let mut caller = *registers;
    for (index, kept) in caller.x.iter_mut().enumerate() {
        *kept = match row.register(Register(index as u16)) {
            // The caller's stack pointer is by definition the CFA.
            None if index == SP => Some(cfa),
            None if is_callee_saved(index) => kept.filter(|_| !has_clobbered(index)),
            None if index == RA => *kept,
            None | Some(RegisterRule::Undefined) => None,
            Some(RegisterRule::SameValue) => *kept,
            Some(RegisterRule::Offset(offset)) => memory(cfa.wrapping_add(offset as u32)),
            Some(RegisterRule::ValOffset(offset)) => Some(cfa.wrapping_add(offset as u32)),
            Some(RegisterRule::Register(other)) => value(other),
            Some(_) => None,
        };
    }
    // A function that has made a call keeps its return address in its frame or not at all:
    // compilers omit it in functions that never return.
    let kept = !matches!(row.register(Register(ra as u16)), None | Some(RegisterRule::SameValue));
    if has_called && !kept {
        return Step::NoReturnAddress(caller);
    }
    match caller.x.get(ra).copied().flatten() {
        Some(pc) => Step::Caller {
            registers: Registers { pc, ..caller },
            interrupted: fde.is_signal_trampoline(),
        },
        None => Step::End,
    }
}

/// Returns whether a register is callee-saved: `sp`, `gp`, `tp`, `s0` to `s11`. Source: RISC-V
/// psABI, register conventions.
pub(crate) fn is_callee_saved(register: usize) -> bool {
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

    /// Returns `body` with a length before it, padded with zeros (`DW_CFA_nop`).
    fn entry(mut body: Vec<u8>) -> Vec<u8> {
        body.resize(body.len().next_multiple_of(4), 0);
        [&(body.len() as u32).to_le_bytes(), body.as_slice()].concat()
    }

    /// Returns a `.debug_frame` of functions with 0x100 bytes each.
    pub fn debug_frame(signal: bool, functions: &[(u32, &[u8])]) -> Vec<u8> {
        let augmentation: &[u8] = if signal { b"S\0" } else { b"\0" };
        let head = [
            &[0xff, 0xff, 0xff, 0xff, 4],
            augmentation,
            // Size of an address and of a segment; code in bytes, data in words downward; RA.
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
    /// From its third byte on, 16 bytes of stack with the return address at the top.
    const FRAME: &[u8] = &[ADVANCE_2, DEF_CFA_OFFSET, 16, OFFSET_RA, 1];
    /// The frame is based on s0, which is saved.
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
        // A leaf that supposedly made a call would unwind forever.
        check(&section, &registers(0x1004, 0x1006, 0x8_0000, 0), STACK, &[0x1006]);
        // So would a function that never returns and keeps no return address in its frame.
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
        // The entry refers to the position of its head.
        let fde = plain.len() - 16;
        plain[fde + 4..fde + 8].copy_from_slice(&at.to_le_bytes());
        section.extend(plain);
        let tables = UnwindTables::new(&section, &[], 0, 0, 4);
        let symbols = Symbols::of_unwind(0x1000..0x5000, tables);
        // The first instruction of a function was interrupted. The byte before it belongs to
        // another function.
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
