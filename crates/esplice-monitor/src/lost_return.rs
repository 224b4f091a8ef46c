//! Unwinding from a function that keeps no return address, as compilers generate for functions that
//! never return. The code shows the possible callers, and the stack shows which one it was. RISC-V
//! only.

use crate::{
    instruction::{Instruction, decode},
    symbols::Symbols,
    unwind::{Caller, Hints, Registers, Step},
};

/// Maximum number of consecutive functions without a return address.
const MAX_DEPTH: usize = 8;

/// Maximum number of calls to try.
const MAX_TRIED: usize = 20_000;

/// Maximum number of consecutive functions that end in a jump to the next.
const MAX_JUMPS: usize = 4;

/// Maximum number of functions that jump to the same one.
const MAX_WAYS: usize = 64;

/// All calls in an ELF with a fixed target.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    /// Target and return address of each call, sorted.
    calls: Vec<(u32, u32)>,
    /// Return address and target of each call, sorted.
    targets: Vec<(u32, u32)>,
    /// Target of each tail jump and the function it ends, sorted.
    jumps: Vec<(u32, u32)>,
}

impl Calls {
    /// Collects the calls of functions, each given by its address and code.
    pub fn of<'a>(functions: impl Iterator<Item = (u32, &'a [u8])>) -> Calls {
        let mut found = Calls::default();
        for (start, code) in functions {
            let inside = start..start.saturating_add(code.len() as u32);
            let (mut at, mut rest) = (start, code);
            let mut above: Option<(usize, u32)> = None;
            while let Some((instruction, len)) = decode(rest) {
                let next = at.wrapping_add(len);
                let target = match instruction {
                    Instruction::Jump { link, offset } => {
                        Some((link, at.wrapping_add_signed(offset)))
                    }
                    Instruction::JumpTo { link, base, offset } => above
                        .filter(|(register, _)| *register == base)
                        .map(|(_, value)| (link, value.wrapping_add_signed(offset))),
                    _ => None,
                };
                match target {
                    Some((0, target)) if !inside.contains(&target) => {
                        found.jumps.push((target, start));
                    }
                    Some((link, target)) if link != 0 => found.calls.push((target, next)),
                    _ => {}
                }
                above = match instruction {
                    Instruction::PcPlus { to, value } => Some((to, at.wrapping_add_signed(value))),
                    _ => None,
                };
                let Some(more) = rest.get(len as usize..) else { break };
                (at, rest) = (next, more);
            }
        }
        found.targets = found.calls.iter().map(|(target, back)| (*back, *target)).collect();
        for found in [&mut found.calls, &mut found.targets, &mut found.jumps] {
            found.sort_unstable();
            found.dedup();
        }
        found
    }

    /// Returns `function` and the functions that end in a jump to it, directly or in several steps.
    fn entry_points(&self, function: u32) -> Vec<u32> {
        let mut all = vec![function];
        let mut last = vec![function];
        for _ in 0..MAX_JUMPS {
            last = last.iter().flat_map(|way| of(&self.jumps, *way)).take(MAX_WAYS).collect();
            last.sort_unstable();
            last.dedup();
            last.retain(|way| !all.contains(way));
            all.extend(&last);
        }
        all
    }

    /// Returns whether the call that returns to `back` leads to one of `entry_points`, or `None` if
    /// its target is not fixed.
    fn leads(&self, back: u32, entry_points: &[u32]) -> Option<bool> {
        let mut named = of(&self.targets, back).peekable();
        named.peek()?;
        Some(named.any(|target| entry_points.contains(&target)))
    }
}

/// Returns the second values paired with `target`.
fn of(sorted: &[(u32, u32)], target: u32) -> impl Iterator<Item = u32> {
    let at = sorted.partition_point(|(found, _)| *found < target);
    let rest = sorted.get(at..).unwrap_or_default();
    rest.iter().take_while(move |(found, _)| *found == target).map(|(_, other)| *other)
}

/// A call chain that the stack confirms.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    pub callers: Vec<Caller>,
    /// The registers of the last caller.
    pub end: Registers,
    pub interrupted: bool,
    /// True if the last call has a fixed target and so must have called this function.
    is_named: bool,
    /// True if the chain passes the source location in the panic message.
    pub has_place: bool,
}

/// Finds the only possible call chain from a function at `pc` that has made a call and lost its
/// return address. Returns `None` if there is no such chain or more than one.
pub(crate) fn find(
    symbols: &Symbols<'_>,
    pc: u32,
    caller: &Registers,
    hints: &Hints<'_>,
    memory: &dyn Fn(u32) -> Option<u32>,
) -> Option<Chain> {
    let calls = symbols.calls();
    let mut search = Search { symbols, calls, hints, memory, left: MAX_TRIED, found: vec![] };
    search.try_callers(symbols.start_of(pc)?, caller, &mut vec![], hints.has_place);
    let found = search.found;
    let is_of = [
        |chain: &Chain| chain.is_named && chain.has_place,
        |chain: &Chain| chain.is_named,
        |chain: &Chain| chain.has_place,
    ];
    let best = is_of.iter().find(|is| found.iter().any(is))?;
    let mut best = found.iter().filter(|chain| best(chain));
    let chain = best.next()?;
    best.all(|other| other.callers == chain.callers).then(|| chain.clone())
}

struct Search<'s, 'a> {
    symbols: &'s Symbols<'a>,
    calls: &'s Calls,
    hints: &'s Hints<'s>,
    memory: &'s dyn Fn(u32) -> Option<u32>,
    left: usize,
    found: Vec<Chain>,
}

impl Search<'_, '_> {
    /// Tries all possible callers of `function`. The registers of its caller are known except for
    /// the program counter.
    fn try_callers(
        &mut self,
        function: u32,
        caller: &Registers,
        way: &mut Vec<Caller>,
        has_place: bool,
    ) {
        if way.len() >= MAX_DEPTH {
            return;
        }
        let ways = self.calls.entry_points(function);
        let mut backs: Vec<u32> = ways.iter().flat_map(|way| of(&self.calls.calls, *way)).collect();
        backs.sort_unstable();
        backs.dedup();
        for back in backs {
            let Some(left) = self.left.checked_sub(1) else { return };
            self.left = left;
            let now = Registers { pc: back, ..*caller };
            let step = self.symbols.step(&now, true, self.hints.mepc, self.memory);
            if matches!(step, Step::End) {
                continue;
            }
            let Some(start) = self.symbols.start_of(back.wrapping_sub(1)) else { continue };
            let has_place = has_place || self.hints.is_place(self.symbols, back.wrapping_sub(1));
            way.push(Caller { addr: back, interrupted: false });
            match step {
                Step::Caller { registers, interrupted } => {
                    // A call to another fixed target cannot have led here.
                    if let Some(is_named) = self.named(&registers, interrupted, start) {
                        let mut callers = way.clone();
                        callers.push(Caller { addr: registers.pc, interrupted });
                        self.found.push(Chain {
                            callers,
                            end: registers,
                            interrupted,
                            is_named,
                            has_place,
                        });
                    }
                }
                Step::NoReturnAddress(registers) => {
                    self.try_callers(start, &registers, way, has_place)
                }
                Step::End => {}
            }
            way.pop();
        }
    }

    /// Returns whether the call before `caller.pc` has the function at `start` as its fixed target.
    /// Returns `None` if it cannot have called that function.
    fn named(&self, caller: &Registers, interrupted: bool, start: u32) -> Option<bool> {
        if interrupted {
            // No word on the stack confirms that a trap came from there.
            return self.symbols.contains(caller.pc.into()).then_some(false);
        }
        match self.calls.leads(caller.pc, &self.calls.entry_points(start)) {
            Some(leads) => leads.then_some(true),
            None => self.symbols.is_call_by_register(caller.pc).then_some(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At 0x100 `jal` calls 0x120, at 0x104 `auipc` and `jalr` call 0x2000. The function at 0x120
    /// ends with a jump to 0x2000.
    #[test]
    fn calls_and_jumps_are_found() {
        let caller: Vec<u8> = [0x0200_00ef_u32, 0x0000_2097, 0xefc0_80e7]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        let jump: Vec<u8> =
            [0x0000_2317_u32, 0xee03_0067].iter().flat_map(|word| word.to_le_bytes()).collect();
        let calls = Calls::of([(0x100, caller.as_slice()), (0x120, jump.as_slice())].into_iter());
        assert_eq!(calls.calls, [(0x120, 0x104), (0x2000, 0x10c)]);
        assert_eq!(calls.jumps, [(0x2000, 0x120)]);
        assert_eq!(calls.entry_points(0x2000), [0x2000, 0x120]);
        assert_eq!(calls.leads(0x104, &calls.entry_points(0x2000)), Some(true));
        assert_eq!(calls.leads(0x104, &[0x3000]), Some(false));
        assert_eq!(calls.leads(0x108, &[0x3000]), None);
    }
}
