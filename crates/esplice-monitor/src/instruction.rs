//! Decoding of RISC-V instructions, limited to their effect on calls, stack pointer and saved
//! registers.

/// The return address. Source: RISC-V psABI, register conventions.
pub(crate) const RA: usize = 1;

/// The stack pointer. Same source.
pub(crate) const SP: usize = 2;

/// Machine exception program counter: the address of a trap. Source: RISC-V privileged
/// architecture, table of machine-level registers.
const MEPC: u32 = 0x341;

/// An instruction, as far as unwinding needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instruction {
    /// `to` becomes `from` + `value`. A move has the value 0.
    Add { to: usize, from: usize, value: i32 },
    /// `to` becomes `value`.
    Set { to: usize, value: i32 },
    /// `to` becomes `one` + `other`, both registers.
    Sum { to: usize, one: usize, other: usize },
    /// `to` becomes `from` - `less`, both registers.
    Difference { to: usize, from: usize, less: usize },
    /// The word in memory at `base` + `offset` becomes `from`.
    Store { from: usize, base: usize, offset: i32 },
    /// `to` becomes the word in memory at `base` + `offset`.
    Load { to: usize, base: usize, offset: i32 },
    /// `to` becomes the address of this instruction + `value`.
    PcPlus { to: usize, value: i32 },
    /// `to` becomes the address of the trap.
    ReadMepc { to: usize },
    /// The return address of the trap becomes `from`.
    WriteMepc { from: usize },
    /// A jump to the address of this instruction + `offset`, and a call if `link` is not 0.
    Jump { link: usize, offset: i32 },
    /// A jump to `base` + `offset`: a call if `link` is not 0, a return if `base` is `ra`.
    JumpTo { link: usize, base: usize, offset: i32 },
    /// A conditional jump to the address of this instruction + `offset`.
    Branch { offset: i32 },
    /// The return from a trap.
    TrapReturn,
    /// Any other instruction. It may change `to`, which is 0 for none.
    Other { to: usize },
}

/// Decodes the first instruction of `bytes`. Returns it with its length in bytes.
pub(crate) fn decode(bytes: &[u8]) -> Option<(Instruction, u32)> {
    let half = u32::from(u16::from_le_bytes(*bytes.first_chunk()?));
    if half & 3 != 3 {
        return Some((compressed(half), 2));
    }
    let word = u32::from_le_bytes(*bytes.first_chunk()?);
    // Longer ones do not occur in 32-bit firmware.
    (word & 0x1f != 0x1f).then(|| (whole(word), 4))
}

/// Returns `count` bits of `word`, starting at bit `at`.
fn bits(word: u32, at: u32, count: u32) -> u32 {
    word >> at & ((1 << count) - 1)
}

/// Sign-extends `value` of `count` bits.
fn signed(value: u32, count: u32) -> i32 {
    let up = 32 - count;
    ((value << up) as i32) >> up
}

/// Decodes a 32-bit instruction. Source: RISC-V unprivileged ISA, RV32I base instruction formats.
fn whole(word: u32) -> Instruction {
    let register = |at| bits(word, at, 5) as usize;
    let (to, base, from) = (register(7), register(15), register(20));
    let kind = bits(word, 12, 3);
    let immediate = signed(word >> 20, 12);
    match word & 0x7f {
        0x13 if kind == 0 => Instruction::Add { to, from: base, value: immediate },
        // A move: `add` with the zero register.
        0x33 if word >> 25 == 0 && kind == 0 && from == 0 => {
            Instruction::Add { to, from: base, value: 0 }
        }
        0x33 if word >> 25 == 0 && kind == 0 && base == 0 => {
            Instruction::Add { to, from, value: 0 }
        }
        0x33 if word >> 25 == 0 && kind == 0 => Instruction::Sum { to, one: base, other: from },
        0x33 if word >> 25 == 0x20 && kind == 0 => {
            Instruction::Difference { to, from: base, less: from }
        }
        0x37 => Instruction::Set { to, value: (word & 0xffff_f000) as i32 },
        0x03 if kind == 2 => Instruction::Load { to, base, offset: immediate },
        0x23 => {
            let offset = signed(bits(word, 25, 7) << 5 | bits(word, 7, 5), 12);
            // Narrower stores do not save registers.
            match kind {
                2 => Instruction::Store { from, base, offset },
                _ => Instruction::Other { to: 0 },
            }
        }
        0x17 => Instruction::PcPlus { to, value: (word & 0xffff_f000) as i32 },
        0x6f => {
            let offset = bits(word, 31, 1) << 20
                | bits(word, 12, 8) << 12
                | bits(word, 20, 1) << 11
                | bits(word, 21, 10) << 1;
            Instruction::Jump { link: to, offset: signed(offset, 21) }
        }
        0x67 => Instruction::JumpTo { link: to, base, offset: immediate },
        0x63 => {
            let offset = bits(word, 31, 1) << 12
                | bits(word, 7, 1) << 11
                | bits(word, 25, 6) << 5
                | bits(word, 8, 4) << 1;
            Instruction::Branch { offset: signed(offset, 13) }
        }
        0x73 => match (kind, word >> 20) {
            (0, 0x302) => Instruction::TrapReturn,
            (2, MEPC) if base == 0 => Instruction::ReadMepc { to },
            (1, MEPC) if to == 0 => Instruction::WriteMepc { from: base },
            (0, _) => Instruction::Other { to: 0 },
            _ => Instruction::Other { to },
        },
        // Fences.
        0x0f => Instruction::Other { to: 0 },
        _ => Instruction::Other { to },
    }
}

/// Decodes a 16-bit instruction. Source: RISC-V unprivileged ISA, "C" extension, instruction
/// listings for RVC.
fn compressed(half: u32) -> Instruction {
    let full = |at| bits(half, at, 5) as usize;
    let short = |at| bits(half, at, 3) as usize + 8;
    let pick = |parts: &[(u32, u32, u32)]| {
        parts.iter().fold(0, |all, (at, count, to)| all | bits(half, *at, *count) << to)
    };
    let small = || signed(pick(&[(12, 1, 5), (2, 5, 0)]), 6);
    match (half & 3, half >> 13) {
        (0, 0) => {
            let value = pick(&[(7, 4, 6), (11, 2, 4), (5, 1, 3), (6, 1, 2)]);
            Instruction::Add { to: short(2), from: SP, value: value as i32 }
        }
        (0, 2) => {
            let offset = pick(&[(5, 1, 6), (10, 3, 3), (6, 1, 2)]) as i32;
            Instruction::Load { to: short(2), base: short(7), offset }
        }
        (0, 6) => {
            let offset = pick(&[(5, 1, 6), (10, 3, 3), (6, 1, 2)]) as i32;
            Instruction::Store { from: short(2), base: short(7), offset }
        }
        (0, _) => Instruction::Other { to: 0 },
        (1, 0) => Instruction::Add { to: full(7), from: full(7), value: small() },
        (1, 1 | 5) => {
            let offset = pick(&[
                (12, 1, 11),
                (8, 1, 10),
                (9, 2, 8),
                (6, 1, 7),
                (7, 1, 6),
                (2, 1, 5),
                (11, 1, 4),
                (3, 3, 1),
            ]);
            let link = if half >> 13 == 1 { RA } else { 0 };
            Instruction::Jump { link, offset: signed(offset, 12) }
        }
        (1, 3) if full(7) == SP => {
            let value = pick(&[(12, 1, 9), (3, 2, 7), (5, 1, 6), (2, 1, 5), (6, 1, 4)]);
            Instruction::Add { to: SP, from: SP, value: signed(value, 10) }
        }
        (1, 2) => Instruction::Add { to: full(7), from: 0, value: small() },
        (1, 3) => Instruction::Set { to: full(7), value: small() << 12 },
        (1, 4) => Instruction::Other { to: short(7) },
        (1, _) => {
            let offset = pick(&[(12, 1, 8), (5, 2, 6), (2, 1, 5), (10, 2, 3), (3, 2, 1)]);
            Instruction::Branch { offset: signed(offset, 9) }
        }
        (2, 0) => Instruction::Other { to: full(7) },
        (2, 2) => {
            let offset = pick(&[(2, 2, 6), (12, 1, 5), (4, 3, 2)]) as i32;
            Instruction::Load { to: full(7), base: SP, offset }
        }
        (2, 4) => match (bits(half, 12, 1), full(7), full(2)) {
            (0, base, 0) => Instruction::JumpTo { link: 0, base, offset: 0 },
            (0, to, from) => Instruction::Add { to, from, value: 0 },
            (_, 0, 0) => Instruction::Other { to: 0 },
            (_, base, 0) => Instruction::JumpTo { link: RA, base, offset: 0 },
            (_, to, other) => Instruction::Sum { to, one: to, other },
        },
        (2, 6) => {
            let offset = pick(&[(7, 2, 6), (9, 4, 2)]) as i32;
            Instruction::Store { from: full(2), base: SP, offset }
        }
        _ => Instruction::Other { to: 0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Instruction words and their disassembly by GNU objdump 2.40.
    #[test]
    fn instructions_are_as_objdump_reads_them() {
        use Instruction::*;
        for (word, expected) in [
            (0x0000_1101, Add { to: SP, from: SP, value: -32 }), // add sp,sp,-32
            (0x0000_715d, Add { to: SP, from: SP, value: -80 }), // add sp,sp,-80
            (0x0000_6161, Add { to: SP, from: SP, value: 80 }),  // add sp,sp,80
            (0xfc01_0113, Add { to: SP, from: SP, value: -64 }), // add sp,sp,-64
            (0x0000_0864, Add { to: 9, from: SP, value: 28 }),   // add s1,sp,28
            (0x0000_84aa, Add { to: 9, from: 10, value: 0 }),    // mv s1,a0
            (0x0001_0533, Add { to: 10, from: SP, value: 0 }),   // add a0,sp,zero
            (0x0000_c686, Store { from: 1, base: SP, offset: 76 }), // sw ra,76(sp)
            (0x0000_de4e, Store { from: 19, base: SP, offset: 60 }), // sw s3,60(sp)
            (0x0291_2223, Store { from: 9, base: SP, offset: 36 }), // sw s1,36(sp)
            (0x0000_40b6, Load { to: 1, base: SP, offset: 76 }), // lw ra,76(sp)
            (0x0040_2283, Load { to: 5, base: 0, offset: 4 }),   // lw t0,4(zero)
            (0x0000_4108, Load { to: 10, base: 10, offset: 0 }), // lw a0,0(a0)
            (0xffff_e097, PcPlus { to: 1, value: -0x2000 }),     // auipc ra,0xffffe
            (0xbae0_80e7, JumpTo { link: 1, base: 1, offset: -1106 }), // jalr -1106(ra)
            (0xeb63_0067, JumpTo { link: 0, base: 6, offset: -330 }), // jr -330(t1)
            (0x0000_8082, JumpTo { link: 0, base: 1, offset: 0 }), // ret
            (0x0000_9502, JumpTo { link: 1, base: 10, offset: 0 }), // jalr a0
            (0x0e40_00ef, Jump { link: 1, offset: 0xe4 }),       // jal 403804f4 at 40380410
            (0xddff_f06f, Jump { link: 0, offset: -0x222 }),     // j 403801a2 at 403803c4
            (0x0000_b7e9, Jump { link: 0, offset: -0x36 }),      // j 403808e2 at 40380918
            (0x00a5_ea63, Branch { offset: 0x14 }),              // bltu a1,a0 42010166 at 42010152
            (0x0000_c961, Branch { offset: 0xd0 }),              // beqz a0,403809c0 at 403808f0
            (0x0000_dd79, Branch { offset: -0x22 }),             // beqz a0,403808e4 at 40380906
            (0x3410_2a73, ReadMepc { to: 20 }),                  // csrr s4,mepc
            (0x341a_1073, WriteMepc { from: 20 }),               // csrw mepc,s4
            (0x3020_0073, TrapReturn),                           // mret
            (0x3000_29f3, Other { to: 19 }),                     // csrr s3,mstatus
            (0x00b1_1e23, Other { to: 0 }),                      // sh a1,28(sp)
            (0x4201_75b7, Set { to: 11, value: 0x4201_7000 }),   // lui a1,0x42017
            (0x0000_6505, Set { to: 10, value: 0x1000 }),        // lui a0,0x1
            (0x0000_757d, Set { to: 10, value: -0x1000 }),       // lui a0,0xfffff
            (0x0000_4589, Add { to: 11, from: 0, value: 2 }),    // li a1,2
            (0x0000_952e, Sum { to: 10, one: 10, other: 11 }),   // add a0,a0,a1
            (0x0051_0133, Sum { to: SP, one: SP, other: 5 }),    // add sp,sp,t0
            (0x40a1_0133, Difference { to: SP, from: SP, less: 10 }), // sub sp,sp,a0
            (0x0000_8d0d, Other { to: 10 }),                     // sub a0,a0,a1
            (0xfc01_7113, Other { to: SP }),                     // and sp,sp,-64
        ] {
            let len = if word & 3 == 3 { 4 } else { 2 };
            assert_eq!(decode(&u32::to_le_bytes(word)), Some((expected, len)), "{word:#010x}");
        }
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&[0x13, 0x01]), None);
        assert_eq!(decode(&[0x1f, 0, 0, 0, 0, 0]), None);
    }

    #[test]
    fn no_bytes_make_it_panic() {
        for half in 0..=u16::MAX {
            let [a, b] = half.to_le_bytes();
            for high in [0, 0xff, 0x34, 0x81] {
                let _ = decode(&[a, b, high, high]);
            }
        }
    }
}
