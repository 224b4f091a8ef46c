//! UF2: the content of a flash as blocks of 512 bytes, each with its address.
//!
//! Existing crates don't fit: `uf2` 0.1 only writes, and `uf2-decode` 0.2 silently skips damaged
//! and missing blocks.

use md5::{Digest as _, Md5};

use crate::byte_runs::ByteRuns;
use crate::{FormatError, LARGEST_FLASH, PlanError, Uf2Fault, Write};

// The UF2 project's README.md, "File format", "Flags" and "MD5 checksum".
const BLOCK: usize = 512;
const MAGIC: [u32; 2] = [0x0a32_4655, 0x9e5d_5157];
const MAGIC_END: u32 = 0x0ab1_6f30;
const NOT_MAIN_FLASH: u32 = 0x1;
const FILE_CONTAINER: u32 = 0x1000;
const FAMILY: u32 = 0x2000;
const MD5: u32 = 0x4000;
const HEADER: usize = 32;
const DATA: usize = 476;
/// Address, length and MD5 at the end of the data.
const MD5_LEN: usize = 24;

/// Options for writing blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uf2Options {
    /// The chip's family ID, `image.uf2-family` in its data.
    pub family: u32,
    /// Number of data bytes in a block; the maximum if `None`.
    pub chunk: Option<usize>,
    /// True if blocks carry the MD5 of their data.
    pub md5: bool,
}

impl Uf2Options {
    /// Returns the maximum number of data bytes in a block.
    pub fn room(md5: bool) -> usize {
        if md5 { DATA - MD5_LEN } else { DATA }
    }

    fn chunk(&self) -> Result<usize, PlanError> {
        let most = Self::room(self.md5);
        match self.chunk {
            None => Ok(most),
            Some(len) if len == 0 || len > most || !len.is_multiple_of(4) => {
                Err(PlanError::Uf2Chunk { len, most })
            }
            Some(len) => Ok(len),
        }
    }
}

/// Writes `writes` as UF2 in the same way as `esptool merge-bin --format uf2`: the blocks of each
/// write are numbered separately.
///
/// # Errors
/// [`PlanError::Uf2Chunk`]; [`PlanError::SameBytes`], [`PlanError::PastFlash`].
pub fn to_uf2(writes: &[Write], options: &Uf2Options) -> Result<Vec<u8>, PlanError> {
    let chunk = options.chunk()?;
    let writes = crate::merge::in_order(writes, LARGEST_FLASH)?;
    let flags = FAMILY | if options.md5 { MD5 } else { 0 };
    let count: usize = writes.iter().map(|write| write.data.len().div_ceil(chunk)).sum();
    let mut file = Vec::with_capacity(count * BLOCK);
    for write in writes {
        let total = write.data.len().div_ceil(chunk) as u32;
        let mut addr = write.offset.0;
        for (number, data) in write.data.chunks(chunk).enumerate() {
            let (len, number) = (data.len() as u32, number as u32);
            let start = file.len();
            let [first, second] = MAGIC;
            push(&mut file, &[first, second, flags, addr, len, number, total, options.family]);
            file.extend_from_slice(data);
            if options.md5 {
                push(&mut file, &[addr, len]);
                file.extend_from_slice(&Md5::digest(data));
            }
            file.resize(start + BLOCK - 4, 0);
            push(&mut file, &[MAGIC_END]);
            addr = addr.wrapping_add(len);
        }
    }
    Ok(file)
}

fn push(file: &mut Vec<u8>, words: &[u32]) {
    file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
}

/// The content of a UF2 file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uf2 {
    /// The chip's family ID, if the blocks have one.
    pub family: Option<u32>,
    /// A write for each gapless run of bytes, in order of offset.
    pub writes: Vec<Write>,
}

/// Parses a file whose blocks all have the same family ID.
///
/// # Errors
/// [`FormatError`] with the offset of the block, for any fault: damaged or missing blocks, a wrong
/// MD5, bytes that occur twice, offsets past the largest flash.
pub fn from_uf2(bytes: &[u8]) -> Result<Uf2, FormatError> {
    let mut reader = Uf2Reader::default();
    for block in bytes.chunks(Uf2Reader::BLOCK_LEN) {
        reader.add(block)?;
    }
    reader.finish()
}

/// Reads a UF2 file block by block, so that the file need not be in memory.
///
/// Blocks may come in any order.
#[derive(Debug, Default)]
pub struct Uf2Reader {
    /// Number of bytes read so far.
    at: usize,
    family: Option<Option<u32>>,
    /// For each block, the number of blocks in its group and its own number.
    numbers: Vec<(u32, u32)>,
    byte_runs: ByteRuns,
    /// MD5s of several blocks: address, length, MD5. They are checked when all blocks are read.
    regions: Vec<(u32, u32, [u8; 16])>,
}

impl Uf2Reader {
    /// Length of a block in bytes.
    pub const BLOCK_LEN: usize = BLOCK;

    /// Reads the next block.
    ///
    /// # Errors
    /// [`FormatError::Uf2`] for a block that is damaged or contradicts earlier ones.
    pub fn add(&mut self, block: &[u8]) -> Result<(), FormatError> {
        self.block(block).map_err(|fault| FormatError::Uf2 { offset: self.at, fault })?;
        self.at += block.len();
        Ok(())
    }

    fn block(&mut self, bytes: &[u8]) -> Result<(), Uf2Fault> {
        let block: &[u8; BLOCK] =
            bytes.try_into().map_err(|_| Uf2Fault::Cut { len: bytes.len() })?;
        let word = |at: usize| {
            block
                .get(at..)
                .and_then(|rest| rest.first_chunk())
                .map_or(0, |b| u32::from_le_bytes(*b))
        };
        if [word(0), word(4)] != MAGIC || word(BLOCK - 4) != MAGIC_END {
            return Err(Uf2Fault::Magic);
        }
        let (flags, addr, len) = (word(8), word(12), word(16));
        self.number(word(20), word(24))?;
        if flags & (NOT_MAIN_FLASH | FILE_CONTAINER) != 0 {
            return Ok(());
        }
        let family = (flags & FAMILY != 0).then(|| word(28));
        match *self.family.get_or_insert(family) {
            first if first != family => {
                return Err(Uf2Fault::Family {
                    found: family.unwrap_or(0),
                    first: first.unwrap_or(0),
                });
            }
            _ => {}
        }
        let most = Uf2Options::room(flags & MD5 != 0);
        let data = usize::try_from(len).ok().filter(|len| *len <= most);
        let data = data.and_then(|len| block.get(HEADER..HEADER + len));
        let data = data.ok_or(Uf2Fault::Length { len, most })?;
        if flags & MD5 != 0 {
            // The MD5 is at the end of the data area, or in esptool's files directly after the
            // data.
            let places = [HEADER + data.len(), HEADER + DATA - MD5_LEN];
            let region = |at: usize| (word(at), word(at + 4));
            let at = places.into_iter().find(|at| region(*at) == (addr, len));
            let at = at.unwrap_or(HEADER + DATA - MD5_LEN);
            let hash = block.get(at + 8..).and_then(|rest| rest.first_chunk()).copied();
            self.check(region(at), hash.unwrap_or_default(), addr, data)?;
        }
        self.byte_runs
            .add(self.at, addr.into(), data)
            .map_err(|end| Uf2Fault::PastFlash { addr, end })
    }

    fn number(&mut self, number: u32, total: u32) -> Result<(), Uf2Fault> {
        if number >= total {
            return Err(Uf2Fault::Number { number, total });
        }
        self.numbers.push((total, number));
        Ok(())
    }

    /// Returns the number of a missing block, and the number of blocks in its group. Groups are
    /// numbered separately, so among groups of the same length each number must occur equally
    /// often.
    fn missing(&mut self) -> Option<(u32, u32)> {
        self.numbers.sort_unstable();
        for group in self.numbers.chunk_by(|(a, _), (b, _)| a == b) {
            let runs = || group.chunk_by(|(_, a), (_, b)| a == b);
            let most = runs().map(<[_]>::len).max()?;
            let total = group.first()?.0;
            let mut expected = 0;
            for run in runs() {
                if run.first()?.1 != expected || run.len() < most {
                    return Some((expected, total));
                }
                expected += 1;
            }
            if expected < total {
                return Some((expected, total));
            }
        }
        None
    }

    /// Checks the MD5 of a single block immediately. One of several blocks is checked at the end.
    fn check(
        &mut self,
        (start, len): (u32, u32),
        hash: [u8; 16],
        addr: u32,
        data: &[u8],
    ) -> Result<(), Uf2Fault> {
        if (start, len as usize) == (addr, data.len()) {
            return same_md5(start, len, hash, Md5::digest(data).into());
        }
        if self.regions.last() != Some(&(start, len, hash)) {
            self.regions.push((start, len, hash));
        }
        Ok(())
    }

    /// Assembles the blocks.
    ///
    /// # Errors
    /// [`FormatError`] for missing blocks, bytes that occur twice, a wrong MD5, or a file without
    /// data.
    pub fn finish(mut self) -> Result<Uf2, FormatError> {
        let end = self.at;
        let at_end = |fault| FormatError::Uf2 { offset: end, fault };
        if let Some((number, total)) = self.missing() {
            return Err(at_end(Uf2Fault::Missing { number, total }));
        }
        self.numbers = Vec::new();
        let writes = self.byte_runs.into_writes();
        let writes = writes.map_err(|twice| FormatError::Uf2Twice { offset: twice.offset })?;
        // Each byte is hashed only once, whatever the file contains.
        self.regions.sort_unstable();
        self.regions.dedup();
        let mut hashed = 0;
        for (start, len, hash) in self.regions {
            let data = region(&writes, start, len).filter(|_| start >= hashed);
            let data = data.ok_or_else(|| at_end(Uf2Fault::Region { start, len }))?;
            same_md5(start, len, hash, Md5::digest(data).into()).map_err(at_end)?;
            hashed = start.saturating_add(len);
        }
        if writes.is_empty() {
            return Err(FormatError::Nothing { kind: "UF2" });
        }
        Ok(Uf2 { family: self.family.flatten(), writes })
    }
}

/// Returns the bytes of a region, if it is complete.
fn region(writes: &[Write], start: u32, len: u32) -> Option<&[u8]> {
    let before = writes.partition_point(|write| write.offset.0 <= start);
    let write = writes.get(before.checked_sub(1)?)?;
    let from = usize::try_from(start - write.offset.0).ok()?;
    write.data.get(from..from.checked_add(usize::try_from(len).ok()?)?)
}

fn same_md5(addr: u32, len: u32, stored: [u8; 16], computed: [u8; 16]) -> Result<(), Uf2Fault> {
    if stored == computed {
        return Ok(());
    }
    let (stored, computed) = (hex::encode(stored), hex::encode(computed));
    Err(Uf2Fault::Md5 { addr, len, stored, computed })
}
