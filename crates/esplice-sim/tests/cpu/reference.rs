//! A second implementation of RV32IMAC in the plainest style. It decodes each instruction when it
//! executes it, compressed ones separately, from the bit positions in the specification.

use super::cases::{MEMORY_WORDS, State};

pub struct Reference<'a> {
    x: [u32; 32],
    pc: u32,
    code: &'a [u8],
    code_at: u32,
    memory: Vec<u8>,
    memory_at: u32,
    /// Address reserved by lr.
    reserved: Option<u32>,
}

impl<'a> Reference<'a> {
    /// Runs code up to its end.
    pub fn run(code: &'a [u8], before: &State, memory_at: u32, code_at: u32) -> State {
        let memory = before.memory.iter().flat_map(|word| word.to_le_bytes()).collect();
        let (x, pc, reserved) = (before.x, code_at, None);
        let mut it = Self { x, pc, code, code_at, memory, memory_at, reserved };
        let mut steps = 0;
        while it.pc != code_at + code.len() as u32 {
            it.step();
            steps += 1;
            assert!(steps < 10_000, "the code does not end");
        }
        let mut state = State { x: it.x, memory: [0; MEMORY_WORDS] };
        for (word, bytes) in state.memory.iter_mut().zip(it.memory.chunks(4)) {
            *word = u32::from_le_bytes(bytes.try_into().unwrap());
        }
        state
    }

    fn step(&mut self) {
        let at = (self.pc - self.code_at) as usize;
        let low = u16::from_le_bytes([self.code[at], self.code[at + 1]]);
        if low % 4 == 3 {
            let high = u16::from_le_bytes([self.code[at + 2], self.code[at + 3]]);
            self.word(u32::from(low) + (u32::from(high) << 16));
        } else {
            self.half(u32::from(low));
        }
        self.x[0] = 0;
    }

    fn word(&mut self, w: u32) {
        let rd = field(w, 11, 7) as usize;
        let rs1 = field(w, 19, 15) as usize;
        let rs2 = field(w, 24, 20) as usize;
        let f3 = field(w, 14, 12);
        let (a, b) = (self.x[rs1], self.x[rs2]);
        let imm_i = signed(field(w, 31, 20), 12);
        let imm_s = signed(field(w, 31, 25) * 32 + field(w, 11, 7), 12);
        let next = self.pc + 4;
        let mut go = next;
        match field(w, 6, 0) {
            0b0110111 => self.x[rd] = w - w % 4096,
            0b0010111 => self.x[rd] = self.pc.wrapping_add(w - w % 4096),
            0b1101111 => {
                let imm = field(w, 31, 31) * 1048576
                    + field(w, 19, 12) * 4096
                    + field(w, 20, 20) * 2048
                    + field(w, 30, 21) * 2;
                go = self.pc.wrapping_add(signed(imm, 21));
                self.x[rd] = next;
            }
            0b1100111 => {
                go = a.wrapping_add(imm_i) / 2 * 2;
                self.x[rd] = next;
            }
            0b1100011 => {
                let imm = field(w, 31, 31) * 4096
                    + field(w, 7, 7) * 2048
                    + field(w, 30, 25) * 32
                    + field(w, 11, 8) * 2;
                let taken = match f3 {
                    0 => a == b,
                    1 => a != b,
                    4 => (a as i32) < (b as i32),
                    5 => (a as i32) >= (b as i32),
                    6 => a < b,
                    7 => a >= b,
                    _ => panic!("branch {f3}"),
                };
                if taken {
                    go = self.pc.wrapping_add(signed(imm, 13));
                }
            }
            0b0000011 => {
                let at = a.wrapping_add(imm_i);
                self.x[rd] = match f3 {
                    0 => signed(self.load(at, 1), 8),
                    1 => signed(self.load(at, 2), 16),
                    2 => self.load(at, 4),
                    4 => self.load(at, 1),
                    5 => self.load(at, 2),
                    _ => panic!("load {f3}"),
                };
            }
            0b0100011 => self.store(a.wrapping_add(imm_s), 1 << f3, b),
            0b0010011 => {
                // Shifts have their kind in bit 30, like instructions without an immediate.
                let arithmetic = if f3 == 5 { field(w, 31, 25) } else { 0 };
                self.x[rd] = operate(f3, arithmetic, a, imm_i);
            }
            0b0110011 => self.x[rd] = operate(f3, field(w, 31, 25), a, b),
            0b0001111 => {}
            0b0101111 => self.x[rd] = self.atomic(field(w, 31, 27), a, b),
            opcode => panic!("opcode {opcode:07b}"),
        }
        self.pc = go;
    }

    fn half(&mut self, c: u32) {
        let rd = field(c, 11, 7) as usize;
        let rs2 = field(c, 6, 2) as usize;
        // The short register fields.
        let s = 8 + field(c, 9, 7) as usize;
        let d = 8 + field(c, 4, 2) as usize;
        let imm6 = signed(field(c, 12, 12) * 32 + field(c, 6, 2), 6);
        let lw = field(c, 5, 5) * 64 + field(c, 12, 10) * 8 + field(c, 6, 6) * 4;
        let jump = signed(
            field(c, 12, 12) * 2048
                + field(c, 8, 8) * 1024
                + field(c, 10, 9) * 256
                + field(c, 6, 6) * 128
                + field(c, 7, 7) * 64
                + field(c, 2, 2) * 32
                + field(c, 11, 11) * 16
                + field(c, 5, 3) * 2,
            12,
        );
        let branch = signed(
            field(c, 12, 12) * 256
                + field(c, 6, 5) * 64
                + field(c, 2, 2) * 32
                + field(c, 11, 10) * 8
                + field(c, 4, 3) * 2,
            9,
        );
        let next = self.pc + 2;
        let mut go = next;
        match (field(c, 1, 0), field(c, 15, 13)) {
            (0, 0) => {
                let imm = field(c, 10, 7) * 64
                    + field(c, 12, 11) * 16
                    + field(c, 5, 5) * 8
                    + field(c, 6, 6) * 4;
                assert_ne!(imm, 0);
                self.x[d] = self.x[2].wrapping_add(imm);
            }
            (0, 2) => self.x[d] = self.load(self.x[s].wrapping_add(lw), 4),
            (0, 6) => self.store(self.x[s].wrapping_add(lw), 4, self.x[d]),
            (1, 0) => self.x[rd] = self.x[rd].wrapping_add(imm6),
            (1, 1) => {
                self.x[1] = next;
                go = self.pc.wrapping_add(jump);
            }
            (1, 2) => self.x[rd] = imm6,
            (1, 3) if rd == 2 => {
                let imm = field(c, 12, 12) * 512
                    + field(c, 4, 3) * 128
                    + field(c, 5, 5) * 64
                    + field(c, 2, 2) * 32
                    + field(c, 6, 6) * 16;
                self.x[2] = self.x[2].wrapping_add(signed(imm, 10));
            }
            (1, 3) => self.x[rd] = imm6.wrapping_mul(4096),
            (1, 4) => {
                let b = self.x[d];
                let a = self.x[s];
                self.x[s] = match (field(c, 11, 10), field(c, 6, 5)) {
                    (0, _) => operate(5, 0, a, imm6),
                    (1, _) => operate(5, 32, a, imm6),
                    (2, _) => operate(7, 0, a, imm6),
                    (_, 0) => operate(0, 32, a, b),
                    (_, 1) => operate(4, 0, a, b),
                    (_, 2) => operate(6, 0, a, b),
                    (_, _) => operate(7, 0, a, b),
                };
            }
            (1, 5) => go = self.pc.wrapping_add(jump),
            (1, 6) if self.x[s] == 0 => go = self.pc.wrapping_add(branch),
            (1, 7) if self.x[s] != 0 => go = self.pc.wrapping_add(branch),
            (1, 6 | 7) => {}
            (2, 0) => self.x[rd] = operate(1, 0, self.x[rd], imm6),
            (2, 2) => {
                let at = field(c, 3, 2) * 64 + field(c, 12, 12) * 32 + field(c, 6, 4) * 4;
                self.x[rd] = self.load(self.x[2].wrapping_add(at), 4);
            }
            (2, 6) => {
                let at = field(c, 8, 7) * 64 + field(c, 12, 9) * 4;
                self.store(self.x[2].wrapping_add(at), 4, self.x[rs2]);
            }
            (2, 4) => match (field(c, 12, 12), rs2) {
                (0, 0) => go = self.x[rd] / 2 * 2,
                (0, _) => self.x[rd] = self.x[rs2],
                (_, 0) => {
                    go = self.x[rd] / 2 * 2;
                    self.x[1] = next;
                }
                (_, _) => self.x[rd] = self.x[rd].wrapping_add(self.x[rs2]),
            },
            other => panic!("compressed {other:?}"),
        }
        self.pc = go;
    }

    /// An atomic operation at an address. Returns the value for the destination.
    fn atomic(&mut self, kind: u32, at: u32, b: u32) -> u32 {
        let old = self.load(at, 4);
        let signs = 0x8000_0000;
        let new = match kind {
            0b00010 => {
                self.reserved = Some(at);
                return old;
            }
            0b00011 => {
                let fails = self.reserved.take() != Some(at);
                if !fails {
                    self.store(at, 4, b);
                }
                return u32::from(fails);
            }
            0b00000 => old.wrapping_add(b),
            0b00001 => b,
            0b00100 => old ^ b,
            0b01000 => old | b,
            0b01100 => old & b,
            // Signed order is unsigned order with the signs flipped.
            0b10000 if old ^ signs < b ^ signs => old,
            0b10100 if old ^ signs > b ^ signs => old,
            0b11000 if old < b => old,
            0b11100 if old > b => old,
            0b10000 | 0b10100 | 0b11000 | 0b11100 => b,
            other => panic!("atomic {other:05b}"),
        };
        self.store(at, 4, new);
        old
    }

    fn load(&self, at: u32, len: u32) -> u32 {
        (0..len).map(|i| u32::from(self.memory[self.index(at + i)]) << (8 * i)).sum()
    }

    fn store(&mut self, at: u32, len: u32, value: u32) {
        for i in 0..len {
            let index = self.index(at + i);
            self.memory[index] = (value >> (8 * i)) as u8;
        }
    }

    fn index(&self, at: u32) -> usize {
        (at - self.memory_at) as usize
    }
}

/// Bits `high` to `low`.
fn field(value: u32, high: u32, low: u32) -> u32 {
    ((u64::from(value) % (1 << (high + 1))) >> low) as u32
}

/// Sign-extends a number of `bits` bits.
fn signed(value: u32, bits: u32) -> u32 {
    if value >= 1 << (bits - 1) { value.wrapping_sub(1 << bits) } else { value }
}

fn operate(f3: u32, f7: u32, a: u32, b: u32) -> u32 {
    let (sa, sb) = (i64::from(a as i32), i64::from(b as i32));
    let (ua, ub) = (i128::from(a), i128::from(b));
    match (f7, f3) {
        (0, 0) => (ua + ub) as u32,
        (32, 0) => (ua - ub) as u32,
        (0, 1) => (ua << (b % 32)) as u32,
        (0, 2) => u32::from(sa < sb),
        (0, 3) => u32::from(a < b),
        (0, 4) => (a | b) - (a & b),
        (0, 5) => (u64::from(a) >> (b % 32)) as u32,
        (32, 5) => (sa >> (b % 32)) as u32,
        (0, 6) => !(!a & !b),
        (0, 7) => a & b,
        (1, 0) => (ua * ub) as u32,
        (1, 1) => ((i128::from(sa) * i128::from(sb)) >> 32) as u32,
        (1, 2) => ((i128::from(sa) * ub) >> 32) as u32,
        (1, 3) => ((ua * ub) >> 32) as u32,
        (1, 4) => {
            if b == 0 {
                u32::MAX
            } else {
                (sa / sb) as u32
            }
        }
        (1, 5) => a.checked_div(b).unwrap_or(u32::MAX),
        (1, 6) => {
            if b == 0 {
                a
            } else {
                (sa % sb) as u32
            }
        }
        (1, 7) => {
            if b == 0 {
                a
            } else {
                a % b
            }
        }
        other => panic!("operation {other:?}"),
    }
}
