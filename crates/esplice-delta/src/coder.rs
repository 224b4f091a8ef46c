//! Adaptive binary coding, written once for both directions.
//!
//! Everything in a patch passes through [`Coder`]: an encoder writes the value that it is given and
//! returns it, a decoder ignores that value and returns the one that it read. So one function
//! describes each part of the format.

/// Writes or reads single bits.
pub(crate) trait Coder {
    type Error;

    /// Codes a bit with an adaptive probability.
    fn bit(&mut self, prob: &mut Prob, bit: bool) -> Result<bool, Self::Error>;

    /// Codes the lowest `bits` bits of `value`, highest first, all equally probable.
    fn direct(&mut self, bits: u32, value: u32) -> Result<u32, Self::Error>;
}

/// An adaptive probability: 12 bits for that of a zero, below them 4 bits that count the updates.
#[derive(Clone, Copy)]
pub(crate) struct Prob(u16);

/// Number of bits of a probability.
pub(crate) const PROB_BITS: u32 = 12;
/// A probability that has seen `n` bits moves by this share, in units of 1/65536.
const RATES: [i32; 16] = [
    26214, 18204, 14247, 11702, 9928, 8623, 7620, 6827, 6183, 5650, 5201, 4819, 4489, 4202, 3542,
    2731,
];

impl Prob {
    pub const NEW: Prob = Prob(0x8000);

    /// Returns the probability of a zero, from 1 to 4095.
    pub fn of_zero(self) -> u32 {
        u32::from(self.0 >> 4)
    }

    pub fn update(&mut self, bit: bool) {
        let (count, now) = (self.0 & 15, i32::from(self.0 >> 4));
        let target = if bit { 0 } else { 1 << PROB_BITS };
        let next = now + (((target - now) * RATES[usize::from(count)]) >> 16);
        self.0 = ((next.clamp(12, (1 << PROB_BITS) - 12) as u16) << 4) | (count + 1).min(15);
    }
}

/// A number below 2^32 - 1: its length in bits by a tree, the highest bit of the rest adaptively, and
/// what follows directly.
#[derive(Clone, Copy)]
pub(crate) struct Number {
    length: [Prob; 32],
    top: [Prob; 32],
}

impl Number {
    pub const NEW: Number = Number { length: [Prob::NEW; 32], top: [Prob::NEW; 32] };

    pub fn code<C: Coder>(&mut self, coder: &mut C, value: u32) -> Result<u32, C::Error> {
        let plus = value.wrapping_add(1).max(1);
        let bits = 31 - plus.leading_zeros();
        let bits = tree(&mut self.length, 5, coder, bits)?;
        if bits == 0 {
            return Ok(0);
        }
        let below = bits - 1;
        let top = coder.bit(&mut self.top[bits as usize], (plus >> below) & 1 == 1)?;
        let rest = coder.direct(below, plus & ((1 << below) - 1))?;
        Ok(((2 | u32::from(top)) << below | rest) - 1)
    }
}

/// A number with a sign, from -2^31 to 2^31 - 1.
#[derive(Clone, Copy)]
pub(crate) struct Signed {
    magnitude: Number,
    sign: Prob,
}

impl Signed {
    pub const NEW: Signed = Signed { magnitude: Number::NEW, sign: Prob::NEW };

    pub fn code<C: Coder>(&mut self, coder: &mut C, value: i32) -> Result<i32, C::Error> {
        let magnitude = self.magnitude.code(coder, value.unsigned_abs())?;
        let is_negative = magnitude != 0 && coder.bit(&mut self.sign, value < 0)?;
        Ok(if is_negative { magnitude.wrapping_neg() } else { magnitude } as i32)
    }
}

/// Codes the lowest `bits` bits of `value`, each depending on those above it. `probs` has room for
/// `1 << bits` probabilities.
pub(crate) fn tree<C: Coder>(
    probs: &mut [Prob],
    bits: u32,
    coder: &mut C,
    value: u32,
) -> Result<u32, C::Error> {
    let mut node = 1;
    for at in (0..bits).rev() {
        let bit = coder.bit(&mut probs[node as usize], (value >> at) & 1 == 1)?;
        node = node << 1 | u32::from(bit);
    }
    Ok(node - (1 << bits))
}

/// The state of the range decoder. Its bytes come from the caller one at a time.
pub(crate) struct RangeDecoder {
    range: u32,
    code: u32,
}

/// The range is kept above this, byte by byte.
pub(crate) const LOWEST_RANGE: u32 = 1 << 24;

impl RangeDecoder {
    pub const NEW: RangeDecoder = RangeDecoder { range: u32::MAX, code: 0 };

    /// Starts with the first four bytes.
    pub fn start<E>(&mut self, mut next: impl FnMut() -> Result<u8, E>) -> Result<(), E> {
        *self = RangeDecoder::NEW;
        for _ in 0..4 {
            self.code = self.code << 8 | u32::from(next()?);
        }
        Ok(())
    }

    pub fn bit<E>(
        &mut self,
        prob: &mut Prob,
        next: impl FnMut() -> Result<u8, E>,
    ) -> Result<bool, E> {
        let bound = (self.range >> PROB_BITS) * prob.of_zero();
        let bit = self.code >= bound;
        if bit {
            self.code -= bound;
            self.range -= bound;
        } else {
            self.range = bound;
        }
        prob.update(bit);
        self.normalize(next)?;
        Ok(bit)
    }

    pub fn direct<E>(
        &mut self,
        bits: u32,
        mut next: impl FnMut() -> Result<u8, E>,
    ) -> Result<u32, E> {
        let mut value = 0;
        for _ in 0..bits {
            self.range >>= 1;
            let bit = self.code >= self.range;
            if bit {
                self.code -= self.range;
            }
            value = value << 1 | u32::from(bit);
            self.normalize(&mut next)?;
        }
        Ok(value)
    }

    fn normalize<E>(&mut self, mut next: impl FnMut() -> Result<u8, E>) -> Result<(), E> {
        while self.range < LOWEST_RANGE {
            self.range <<= 8;
            self.code = self.code << 8 | u32::from(next()?);
        }
        Ok(())
    }
}
