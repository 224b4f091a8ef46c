//! The eFuse controller: fuses that only change from 0 to 1, the commands that burn and read them,
//! their protection bits, and the check bytes of blocks 1 to 10 (TRM, "eFuse Controller", which
//! defines the register and bit names; offsets as in the crate esp32c3, `efuse`).
//!
//! Fuses are burnt in the board's memory and last as long as the board object. A block whose check
//! bytes do not match its data reads as burnt and is reported; the real controller would correct up
//! to six of its bytes.

use super::clock::Tick;
use super::device::{Device, Fabric, Registers, Scope};
use esplice_chip::{EfuseGuards, Peripheral};

const PGM_DATA0: u32 = 0x00;
/// First of the registers that show fuses.
const FIRST_READ: u32 = 0x2c;
/// Registers after CONF, as distances from it.
const STATUS: u32 = 0x04;
const CMD: u32 = 0x08;
const INT_RAW: u32 = 0x0c;
const INT_ST: u32 = 0x10;

/// CONF values that allow a command.
const OP_PROGRAM: u32 = 0x5a5a;
const OP_READ: u32 = 0x5aa5;
const CMD_READ: u32 = 1 << 0;
const CMD_PROGRAM: u32 = 1 << 1;
const INT_READ_DONE: u32 = 1 << 0;
const INT_PROGRAM_DONE: u32 = 1 << 1;

/// Registers and blocks that differ between versions.
#[derive(Debug, Clone, Copy)]
struct Layout {
    /// The first register and number of words of each block.
    blocks: &'static [(u32, usize)],
    /// Number of errors and failure of each block but the first, 4 bits each.
    rs_err: u32,
    /// CONF, followed by STATUS, CMD, INT_RAW and INT_ST.
    conf: u32,
    /// INT_ENA, followed by INT_CLR.
    int_ena: u32,
}

/// The controller of the ESP32-C3, ESP32-C6 and ESP32-H2.
const V1: Layout = Layout {
    blocks: &[
        (0x2c, 6),
        (0x44, 6),
        (0x5c, 8),
        (0x7c, 8),
        (0x9c, 8),
        (0xbc, 8),
        (0xdc, 8),
        (0xfc, 8),
        (0x11c, 8),
        (0x13c, 8),
        (0x15c, 8),
    ],
    rs_err: 0x1c0,
    conf: 0x1cc,
    int_ena: 0x1e0,
};

/// The controller of the ESP32-C2 (crate esp32c2, `efuse`).
const V2: Layout = Layout {
    blocks: &[(0x2c, 2), (0x34, 3), (0x40, 8), (0x60, 8)],
    rs_err: 0x84,
    conf: 0x8c,
    int_ena: 0x100,
};

/// Most blocks of a controller.
const MOST_BLOCKS: usize = 11;
/// Words of a block's data, and of the check bytes that follow.
const DATA: usize = 8;
const CHECK: usize = 3;

/// Fuses of a block: data, then check bytes.
type Block = [u32; DATA + CHECK];

/// The controller and its fuses.
#[derive(Debug, Clone)]
pub(crate) struct Efuses {
    registers: Registers,
    raw: u32,
    layout: Layout,
    blocks: [Block; MOST_BLOCKS],
    guards: EfuseGuards,
}

impl Efuses {
    /// Creates version 1. `burnt` lists (offset of the register that shows the fuses, bits).
    pub fn v1(device: &Peripheral, burnt: &[(u32, u32)], guards: &EfuseGuards) -> Self {
        Self::with(device, burnt, guards, V1)
    }

    /// Creates version 2.
    pub fn v2(device: &Peripheral, burnt: &[(u32, u32)], guards: &EfuseGuards) -> Self {
        Self::with(device, burnt, guards, V2)
    }

    fn with(
        device: &Peripheral,
        burnt: &[(u32, u32)],
        guards: &EfuseGuards,
        layout: Layout,
    ) -> Self {
        let blocks = [[0; DATA + CHECK]; MOST_BLOCKS];
        let (registers, guards) = (Registers::of(device), guards.clone());
        let mut efuses = Self { registers, raw: 0, layout, blocks, guards };
        for &(offset, bits) in burnt {
            efuses.burn(offset, bits);
        }
        efuses
    }

    /// Returns whether a bit of block 0 is burnt.
    fn is_burnt(&self, bit: u32) -> bool {
        self.blocks[0].get((bit / 32) as usize).is_some_and(|word| word >> (bit % 32) & 1 != 0)
    }

    /// Burns a block with the contents of the program registers.
    fn program(&mut self, number: usize) {
        let mut wanted: Block =
            std::array::from_fn(|word| self.registers.get(PGM_DATA0 + 4 * word as u32));
        if number == 0 {
            let words = self.layout.blocks.first().map_or(0, |block| block.1);
            wanted[words..].fill(0);
            for &(guard, first, count) in &self.guards.fields {
                if self.is_burnt(guard) {
                    for bit in first..first.saturating_add(count) {
                        if let Some(word) = wanted.get_mut((bit / 32) as usize) {
                            *word &= !(1 << (bit % 32));
                        }
                    }
                }
            }
        } else if self.is_burnt(self.guards.first_block + number as u32 - 1) {
            return;
        }
        let Some(block) = self.blocks.get_mut(number) else { return };
        for (fuses, bits) in block.iter_mut().zip(wanted) {
            *fuses |= bits;
        }
    }

    /// Copies the fuses to the registers.
    fn refresh_registers(&mut self) {
        let mut errors = 0_u64;
        for (number, (first, words)) in self.layout.blocks.iter().copied().enumerate() {
            let hidden = (number as u32)
                .checked_sub(self.guards.first_secret)
                .is_some_and(|at| self.is_burnt(self.guards.read_guard + at));
            let block = self.blocks[number];
            for (word, bits) in (0_u32..).zip(block.iter().take(words)) {
                self.registers.set(first + 4 * word, if hidden { 0 } else { *bits });
            }
            if number > 0 && block[DATA..] != check_words(&block) {
                // The fail bit, and the maximum number of wrong bytes that the count can hold.
                errors |= 0xf << (4 * (number - 1));
            }
        }
        self.registers.set(self.layout.rs_err, errors as u32);
        if self.layout.blocks.len() > 9 {
            self.registers.set(self.layout.rs_err + 4, (errors >> 32) as u32);
        }
    }
}

impl Device for Efuses {
    fn read(&mut self, offset: u32, _fabric: &mut Fabric) -> u32 {
        let layout = &self.layout;
        match offset.wrapping_sub(layout.conf) {
            STATUS => 0,
            // Commands complete immediately, so the controller is always idle.
            CMD => self.registers.get(offset) & !(CMD_READ | CMD_PROGRAM),
            INT_RAW => self.raw,
            INT_ST => self.raw & self.registers.get(layout.int_ena),
            _ => self.registers.get(offset),
        }
    }

    fn write(&mut self, offset: u32, value: u32, _fabric: &mut Fabric) {
        let layout = self.layout;
        match offset.wrapping_sub(layout.conf) {
            CMD => {
                self.registers.set(offset, value);
                let op = self.registers.get(layout.conf) & 0xffff;
                if value & CMD_PROGRAM != 0 && op == OP_PROGRAM {
                    self.program((value >> 2 & 0xf) as usize);
                    self.raw |= INT_PROGRAM_DONE;
                }
                if value & CMD_READ != 0 && op == OP_READ {
                    self.refresh_registers();
                    self.raw |= INT_READ_DONE;
                }
            }
            STATUS | INT_RAW | INT_ST => {}
            _ if offset == layout.int_ena + 4 => self.raw &= !value,
            // The clock's register, before CONF, is the only one of these that can be written.
            _ if (FIRST_READ..layout.conf - 4).contains(&offset) => {}
            _ => self.registers.set(offset, value),
        }
    }

    /// Also updates the check bytes, and shows the fuses immediately.
    fn burn(&mut self, offset: u32, bits: u32) {
        for (number, (block, (first, words))) in
            self.blocks.iter_mut().zip(self.layout.blocks.iter().copied()).enumerate()
        {
            let word = (offset.wrapping_sub(first) / 4) as usize;
            if offset >= first && word < words {
                block[word] |= bits;
                if number > 0 {
                    let check = check_words(block);
                    block[DATA..].copy_from_slice(&check);
                }
            }
        }
        self.refresh_registers();
    }

    fn lines(&self) -> u32 {
        u32::from(self.raw & self.registers.get(self.layout.int_ena) != 0)
    }

    fn steady_until(&self, _offset: u32, _fabric: &Fabric) -> Option<Tick> {
        Some(Tick::MAX)
    }

    fn reset(&mut self, scope: Scope, _fabric: &mut Fabric) {
        if scope >= Scope::Core {
            self.registers.reset();
            self.raw = 0;
            self.refresh_registers();
        }
    }
}

/// Returns the twelve check bytes of a block's 32: a Reed-Solomon code RS(44, 32) over GF(2^8) with
/// the polynomial x^8 + x^4 + x^3 + x^2 + 1 (TRM, "Hardware encoding scheme") and the roots α^0 to
/// α^11, as computed by the mask ROM's `ets_efuse_rs_calculate`.
fn check_words(block: &Block) -> [u32; CHECK] {
    if block[..DATA].iter().all(|word| *word == 0) {
        return [0; CHECK];
    }
    const LEN: usize = 4 * CHECK;
    let mut generator = [0_u8; LEN];
    // Product of (x - root) without its leading 1; lowest power last.
    let mut product = vec![1_u8];
    let mut root = 1;
    for _ in 0..LEN {
        let mut next = product.clone();
        next.push(0);
        for (at, factor) in product.iter().enumerate() {
            next[at + 1] ^= multiply(*factor, root);
        }
        product = next;
        root = multiply(root, 2);
    }
    generator.copy_from_slice(&product[1..]);
    let mut rest = [0_u8; LEN];
    for byte in block[..DATA].iter().flat_map(|word| word.to_le_bytes()) {
        let factor = byte ^ rest[0];
        rest.rotate_left(1);
        rest[LEN - 1] = 0;
        for (rest, coefficient) in rest.iter_mut().zip(generator) {
            *rest ^= multiply(factor, coefficient);
        }
    }
    std::array::from_fn(|word| {
        rest[4 * word..4 * word + 4].iter().rev().fold(0, |bits, byte| bits << 8 | u32::from(*byte))
    })
}

/// Multiplies in GF(2^8).
fn multiply(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    while b != 0 {
        if b & 1 != 0 {
            product ^= a;
        }
        a = a << 1 ^ if a & 0x80 != 0 { 0x1d } else { 0 };
        b >>= 1;
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected bytes are from the Python package reedsolo, `RSCodec(12)`.
    #[test]
    fn check_bytes_are_the_codes() {
        let bytes: [u8; 32] = std::array::from_fn(|at| at as u8);
        let mut block = [0; DATA + CHECK];
        for (word, bytes) in block.iter_mut().zip(bytes.chunks(4)) {
            *word = u32::from_le_bytes(bytes.try_into().unwrap());
        }
        let found: Vec<u8> = check_words(&block).iter().flat_map(|w| w.to_le_bytes()).collect();
        assert_eq!(found, KNOWN);
        assert_eq!(check_words(&[0; DATA + CHECK]), [0; CHECK]);
    }
    const KNOWN: [u8; 12] = [160, 76, 71, 13, 63, 252, 178, 3, 218, 233, 244, 19];
}
