//! A prepared write: its sectors, their hashes, and the transfers that carry them.

use std::ops::Range;

use esplice_chip::{Chip, FlashOffset};
use esplice_image::{PlanError, Write, WriteKind};
use md5::{Digest as _, Md5};

use crate::{
    ChipInfo, FlashError, Loader,
    deflate::{self, Prepared},
};

/// Bytes of an erase sector. Writes start at the beginning of one.
pub(crate) const SECTOR: u32 = 0x1000;

/// Bytes at the start of a sector that are hashed to judge whether it is likely to be right.
const SAMPLE: usize = 0x100;

/// Bytes at the start of a bootloader or table that are programmed last.
const WORD: usize = 4;

/// A prepared write.
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) offset: FlashOffset,
    pub(crate) len: u32,
    pub(crate) hash: String,
    /// The data to write, in whole words.
    data: Vec<u8>,
    /// True if the first word is programmed last.
    pub(crate) first_word_last: bool,
}

/// A single transfer, from BEGIN to its last block.
pub(crate) struct Piece {
    /// Offset in flash.
    pub(crate) offset: FlashOffset,
    pub(crate) len: u32,
    /// State of the flash before the transfer.
    pub(crate) place: FlashState,
    /// True if the blocks are parts of a zlib stream.
    pub(crate) deflated: bool,
    pub(crate) blocks: Vec<Block>,
}

/// State of the flash before a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FlashState {
    /// Not blank: must be erased.
    Written,
    /// Blank.
    Blank,
    /// The blank word before a body that was just written, in a sector that is not blank.
    Word,
}

/// Payload of one command.
pub(crate) struct Block {
    /// The bytes to send.
    pub(crate) bytes: Vec<u8>,
    /// Bytes of flash that the block fills.
    pub(crate) plain: u32,
    /// The part of `plain` that counts as progress.
    pub(crate) counted: u32,
}

impl Job {
    /// Prepares `write` for the board of `info`.
    ///
    /// # Errors
    /// [`FlashError::Plan`] if it lies outside the flash or starts inside a sector.
    pub(crate) fn new(write: &Write, info: &ChipInfo) -> Result<Job, FlashError> {
        let (name, offset) = (write.name.clone(), write.offset);
        if !offset.0.is_multiple_of(SECTOR) {
            return Err(PlanError::Unaligned { name, offset, align: SECTOR }.into());
        }
        let data = whole_words(&write.data);
        let room = info.flash_size.saturating_sub(offset.0);
        let len = match u32::try_from(data.len()) {
            Ok(len) if len <= room => len,
            _ => {
                let (len, flash_size) = (write.data.len(), info.flash_size);
                return Err(PlanError::PastFlash { name, len, offset, flash_size }.into());
            }
        };
        let hash = hex::encode(Md5::digest(&data));
        let first_word_last = head_is_last(&info.chip, offset, write.kind);
        Ok(Job { name, offset, len, hash, data, first_word_last })
    }

    /// Returns the number of sectors that the write covers.
    pub(crate) fn sectors(&self) -> u32 {
        self.len.div_ceil(SECTOR)
    }

    /// Returns the flash offset of a range of its sectors, and how many of their bytes it fills.
    pub(crate) fn place(&self, sectors: &Range<u32>) -> (FlashOffset, u32) {
        let from = sectors.start.saturating_mul(SECTOR).min(self.len);
        let to = sectors.end.saturating_mul(SECTOR).min(self.len);
        (FlashOffset(self.offset.0.saturating_add(from)), to.saturating_sub(from))
    }

    /// Returns the MD5 of the data for a range of its sectors.
    pub(crate) fn md5(&self, sectors: &Range<u32>) -> String {
        hex::encode(Md5::digest(self.bytes(sectors)))
    }

    /// Returns the MD5 of the same number of bytes of erased flash.
    pub(crate) fn md5_blank(&self, sectors: &Range<u32>) -> String {
        md5_blank(self.place(sectors).1)
    }

    /// Returns offset, length and expected MD5 of the beginning of one of its sectors.
    pub(crate) fn sample(&self, sector: u32) -> (FlashOffset, u32, String) {
        let sectors = sector..sector.saturating_add(1);
        let (offset, len) = self.place(&sectors);
        let bytes = self.bytes(&sectors);
        let bytes = bytes.get(..SAMPLE).unwrap_or(bytes);
        (offset, len.min(bytes.len() as u32), hex::encode(Md5::digest(bytes)))
    }

    pub(crate) fn bytes(&self, sectors: &Range<u32>) -> &[u8] {
        let at = |sector: u32| (sector.saturating_mul(SECTOR) as usize).min(self.data.len());
        self.data.get(at(sectors.start)..at(sectors.end)).unwrap_or_default()
    }

    /// Returns the transfers, in order, that write these ranges of its sectors in the form that
    /// `loader` takes. `place` is the state of the flash there. The first word of a bootloader or
    /// table stays blank until all of it is written, so its first sector is always included.
    pub(crate) fn pieces(
        &self,
        ranges: &[Range<u32>],
        place: FlashState,
        loader: &Loader,
        prepared: &mut Prepared,
    ) -> Vec<Piece> {
        let mut ranges = ranges.to_vec();
        let mut word = None;
        if let Some(first) = self.data.first_chunk::<WORD>().filter(|_| self.first_word_last) {
            word = Some(*first);
            match ranges.first_mut() {
                Some(range) if range.start <= 1 => range.start = 0,
                Some(_) => ranges.insert(0, 0..1),
                None => return Vec::new(),
            }
        }
        let mut pieces: Vec<Piece> = ranges
            .iter()
            .map(|range| {
                let mut data = self.bytes(range).to_vec();
                let begins = range.start == 0 && word.is_some();
                if let Some(first) = data.first_chunk_mut::<WORD>().filter(|_| begins) {
                    *first = [0xff; WORD];
                }
                let mut piece = Piece::new(self.place(range).0, &data, place, loader, prepared);
                if begins {
                    piece.exclude_progress(WORD as u32);
                }
                piece
            })
            .collect();
        pieces.extend(word.map(|word| Piece::word(self.offset, word)));
        pieces
    }

    pub(crate) fn verify_error(&self, found: String) -> FlashError {
        FlashError::Verify {
            name: self.name.clone(),
            offset: self.offset,
            len: self.len,
            expected: self.hash.clone(),
            found,
        }
    }

    pub(crate) fn transfer_error(&self, attempts: u32, source: FlashError) -> FlashError {
        FlashError::Transfer {
            name: self.name.clone(),
            offset: self.offset,
            attempts,
            source: Box::new(source),
        }
    }
}

/// Returns the MD5 of `len` bytes of erased flash.
pub(crate) fn md5_blank(len: u32) -> String {
    hex::encode(Md5::digest(vec![0xff; len as usize]))
}

/// Returns whether the first word of a write is programmed last. That is so for the image that the
/// chip boots, and for the partition table.
fn head_is_last(chip: &Chip, offset: FlashOffset, kind: WriteKind) -> bool {
    matches!(kind, WriteKind::Bootloader | WriteKind::PartitionTable)
        || offset == chip.image.boot_offset
        || offset == chip.image.partition_table_offset
}

/// Starts to compress the data of the whole `write` as it will be sent to `chip`.
pub(crate) fn prepare(chip: Option<&Chip>, write: &Write, prepared: &mut Prepared) {
    let mut data = whole_words(&write.data);
    if chip.is_some_and(|chip| head_is_last(chip, write.offset, write.kind))
        && let Some(first) = data.first_chunk_mut::<WORD>()
    {
        *first = [0xff; WORD];
    }
    prepared.begin(data);
}

/// Starts to pack the largest of `writes` for esplice's own stub.
pub(crate) fn prepare_packed(writes: &[Write], prepared: &mut Prepared) {
    if let Some(largest) = writes.iter().max_by_key(|write| write.data.len()) {
        prepared.begin_packed(whole_words(&largest.data));
    }
}

fn whole_words(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    data.resize(data.len().next_multiple_of(WORD), 0xff);
    data
}

impl Piece {
    fn new(
        offset: FlashOffset,
        data: &[u8],
        place: FlashState,
        loader: &Loader,
        prepared: &mut Prepared,
    ) -> Piece {
        let block_len = loader.block_len.max(1) as usize;
        let blocks = if loader.deflate {
            let blocks =
                deflate::blocks(&prepared.stream(data), loader.lead, block_len).into_iter();
            blocks.map(|(bytes, plain)| Block { bytes, plain, counted: plain }).collect()
        } else {
            let raw = data.chunks(block_len).map(|chunk| {
                let plain = chunk.len() as u32;
                let mut bytes = chunk.to_vec();
                bytes.resize(block_len, 0xff);
                Block { bytes, plain, counted: plain }
            });
            raw.collect()
        };
        Piece { offset, len: data.len() as u32, place, deflated: loader.deflate, blocks }
    }

    fn word(offset: FlashOffset, word: [u8; WORD]) -> Piece {
        let len = WORD as u32;
        let block = Block { bytes: word.to_vec(), plain: len, counted: len };
        Piece { offset, len, place: FlashState::Word, deflated: false, blocks: vec![block] }
    }

    /// Excludes the first `bytes` from the progress, because another piece transfers them.
    fn exclude_progress(&mut self, bytes: u32) {
        let mut rest = bytes;
        for block in &mut self.blocks {
            let taken = rest.min(block.counted);
            block.counted -= taken;
            rest -= taken;
        }
    }
}
