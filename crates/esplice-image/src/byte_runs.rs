//! Collects runs of bytes in the order of a file, and sorts them once all are read.

use esplice_chip::FlashOffset;

use crate::{LARGEST_FLASH, PlannedWrite};

/// Runs of bytes in the order of a file. All bytes are in one buffer, so that a million runs need
/// little more memory than the bytes.
#[derive(Debug, Default)]
pub(crate) struct ByteRuns {
    data: Vec<u8>,
    all: Vec<ByteRun>,
}

#[derive(Debug, Clone, Copy)]
struct ByteRun {
    offset: u32,
    len: u32,
    /// Index of the first byte in the buffer.
    start: usize,
    /// Position in the file at which the run begins, such as a line.
    place: u32,
}

impl ByteRun {
    fn end(&self) -> u32 {
        // The end is inside a flash, so it does not overflow.
        self.offset + self.len
    }
}

/// Two runs have bytes for the same offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DuplicateBytes {
    /// Positions of both runs in the file, the earlier one first.
    pub places: (usize, usize),
    /// The first offset that occurs twice.
    pub offset: FlashOffset,
}

impl ByteRuns {
    /// Adds a run that begins at position `place` of the file. Returns its end as an error if that
    /// is past the largest flash.
    pub fn add(&mut self, place: usize, start: u64, data: &[u8]) -> Result<(), u64> {
        let end = start + data.len() as u64;
        if end > u64::from(LARGEST_FLASH) {
            return Err(end);
        }
        if data.is_empty() {
            return Ok(());
        }
        let (offset, len) = (start as u32, data.len() as u32);
        match self.all.last_mut() {
            Some(last) if last.end() == offset => last.len += len,
            _ => {
                let place = u32::try_from(place).unwrap_or(u32::MAX);
                self.all.push(ByteRun { offset, len, start: self.data.len(), place });
            }
        }
        self.data.extend_from_slice(data);
        Ok(())
    }

    /// Returns a write for each gapless run of bytes, in order of offset.
    ///
    /// # Errors
    /// [`DuplicateBytes`] for bytes that occur twice.
    pub fn into_writes(mut self) -> Result<Vec<PlannedWrite>, DuplicateBytes> {
        self.all.sort_unstable_by_key(|run| (run.offset, run.place));
        for pair in self.all.windows(2) {
            let (first, second) = (pair[0], pair[1]);
            if first.end() > second.offset {
                let places = (first.place.min(second.place), first.place.max(second.place));
                let places = (places.0 as usize, places.1 as usize);
                return Err(DuplicateBytes { places, offset: FlashOffset(second.offset) });
            }
        }
        if let [only] = self.all[..] {
            let offset = FlashOffset(only.offset);
            return Ok(vec![PlannedWrite {
                data: self.data,
                ..PlannedWrite::unnamed(offset, &[])
            }]);
        }
        let groups = || self.all.chunk_by(|a, b| a.end() == b.offset);
        let mut writes = Vec::with_capacity(groups().count());
        for group in groups() {
            let Some(first) = group.first() else { continue };
            let mut data = Vec::with_capacity(group.iter().map(|part| part.len as usize).sum());
            for part in group {
                let bytes = self.data.get(part.start..part.start + part.len as usize);
                data.extend_from_slice(bytes.unwrap_or_default());
            }
            let write = PlannedWrite::unnamed(FlashOffset(first.offset), &[]);
            writes.push(PlannedWrite { data, ..write });
        }
        Ok(writes)
    }
}
