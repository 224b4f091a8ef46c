//! Compares the flash with what is to be written, by hashes of sectors.

use std::{ops::Range, time::Duration};

use esplice_chip::FlashOffset;
use esplice_protocol::{Opcode, Port, Request};
use esplice_stub::wire::{HASH_LEN, SECTOR};
use sha2::{Digest as _, Sha256};

use super::{Part, checked};
use crate::{FlashError, Session, job::Job, session::SHORT};

/// Sectors of one request: the reply is a frame of 8 KiB.
const SECTORS: u32 = 1024;

/// Maximum time to read and hash a sector.
const HASH: Duration = Duration::from_millis(20);

/// The first bytes of a sector's SHA-256.
pub(super) type Hash = [u8; HASH_LEN];

/// Returns the hash of a sector.
pub(super) fn hash(bytes: &[u8]) -> Hash {
    let mut hash = [0; HASH_LEN];
    for (to, byte) in hash.iter_mut().zip(Sha256::digest(bytes)) {
        *to = byte;
    }
    hash
}

impl<P: Port + ?Sized> Session<'_, P> {
    /// Returns for each job the ranges of its sectors that the flash does not hold. Uploads the
    /// stub's writer meanwhile.
    ///
    /// # Errors
    /// The errors of commands.
    pub(super) fn differing_sectors(
        &mut self,
        jobs: &[Job],
    ) -> Result<Vec<Vec<Range<u32>>>, FlashError> {
        let ranges: Vec<(FlashOffset, u32)> =
            jobs.iter().map(|job| (job.offset, job.len)).collect();
        let mut hashes = self.sector_hashes(&ranges)?.into_iter();
        let differing = jobs.iter().map(|job| {
            let mut found: Vec<Range<u32>> = Vec::new();
            for sector in 0..job.sectors() {
                let range = sector..sector + 1;
                if hashes.next() == Some(hash(job.bytes(&range))) {
                    continue;
                }
                match found.last_mut() {
                    Some(last) if last.end == sector => last.end += 1,
                    _ => found.push(range),
                }
            }
            found
        });
        Ok(differing.collect())
    }

    /// Returns the hash of each sector of these ranges.
    fn sector_hashes(&mut self, ranges: &[(FlashOffset, u32)]) -> Result<Vec<Hash>, FlashError> {
        let mut pieces = Vec::new();
        for (offset, len) in ranges {
            for from in (0..*len).step_by((SECTORS * SECTOR) as usize) {
                pieces.push((offset.0.saturating_add(from), (len - from).min(SECTORS * SECTOR)));
            }
        }
        let mut hashes = Vec::new();
        let mut rest = &pieces[..];
        while !rest.is_empty() {
            let mut sectors = 0;
            let fit = rest.iter().take_while(|(_, len)| {
                sectors += len.div_ceil(SECTOR);
                sectors <= SECTORS
            });
            let count = fit.count().max(1);
            let (now, later) = rest.split_at(count);
            rest = later;
            hashes.extend(self.retry_resynced(|session| session.hash_request(now))?);
        }
        Ok(hashes)
    }

    fn hash_request(&mut self, pieces: &[(u32, u32)]) -> Result<Vec<Hash>, FlashError> {
        let words = pieces.iter().flat_map(|(offset, len)| [*offset, *len]);
        let data: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
        let sectors: u32 = pieces.iter().map(|(_, len)| len.div_ceil(SECTOR)).sum();
        let len = sectors as usize * HASH_LEN;
        let timeout = SHORT + HASH * sectors + self.wire_time(2 * len);
        let uploads = self.part_requests(Part::Writer);
        let answer = if uploads.is_empty() {
            self.own(Opcode::HashSectors, &data, timeout)?
        } else {
            self.hash_and_upload(data, &uploads, timeout)?
        };
        let (hashes, rest) = answer.as_chunks::<HASH_LEN>();
        if hashes.len() * HASH_LEN != len || !rest.is_empty() {
            return Err(FlashError::Malformed { command: Opcode::HashSectors, has: answer.len() });
        }
        Ok(hashes.to_vec())
    }

    /// Sends a part of the stub while the stub hashes; its requests wait in the stub's buffer.
    fn hash_and_upload(
        &mut self,
        data: Vec<u8>,
        uploads: &[Request],
        timeout: Duration,
    ) -> Result<Vec<u8>, FlashError> {
        self.discard_arrived()?;
        let request = Request::Own { opcode: Opcode::HashSectors, data };
        let mut sent = self.send(&request)?;
        for upload in uploads {
            sent += self.send(upload)?;
        }
        let deadline = self.port.now() + self.wire_time(sent) + timeout;
        let mut found = None;
        let mut waiting = std::iter::once(&request).chain(uploads);
        let mut next = waiting.next();
        while let Some(request) = next {
            let command = request.opcode();
            let Some(reply) = self.receive(deadline)? else {
                return Err(FlashError::Timeout { command, after: timeout });
            };
            if reply.opcode != command as u8 {
                continue;
            }
            let (data, status) = reply
                .split_status(self.loader().status_len)
                .ok_or(FlashError::Malformed { command, has: reply.data.len() })?;
            if !status.is_ok() {
                let (reason, meaning) = (status.reason_code(), status.meaning());
                return Err(FlashError::Refused { command, reason, meaning });
            }
            if command == Opcode::HashSectors {
                found = Some(checked(command, data.to_vec())?);
            }
            next = waiting.next();
        }
        self.part_is_there(Part::Writer);
        found.ok_or(FlashError::Timeout { command: Opcode::HashSectors, after: timeout })
    }
}
