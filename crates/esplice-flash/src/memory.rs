//! Reads, hashes, compares and erases ranges of flash with any loader, and checks the results by
//! hashes that the device computes.

use esplice_chip::FlashOffset;
use esplice_image::{DeviceFacts, PlanError};
use esplice_protocol::Port;
use md5::{Digest as _, Md5};

use crate::{
    ChipInfo, FlashError, FlashEvent, FlashOptions, Session, event::StageState, job::SECTOR,
    write::erase_time,
};

/// Bytes read between two events. With a stub this is the data of one command. With a ROM loader,
/// which sends 64 bytes at a time, it is the data checked by one hash.
const STUB_PIECE: u32 = 0x4_0000;
const ROM_PIECE: u32 = 0x4000;

/// Bytes of a stream between two events.
const PROGRESS_STEP: u32 = 0x8000;

/// Bytes erased between two events: four blocks, each of which takes up to two seconds.
const ERASE_PIECE: u32 = 0x4_0000;

/// Number of attempts to read or erase a piece.
const ATTEMPTS: u32 = 3;

/// Number of sectors that are hashed again in each piece from a stub.
const SAMPLES: usize = 4;

/// Unit in bytes of reads and hashes; hashes over parts of a word are never requested.
const WORD: usize = 4;

/// A range of flash, with a name for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlashRange {
    /// Name of a partition, a file, or the operation.
    pub name: String,
    /// Offset of the first byte.
    pub offset: FlashOffset,
    /// Length in bytes.
    pub len: u32,
}

impl FlashRange {
    /// Returns the range that covers a flash of `size` bytes.
    pub fn whole(size: u32) -> FlashRange {
        FlashRange { name: "flash".into(), offset: FlashOffset(0), len: size }
    }

    /// Returns the partition called `name` in the device's own table, which is checked first.
    ///
    /// # Errors
    /// Those of [`DeviceFacts::device_table`] and [`PartitionTable::named`].
    ///
    /// [`PartitionTable::named`]: esplice_image::PartitionTable::named
    pub fn partition(facts: &DeviceFacts, name: &str) -> Result<FlashRange, PlanError> {
        let (_, table) = facts.device_table()?;
        let partition = table.named(name, false)?;
        let (offset, len) = (partition.offset, partition.len);
        Ok(FlashRange { name: name.to_owned(), offset, len })
    }

    /// Checks that the range ends within the flash.
    ///
    /// # Errors
    /// [`PlanError::PastFlash`].
    pub fn check(&self, info: &ChipInfo) -> Result<(), FlashError> {
        if self.len > info.flash_size.saturating_sub(self.offset.0) {
            return Err(PlanError::PastFlash {
                name: self.name.clone(),
                len: self.len as usize,
                offset: self.offset,
                flash_size: info.flash_size,
            }
            .into());
        }
        Ok(())
    }

    /// Checks that the range starts and ends at sector boundaries.
    fn check_sectors(&self) -> Result<(), FlashError> {
        let end = FlashOffset(self.offset.0.saturating_add(self.len));
        for (what, offset) in [("the range to erase", self.offset), ("the end of the range", end)] {
            if !offset.0.is_multiple_of(SECTOR) {
                let name = what.to_owned();
                return Err(PlanError::Unaligned { name, offset, align: SECTOR }.into());
            }
        }
        Ok(())
    }

    /// Splits the range into pieces of at most `len` bytes, in ascending order.
    fn pieces(&self, len: u32) -> impl Iterator<Item = (FlashOffset, u32)> {
        let (start, end) = (self.offset.0, self.offset.0.saturating_add(self.len));
        (start..end).step_by(len as usize).map(move |at| (FlashOffset(at), len.min(end - at)))
    }
}

impl<P: Port + ?Sized> Session<'_, P> {
    /// Reads a range of flash. The data is compared with a hash that the device computed, and read
    /// again if they differ. The board must have been brought up with `options`.
    ///
    /// # Errors
    /// [`PlanError::PastFlash`] as [`FlashError::Plan`], [`FlashError::Read`], and the errors of
    /// commands.
    pub fn read_range(
        &mut self,
        info: &ChipInfo,
        options: &FlashOptions,
        range: &FlashRange,
    ) -> Result<Vec<u8>, FlashError> {
        range.check(info)?;
        if info.security.flash_encryption {
            self.warn("flash encryption is on: the bytes read are encrypted".into());
        }
        self.stage("read", StageState::Started);
        let mut bytes = Vec::new();
        if self.is_own() {
            self.read_range_own(info, options, range, &mut bytes)?;
            self.stage("read", StageState::Done);
            return Ok(bytes);
        }
        let piece = if self.loader().is_stub() { STUB_PIECE } else { ROM_PIECE };
        for (offset, len) in range.pieces(piece) {
            let read = |session: &mut Self| session.read_checked(offset, len);
            bytes.extend(self.retry_once(info, options, read)?);
            self.report(FlashEvent::Progress {
                stage: "read".into(),
                done: bytes.len() as u32,
                total: range.len,
            });
        }
        self.stage("read", StageState::Done);
        Ok(bytes)
    }

    /// Reads a range in one stream, whose frames carry checksums. If link or board fail, the rest is
    /// read in another.
    fn read_range_own(
        &mut self,
        info: &ChipInfo,
        options: &FlashOptions,
        range: &FlashRange,
        bytes: &mut Vec<u8>,
    ) -> Result<(), FlashError> {
        let mut attempt = 1;
        while (bytes.len() as u32) < range.len {
            let (before, total) = (bytes.len(), range.len);
            let offset = FlashOffset(range.offset.0.wrapping_add(before as u32));
            let mut reached = before as u32;
            let read = self.read_own(offset, total - before as u32, &mut |session, piece| {
                bytes.extend_from_slice(piece);
                let done = bytes.len() as u32;
                if done - reached >= PROGRESS_STEP || done == total {
                    reached = done;
                    session.report(FlashEvent::Progress { stage: "read".into(), done, total });
                }
                Ok(())
            });
            let Err(error) = read else { continue };
            attempt = if bytes.len() > before { 1 } else { attempt + 1 };
            if !error.is_transient() || attempt > ATTEMPTS {
                return Err(error);
            }
            self.warn(format!("{error}; connecting again"));
            let baud = self.baud();
            self.restore(info, options, baud)?;
        }
        Ok(())
    }

    fn read_checked(&mut self, offset: FlashOffset, len: u32) -> Result<Vec<u8>, FlashError> {
        let mut bytes = Vec::new();
        for _ in 0..ATTEMPTS {
            bytes.clear();
            if self.loader().is_stub() {
                let mut keep = |piece: &[u8]| {
                    bytes.extend_from_slice(piece);
                    Ok(())
                };
                self.read_flash(offset, len, &mut keep)?;
                if self.samples_hold(offset, &bytes)? {
                    return Ok(bytes);
                }
                continue;
            }
            bytes = self.read_slow(offset, len as usize)?;
            // Replies of a ROM carry no checksum, and its hashes cover whole words.
            let (hashed, rest) = bytes.split_at(bytes.len() / WORD * WORD);
            let is_right = hashed.is_empty()
                || self.hash(offset, hashed.len() as u32)? == hex::encode(Md5::digest(hashed));
            let at = FlashOffset(offset.0.wrapping_add(hashed.len() as u32));
            if is_right && (rest.is_empty() || self.read_small(at, rest.len())? == rest) {
                return Ok(bytes);
            }
        }
        Err(FlashError::Read { offset, len, attempts: ATTEMPTS })
    }

    /// Returns whether a few sectors of `bytes` match the flash at `offset`. The stub's own hash
    /// covers what it read, and a damaged request may have made it read elsewhere.
    fn samples_hold(&mut self, offset: FlashOffset, bytes: &[u8]) -> Result<bool, FlashError> {
        let sector = SECTOR as usize;
        let step = bytes.len().div_ceil(SAMPLES).next_multiple_of(sector).max(sector);
        for from in (0..bytes.len()).step_by(step) {
            let sample = bytes.get(from..bytes.len().min(from + sector)).unwrap_or_default();
            let sample = &sample[..sample.len() / WORD * WORD];
            let at = FlashOffset(offset.0.wrapping_add(from as u32));
            if !sample.is_empty()
                && self.hash(at, sample.len() as u32)? != hex::encode(Md5::digest(sample))
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns the MD5 of a range in hexadecimal. The device computes it twice.
    ///
    /// # Errors
    /// [`PlanError::PastFlash`] as [`FlashError::Plan`], and the errors of commands.
    pub fn hash_range(
        &mut self,
        info: &ChipInfo,
        options: &FlashOptions,
        range: &FlashRange,
    ) -> Result<String, FlashError> {
        range.check(info)?;
        self.retry_once(info, options, |session| session.hash_twice(range.offset, range.len))
    }

    /// Returns the sectors in which the flash differs from `data` at `offset`, as ranges of offset
    /// and length; empty if it does not differ. Hashes that the device computes are compared, over
    /// smaller and smaller parts.
    ///
    /// # Errors
    /// [`PlanError::PastFlash`] as [`FlashError::Plan`], and the errors of commands.
    pub fn differences(
        &mut self,
        info: &ChipInfo,
        options: &FlashOptions,
        name: &str,
        offset: FlashOffset,
        data: &[u8],
    ) -> Result<Vec<(FlashOffset, u32)>, FlashError> {
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        FlashRange { name: name.to_owned(), offset, len }.check(info)?;
        self.stage("verify", StageState::Started);
        let mut found: Vec<(FlashOffset, u32)> = Vec::new();
        let mut open = vec![(0, data.len())];
        // The last part is pushed first, so that results are in ascending order.
        while let Some((from, to)) = open.pop() {
            let part = data.get(from..to).unwrap_or_default();
            let at = FlashOffset(offset.0.wrapping_add(from as u32));
            let holds = |session: &mut Self| session.holds(at, part);
            if self.retry_once(info, options, holds)? {
                continue;
            }
            let sector = SECTOR as usize;
            let middle = from + (part.len() / 2).next_multiple_of(sector).max(sector);
            if middle < to {
                open.extend([(middle, to), (from, middle)]);
                continue;
            }
            // A damaged reply is no difference: check again.
            if self.retry_once(info, options, holds)? {
                continue;
            }
            match found.last_mut() {
                Some((start, len)) if start.0.wrapping_add(*len) == at.0 => {
                    *len += part.len() as u32;
                }
                _ => found.push((at, part.len() as u32)),
            }
        }
        if found.is_empty() {
            let (hash, name) = (hex::encode(Md5::digest(data)), name.to_owned());
            self.report(FlashEvent::Verified { name, offset, len, hash });
        }
        self.stage("verify", StageState::Done);
        Ok(found)
    }

    /// Returns whether the flash holds `bytes` at `offset`.
    fn holds(&mut self, offset: FlashOffset, bytes: &[u8]) -> Result<bool, FlashError> {
        let (whole, rest) = bytes.split_at(bytes.len() / WORD * WORD);
        if !whole.is_empty()
            && self.hash(offset, whole.len() as u32)? != hex::encode(Md5::digest(whole))
        {
            return Ok(false);
        }
        if rest.is_empty() {
            return Ok(true);
        }
        let at = FlashOffset(offset.0.wrapping_add(whole.len() as u32));
        Ok(self.read_small(at, WORD)?.starts_with(rest))
    }

    /// Erases a range of whole sectors and checks by a hash that it is blank. Pieces that are
    /// already blank are skipped. A ROM loader erases as it does before a write. Returns the number
    /// of sectors erased.
    ///
    /// # Errors
    /// [`PlanError::PastFlash`] and [`PlanError::Unaligned`] as [`FlashError::Plan`],
    /// [`FlashError::Security`] if erased flash could not be written again,
    /// [`FlashError::Verify`] if a piece does not become blank, and the errors of commands.
    pub fn erase_range(
        &mut self,
        info: &ChipInfo,
        options: &FlashOptions,
        range: &FlashRange,
    ) -> Result<u32, FlashError> {
        range.check(info)?;
        range.check_sectors()?;
        let refused = "erased flash could not be written again over the serial port";
        let security = info.security;
        for (is_on, state) in
            [(security.flash_encryption, "flash encryption"), (security.secure_boot, "secure boot")]
        {
            if is_on {
                return Err(FlashError::Security { state, refused });
            }
        }
        self.stage("erase", StageState::Started);
        let (mut done, mut erased) = (0, 0);
        for (offset, len) in range.pieces(ERASE_PIECE) {
            let was_blank = self.retry_once(info, options, |session| {
                session.erase_piece(&range.name, offset, len)
            })?;
            done += len;
            let sectors = len / SECTOR;
            erased += if was_blank { 0 } else { sectors };
            self.count_sectors(sectors, if was_blank { 0 } else { sectors });
            self.report(FlashEvent::Progress { stage: "erase".into(), done, total: range.len });
        }
        self.stage("erase", StageState::Done);
        Ok(erased)
    }

    /// Erases a piece. Returns true if it was already blank.
    fn erase_piece(
        &mut self,
        name: &str,
        offset: FlashOffset,
        len: u32,
    ) -> Result<bool, FlashError> {
        let expected = hex::encode(Md5::digest(vec![0xff; len as usize]));
        if self.hash(offset, len)? == expected {
            return Ok(true);
        }
        let mut attempt = 1;
        loop {
            if self.loader().is_stub() {
                self.erase_region(offset, len)?;
            } else {
                // A BEGIN for a write without blocks erases.
                let begin = self.loader().begin(offset.0, len, 0, false);
                self.command_with_retry(&begin, erase_time(offset.0, len))?;
            }
            let found = self.hash(offset, len)?;
            if found == expected {
                return Ok(false);
            }
            if attempt == ATTEMPTS {
                let name = name.to_owned();
                return Err(FlashError::Verify { name, offset, len, expected, found });
            }
            attempt += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use esplice_image::PartitionTable;

    use super::*;

    #[test]
    fn pieces_cover_a_range() {
        let range = FlashRange { name: "x".into(), offset: FlashOffset(0x1000), len: 0x2801 };
        let pieces: Vec<(u32, u32)> = range.pieces(0x1000).map(|(at, len)| (at.0, len)).collect();
        assert_eq!(pieces, [(0x1000, 0x1000), (0x2000, 0x1000), (0x3000, 0x801)]);
        let none = FlashRange { len: 0, ..range };
        assert_eq!(none.pieces(0x1000).count(), 0);
    }

    #[test]
    fn partitions_are_found_in_the_devices_table() {
        let chip = esplice_chip::ChipDb::embedded().find("esp32c3").unwrap();
        let table = PartitionTable::esp_idf_default().to_bytes().unwrap();
        let mut flash = vec![0xff; 0x9000];
        flash[0x8000..0x8000 + table.len()].copy_from_slice(&table);
        let facts = DeviceFacts::of_flash(&flash, chip, Some(FlashOffset(0x8000)));
        let range = FlashRange::partition(&facts, "factory").unwrap();
        assert_eq!((range.offset, range.len), (FlashOffset(0x1_0000), 0x10_0000));
        let error = FlashRange::partition(&facts, "fatcory").unwrap_err();
        assert_eq!(error.to_string(), "no partition is called \"fatcory\"");
        let none = DeviceFacts::of_flash(&[], chip, Some(FlashOffset(0x8000)));
        assert!(FlashRange::partition(&none, "nvs").is_err());
    }
}
