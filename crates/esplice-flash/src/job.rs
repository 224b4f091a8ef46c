//! A write made ready: cut into pieces and blocks, compressed, hashed.

use std::io::Write as _;

use esplice_chip::FlashOffset;
use esplice_image::{PlanError, Write};
use flate2::{Compression, Decompress, FlushDecompress, Status, write::ZlibEncoder};
use md5::{Digest as _, Md5};

use crate::{ChipInfo, FlashError, Loader};

/// Bytes of an erase sector; writes start at one.
pub(crate) const SECTOR: u32 = 0x1000;

/// Bytes that are programmed last of what stands at the boot offset.
const WORD: usize = 4;

/// A write made ready.
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) offset: FlashOffset,
    pub(crate) len: u32,
    pub(crate) hash: String,
    /// What is written, whole words.
    data: Vec<u8>,
    /// Whether its first word is programmed last.
    boots: bool,
}

/// A transfer of its own, from the job's offset on.
pub(crate) struct Piece {
    pub(crate) len: u32,
    /// Whether its place is erased before; else it is a raw block over what is blank.
    pub(crate) erases: bool,
    pub(crate) blocks: Vec<Block>,
}

/// What one command carries.
pub(crate) struct Block {
    /// What is sent.
    pub(crate) bytes: Vec<u8>,
    /// Bytes of flash it fills.
    pub(crate) plain: u32,
    /// How many of these count as progress.
    pub(crate) counted: u32,
}

impl Job {
    /// Makes `write` ready for the board of `info`.
    ///
    /// # Errors
    /// [`FlashError::Plan`] where it is outside the flash or begins inside a sector.
    pub(crate) fn new(write: &Write, info: &ChipInfo) -> Result<Job, FlashError> {
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
        let boots = offset == info.chip.image.boot_offset;
        Ok(Job { name, offset, len, hash, data, boots })
    }

    /// The transfers that bring it over, as `loader` takes them, in order.
    pub(crate) fn pieces(&self, loader: &Loader) -> Vec<Piece> {
        let mut data = self.data.clone();
        match data.first_chunk_mut::<WORD>() {
            Some(first) if self.boots => {
                let word = std::mem::replace(first, [0xff; WORD]);
                let mut body = Piece::new(&data, loader);
                body.uncount(WORD as u32);
                vec![body, Piece::word(word)]
            }
            _ => vec![Piece::new(&data, loader)],
        }
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

impl Piece {
    fn new(data: &[u8], loader: &Loader) -> Piece {
        let block_len = loader.block_len.max(1) as usize;
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

/// Lower-case hex without separators.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use esplice_chip::Chip;
    use proptest::prelude::*;

    use super::*;

    fn check_blocks(data: &[u8], chip: &Chip) {
        let piece = Piece::new(data, &Loader::rom(Some(chip)));
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
}
