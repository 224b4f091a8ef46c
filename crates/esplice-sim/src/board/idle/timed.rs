//! Loops that read the time: each round reads a counter, compares it and repeats. The number of
//! rounds is computed without executing them.
//!
//! One round was executed and recorded. It is replayed with each value as it is in the first round
//! and as it is `rounds` later. A counter's value grows steadily in between, and so does what is
//! computed from it (sums, shifts, quotients, comparisons) as long as nothing wraps. A branch on
//! such a value that goes the same way in both rounds does so in all rounds between them. If such a
//! value is used in any other way (as an address, or in a remainder that jumps back), the loop is
//! executed.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use crate::{
    cpu::{Cpu, Kind, Op},
    soc::Soc,
};

/// An executed instruction of the round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub pc: u32,
    pub op: Op,
    /// Value of its destination afterwards.
    pub result: u32,
    /// [`Cpu::cycles`] before it.
    pub cycle: u64,
}

/// A round, with the board's state before and after it.
pub(super) struct Round<'a> {
    pub steps: &'a [Step],
    pub before: &'a [u32; 32],
    pub behind: &'a Cpu,
    /// Cycle at which the next round begins.
    pub end: u64,
    /// Aligned words of memory that were written, with their previous values.
    pub written: &'a [(u32, u32)],
    /// Registers that hold a latched time, with the cycle of the store that latched it.
    pub latched: &'a [(Range<u32>, u64)],
}

/// A value in the first round and in the last. In between it only grows or only falls, without
/// wrapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Value {
    first: u32,
    last: u32,
    /// Equal values have the same nonzero number.
    origin: u64,
}

impl Value {
    fn is_constant(self) -> bool {
        self.first == self.last
    }

    fn rises(self) -> bool {
        self.last >= self.first
    }

    /// Bits that may differ between values from first to last.
    fn moving(self) -> u32 {
        u32::MAX.checked_shr((self.first ^ self.last).leading_zeros()).unwrap_or(0)
    }
}

/// Any value.
const UNKNOWN: Option<Value> = None;

fn constant(value: u32) -> Option<Value> {
    Some(Value { first: value, last: value, origin: 0 })
}

/// Returns how many further rounds are certain to be like the recorded one, at most `most`. A
/// result below 2 is returned as 0.
pub(super) fn rounds(round: &Round<'_>, soc: &Soc, most: u64) -> u64 {
    // A value may be the same before and after the recorded round by chance, if a slow counter has
    // not moved.
    let mut loose = Loose::default();
    let mut same = |rounds: u64| loop {
        let Some(mut pass) = Pass::new(round, soc, rounds, &loose) else { return false };
        match pass.outcome() {
            Outcome::Same => return true,
            Outcome::Other => return false,
            Outcome::Moves(more) => {
                loose.registers |= more.registers;
                loose.words.extend(more.words);
            }
        }
    };
    if most < 2 || !same(2) {
        return 0;
    }
    if same(most) {
        return most;
    }
    // A difference in one round is also found in all later ones.
    let (mut good, mut bad) = (2, most);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if same(middle) {
            good = middle;
        } else {
            bad = middle;
        }
    }
    good
}

/// Registers (one bit each) and words of memory that change in each round.
#[derive(Debug, Clone, Default)]
struct Loose {
    registers: u32,
    words: BTreeSet<u32>,
}

enum Outcome {
    /// All rounds go the same way.
    Same,
    /// The rounds differ, or that is not known.
    Other,
    /// All rounds go the same way, provided that no round depends on these.
    Moves(Loose),
}

struct Pass<'a> {
    round: &'a Round<'a>,
    loose: &'a Loose,
    soc: &'a Soc,
    /// Cycles from the first round to the last.
    apart: u64,
    x: [Option<Value>; 32],
    memory: BTreeMap<u32, Option<Value>>,
    origins: u64,
}

impl<'a> Pass<'a> {
    fn new(round: &'a Round<'a>, soc: &'a Soc, rounds: u64, loose: &'a Loose) -> Option<Self> {
        let start = round.steps.first()?.cycle;
        let apart = rounds.checked_mul(round.end.checked_sub(start)?)?;
        let mut x = [UNKNOWN; 32];
        // A register keeps its value from before the first round only if no round changes it.
        let ends = round.before.iter().zip(&round.behind.x);
        for ((number, value), (before, behind)) in x.iter_mut().enumerate().zip(ends) {
            if before == behind && loose.registers >> number & 1 == 0 {
                *value = constant(*before);
            }
        }
        Some(Self { round, loose, soc, apart, x, memory: BTreeMap::new(), origins: 0 })
    }

    /// Checks whether all rounds up to the last go the same way and have the effects of the
    /// recorded one.
    fn outcome(&mut self) -> Outcome {
        let steps = self.round.steps;
        let ways = steps.iter().skip(1).map(|step| step.pc);
        let Some(first) = steps.first() else { return Outcome::Other };
        for (step, next) in steps.iter().zip(ways.chain([first.pc])) {
            if self.step(step, next).is_none() {
                return Outcome::Other;
            }
            // The result must match the recorded one.
            let rd = step.op.rd();
            if rd != 0 && self.x[rd].is_some_and(|value| value.first != step.result) {
                return Outcome::Other;
            }
        }
        let mut moves = Loose::default();
        let ends = self.round.before.iter().zip(&self.round.behind.x);
        for ((number, value), (before, behind)) in self.x.iter().enumerate().zip(ends) {
            let kept = before == behind && self.loose.registers >> number & 1 == 0;
            if kept && !is(*value, *before) {
                moves.registers |= 1 << number;
            }
        }
        let words = self.memory.iter().filter(|(addr, value)| {
            !self.changes(**addr) && self.old(**addr).is_none_or(|old| !is(**value, old))
        });
        moves.words.extend(words.map(|(addr, _)| *addr));
        if moves.registers == 0 && moves.words.is_empty() {
            Outcome::Same
        } else {
            Outcome::Moves(moves)
        }
    }

    /// Returns the value of a word of memory before the round.
    fn old(&self, addr: u32) -> Option<u32> {
        let written = self.round.written.iter().find(|(known, _)| *known == addr);
        written.map(|(_, old)| *old).or_else(|| self.word(addr))
    }

    fn word(&self, addr: u32) -> Option<u32> {
        let fabric = &self.soc.fabric;
        fabric.memory.load32(addr, fabric.flash.nor.bytes())
    }

    /// Returns whether each round changes a word of memory.
    fn changes(&self, addr: u32) -> bool {
        self.loose.words.contains(&addr) || self.old(addr) != self.word(addr)
    }

    /// Replays one instruction. Returns `None` if its effect in later rounds is not known.
    fn step(&mut self, step: &Step, next: u32) -> Option<()> {
        let op = step.op;
        let (a, b) = (self.x[op.rs1()], self.x[op.rs2()]);
        let immediate = constant(op.imm);
        let mut way = step.pc.wrapping_add(op.len());
        let result = match op.kind {
            Kind::Nop => return (way == next).then_some(()),
            Kind::Li => immediate,
            Kind::Addi => add(a, immediate),
            Kind::Add => add(a, b),
            Kind::Sub => subtract(a, b),
            Kind::Sltiu => less(a, immediate),
            Kind::Sltu => less(a, b),
            Kind::Slti => signed_less(a, immediate),
            Kind::Slt => signed_less(a, b),
            Kind::Andi => and(a, op.imm),
            Kind::Ori => or(a, op.imm),
            Kind::Xori => xor(a, op.imm),
            Kind::And => with_constant(a, b, and),
            Kind::Or => with_constant(a, b, or),
            Kind::Xor => with_constant(a, b, xor),
            Kind::Slli => left(a, op.imm & 31),
            Kind::Srli => right(a, op.imm & 31),
            Kind::Srai => signed_right(a, op.imm & 31),
            Kind::Sll => left(a, fixed(b)? & 31),
            Kind::Srl => right(a, fixed(b)? & 31),
            Kind::Sra => signed_right(a, fixed(b)? & 31),
            Kind::Mul => with_constant(a, b, multiply),
            Kind::Mulhu => with_constant(a, b, multiply_high),
            Kind::Divu => divide(a, fixed(b)?),
            Kind::Remu => remainder(a, fixed(b)?),
            Kind::Mulh | Kind::Mulhsu | Kind::Div | Kind::Rem => {
                (fixed(a).is_some() && fixed(b).is_some()).then_some(())?;
                constant(step.result)
            }
            Kind::Lw | Kind::Lb | Kind::Lbu | Kind::Lh | Kind::Lhu => {
                let value = self.load(step, fixed(a)?.wrapping_add(op.imm))?;
                self.set(op, value);
                return (way == next).then_some(());
            }
            Kind::LoadDiscard => {
                fixed(a)?;
                return (way == next).then_some(());
            }
            Kind::Sw | Kind::Sb | Kind::Sh => {
                self.store(op.kind, fixed(a)?.wrapping_add(op.imm), b)?;
                return (way == next).then_some(());
            }
            Kind::J | Kind::Jal => {
                let value = constant(way);
                way = step.pc.wrapping_add(op.imm.wrapping_mul(2));
                value
            }
            Kind::Jr | Kind::Jalr => {
                let value = constant(way);
                way = fixed(a)?.wrapping_add(op.imm) & !1;
                value
            }
            Kind::Beq | Kind::Bne | Kind::Blt | Kind::Bge | Kind::Bltu | Kind::Bgeu => {
                if taken(op.kind, a?, b?)? {
                    way = step.pc.wrapping_add(op.imm.wrapping_mul(2));
                }
                return (way == next).then_some(());
            }
            Kind::Csr => self.csr(step)?,
            _ => return None,
        };
        if !matches!(op.kind, Kind::J | Kind::Jr) {
            self.set(op, result);
        }
        (way == next).then_some(())
    }

    fn set(&mut self, op: Op, value: Option<Value>) {
        // Register 0 is always 0.
        if op.rd() != 0 {
            self.x[op.rd()] = value;
        }
    }

    fn csr(&mut self, step: &Step) -> Option<Option<Value>> {
        let raw = step.op.imm;
        let (number, operand) = (raw >> 20, raw >> 15 & 31);
        let writes = raw >> 12 & 3 == 1 || operand != 0;
        if !Cpu::is_counter(number) {
            // The register's value is the same in each round, and the CSRs are unchanged after it.
            if writes && raw & 1 << 14 == 0 {
                fixed(self.x[operand as usize])?;
            }
            return Some(constant(step.result));
        }
        let csrs = &self.round.behind.csrs;
        let before = csrs.performance_counter(step.cycle);
        let behind = csrs.performance_counter(step.cycle.checked_add(self.apart)?);
        // The counter counts all cycles or is stopped.
        let grown = u64::from(behind.checked_sub(before)?);
        let last = step.result.checked_add(u32::try_from(grown).ok()?)?;
        let counts = grown == self.apart || grown == 0;
        (!writes && Cpu::is_count(number) && counts).then(|| self.counted(step.result, last))
    }

    /// Returns the value read from a counter.
    fn counted(&mut self, first: u32, last: u32) -> Option<Value> {
        self.origins += 1;
        Some(Value { first, last, origin: self.origins })
    }

    fn load(&mut self, step: &Step, addr: u32) -> Option<Option<Value>> {
        let word = addr & !3;
        if !self.soc.fabric.memory.is_mapped(addr) {
            let holds_time = || {
                let latched = self.round.latched.iter().rev();
                latched.filter(|(registers, _)| registers.contains(&word))
            };
            if holds_time().next().is_none() {
                return Some(constant(step.result));
            }
            // Only the whole word, latched in this round.
            let (_, cycle) = holds_time().find(|(_, cycle)| *cycle <= step.cycle)?;
            if step.op.kind != Kind::Lw || addr != word {
                return None;
            }
            let clock = &self.soc.fabric.clock;
            let time = |cycle: u64| self.soc.time_at(word, clock.tick_at(cycle));
            let ((first, half), (last, _)) = (time(*cycle)?, time(cycle.checked_add(self.apart)?)?);
            // Each half is steady unless there is a carry.
            if first >> 32 != last >> 32 {
                return None;
            }
            let (first, last) = ((first >> half) as u32, (last >> half) as u32);
            // Reads of the same register with the same latched time are equal.
            let origin = u64::from(word) << 32 | 1 << 63 | (*cycle & 0x7fff_ffff);
            return Some(Some(Value { first, last, origin }));
        }
        match self.memory.get(&word) {
            Some(value) if step.op.kind == Kind::Lw && addr == word => Some(*value),
            Some(value) => {
                Some(value.filter(|value| value.is_constant()).and(constant(step.result)))
            }
            None if self.changes(word) || self.changes(word.wrapping_add(4)) && addr != word => {
                Some(UNKNOWN)
            }
            None => Some(constant(step.result)),
        }
    }

    fn store(&mut self, kind: Kind, addr: u32, value: Option<Value>) -> Option<()> {
        if !self.soc.fabric.memory.is_mapped(addr) {
            // When it was executed, the store was seen only to latch the time.
            return fixed(value).map(drop);
        }
        let word = addr & !3;
        if kind == Kind::Sw && addr == word {
            self.memory.insert(word, value);
            return Some(());
        }
        // A part of a word, or parts of two.
        for word in [word, addr.wrapping_add(3) & !3] {
            let known = self.memory.get(&word).copied();
            let before = known.unwrap_or_else(|| match self.changes(word) {
                true => UNKNOWN,
                false => self.old(word).and_then(constant),
            });
            let both = before.is_some_and(Value::is_constant) && fixed(value).is_some();
            // Constants yield the recorded round's final value, unless something else is written
            // afterwards.
            self.memory
                .insert(word, if both { self.word(word).and_then(constant) } else { UNKNOWN });
        }
        Some(())
    }
}

fn is(value: Option<Value>, expected: u32) -> bool {
    fixed(value) == Some(expected)
}

fn fixed(value: Option<Value>) -> Option<u32> {
    value.filter(|value| value.is_constant()).map(|value| value.first)
}

/// Applies an operation that keeps the value steady to both ends.
fn each(value: Value, operation: impl Fn(u32) -> u32) -> Option<Value> {
    Some(Value { first: operation(value.first), last: operation(value.last), origin: 0 })
}

/// Applies an operation to a value and a constant, in either order.
fn with_constant(
    a: Option<Value>,
    b: Option<Value>,
    operation: impl Fn(Option<Value>, u32) -> Option<Value>,
) -> Option<Value> {
    match (fixed(a), fixed(b)) {
        (_, Some(b)) => operation(a, b),
        (Some(a), None) => operation(b, a),
        _ => UNKNOWN,
    }
}

fn add(a: Option<Value>, b: Option<Value>) -> Option<Value> {
    let (a, b) = (a?, b?);
    let carry = |a: u32, b: u32| a.checked_add(b).is_none();
    // Adding 0 makes a copy.
    let origin = match (a, b) {
        (_, Value { first: 0, last: 0, .. }) => a.origin,
        (Value { first: 0, last: 0, .. }, _) => b.origin,
        _ => 0,
    };
    let same_way = a.is_constant() || b.is_constant() || a.rises() == b.rises();
    (same_way && carry(a.first, b.first) == carry(a.last, b.last)).then_some(Value {
        first: a.first.wrapping_add(b.first),
        last: a.last.wrapping_add(b.last),
        origin,
    })
}

fn subtract(a: Option<Value>, b: Option<Value>) -> Option<Value> {
    let (a, b) = (a?, b?);
    let opposite = a.is_constant() || b.is_constant() || a.rises() != b.rises();
    (opposite && (a.first < b.first) == (a.last < b.last)).then_some(Value {
        first: a.first.wrapping_sub(b.first),
        last: a.last.wrapping_sub(b.last),
        origin: 0,
    })
}

/// Compares a steady value with a constant; the result changes at most once.
fn less(a: Option<Value>, b: Option<Value>) -> Option<Value> {
    let (a, b) = (a?, b?);
    (a.is_constant() || b.is_constant()).then_some(Value {
        first: u32::from(a.first < b.first),
        last: u32::from(a.last < b.last),
        origin: 0,
    })
}

/// Returns whether a value keeps its sign.
fn keeps_sign(value: Value) -> bool {
    (value.first ^ value.last) >> 31 == 0
}

fn signed_less(a: Option<Value>, b: Option<Value>) -> Option<Value> {
    const SIGN: u32 = 1 << 31;
    let flip = |value: Option<Value>| each(value.filter(|v| keeps_sign(*v))?, |v| v ^ SIGN);
    less(flip(a), flip(b))
}

/// Masks a value. It stays steady if the mask clears low moving bits, or upper bits that do not
/// move.
fn and(value: Option<Value>, mask: u32) -> Option<Value> {
    let value = value?;
    let moving = value.moving();
    let kept = mask & moving;
    // The kept moving bits must be the uppermost ones, possibly all or none.
    let lost = moving & !kept;
    (lost & lost.wrapping_add(1) == 0).then(|| each(value, |v| v & mask))?
}

fn or(value: Option<Value>, mask: u32) -> Option<Value> {
    let value = value?;
    let set = mask & value.moving();
    (set & set.wrapping_add(1) == 0).then(|| each(value, |v| v | mask))?
}

fn xor(value: Option<Value>, mask: u32) -> Option<Value> {
    let value = value?;
    let turned = mask & value.moving();
    (turned == 0 || turned == value.moving()).then(|| each(value, |v| v ^ mask))?
}

fn left(value: Option<Value>, by: u32) -> Option<Value> {
    let value = value?;
    let lost = |v: u32| (u64::from(v) << by) >> 32;
    (lost(value.first) == lost(value.last)).then(|| each(value, |v| v << by))?
}

fn right(value: Option<Value>, by: u32) -> Option<Value> {
    each(value?, |v| v >> by)
}

fn signed_right(value: Option<Value>, by: u32) -> Option<Value> {
    each(value.filter(|value| keeps_sign(*value))?, |v| (v as i32 >> by) as u32)
}

fn multiply(value: Option<Value>, by: u32) -> Option<Value> {
    let value = value?;
    let high = |v: u32| (u64::from(v) * u64::from(by)) >> 32;
    (high(value.first) == high(value.last)).then(|| each(value, |v| v.wrapping_mul(by)))?
}

fn multiply_high(value: Option<Value>, by: u32) -> Option<Value> {
    each(value?, |v| ((u64::from(v) * u64::from(by)) >> 32) as u32)
}

fn divide(value: Option<Value>, by: u32) -> Option<Value> {
    // Division by 0 yields all ones (RISC-V unprivileged specification, division).
    each(value?, |v| v.checked_div(by).unwrap_or(u32::MAX))
}

fn remainder(value: Option<Value>, by: u32) -> Option<Value> {
    let value = value?;
    let quotient = |v: u32| v.checked_div(by).unwrap_or(0);
    (quotient(value.first) == quotient(value.last))
        .then(|| each(value, |v| v.checked_rem(by).unwrap_or(v)))?
}

/// Returns whether a branch is taken in all rounds or in none; `None` if that varies.
fn taken(kind: Kind, a: Value, b: Value) -> Option<bool> {
    let decided = |less: Option<Value>| Some(fixed(less)? != 0);
    let equal = || {
        if a.origin != 0 && a.origin == b.origin {
            return Some(true);
        }
        // The moving value must not reach the constant.
        let apart = [(a, b), (b, a)].into_iter().any(|(moving, other)| {
            let (low, high) = (moving.first.min(moving.last), moving.first.max(moving.last));
            other.is_constant() && !(low..=high).contains(&other.first)
        });
        match (a.is_constant() && b.is_constant(), apart) {
            (true, _) => Some(a.first == b.first),
            (false, true) => Some(false),
            (false, false) => None,
        }
    };
    match kind {
        Kind::Beq => equal(),
        Kind::Bne => equal().map(|equal| !equal),
        Kind::Bltu => decided(less(Some(a), Some(b))),
        Kind::Bgeu => decided(less(Some(a), Some(b))).map(|less| !less),
        Kind::Blt => decided(signed_less(Some(a), Some(b))),
        _ => decided(signed_less(Some(a), Some(b))).map(|less| !less),
    }
}
