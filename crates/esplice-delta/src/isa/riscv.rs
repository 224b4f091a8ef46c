//! RISC-V (The RISC-V Instruction Set Manual, volume I: chapter "RV32I", section "Immediate Encoding
//! Variants", and chapter "C", tables of instruction formats).

use super::{Form, fits, sign_extend};

/// An instruction, as far as references need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub len: u32,
    pub class: Class,
    /// A bit for each register whose value is unknown afterwards.
    pub kills: u32,
}

/// Reference that an instruction makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Nothing.
    Other,
    /// A jump or branch by this offset.
    Relative(Form, u32),
    /// The upper part of an address (`Auipc` or `Lui`), its value, and the register.
    Upper(Form, u32, u8),
    /// A register with a lower part of an address, and that part.
    Lower(Form, u8, u32),
}

/// After a jump that does not return, what follows is reached from elsewhere.
const ALL: u32 = u32::MAX;

/// Decodes the instruction at the start of `bytes`, or returns `None` if it is cut off.
pub(crate) fn decode(bytes: &[u8]) -> Option<Instruction> {
    let half = u32::from(u16::from_le_bytes([*bytes.first()?, *bytes.get(1)?]));
    if half & 3 == 3 {
        let word = half | u32::from(*bytes.get(2)?) << 16 | u32::from(*bytes.get(3)?) << 24;
        Some(long(word))
    } else {
        Some(compressed(half))
    }
}

fn long(word: u32) -> Instruction {
    let (rd, rs1) = (word >> 7 & 31, (word >> 15 & 31) as u8);
    let one = 1 << rd;
    let (class, kills) = match word & 0x7f {
        0x6f => (Class::Relative(Form::Jal, jal(word)), if rd == 0 { ALL } else { one }),
        0x63 => (Class::Relative(Form::Branch, branch(word)), 0),
        0x17 => (Class::Upper(Form::Auipc, word & 0xffff_f000, rd as u8), one),
        0x37 => (Class::Upper(Form::Lui, word & 0xffff_f000, rd as u8), one),
        0x67 => (Class::Lower(Form::LowLoad, rs1, load(word)), if rd == 0 { ALL } else { one }),
        0x03 => (Class::Lower(Form::LowLoad, rs1, load(word)), one),
        0x13 if word >> 12 & 7 == 0 => (Class::Lower(Form::LowLoad, rs1, load(word)), one),
        0x23 => (Class::Lower(Form::LowStore, rs1, store(word)), 0),
        _ => (Class::Other, one),
    };
    Instruction { len: 4, class, kills }
}

fn compressed(half: u32) -> Instruction {
    let (function, rd, short) =
        (half >> 13, 1_u32 << (half >> 7 & 31), |at: u32| 1_u32 << (8 + (half >> at & 7)));
    let (class, kills) = match (half & 3, function) {
        (1, 1) => (Class::Relative(Form::CompressedJump, c_jump(half)), 1 << 1),
        (1, 5) => (Class::Relative(Form::CompressedJump, c_jump(half)), ALL),
        (1, 6 | 7) => (Class::Relative(Form::CompressedBranch, c_branch(half)), 0),
        (1, 0 | 2 | 3) => (Class::Other, rd),
        (1, _) => (Class::Other, short(7)),
        // c.jr; c.jalr writes the return address.
        (2, 4) if half >> 2 & 31 == 0 => {
            (Class::Other, if half >> 12 & 1 == 0 { ALL } else { 1 << 1 })
        }
        (2, 0 | 2 | 4) => (Class::Other, rd),
        (0, 0 | 2) => (Class::Other, short(2)),
        _ => (Class::Other, 0),
    };
    Instruction { len: 2, class, kills }
}

/// Returns the lower part that the code at the start of `bytes` adds to `register` first.
pub(crate) fn lower_part(mut bytes: &[u8], register: u8) -> Option<u32> {
    loop {
        let next = decode(bytes)?;
        if let Class::Lower(_, of, lower) = next.class
            && of == register
        {
            return Some(lower);
        }
        if next.kills >> register & 1 == 1 {
            return None;
        }
        bytes = &bytes[next.len as usize..];
    }
}

/// Returns the upper part of a value whose lower part has 12 bits and a sign.
pub(crate) fn upper(value: u32) -> u32 {
    value.wrapping_add(0x800) & 0xffff_f000
}

pub(crate) fn encode(form: Form, word: u32, addr: u32, known: u32, target: u32) -> Option<u32> {
    let distance = target.wrapping_sub(addr);
    let (is_even, low) = (distance & 1 == 0, target.wrapping_sub(known));
    let bits = |from: u32, count: u32, to: u32| (distance >> from & ((1 << count) - 1)) << to;
    match form {
        Form::Jal if is_even && fits(distance, 21) => Some(
            word & 0xfff | bits(20, 1, 31) | bits(1, 10, 21) | bits(11, 1, 20) | bits(12, 8, 12),
        ),
        Form::Branch if is_even && fits(distance, 13) => Some(
            word & 0x01ff_f07f | bits(12, 1, 31) | bits(5, 6, 25) | bits(1, 4, 8) | bits(11, 1, 7),
        ),
        Form::CompressedJump if is_even && fits(distance, 12) => Some(
            word & 0xe003
                | bits(11, 1, 12)
                | bits(4, 1, 11)
                | bits(8, 2, 9)
                | bits(10, 1, 8)
                | bits(6, 1, 7)
                | bits(7, 1, 6)
                | bits(1, 3, 3)
                | bits(5, 1, 2),
        ),
        Form::CompressedBranch if is_even && fits(distance, 9) => Some(
            word & 0xe383
                | bits(8, 1, 12)
                | bits(3, 2, 10)
                | bits(6, 2, 5)
                | bits(1, 2, 3)
                | bits(5, 1, 2),
        ),
        Form::Auipc => Some(word & 0xfff | upper(distance)),
        Form::Lui => Some(word & 0xfff | upper(target)),
        Form::LowLoad if fits(low, 12) => Some(word & 0x000f_ffff | low << 20),
        Form::LowStore if fits(low, 12) => {
            Some(word & 0x01ff_f07f | (low >> 5 & 0x7f) << 25 | (low & 31) << 7)
        }
        _ => None,
    }
}

fn jal(word: u32) -> u32 {
    let bits = |from: u32, count: u32, to: u32| (word >> from & ((1 << count) - 1)) << to;
    sign_extend(bits(31, 1, 20) | bits(21, 10, 1) | bits(20, 1, 11) | bits(12, 8, 12), 21)
}

fn branch(word: u32) -> u32 {
    let bits = |from: u32, count: u32, to: u32| (word >> from & ((1 << count) - 1)) << to;
    sign_extend(bits(31, 1, 12) | bits(25, 6, 5) | bits(8, 4, 1) | bits(7, 1, 11), 13)
}

fn c_jump(half: u32) -> u32 {
    let bits = |from: u32, count: u32, to: u32| (half >> from & ((1 << count) - 1)) << to;
    let low = bits(3, 3, 1) | bits(11, 1, 4) | bits(2, 1, 5) | bits(7, 1, 6);
    sign_extend(low | bits(6, 1, 7) | bits(9, 2, 8) | bits(8, 1, 10) | bits(12, 1, 11), 12)
}

fn c_branch(half: u32) -> u32 {
    let bits = |from: u32, count: u32, to: u32| (half >> from & ((1 << count) - 1)) << to;
    let low = bits(3, 2, 1) | bits(10, 2, 3) | bits(2, 1, 5);
    sign_extend(low | bits(5, 2, 6) | bits(12, 1, 8), 9)
}

fn load(word: u32) -> u32 {
    sign_extend(word >> 20, 12)
}

fn store(word: u32) -> u32 {
    sign_extend(word >> 25 << 5 | word >> 7 & 31, 12)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// Words, and the offsets that the disassembler of GNU gdb 13 prints for them.
    #[test]
    fn offsets_are_those_of_the_assembler() {
        let relative = |bytes: &[u8]| match decode(bytes).unwrap().class {
            Class::Relative(form, offset) => (form, offset as i32),
            other => panic!("{other:?}"),
        };
        assert_eq!(relative(&0x8000_00ef_u32.to_le_bytes()), (Form::Jal, -1_048_576));
        assert_eq!(relative(&0x7fff_f0ef_u32.to_le_bytes()), (Form::Jal, 1_048_574));
        assert_eq!(relative(&0x8000_0063_u32.to_le_bytes()), (Form::Branch, -4096));
        assert_eq!(relative(&0x7e00_0fe3_u32.to_le_bytes()), (Form::Branch, 4094));
        assert_eq!(relative(&0xb001_u16.to_le_bytes()), (Form::CompressedJump, -2048));
        assert_eq!(relative(&0xaffd_u16.to_le_bytes()), (Form::CompressedJump, 2046));
        assert_eq!(relative(&0xd101_u16.to_le_bytes()), (Form::CompressedBranch, -256));
        assert_eq!(relative(&0xcd7d_u16.to_le_bytes()), (Form::CompressedBranch, 254));
    }

    #[test]
    fn every_reference_is_encoded_as_it_was_decoded() {
        let addr = 0x4200_1000;
        let check = |bytes: &[u8]| {
            let Some(found) = decode(bytes) else { return };
            let mut whole = [0; 4];
            whole[..found.len as usize].copy_from_slice(&bytes[..found.len as usize]);
            let word = u32::from_le_bytes(whole);
            let again = match found.class {
                Class::Relative(form, by) => encode(form, word, addr, 0, addr.wrapping_add(by)),
                Class::Lower(form, _, by) => encode(form, word, addr, 77, 77_u32.wrapping_add(by)),
                _ => return,
            };
            assert_eq!(again, Some(word), "{word:08x}");
        };
        for half in 0..=u16::MAX {
            check(&half.to_le_bytes());
            // All immediates of the long forms are in the upper bits.
            for low in [0x00ef_u16, 0x0063, 0x0fe3, 0x0083, 0x0f93, 0x0fa3, 0x8067] {
                let [a, b] = low.to_le_bytes();
                let [c, d] = half.to_le_bytes();
                check(&[a, b, c, d]);
            }
        }
    }

    #[test]
    fn the_lower_part_is_the_first_that_uses_the_register() {
        let code = |words: &[u32]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>();
        // add a1, a1, a1; addi a0, a0, -1; addi a0, a0, 4
        let lower = code(&[0x00b5_85b3, 0xfff5_0513, 0x0045_0513]);
        assert_eq!(lower_part(&lower, 10), Some(u32::MAX));
        assert_eq!(lower_part(&lower, 11), None);
        // ret
        assert_eq!(lower_part(&code(&[0x8082_8082, 0x0045_0513]), 10), None);
    }
}
