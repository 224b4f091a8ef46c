//! SHA-256 by the chip's accelerator (TRM, SHA Accelerator; the same registers on all these
//! chips).

use crate::chip::{self, SHA};

const MODE: u32 = SHA;
const SHA256: u32 = 2;
const START: u32 = SHA + 0x10;
const CONTINUE: u32 = SHA + 0x14;
const BUSY: u32 = SHA + 0x18;
/// The digest, after the last block, in words.
pub const H: u32 = SHA + 0x40;
const M: u32 = SHA + 0x80;

/// A hash in progress. The accelerator holds the state, so there can be only one.
#[derive(Default)]
pub struct Sha {
    len: u32,
    word: u32,
}

impl Sha {
    /// Starts a hash.
    pub fn start(&mut self) {
        chip::apply(chip::SHA_ON);
        chip::write(MODE, SHA256);
        self.len = 0;
    }

    pub fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.push(*byte);
        }
    }

    /// Adds the 64 bytes that are in the registers from `from` on. The hash so far must have whole
    /// blocks.
    pub fn block(&mut self, from: u32) {
        for at in (0..64).step_by(4) {
            chip::write(M + at, chip::read(from + at));
        }
        self.len = self.len.wrapping_add(64);
        self.compress();
    }

    fn compress(&mut self) {
        chip::write(if self.len == 64 { START } else { CONTINUE }, 1);
        while chip::read(BUSY) != 0 {}
    }

    #[inline(never)]
    fn push(&mut self, byte: u8) {
        self.word = self.word >> 8 | u32::from(byte) << 24;
        let at = self.len & 63;
        if at & 3 == 3 {
            chip::write(M + at - 3, self.word);
        }
        self.len = self.len.wrapping_add(1);
        if at == 63 {
            self.compress();
        }
    }

    /// Ends the hash; the digest is then in the registers from [`H`] on.
    #[inline(never)]
    pub fn finish(&mut self) {
        let len = self.len;
        self.push(0x80);
        while self.len & 63 != 56 {
            self.push(0);
        }
        // The length in bits, highest byte first.
        for byte in [0, 0, 0, len >> 29, len >> 21, len >> 13, len >> 5, len << 3] {
            self.push(byte as u8);
        }
    }
}
