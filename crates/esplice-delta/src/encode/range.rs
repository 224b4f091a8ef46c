//! The range encoder.

use std::{convert::Infallible, vec::Vec};

use crate::coder::{Coder, LOWEST_RANGE, PROB_BITS, Prob};

/// Most zeros that may be missing at the end: the decoder reads this far ahead.
const AHEAD: usize = 4;

/// The counterpart of the decoder in [`coder`](crate::coder).
pub(super) struct RangeEncoder {
    low: u64,
    range: u32,
    /// The last byte, which a carry may still change, and the 0xff that follow it.
    held: u8,
    full: usize,
    bytes: Vec<u8>,
}

impl RangeEncoder {
    pub fn new() -> RangeEncoder {
        RangeEncoder { low: 0, range: u32::MAX, held: 0, full: 0, bytes: Vec::new() }
    }

    /// Ends the stream with as few bytes as possible.
    pub fn finish(mut self) -> Vec<u8> {
        let end = self.low + u64::from(self.range);
        for bits in (0..=32).rev() {
            let mask = (1_u64 << bits) - 1;
            let rounded = (self.low + mask) & !mask;
            if rounded < end {
                self.low = rounded;
                break;
            }
        }
        for _ in 0..=AHEAD {
            self.shift();
        }
        // The first byte is held back before anything was coded, and always 0.
        self.bytes.remove(0);
        for _ in 0..AHEAD {
            if self.bytes.last() == Some(&0) {
                self.bytes.pop();
            }
        }
        self.bytes
    }

    fn shift(&mut self) {
        let carry = (self.low >> 32) as u8;
        let top = (self.low >> 24) as u8;
        if carry != 0 || top != u8::MAX {
            self.bytes.push(self.held.wrapping_add(carry));
            let full = u8::MAX.wrapping_add(carry);
            self.bytes.extend(std::iter::repeat_n(full, self.full));
            (self.held, self.full) = (top, 0);
        } else {
            self.full += 1;
        }
        self.low = (self.low & 0x00ff_ffff) << 8;
    }

    fn normalize(&mut self) {
        while self.range < LOWEST_RANGE {
            self.range <<= 8;
            self.shift();
        }
    }
}

impl Coder for RangeEncoder {
    type Error = Infallible;

    fn bit(&mut self, prob: &mut Prob, bit: bool) -> Result<bool, Infallible> {
        let bound = (self.range >> PROB_BITS) * prob.of_zero();
        if bit {
            self.low += u64::from(bound);
            self.range -= bound;
        } else {
            self.range = bound;
        }
        prob.update(bit);
        self.normalize();
        Ok(bit)
    }

    fn direct(&mut self, bits: u32, value: u32) -> Result<u32, Infallible> {
        for at in (0..bits).rev() {
            self.range >>= 1;
            if value >> at & 1 == 1 {
                self.low += u64::from(self.range);
            }
            self.normalize();
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coder::{Number, RangeDecoder, Signed};
    use proptest::prelude::*;

    struct Reader<'a> {
        decoder: RangeDecoder,
        bytes: &'a [u8],
    }

    impl Coder for Reader<'_> {
        type Error = Infallible;

        fn bit(&mut self, prob: &mut Prob, _: bool) -> Result<bool, Infallible> {
            self.decoder.bit(prob, || Ok(next(&mut self.bytes)))
        }

        fn direct(&mut self, bits: u32, _: u32) -> Result<u32, Infallible> {
            self.decoder.direct(bits, || Ok(next(&mut self.bytes)))
        }
    }

    fn next(bytes: &mut &[u8]) -> u8 {
        bytes.split_off_first().copied().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn numbers_are_read_as_they_were_written(
            numbers in proptest::collection::vec(0..u32::MAX, 0..200),
            small in proptest::collection::vec(-9..9_i32, 0..600),
            whole in proptest::num::i32::ANY,
        ) {
            let mut encoder = RangeEncoder::new();
            let (mut number, mut signed) = (Number::NEW, Signed::NEW);
            numbers.iter().for_each(|n| { number.code(&mut encoder, *n).unwrap(); });
            small.iter().for_each(|n| { signed.code(&mut encoder, *n).unwrap(); });
            signed.code(&mut encoder, whole).unwrap();
            let bytes = encoder.finish();
            let mut reader = Reader { decoder: RangeDecoder::NEW, bytes: &bytes };
            reader.decoder.start(|| Ok::<_, Infallible>(next(&mut reader.bytes))).unwrap();
            let (mut number, mut signed) = (Number::NEW, Signed::NEW);
            for expected in numbers {
                prop_assert_eq!(number.code(&mut reader, 0).unwrap(), expected);
            }
            for expected in small {
                prop_assert_eq!(signed.code(&mut reader, 0).unwrap(), expected);
            }
            prop_assert_eq!(signed.code(&mut reader, 0).unwrap(), whole);
        }
    }
}
