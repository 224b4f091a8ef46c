//! Sends a stream in blocks, several of which are on their way at a time.

use std::time::Duration;

use esplice_chip::FlashOffset;
use esplice_protocol::{Moment, Opcode, Port, Reply, Request};
use esplice_stub::{
    crc::crc32,
    wire::{BLOCK, RANGE_LEN},
};

use super::{Packed, checked, word};
use crate::{FlashError, Session, loader::STUB_STATUS_LEN, session::SHORT};

/// Maximum time without any answer: the stub answers each block at once, and does nothing else for
/// longer than a millisecond.
const SILENCE: Duration = Duration::from_millis(300);

/// Maximum time in which the stub takes no block from its buffer: the flash chip erases two blocks
/// of 64 KiB (Winbond W25Q32JV datasheet, 9.6, maximum: 2 s each), and as much again.
const STANDSTILL: Duration = Duration::from_secs(8);

/// Number of times to send the first missing block again without an answer.
const REPEATS: u32 = 5;

/// A range of flash that a stream fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StreamRange {
    pub(super) offset: FlashOffset,
    pub(super) len: u32,
    /// End of what may be erased.
    pub(super) erase_end: u32,
    pub(super) flags: u32,
    pub(super) sha256: [u8; 32],
}

impl StreamRange {
    fn to_bytes(&self) -> [u8; RANGE_LEN] {
        let mut bytes = [0; RANGE_LEN];
        let words = [self.offset.0, self.len, self.erase_end, self.flags];
        let (head, sha256) = bytes.split_at_mut(16);
        for (to, word) in head.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        sha256.copy_from_slice(&self.sha256);
        bytes
    }
}

/// How far the stub is.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// The first block that has not arrived.
    next: u32,
    /// Blocks that are decoded.
    consumed: u32,
    /// A bit for each block after `next` that has arrived.
    later: u32,
}

impl<P: Port + ?Sized> Session<'_, P> {
    /// Sends `packed` to `ranges` and waits until everything is written and verified. `progress` is
    /// called with the share that is decoded.
    ///
    /// # Errors
    /// [`FlashError::Refused`] with the stub's reason, and port errors.
    pub(super) fn send_stream(
        &mut self,
        ranges: &[StreamRange],
        packed: &Packed,
        finish: Duration,
        progress: &mut dyn FnMut(&mut Self, f64),
    ) -> Result<(), FlashError> {
        let mut data = Vec::new();
        let len = packed.bytes.len() as u32;
        for word in [packed.coder, packed.properties, len, ranges.len() as u32] {
            data.extend(word.to_le_bytes());
        }
        for range in ranges {
            data.extend(range.to_bytes());
        }
        data.extend(crc32(&data).to_le_bytes());
        // The loader may still finish what came before.
        let wait = SHORT + STANDSTILL;
        self.retry_resynced(|session| session.own(Opcode::StreamBegin, &data, wait))?;

        let blocks: Vec<&[u8]> = packed.bytes.chunks(BLOCK).collect();
        let count = blocks.len() as u32;
        let buffered = self.own.as_ref().map_or(1, |own| own.blocks);
        let mut sent = 0;
        let mut state = Progress::default();
        // When each block was sent again last.
        let mut repeated: Vec<Option<Moment>> = vec![None; blocks.len()];
        let (mut repeats, mut moved) = (0, self.port.now());
        while state.next < count || state.consumed + buffered < count {
            let may_send = sent < count && sent < state.consumed + buffered;
            if may_send {
                self.send_block(sent, blocks.get(sent as usize).copied().unwrap_or_default())?;
                sent += 1;
            }
            let now = self.port.now();
            let on_wire = (sent - state.next.min(sent)) as usize * (BLOCK + 64);
            let deadline = if may_send { now } else { now + self.wire_time(on_wire) + SILENCE };
            let Some(reply) = self.receive(deadline)? else {
                if may_send {
                    continue;
                }
                let after = self.port.now().since(moved);
                let timeout = FlashError::Timeout { command: Opcode::StreamData, after };
                // Everything has arrived: the stub waits for the flash chip.
                if state.next == sent && after < STANDSTILL {
                    // An acknowledgement may have been lost; the last block is answered again.
                    let last = sent.saturating_sub(1);
                    self.send_block(last, blocks.get(last as usize).copied().unwrap_or_default())?;
                    continue;
                }
                repeats += 1;
                if repeats > REPEATS || state.next == sent {
                    return Err(timeout);
                }
                let missing = state.next as usize;
                self.send_block(state.next, blocks.get(missing).copied().unwrap_or_default())?;
                continue;
            };
            let Some(found) = acknowledgement(&reply)? else { continue };
            // Answers may be old, but never go back.
            if found.next < state.next || found.next > sent {
                continue;
            }
            if found.next > state.next || found.consumed > state.consumed {
                (repeats, moved) = (0, self.port.now());
            }
            if found.consumed > state.consumed {
                let share = f64::from(found.consumed) / f64::from(count.max(1));
                progress(self, share.min(1.0));
            }
            state = Progress { consumed: found.consumed.max(state.consumed), ..found };
            // A later block has arrived, so those before it were lost. One that was sent again may
            // still be on its way.
            let later_end = state.next + 32 - state.later.leading_zeros();
            let patience = self.wire_time(on_wire + 64);
            for missing in state.next..if state.later == 0 { state.next } else { later_end } {
                let place = missing - state.next;
                let arrived = place > 0 && state.later >> (place - 1) & 1 != 0;
                let now = self.port.now();
                if let (Some(at), Some(block)) =
                    (repeated.get_mut(missing as usize), blocks.get(missing as usize))
                    && !arrived
                    && at.is_none_or(|at| now.since(at) >= patience)
                {
                    *at = Some(now);
                    self.send_block(missing, block)?;
                }
            }
        }
        // Bytes that the stub still has to write, and its last hashes.
        self.own(Opcode::StreamFinish, &[], finish).map(|_| ())
    }

    fn send_block(&mut self, sequence: u32, block: &[u8]) -> Result<(), FlashError> {
        let mut data = Vec::with_capacity(block.len() + 8);
        data.extend(sequence.to_le_bytes());
        data.extend((crc32(block) ^ sequence).to_le_bytes());
        data.extend(block);
        self.send(&Request::Own { opcode: Opcode::StreamData, data }).map(|_| ())
    }
}

/// Returns what an acknowledgement says, or `None` for a damaged or another frame.
fn acknowledgement(reply: &Reply) -> Result<Option<Progress>, FlashError> {
    let command = Opcode::StreamData;
    if reply.opcode != command as u8 {
        return Ok(None);
    }
    let Some((data, status)) = reply.split_status(STUB_STATUS_LEN) else { return Ok(None) };
    let Ok(data) = checked(command, data.to_vec()) else { return Ok(None) };
    let mut words = data.chunks_exact(4).map(word);
    let (Some(next), Some(consumed), Some(later), Some(failure)) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Ok(None);
    };
    if failure != 0 || !status.is_ok() {
        let status = esplice_protocol::Status { failed: failure as u8, reason: 0 };
        let (reason, meaning) = (status.reason_code(), status.meaning());
        return Err(FlashError::Refused { command, reason, meaning });
    }
    Ok(Some(Progress { next, consumed, later }))
}
