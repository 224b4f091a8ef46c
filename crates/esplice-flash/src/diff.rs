//! Finds the sectors of a write that the flash does not hold yet, by hashes from the device.
//!
//! Nothing is remembered between runs: every skipped sector was seen in flash in this session. The
//! beginnings of a few sectors are hashed first. The first sector of a program holds what
//! distinguishes one build from another: if it is right, all of it probably is, and a single hash
//! decides. If no sample is right, the whole write is taken to be new and the rest is not hashed.
//! Otherwise the write is hashed in chunks, and each chunk that differs is halved down to single
//! sectors. The chunk length depends on the cost of a round trip and of hashing a sector, both
//! measured during the work.

use std::{ops::Range, time::Duration};

use esplice_chip::FlashOffset;
use esplice_protocol::Port;

use crate::{
    FlashError, Session,
    job::{FlashState, Job, SECTOR, md5_blank},
};

/// Writes of fewer sectors are hashed without looking at samples first.
const SAMPLED_FROM: u32 = 4;

/// Writes of fewer sectors are judged by two samples, others by three.
const SAMPLED_MORE_FROM: u32 = 12;

/// Number of changes to expect: a program that was linked again differs at its beginning, where its
/// description is, at its end, where its hash is, and somewhere in between.
const CHANGES: u32 = 2;

/// Time to hash a byte before any was measured: 20 cycles of a CPU at 20 MHz.
const HASH_BYTE: Duration = Duration::from_micros(1);

/// Time to erase and program a sector (Winbond W25Q32JV datasheet, 9.6 AC characteristics, typical
/// values: 45 ms, and 16 pages of 0.67 ms).
pub(crate) const WRITE_SECTOR: Duration = Duration::from_micros(55_700);

/// Sectors of a write that the flash does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Ranges of sectors to write, in order.
    pub(crate) ranges: Vec<Range<u32>>,
    /// State of the flash in these ranges.
    pub(crate) place: FlashState,
}

impl Difference {
    /// Returns a difference that covers all of `job`.
    pub(crate) fn all(job: &Job) -> Difference {
        let ranges = std::iter::once(0..job.sectors()).collect();
        Difference { ranges, place: FlashState::Written }
    }

    pub(crate) fn sectors(&self) -> u32 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }
}

/// Costs of comparing by hashes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Costs {
    /// Time for a command that does nothing.
    pub(crate) round_trip: Duration,
    /// Time for hashing a sector.
    pub(crate) hash_sector: Duration,
}

impl Costs {
    /// Returns the chunk length, of `sectors` in all, that costs least with this many changes.
    fn chunk(&self, sectors: u32, changes: u32) -> u32 {
        let mut best = (Duration::MAX, sectors.max(1));
        let mut chunk = 1;
        while chunk < sectors.saturating_mul(2) {
            let len = chunk.min(sectors);
            let halvings = len.next_power_of_two().trailing_zeros();
            let differing = changes.min(sectors.div_ceil(len));
            let cost = self.hash_sector * (sectors + differing * len)
                + self.round_trip * (sectors.div_ceil(len) + differing * 2 * halvings);
            if cost <= best.0 {
                best = (cost, len);
            }
            chunk *= 2;
        }
        best.1
    }

    /// Returns the number of equal sectors between two different ones that are cheaper to write
    /// again than to skip.
    fn gap(&self) -> u32 {
        // A further transfer takes one more BEGIN and one more block.
        let transfer = (self.round_trip * 2).as_micros();
        u32::try_from(transfer / WRITE_SECTOR.as_micros()).unwrap_or(u32::MAX)
    }
}

impl<P: Port + ?Sized> Session<'_, P> {
    /// Returns the sectors of `job` that the flash does not hold.
    ///
    /// # Errors
    /// The errors of commands.
    pub(crate) fn difference(&mut self, job: &Job) -> Result<Difference, FlashError> {
        let sectors = job.sectors();
        let mut known = false;
        if sectors >= SAMPLED_FROM {
            let mut samples = vec![0, sectors / 2];
            if sectors >= SAMPLED_MORE_FROM {
                samples.push(sectors / 4);
            }
            let (mut wrong, mut blank) = (0, 0);
            for sample in &samples {
                let (offset, len, expected) = job.sample(*sample);
                let found = self.hash(offset, len)?;
                if found == expected {
                    break;
                }
                wrong += 1;
                blank += usize::from(found == md5_blank(len));
            }
            if wrong == samples.len() {
                return self.new_write(job, blank == wrong);
            }
            known = wrong > 0;
        }
        self.in_chunks(job, if known { CHANGES } else { 1 })
    }

    /// Returns the sectors that differ, without trusting samples.
    ///
    /// # Errors
    /// The errors of commands.
    pub(crate) fn exact_difference(&mut self, job: &Job) -> Result<Difference, FlashError> {
        self.in_chunks(job, CHANGES)
    }

    fn in_chunks(&mut self, job: &Job, changes: u32) -> Result<Difference, FlashError> {
        let sectors = job.sectors();
        let mut differing = Vec::new();
        let chunk = self.costs().chunk(sectors, changes);
        let mut from = 0;
        while from < sectors {
            let range = from..from.saturating_add(chunk).min(sectors);
            from = range.end;
            self.narrow(job, range, false, &mut differing)?;
        }
        let ranges = merged(&differing, self.costs().gap());
        Ok(Difference { ranges, place: FlashState::Written })
    }

    /// Returns all of `job`. Checks by one hash whether the flash there is blank, if that saves the
    /// erase.
    fn new_write(&mut self, job: &Job, seems_blank: bool) -> Result<Difference, FlashError> {
        let all = Difference::all(job);
        // A stub, if one is uploaded for that many sectors, checks itself what it must erase.
        if !seems_blank || self.stub_pays_off(job.sectors()) || !self.loader().erases_at_begin() {
            return Ok(all);
        }
        let range = 0..job.sectors();
        // The rest of the last sector is not part of the write and may keep its data.
        let blank = self.hash_sectors(job, &range)? == job.md5_blank(&range);
        Ok(if blank { Difference { place: FlashState::Blank, ..all } } else { all })
    }

    /// Finds the sectors of `range` that differ; `known` if at least one is known to differ.
    fn narrow(
        &mut self,
        job: &Job,
        range: Range<u32>,
        known: bool,
        differing: &mut Vec<u32>,
    ) -> Result<bool, FlashError> {
        if !known && self.hash_sectors(job, &range)? == job.md5(&range) {
            return Ok(false);
        }
        if range.end - range.start <= 1 {
            differing.push(range.start);
            return Ok(true);
        }
        let middle = range.start + (range.end - range.start) / 2;
        let left = self.narrow(job, range.start..middle, false, differing)?;
        // If the left half is right, the other one is wrong.
        self.narrow(job, middle..range.end, !left, differing)?;
        Ok(true)
    }

    fn hash_sectors(&mut self, job: &Job, sectors: &Range<u32>) -> Result<String, FlashError> {
        let (offset, len) = job.place(sectors);
        let began = self.port.now();
        let hash = self.hash(offset, len)?;
        let took = self.port.now().since(began);
        self.note_hash(len, took);
        Ok(hash)
    }

    fn costs(&self) -> Costs {
        let hash_sector = self.hash_time(SECTOR).unwrap_or(HASH_BYTE * SECTOR);
        Costs { round_trip: self.round_trip(), hash_sector }
    }
}

/// Merges sorted sectors into ranges, across gaps of up to `gap` sectors.
fn merged(sectors: &[u32], gap: u32) -> Vec<Range<u32>> {
    let mut ranges: Vec<Range<u32>> = Vec::new();
    for sector in sectors {
        match ranges.last_mut() {
            Some(last) if *sector <= last.end.saturating_add(gap) => last.end = sector + 1,
            _ => ranges.push(*sector..sector + 1),
        }
    }
    ranges
}

/// Formats ranges of a write's sectors for people.
pub(crate) fn places(job: &Job, ranges: &[Range<u32>]) -> String {
    let place = |range: &Range<u32>| {
        let (FlashOffset(from), len) = job.place(range);
        format!("0x{from:x}..0x{:x}", u64::from(from) + u64::from(len))
    };
    ranges.iter().map(place).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_merged_over_small_gaps() {
        assert_eq!(merged(&[], 3), []);
        assert_eq!(merged(&[1, 2, 4, 9], 0), [1..3, 4..5, 9..10]);
        assert_eq!(merged(&[1, 2, 4, 9], 1), [1..5, 9..10]);
        assert_eq!(merged(&[1, 2, 4, 9, 20], 4), [1..10, 20..21]);
    }

    #[test]
    fn chunks_are_larger_where_a_round_trip_costs_more() {
        let costs = |millis, hash_micros| Costs {
            round_trip: Duration::from_millis(millis),
            hash_sector: Duration::from_micros(hash_micros),
        };
        let chunks = [0, 1, 10, 100, 1000].map(|rtt| costs(rtt, 4000).chunk(138, 2));
        assert!(chunks.is_sorted(), "{chunks:?}");
        assert!(chunks[0] <= 2 && chunks[4] >= 64, "{chunks:?}");
        assert_eq!(costs(0, 0).chunk(0, 1), 1);
        assert_eq!(costs(1, 4000).gap(), 0);
        assert!(costs(100, 4000).gap() >= 3);
    }
}
