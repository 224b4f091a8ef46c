//! References in machine code: what an instruction or a word refers to, and how it refers to
//! something else.

pub(crate) mod riscv;
pub(crate) mod xtensa;

/// Instruction set of the code in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Isa {
    /// Unknown: code and data are copied as they are.
    #[default]
    Unknown,
    /// RV32 with compressed instructions.
    RiscV,
    /// Xtensa LX with the code density option.
    Xtensa,
}

impl Isa {
    pub(crate) fn number(self) -> u32 {
        match self {
            Isa::Unknown => 0,
            Isa::RiscV => 1,
            Isa::Xtensa => 2,
        }
    }

    pub(crate) fn from_number(number: u32) -> Option<Isa> {
        [Isa::Unknown, Isa::RiscV, Isa::Xtensa].into_iter().find(|isa| isa.number() == number)
    }
}

/// The form of a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A word that is an address.
    Word,
    /// RISC-V: `jal`.
    Jal,
    /// RISC-V: a conditional branch.
    Branch,
    /// RISC-V: `c.j` and `c.jal`.
    CompressedJump,
    /// RISC-V: `c.beqz` and `c.bnez`.
    CompressedBranch,
    /// RISC-V: the upper part of an address relative to the instruction.
    Auipc,
    /// RISC-V: the upper part of an absolute address.
    Lui,
    /// RISC-V: the lower part of an address, in a load, `addi` or `jalr`.
    LowLoad,
    /// RISC-V: the lower part of an address, in a store.
    LowStore,
    /// Xtensa: `call0`, `call4`, `call8`, `call12`.
    Call,
    /// Xtensa: `j`.
    Jump,
    /// Xtensa: a branch with an offset of 12 bits.
    Branch12,
    /// Xtensa: a branch with an offset of 8 bits.
    Branch8,
    /// Xtensa: `l32r`.
    Literal,
}

/// A reference at a place in the new image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reference {
    pub form: Form,
    /// Bytes of the instruction, little-endian.
    pub word: u32,
    /// Number of bytes.
    pub len: u32,
    /// Address of the instruction in the new image.
    pub addr: u32,
    /// Value that the upper part of the address left in the register, for a lower part.
    pub upper: u32,
}

impl Reference {
    /// Returns the bytes that refer to `target`, or `None` if that is out of reach.
    pub fn encode(&self, target: u32) -> Option<u32> {
        use Form::*;
        let (word, addr) = (self.word, self.addr);
        match self.form {
            Word => Some(target),
            Jal | Branch | CompressedJump | CompressedBranch | Auipc | Lui | LowLoad | LowStore => {
                riscv::encode(self.form, word, addr, self.upper, target)
            }
            Call | Jump | Branch12 | Branch8 | Literal => {
                xtensa::encode(self.form, word, addr, target)
            }
        }
    }

    /// Returns the value that an upper part leaves in the register if the address is `target`.
    pub fn upper_of(&self, target: u32) -> u32 {
        let base = if self.form == Form::Auipc { self.addr } else { 0 };
        base.wrapping_add(riscv::upper(target.wrapping_sub(base)))
    }
}

/// Extends the sign of the lowest `bits` bits.
pub(crate) fn sign_extend(value: u32, bits: u32) -> u32 {
    let above = 32 - bits;
    ((value << above) as i32 >> above) as u32
}

/// Returns whether a difference of addresses is a signed number of `bits` bits.
pub(crate) fn fits(value: u32, bits: u32) -> bool {
    sign_extend(value, bits) == value
}
