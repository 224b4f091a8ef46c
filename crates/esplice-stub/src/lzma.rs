//! Decoder of raw LZMA streams, without header, as liblzma's raw LZMA1 encoder writes them.
//!
//! The format is described in the LZMA specification (Igor Pavlov, 2015, LZMA SDK). A stream may use
//! lc + lp up to 3 and pb up to 2, and distances up to the window's size.

use crate::stream::{BadStream, Source, Window};

/// Bytes of the stream that one step may need: 20 for the longest symbol (liblzma,
/// LZMA_IN_REQUIRED), and 5 at the start.
pub const STEP_IN: usize = 25;

/// Bytes that one step produces at most.
pub const STEP_OUT: u32 = 273;

/// Maximum of lc + lp.
pub const MAX_LC_LP: u32 = 3;
/// Maximum of pb.
pub const MAX_PB: u32 = 2;

const STATES: usize = 12;
const POS_STATES: usize = 1 << MAX_PB;

// Places of the probabilities in their array.
const IS_MATCH: usize = 0;
const IS_REP: usize = IS_MATCH + STATES * POS_STATES;
const IS_REP_G0: usize = IS_REP + STATES;
const IS_REP_G1: usize = IS_REP_G0 + STATES;
const IS_REP_G2: usize = IS_REP_G1 + STATES;
const IS_REP0_LONG: usize = IS_REP_G2 + STATES;
const POS_SLOT: usize = IS_REP0_LONG + STATES * POS_STATES;
const POS_SPECIAL: usize = POS_SLOT + 4 * 64;
const ALIGN: usize = POS_SPECIAL + 128;
const MATCH_LEN: usize = ALIGN + 16;
const REP_LEN: usize = MATCH_LEN + LEN_PROBS;
const LITERAL: usize = REP_LEN + LEN_PROBS;
const PROBS: usize = LITERAL + (0x300 << MAX_LC_LP);

// Places within the probabilities of a length.
const LEN_CHOICE: usize = 0;
const LEN_CHOICE_2: usize = 1;
const LEN_LOW: usize = 2;
const LEN_MID: usize = LEN_LOW + POS_STATES * 8;
const LEN_HIGH: usize = LEN_MID + POS_STATES * 8;
const LEN_PROBS: usize = LEN_HIGH + 256;

/// A decoder in progress.
#[repr(C)]
pub struct Lzma {
    range: u32,
    code: u32,
    state: usize,
    reps: [u32; 4],
    lc: u32,
    lp_mask: u32,
    pb_mask: u32,
    started: bool,
    probs: [u16; PROBS],
}

impl Default for Lzma {
    fn default() -> Self {
        Self::new()
    }
}

impl Lzma {
    /// Creates a decoder that must be started with [`Lzma::start`].
    pub const fn new() -> Lzma {
        Lzma {
            probs: [0; PROBS],
            range: 0,
            code: 0,
            state: 0,
            reps: [0; 4],
            lc: 0,
            lp_mask: 0,
            pb_mask: 0,
            started: false,
        }
    }

    /// Starts a stream with the properties byte of the format, (pb × 5 + lp) × 9 + lc.
    ///
    /// # Errors
    /// [`BadStream`] for properties that need more memory.
    pub fn start(&mut self, properties: u8) -> Result<(), BadStream> {
        let properties = u32::from(properties);
        let (lc, lp, pb) = (properties % 9, properties / 9 % 5, properties / 45);
        if lc + lp > MAX_LC_LP || pb > MAX_PB {
            return Err(BadStream);
        }
        self.probs.fill(1 << 10);
        self.lc = lc;
        self.lp_mask = (1 << lp) - 1;
        self.pb_mask = (1 << pb) - 1;
        self.state = 0;
        self.reps = [0; 4];
        self.started = false;
        Ok(())
    }

    /// Decodes one literal or match: up to [`STEP_OUT`] bytes. Returns false if the source does
    /// not have enough bytes yet.
    ///
    /// # Errors
    /// [`BadStream`].
    #[inline(never)]
    pub fn step<const N: usize>(
        &mut self,
        source: &mut impl Source,
        out: &mut Window<N>,
    ) -> Result<bool, BadStream> {
        if source.available() < STEP_IN && !source.is_complete() {
            return Ok(false);
        }
        if !self.started {
            if source.next() != 0 {
                return Err(BadStream);
            }
            for _ in 0..4 {
                self.code = self.code << 8 | u32::from(source.next());
            }
            self.range = !0;
            self.started = true;
        }
        let pos_state = (out.position & self.pb_mask) as usize;
        let state = self.state;
        if self.bit(source, IS_MATCH + state * POS_STATES + pos_state) == 0 {
            self.literal(source, out);
            return Ok(true);
        }
        let len;
        if self.bit(source, IS_REP + state) == 0 {
            self.reps = [self.reps[0], self.reps[0], self.reps[1], self.reps[2]];
            len = self.len(source, MATCH_LEN, pos_state);
            self.state = if state < 7 { 7 } else { 10 };
            self.reps[0] = self.distance(source, len);
        } else if self.bit(source, IS_REP_G0 + state) == 0 {
            if self.bit(source, IS_REP0_LONG + state * POS_STATES + pos_state) == 0 {
                self.state = if state < 7 { 9 } else { 11 };
                return out.copy(self.reps[0].wrapping_add(1), 1).map(|()| true);
            }
            len = self.len(source, REP_LEN, pos_state);
            self.state = if state < 7 { 8 } else { 11 };
        } else {
            let index = match self.bit(source, IS_REP_G1 + state) {
                0 => 1,
                _ => 2 + self.bit(source, IS_REP_G2 + state) as usize,
            };
            let [a, b, c, d] = self.reps;
            self.reps = match index {
                1 => [b, a, c, d],
                2 => [c, a, b, d],
                _ => [d, a, b, c],
            };
            len = self.len(source, REP_LEN, pos_state);
            self.state = if state < 7 { 8 } else { 11 };
        }
        out.copy(self.reps[0].wrapping_add(1), len).map(|()| true)
    }

    #[inline(never)]
    fn literal<const N: usize>(&mut self, source: &mut impl Source, out: &mut Window<N>) {
        let before = u32::from(out.at(out.position.wrapping_sub(1)));
        let before = if out.position == 0 { 0 } else { before };
        let context = ((out.position & self.lp_mask) << self.lc) + (before >> (8 - self.lc));
        let base = LITERAL + 0x300 * context as usize;
        let mut symbol = 1;
        if self.state >= 7 {
            let distance = self.reps[0].wrapping_add(1);
            let mut matched = u32::from(out.at(out.position.wrapping_sub(distance)));
            while symbol < 0x100 {
                let expected = matched >> 7 & 1;
                matched <<= 1;
                let bit = self.bit(source, base + ((1 + expected as usize) << 8) + symbol);
                symbol = symbol << 1 | bit as usize;
                if bit != expected {
                    break;
                }
            }
        }
        symbol = self.tree_from(source, base, symbol, 0x100);
        out.push(symbol as u8);
        self.state = match self.state {
            0..4 => 0,
            state @ 4..10 => state - 3,
            state => state - 6,
        };
    }

    fn len(&mut self, source: &mut impl Source, base: usize, pos_state: usize) -> u32 {
        if self.bit(source, base + LEN_CHOICE) == 0 {
            return 2 + self.tree(source, base + LEN_LOW + pos_state * 8, 3);
        }
        if self.bit(source, base + LEN_CHOICE_2) == 0 {
            return 10 + self.tree(source, base + LEN_MID + pos_state * 8, 3);
        }
        18 + self.tree(source, base + LEN_HIGH, 8)
    }

    /// Decodes a distance, counted from 0.
    #[inline(never)]
    fn distance(&mut self, source: &mut impl Source, len: u32) -> u32 {
        let len_state = len.saturating_sub(2).min(3) as usize;
        let slot = self.tree(source, POS_SLOT + len_state * 64, 6);
        if slot < 4 {
            return slot;
        }
        let bits = (slot >> 1) - 1;
        let mut distance = (2 | slot & 1) << bits;
        if slot < 14 {
            let base = POS_SPECIAL + (distance - slot) as usize;
            distance += self.tree_reversed(source, base, bits);
        } else {
            let direct = self.direct(source, bits - 4) << 4;
            distance = distance.wrapping_add(direct);
            distance = distance.wrapping_add(self.tree_reversed(source, ALIGN, 4));
        }
        distance
    }

    fn tree(&mut self, source: &mut impl Source, base: usize, bits: u32) -> u32 {
        let end = 1 << bits;
        (self.tree_from(source, base, 1, end) - end) as u32
    }

    /// Decodes bits, highest first, until `symbol` has reached `end`.
    fn tree_from(
        &mut self,
        source: &mut impl Source,
        base: usize,
        mut symbol: usize,
        end: usize,
    ) -> usize {
        while symbol < end {
            symbol = symbol << 1 | self.bit_inline(source, base + symbol) as usize;
        }
        symbol
    }

    fn tree_reversed(&mut self, source: &mut impl Source, base: usize, bits: u32) -> u32 {
        let (mut symbol, mut value) = (1, 0);
        for place in 0..bits {
            let bit = self.bit(source, base + symbol);
            symbol = symbol << 1 | bit as usize;
            value |= bit << place;
        }
        value
    }

    fn direct(&mut self, source: &mut impl Source, bits: u32) -> u32 {
        let mut value = 0;
        for _ in 0..bits {
            self.normalise(source);
            self.range >>= 1;
            let bit = u32::from(self.code >= self.range);
            if bit != 0 {
                self.code = self.code.wrapping_sub(self.range);
            }
            value = value << 1 | bit;
        }
        value
    }

    #[inline(always)]
    fn normalise(&mut self, source: &mut impl Source) {
        if self.range < 1 << 24 {
            self.range <<= 8;
            self.code = self.code << 8 | u32::from(source.next());
        }
    }

    #[inline(never)]
    fn bit(&mut self, source: &mut impl Source, index: usize) -> u32 {
        self.bit_inline(source, index)
    }

    /// Decodes a bit with the probability at `index`.
    #[inline(always)]
    fn bit_inline(&mut self, source: &mut impl Source, index: usize) -> u32 {
        self.normalise(source);
        // Every index that the code above makes is within the array.
        let Some(prob) = self.probs.get_mut(index) else { return 0 };
        let bound = (self.range >> 11) * u32::from(*prob);
        if self.code < bound {
            self.range = bound;
            *prob += (2048 - *prob) >> 5;
            0
        } else {
            self.range -= bound;
            self.code -= bound;
            *prob -= *prob >> 5;
            1
        }
    }
}
