//! Random programs on three implementations.

use super::cases::{State, check, run, run_with};
use super::machine::{DRAM, IRAM, Machine, model};
use super::protection::harmless;
use super::qemu::{self, Piece};
use super::reference::Reference;
use esplice_sim::cpu::{Cpu, CpuModel, Stop};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

/// s0 points to the memory and is never written.
const POINTER: usize = 8;

/// Returns a program with one instruction per random number. Registers are x1 to x15 except s0.
/// Branches and jumps go forward by up to 5 instructions; loads and stores use s0.
fn program(numbers: &[u64]) -> Vec<u8> {
    let mut items: Vec<Vec<u8>> = Vec::new();
    let mut jumps = Vec::new();
    for (i, number) in numbers.iter().enumerate() {
        let mut take = Numbers(*number);
        let kind = take.below(20);
        let rd = take.register();
        let rs1 = take.below(16);
        let rs2 = take.below(16);
        let imm = take.below(4096);
        let r = |f7: u32, f3: u32| f7 << 25 | rs2 << 20 | rs1 << 15 | f3 << 12 | rd << 7 | 0x33;
        let word = match kind {
            0 => (number >> 40) as u32 & 0xffff_f000 | rd << 7 | 0x37,
            1 => (number >> 40) as u32 & 0xffff_f000 | rd << 7 | 0x17,
            2..=4 => match imm & 7 {
                f3 @ (1 | 5) => {
                    let arithmetic = if f3 == 5 { imm & 0x100 } else { 0 };
                    arithmetic << 22 | rs2 << 20 | rs1 << 15 | f3 << 12 | rd << 7 | 0x13
                }
                f3 => imm << 20 | rs1 << 15 | f3 << 12 | rd << 7 | 0x13,
            },
            5..=7 => match imm & 7 {
                f3 @ (0 | 5) => r(if imm & 8 == 0 { 0 } else { 0x20 }, f3),
                f3 => r(0, f3),
            },
            8..=9 => r(1, imm & 7),
            10..=11 => {
                let f3 = [0, 1, 2, 4, 5][imm as usize % 5];
                ((imm >> 4) % 60) << 20 | (POINTER as u32) << 15 | f3 << 12 | rd << 7 | 0x03
            }
            12 => {
                let at = (imm >> 4) % 60;
                at >> 5 << 25
                    | rs2 << 20
                    | (POINTER as u32) << 15
                    | (imm % 3) << 12
                    | (at & 31) << 7
                    | 0x23
            }
            13..=14 => {
                jumps.push((i, 1 + imm as usize % 5));
                rs2 << 20 | rs1 << 15 | [0, 1, 4, 5, 6, 7][imm as usize / 8 % 6] << 12 | 0x63
            }
            15 => {
                jumps.push((i, 1 + imm as usize % 5));
                rd << 7 | 0x6f
            }
            _ => {
                items
                    .push((compressed(&mut take, rd, i, &mut jumps) as u16).to_le_bytes().to_vec());
                continue;
            }
        };
        items.push(word.to_le_bytes().to_vec());
    }
    for (i, distance) in jumps {
        let end = items.len().min(i + distance);
        let offset: usize = items[i..end].iter().map(Vec::len).sum();
        set_offset(&mut items[i], offset as u32);
    }
    items.concat()
}

fn compressed(take: &mut Numbers, rd: u32, i: usize, jumps: &mut Vec<(usize, usize)>) -> u32 {
    let imm = take.below(32);
    let high = take.below(2) << 12;
    let rs2 = 1 + take.below(15);
    let low = take.below(8);
    let short = 1 + take.below(7);
    let f = take.below(4);
    match take.below(12) {
        0 => high | rd << 7 | imm << 2 | 0x0001,
        1 => high | rd << 7 | imm << 2 | 0x4001,
        2 => high | rd << 7 | imm.max(1) << 2 | if rd == 2 { 0x6101 } else { 0x6001 },
        3 => short << 7 | f.min(1) << 10 | imm << 2 | 0x8001,
        4 => high | short << 7 | imm << 2 | 0x8801,
        5 | 6 => short << 7 | f << 5 | low << 2 | 0x8c01,
        7 => rd << 7 | imm << 2 | 0x0002,
        8 => high | rd << 7 | rs2 << 2 | 0x8002,
        9 => short << 2 | imm.max(1) << 7,
        // c.lw and c.sw through s0, whose short field is 0.
        10 if f & 1 == 0 => (imm & 7) << 10 | (imm >> 4 & 1) << 6 | short << 2 | 0x4000,
        10 => (imm & 7) << 10 | (imm >> 4 & 1) << 6 | low << 2 | 0xc000,
        _ => {
            jumps.push((i, 1 + imm as usize % 5));
            match f {
                0 => 0xa001,
                1 => 0x2001,
                2 => 0xc001 | low << 7,
                _ => 0xe001 | low << 7,
            }
        }
    }
}

/// Inserts a small forward distance into a jump or branch.
fn set_offset(item: &mut [u8], offset: u32) {
    let bit = |from: u32, to: u32| (offset >> from & 1) << to;
    let word = match *item {
        [a, b] => u32::from(u16::from_le_bytes([a, b])),
        _ => u32::from_le_bytes(item.try_into().unwrap()),
    };
    let with = match (item.len(), word >> 13 & 7, word & 0x7f) {
        (2, 1 | 5, _) => word | (offset >> 1 & 7) << 3 | bit(4, 11) | bit(5, 2),
        (2, _, _) => word | (offset >> 1 & 3) << 3 | (offset >> 3 & 3) << 10 | bit(5, 2),
        (_, _, 0x6f) => word | (offset >> 1) << 21,
        _ => word | (offset >> 1 & 15) << 8 | offset >> 5 << 25,
    };
    let bytes = with.to_le_bytes();
    item.copy_from_slice(&bytes[..item.len()]);
}

/// Derives small numbers from a large one.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u32 {
        // A step of a linear congruential generator (Knuth, MMIX).
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % bound) as u32
    }

    /// Returns x1 to x15, except s0.
    fn register(&mut self) -> u32 {
        match 1 + self.below(14) {
            register if register >= POINTER as u32 => register + 1,
            register => register,
        }
    }
}

fn before(memory: u32, seed: u64) -> State {
    let mut state = State::new();
    let mut take = Numbers(seed);
    for x in &mut state.x[1..] {
        let edges = [0, 1, u32::MAX, 0x8000_0000, 0x7fff_ffff];
        let random = take.below(1 << 31) << 1;
        *x = edges.get(take.below(16) as usize).copied().unwrap_or(random);
    }
    for word in &mut state.memory {
        *word = take.below(1 << 31) << 1 ^ take.below(1 << 31);
    }
    state.x[POINTER] = memory;
    state
}

fn programs() -> impl Strategy<Value = (Vec<u64>, u64)> {
    (prop::collection::vec(any::<u64>(), 1..80), any::<u64>())
}

proptest! {
    #[test]
    fn random_programs_end_as_in_the_reference(
        (numbers, seed) in programs(),
        place in 0_u32..2048,
    ) {
        let code = program(&numbers);
        let (memory, at) = (DRAM + 0x2000, IRAM + 0x4000 + place * 2);
        let before = before(memory, seed);
        let found = run(&code, &before, memory, at);
        let expected = Reference::run(&code, &before, memory, at);
        check("random", &found, &expected);
        check("guarded", &run_with(&code, &before, memory, at, harmless), &expected);
    }

    /// With any memory contents and any pc, the CPU continues or traps, and stays within its
    /// budget.
    #[test]
    fn random_memory_never_panics(
        bytes in prop::collection::vec(any::<u8>(), 64..2048),
        pc in any::<u32>(),
        at_code in any::<bool>(),
        atomics in any::<bool>(),
    ) {
        let mut machine = Machine::new();
        prop_assert!(machine.memory.write(IRAM, &bytes));
        let mut cpu = Cpu::new(CpuModel { atomics, interrupt_csrs: atomics, ..model() });
        cpu.reset(if at_code { IRAM } else { pc & !1 });
        cpu.csrs.mtvec = IRAM | 1;
        for (i, x) in cpu.x.iter_mut().enumerate().skip(1) {
            *x = DRAM + 64 * i as u32;
        }
        for _ in 0..50 {
            let until = cpu.cycles + 100;
            let stop = cpu.run(&mut machine, until);
            prop_assert!(cpu.cycles <= until);
            prop_assert_eq!(cpu.x[0], 0);
            cpu.set_irq(if stop == Stop::Wfi { 1 << 5 } else { 0 });
            if matches!(stop, Stop::DoubleFault { .. }) {
                break;
            }
        }
    }
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "qemu-riscv32 exists only for Linux")]
fn random_programs_end_as_in_qemu() {
    let mut runner = TestRunner::new(Config::default());
    let drawn: Vec<(Vec<u64>, u64)> =
        (0..300).map(|_| programs().new_tree(&mut runner).unwrap().current()).collect();
    let codes: Vec<Vec<u8>> = drawn.iter().map(|(numbers, _)| program(numbers)).collect();
    let pieces: Vec<Piece> = codes
        .iter()
        .zip(&drawn)
        .map(|(code, (_, seed))| Piece {
            code,
            before: Box::new(|memory, _| before(memory, *seed)),
        })
        .collect();
    let found = qemu::run(&pieces);
    for ((code, drawn), (expected, memory, at)) in codes.iter().zip(&drawn).zip(found) {
        let start = before(memory, drawn.1);
        let name = format!("{drawn:?}");
        check(&name, &run(code, &start, memory, at), &expected);
        check(&name, &Reference::run(code, &start, memory, at), &expected);
    }
}
