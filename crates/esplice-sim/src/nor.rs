//! The NOR flash chip: erasing sets bits, programming clears them, and both take time.
//!
//! The whole contents are held in RAM. If the chip has a file, every operation is written to it
//! before the operation returns. A process killed at any moment thus leaves what a real board would
//! leave.

mod faults;

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use esplice_chip::Flash;

use crate::{SimError, fault_plan::TornBy};
pub(crate) use faults::{StuckBit, Tear};

/// Page size in bytes. One program operation can't cross a page (W25Q32JV datasheet, 8.2.13 Page
/// Program; the same for all chips of this kind).
pub const PAGE_LEN: u32 = 0x100;
/// Sector size in bytes, the smallest erasable unit (8.2.15 Sector Erase).
pub const SECTOR_LEN: u32 = 0x1000;
/// Size of a 32 KiB block in bytes (8.2.16 32KB Block Erase).
pub const BLOCK_32K_LEN: u32 = 0x8000;
/// Size of a 64 KiB block in bytes (8.2.17 64KB Block Erase).
pub const BLOCK_64K_LEN: u32 = 0x1_0000;
/// Allowed sizes of a flash file, 1 to 16 MiB: reachable with 24-bit addresses and encodable in the
/// image header.
pub const FILE_SIZES: [u32; 5] = [1 << 20, 2 << 20, 4 << 20, 8 << 20, 16 << 20];

/// Why a flash operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NorError {
    /// The range extends past the end of the chip.
    #[error("{len} bytes at 0x{offset:x} reach past the end of the flash of {size} bytes")]
    OutOfRange {
        /// Offset of the first byte.
        offset: u32,
        /// Length in bytes.
        len: u64,
        /// Chip size in bytes.
        size: u32,
    },
    /// The flash file can't be written.
    #[error("flash file {}: {source}", path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The power was cut (see [`Nor::cut_power_after`]).
    #[error("the flash has no power")]
    NoPower,
    /// A planned fault reset the board during the operation.
    #[error("the board was reset during a flash operation")]
    Reset,
}

/// A NOR flash chip. A clone is an independent chip in memory; the file stays with the original.
#[derive(Debug)]
pub struct Nor {
    bytes: Vec<u8>,
    timing: Flash,
    mirror: Option<Mirror>,
    generation: u64,
    operations: u64,
    power_cut_at: Option<u64>,
    tears: Vec<Tear>,
    stuck: Vec<StuckBit>,
    /// Set while a fault plan has cut the power: the time until it returns, if it ever does.
    off: Option<Option<Duration>>,
    /// Descriptions of the planned faults that have happened.
    fault_events: Vec<String>,
}

#[derive(Debug)]
struct Mirror {
    file: File,
    path: PathBuf,
}

impl Nor {
    /// Creates an erased chip of `size` bytes without a file.
    pub fn in_memory(size: u32, timing: &Flash) -> Nor {
        Nor::new(vec![0xff; size as usize], timing, None)
    }

    /// Opens a chip with the contents of the raw file at `path`. A missing or empty file is filled
    /// with 0xFF to `size` bytes. The file is locked until the chip is dropped.
    ///
    /// # Errors
    /// [`SimError::FlashBusy`] if the file is locked by another opener, [`SimError::FlashSize`] if
    /// its length is neither in [`FILE_SIZES`] nor `size`, [`SimError::FlashFile`] for errors of
    /// the operating system.
    pub fn open(path: &Path, size: u32, timing: &Flash) -> Result<Nor, SimError> {
        let refused = |source| SimError::FlashFile { path: path.into(), source };
        let (file, created) = open_or_create(path).map_err(refused)?;
        let found = file.metadata().map_err(refused)?;
        if !found.is_file() {
            let message = "is not a regular file";
            return Err(refused(io::Error::new(io::ErrorKind::InvalidInput, message)));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(SimError::FlashBusy { path: path.into() });
            }
            Err(TryLockError::Error(source)) => return Err(refused(source)),
        }
        // Read again under the lock: another opener may have filled the file in the meantime.
        let len = file.metadata().map_err(refused)?.len();
        let bytes = if len == 0 {
            let bytes = vec![0xff; size as usize];
            if let Err(source) = write_at(&file, 0, &bytes) {
                // A file that could not be filled is useless, so restore the previous state.
                let _ = if created { std::fs::remove_file(path) } else { file.set_len(0) };
                return Err(refused(source));
            }
            bytes
        } else {
            let known = FILE_SIZES.into_iter().chain([size]).any(|known| u64::from(known) == len);
            if !known {
                return Err(SimError::FlashSize { path: path.into(), len, usual: size });
            }
            let mut bytes = vec![0; len as usize];
            io::Read::read_exact(&mut &file, &mut bytes).map_err(refused)?;
            bytes
        };
        Ok(Nor::new(bytes, timing, Some(Mirror { file, path: path.into() })))
    }

    fn new(bytes: Vec<u8>, timing: &Flash, mirror: Option<Mirror>) -> Nor {
        let timing = timing.clone();
        Nor {
            bytes,
            timing,
            mirror,
            generation: 0,
            operations: 0,
            power_cut_at: None,
            tears: Vec::new(),
            stuck: Vec::new(),
            off: None,
            fault_events: Vec::new(),
        }
    }

    /// Overwrites the contents at `offset` with `data`, like a programmer before the chip is
    /// soldered in. This is not a flash operation of the chip.
    ///
    /// # Errors
    /// [`NorError::OutOfRange`], [`NorError::File`].
    pub fn put(&mut self, offset: u32, data: &[u8]) -> Result<(), NorError> {
        let range = self.range(offset, data.len())?;
        self.mirror(offset, data)?;
        if let Some(place) = self.bytes.get_mut(range) {
            place.copy_from_slice(data);
        }
        self.generation += 1;
        Ok(())
    }

    /// Copies everything from `other` but keeps the file, which receives the new contents. Sectors
    /// that are already equal are not written to it.
    ///
    /// # Errors
    /// [`NorError::OutOfRange`] if the size of `other` differs, [`NorError::File`].
    pub fn copy_from(&mut self, other: &Nor) -> Result<(), NorError> {
        if other.bytes.len() != self.bytes.len() {
            let (len, size) = (other.bytes.len() as u64, self.size());
            return Err(NorError::OutOfRange { offset: 0, len, size });
        }
        let sectors = || (0_u32..).step_by(SECTOR_LEN as usize);
        let pairs =
            self.bytes.chunks(SECTOR_LEN as usize).zip(other.bytes.chunks(SECTOR_LEN as usize));
        for (offset, (old, new)) in sectors().zip(pairs) {
            if old != new {
                self.mirror(offset, new)?;
            }
        }
        let mirror = self.mirror.take();
        *self = Nor { mirror, ..other.clone() };
        Ok(())
    }

    /// Writes `data` to the file, if there is one.
    fn mirror(&self, offset: u32, data: &[u8]) -> Result<(), NorError> {
        let Some(mirror) = &self.mirror else { return Ok(()) };
        write_at(&mirror.file, u64::from(offset), data)
            .map_err(|source| NorError::File { path: mirror.path.clone(), source })
    }

    /// Returns the contents.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the chip size in bytes.
    pub fn size(&self) -> u32 {
        self.bytes.len() as u32
    }

    /// Returns the path of the flash file, if there is one.
    pub fn path(&self) -> Option<&Path> {
        self.mirror.as_ref().map(|mirror| mirror.path.as_path())
    }

    /// Returns `len` bytes at `offset`.
    ///
    /// # Errors
    /// [`NorError::OutOfRange`].
    pub fn read(&self, offset: u32, len: u32) -> Result<&[u8], NorError> {
        let range = self.range(offset, len as usize)?;
        self.bytes.get(range).ok_or(NorError::OutOfRange {
            offset,
            len: len.into(),
            size: self.size(),
        })
    }

    /// Returns the answer to Read JEDEC ID (9Fh): manufacturer, type, and log2 of the capacity in
    /// bytes. The capacity is this chip's, which depends on the size of its file.
    pub fn jedec(&self) -> [u8; 3] {
        let [manufacturer, kind, usual] = self.timing.jedec;
        let capacity = self.size().checked_ilog2().map_or(usual, |log| log as u8);
        [manufacturer, kind, capacity]
    }

    /// Returns the timing from the data sheet.
    pub fn timing(&self) -> &Flash {
        &self.timing
    }

    /// Returns a counter that increases with each change of the contents.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns the number of program and erase operations so far.
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// Programs `data` at `offset` with as many page programs as needed. Each byte becomes the AND
    /// of its old and new value. Returns how long the chip is busy.
    ///
    /// # Errors
    /// [`NorError`].
    pub fn program(&mut self, offset: u32, data: &[u8]) -> Result<Duration, NorError> {
        self.range(offset, data.len())?;
        let mut busy = Duration::ZERO;
        let (mut at, mut rest) = (offset, data);
        while !rest.is_empty() {
            let room = (PAGE_LEN - at % PAGE_LEN) as usize;
            let (page, after) = rest.split_at(room.min(rest.len()));
            busy += self.program_page(at, page)?;
            at = at.wrapping_add(page.len() as u32);
            rest = after;
        }
        Ok(busy)
    }

    /// Executes one Page Program (02h). The address wraps within the 256-byte page, and only the
    /// last 256 bytes of longer data are programmed. Returns how long the chip is busy.
    ///
    /// # Errors
    /// [`NorError`].
    pub fn program_page(&mut self, offset: u32, data: &[u8]) -> Result<Duration, NorError> {
        let start = offset - offset % PAGE_LEN;
        let range = self.range(start, PAGE_LEN as usize)?;
        let mut page = self.bytes.get(range).unwrap_or_default().to_vec();
        let mut latch = vec![0xff; page.len()];
        let mut at = (offset % PAGE_LEN) as usize;
        for byte in data {
            if let Some(slot) = latch.get_mut(at) {
                *slot = *byte;
            }
            at = (at + 1) % latch.len().max(1);
        }
        for (byte, latched) in page.iter_mut().zip(latch) {
            *byte &= latched;
        }
        // Without a wrap, write only the programmed bytes to the file.
        let first = (offset % PAGE_LEN) as usize;
        match page.get(first..first + data.len()) {
            Some(part) => self.replace(offset, part)?,
            None => self.replace(start, &page)?,
        }
        Ok(self.program_time(data.len().min(PAGE_LEN as usize)))
    }

    /// Returns how long a write of the status registers takes.
    pub fn status_time(&self) -> Duration {
        Duration::from_millis(self.timing.status_write_ms.into())
    }

    /// Returns how long one page program of `len` bytes takes.
    fn program_time(&self, len: usize) -> Duration {
        let further = u64::from(self.timing.program_next_byte_ns) * (len.max(1) as u64 - 1);
        Duration::from_nanos(u64::from(self.timing.program_first_byte_ns) + further)
    }

    /// Erases the 4 KiB sector that holds `offset` (20h). Returns how long the chip is busy.
    ///
    /// # Errors
    /// [`NorError`].
    pub fn erase_sector(&mut self, offset: u32) -> Result<Duration, NorError> {
        self.erase(offset, SECTOR_LEN)?;
        Ok(Duration::from_micros(self.timing.erase_4k_us.into()))
    }

    /// Erases the 32 KiB block that holds `offset` (52h). Returns how long the chip is busy.
    ///
    /// # Errors
    /// [`NorError`].
    pub fn erase_block32k(&mut self, offset: u32) -> Result<Duration, NorError> {
        self.erase(offset, BLOCK_32K_LEN)?;
        Ok(Duration::from_micros(self.timing.erase_32k_us.into()))
    }

    /// Erases the 64 KiB block that holds `offset` (D8h). Returns how long the chip is busy.
    ///
    /// # Errors
    /// [`NorError`].
    pub fn erase_block(&mut self, offset: u32) -> Result<Duration, NorError> {
        self.erase(offset, BLOCK_64K_LEN)?;
        Ok(Duration::from_micros(self.timing.erase_64k_us.into()))
    }

    /// Erases the whole chip (C7h). Returns how long the chip is busy.
    ///
    /// # Errors
    /// [`NorError`].
    pub fn erase_chip(&mut self) -> Result<Duration, NorError> {
        self.replace(0, &vec![0xff; self.bytes.len()])?;
        Ok(Duration::from_millis(self.timing.erase_chip_ms.into()))
    }

    fn erase(&mut self, offset: u32, unit: u32) -> Result<(), NorError> {
        let start = offset - offset % unit;
        self.range(start, unit as usize)?;
        self.replace(start, &vec![0xff; unit as usize])
    }

    /// Replaces the contents at `offset` with `new`. The file is written first, so that the
    /// contents in memory stay unchanged if that fails.
    fn replace(&mut self, offset: u32, new: &[u8]) -> Result<(), NorError> {
        let range = self.range(offset, new.len())?;
        let torn = match self.power_cut_at {
            Some(at) if self.operations > at => return Err(NorError::NoPower),
            Some(at) => self.operations == at,
            None => false,
        };
        if self.off.is_some() {
            return Err(NorError::NoPower);
        }
        let new = if torn { new.get(..new.len() / 2).unwrap_or_default() } else { new };
        let (new, torn_by) = self.apply_tear(offset, new);
        let new = &*self.with_stuck_bits(offset, new);
        self.mirror(offset, new)?;
        if let Some(old) = self.bytes.get_mut(range).and_then(|old| old.get_mut(..new.len())) {
            old.copy_from_slice(new);
        }
        self.generation += 1;
        self.operations += 1;
        match torn_by {
            Some(TornBy::Reset) => return Err(NorError::Reset),
            Some(TornBy::PowerCut(back_after)) => {
                self.off = Some(back_after);
                return Err(NorError::NoPower);
            }
            None => {}
        }
        if torn { Err(NorError::NoPower) } else { Ok(()) }
    }

    fn range(&self, offset: u32, len: usize) -> Result<std::ops::Range<usize>, NorError> {
        let start = offset as usize;
        match start.checked_add(len) {
            Some(end) if end <= self.bytes.len() => Ok(start..end),
            _ => Err(NorError::OutOfRange { offset, len: len as u64, size: self.size() }),
        }
    }
}

/// Contents of a flash chip in pieces, of which equal ones are shared.
#[derive(Debug, Clone)]
pub(crate) struct SharedBytes(Vec<Arc<[u8]>>);

impl SharedBytes {
    /// Returns a copy of `bytes` that shares the pieces that are equal in `before`.
    pub(crate) fn new(bytes: &[u8], before: Option<&SharedBytes>) -> SharedBytes {
        let pieces = bytes.chunks(BLOCK_64K_LEN as usize).enumerate().map(|(number, piece)| {
            let known = before.and_then(|before| before.0.get(number));
            known.filter(|known| ***known == *piece).map_or_else(|| piece.into(), Arc::clone)
        });
        SharedBytes(pieces.collect())
    }

    /// Returns all bytes.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        self.0.concat()
    }
}

impl Nor {
    /// Takes the contents out, until [`Nor::restore_bytes`].
    pub(crate) fn take_bytes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Restores the contents without a flash operation.
    pub(crate) fn restore_bytes(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
    }
}

impl Clone for Nor {
    fn clone(&self) -> Nor {
        Nor {
            bytes: self.bytes.clone(),
            timing: self.timing.clone(),
            mirror: None,
            generation: self.generation,
            operations: self.operations,
            power_cut_at: self.power_cut_at,
            tears: self.tears.clone(),
            stuck: self.stuck.clone(),
            off: self.off,
            fault_events: self.fault_events.clone(),
        }
    }
}

/// Returns true if the name itself is the problem: no flash file can exist under it.
pub fn is_invalid_file_name(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, InvalidInput, IsADirectory};
    matches!(error.kind(), InvalidFilename | InvalidInput | IsADirectory)
}

/// Opens or creates the file. Also returns whether it was created.
fn open_or_create(path: &Path) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    match options.open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        opened => return opened.map(|file| (file, false)),
    }
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        std::fs::create_dir_all(directory)?;
    }
    match options.clone().create_new(true).open(path) {
        // Another opener was faster; the file is either locked or complete.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            options.open(path).map(|file| (file, false))
        }
        made => made.map(|file| (file, true)),
    }
}

#[cfg(unix)]
fn write_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(not(unix))]
fn write_at(mut file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    use io::{Seek, Write};
    file.seek(io::SeekFrom::Start(offset))?;
    file.write_all(bytes)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// On a full disk the operation fails with the file's name and the contents stay unchanged.
    #[test]
    fn full_disk_is_reported_with_the_path() {
        let timing =
            &esplice_chip::ChipDb::embedded().find("esp32c3").unwrap().sim.as_ref().unwrap().flash;
        let path = PathBuf::from("/dev/full");
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        let mut nor = Nor::new(vec![0xff; 1 << 20], timing, Some(Mirror { file, path }));
        let told = nor.program(0x100, &[0]).unwrap_err().to_string();
        assert!(told.starts_with("flash file /dev/full: "), "{told}");
        assert_eq!(nor.bytes()[0x100], 0xff);
        assert_eq!(nor.generation(), 0);
    }
}
