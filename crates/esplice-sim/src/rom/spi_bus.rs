//! The time that the ROM's flash functions spend on the SPI bus: the transactions that each makes, at the clock and
//! over the lines that SPI1's registers set. What the CPU does in between is charged apart, as cycles.

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
/// Bytes that one transaction reads (ROM, `SPI_read_data`).
const READ_CHUNK: u32 = 16;

/// The bus as its registers have set it up.
pub(super) struct SpiBus {
    hz: u64,
    timed: bool,
    /// Clocks of a transaction that reads.
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

    /// A look at the status.
    pub(super) fn status(&self) -> Tick {
        self.clocks(COMMAND + BYTE)
    }

    /// JEDEC id.
    pub(super) fn id(&self) -> Tick {
        self.clocks(COMMAND + 3 * BYTE)
    }

    /// The end of power-down, with the id that it answers.
    pub(super) fn release(&self) -> Tick {
        self.clocks(COMMAND + ADDR + BYTE)
    }

    /// `SPI_write_enable`: the latch between two looks at the status.
    pub(super) fn write_enable(&self) -> Tick {
        2 * self.status() + self.clocks(COMMAND)
    }

    pub(super) fn write_status(&self) -> Tick {
        self.clocks(COMMAND + 2 * BYTE)
    }

    pub(super) fn program(&self, len: u32) -> Tick {
        self.clocks(COMMAND + ADDR + BYTE * u64::from(len))
    }

    /// The command of an erase, behind a look at the status.
    pub(super) fn erase(&self) -> Tick {
        self.status() + self.clocks(COMMAND + ADDR)
    }

    pub(super) fn read(&self, len: u32) -> Tick {
        self.clocks(self.chunk * u64::from(len.div_ceil(READ_CHUNK)))
    }
}

/// The clock of SPI1's bus in Hz: that of the peripheral bus, divided as CLOCK says (TRM 26.7).
pub(crate) fn spi_hz(soc: &mut Soc) -> u64 {
    let spi = soc.base_of("spi1").unwrap_or(0);
    let clock = soc.load32(spi + CLOCK).unwrap_or(0);
    let divider = if clock >> 31 != 0 { 1 } else { u64::from(clock >> 16 & 0xff) + 1 };
    soc.fabric.clock.apb_hz() / divider
}

/// Clocks of a read of 16 bytes by the mode in CTRL: command, address, dummy cycles, data (ROM,
/// `esp_rom_spiflash_config_readmode`, for the dummy cycles).
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
