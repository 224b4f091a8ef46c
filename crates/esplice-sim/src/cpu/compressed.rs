//! Compressed (16-bit) instructions and their expansion to 32-bit instructions.
//!
//! Layouts: RISC-V unprivileged specification, chapter "C", table "Instruction listing for RVC".

/// Returns the 32-bit equivalent of a compressed instruction. Returns `None` if the instruction is
/// reserved or belongs to an extension that these CPUs lack (floating point, 64 bits).
pub(super) fn expand(c: u16) -> Option<u32> {
    let c = u32::from(c);
    let rd = c >> 7 & 31;
    let rs2 = c >> 2 & 31;
    // The three-bit register fields encode x8 to x15.
    let low = (c >> 2 & 7) + 8;
    let high = (c >> 7 & 7) + 8;
    let imm6 = sign_extend(bit(c, 12, 5) | c >> 2 & 31, 6);
    Some(match (c & 3, c >> 13) {
        // c.addi4spn. An immediate of 0 is reserved, and all bits 0 is the defined illegal
        // instruction.
        (0, 0) => {
            let imm = (c >> 11 & 3) << 4 | (c >> 7 & 15) << 6 | bit(c, 6, 2) | bit(c, 5, 3);
            if imm == 0 {
                return None;
            }
            i_type(OP_IMM, 0, low, 2, imm)
        }
        // c.lw, c.sw
        (0, 2) => i_type(LOAD, 2, low, high, word_offset(c)),
        (0, 6) => s_type(2, high, low, word_offset(c)),
        // c.addi (c.nop), c.jal, c.li
        (1, 0) => i_type(OP_IMM, 0, rd, rd, imm6),
        (1, 1) => j_type(1, jump_offset(c)),
        (1, 2) => i_type(OP_IMM, 0, rd, 0, imm6),
        // c.addi16sp, c.lui
        (1, 3) if rd == 2 => {
            let imm =
                bit(c, 12, 9) | bit(c, 6, 4) | bit(c, 5, 6) | (c >> 3 & 3) << 7 | bit(c, 2, 5);
            if imm == 0 {
                return None;
            }
            i_type(OP_IMM, 0, 2, 2, sign_extend(imm, 10))
        }
        (1, 3) => {
            if imm6 == 0 {
                return None;
            }
            imm6 << 12 | rd << 7 | LUI
        }
        (1, 4) => match (c >> 10 & 3, c >> 12 & 1, c >> 5 & 3) {
            // Shifts by 32 and more are reserved on RV32.
            (0, 0, _) => i_type(OP_IMM, 5, high, high, rs2),
            (1, 0, _) => i_type(OP_IMM, 5, high, high, rs2 | 0x400),
            (2, _, _) => i_type(OP_IMM, 7, high, high, imm6),
            (3, 0, 0) => r_type(0, high, high, low) | 0x20 << 25,
            (3, 0, 1) => r_type(4, high, high, low),
            (3, 0, 2) => r_type(6, high, high, low),
            (3, 0, 3) => r_type(7, high, high, low),
            _ => return None,
        },
        // c.j, c.beqz, c.bnez
        (1, 5) => j_type(0, jump_offset(c)),
        (1, 6) => b_type(0, high, branch_offset(c)),
        (1, 7) => b_type(1, high, branch_offset(c)),
        // c.slli
        (2, 0) if c >> 12 & 1 == 0 => i_type(OP_IMM, 1, rd, rd, rs2),
        // c.lwsp, c.swsp
        (2, 2) if rd != 0 => {
            i_type(LOAD, 2, rd, 2, bit(c, 12, 5) | (c >> 4 & 7) << 2 | (c >> 2 & 3) << 6)
        }
        (2, 6) => s_type(2, 2, rs2, (c >> 9 & 15) << 2 | (c >> 7 & 3) << 6),
        (2, 4) => match (c >> 12 & 1, rd, rs2) {
            (0, 0, 0) => return None,
            (0, _, 0) => i_type(JALR, 0, 0, rd, 0),
            (0, _, _) => r_type(0, rd, 0, rs2),
            (_, 0, 0) => EBREAK,
            (_, _, 0) => i_type(JALR, 0, 1, rd, 0),
            (_, _, _) => r_type(0, rd, rd, rs2),
        },
        _ => return None,
    })
}

const LOAD: u32 = 0x03;
const OP_IMM: u32 = 0x13;
const STORE: u32 = 0x23;
const OP: u32 = 0x33;
const LUI: u32 = 0x37;
const BRANCH: u32 = 0x63;
const JALR: u32 = 0x67;
const JAL: u32 = 0x6f;
const EBREAK: u32 = 0x0010_0073;

/// Returns bit `from` of `c`, moved to bit `to`.
fn bit(c: u32, from: u32, to: u32) -> u32 {
    (c >> from & 1) << to
}

fn sign_extend(value: u32, bits: u32) -> u32 {
    ((value << (32 - bits)) as i32 >> (32 - bits)) as u32
}

fn word_offset(c: u32) -> u32 {
    (c >> 10 & 7) << 3 | bit(c, 6, 2) | bit(c, 5, 6)
}

fn jump_offset(c: u32) -> u32 {
    let offset = bit(c, 12, 11)
        | bit(c, 11, 4)
        | (c >> 9 & 3) << 8
        | bit(c, 8, 10)
        | bit(c, 7, 6)
        | bit(c, 6, 7)
        | (c >> 3 & 7) << 1
        | bit(c, 2, 5);
    sign_extend(offset, 12)
}

fn branch_offset(c: u32) -> u32 {
    let offset =
        bit(c, 12, 8) | (c >> 10 & 3) << 3 | (c >> 5 & 3) << 6 | (c >> 3 & 3) << 1 | bit(c, 2, 5);
    sign_extend(offset, 9)
}

fn i_type(opcode: u32, funct3: u32, rd: u32, rs1: u32, imm: u32) -> u32 {
    imm << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | opcode
}

fn s_type(funct3: u32, rs1: u32, rs2: u32, imm: u32) -> u32 {
    (imm >> 5 & 0x7f) << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | (imm & 31) << 7 | STORE
}

fn r_type(funct3: u32, rd: u32, rs1: u32, rs2: u32) -> u32 {
    rs2 << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | OP
}

fn b_type(funct3: u32, rs1: u32, imm: u32) -> u32 {
    bit(imm, 12, 31)
        | (imm >> 5 & 0x3f) << 25
        | rs1 << 15
        | funct3 << 12
        | (imm >> 1 & 15) << 8
        | bit(imm, 11, 7)
        | BRANCH
}

fn j_type(rd: u32, imm: u32) -> u32 {
    bit(imm, 20, 31)
        | (imm >> 1 & 0x3ff) << 21
        | bit(imm, 11, 20)
        | (imm >> 12 & 0xff) << 12
        | rd << 7
        | JAL
}
