//! Writes through esplice's own stub: sectors that differ, in one stream for the largest write and
//! one for the rest.
//!
//! The stub blanks the first word of a bootloader or partition table, and programs it last, once
//! everything else of that range is verified. Such a write therefore goes as one range from its
//! first sector to its last that differs.

use std::{ops::Range, time::Duration};

use esplice_chip::FlashOffset;
use esplice_protocol::Port;
use esplice_stub::wire;
use sha2::{Digest as _, Sha256};

use super::{Part, stream::StreamRange};
use crate::{
    FlashError, FlashEvent, Session,
    job::{Job, SECTOR},
    write::{ATTEMPTS, Link, PROGRAM_BYTE, RESTARTS, SLACK, erase_time},
};

/// Bytes of a block that the flash chip erases with one command.
const ERASE_BLOCK: u32 = 0x1_0000;

/// The parts of a job to write.
struct Task<'a> {
    job: &'a Job,
    ranges: Vec<Range<u32>>,
}

impl Task<'_> {
    fn len(&self) -> u32 {
        self.ranges.iter().map(|range| self.job.place(range).1).sum()
    }
}

impl<P: Port + ?Sized> Session<'_, P> {
    /// Writes what the flash does not hold of `jobs`, which are in descending order of their
    /// offsets, and verifies it. Esplice's own stub must be running. `compared` is true if the
    /// differences were reported already.
    ///
    /// Returns false if the stub is gone, for instance because the board has reset and the stub
    /// does not start again; the other loader then has to do the work.
    ///
    /// # Errors
    /// Those of [`Session::write`].
    pub(crate) fn write_own(
        &mut self,
        jobs: &[Job],
        link: &mut Link<'_>,
        compared: bool,
    ) -> Result<bool, FlashError> {
        let (mut failures, mut first) = (0, true);
        loop {
            let result = self.try_write_own(jobs, link, first, first && !compared);
            let error = match result {
                Ok(()) => break,
                Err(error) if error.is_transient() => error,
                Err(error) => return Err(error),
            };
            first = false;
            failures += 1;
            link.failures += 1;
            let Some(job) = jobs.first() else { return Err(error) };
            if failures == ATTEMPTS {
                return Err(job.transfer_error(failures, error));
            }
            self.warn(format!("{error}; comparing and writing again"));
            if let Err(error) = self.repair(link, failures > 1) {
                return Err(match error {
                    error if error.is_transient() => job.transfer_error(failures, error),
                    FlashError::NoAnswer { .. } => job.transfer_error(failures, error),
                    error => error,
                });
            }
            if link.restarts > RESTARTS {
                let (name, offset) = (job.name.clone(), job.offset);
                return Err(FlashError::Restarts { name, offset, times: link.restarts });
            }
            if !self.is_own() {
                return Ok(false);
            }
        }
        for job in jobs {
            self.report_verified(job);
        }
        Ok(true)
    }

    fn try_write_own(
        &mut self,
        jobs: &[Job],
        link: &Link<'_>,
        first: bool,
        report: bool,
    ) -> Result<(), FlashError> {
        let differing = if link.options.full && first {
            jobs.iter().map(|job| std::iter::once(0..job.sectors()).collect()).collect()
        } else {
            self.differing_sectors(jobs)?
        };
        let mut tasks = Vec::new();
        for (job, mut ranges) in jobs.iter().zip(differing) {
            let sectors = ranges.iter().map(|range| range.end - range.start).sum();
            if report {
                self.count_sectors(job.sectors(), 0);
                if !link.options.full {
                    let (name, of) = (job.name.clone(), job.sectors());
                    self.report(FlashEvent::Differs { name, differing: sectors, sectors: of });
                }
            }
            if let Some(last) = ranges.last().filter(|_| job.first_word_last) {
                ranges = std::iter::once(0..last.end).collect();
            }
            if !ranges.is_empty() {
                tasks.push(Task { job, ranges });
            }
        }
        for group in groups(tasks) {
            self.write_group(&group)?;
        }
        Ok(())
    }

    /// Writes tasks in one stream, or in several if there are too many ranges.
    fn write_group(&mut self, tasks: &[Task<'_>]) -> Result<(), FlashError> {
        self.need_part(Part::Writer)?;
        let mut ranges = Vec::new();
        let mut data = Vec::new();
        for task in tasks {
            for range in &task.ranges {
                let (offset, len) = task.job.place(range);
                let bytes = task.job.bytes(range);
                data.extend_from_slice(bytes);
                ranges.push(StreamRange {
                    offset,
                    len,
                    erase_end: self.erase_end(task.job, offset, len),
                    flags: if task.job.first_word_last { wire::HEAD_LAST } else { 0 },
                    sha256: Sha256::digest(bytes).into(),
                });
            }
        }
        let mut done: u32 = 0;
        let mut shown = vec![0; tasks.len()];
        let mut rest = &data[..];
        for ranges in ranges.chunks(wire::RANGES) {
            let len: u32 = ranges.iter().map(|range| range.len).sum();
            let (now, later) = rest.split_at(rest.len().min(len as usize));
            rest = later;
            let (baud, caps) = (self.baud(), self.port.caps());
            let wire = move |len: usize| {
                // Over USB about a megabyte a second, and ten bits a byte on a UART.
                let rate = if caps.baud { u64::from(baud / 10).max(1) } else { 1_000_000 };
                Duration::from_micros(len as u64 * 1_000_000 / rate)
            };
            let packed = self.prepared.packed(now, &wire);
            if packed.coder == wire::ZLIB {
                self.need_part(Part::Extras)?;
            }
            let sectors = ranges.iter().map(|range| range.len.div_ceil(SECTOR)).sum();
            self.count_sectors(0, sectors);
            let erase = ranges.iter().map(|range| erase_time(range.offset.0, range.len));
            let finish = SLACK + PROGRAM_BYTE * len + erase.sum::<Duration>();
            let before = done;
            self.send_stream(ranges, &packed, finish, &mut |session, share| {
                let reached = before + (f64::from(len) * share) as u32;
                session.report_progress(tasks, reached, &mut shown);
            })?;
            done += len;
            self.report_progress(tasks, done, &mut shown);
        }
        Ok(())
    }

    /// Returns the end of what may be erased for a range: its last sector, or the block of 64 KiB
    /// that it ends in, as far as that belongs to the same app partition.
    fn erase_end(&self, job: &Job, offset: FlashOffset, len: u32) -> u32 {
        let end = offset.0.saturating_add(len).next_multiple_of(SECTOR);
        let is_last = offset.0.saturating_add(len) == job.offset.0.saturating_add(job.len);
        let app = self.apps.iter().find(|app| app.contains(&job.offset.0));
        match app.filter(|app| is_last && end <= app.end) {
            Some(app) => end.next_multiple_of(ERASE_BLOCK).min(app.end / SECTOR * SECTOR).max(end),
            None => end,
        }
    }

    /// Reports how much of each task is in flash, if `done` bytes of them all are and `shown` were
    /// reported before.
    fn report_progress(&mut self, tasks: &[Task<'_>], done: u32, shown: &mut [u32]) {
        let mut left = done;
        for (task, shown) in tasks.iter().zip(shown) {
            let len = task.len();
            let (part, total) = (left.min(len), task.job.len);
            if part > *shown {
                *shown = part;
                let (stage, done) = (task.job.name.clone(), total - len + part);
                self.report(FlashEvent::Progress { stage, done, total });
            }
            left -= part;
        }
    }
}

/// Divides tasks into streams: the first one alone if it is the largest, because its stream may have
/// been prepared.
fn groups(mut tasks: Vec<Task<'_>>) -> Vec<Vec<Task<'_>>> {
    let largest = tasks.iter().map(Task::len).max().unwrap_or(0);
    let alone =
        tasks.first().is_some_and(|task| task.len() == largest && !task.job.first_word_last);
    let rest = if alone { tasks.split_off(1) } else { Vec::new() };
    [tasks, rest].into_iter().filter(|group| !group.is_empty()).collect()
}
