//! The parts of a patch, coded by one function for both directions.
//!
//! A patch starts with [`Prefix`], without compression. Everything after it is one range-coded
//! stream: instruction set and segments, the operations, corrections of addresses, and then the
//! body. Between operations, the body has literals and matches; in an operation, it has the places
//! where the prediction was wrong.

use crate::{
    coder::{Coder, Number, Prob, Signed, tree},
    image::Segments,
};

/// First bytes of a patch; the last is the version of the format.
pub(crate) const MAGIC: [u8; 4] = *b"EsD\x01";
/// Length of the appended SHA-256 that ends an app image.
pub(crate) const TAIL: u32 = 32;
/// Most operations and corrections of a patch.
pub const MAX_OPERATIONS: usize = 4096;
/// Bytes of output that matches can refer to.
pub(crate) const HISTORY: usize = 4096;
/// Shortest matches.
pub(crate) const MIN_NEAR: u32 = 2;
pub(crate) const MIN_FAR: u32 = 4;

/// Start of a patch, before the coded stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    pub base_len: u32,
    pub base_crc: u32,
    pub image_len: u32,
    pub image_crc: u32,
}

impl Prefix {
    pub const LEN: usize = 4 + 16;

    #[cfg(feature = "std")]
    pub fn to_bytes(self) -> [u8; Prefix::LEN] {
        let mut bytes = [0; Prefix::LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        let words = [self.base_len, self.base_crc, self.image_len, self.image_crc];
        for (place, word) in bytes[4..].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Returns `None` if this is not the start of a patch.
    pub fn parse(bytes: [u8; Prefix::LEN]) -> Option<Prefix> {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let found = Prefix {
            base_len: word(4),
            base_crc: word(8),
            image_len: word(12),
            image_crc: word(16),
        };
        (bytes[..4] == MAGIC).then_some(found)
    }
}

/// The probabilities of the body. The head uses the same memory before it.
pub(crate) struct Models {
    /// Distances between corrections, by what came before.
    gaps: [Number; 3],
    is_reference: Prob,
    is_same: Prob,
    add: Signed,
    difference: [Prob; 256],
    after: Number,
    is_match: [Prob; 3],
    is_far: [Prob; 3],
    is_near_again: Prob,
    is_far_again: Prob,
    near: Number,
    near_len: Number,
    far: Signed,
    far_len: Number,
    literals: [[Prob; 256]; 8],
}

impl Models {
    pub const NEW: Models = Models {
        gaps: [Number::NEW; 3],
        is_reference: Prob::NEW,
        is_same: Prob::NEW,
        add: Signed::NEW,
        difference: [Prob::NEW; 256],
        after: Number::NEW,
        is_match: [Prob::NEW; 3],
        is_far: [Prob::NEW; 3],
        is_near_again: Prob::NEW,
        is_far_again: Prob::NEW,
        near: Number::NEW,
        near_len: Number::NEW,
        far: Signed::NEW,
        far_len: Number::NEW,
        literals: [[Prob::NEW; 256]; 8],
    };

    /// Sets all probabilities to the initial one, in place.
    pub fn reset(&mut self) {
        self.reset_small();
        for literals in &mut self.literals {
            literals.fill(Prob::NEW);
        }
    }

    /// Resets what [`Head`] uses.
    pub fn reset_small(&mut self) {
        self.gaps.fill(Number::NEW);
        (self.is_reference, self.is_same) = (Prob::NEW, Prob::NEW);
        self.add = Signed::NEW;
        self.difference.fill(Prob::NEW);
        self.after = Number::NEW;
        self.is_match.fill(Prob::NEW);
        self.is_far.fill(Prob::NEW);
        (self.is_near_again, self.is_far_again) = (Prob::NEW, Prob::NEW);
        (self.near, self.near_len) = (Number::NEW, Number::NEW);
        (self.far, self.far_len) = (Signed::NEW, Number::NEW);
    }

    /// Codes how many segments the new image has.
    pub fn segment_count<C: Coder>(&mut self, c: &mut C, count: u32) -> Result<u32, C::Error> {
        self.near_len.code(c, count)
    }

    /// Codes address and length of a segment, given the segment of the base with that number.
    pub fn segment<C: Coder>(
        &mut self,
        c: &mut C,
        old: &Segments,
        index: usize,
        (addr, len): (u32, u32),
    ) -> Result<(u32, u32), C::Error> {
        let before = old.all().get(index).copied().unwrap_or_default();
        let is_same = c.bit(&mut self.is_same, addr == before.addr)?;
        let addr = if is_same { before.addr } else { c.direct(32, addr)? };
        let longer = len.wrapping_sub(before.len) as i32;
        let longer = self.far.code(c, longer)?;
        Ok((addr, before.len.wrapping_add(longer as u32)))
    }

    /// Codes a number of operations or corrections.
    pub fn count<C: Coder>(&mut self, c: &mut C, count: u32) -> Result<u32, C::Error> {
        self.far_len.code(c, count)
    }

    /// Codes an operation: how far its place in the new image is from the one before it, and how far
    /// the base's place is from where the one before it would be by then.
    pub fn operation<C: Coder>(
        &mut self,
        c: &mut C,
        (ahead, shift): (u32, i32),
    ) -> Result<(u32, i32), C::Error> {
        Ok((self.near.code(c, ahead)?, self.add.code(c, shift)?))
    }

    /// Codes a correction of addresses: the distance of its first address, and the change of what is
    /// added.
    pub fn address<C: Coder>(
        &mut self,
        c: &mut C,
        (ahead, change): (u32, i32),
    ) -> Result<(u32, i32), C::Error> {
        Ok((self.after.code(c, ahead)?, self.far.code(c, change)?))
    }

    /// Codes how many bytes lie between the end of an operation and the next operation.
    pub fn after<C: Coder>(&mut self, c: &mut C, len: u32) -> Result<u32, C::Error> {
        self.after.code(c, len)
    }

    /// Codes the distance to the next event of an operation, or `None` if there is none.
    pub fn gap<C: Coder>(
        &mut self,
        c: &mut C,
        before: Before,
        gap: Option<u32>,
    ) -> Result<Option<u32>, C::Error> {
        let value = gap.map_or(0, |gap| gap + 1);
        let value = self.gaps[before as usize].code(c, value)?;
        Ok(value.checked_sub(1))
    }

    /// Codes whether an event at the start of a reference changes its target.
    pub fn is_reference<C: Coder>(&mut self, c: &mut C, yes: bool) -> Result<bool, C::Error> {
        c.bit(&mut self.is_reference, yes)
    }

    /// Codes what is added to a target, given the last such number.
    pub fn add<C: Coder>(&mut self, c: &mut C, last: u32, add: u32) -> Result<u32, C::Error> {
        if c.bit(&mut self.is_same, add == last)? {
            return Ok(last);
        }
        Ok(self.add.code(c, add as i32)? as u32)
    }

    /// Codes the difference of a byte and its prediction.
    pub fn difference<C: Coder>(&mut self, c: &mut C, difference: u8) -> Result<u8, C::Error> {
        Ok(tree(&mut self.difference, 8, c, u32::from(difference))? as u8)
    }

    /// Codes the kind of a token.
    pub fn kind<C: Coder>(
        &mut self,
        c: &mut C,
        last: Kind,
        kind: Kind,
        has_base: bool,
    ) -> Result<Kind, C::Error> {
        if !c.bit(&mut self.is_match[last as usize], kind != Kind::Literal)? {
            return Ok(Kind::Literal);
        }
        let is_far = has_base && c.bit(&mut self.is_far[last as usize], kind == Kind::Far)?;
        Ok(if is_far { Kind::Far } else { Kind::Near })
    }

    /// Codes a byte, given the one before it and its offset.
    pub fn literal<C: Coder>(
        &mut self,
        c: &mut C,
        last: u8,
        at: u32,
        byte: u8,
    ) -> Result<u8, C::Error> {
        let context = usize::from(last >> 6) << 1 | (at & 1) as usize;
        Ok(tree(&mut self.literals[context], 8, c, u32::from(byte))? as u8)
    }

    /// Codes a match in the output: distance and length.
    pub fn near<C: Coder>(
        &mut self,
        c: &mut C,
        last: u32,
        (distance, len): (u32, u32),
    ) -> Result<(u32, u32), C::Error> {
        let distance = if c.bit(&mut self.is_near_again, distance == last)? {
            last
        } else {
            self.near.code(c, distance.wrapping_sub(1))?.saturating_add(1)
        };
        let len = self.near_len.code(c, len.wrapping_sub(MIN_NEAR))?;
        Ok((distance, len.saturating_add(MIN_NEAR)))
    }

    /// Codes a match in the base: how much its displacement differs from the last one, and its
    /// length.
    pub fn far<C: Coder>(
        &mut self,
        c: &mut C,
        (change, len): (i32, u32),
    ) -> Result<(i32, u32), C::Error> {
        let change = if c.bit(&mut self.is_far_again, change == 0)? {
            0
        } else {
            self.far.code(c, change)?
        };
        let len = self.far_len.code(c, len.wrapping_sub(MIN_FAR))?;
        Ok((change, len.saturating_add(MIN_FAR)))
    }
}

/// Event before a gap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Before {
    /// The start of the operation, or a reference.
    Reference = 0,
    /// A byte right after another.
    Adjacent = 1,
    /// A byte after a gap.
    Byte = 2,
}

impl Before {
    /// Returns the kind of an event that changes the byte at `at`, and notes its end in `last`.
    pub fn byte(at: u32, last: &mut u32) -> Before {
        let is_adjacent = at == *last;
        *last = at.wrapping_add(1);
        if is_adjacent { Before::Adjacent } else { Before::Byte }
    }
}

/// Kind of a token between operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A byte.
    Literal = 0,
    /// A match in the last [`HISTORY`] bytes of output.
    Near = 1,
    /// A match in the base.
    Far = 2,
}
