//! SPI0 and SPI1, the memory SPI controllers: flash commands by register, and transactions made
//! up by software (TRM 26; register and bit names there).

use super::{
    clock::Tick,
    device::{Device, Fabric, Registers, Scope},
    flash_chip::FlashChip,
};
use crate::nor::{BLOCK_64K_LEN, SECTOR_LEN};

const CMD: u32 = 0x00;
const ADDR: u32 = 0x04;
const USER: u32 = 0x18;
const USER1: u32 = 0x1c;
const USER2: u32 = 0x20;
const MOSI_DLEN: u32 = 0x24;
const MISO_DLEN: u32 = 0x28;
const RD_STATUS: u32 = 0x2c;
const W0: u32 = 0x58;
/// Bytes of the data buffer, W0 to W15.
const BUFFER: usize = 64;

/// Controls in CMD. Each clears itself when the transaction is over.
mod cmd {
    pub const READ: u32 = 1 << 31;
    pub const WREN: u32 = 1 << 30;
    pub const WRDI: u32 = 1 << 29;
    pub const RDID: u32 = 1 << 28;
    pub const RDSR: u32 = 1 << 27;
    pub const WRSR: u32 = 1 << 26;
    pub const PP: u32 = 1 << 25;
    pub const SE: u32 = 1 << 24;
    pub const BE: u32 = 1 << 23;
    pub const CE: u32 = 1 << 22;
    pub const RES: u32 = 1 << 20;
    pub const USR: u32 = 1 << 18;
}

/// Phases of a transaction, in USER.
mod user {
    pub const COMMAND: u32 = 1 << 31;
    pub const ADDR: u32 = 1 << 30;
    pub const MISO: u32 = 1 << 28;
    pub const MOSI: u32 = 1 << 27;
}

/// One controller.
#[derive(Clone)]
pub(crate) struct SpiMem {
    registers: Registers,
}

impl SpiMem {
    pub fn new(len: u32) -> Self {
        let mut spi = Self { registers: Registers::new(len) };
        spi.registers.reset(RESET);
        spi
    }

    fn buffer(&self) -> [u8; BUFFER] {
        let mut buffer = [0; BUFFER];
        for (word, bytes) in (0_u32..).zip(buffer.chunks_exact_mut(4)) {
            bytes.copy_from_slice(&self.registers.get(W0 + 4 * word).to_le_bytes());
        }
        buffer
    }

    fn fill_buffer(&mut self, data: &[u8]) {
        let mut buffer = self.buffer();
        for (to, from) in buffer.iter_mut().zip(data) {
            *to = *from;
        }
        for (word, bytes) in (0_u32..).zip(buffer.chunks_exact(4)) {
            let value = bytes.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
            self.registers.set(W0 + 4 * word, value);
        }
    }

    fn bits(&self, offset: u32, shift: u32, count: u32) -> u32 {
        self.registers.get(offset) >> shift & ((1 << count) - 1)
    }

    fn run(&mut self, controls: u32, flash: &mut FlashChip, now: u64) {
        // The flash commands take 24 bits of address, and the length from bits 31:24.
        let addr = self.registers.get(ADDR) & 0xff_ffff;
        let len = (self.registers.get(ADDR) >> 24) as usize;
        let buffer = self.buffer();
        if controls & cmd::WREN != 0 {
            flash.write_enable();
        }
        if controls & cmd::WRDI != 0 {
            flash.command(0x04, 0, &[], 0, now);
        }
        if controls & cmd::RDID != 0 {
            let id = flash.command(0x9f, 0, &[], 3, now);
            self.fill_buffer(&id);
        }
        if controls & cmd::RDSR != 0 {
            self.registers.set(RD_STATUS, u32::from(flash.status_1(now)));
        }
        if controls & cmd::WRSR != 0 {
            let value = self.registers.get(RD_STATUS).to_le_bytes();
            flash.command(0x01, 0, &value[..2], 0, now);
        }
        if controls & cmd::READ != 0 {
            let bits = self.bits(MISO_DLEN, 0, 10) + 1;
            let data = flash.read(addr, (bits as usize).div_ceil(8).min(BUFFER));
            self.fill_buffer(&data);
        }
        if controls & cmd::PP != 0 {
            flash.command(0x02, addr, &buffer[..len.min(BUFFER)], 0, now);
        }
        if controls & cmd::SE != 0 {
            flash.erase(addr, SECTOR_LEN, now);
        }
        if controls & cmd::BE != 0 {
            flash.erase(addr, BLOCK_64K_LEN, now);
        }
        if controls & cmd::CE != 0 {
            flash.command(0xc7, 0, &[], 0, now);
        }
        if controls & cmd::RES != 0 {
            let id = flash.command(0xab, 0, &[], 1, now);
            self.fill_buffer(&id);
        }
        if controls & cmd::USR != 0 {
            self.transaction(flash, now);
        }
    }

    fn transaction(&mut self, flash: &mut FlashChip, now: u64) {
        let phases = self.registers.get(USER);
        if phases & user::COMMAND == 0 {
            return;
        }
        let opcode = self.bits(USER2, 0, 8) as u8;
        let addr_bits = self.bits(USER1, 26, 6) + 1;
        // Right-aligned: for a 24-bit address, its bits 23:0.
        let addr = match phases & user::ADDR {
            0 => 0,
            _ if addr_bits >= 32 => self.registers.get(ADDR) & 0xff_ffff,
            _ => self.registers.get(ADDR) & ((1 << addr_bits) - 1),
        };
        let out_len = match phases & user::MOSI {
            0 => 0,
            _ => (self.bits(MOSI_DLEN, 0, 10) as usize + 1).div_ceil(8).min(BUFFER),
        };
        let in_len = match phases & user::MISO {
            0 => 0,
            _ => (self.bits(MISO_DLEN, 0, 10) as usize + 1).div_ceil(8).min(BUFFER),
        };
        let buffer = self.buffer();
        let reply = flash.command(opcode, addr, &buffer[..out_len], in_len, now);
        if in_len > 0 {
            // Of the last byte only the bits that were clocked in count.
            let mut reply = reply;
            let bits = self.bits(MISO_DLEN, 0, 10) as usize + 1;
            if let (Some(last), odd @ 1..) = (reply.last_mut(), bits % 8) {
                *last &= (1 << odd) - 1;
            }
            // The word of the last byte is filled up with zeros.
            reply.resize(in_len.next_multiple_of(4).min(BUFFER), 0);
            self.fill_buffer(&reply);
        }
    }
}

/// Values after a reset that software relies on (TRM 26.7): USER has a command phase; 24 address
/// bits; 8 command bits.
const RESET: &[(u32, u32)] = &[(USER, user::COMMAND), (USER1, 23 << 26 | 7), (USER2, 7 << 28)];

impl Device for SpiMem {
    fn read(&mut self, offset: u32, _fabric: &mut Fabric) -> u32 {
        self.registers.get(offset)
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        if offset != CMD {
            self.registers.set(offset, value);
            return;
        }
        let now = fabric.now();
        self.run(value, &mut fabric.flash, now);
        fabric.flash_touched();
        // The transaction is over before software can look: CMD reads 0.
    }

    fn steady_until(&self, _offset: u32, _fabric: &Fabric) -> Option<Tick> {
        Some(Tick::MAX)
    }

    fn reset(&mut self, scope: Scope, _fabric: &mut Fabric) {
        if scope >= Scope::Core {
            self.registers.reset(RESET);
        }
    }
}
