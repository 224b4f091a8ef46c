//! Reads flash in compressed frames, each with a checksum.

use std::time::Duration;

use esplice_chip::FlashOffset;
use esplice_protocol::{Opcode, Port, Reply, Request};
use esplice_stub::{
    crc::crc32,
    wire::{self, READ_HEADER, READ_HISTORY, READ_PIECE},
};

use super::{Part, word};
use crate::{FlashError, Session, loader::STUB_STATUS_LEN};

/// Frames that the stub sends ahead of their acknowledgement: 64 KiB of flash at least, enough to
/// keep the wire busy at a round trip of 300 ms and 921600 baud.
const IN_FLIGHT: u32 = 8;

/// Time to wait for a frame, in addition to the time on the wire: the stub looks at blank flash
/// without a word, 16 MiB in 3 s.
const FRAME: Duration = Duration::from_millis(5000);

/// Times to start again without a good frame in between.
const RESTARTS: u32 = 4;

/// Takes the bytes that were read, in order.
type Sink<'a, S> = dyn FnMut(&mut S, &[u8]) -> Result<(), FlashError> + 'a;

impl<P: Port + ?Sized> Session<'_, P> {
    /// Reads flash through esplice's own stub and passes it to `sink` in pieces, in order and each
    /// once. Each was checked against a checksum that the device computed.
    ///
    /// # Errors
    /// [`FlashError::Read`] if a piece never arrived intact, `sink`'s errors, and the errors of
    /// commands.
    pub(crate) fn read_own(
        &mut self,
        offset: FlashOffset,
        len: u32,
        sink: &mut Sink<'_, Self>,
    ) -> Result<(), FlashError> {
        self.need_part(Part::Extras)?;
        let (mut done, mut restarts) = (0, 0);
        while done < len {
            let before = done;
            let result = self.read_stream(offset, len, &mut done, sink);
            match result {
                Ok(()) => {}
                Err(error) if error.is_transient() => {
                    restarts = if done > before { 0 } else { restarts + 1 };
                    // The SYNC ends the stream.
                    if restarts > RESTARTS || !self.resync()? {
                        let offset = FlashOffset(offset.0.wrapping_add(done));
                        let len = (len - done).min(READ_PIECE as u32);
                        return Err(FlashError::Read { offset, len, attempts: restarts });
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read_stream(
        &mut self,
        offset: FlashOffset,
        len: u32,
        done: &mut u32,
        sink: &mut Sink<'_, Self>,
    ) -> Result<(), FlashError> {
        let opcode = Opcode::StreamRead;
        let start = offset.0.wrapping_add(*done);
        let words = [start, len - *done, IN_FLIGHT];
        let data: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
        self.discard_arrived()?;
        let sent = self.send(&Request::Own { opcode, data })?;
        // A sent request counts for the first deadline.
        let mut extra = self.wire_time(sent);
        let mut frames = 0_u32;
        let mut history: Vec<u8> = Vec::new();
        while *done < len {
            let frame = self.wire_time(READ_PIECE + READ_HEADER + 64);
            let deadline = self.port.now() + FRAME + frame + std::mem::take(&mut extra);
            let Some(reply) = self.receive(deadline)? else {
                return Err(FlashError::Timeout { command: opcode, after: FRAME });
            };
            if reply.opcode != opcode as u8 {
                continue;
            }
            let at = offset.0.wrapping_add(*done);
            let piece = piece(&reply, at, len - *done, &history)?;
            frames += 1;
            self.send(&Request::Own { opcode, data: frames.to_le_bytes().to_vec() })?;
            match piece {
                Piece::Bytes(bytes) => {
                    history.extend_from_slice(&bytes);
                    let surplus = history.len().saturating_sub(READ_HISTORY);
                    history.drain(..surplus);
                    *done += bytes.len() as u32;
                    sink(self, &bytes)?;
                }
                Piece::Blank(count) => {
                    let blank = [0xff; READ_PIECE];
                    let mut left = count as usize;
                    *done += count;
                    while left > 0 {
                        let now = left.min(READ_PIECE);
                        sink(self, &blank[..now])?;
                        left -= now;
                    }
                }
            }
        }
        // The reply that ends the stream; it says nothing that is not known.
        let deadline = self.port.now() + self.wire_time(64) + FRAME;
        self.receive(deadline)?;
        Ok(())
    }
}

enum Piece {
    Bytes(Vec<u8>),
    Blank(u32),
}

/// Returns the flash that a frame carries, which must begin at `at` and have at most `most` bytes.
fn piece(reply: &Reply, at: u32, most: u32, history: &[u8]) -> Result<Piece, FlashError> {
    let command = Opcode::StreamRead;
    let has = reply.data.len();
    let refused = reply.split_status(STUB_STATUS_LEN).filter(|_| has == STUB_STATUS_LEN);
    if let Some((_, status)) = refused.filter(|(_, status)| !status.is_ok()) {
        let (reason, meaning) = (status.reason_code(), status.meaning());
        return Err(FlashError::Refused { command, reason, meaning });
    }
    let malformed = FlashError::Malformed { command, has };
    let Some((header, contents)) = reply.data.split_at_checked(READ_HEADER) else {
        return Err(malformed);
    };
    let mut words = header.chunks_exact(4).map(word);
    let (Some(offset), Some(len), Some(kind), Some(crc)) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(malformed);
    };
    let damaged = FlashError::Unstable { command };
    if offset != at || len == 0 || len > most {
        return Err(damaged);
    }
    let bytes = match kind {
        // The length is checked like a piece's bytes.
        wire::KIND_BLANK if crc == crc32(&len.to_le_bytes()) => return Ok(Piece::Blank(len)),
        _ if len as usize > READ_PIECE => return Err(damaged),
        wire::KIND_RAW => contents.to_vec(),
        wire::KIND_LZ4 => {
            match lz4_flex::block::decompress_with_dict(contents, len as usize, history) {
                Ok(bytes) => bytes,
                Err(_) => return Err(damaged),
            }
        }
        _ => return Err(damaged),
    };
    if bytes.len() != len as usize || crc32(&bytes) != crc {
        return Err(damaged);
    }
    Ok(Piece::Bytes(bytes))
}
