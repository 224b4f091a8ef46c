//! Literals and matches for the bytes between operations.

use std::{vec, vec::Vec};

use crate::format::{HISTORY, Kind, MIN_FAR, MIN_NEAR};

use super::suffix::common;

/// A piece of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// The byte itself.
    Literal,
    /// A match in the output.
    Near { distance: u32, len: u32 },
    /// A match in the base, at the offset in the image plus `displacement`.
    Far { displacement: u32, len: u32 },
}

impl Token {
    pub fn kind(self) -> Kind {
        match self {
            Token::Literal => Kind::Literal,
            Token::Near { .. } => Kind::Near,
            Token::Far { .. } => Kind::Far,
        }
    }

    pub fn len(self) -> u32 {
        match self {
            Token::Literal => 1,
            Token::Near { len, .. } | Token::Far { len, .. } => len,
        }
    }
}

/// Estimated cost of a literal, in sixteenths of a bit.
const LITERAL: i32 = 6 * 16 + 8;
/// Candidates that are compared at each place.
const TRIED: usize = 48;
/// A longer match is not improved.
const LONG: u32 = 512;
/// Longest match.
const LONGEST: u32 = 4096;

/// Finds matches in the base and in the output.
pub(super) struct Finder<'a> {
    base: &'a [u8],
    image: &'a [u8],
    in_base: Chains<MIN_FAR_LEN>,
    in_image: Chains<MIN_NEAR_LEN>,
    /// The bytes of the image that `in_image` knows.
    known: usize,
    /// Token found ahead of its turn.
    ahead: Option<(u32, (Token, i32))>,
}

const MIN_FAR_LEN: usize = MIN_FAR as usize;
const MIN_NEAR_LEN: usize = MIN_NEAR as usize + 1;

impl<'a> Finder<'a> {
    pub fn new(base: &'a [u8], image: &'a [u8]) -> Finder<'a> {
        let mut in_base = Chains::new(base.len());
        for at in 0..base.len() {
            in_base.insert(base, at);
        }
        let in_image = Chains::new(image.len());
        Finder { base, image, in_base, in_image, known: 0, ahead: None }
    }

    /// Starts again at the beginning of the image.
    pub fn restart(&mut self) {
        self.in_image = Chains::new(self.image.len());
        (self.known, self.ahead) = (0, None);
    }

    /// Returns the token for the bytes at `at`, which end before `to`.
    pub fn next(&mut self, at: u32, to: u32, last_near: u32, displacement: u32) -> Token {
        let now = match self.ahead.take() {
            Some((place, token)) if place == at => token,
            _ => self.best(at, to, last_near, displacement),
        };
        if now.0 == Token::Literal || now.0.len() >= LONG || at + 1 >= to {
            return now.0;
        }
        // A literal may be followed by something better.
        let later = self.best(at + 1, to, last_near, displacement);
        if later.1 > now.1 {
            self.ahead = Some((at + 1, later));
            return Token::Literal;
        }
        now.0
    }

    /// Returns the best token and what it saves compared with literals.
    fn best(&mut self, at: u32, to: u32, last_near: u32, displacement: u32) -> (Token, i32) {
        while self.known < at as usize {
            self.in_image.insert(self.image, self.known);
            self.known += 1;
        }
        let rest = &self.image[at as usize..to.min(at + LONGEST) as usize];
        let mut best = (Token::Literal, 0);
        let mut offer = |token: Token, cost: i32| {
            let saved = token.len() as i32 * LITERAL - cost;
            if saved > best.1 {
                best = (token, saved);
            }
        };
        let mut near = |distance: u32, len: usize| {
            let len = len as u32;
            if len < MIN_NEAR || distance as usize > HISTORY || distance > at {
                return;
            }
            let place = if distance == last_near { 16 } else { 32 + log(distance) };
            offer(Token::Near { distance, len }, 24 + place + 32 + log(len));
        };
        let again = |distance: u32| {
            let from = (at as usize).checked_sub(distance as usize)?;
            Some(common(&self.image[from..], rest))
        };
        if let Some(len) = again(last_near) {
            near(last_near, len);
        }
        for from in self.in_image.candidates(self.image, at as usize).take(TRIED) {
            let distance = at as usize - from;
            if distance > HISTORY {
                break;
            }
            let len = common(&self.image[from..], rest);
            near(distance as u32, len);
            if len as u32 >= LONG {
                break;
            }
        }
        let mut far = |from: usize, len: usize| {
            let len = len as u32;
            if len < MIN_FAR {
                return;
            }
            let this = (from as u32).wrapping_sub(at);
            let change = this.wrapping_sub(displacement) as i32;
            let place = if change == 0 { 16 } else { 64 + log(change.unsigned_abs()) };
            offer(Token::Far { displacement: this, len }, 24 + place + 32 + log(len));
        };
        let continued = at.wrapping_add(displacement) as usize;
        if let Some(from) = self.base.get(continued..) {
            far(continued, common(from, rest));
        }
        for from in self.in_base.candidates(self.image, at as usize).take(TRIED) {
            let len = common(&self.base[from..], rest);
            far(from, len);
            if len as u32 >= LONG {
                break;
            }
        }
        best
    }
}

/// Returns the number of bits of a number, in sixteenths.
fn log(value: u32) -> i32 {
    (32 - value.leading_zeros()) as i32 * 16
}

/// Places with the same hash of `N` bytes, the last first.
struct Chains<const N: usize> {
    heads: Vec<u32>,
    before: Vec<u32>,
}

const HASH_BITS: u32 = 16;
const NONE: u32 = u32::MAX;

impl<const N: usize> Chains<N> {
    fn new(len: usize) -> Chains<N> {
        Chains { heads: vec![NONE; 1 << HASH_BITS], before: vec![NONE; len] }
    }

    fn hash(bytes: &[u8], at: usize) -> Option<usize> {
        let key = bytes.get(at..at + N)?;
        let key = key.iter().fold(0_u32, |key, byte| key << 8 | u32::from(*byte));
        Some((key.wrapping_mul(0x9e37_79b1) >> (32 - HASH_BITS)) as usize)
    }

    fn insert(&mut self, bytes: &[u8], at: usize) {
        if let Some(hash) = Self::hash(bytes, at) {
            self.before[at] = std::mem::replace(&mut self.heads[hash], at as u32);
        }
    }

    fn candidates(&self, bytes: &[u8], at: usize) -> impl Iterator<Item = usize> {
        let first = Self::hash(bytes, at).map_or(NONE, |hash| self.heads[hash]);
        let next = |from: &u32| self.before.get(*from as usize).copied();
        std::iter::successors(Some(first), next)
            .take_while(|from| *from != NONE)
            .map(|from| from as usize)
    }
}
