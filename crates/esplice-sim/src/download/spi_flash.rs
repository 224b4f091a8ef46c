//! The ROM's own flash functions, as far as their effects are visible on the wire.
//!
//! The source is the code of the ESP32-C3's mask ROM (the vendor's ROM ELF, revision 3):
//! `SPIEraseArea`, `esp_rom_spiflash_write`, `esp_rom_spiflash_read`, `SPI_page_program`.

use super::{Effects, LoaderTarget};
use crate::nor::{BLOCK_64K_LEN, Nor, NorError, SECTOR_LEN};

/// Bytes per program operation of the ROM (ROM, `rom_default_spiflash_legacy_funcs`).
const PROGRAM_CHUNK: usize = 32;
/// Most program or erase steps of one command: twice what the largest chip needs. Only a geometry
/// that no chip has takes more, and then the ROM is busy for minutes.
const MOST_STEPS: u32 = 8192;

/// CPU cycles and SPI bus clocks of the ROM's flash functions, in addition to the flash chip's own
/// time. Measured by executing the ROM on a board with and without time; `esp_rom_spiflash_*` in
/// the chip's ROM table have the same figures.
mod costs {
    /// CPU cycles and bus clocks.
    pub struct Cost(pub u64, pub u64);

    /// A read.
    pub const READ: Cost = Cost(145, 16);
    /// Each 16 bytes of a read: command, address, data on one line.
    pub const READ_CHUNK: Cost = Cost(61, 8 + 24 + 16 * 8);
    /// A program of up to 32 bytes: write enable between status polls, command, address.
    pub const PROGRAM: Cost = Cost(318, 40 + 32);
    /// Each programmed byte.
    pub const PROGRAM_BYTE: Cost = Cost(0, 8);
    /// An erase.
    pub const ERASE: Cost = Cost(338, 40 + 16 + 32);
    /// Removing write protection, after setting the read mode.
    pub const UNLOCK: Cost = Cost(651, 144);
    /// Protecting the chip.
    pub const LOCK: Cost = Cost(430, 112);
}

impl Effects {
    /// Charges `times` times a cost of the flash functions.
    fn charge(&mut self, costs::Cost(cycles, bus): costs::Cost, times: usize) {
        let times = times as u64;
        self.cycles = self.cycles.saturating_add(cycles * times);
        self.bus = self.bus.saturating_add(bus * times);
    }
}

/// Reason why a flash function of the ROM fails.
#[derive(Debug)]
pub(super) enum SpiError {
    /// The function returns an error.
    Refused,
    /// The function never returns, or not within any time a host would wait.
    Stuck,
    /// The flash chip failed.
    Nor(NorError),
}

impl From<NorError> for SpiError {
    fn from(error: NorError) -> SpiError {
        SpiError::Nor(error)
    }
}

/// The ROM's assumptions about its flash chip, changed by SPI_SET_PARAMS.
#[derive(Debug, Clone)]
pub(super) struct Geometry {
    pub(super) size: u32,
    pub(super) block: u32,
    pub(super) sector: u32,
    pub(super) page: u32,
}

impl Geometry {
    /// Returns the geometry before SPI_SET_PARAMS (ROM, `rom_default_spiflash_legacy_data`).
    pub(super) fn at_reset(size: u32) -> Geometry {
        Geometry { size, block: 0x1_0000, sector: 0x1000, page: 0x100 }
    }

    /// Erases the sectors of `len` bytes at `offset`: sector by sector up to the end of the first
    /// block, by blocks while more than a block remains, then sector by sector again.
    pub(super) fn erase_area(
        &self,
        target: &mut dyn LoaderTarget,
        offset: u32,
        len: u32,
        effects: &mut Effects,
    ) -> Result<(), SpiError> {
        if offset.wrapping_add(len) > self.size {
            return Err(SpiError::Refused);
        }
        if remainder(offset, self.sector) != 0 {
            return Err(SpiError::Refused);
        }
        if !target.is_attached() {
            return Err(SpiError::Stuck);
        }
        target.protect(false);
        effects.charge(costs::UNLOCK, 1);
        effects.busy += target.nor().status_time();
        let per_block = quotient(self.block, self.sector);
        let mut sector = quotient(offset, self.sector);
        let more = u32::from(remainder(len, self.sector) != 0);
        let mut left = quotient(len, self.sector).wrapping_add(more);
        // The ROM compares signed numbers: if a block is shorter than a sector there is no room in
        // it, and all sectors from there on are erased.
        let room = per_block.wrapping_sub(remainder(sector, per_block));
        let first = if room.cast_signed() >= left.cast_signed() { left } else { room };
        let end = sector.wrapping_add(first);
        let mut steps = 0..MOST_STEPS;
        while sector != end {
            steps.next().ok_or(SpiError::Stuck)?;
            self.erase_one(target, sector, effects)?;
            sector = sector.wrapping_add(1);
        }
        left = left.wrapping_sub(first);
        while left > per_block {
            steps.next().ok_or(SpiError::Stuck)?;
            let block = quotient(sector, per_block);
            if block >= quotient(self.size, self.block) {
                return Err(SpiError::Refused);
            }
            let at = wrap(target.nor(), block.wrapping_mul(self.block));
            if !target.is_protected(at, BLOCK_64K_LEN) {
                effects.busy += target.nor().erase_block(at)?;
            }
            effects.charge(costs::ERASE, 1);
            sector = sector.wrapping_add(per_block);
            left = left.wrapping_sub(per_block);
        }
        let end = sector.wrapping_add(left);
        while left.cast_signed() > 0 {
            steps.next().ok_or(SpiError::Stuck)?;
            self.erase_one(target, end.wrapping_sub(left), effects)?;
            left = left.wrapping_sub(1);
        }
        Ok(())
    }

    fn erase_one(
        &self,
        target: &mut dyn LoaderTarget,
        sector: u32,
        effects: &mut Effects,
    ) -> Result<(), SpiError> {
        if sector >= quotient(self.size, self.sector) {
            return Err(SpiError::Refused);
        }
        let at = wrap(target.nor(), sector.wrapping_mul(self.sector));
        if !target.is_protected(at, SECTOR_LEN) {
            effects.busy += target.nor().erase_sector(at)?;
        }
        effects.charge(costs::ERASE, 1);
        Ok(())
    }

    /// Programs `data`. The ROM returns an error unless its length is a multiple of 4.
    pub(super) fn write(
        &self,
        target: &mut dyn LoaderTarget,
        offset: u32,
        data: &[u8],
        effects: &mut Effects,
    ) -> Result<(), SpiError> {
        if offset.wrapping_add(data.len() as u32) > self.size {
            return Err(SpiError::Refused);
        }
        if self.page == 0 {
            // The ROM divides by the page size: endless pages from 0, and no room in one from
            // anywhere else.
            return Err(if offset == 0 { SpiError::Stuck } else { SpiError::Refused });
        }
        let room = (self.page - offset % self.page) as usize;
        if data.len() < room {
            return self.page_program(target, offset, data, effects);
        }
        let (head, mut rest) = data.split_at(room);
        self.page_program(target, offset, head, effects)?;
        if rest.len() / self.page as usize > usize::from(u8::MAX) {
            // The ROM counts pages in a byte.
            return Err(SpiError::Stuck);
        }
        let mut at = offset.wrapping_add(room as u32);
        while !rest.is_empty() {
            let (page, after) = rest.split_at(rest.len().min(self.page as usize));
            self.page_program(target, at, page, effects)?;
            at = at.wrapping_add(page.len() as u32);
            rest = after;
        }
        Ok(())
    }

    fn page_program(
        &self,
        target: &mut dyn LoaderTarget,
        offset: u32,
        data: &[u8],
        effects: &mut Effects,
    ) -> Result<(), SpiError> {
        if !data.len().is_multiple_of(4) {
            return Err(SpiError::Refused);
        }
        if !target.is_attached() {
            return Err(SpiError::Stuck);
        }
        for (number, chunk) in (0_u32..).zip(data.chunks(PROGRAM_CHUNK)) {
            let at = offset.wrapping_add(number * PROGRAM_CHUNK as u32);
            let at = wrap(target.nor(), at);
            if !target.is_protected(at, chunk.len() as u32) {
                effects.busy += target.nor().program_page(at, chunk)?;
            }
            effects.charge(costs::PROGRAM, 1);
            effects.charge(costs::PROGRAM_BYTE, chunk.len());
        }
        Ok(())
    }

    /// Reads into `out`, which is unchanged on an error.
    pub(super) fn read(
        &self,
        target: &mut dyn LoaderTarget,
        offset: u32,
        out: &mut [u8],
        effects: &mut Effects,
    ) -> Result<(), SpiError> {
        if offset.wrapping_add(out.len() as u32) > self.size {
            return Err(SpiError::Refused);
        }
        let attached = target.is_attached();
        let nor = target.nor();
        let bytes = nor.bytes();
        for (number, byte) in (0_u32..).zip(out.iter_mut()) {
            let at = wrap(nor, offset.wrapping_add(number));
            *byte = if attached { bytes.get(at as usize).copied().unwrap_or(0xff) } else { 0 };
        }
        effects.charge(costs::READ, 1);
        effects.charge(costs::READ_CHUNK, out.len().div_ceil(16));
        Ok(())
    }
}

/// Protects the whole chip, as the ROM does after a successful write (ROM, `SPILock`).
pub(super) fn lock(target: &mut dyn LoaderTarget, effects: &mut Effects) {
    target.protect(true);
    effects.charge(costs::LOCK, 1);
    effects.busy += target.nor().status_time();
}

/// Divides as the CPU does: by 0 yields all ones.
fn quotient(number: u32, by: u32) -> u32 {
    number.checked_div(by).unwrap_or(u32::MAX)
}

/// Returns the CPU's remainder: by 0 yields the dividend.
fn remainder(number: u32, by: u32) -> u32 {
    number.checked_rem(by).unwrap_or(number)
}

/// Wraps an offset, because the chip ignores address bits beyond its size.
fn wrap(nor: &Nor, offset: u32) -> u32 {
    offset % nor.size().max(1)
}
