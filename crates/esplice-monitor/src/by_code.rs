//! Recovers a function's frame from its instructions if no unwind table covers it: assembly and the
//! mask ROM. RISC-V only.

use std::collections::BTreeMap;

use crate::{
    instruction::{Instruction, RA, SP, decode},
    unwind::{REGISTERS, Registers, Step, is_callee_saved},
};

/// Maximum number of instructions examined per function.
const MAX_INSTRUCTIONS: usize = 8192;

/// Maximum number of instructions from the call of a trap handler to the trap's return. They
/// restore registers.
const MAX_RESTORE: usize = 80;

/// The content of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    /// The value at the function's entry.
    Entry,
    /// The stack pointer at the function's entry plus this offset.
    Frame(i32),
    /// The address at which the trap occurred.
    Mepc,
    /// A constant.
    Number(i32),
    Unknown,
}

/// The state before an instruction.
#[derive(Debug, Clone, Copy)]
struct State {
    x: [Value; REGISTERS],
    /// The offset at which a register was saved, relative to the stack pointer at entry.
    saved: [Option<i32>; REGISTERS],
    mepc_saved: Option<i32>,
}

/// A function's frame at one of its instructions, derived from the code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CodeFrame {
    state: State,
    /// True if an earlier instruction sets the stack pointer to an unknown value.
    loses_sp: bool,
}

impl CodeFrame {
    /// Returns the frame at `probe` in the function that starts at `start` and whose bytes are
    /// `code`.
    pub fn at(code: &[u8], start: u32, probe: u32) -> Option<CodeFrame> {
        let mut state = State::begin();
        // States at branch targets ahead.
        let mut waiting: BTreeMap<u32, State> = BTreeMap::new();
        let mut deepest = state;
        let (mut reached, mut loses_sp) = (true, false);
        let mut at = start;
        for _ in 0..MAX_INSTRUCTIONS {
            let bytes = code.get(usize::try_from(at.checked_sub(start)?).ok()?..)?;
            let (instruction, len) = decode(bytes)?;
            if let Some(found) = waiting.remove(&at).filter(|_| !reached) {
                state = found;
            } else if !reached {
                // Later code branches to here. Most of a function runs with its full frame.
                state = deepest;
            }
            reached = true;
            if (at..at.checked_add(len)?).contains(&probe) {
                return Some(CodeFrame { state, loses_sp });
            }
            state.run(instruction);
            loses_sp |= !matches!(state.x[SP], Value::Frame(_));
            if state.depth() <= deepest.depth() {
                deepest = state;
            }
            match instruction {
                Instruction::Branch { offset } | Instruction::Jump { link: 0, offset } => {
                    let to = at.wrapping_add_signed(offset);
                    if to > at {
                        waiting.entry(to).or_insert(state);
                    }
                    reached = matches!(instruction, Instruction::Branch { .. });
                }
                Instruction::JumpTo { link: 0, .. } | Instruction::TrapReturn => reached = false,
                // A called function may never return. Then only branches lead to the next
                // instruction.
                Instruction::Jump { .. } | Instruction::JumpTo { .. } => {
                    reached = !waiting.contains_key(&(at.checked_add(len)?));
                }
                _ => {}
            }
            at = at.checked_add(len)?;
        }
        None
    }

    /// Returns the stack pointer at the function's entry.
    fn frame(&self, registers: &Registers) -> Option<u32> {
        let known = |(value, register): (&Value, &Option<u32>)| match value {
            Value::Frame(offset) => Some((*register)?.wrapping_sub(*offset as u32)),
            _ => None,
        };
        let State { x, .. } = &self.state;
        let by_sp = known((&x[SP], &registers.x[SP]));
        by_sp.or_else(|| x.iter().zip(&registers.x).find_map(known))
    }

    /// Returns how many bytes the stack pointer is below its value at entry. Returns `None` if that
    /// depends on more than the instructions, as with variable-length arrays.
    pub fn stack_taken(&self) -> Option<u32> {
        match self.state.x[SP] {
            Value::Frame(offset) if !self.loses_sp => Some(0_u32.wrapping_sub(offset as u32)),
            _ => None,
        }
    }

    /// Returns whether the function changed a callee-saved register without saving it. Compilers do
    /// that in functions that never return.
    pub fn has_clobbered(&self, register: usize) -> bool {
        let State { x, saved, .. } = &self.state;
        let is_changed = x.get(register).is_some_and(|value| *value != Value::Entry);
        register != SP && is_changed && saved.get(register).is_some_and(Option::is_none)
    }

    /// Returns the address at which a trap occurred, if the function keeps it in a register or its
    /// frame.
    pub fn mepc(&self, registers: &Registers, memory: &dyn Fn(u32) -> Option<u32>) -> Option<u32> {
        let held = self.state.x.iter().zip(&registers.x).find(|(value, _)| **value == Value::Mepc);
        let held = held.and_then(|(_, register)| *register);
        held.or_else(|| memory(self.frame(registers)?.wrapping_add(self.state.mepc_saved? as u32)))
    }

    /// Returns the caller of the function, or the state that a trap interrupted.
    pub fn step(
        &self,
        registers: &Registers,
        has_called: bool,
        memory: &dyn Fn(u32) -> Option<u32>,
    ) -> Step {
        let Some(frame) = self.frame(registers) else { return Step::End };
        let State { x, saved, mepc_saved } = &self.state;
        let at = |offset: i32| memory(frame.wrapping_add(offset as u32));
        // Unlike any function, a trap entry saves temporary registers unchanged.
        let trap = mepc_saved.filter(|_| saved[5].is_some() && saved[6].is_some());
        let mut caller = *registers;
        for (index, kept) in caller.x.iter_mut().enumerate() {
            let is_intact = x.get(index) == Some(&Value::Entry)
                && (is_callee_saved(index) || index == RA && !has_called);
            *kept = match saved.get(index).copied().flatten() {
                Some(offset) if trap.is_some() || index == RA || is_callee_saved(index) => {
                    at(offset)
                }
                _ if is_intact => *kept,
                _ => None,
            };
        }
        caller.x[SP] = Some(frame);
        if let Some(offset) = trap {
            return match at(offset) {
                Some(pc) => {
                    Step::Caller { registers: Registers { pc, ..caller }, interrupted: true }
                }
                None => Step::End,
            };
        }
        let is_kept = saved[RA].is_some() || x[RA] == Value::Entry && !has_called;
        match caller.x[RA] {
            Some(pc) => Step::Caller { registers: Registers { pc, ..caller }, interrupted: false },
            None if is_kept => Step::End,
            None => Step::NoReturnAddress(caller),
        }
    }
}

impl Value {
    fn plus(self, number: i32) -> Value {
        match self {
            Value::Frame(offset) => Value::Frame(offset.wrapping_add(number)),
            Value::Number(value) => Value::Number(value.wrapping_add(number)),
            same if number == 0 => same,
            _ => Value::Unknown,
        }
    }
}

impl State {
    fn begin() -> State {
        let mut x = [Value::Entry; REGISTERS];
        x[SP] = Value::Frame(0);
        x[0] = Value::Number(0);
        State { x, saved: [None; REGISTERS], mepc_saved: None }
    }

    /// Returns the stack pointer relative to its value at entry, or 0 if it is unknown.
    fn depth(&self) -> i32 {
        match self.x[SP] {
            Value::Frame(offset) => offset,
            _ => 0,
        }
    }

    fn value(&self, register: usize) -> Value {
        self.x.get(register).copied().unwrap_or(Value::Unknown)
    }

    fn set(&mut self, register: usize, value: Value) {
        if let Some(held) = self.x.get_mut(register).filter(|_| register != 0) {
            *held = value;
        }
    }

    /// Returns the frame offset of `base` + `offset`.
    fn place(&self, base: usize, offset: i32) -> Option<i32> {
        match self.value(base) {
            Value::Frame(at) => at.checked_add(offset),
            _ => None,
        }
    }

    fn run(&mut self, instruction: Instruction) {
        match instruction {
            Instruction::Add { to, from, value } => {
                let sum = self.value(from).plus(value);
                // A copy of another register does not hold this register's entry value.
                let is_other = to != from && sum == Value::Entry;
                self.set(to, if is_other { Value::Unknown } else { sum });
            }
            Instruction::Set { to, value } => self.set(to, Value::Number(value)),
            Instruction::Sum { to, one, other } => {
                let sum = match (self.value(one), self.value(other)) {
                    (value, Value::Number(number)) | (Value::Number(number), value) => {
                        value.plus(number)
                    }
                    _ => Value::Unknown,
                };
                self.set(to, if sum == Value::Entry { Value::Unknown } else { sum });
            }
            Instruction::Difference { to, from, less } => {
                let difference = match self.value(less) {
                    Value::Number(number) => self.value(from).plus(number.wrapping_neg()),
                    _ => Value::Unknown,
                };
                self.set(to, if difference == Value::Entry { Value::Unknown } else { difference });
            }
            Instruction::Store { from, base, offset } => {
                let Some(place) = self.place(base, offset) else { return };
                for saved in self.saved.iter_mut().filter(|saved| **saved == Some(place)) {
                    *saved = None;
                }
                match self.value(from) {
                    Value::Entry => {
                        if let Some(saved) = self.saved.get_mut(from) {
                            saved.get_or_insert(place);
                        }
                    }
                    Value::Mepc => self.mepc_saved = Some(place),
                    _ => {}
                }
            }
            Instruction::Load { to, base, offset } => {
                let place = self.place(base, offset);
                let saved = self.saved.get(to).copied().flatten();
                let value = match place {
                    Some(_) if place == saved => Value::Entry,
                    Some(_) if place == self.mepc_saved => Value::Mepc,
                    _ => Value::Unknown,
                };
                self.set(to, value);
            }
            Instruction::ReadMepc { to } => self.set(to, Value::Mepc),
            Instruction::Jump { link, .. } | Instruction::JumpTo { link, .. } if link != 0 => {
                let own = (0..REGISTERS).filter(|register| !is_callee_saved(*register));
                own.for_each(|register| self.set(register, Value::Unknown));
            }
            Instruction::Other { to } | Instruction::PcPlus { to, .. } => {
                self.set(to, Value::Unknown);
            }
            _ => {}
        }
    }
}

/// Returns the state that a trap interrupted. `code` follows the call of the trap handler: it
/// restores registers and returns from the trap. `mepc` is the address of the trap, if known from
/// elsewhere.
pub(crate) fn interrupted(
    code: &[u8],
    registers: &Registers,
    mepc: Option<u32>,
    memory: &dyn Fn(u32) -> Option<u32>,
) -> Option<Step> {
    let mut now = *registers;
    let (mut mepc, mut rest) = (mepc, code);
    for _ in 0..MAX_RESTORE {
        let (instruction, len) = decode(rest)?;
        rest = rest.get(len as usize..)?;
        let (to, value) = match instruction {
            Instruction::Add { to, from, value } => {
                (to, now.get(from).map(|from| from.wrapping_add(value as u32)))
            }
            Instruction::Load { to, base, offset } => {
                (to, now.get(base).and_then(|base| memory(base.wrapping_add(offset as u32))))
            }
            Instruction::Set { to, value } => (to, Some(value as u32)),
            Instruction::Sum { to, one, other } => {
                (to, now.get(one).zip(now.get(other)).map(|(one, other)| one.wrapping_add(other)))
            }
            Instruction::Difference { to, from, less } => {
                (to, now.get(from).zip(now.get(less)).map(|(from, less)| from.wrapping_sub(less)))
            }
            Instruction::WriteMepc { from } => {
                mepc = now.get(from);
                continue;
            }
            Instruction::Other { to } => (to, None),
            Instruction::Store { .. } => continue,
            Instruction::TrapReturn => {
                // If the handler does not reveal where the trap occurred, unwinding ends here.
                let Some(pc) = mepc else { return Some(Step::End) };
                now.pc = pc;
                return Some(Step::Caller { registers: now, interrupted: true });
            }
            _ => return None,
        };
        if let Some(held) = now.x.get_mut(to).filter(|_| to != 0) {
            *held = value;
        }
    }
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the bytes of compressed and uncompressed instructions.
    pub fn code(words: &[u32]) -> Vec<u8> {
        let bytes = |word: &u32| match word & 3 {
            3 => word.to_le_bytes().to_vec(),
            _ => word.to_le_bytes()[..2].to_vec(),
        };
        words.iter().flat_map(bytes).collect()
    }

    fn registers(sp: u32, ra: u32, s0: u32) -> Registers {
        let mut registers = Registers::default();
        (registers.x[SP], registers.x[RA], registers.x[8]) = (Some(sp), Some(ra), Some(s0));
        registers
    }

    const STACK: &[(u32, u32)] = &[(0x101c, 0x4000), (0x1018, 0x77), (0x1000, 0x5000)];

    fn memory(addr: u32) -> Option<u32> {
        STACK.iter().find(|(at, _)| *at == addr).map(|(_, word)| *word)
    }

    /// A branch to its second half, a return, then a frame of 32 bytes and a call.
    const WRAPPED: &[u32] = &[
        0xc111,      // 0: beqz a0,4
        0x8082,      // 2: ret
        0x1101,      // 4: add sp,sp,-32
        0xce06,      // 6: sw ra,28(sp)
        0xcc22,      // 8: sw s0,24(sp)
        0x842a,      // a: mv s0,a0
        0x9502,      // c: jalr a0
        0x40f2,      // e: lw ra,28(sp)
        0x6105,      // 10: add sp,sp,32
        0x8082,      // 12: ret
        0x3410_2573, // 14: csrr a0,mepc
        0xb7ed,      // 18: j 2
    ];

    #[track_caller]
    fn check(probe: u32, now: &Registers, has_called: bool, expected: (u32, u32, u32)) {
        let frame = CodeFrame::at(&code(WRAPPED), 0, probe).unwrap();
        let Step::Caller { registers, interrupted: false } = frame.step(now, has_called, &memory)
        else {
            panic!("{:?}", frame.step(now, has_called, &memory));
        };
        let found = (registers.pc, registers.x[SP].unwrap(), registers.x[8].unwrap());
        assert_eq!(found, expected);
    }

    #[test]
    fn a_frame_is_known_at_each_instruction() {
        check(0, &registers(0x1020, 0x4000, 0x77), false, (0x4000, 0x1020, 0x77));
        check(6, &registers(0x1000, 0x4000, 0x77), false, (0x4000, 0x1020, 0x77));
        check(0xc, &registers(0x1000, 0x1234, 5), true, (0x4000, 0x1020, 0x77));
        check(0x10, &registers(0x1000, 0x4000, 5), false, (0x4000, 0x1020, 0x77));
        check(0x12, &registers(0x1020, 0x4000, 0x77), false, (0x4000, 0x1020, 0x77));
        // No earlier instruction leads here, so the full frame is assumed.
        let frame = CodeFrame::at(&code(WRAPPED), 0, 0x18).unwrap();
        let mut now = registers(0x1000, 0, 0);
        now.x[10] = Some(0x123);
        assert_eq!(frame.mepc(&now, &memory), Some(0x123));
        assert!(CodeFrame::at(&code(WRAPPED), 0, 0x100).is_none());
    }

    #[test]
    fn a_trap_is_left_as_its_return_does() {
        // lw ra,0(sp); add sp,sp,64; mret
        let back = code(&[0x0001_2083, 0x0401_0113, 0x3020_0073]);
        let found = interrupted(&back, &registers(0x1000, 1, 2), Some(0x4321), &memory);
        let Some(Step::Caller { registers: found, interrupted: true }) = found else { panic!() };
        assert_eq!((found.pc, found.x[RA], found.x[SP]), (0x4321, Some(0x5000), Some(0x1040)));
        assert_eq!(interrupted(&back, &registers(0, 0, 0), None, &memory), Some(Step::End));
        assert_eq!(interrupted(&code(&[0x8082]), &registers(0, 0, 0), None, &memory), None);
    }

    proptest! {
        #[test]
        fn no_code_makes_it_panic(
            code in proptest::collection::vec(any::<u8>(), 0..200),
            start in prop_oneof![Just(0), Just(u32::MAX - 100), any::<u32>()],
            probe in 0_u32..250,
        ) {
            let now = registers(0xffff_fff0, 4, 8);
            let memory = |addr: u32| (!addr.is_multiple_of(3)).then_some(addr);
            let _ = interrupted(&code, &now, Some(0), &memory);
            if let Some(frame) = CodeFrame::at(&code, start, start.wrapping_add(probe)) {
                let _ = (frame.step(&now, true, &memory), frame.mepc(&now, &memory));
            }
        }
    }
}
