//! Decodes instruction bits into the small operations that the inner loop runs.

use super::compressed;

/// A decoded instruction.
///
/// `imm` is the precomputed value that the operation needs: the sign-extended immediate, the
/// distance of a branch or jump in halfwords, the result of auipc, or the instruction's bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C, align(8))]
pub(crate) struct Op {
    pub kind: Kind,
    /// Destination register in bits 4:0, length in halfwords in bits 7:5.
    pub rd_len: u8,
    pub rs1: u8,
    pub rs2: u8,
    pub imm: u32,
}

impl Op {
    #[inline(always)]
    pub fn rd(self) -> usize {
        (self.rd_len & 31) as usize
    }

    #[inline(always)]
    pub fn rs1(self) -> usize {
        (self.rs1 & 31) as usize
    }

    #[inline(always)]
    pub fn rs2(self) -> usize {
        (self.rs2 & 31) as usize
    }

    /// Returns the length of the instruction in halfwords.
    #[inline(always)]
    pub fn halfwords(self) -> u32 {
        u32::from(self.rd_len >> 5)
    }

    /// Returns the length of the instruction in bytes.
    #[inline(always)]
    pub fn len(self) -> u32 {
        self.halfwords() * 2
    }
}

/// The action of an operation. Operations that only write a register are decoded as `Nop` if that
/// register is x0, so that x0 stays 0 without further checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Nothing is decoded here yet.
    #[default]
    Undecoded,
    /// The board has hooked this address.
    Hook,
    Illegal,
    Nop,
    /// rd = imm: lui, auipc, li.
    Li,
    Addi,
    Slti,
    Sltiu,
    Xori,
    Ori,
    Andi,
    Slli,
    Srli,
    Srai,
    Add,
    Sub,
    Sll,
    Slt,
    Sltu,
    Xor,
    Srl,
    Sra,
    Or,
    And,
    Mul,
    Mulh,
    Mulhsu,
    Mulhu,
    Div,
    Divu,
    Rem,
    Remu,
    Lb,
    Lh,
    Lw,
    Lbu,
    Lhu,
    /// A load into x0, which is still an access. rs2 is log2 of its length.
    LoadDiscard,
    Sb,
    Sh,
    Sw,
    /// Jumps without a link (rd = x0) and with one.
    J,
    Jal,
    Jr,
    Jalr,
    Beq,
    Bne,
    Blt,
    Bge,
    Bltu,
    Bgeu,
    Csr,
    Ecall,
    Ebreak,
    Mret,
    Wfi,
    Amo,
}

impl Kind {
    /// Returns whether execution never continues with the next instruction in memory.
    pub fn ends_run(self) -> bool {
        matches!(
            self,
            Self::Illegal | Self::J | Self::Jal | Self::Jr | Self::Jalr | Self::Ecall | Self::Mret
        )
    }
}

/// Decodes the instruction at `pc`. A compressed one has `len` 2 and uses only the low half of
/// `raw`.
pub(super) fn decode(pc: u32, raw: u32, len: u32) -> Op {
    let word = if len == 2 { compressed::expand(raw as u16) } else { Some(raw) };
    let op = word.and_then(|word| decode_word(pc, word)).unwrap_or(Op {
        kind: Kind::Illegal,
        imm: raw,
        ..Op::default()
    });
    Op { rd_len: op.rd_len | ((len / 2) as u8) << 5, ..op }
}

/// Converts the distance of a jump from bytes to halfwords, signed.
fn halfwords(bytes: u32) -> u32 {
    (bytes as i32 >> 1) as u32
}

fn decode_word(pc: u32, w: u32) -> Option<Op> {
    let rd = (w >> 7 & 31) as u8;
    let funct3 = w >> 12 & 7;
    let rs1 = (w >> 15 & 31) as u8;
    let rs2 = (w >> 20 & 31) as u8;
    let imm_i = (w as i32 >> 20) as u32;
    let make = |kind, imm| Some(Op { kind, rd_len: rd, rs1, rs2, imm });
    // For instructions that only write rd.
    let compute = |kind, imm| if rd == 0 { make(Kind::Nop, 0) } else { make(kind, imm) };
    match w & 0x7f {
        0x37 => compute(Kind::Li, w & 0xffff_f000),
        0x17 => compute(Kind::Li, pc.wrapping_add(w & 0xffff_f000)),
        0x6f => {
            let imm = (w as i32 >> 31) as u32 & 0xfff0_0000
                | w & 0x000f_f000
                | (w >> 20 & 1) << 11
                | (w >> 21 & 0x3ff) << 1;
            make(if rd == 0 { Kind::J } else { Kind::Jal }, halfwords(imm))
        }
        0x67 if funct3 == 0 => make(if rd == 0 { Kind::Jr } else { Kind::Jalr }, imm_i),
        0x63 => {
            let imm = (w as i32 >> 31) as u32 & 0xffff_f000
                | (w >> 7 & 1) << 11
                | (w >> 25 & 0x3f) << 5
                | (w >> 8 & 15) << 1;
            let kind = match funct3 {
                0 => Kind::Beq,
                1 => Kind::Bne,
                4 => Kind::Blt,
                5 => Kind::Bge,
                6 => Kind::Bltu,
                7 => Kind::Bgeu,
                _ => return None,
            };
            make(kind, halfwords(imm))
        }
        0x03 => {
            let kind = match funct3 {
                0 => Kind::Lb,
                1 => Kind::Lh,
                2 => Kind::Lw,
                4 => Kind::Lbu,
                5 => Kind::Lhu,
                _ => return None,
            };
            if rd == 0 {
                return Some(Op {
                    kind: Kind::LoadDiscard,
                    rd_len: 0,
                    rs1,
                    rs2: (funct3 & 3) as u8,
                    imm: imm_i,
                });
            }
            make(kind, imm_i)
        }
        0x23 => {
            let kind = match funct3 {
                0 => Kind::Sb,
                1 => Kind::Sh,
                2 => Kind::Sw,
                _ => return None,
            };
            make(kind, imm_i & !31 | u32::from(rd))
        }
        0x13 => match (funct3, w >> 25) {
            (0, _) if rs1 == 0 => compute(Kind::Li, imm_i),
            (0, _) => compute(Kind::Addi, imm_i),
            (1, 0) => compute(Kind::Slli, rs2.into()),
            (2, _) => compute(Kind::Slti, imm_i),
            (3, _) => compute(Kind::Sltiu, imm_i),
            (4, _) => compute(Kind::Xori, imm_i),
            (5, 0) => compute(Kind::Srli, rs2.into()),
            (5, 0x20) => compute(Kind::Srai, rs2.into()),
            (6, _) => compute(Kind::Ori, imm_i),
            (7, _) => compute(Kind::Andi, imm_i),
            _ => None,
        },
        0x33 => {
            let kind = match (w >> 25, funct3) {
                (0, 0) => Kind::Add,
                (0x20, 0) => Kind::Sub,
                (0, 1) => Kind::Sll,
                (0, 2) => Kind::Slt,
                (0, 3) => Kind::Sltu,
                (0, 4) => Kind::Xor,
                (0, 5) => Kind::Srl,
                (0x20, 5) => Kind::Sra,
                (0, 6) => Kind::Or,
                (0, 7) => Kind::And,
                (1, 0) => Kind::Mul,
                (1, 1) => Kind::Mulh,
                (1, 2) => Kind::Mulhsu,
                (1, 3) => Kind::Mulhu,
                (1, 4) => Kind::Div,
                (1, 5) => Kind::Divu,
                (1, 6) => Kind::Rem,
                (1, 7) => Kind::Remu,
                _ => return None,
            };
            compute(kind, 0)
        }
        // fence and fence.i: accesses happen in order, and stores reach the decoded code
        // immediately.
        0x0f if funct3 <= 1 => make(Kind::Nop, 0),
        0x73 => match (funct3, w) {
            (0, 0x0000_0073) => make(Kind::Ecall, w),
            (0, 0x0010_0073) => make(Kind::Ebreak, w),
            (0, 0x3020_0073) => make(Kind::Mret, w),
            (0, 0x1050_0073) => make(Kind::Wfi, w),
            (1..=3 | 5..=7, _) => make(Kind::Csr, w),
            _ => None,
        },
        0x2f if funct3 == 2 => make(Kind::Amo, w),
        _ => None,
    }
}
