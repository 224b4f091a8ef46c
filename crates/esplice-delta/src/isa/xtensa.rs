//! Xtensa (Xtensa Instruction Set Architecture Reference Manual, chapter 7, "Instruction Formats and
//! Opcodes").

use super::{Form, fits, sign_extend};

/// An instruction, as far as references need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub len: u32,
    /// The form of the reference and its target.
    pub reference: Option<(Form, u32)>,
}

/// Decodes the instruction at the start of `bytes`, whose address is `addr`, or returns `None` if it
/// is cut off.
pub(crate) fn decode(bytes: &[u8], addr: u32) -> Option<Instruction> {
    let [first, second] = [*bytes.first()?, *bytes.get(1)?];
    let op0 = first & 15;
    if op0 >= 8 {
        return Some(Instruction { len: 2, reference: None });
    }
    let word = u32::from_le_bytes([first, second, *bytes.get(2)?, 0]);
    let after = addr.wrapping_add(4);
    // The types of SI instructions: 0 is `j`, 1 are comparisons with zero, 2 with constants.
    let reference = match (op0, word >> 4 & 3) {
        (1, _) => {
            let back = (word >> 8) << 2 | 0xfffc_0000;
            Some((Form::Literal, (addr.wrapping_add(3) & !3).wrapping_add(back)))
        }
        (5, _) => {
            let by = sign_extend(word >> 6, 18) << 2;
            Some((Form::Call, (after & !3).wrapping_add(by)))
        }
        (6, 0) => Some((Form::Jump, after.wrapping_add(sign_extend(word >> 6, 18)))),
        (6, 1) => Some((Form::Branch12, after.wrapping_add(sign_extend(word >> 12, 12)))),
        (6, 2) | (7, _) => Some((Form::Branch8, after.wrapping_add(sign_extend(word >> 16, 8)))),
        _ => None,
    };
    Some(Instruction { len: 3, reference })
}

/// Returns whether a word starts with `entry a1`, as functions of the windowed ABI do.
pub(crate) fn is_entry(word: u32) -> bool {
    word & 0x0fff == 0x0136
}

pub(crate) fn encode(form: Form, word: u32, addr: u32, target: u32) -> Option<u32> {
    let after = addr.wrapping_add(4);
    let distance = target.wrapping_sub(after);
    match form {
        Form::Call => {
            let distance = target.wrapping_sub(after & !3);
            let is_reachable = distance & 3 == 0 && fits(distance, 20);
            is_reachable.then_some(word & 0x3f | (distance >> 2 & 0x3_ffff) << 6)
        }
        Form::Jump if fits(distance, 18) => Some(word & 0x3f | (distance & 0x3_ffff) << 6),
        Form::Branch12 if fits(distance, 12) => Some(word & 0xfff | (distance & 0xfff) << 12),
        Form::Branch8 if fits(distance, 8) => Some(word & 0xffff | (distance & 0xff) << 16),
        Form::Literal => {
            let back = target.wrapping_sub(addr.wrapping_add(3) & !3);
            let is_reachable = back & 3 == 0 && back >= 0xfffc_0000;
            is_reachable.then_some(word & 0xff | (back >> 2 & 0xffff) << 8)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes, and the targets that GNU objdump for the LX106 prints for them.
    #[test]
    fn targets_are_those_of_the_assembler() {
        let target = |bytes: &[u8], addr| decode(bytes, addr).unwrap().reference;
        // call0 and, which the LX106 lacks, call8 with an offset of one word, from an address that is
        // not aligned.
        assert_eq!(target(&[0x45, 0, 0], 0x400d_0001), Some((Form::Call, 0x400d_0008)));
        assert_eq!(target(&[0x65, 0, 0], 0x400d_0001), Some((Form::Call, 0x400d_0008)));
        // j to itself: the offset is -4.
        assert_eq!(target(&[0x06, 0xff, 0xff], 0x400d_0000), Some((Form::Jump, 0x400d_0000)));
        // l32r of the word just before.
        assert_eq!(target(&[0x81, 0xff, 0xff], 0x400d_0010), Some((Form::Literal, 0x400d_000c)));
        assert_eq!(decode(&[0x1d, 0xf0], 0).unwrap().len, 2);
    }

    #[test]
    fn every_reference_is_encoded_as_it_was_decoded() {
        for addr in 0x400d_0000_u32..0x400d_0004 {
            for number in 0..1_u32 << 24 {
                // Every eighth of the fields that are no immediate is enough.
                if number & 7 != 1 && number & 7 < 5 {
                    continue;
                }
                let [a, b, c, _] = number.to_le_bytes();
                let found = decode(&[a, b, c], addr).unwrap();
                let Some((form, target)) = found.reference else { continue };
                assert_eq!(
                    encode(form, number, addr, target),
                    Some(number),
                    "{number:06x} {addr:x}"
                );
            }
        }
    }
}
