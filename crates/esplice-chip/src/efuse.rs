//! eFuse blocks, and fields put together from pieces of their words.

use crate::Addr;

/// The chip's eFuse controller.
#[derive(Debug, Clone)]
pub struct Efuse {
    /// Blocks that software can read.
    pub blocks: Vec<EfuseBlock>,
    /// Named fields.
    pub fields: Vec<EfuseField>,
}

/// One block of eFuses, as the read registers show it.
#[derive(Debug, Clone)]
pub struct EfuseBlock {
    /// Name, such as `block1`.
    pub name: String,
    /// Register of its first word.
    pub addr: Addr,
    /// Length in 32-bit words.
    pub words: u32,
}

/// A named field.
#[derive(Debug, Clone)]
pub struct EfuseField {
    /// Name, such as `mac`.
    pub name: String,
    /// Register of the block's first word.
    pub block_addr: Addr,
    /// Pieces, lowest bits of the value first.
    pub bits: Vec<BitRange>,
}

/// A run of bits in one word of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BitRange {
    /// Word of the block.
    pub word: u32,
    /// Lowest bit in that word.
    pub bit: u32,
    /// How many bits.
    pub count: u32,
}

impl Efuse {
    /// The field called `name`, if this chip has it.
    pub fn field(&self, name: &str) -> Option<&EfuseField> {
        self.fields.iter().find(|field| field.name == name)
    }
}

impl EfuseField {
    /// Registers that must be read for this field, each once, in order.
    pub fn addrs(&self) -> Vec<Addr> {
        let mut addrs: Vec<Addr> = Vec::new();
        for range in &self.bits {
            let addr = self.addr_of(range.word);
            if !addrs.contains(&addr) {
                addrs.push(addr);
            }
        }
        addrs
    }

    /// The field's value; `word_at` gives the register's content for each of [`Self::addrs`].
    pub fn value(&self, mut word_at: impl FnMut(Addr) -> u32) -> u64 {
        let mut value = 0_u64;
        let mut shift = 0;
        for range in &self.bits {
            let mask = (1_u64 << range.count) - 1;
            let piece = (u64::from(word_at(self.addr_of(range.word))) >> range.bit) & mask;
            value |= piece << shift;
            shift += range.count;
        }
        value
    }

    /// Writes `value` into words given by `word_at`: what a virtual board burns at birth.
    pub fn put(&self, value: u64, mut word_at: impl FnMut(Addr, u32)) {
        let mut rest = value;
        for range in &self.bits {
            let mask = (1_u64 << range.count) - 1;
            word_at(self.addr_of(range.word), ((rest & mask) << range.bit) as u32);
            rest >>= range.count;
        }
    }

    fn addr_of(&self, word: u32) -> Addr {
        Addr(self.block_addr.0.wrapping_add(word.wrapping_mul(4)))
    }
}
