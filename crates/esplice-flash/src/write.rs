//! Writes flash through the ROM loader or a stub, compressed, and verifies the result.
//!
//! **Order.** Writes go from the top of the flash down: the app before the partition table before
//! the bootloader, so that what boots first is written last. The first word of bootloader and table
//! stays blank and is programmed at the end, by a raw block that erases nothing. (A stub erases for
//! every block, so there the flash chip's own commands program the word.) An interruption, even a
//! power cut, thus never leaves a header over half a body or a table that ends too soon, and a
//! header found there later shows that the body is complete. Apps elsewhere need no such step: the
//! second-stage bootloader checks their hash.
//!
//! **Skipped sectors.** Sectors that the flash already holds are not written: see `diff`.
//!
//! **Failures.** After a damaged block the ROM's sequence number and its flash address disagree,
//! so no block is ever sent twice: a failed transfer starts again with its BEGIN. BEGIN itself has
//! no checksum, so the hash over the whole write decides in the end. If that hash is wrong, the
//! sectors that differ are found and written once more. After any failure, all writes are hashed
//! again at the end.

use std::{sync::Arc, time::Duration};

use esplice_chip::{Chip, FlashOffset};
use esplice_image::Write;
use esplice_protocol::{Opcode, Port, Request};

use crate::{
    ChipInfo, FlashError, FlashEvent, FlashOptions, Session, Stub, StubSource,
    baud::next_lower_baud,
    diff::{Difference, WRITE_SECTOR, places},
    event::StageState,
    job::{FlashState, Job, Piece, SECTOR},
    own::Part,
    session::SHORT,
};

/// Number of attempts for a write.
pub(crate) const ATTEMPTS: u32 = 3;

/// Number of resets allowed to find a board again during a write.
pub(crate) const RESTARTS: u32 = 1;

/// Bytes of a block that the ROM erases with one command, where a whole block is to be erased.
const ERASE_BLOCK: u32 = 0x1_0000;

/// Maximum time to erase a sector and a block (Winbond W25Q32JV datasheet, 9.6 AC characteristics).
const SECTOR_ERASE: Duration = Duration::from_millis(400);
const BLOCK_ERASE: Duration = Duration::from_millis(2000);
/// Maximum time to program a byte: a page of 256 takes 3 ms (same table).
pub(crate) const PROGRAM_BYTE: Duration = Duration::from_micros(12);
/// Time to hash a byte, from the 8 s per MiB that esptool's documentation allows.
const HASH_BYTE: Duration = Duration::from_micros(8);
/// Longest round trip at which one more block costs less than an earlier erase saves: half of a
/// sector's typical erase time.
const WORTH_A_BLOCK: Duration = Duration::from_millis(20);
/// Bytes of a stub's upload, and its start time: those of esptool 5.6 for most chips.
const STUB_LEN: usize = 6_500;
const STUB_START: Duration = Duration::from_millis(25);
/// Time from the upload of esplice's own stub until it is ready.
const OWN_START: Duration = Duration::from_millis(3);
/// Time in which a ROM loader with raised clocks reads and hashes a byte.
const ROM_HASH_BYTE: Duration = Duration::from_nanos(900);
/// Slack added to each of these times for other work of the loader.
pub(crate) const SLACK: Duration = Duration::from_millis(1000);

impl<P: Port + ?Sized> Session<'_, P> {
    /// Writes all of `writes` and verifies each by a hash that the device computes. The board must
    /// have been brought up ([`Session::bring_up`]); `options` are used to find it again.
    ///
    /// # Errors
    /// [`FlashError::Transfer`] if a write failed for good, [`FlashError::Verify`] if the flash
    /// holds other data, [`FlashError::Security`], [`FlashError::Plan`] if a write lies outside the
    /// flash or starts inside a sector (checked before anything is written), and port errors.
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
        let bytes = jobs.iter().map(|job| job.len).sum();
        if self.own_stub_pays_off(&info.chip, &options.stub, bytes)? {
            self.start_stub(info, options)?;
        }
        if self.is_own() && self.write_own(&jobs, &mut link, false)? {
            self.stage("write", StageState::Done);
            return Ok(());
        }
        let mut differences = Vec::new();
        for job in &jobs {
            differences.push(self.compare_job(job, &link)?);
        }
        let sectors = differences.iter().map(Difference::sectors).sum();
        let resident = self.loader().is_stub() && self.stub_available && !self.is_own();
        if resident || self.stub_pays_off(sectors) {
            self.start_stub(info, options)?;
            if self.is_own() && self.write_own(&jobs, &mut link, true)? {
                self.stage("write", StageState::Done);
                return Ok(());
            }
        }
        for (job, wanted) in jobs.iter().zip(differences) {
            self.write_job(job, wanted, &mut link)?;
        }
        if link.failures > 0 && jobs.len() > 1 {
            for job in &jobs {
                let hash = |session: &mut Self| session.hash(job.offset, job.len);
                let mut found = self.retry_once(info, options, hash)?;
                if found != job.hash {
                    // One damaged reply is no reason to fail.
                    found = self.retry_once(info, options, hash)?;
                }
                if found != job.hash {
                    return Err(job.verify_error(found));
                }
            }
        }
        self.stage("write", StageState::Done);
        Ok(())
    }

    /// Ensures that the stub runs and knows the flash chip.
    fn start_stub(&mut self, info: &ChipInfo, options: &FlashOptions) -> Result<(), FlashError> {
        let resident = self.loader().is_stub();
        self.ensure_stub(&info.chip, &options.stub, |session| {
            let baud = session.baud();
            session.restore(info, options, baud).map(|_| ())
        })?;
        if self.loader().is_stub() && !resident {
            let set = |session: &mut Self| session.set_flash_params(info.flash_size);
            self.retry_once(info, options, set)?;
        }
        Ok(())
    }

    /// Returns the MD5 of a flash range, computed by the device, in hexadecimal. The reply carries
    /// no checksum: a hash that equals the expected one proves the match, any other proves nothing
    /// ([`Session::hash_twice`]).
    ///
    /// # Errors
    /// The errors of commands.
    pub fn hash(&mut self, offset: FlashOffset, len: u32) -> Result<String, FlashError> {
        self.retry_resynced(|session| session.hash_once(offset, len))
    }

    /// Returns the MD5 of a flash range, computed by the device until two replies in a row agree.
    ///
    /// # Errors
    /// [`FlashError::Unstable`] if they never agree, and the errors of commands.
    pub fn hash_twice(&mut self, offset: FlashOffset, len: u32) -> Result<String, FlashError> {
        self.read_until_equal(Opcode::SpiFlashMd5, |session| session.hash(offset, len))
    }

    fn hash_once(&mut self, offset: FlashOffset, len: u32) -> Result<String, FlashError> {
        self.need_part(Part::Extras)?;
        let request = Request::SpiFlashMd5 { offset: offset.0, len };
        let answer = self.command(&request, SLACK + HASH_BYTE * len)?;
        md5_text(&answer.data)
            .ok_or(FlashError::Malformed { command: Opcode::SpiFlashMd5, has: answer.data.len() })
    }

    /// Returns the sectors of `job` to write.
    fn compare_job(&mut self, job: &Job, link: &Link<'_>) -> Result<Difference, FlashError> {
        self.count_sectors(job.sectors(), 0);
        if link.options.full {
            return Ok(Difference::all(job));
        }
        let look = |session: &mut Self| session.difference(job);
        let wanted = self.retry_once(link.info, link.options, look)?;
        let (differing, sectors) = (wanted.sectors(), job.sectors());
        self.report(FlashEvent::Differs { name: job.name.clone(), differing, sectors });
        Ok(wanted)
    }

    /// Returns whether esplice's own stub should be uploaded even to compare `bytes` of flash:
    /// uploading and hashing with it takes less time than the ROM loader's hashes.
    fn own_stub_pays_off(
        &mut self,
        chip: &Arc<Chip>,
        source: &StubSource,
        bytes: u32,
    ) -> Result<bool, FlashError> {
        if self.loader().is_stub() {
            return Ok(self.stub_available);
        }
        if !self.stub_available {
            return Ok(false);
        }
        let revision = self.revision(chip)?;
        let Some(stub) = source.find(chip, revision)?.filter(Stub::is_own) else {
            return Ok(false);
        };
        let len = stub.first_upload().map(|(_, bytes)| bytes.len()).sum();
        let upload = self.wire_time(len) + OWN_START + self.round_trip() * 4;
        Ok(upload < ROM_HASH_BYTE * bytes)
    }

    /// Returns whether uploading a stub for `sectors` sectors costs less than writing them without.
    pub(crate) fn stub_pays_off(&self, sectors: u32) -> bool {
        if self.loader().is_stub() || !self.stub_available {
            return false;
        }
        // A ROM works sequentially; a stub receives while it writes.
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
            match self.try_write(job, &wanted, &info.chip) {
                Ok(found) if found == job.hash => break,
                Ok(_) => {
                    link.failures += 1;
                    // Replies carry no checksum, so the hash is read twice.
                    let hash = |session: &mut Self| session.hash(job.offset, job.len);
                    let found = self.retry_once(info, options, hash)?;
                    if found == job.hash {
                        break;
                    }
                    if rewritten {
                        return Err(job.verify_error(found));
                    }
                    rewritten = true;
                    wanted =
                        self.retry_once(info, options, |session| session.exact_difference(job))?;
                    if wanted.ranges.is_empty() {
                        return Err(job.verify_error(found));
                    }
                    let places = places(job, &wanted.ranges);
                    let name = &job.name;
                    self.warn(format!("{name} differs at {places}; writing these ranges again"));
                }
                Err(error) if error.is_transient() => {
                    failures += 1;
                    link.failures += 1;
                    // Flash that was found blank may no longer be.
                    wanted.place = FlashState::Written;
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
        self.report_verified(job);
        Ok(())
    }

    pub(crate) fn report_verified(&mut self, job: &Job) {
        self.report(FlashEvent::Verified {
            name: job.name.clone(),
            offset: job.offset,
            len: job.len,
            hash: job.hash.clone(),
        });
    }

    /// Transfers the `wanted` sectors and returns the device's hash of the whole write.
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
        let new =
            pieces.iter().filter(|piece| piece.place != FlashState::Word).map(|piece| piece.len);
        let mut done = job.len.saturating_sub(new.sum());
        for piece in &pieces {
            if piece.place == FlashState::Word && !loader.erases_at_begin() {
                self.program_raw_word(job, piece, chip, &mut done)?;
            } else {
                self.transfer(job, piece, &mut done)?;
            }
        }
        if loader.acknowledges_early() {
            // The reply to this command reports a failure of the last block.
            match self.hash_once(job.offset, job.len) {
                Err(error) if error.is_transient() && !error.is_refusal() => {}
                other => return other,
            }
            self.resync()?;
        }
        self.hash(job.offset, job.len)
    }

    fn transfer(&mut self, job: &Job, piece: &Piece, done: &mut u32) -> Result<(), FlashError> {
        if piece.place != FlashState::Word {
            self.count_sectors(0, piece.len.div_ceil(SECTOR));
        }
        let deflate = piece.deflated;
        let erase = match piece.place {
            FlashState::Blank | FlashState::Word if self.loader().erases_at_begin() => 0,
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
                // The loader erases as far as it writes, and one block ahead.
                let end = piece.offset.0.saturating_add(piece.len);
                let ahead = block.plain.saturating_add(ERASE_BLOCK).min(end.saturating_sub(at));
                self.extend_timeout(program + erase_time(at, ahead));
            } else {
                self.command(&request, SLACK + program)?;
            }
            at = at.saturating_add(block.plain);
            self.progress(job, block.counted, done);
        }
        // No END: with either value of its flag a ROM leaves its loader.
        Ok(())
    }

    /// Programs a word into blank flash with the flash chip's own commands.
    fn program_raw_word(
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
        self.report(event);
    }

    /// Restores link and loader after a failure, at a lower baud rate if it was not the first one.
    pub(crate) fn repair(&mut self, link: &mut Link<'_>, slower: bool) -> Result<(), FlashError> {
        if slower {
            link.baud = next_lower_baud(link.baud, self.first_baud());
        }
        let restarted = self.restore(link.info, link.options, link.baud)?;
        link.restarts += u32::from(restarted);
        Ok(())
    }
}

/// State needed to restore a broken link.
pub(crate) struct Link<'a> {
    pub(crate) info: &'a ChipInfo,
    pub(crate) options: &'a FlashOptions,
    baud: u32,
    pub(crate) failures: u32,
    /// Number of resets that were needed to find the board again.
    pub(crate) restarts: u32,
}

/// Returns the maximum time to erase everything that `len` bytes at `offset` touch: whole blocks
/// at once, the rest sector by sector.
pub(crate) fn erase_time(offset: u32, len: u32) -> Duration {
    let end = offset.saturating_add(len).div_ceil(SECTOR);
    let (first, per_block) = (offset / SECTOR, ERASE_BLOCK / SECTOR);
    let sectors = end.saturating_sub(first);
    let blocks = (end / per_block).saturating_sub(first.div_ceil(per_block));
    let single = sectors - (blocks * per_block).min(sectors);
    SLACK + BLOCK_ERASE * blocks + SECTOR_ERASE * single
}

/// Refuses a write that would keep the board from booting: plain text to an encrypted flash, or an
/// unsigned image under secure boot.
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

/// Decodes an MD5: ROM loaders send 32 hexadecimal digits, stubs 16 bytes.
fn md5_text(data: &[u8]) -> Option<String> {
    match data.len() {
        16 => Some(hex::encode(data)),
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
