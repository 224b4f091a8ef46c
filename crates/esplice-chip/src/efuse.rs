//! eFuse blocks, and fields assembled from bits of their words.

use crate::Addr;

/// The chip's eFuse controller.
#[derive(Debug, Clone)]
pub struct Efuse {
    /// Blocks that software can read.
    pub blocks: Vec<EfuseBlock>,
    /// Named fields.
    pub fields: Vec<EfuseField>,
    /// If all of these hold, the chip has revision 0.0 whatever its revision fields say: it was
    /// made before they had a meaning. Empty if the fields are always right.
    pub first_revision: Vec<EfuseCondition>,
}

/// A value that a field must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EfuseCondition {
    /// The field's name.
    pub field: String,
    /// The bits of the field's value to compare.
    pub mask: u64,
    /// The value these bits must have.
    pub value: u64,
}

/// A block of eFuses, as its read registers show it.
#[derive(Debug, Clone)]
pub struct EfuseBlock {
    /// Name, such as `block1`.
    pub name: String,
    /// Address of the register of the first word.
    pub addr: Addr,
    /// Length in 32-bit words.
    pub words: u32,
}

/// A named field.
#[derive(Debug, Clone)]
pub struct EfuseField {
    /// Name, such as `mac`.
    pub name: String,
    /// Bit ranges, those with the lowest bits of the value first.
    pub bits: Vec<BitRange>,
    /// The meaning of each raw value, by index; empty if the raw value is the meaning.
    pub values: Vec<u64>,
}

/// A run of bits in one word of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BitRange {
    /// Address of the word's register.
    pub addr: Addr,
    /// Lowest bit in that word.
    pub bit: u32,
    /// Number of bits.
    pub count: u32,
}

impl BitRange {
    /// Extracts these bits from the register's content.
    pub fn extract(&self, word: u32) -> u32 {
        let mask = (1_u64 << self.count.min(32)) - 1;
        ((u64::from(word) >> self.bit.min(31)) & mask) as u32
    }
}

impl Efuse {
    /// Finds the field called `name`, if this chip has it.
    pub fn field(&self, name: &str) -> Option<&EfuseField> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Returns the chip's revision, major and minor. `value_of` returns the value of the field with
    /// a given name, and 0 for a field that the chip lacks.
    ///
    /// # Errors
    /// Returns the errors of `value_of`.
    pub fn revision<E>(
        &self,
        mut value_of: impl FnMut(&str) -> Result<u64, E>,
    ) -> Result<(u8, u8), E> {
        let mut is_first = !self.first_revision.is_empty();
        for condition in &self.first_revision {
            is_first = is_first && value_of(&condition.field)? & condition.mask == condition.value;
        }
        if is_first {
            return Ok((0, 0));
        }
        // Both fields have at most four bits.
        let major = value_of("wafer-version-major")? as u8;
        Ok((major, value_of("wafer-version-minor")? as u8))
    }
}

impl EfuseField {
    /// Returns the registers to read for this field, each once, in order.
    pub fn addrs(&self) -> Vec<Addr> {
        let mut addrs: Vec<Addr> = Vec::new();
        for range in &self.bits {
            if !addrs.contains(&range.addr) {
                addrs.push(range.addr);
            }
        }
        addrs
    }

    /// Returns the field's value; `word_at` returns the content of each register in
    /// [`Self::addrs`].
    pub fn value(&self, mut word_at: impl FnMut(Addr) -> u32) -> u64 {
        let mut value = 0_u64;
        let mut shift = 0;
        for range in &self.bits {
            let mask = (1_u64 << range.count) - 1;
            let piece = (u64::from(word_at(range.addr)) >> range.bit) & mask;
            value |= piece << shift;
            shift += range.count;
        }
        let named = usize::try_from(value).ok().and_then(|value| self.values.get(value));
        named.copied().unwrap_or(value)
    }

    /// Writes `value` to the words through `word_at`, as a virtual board does when it is made. If
    /// several raw values stand for `value`, the lowest is written.
    pub fn put(&self, value: u64, mut word_at: impl FnMut(Addr, u32)) {
        let named = self.values.iter().position(|named| *named == value);
        let mut rest = named.map_or(value, |number| number as u64);
        for range in &self.bits {
            let mask = (1_u64 << range.count) - 1;
            word_at(range.addr, ((rest & mask) << range.bit) as u32);
            rest >>= range.count;
        }
    }
}
