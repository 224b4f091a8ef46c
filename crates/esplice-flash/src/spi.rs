//! Sends the flash chip's own commands through the registers of the SPI controller.
//!
//! One WRITE_REG carries a whole transaction: loaders accept several register writes in one command
//! and wait between them.

use std::time::Duration;

use esplice_chip::{FlashOffset, SpiRegisters};
use esplice_protocol::{Opcode, Port, RegisterWrite, Request};

use crate::{FlashError, Session, session::SHORT};

/// JEDEC commands (JESD216, and every NOR chip's datasheet): read identification, write enable,
/// page program.
const READ_ID: u32 = 0x9f;
const WRITE_ENABLE: u32 = 0x06;
const PAGE_PROGRAM: u32 = 0x02;

/// CMD register: starts the transfer that USER describes (esp32c3 crate, spi1::cmd, `usr`).
const CMD_USR: u32 = 1 << 18;
/// USER register: phases of a transfer (esp32c3 crate, spi1::user, `usr_command`, `usr_addr`,
/// `usr_miso`, `usr_mosi`).
const USER_COMMAND: u32 = 1 << 31;
const USER_ADDR: u32 = 1 << 30;
const USER_MISO: u32 = 1 << 28;
const USER_MOSI: u32 = 1 << 27;
/// USER1 register: an address of 24 bits (esp32c3 crate, spi1::user1, `usr_addr_bitlen`, which
/// holds one less).
const USER1_ADDR_BITS: u32 = 23 << 26;
/// USER2 register: a command of eight bits (esp32c3 crate, spi1::user2,
/// `usr_command_bitlen`, which holds one less).
const USER2_EIGHT_BITS: u32 = 7 << 28;

/// Time for a transfer of a few bytes at the flash chip's slowest clock.
const TRANSFER_US: u32 = 100;
/// Time to program a page, with some reserve (Winbond W25Q32JV datasheet, 9.6 AC characteristics,
/// tPP: 3 ms).
const PROGRAM_US: u32 = 6_000;

impl<P: Port + ?Sized> Session<'_, P> {
    /// Reads the JEDEC ID (manufacturer, type, capacity), its word twice. The controller's
    /// registers are restored afterwards. `known` holds USER and USER2 if they were already read.
    pub(crate) fn flash_id(
        &mut self,
        spi: &SpiRegisters,
        known: Option<Vec<u32>>,
    ) -> Result<[u8; 3], FlashError> {
        let (mut transfer, back) = self.id_transfer(spi, known)?;
        transfer.extend(back);
        let word = spi.base.0.wrapping_add(spi.w0);
        // Everything in one round trip, if the loader supports it.
        let write = Request::WriteRegs(transfer.clone());
        if let Some(words) = self.request_and_read(Some(write), &[word])? {
            return Ok(id_of(words.first().copied().unwrap_or(0)));
        }
        self.write_regs(transfer)?;
        Ok(id_of(self.read_reg(word)?))
    }

    /// Reads the ID like [`Session::flash_id`], but writes each register by its own command.
    pub(crate) fn flash_id_singly(&mut self, spi: &SpiRegisters) -> Result<[u8; 3], FlashError> {
        let (transfer, back) = self.id_transfer(spi, None)?;
        self.write_regs_singly(transfer)?;
        let word = self.read_reg(spi.base.0.wrapping_add(spi.w0))?;
        self.write_regs_singly(back)?;
        Ok(id_of(word))
    }

    /// Returns the register writes that read the ID into W0, and those that restore the controller.
    fn id_transfer(
        &mut self,
        spi: &SpiRegisters,
        known: Option<Vec<u32>>,
    ) -> Result<(Vec<RegisterWrite>, Vec<RegisterWrite>), FlashError> {
        let at = |register: u32| spi.base.0.wrapping_add(register);
        let registers = match known {
            Some(known) => known,
            None => self.read_regs(&[at(spi.usr), at(spi.usr2)])?,
        };
        let [user, user2] = registers.as_slice() else { return Err(lost_registers()) };
        let (user, user2) = (*user, *user2);
        let transfer = vec![
            set(at(spi.miso_dlen), 24 - 1),
            set(at(spi.usr), USER_COMMAND | USER_MISO),
            set(at(spi.usr2), USER2_EIGHT_BITS | READ_ID),
            set(at(spi.w0), 0),
            set(at(spi.cmd), CMD_USR),
        ];
        let back = vec![later(TRANSFER_US, set(at(spi.usr), user)), set(at(spi.usr2), user2)];
        Ok((transfer, back))
    }

    /// Programs four bytes into blank flash, without an erase.
    pub(crate) fn program_word(
        &mut self,
        spi: &SpiRegisters,
        offset: FlashOffset,
        word: [u8; 4],
    ) -> Result<(), FlashError> {
        let at = |register: u32| spi.base.0.wrapping_add(register);
        let (user, user1, user2) = match self.spi_at_rest {
            Some(known) => known,
            None => {
                let registers = self.read_regs(&[at(spi.usr), at(spi.usr1), at(spi.usr2)])?;
                let [user, user1, user2] = registers[..] else { return Err(lost_registers()) };
                (user, user1, user2)
            }
        };
        self.spi_at_rest = Some((user, user1, user2));
        let addr = if spi.addr_high { offset.0 << 8 } else { offset.0 & 0xff_ffff };
        self.write_regs(vec![
            set(at(spi.usr), USER_COMMAND),
            set(at(spi.usr2), USER2_EIGHT_BITS | WRITE_ENABLE),
            set(at(spi.cmd), CMD_USR),
            later(TRANSFER_US, set(at(spi.usr), USER_COMMAND | USER_ADDR | USER_MOSI)),
            set(at(spi.usr1), USER1_ADDR_BITS),
            set(at(spi.usr2), USER2_EIGHT_BITS | PAGE_PROGRAM),
            set(at(spi.addr), addr),
            set(at(spi.mosi_dlen), 32 - 1),
            set(at(spi.w0), u32::from_le_bytes(word)),
            set(at(spi.cmd), CMD_USR),
            later(PROGRAM_US, set(at(spi.usr), user)),
            set(at(spi.usr1), user1),
            set(at(spi.usr2), user2),
        ])
    }

    /// Performs register writes from chip data, such as those to the watchdogs.
    pub(crate) fn write_chip_regs(
        &mut self,
        writes: &[esplice_chip::RegisterWrite],
    ) -> Result<(), FlashError> {
        if writes.is_empty() { Ok(()) } else { self.write_regs(register_writes(writes)) }
    }

    /// Writes registers, in one command if the loader supports it.
    fn write_regs(&mut self, writes: Vec<RegisterWrite>) -> Result<(), FlashError> {
        let wait: u64 = writes.iter().map(|write| u64::from(write.delay_us)).sum();
        let timeout = SHORT + Duration::from_micros(wait);
        match self.command(&Request::WriteRegs(writes.clone()), timeout) {
            Ok(_) => return Ok(()),
            Err(error) if !error.is_transient() => return Err(error),
            Err(FlashError::Refused { .. }) => {}
            Err(_) => {
                self.resync()?;
            }
        }
        self.write_regs_singly(writes)
    }

    fn write_regs_singly(&mut self, writes: Vec<RegisterWrite>) -> Result<(), FlashError> {
        for RegisterWrite { addr, value, mask, delay_us } in writes {
            let timeout = SHORT + Duration::from_micros(delay_us.into());
            let request = Request::WriteReg { addr, value, mask, delay_us };
            self.command_with_retry(&request, timeout)?;
        }
        Ok(())
    }
}

/// Converts register writes from chip data to the form of the protocol.
pub(crate) fn register_writes(writes: &[esplice_chip::RegisterWrite]) -> Vec<RegisterWrite> {
    let write = |w: &esplice_chip::RegisterWrite| RegisterWrite {
        addr: w.addr.0,
        value: w.value,
        mask: w.mask,
        delay_us: 0,
    };
    writes.iter().map(write).collect()
}

/// Error for fewer values than registers, which [`Session::read_regs`] never returns.
fn lost_registers() -> FlashError {
    FlashError::Malformed { command: Opcode::ReadReg, has: 0 }
}

/// Returns the ID in the word that its transfer leaves in W0.
fn id_of(word: u32) -> [u8; 3] {
    let [manufacturer, kind, capacity, _] = word.to_le_bytes();
    [manufacturer, kind, capacity]
}

/// Returns a write of a whole register.
fn set(addr: u32, value: u32) -> RegisterWrite {
    RegisterWrite { addr, value, mask: u32::MAX, delay_us: 0 }
}

/// Returns `write` with a delay before it.
fn later(delay_us: u32, write: RegisterWrite) -> RegisterWrite {
    RegisterWrite { delay_us, ..write }
}
