//! The time that the ROM's flash functions spend on the SPI bus: their transactions, at the clock
//! and over the lines set by SPI1's registers. The CPU's work in between is charged separately, as
//! cycles.

use super::{
    Call,
    flash::{CLOCK, CTRL},
};
use crate::{
    cpu::Bus,
    soc::{
        Soc,
        clock::{Tick, periods},
    },
};

/// Clocks of a command, of an address, and of a byte on one line.
const COMMAND: u64 = 8;
const ADDR: u64 = 24;
const BYTE: u64 = 8;
/// Bytes read by one transaction (ROM, `SPI_read_data`).
const READ_CHUNK: u32 = 16;

/// The bus as set up by its registers.
pub(super) struct SpiBus {
    hz: u64,
    timed: bool,
    /// Clocks of a reading transaction.
    chunk: u64,
}

impl SpiBus {
    pub(super) fn of(call: &mut Call<'_>) -> Self {
        let hz = spi_hz(call.soc);
        let spi = call.soc.base_of("spi1").unwrap_or(0);
        let ctrl = call.load(spi + CTRL);
        Self { hz, timed: call.soc.fabric.timed, chunk: chunk(ctrl) }
    }

    fn clocks(&self, clocks: u64) -> Tick {
        if self.timed { periods(clocks, self.hz) } else { 0 }
    }

    /// Returns the time of a status read.
    pub(super) fn status(&self) -> Tick {
        self.clocks(COMMAND + BYTE)
    }

    /// Returns the time of a JEDEC ID read.
    pub(super) fn id(&self) -> Tick {
        self.clocks(COMMAND + 3 * BYTE)
    }

    /// Returns the time of a release from power-down, with the ID that it returns.
    pub(super) fn release(&self) -> Tick {
        self.clocks(COMMAND + ADDR + BYTE)
    }

    /// Returns the time of `SPI_write_enable`: write enable between two status reads.
    pub(super) fn write_enable(&self) -> Tick {
        2 * self.status() + self.clocks(COMMAND)
    }

    pub(super) fn write_status(&self) -> Tick {
        self.clocks(COMMAND + 2 * BYTE)
    }

    pub(super) fn program(&self, len: u32) -> Tick {
        self.clocks(COMMAND + ADDR + BYTE * u64::from(len))
    }

    /// Returns the time of an erase command after a status read.
    pub(super) fn erase(&self) -> Tick {
        self.status() + self.clocks(COMMAND + ADDR)
    }

    pub(super) fn read(&self, len: u32) -> Tick {
        self.clocks(self.chunk * u64::from(len.div_ceil(READ_CHUNK)))
    }
}

/// Returns the clock of SPI1's bus in Hz: the peripheral bus clock divided by CLOCK (TRM 26.7).
pub(crate) fn spi_hz(soc: &mut Soc) -> u64 {
    let spi = soc.base_of("spi1").unwrap_or(0);
    let clock = soc.load32(spi + CLOCK).unwrap_or(0);
    let divider = if clock >> 31 != 0 { 1 } else { u64::from(clock >> 16 & 0xff) + 1 };
    soc.fabric.clock.apb_hz() / divider
}

/// Returns the clocks of a 16-byte read in CTRL's mode: command, address, dummy cycles, data (for
/// the dummy cycles: ROM, `esp_rom_spiflash_config_readmode`).
fn chunk(ctrl: u32) -> u64 {
    let bits = u64::from(READ_CHUNK) * BYTE;
    COMMAND
        + match ctrl {
            _ if ctrl & 1 << 13 == 0 => ADDR + bits,
            _ if ctrl & 1 << 24 != 0 => ADDR / 4 + 6 + bits / 4,
            _ if ctrl & 1 << 23 != 0 => ADDR / 2 + 4 + bits / 2,
            _ if ctrl & 1 << 20 != 0 => ADDR + 8 + bits / 4,
            _ if ctrl & 1 << 14 != 0 => ADDR + 8 + bits / 2,
            _ => ADDR + 8 + bits,
        }
}
