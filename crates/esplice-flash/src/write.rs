//! Bytes into flash through the ROM loader, compressed, and the proof that they are there.
//!
//! **Order.** Writes go from the top of the flash down: app before partition table before
//! bootloader, so that what boots first is written last. Of what stands at the boot offset the
//! first word is left blank and programmed in the end, by a raw block that erases nothing: an
//! interruption, even of the power, never leaves a header over half a body, and a header found
//! there later tells that the body was finished. Apps elsewhere need no such step: the second-stage
//! bootloader checks their hash.
//!
//! **Failures.** After a damaged block the ROM's sequence number and its flash address disagree,
//! so no block is ever sent again: a failed transfer starts anew with its BEGIN. BEGIN itself has
//! no checksum, so the hash over the flash decides, and once a failure was seen, all writes are
//! hashed again at the end.

use std::{io::Write as _, time::Duration};

use esplice_chip::{Chip, FlashOffset};
use esplice_image::{PlanError, Write};
use esplice_protocol::{FlashBegin, Opcode, Port, Request};
use flate2::{Compression, Decompress, FlushDecompress, Status, write::ZlibEncoder};
use md5::{Digest as _, Md5};

use crate::{
    ChipInfo, FlashError, FlashEvent, FlashOptions, Session, baud::rung_below, event::StageState,
};

/// How often a write is begun.
const ATTEMPTS: u32 = 3;

/// Bytes of an erase sector; writes start at one.
const SECTOR: u32 = 0x1000;
/// Bytes of a block that the ROM erases in one command where a whole one is asked for.
const ERASE_BLOCK: u32 = 0x1_0000;

/// Bytes that are programmed last of what stands at the boot offset.
const WORD: usize = 4;

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
        for piece in &job.pieces {
            self.transfer(job, piece, chip, &mut done)?;
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

    fn transfer(
        &mut self,
        job: &Job,
        piece: &Piece,
        chip: &Chip,
        done: &mut u32,
    ) -> Result<(), FlashError> {
        if piece.erases {
            self.count_sectors(0, piece.len.div_ceil(SECTOR));
        }
        let block_len = chip.loader.rom_block;
        let begin = FlashBegin {
            // The ROM wants whole blocks here (esptool documentation, "Serial Protocol",
            // FLASH_DEFL_BEGIN); none reaches into another sector.
            erase_len: if piece.erases { piece.len.next_multiple_of(block_len) } else { 0 },
            blocks: piece.blocks.len() as u32,
            block_len,
            offset: job.offset.0,
            encrypt: chip.loader.begin_has_encrypt_word.then_some(0),
        };
        let deflate = piece.erases && chip.loader.deflate;
        let request =
            if deflate { Request::FlashDeflBegin(begin) } else { Request::FlashBegin(begin) };
        self.command(&request, erase_time(job.offset.0, piece.len))?;
        for (sequence, block) in (0..).zip(&piece.blocks) {
            let data = block.bytes.clone();
            let request = if deflate {
                Request::FlashDeflData { sequence, data }
            } else {
                Request::FlashData { sequence, data }
            };
            self.command(&request, SLACK + PROGRAM_BYTE * block.plain)?;
            *done = (*done + block.counted).min(job.len);
            let event =
                FlashEvent::Progress { stage: job.name.clone(), done: *done, total: job.len };
            self.tell(event);
        }
        // No FLASH_END: with either flag a ROM leaves its loader.
        Ok(())
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

/// A write made ready.
struct Job {
    name: String,
    offset: FlashOffset,
    len: u32,
    hash: String,
    pieces: Vec<Piece>,
}

/// A transfer of its own, from the job's offset on.
struct Piece {
    len: u32,
    /// Whether its place is erased before; else it is a raw block over what is blank.
    erases: bool,
    blocks: Vec<Block>,
}

struct Block {
    /// What is sent.
    bytes: Vec<u8>,
    /// Bytes of flash it fills.
    plain: u32,
    /// How many of these count as progress.
    counted: u32,
}

impl Job {
    fn new(write: &Write, info: &ChipInfo) -> Result<Job, FlashError> {
        let (name, offset) = (write.name.clone(), write.offset);
        if !offset.0.is_multiple_of(SECTOR) {
            return Err(PlanError::Unaligned { name, offset, align: SECTOR }.into());
        }
        let mut data = write.data.clone();
        data.resize(data.len().next_multiple_of(4), 0xff);
        let room = info.flash_size.saturating_sub(offset.0);
        let len = match u32::try_from(data.len()) {
            Ok(len) if len <= room => len,
            _ => {
                let (len, flash_size) = (write.data.len(), info.flash_size);
                return Err(PlanError::PastFlash { name, len, offset, flash_size }.into());
            }
        };
        let hash = hex(&Md5::digest(&data));
        let loader = &info.chip.loader;
        let pieces = match data.first_chunk_mut::<WORD>() {
            Some(first) if offset == info.chip.image.boot_offset => {
                let word = std::mem::replace(first, [0xff; WORD]);
                let mut body = Piece::new(&data, loader);
                body.uncount(WORD as u32);
                vec![body, Piece::word(word)]
            }
            _ => vec![Piece::new(&data, loader)],
        };
        Ok(Job { name, offset, len, hash, pieces })
    }

    fn verify_error(&self, found: String) -> FlashError {
        FlashError::Verify {
            name: self.name.clone(),
            offset: self.offset,
            len: self.len,
            expected: self.hash.clone(),
            found,
        }
    }

    fn transfer_error(&self, attempts: u32, source: FlashError) -> FlashError {
        FlashError::Transfer {
            name: self.name.clone(),
            offset: self.offset,
            attempts,
            source: Box::new(source),
        }
    }
}

impl Piece {
    fn new(data: &[u8], loader: &esplice_chip::Loader) -> Piece {
        let block_len = loader.rom_block.max(1) as usize;
        let blocks = if loader.deflate {
            deflated(data, block_len)
        } else {
            let raw = data.chunks(block_len).map(|chunk| {
                let plain = chunk.len() as u32;
                let mut bytes = chunk.to_vec();
                bytes.resize(block_len, 0xff);
                Block { bytes, plain, counted: plain }
            });
            raw.collect()
        };
        Piece { len: data.len() as u32, erases: true, blocks }
    }

    /// A word for a place that is blank.
    fn word(word: [u8; WORD]) -> Piece {
        let len = WORD as u32;
        let block = Block { bytes: word.to_vec(), plain: len, counted: len };
        Piece { len, erases: false, blocks: vec![block] }
    }

    /// Takes the first `bytes` out of the progress: another piece brings them.
    fn uncount(&mut self, bytes: u32) {
        let mut rest = bytes;
        for block in &mut self.blocks {
            let taken = rest.min(block.counted);
            block.counted -= taken;
            rest -= taken;
        }
    }
}

/// `data` as blocks of one zlib stream, each with the bytes that it unpacks to.
fn deflated(data: &[u8], block_len: usize) -> Vec<Block> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    // Writing to a vector can't fail; if it did, the stream would be short and the loader refuse.
    let _ = encoder.write_all(data);
    let stream = encoder.finish().unwrap_or_default();
    let mut inflater = Decompress::new(true);
    let mut room = vec![0; 0x8000];
    let mut blocks = Vec::new();
    for chunk in stream.chunks(block_len) {
        let (consumed, produced) = (inflater.total_in(), inflater.total_out());
        // With all of its input taken, an inflater may still hold back what it unpacked.
        loop {
            let before = (inflater.total_in(), inflater.total_out());
            let used = (before.0 - consumed) as usize;
            let rest = chunk.get(used..).unwrap_or_default();
            let status = inflater.decompress(rest, &mut room, FlushDecompress::None);
            let idle = (inflater.total_in(), inflater.total_out()) == before;
            if idle || matches!(status, Err(_) | Ok(Status::StreamEnd)) {
                break;
            }
        }
        let plain = (inflater.total_out() - produced) as u32;
        blocks.push(Block { bytes: chunk.to_vec(), plain, counted: plain });
    }
    blocks
}

/// Longest time to erase what `len` bytes at `offset` touch: whole blocks at once, the rest sector
/// by sector.
fn erase_time(offset: u32, len: u32) -> Duration {
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check_blocks(data: &[u8], chip: &Chip) {
        let piece = Piece::new(data, &chip.loader);
        assert_eq!(piece.blocks.iter().map(|b| b.plain as usize).sum::<usize>(), data.len());
        assert!(piece.blocks.iter().all(|b| b.bytes.len() <= 0x400));
    }

    proptest! {
        /// So progress ends at the total: with runs of all lengths, which deflate to few bytes, and
        /// noise, which does not.
        #[test]
        fn blocks_of_anything_tell_what_they_unpack_to(
            parts in proptest::collection::vec((any::<u32>(), 1..40_000_usize, any::<bool>()), 1..8)
        ) {
            let mut data = Vec::new();
            for (seed, len, noise) in parts {
                let word = |n: u32| if noise { n.wrapping_mul(seed | 1).rotate_left(n % 31) } else { seed };
                data.extend((0..len as u32).map(|n| word(n) as u8));
            }
            check_blocks(&data, esplice_chip::find("esp32c3").unwrap());
        }
    }

    #[test]
    fn blocks_tell_what_they_unpack_to() {
        let chip = esplice_chip::find("esp32c3").unwrap();
        let text: Vec<u8> = (0..70_000_u32).flat_map(|n| (n / 7 * n).to_le_bytes()).collect();
        // An inflater that has all its input may hold back a piece of what it unpacked.
        let mut held_back: Vec<u8> = text.iter().copied().take(17_524).collect();
        held_back.resize(65_537, 0);
        for data in [vec![0xff; 300_000], text, vec![1, 2, 3, 4], held_back] {
            check_blocks(&data, chip);
        }
    }

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
