//! The SHA accelerator, with block-by-block and DMA operation (TRM 20, which defines the register
//! names). It takes no time.

use esplice_chip::Peripheral;

use super::{
    clock::Tick,
    device::{Device, Fabric, Registers, Scope},
    gdma,
};
use sha2::block_api::compress256;

const MODE: u32 = 0x00;
const DMA_BLOCK_NUM: u32 = 0x0c;
const START: u32 = 0x10;
const CONTINUE: u32 = 0x14;
const BUSY: u32 = 0x18;
const DMA_START: u32 = 0x1c;
const DMA_CONTINUE: u32 = 0x20;
const CLEAR_IRQ: u32 = 0x24;
const IRQ_ENA: u32 = 0x28;
const H_MEM: u32 = 0x40;
const M_MEM: u32 = 0x80;
const BLOCK_WORDS: usize = 16;
const BLOCK: usize = 4 * BLOCK_WORDS;

/// MODE values.
mod mode {
    pub const SHA1: u32 = 0;
    pub const SHA224: u32 = 1;
}

/// Initial hash values (FIPS 180-4, 5.3.1 to 5.3.3).
const SHA1_START: [u32; 8] =
    [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0, 0, 0, 0];
const SHA224_START: [u32; 8] = [
    0xc105_9ed8,
    0x367c_d507,
    0x3070_dd17,
    0xf70e_5939,
    0xffc0_0b31,
    0x6858_1511,
    0x64f9_8fa7,
    0xbefa_4fa4,
];
const SHA256_START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// The accelerator.
#[derive(Clone)]
pub(crate) struct Sha {
    registers: Registers,
    /// Number of bytes still to be received by DMA.
    waiting: usize,
    /// Bytes of an incomplete block received by DMA.
    part: Vec<u8>,
    /// True if the next block is the first one of a hash.
    first: bool,
    done: bool,
}

impl Sha {
    pub fn new(device: &Peripheral) -> Self {
        Self::with(Registers::of(device))
    }

    fn with(registers: Registers) -> Self {
        Self { registers, waiting: 0, part: Vec::new(), first: false, done: false }
    }

    fn block(&mut self, first: bool) {
        let mode = self.registers.get(MODE) & 7;
        // The memories hold big-endian words.
        let mut state = match (first, mode) {
            (true, mode::SHA1) => SHA1_START,
            (true, mode::SHA224) => SHA224_START,
            (true, _) => SHA256_START,
            (false, _) => {
                std::array::from_fn(|i| self.registers.get(H_MEM + 4 * i as u32).swap_bytes())
            }
        };
        let mut block = [0_u8; 4 * BLOCK_WORDS];
        for (i, word) in (0_u32..).zip(block.chunks_exact_mut(4)) {
            word.copy_from_slice(&self.registers.get(M_MEM + 4 * i).to_le_bytes());
        }
        if mode == mode::SHA1 {
            compress160(&mut state, &block);
        } else {
            compress256(&mut state, &[block]);
        }
        for (i, word) in (0_u32..).zip(state) {
            self.registers.set(H_MEM + 4 * i, word.swap_bytes());
        }
    }
}

impl Sha {
    /// Starts hashing DMA_BLOCK_NUM blocks by DMA, as soon as they are available.
    fn begin(&mut self, first: bool, fabric: &mut Fabric) {
        self.waiting = BLOCK * (self.registers.get(DMA_BLOCK_NUM) & 0x3f) as usize;
        self.part.clear();
        self.first = first;
        self.transfer(fabric);
    }

    /// Hashes the available bytes.
    fn transfer(&mut self, fabric: &mut Fabric) {
        while self.waiting > 0 {
            let flash = fabric.flash.nor.bytes();
            let wanted = BLOCK - self.part.len();
            let Some(bytes) = fabric.dma.take(gdma::SHA, wanted, &mut fabric.memory, flash) else {
                return;
            };
            fabric.dma.changed = true;
            if bytes.is_empty() {
                return;
            }
            self.waiting = self.waiting.saturating_sub(bytes.len());
            self.part.extend(bytes);
            if self.part.len() == BLOCK {
                for (at, word) in (0_u32..).zip(self.part.chunks_exact(4)) {
                    let word = word.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
                    self.registers.set(M_MEM + 4 * at, word);
                }
                self.part.clear();
                self.block(self.first);
                self.first = false;
            }
        }
        self.done = true;
    }
}

impl Device for Sha {
    fn read(&mut self, offset: u32, _fabric: &mut Fabric) -> u32 {
        if offset == BUSY { u32::from(self.waiting > 0) } else { self.registers.get(offset) }
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        match offset {
            START => self.block(true),
            CONTINUE => self.block(false),
            DMA_START => self.begin(true, fabric),
            DMA_CONTINUE => self.begin(false, fabric),
            CLEAR_IRQ => self.done &= value & 1 == 0,
            _ => self.registers.set(offset, value),
        }
    }

    fn lines(&self) -> u32 {
        u32::from(self.done && self.registers.get(IRQ_ENA) & 1 != 0)
    }

    /// Called when a transfer was started.
    fn event(&mut self, fabric: &mut Fabric) {
        if self.waiting > 0 {
            self.transfer(fabric);
        }
    }

    fn transfers(&self) -> bool {
        true
    }

    fn steady_until(&self, _offset: u32, _fabric: &Fabric) -> Option<Tick> {
        Some(Tick::MAX)
    }

    fn reset(&mut self, scope: Scope, _fabric: &mut Fabric) {
        if scope >= Scope::Core {
            *self = Self::with(self.registers.clone());
            self.registers.reset();
        }
    }
}

/// Compresses one block of SHA-1 (FIPS 180-4, 6.1.2). Words 5 to 7 of the state are unused.
fn compress160(state: &mut [u32; 8], block: &[u8; 64]) {
    let mut schedule = [0_u32; 80];
    for (word, bytes) in schedule.iter_mut().zip(block.chunks_exact(4)) {
        *word = bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
    }
    for t in 16..80 {
        schedule[t] = (schedule[t - 3] ^ schedule[t - 8] ^ schedule[t - 14] ^ schedule[t - 16])
            .rotate_left(1);
    }
    let [mut a, mut b, mut c, mut d, mut e, ..] = *state;
    for (t, word) in schedule.into_iter().enumerate() {
        let (mix, constant) = match t {
            0..20 => (b & c | !b & d, 0x5a82_7999_u32),
            20..40 => (b ^ c ^ d, 0x6ed9_eba1),
            40..60 => (b & c | b & d | c & d, 0x8f1b_bcdc),
            _ => (b ^ c ^ d, 0xca62_c1d6),
        };
        let next = a
            .rotate_left(5)
            .wrapping_add(mix)
            .wrapping_add(e)
            .wrapping_add(constant)
            .wrapping_add(word);
        (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
    }
    for (word, add) in state.iter_mut().zip([a, b, c, d, e]) {
        *word = word.wrapping_add(add);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abc_hashes_as_fips_says() {
        // FIPS 180-4 examples: "abc" in one padded block.
        let mut block = [0_u8; 64];
        block[..4].copy_from_slice(b"abc\x80");
        block[63] = 24;
        for (mode, words, first, last) in [
            (mode::SHA1, 5, 0xa999_3e36_u32, 0x9cd0_d89d_u32),
            (mode::SHA224, 7, 0x2309_7d22, 0xe36c_9da7),
            (2, 8, 0xba78_16bf, 0xf200_15ad),
        ] {
            let mut sha = Sha::with(Registers::new(0x1000));
            sha.registers.set(MODE, mode);
            for (i, word) in (0_u32..).zip(block.chunks_exact(4)) {
                sha.registers.set(M_MEM + 4 * i, u32::from_le_bytes(word.try_into().unwrap()));
            }
            sha.block(true);
            assert_eq!(sha.registers.get(H_MEM).swap_bytes(), first, "mode {mode}");
            assert_eq!(
                sha.registers.get(H_MEM + 4 * (words - 1)).swap_bytes(),
                last,
                "mode {mode}"
            );
        }
    }
}
