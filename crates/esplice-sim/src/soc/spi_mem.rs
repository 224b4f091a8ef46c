//! SPI0 and SPI1, the memory SPI controllers: flash commands by register, and transactions composed
//! by software (TRM 26, which defines the register and bit names). A transaction takes the clocks
//! of its command, address, dummy and data phases, each on its number of lines, at the rate set in
//! CLOCK.

use esplice_chip::Peripheral;

use super::{
    clock::{Tick, periods},
    device::{Device, Fabric, Registers, Scope},
    flash_chip::FlashChip,
};
use crate::nor::{BLOCK_64K_LEN, SECTOR_LEN};

const CMD: u32 = 0x00;
const ADDR: u32 = 0x04;
const CTRL: u32 = 0x08;
const CLOCK: u32 = 0x14;
const USER: u32 = 0x18;
const USER1: u32 = 0x1c;
const USER2: u32 = 0x20;
const MOSI_DLEN: u32 = 0x24;
const MISO_DLEN: u32 = 0x28;
const RD_STATUS: u32 = 0x2c;
const MISC: u32 = 0x34;
const W0: u32 = 0x58;
/// Size of the data buffer in bytes, W0 to W15.
const BUFFER: usize = 64;

/// Commands in CMD. Each bit clears itself when the transaction ends.
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
    /// All commands.
    pub const ALL: u32 = READ | WREN | WRDI | RDID | RDSR | WRSR | PP | SE | BE | CE | RES | USR;
    /// SPI1_MST_ST, the controller's state; its value during a transaction is "send command".
    pub const SENDING: u32 = 2;
}

/// Phases of a transaction, in USER.
mod user {
    pub const COMMAND: u32 = 1 << 31;
    pub const ADDR: u32 = 1 << 30;
    pub const DUMMY: u32 = 1 << 29;
    pub const MISO: u32 = 1 << 28;
    pub const MOSI: u32 = 1 << 27;
    /// Lines for writes, with the same meaning as in [`ctrl`](super::ctrl) for reads.
    pub const WRITE_QIO: u32 = 1 << 15;
    pub const WRITE_DIO: u32 = 1 << 14;
    pub const WRITE_QUAD: u32 = 1 << 13;
    pub const WRITE_DUAL: u32 = 1 << 12;
}

/// Lines for reads, in CTRL: DUAL and QUAD apply to the data, DIO and QIO also to the address.
mod ctrl {
    pub const QIO: u32 = 1 << 24;
    pub const DIO: u32 = 1 << 23;
    pub const QUAD: u32 = 1 << 20;
    pub const DUAL: u32 = 1 << 14;
    /// The other bits have an effect only with this one.
    pub const FAST_READ: u32 = 1 << 13;
}

/// Chips that are not selected, in MISC.
pub(crate) mod misc {
    pub const CS0_DIS: u32 = 1 << 0;
    pub const CS1_DIS: u32 = 1 << 1;
}

/// Clocks of a command and of an address on one line.
const COMMAND_CLOCKS: u64 = 8;
const ADDR_CLOCKS: u64 = 24;
/// CLOCK: the bus uses the controller's clock undivided.
const CLOCK_EQUAL: u32 = 1 << 31;

/// Number of lines for address and data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lines {
    addr: u64,
    data: u64,
}

/// A memory SPI controller.
#[derive(Clone)]
pub(crate) struct SpiMem {
    registers: Registers,
    /// End of the transaction that CMD shows.
    busy_until: Tick,
}

impl SpiMem {
    pub fn new(device: &Peripheral) -> Self {
        Self { registers: Registers::of(device), busy_until: 0 }
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

    /// Returns the lines of a read transaction.
    fn read_lines(&self) -> Lines {
        match self.registers.get(CTRL) {
            bits if bits & ctrl::FAST_READ == 0 => Lines { addr: 1, data: 1 },
            bits if bits & ctrl::QIO != 0 => Lines { addr: 4, data: 4 },
            bits if bits & ctrl::DIO != 0 => Lines { addr: 2, data: 2 },
            bits if bits & ctrl::QUAD != 0 => Lines { addr: 1, data: 4 },
            bits if bits & ctrl::DUAL != 0 => Lines { addr: 1, data: 2 },
            _ => Lines { addr: 1, data: 1 },
        }
    }

    /// Returns the lines of a write transaction.
    fn write_lines(&self) -> Lines {
        match self.registers.get(USER) {
            bits if bits & user::WRITE_QIO != 0 => Lines { addr: 4, data: 4 },
            bits if bits & user::WRITE_DIO != 0 => Lines { addr: 2, data: 2 },
            bits if bits & user::WRITE_QUAD != 0 => Lines { addr: 1, data: 4 },
            bits if bits & user::WRITE_DUAL != 0 => Lines { addr: 1, data: 2 },
            _ => Lines { addr: 1, data: 1 },
        }
    }

    /// Returns how many bus clocks the commands in `controls` take.
    fn clocks(&self, controls: u32) -> u64 {
        let dummy = match self.registers.get(USER) & user::DUMMY {
            0 => 0,
            _ => u64::from(self.bits(USER1, 0, 6)) + 1,
        };
        let read_bits = u64::from(self.bits(MISO_DLEN, 0, 10)) + 1;
        let len = u64::from(self.registers.get(ADDR) >> 24).min(BUFFER as u64);
        let lines = self.read_lines();
        let written = self.write_lines();
        [
            (cmd::WREN | cmd::WRDI | cmd::CE, COMMAND_CLOCKS),
            (cmd::RDID, COMMAND_CLOCKS + 24),
            (cmd::RDSR, COMMAND_CLOCKS + 8),
            (cmd::WRSR, COMMAND_CLOCKS + 16),
            (cmd::SE | cmd::BE, COMMAND_CLOCKS + ADDR_CLOCKS),
            (cmd::RES, COMMAND_CLOCKS + ADDR_CLOCKS + 8),
            (
                cmd::PP,
                COMMAND_CLOCKS
                    + ADDR_CLOCKS.div_ceil(written.addr)
                    + (8 * len).div_ceil(written.data),
            ),
            (
                cmd::READ,
                COMMAND_CLOCKS
                    + ADDR_CLOCKS.div_ceil(lines.addr)
                    + dummy
                    + read_bits.div_ceil(lines.data),
            ),
            (cmd::USR, self.transaction_clocks(dummy)),
        ]
        .iter()
        .filter(|(commands, _)| controls & commands != 0)
        .map(|(_, clocks)| clocks)
        .sum()
    }

    fn transaction_clocks(&self, dummy: u64) -> u64 {
        let phases = self.registers.get(USER);
        let lines = match phases & user::MOSI {
            0 => self.read_lines(),
            _ => self.write_lines(),
        };
        let phase = |phase: u32, clocks: u64| if phases & phase != 0 { clocks } else { 0 };
        let bits =
            |offset: u32, shift: u32, count: u32| u64::from(self.bits(offset, shift, count)) + 1;
        phase(user::COMMAND, bits(USER2, 28, 4))
            + phase(user::ADDR, bits(USER1, 26, 6).div_ceil(lines.addr))
            + dummy
            + phase(user::MOSI, bits(MOSI_DLEN, 0, 10).div_ceil(self.write_lines().data))
            + phase(user::MISO, bits(MISO_DLEN, 0, 10).div_ceil(self.read_lines().data))
    }

    /// Returns the bus clock in Hz: the controller's clock divided by CLKCNT_N + 1.
    fn hz(&self, fabric: &Fabric) -> u64 {
        let clock = self.registers.get(CLOCK);
        let divider = if clock & CLOCK_EQUAL != 0 { 1 } else { u64::from(clock >> 16 & 0xff) + 1 };
        fabric.clock.flash_hz() / divider
    }

    /// Executes commands. `now` is the end of their transaction: only then does the chip start an
    /// operation that takes time, and a status is that of its last clocks.
    fn run(&mut self, controls: u32, flash: &mut FlashChip, now: Tick) {
        // The flash commands use 24 address bits, and the length in bits 31:24.
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

    fn transaction(&mut self, flash: &mut FlashChip, now: Tick) {
        let phases = self.registers.get(USER);
        if phases & user::COMMAND == 0 {
            return;
        }
        let opcode = self.bits(USER2, 0, 8) as u8;
        let addr_bits = self.bits(USER1, 26, 6) + 1;
        // Right-aligned: a 24-bit address is in bits 23:0.
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
            // Only the received bits of the last byte count.
            let mut reply = reply;
            let bits = self.bits(MISO_DLEN, 0, 10) as usize + 1;
            if let (Some(last), odd @ 1..) = (reply.last_mut(), bits % 8) {
                *last &= (1 << odd) - 1;
            }
            // The word with the last byte is padded with zeros.
            reply.resize(in_len.next_multiple_of(4).min(BUFFER), 0);
            self.fill_buffer(&reply);
        }
    }
}

impl Device for SpiMem {
    fn read(&mut self, offset: u32, fabric: &mut Fabric) -> u32 {
        match offset {
            CMD if self.busy_until <= fabric.now() => 0,
            _ => self.registers.get(offset),
        }
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        let controls = value & cmd::ALL;
        if offset != CMD || controls == 0 {
            if offset != CMD {
                self.registers.set(offset, value);
            }
            // This write is common to all ways of setting up the bus in the ROM (ROM: `SPI_init`),
            // and nothing else does it.
            if offset == MISC && value & (misc::CS0_DIS | misc::CS1_DIS) == misc::CS1_DIS {
                fabric.flash.attach(true);
            }
            return;
        }
        // Commands started during a transaction follow it.
        let mut end = self.busy_until.max(fabric.now());
        if fabric.timed {
            end = end.saturating_add(periods(self.clocks(controls), self.hz(fabric)));
        }
        self.run(controls, &mut fabric.flash, end);
        self.registers.set(CMD, controls | cmd::SENDING);
        self.busy_until = end;
        fabric.flash_touched();
    }

    fn steady_until(&self, offset: u32, fabric: &Fabric) -> Option<Tick> {
        match offset {
            CMD if self.busy_until > fabric.now() => Some(self.busy_until),
            _ => Some(Tick::MAX),
        }
    }

    fn reset(&mut self, scope: Scope, _fabric: &mut Fabric) {
        if scope >= Scope::Core {
            self.registers.reset();
            self.busy_until = 0;
        }
    }
}
