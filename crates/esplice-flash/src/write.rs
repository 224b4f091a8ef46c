//! Bytes into flash through the ROM loader or a stub, compressed, and the proof that they are there.
//!
//! **Order.** Writes go from the top of the flash down: app before partition table before
//! bootloader, so that what boots first is written last. Of what stands at the boot offset the
//! first word is left blank and programmed in the end, by a raw block that erases nothing (a stub,
//! which erases for every block, is asked for the flash chip's own commands): an
//! interruption, even of the power, never leaves a header over half a body, and a header found
//! there later tells that the body was finished. Apps elsewhere need no such step: the second-stage
//! bootloader checks their hash.
//!
//! **Failures.** After a damaged block the ROM's sequence number and its flash address disagree,
//! so no block is ever sent again: a failed transfer starts anew with its BEGIN. BEGIN itself has
//! no checksum, so the hash over the flash decides, and once a failure was seen, all writes are
//! hashed again at the end.

use std::time::Duration;

use esplice_chip::{Chip, FlashOffset};
use esplice_image::Write;
use esplice_protocol::{Opcode, Port, Request};

use crate::{
    ChipInfo, FlashError, FlashEvent, FlashOptions, Session,
    baud::rung_below,
    event::StageState,
    job::{Job, Piece, SECTOR, hex},
};

/// How often a write is begun.
const ATTEMPTS: u32 = 3;

/// Bytes of a block that the ROM erases in one command where a whole one is asked for.
const ERASE_BLOCK: u32 = 0x1_0000;

/// Longest erase of a sector and of a block (Winbond W25Q32JV datasheet, 9.6 AC characteristics).
const SECTOR_ERASE: Duration = Duration::from_millis(400);
const BLOCK_ERASE: Duration = Duration::from_millis(2000);
/// Longest program time of a byte: a page of 256 takes 3 ms (same table).
const PROGRAM_BYTE: Duration = Duration::from_micros(12);
/// Time to hash a byte, from 8 s a MiB that esptool's documentation allows.
const HASH_BYTE: Duration = Duration::from_micros(8);
/// Added to each of these for what the loader does besides.
const SLACK: Duration = Duration::from_millis(1000);

impl<P: Port + ?Sized> Session<'_, P> {
    /// Writes all of `writes` and verifies each by a hash that the device computes. The board must
    /// have been brought up ([`Session::bring_up`]), whose `options` serve to find it again.
    ///
    /// # Errors
    /// [`FlashError::Transfer`] when a write failed for good, [`FlashError::Verify`] when the flash
    /// holds something else, [`FlashError::Security`], [`FlashError::Plan`] for a write outside the
    /// flash or inside a sector, before anything is written; and the port's.
    pub fn write(
        &mut self,
        info: &ChipInfo,
        writes: &[Write],
        options: &FlashOptions,
    ) -> Result<(), FlashError> {
        refuse_bricking(info)?;
        let mut jobs = Vec::new();
        for write in writes.iter().filter(|write| !write.data.is_empty()) {
            jobs.push(Job::new(write, info)?);
        }
        jobs.sort_by_key(|job| std::cmp::Reverse(job.offset));

        self.stage("write", StageState::Started);
        let mut link = Link { info, options, baud: self.baud(), failures: 0 };
        for job in &jobs {
            self.write_job(job, &mut link)?;
        }
        if link.failures > 0 && jobs.len() > 1 {
            for job in &jobs {
                let hash = |session: &mut Self| session.hash(job.offset, job.len);
                let found = self.insist(info, options, hash)?;
                if found != job.hash {
                    return Err(job.verify_error(found));
                }
            }
        }
        self.stage("write", StageState::Done);
        Ok(())
    }

    /// MD5 of a piece of flash, computed by the device, in hexadecimal.
    ///
    /// # Errors
    /// What commands bring.
    pub fn hash(&mut self, offset: FlashOffset, len: u32) -> Result<String, FlashError> {
        let request = Request::SpiFlashMd5 { offset: offset.0, len };
        let answer = self.ask(&request, SLACK + HASH_BYTE * len)?;
        md5_text(&answer.data)
            .ok_or(FlashError::Malformed { command: Opcode::SpiFlashMd5, has: answer.data.len() })
    }

    fn write_job(&mut self, job: &Job, link: &mut Link<'_>) -> Result<(), FlashError> {
        let mut attempt = 1;
        loop {
            let failure = match self.try_job(job, link.info.chip) {
                Ok(()) => return Ok(()),
                Err(error @ FlashError::Verify { .. }) => error,
                Err(error) if error.is_transient() => error,
                Err(error) => return Err(error),
            };
            link.failures += 1;
            if attempt == ATTEMPTS {
                return Err(match failure {
                    FlashError::Verify { .. } => failure,
                    source => job.transfer_error(attempt, source),
                });
            }
            self.warn(format!("{failure}; writing {} again from its start", job.name));
            if let Err(error) = self.repair(link, attempt > 1) {
                return Err(match error {
                    FlashError::NoAnswer { .. } => job.transfer_error(attempt, error),
                    error if error.is_transient() => job.transfer_error(attempt, error),
                    error => error,
                });
            }
            attempt += 1;
        }
    }

    fn try_job(&mut self, job: &Job, chip: &Chip) -> Result<(), FlashError> {
        let mut done = 0;
        for piece in &job.pieces(self.loader()) {
            if piece.erases || self.loader().erases_at_begin() {
                self.transfer(job, piece, &mut done)?;
            } else {
                self.program_bare(job, piece, chip, &mut done)?;
            }
        }
        let found = self.hash(job.offset, job.len)?;
        if found != job.hash {
            return Err(job.verify_error(found));
        }
        self.count_sectors(job.len.div_ceil(SECTOR), 0);
        self.tell(FlashEvent::Verified {
            name: job.name.clone(),
            offset: job.offset,
            len: job.len,
            hash: found,
        });
        Ok(())
    }

    fn transfer(&mut self, job: &Job, piece: &Piece, done: &mut u32) -> Result<(), FlashError> {
        if piece.erases {
            self.count_sectors(0, piece.len.div_ceil(SECTOR));
        }
        let deflate = piece.erases && self.loader().deflate;
        let erase = if piece.erases { piece.len } else { 0 };
        let blocks = piece.blocks.len() as u32;
        let request = self.loader().begin(job.offset.0, erase, blocks, deflate);
        self.command(&request, erase_time(job.offset.0, erase))?;
        let mut at = job.offset.0;
        for (sequence, block) in (0..).zip(&piece.blocks) {
            let data = block.bytes.clone();
            let request = if deflate {
                Request::FlashDeflData { sequence, data }
            } else {
                Request::FlashData { sequence, data }
            };
            let program = PROGRAM_BYTE * block.plain;
            if self.loader().acknowledges_early() {
                self.command(&request, SLACK)?;
                // It erases as far as it writes, and a block ahead.
                self.owe(program + erase_time(at, block.plain.saturating_add(ERASE_BLOCK)));
            } else {
                self.command(&request, SLACK + program)?;
            }
            at = at.saturating_add(block.plain);
            self.progress(job, block.counted, done);
        }
        // No END: with either flag a ROM leaves its loader.
        Ok(())
    }

    /// Programs a word over what is blank through the flash chip's own commands.
    fn program_bare(
        &mut self,
        job: &Job,
        piece: &Piece,
        chip: &Chip,
        done: &mut u32,
    ) -> Result<(), FlashError> {
        for block in &piece.blocks {
            if let Some(word) = block.bytes.first_chunk() {
                self.program_word(&chip.spi, job.offset, *word)?;
            }
            self.progress(job, block.counted, done);
        }
        Ok(())
    }

    fn progress(&mut self, job: &Job, counted: u32, done: &mut u32) {
        *done = (*done + counted).min(job.len);
        let event = FlashEvent::Progress { stage: job.name.clone(), done: *done, total: job.len };
        self.tell(event);
    }

    /// Puts link and loader in order after a failure, at a lower rate if it was not the first.
    fn repair(&mut self, link: &mut Link<'_>, slower: bool) -> Result<(), FlashError> {
        if slower {
            link.baud = rung_below(link.baud, self.first_baud());
        }
        self.restore(link.info, link.options, link.baud)
    }
}

/// What it takes to put a broken link in order.
struct Link<'a> {
    info: &'a ChipInfo,
    options: &'a FlashOptions,
    baud: u32,
    failures: u32,
}

/// Longest time to erase what `len` bytes at `offset` touch: whole blocks at once, the rest sector
/// by sector.
pub(crate) fn erase_time(offset: u32, len: u32) -> Duration {
    let end = offset.saturating_add(len).div_ceil(SECTOR);
    let (first, per_block) = (offset / SECTOR, ERASE_BLOCK / SECTOR);
    let sectors = end.saturating_sub(first);
    let blocks = (end / per_block).saturating_sub(first.div_ceil(per_block));
    let single = sectors - (blocks * per_block).min(sectors);
    SLACK + BLOCK_ERASE * blocks + SECTOR_ERASE * single
}

/// Written in the clear over an encrypted flash, or unsigned under secure boot, nothing boots.
fn refuse_bricking(info: &ChipInfo) -> Result<(), FlashError> {
    let refused = "an image written over the serial port would not boot";
    if info.security.flash_encryption {
        return Err(FlashError::Security { state: "flash encryption", refused });
    }
    if info.security.secure_boot {
        return Err(FlashError::Security { state: "secure boot", refused });
    }
    Ok(())
}

/// An MD5 as loaders send it: a ROM 32 hexadecimal digits, a stub 16 bytes.
fn md5_text(data: &[u8]) -> Option<String> {
    match data.len() {
        16 => Some(hex(data)),
        32 if data.iter().all(u8::is_ascii_hexdigit) => {
            Some(String::from_utf8_lossy(data).to_ascii_lowercase())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use md5::{Digest as _, Md5};

    use super::*;

    #[test]
    fn erase_time_counts_blocks_and_sectors() {
        let times = |offset, len| erase_time(offset, len) - SLACK;
        assert_eq!(times(0, 1), SECTOR_ERASE);
        assert_eq!(times(0x1000, 0x2000), SECTOR_ERASE * 2);
        assert_eq!(times(0x1_0000, 0x1_0000), BLOCK_ERASE);
        assert_eq!(times(0xf000, 0x2_2000), SECTOR_ERASE * 2 + BLOCK_ERASE * 2);
        assert_eq!(times(0xffff_f000, 0x1000), SECTOR_ERASE);
    }

    #[test]
    fn hashes_of_roms_and_stubs_read_alike() {
        let digits = b"D41D8CD98F00B204E9800998ECF8427E";
        let bytes = Md5::digest(b"");
        assert_eq!(md5_text(digits), md5_text(&bytes));
        assert_eq!(md5_text(&digits[..31]), None);
        assert_eq!(md5_text(&[b'x'; 32]), None);
    }
}
