//! Bytes into flash through the ROM loader or a stub, compressed, and the proof that they are there.
//!
//! **Order.** Writes go from the top of the flash down: app before partition table before
//! bootloader, so that what boots first is written last. Of bootloader and table the first word is left
//! blank and programmed in the end, by a raw block that erases nothing (a stub, which erases for every
//! block, is asked for the flash chip's own commands): an interruption, even of the power, never leaves a
//! header over half a body or a table that ends too soon, and a header found there later tells that the
//! body was finished. Apps elsewhere need no such step: the second-stage bootloader checks their hash.
//!
//! **What is left out.** What the flash holds already is not written: see `diff`.
//!
//! **Failures.** After a damaged block the ROM's sequence number and its flash address disagree,
//! so no block is ever sent again: a failed transfer starts anew with its BEGIN. BEGIN itself has
//! no checksum, so the hash over all of a write decides in the end; where it is wrong, it is found
//! out which sectors differ, and these are written once more. Once a failure was seen, all writes
//! are hashed again at the end.

use std::time::Duration;

use esplice_chip::{Chip, FlashOffset};
use esplice_image::Write;
use esplice_protocol::{Opcode, Port, Request};

use crate::{
    ChipInfo, FlashError, FlashEvent, FlashOptions, Session,
    baud::rung_below,
    diff::{Difference, WRITE_SECTOR, places},
    event::StageState,
    job::{Job, Piece, Place, SECTOR, hex},
    session::SHORT,
};

/// How often a write is begun.
const ATTEMPTS: u32 = 3;

/// How often a board may have to be reset to be found again in the midst of a write.
const RESTARTS: u32 = 1;

/// Bytes of a block that the ROM erases in one command where a whole one is asked for.
const ERASE_BLOCK: u32 = 0x1_0000;

/// Longest erase of a sector and of a block (Winbond W25Q32JV datasheet, 9.6 AC characteristics).
const SECTOR_ERASE: Duration = Duration::from_millis(400);
const BLOCK_ERASE: Duration = Duration::from_millis(2000);
/// Longest program time of a byte: a page of 256 takes 3 ms (same table).
const PROGRAM_BYTE: Duration = Duration::from_micros(12);
/// Time to hash a byte, from 8 s a MiB that esptool's documentation allows.
const HASH_BYTE: Duration = Duration::from_micros(8);
/// Longest round trip at which a block more costs less than an erase that begins sooner saves: half of a
/// sector's typical erase time.
const WORTH_A_BLOCK: Duration = Duration::from_millis(20);
/// Bytes that a stub's upload takes, and its start: those of esptool 5.6 for most chips.
const STUB_LEN: usize = 6_500;
const STUB_START: Duration = Duration::from_millis(25);
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
        let mut link = Link { info, options, baud: self.baud(), failures: 0, restarts: 0 };
        let mut differences = Vec::new();
        for job in &jobs {
            differences.push(self.look_at(job, &link)?);
        }
        let sectors = differences.iter().map(Difference::sectors).sum();
        let resident = self.loader().is_stub() && self.stub_may_come;
        if resident || self.stub_pays(sectors) {
            self.take_stub(info.chip, &options.stub, |session| {
                let baud = session.baud();
                session.restore(info, options, baud).map(|_| ())
            })?;
            if self.loader().is_stub() && !resident {
                let set = |session: &mut Self| session.set_flash_params(info.flash_size);
                self.insist(info, options, set)?;
            }
        }
        for (job, wanted) in jobs.iter().zip(differences) {
            self.write_job(job, wanted, &mut link)?;
        }
        if link.failures > 0 && jobs.len() > 1 {
            for job in &jobs {
                let hash = |session: &mut Self| session.hash(job.offset, job.len);
                let mut found = self.insist(info, options, hash)?;
                if found != job.hash {
                    // One damaged reply is no reason to refuse.
                    found = self.insist(info, options, hash)?;
                }
                if found != job.hash {
                    return Err(job.verify_error(found));
                }
            }
        }
        self.stage("write", StageState::Done);
        Ok(())
    }

    /// Returns the MD5 of a piece of flash, computed by the device, in hexadecimal. It comes in one
    /// reply, which carries no checksum: one that equals what is expected proves that, while any other
    /// proves nothing ([`Session::hash_twice`]).
    ///
    /// # Errors
    /// What commands bring.
    pub fn hash(&mut self, offset: FlashOffset, len: u32) -> Result<String, FlashError> {
        self.again(|session| session.hash_once(offset, len))
    }

    /// Returns the MD5 of a piece of flash, computed by the device until two answers in a row agree.
    ///
    /// # Errors
    /// [`FlashError::Unstable`] where they never agree, and what commands bring.
    pub fn hash_twice(&mut self, offset: FlashOffset, len: u32) -> Result<String, FlashError> {
        self.agreed(Opcode::SpiFlashMd5, |session| session.hash(offset, len))
    }

    fn hash_once(&mut self, offset: FlashOffset, len: u32) -> Result<String, FlashError> {
        let request = Request::SpiFlashMd5 { offset: offset.0, len };
        let answer = self.command(&request, SLACK + HASH_BYTE * len)?;
        md5_text(&answer.data)
            .ok_or(FlashError::Malformed { command: Opcode::SpiFlashMd5, has: answer.data.len() })
    }

    /// What of `job` is to be written.
    fn look_at(&mut self, job: &Job, link: &Link<'_>) -> Result<Difference, FlashError> {
        self.count_sectors(job.sectors(), 0);
        if link.options.full {
            return Ok(Difference::all(job));
        }
        let look = |session: &mut Self| session.difference(job);
        let wanted = self.insist(link.info, link.options, look)?;
        let (differing, sectors) = (wanted.sectors(), job.sectors());
        self.tell(FlashEvent::Differs { name: job.name.clone(), differing, sectors });
        Ok(wanted)
    }

    /// Whether to load a stub for so many sectors costs less than to write them without.
    pub(crate) fn stub_pays(&self, sectors: u32) -> bool {
        if self.loader().is_stub() || !self.stub_may_come {
            return false;
        }
        // A ROM does one thing after the other, a stub receives while it writes.
        let wire = self.wire_time(SECTOR as usize * 2 / 3);
        let saved = wire.min(WRITE_SECTOR) + self.round_trip() * 2;
        let upload = self.wire_time(STUB_LEN) + STUB_START + self.round_trip() * 8;
        saved * sectors > upload
    }

    fn write_job(
        &mut self,
        job: &Job,
        mut wanted: Difference,
        link: &mut Link<'_>,
    ) -> Result<(), FlashError> {
        let (info, options) = (link.info, link.options);
        let (mut failures, mut rewritten) = (0, false);
        while !wanted.ranges.is_empty() {
            match self.try_write(job, &wanted, info.chip) {
                Ok(found) if found == job.hash => break,
                Ok(_) => {
                    link.failures += 1;
                    // No reply carries a checksum: it is asked twice.
                    let hash = |session: &mut Self| session.hash(job.offset, job.len);
                    let found = self.insist(info, options, hash)?;
                    if found == job.hash {
                        break;
                    }
                    if rewritten {
                        return Err(job.verify_error(found));
                    }
                    rewritten = true;
                    wanted = self.insist(info, options, |session| session.exact_difference(job))?;
                    if wanted.ranges.is_empty() {
                        return Err(job.verify_error(found));
                    }
                    let places = places(job, &wanted.ranges);
                    let name = &job.name;
                    self.warn(format!("{name} differs at {places}; writing that again"));
                }
                Err(error) if error.is_transient() => {
                    failures += 1;
                    link.failures += 1;
                    // What was found blank may be so no more.
                    wanted.place = Place::Written;
                    if failures == ATTEMPTS {
                        return Err(job.transfer_error(failures, error));
                    }
                    self.warn(format!("{error}; writing {} again from its start", job.name));
                    if let Err(error) = self.repair(link, failures > 1) {
                        return Err(match error {
                            FlashError::NoAnswer { .. } => job.transfer_error(failures, error),
                            error if error.is_transient() => job.transfer_error(failures, error),
                            error => error,
                        });
                    }
                    if link.restarts > RESTARTS {
                        let (name, offset) = (job.name.clone(), job.offset);
                        return Err(FlashError::Restarts { name, offset, times: link.restarts });
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.tell(FlashEvent::Verified {
            name: job.name.clone(),
            offset: job.offset,
            len: job.len,
            hash: job.hash.clone(),
        });
        Ok(())
    }

    /// Brings these sectors over, and gives the hash that the device then has of the whole.
    fn try_write(
        &mut self,
        job: &Job,
        wanted: &Difference,
        chip: &Chip,
    ) -> Result<String, FlashError> {
        let mut loader = self.loader().clone();
        if self.round_trip() > WORTH_A_BLOCK {
            loader.lead = &[];
        }
        let pieces = job.pieces(&wanted.ranges, wanted.place, &loader, &mut self.prepared);
        let new = pieces.iter().filter(|piece| piece.place != Place::Word).map(|piece| piece.len);
        let mut done = job.len.saturating_sub(new.sum());
        for piece in &pieces {
            if piece.place == Place::Word && !loader.erases_at_begin() {
                self.program_bare(job, piece, chip, &mut done)?;
            } else {
                self.transfer(job, piece, &mut done)?;
            }
        }
        if loader.acknowledges_early() {
            // What it could not do with the last block is its answer to this.
            match self.hash_once(job.offset, job.len) {
                Err(error) if error.is_transient() && !error.is_refusal() => {}
                other => return other,
            }
            self.resync()?;
        }
        self.hash(job.offset, job.len)
    }

    fn transfer(&mut self, job: &Job, piece: &Piece, done: &mut u32) -> Result<(), FlashError> {
        if piece.place != Place::Word {
            self.count_sectors(0, piece.len.div_ceil(SECTOR));
        }
        let deflate = piece.deflated;
        let erase = match piece.place {
            Place::Blank | Place::Word if self.loader().erases_at_begin() => 0,
            _ => piece.len,
        };
        let blocks = piece.blocks.len() as u32;
        let request = self.loader().begin(piece.offset.0, erase, blocks, deflate);
        let erases = if self.loader().erases_at_begin() { erase } else { 0 };
        self.command(&request, erase_time(piece.offset.0, erases))?;
        let mut at = piece.offset.0;
        for (sequence, block) in (0..).zip(&piece.blocks) {
            let data = block.bytes.clone();
            let request = if deflate {
                Request::FlashDeflData { sequence, data }
            } else {
                Request::FlashData { sequence, data }
            };
            let program = PROGRAM_BYTE * block.plain;
            if self.loader().acknowledges_early() {
                self.command(&request, SHORT)?;
                // It erases as far as it writes, and a block ahead.
                let end = piece.offset.0.saturating_add(piece.len);
                let ahead = block.plain.saturating_add(ERASE_BLOCK).min(end.saturating_sub(at));
                self.owe(program + erase_time(at, ahead));
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
                self.program_word(&chip.spi, piece.offset, *word)?;
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
        let restarted = self.restore(link.info, link.options, link.baud)?;
        link.restarts += u32::from(restarted);
        Ok(())
    }
}

/// What it takes to put a broken link in order.
struct Link<'a> {
    info: &'a ChipInfo,
    options: &'a FlashOptions,
    baud: u32,
    failures: u32,
    /// How often the board had to be reset to be found again.
    restarts: u32,
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
