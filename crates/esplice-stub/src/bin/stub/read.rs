//! Reads flash: compressed in frames, and as esptool's stub does.

use esplice_stub::{
    crc::crc32,
    lz4,
    md5::Md5,
    wire::{self, READ_HISTORY, READ_PIECE, reason},
};

use crate::{
    flash::{CHUNK, Flash},
    link::{self, Link, word},
};

const DATA: usize = READ_HISTORY + READ_PIECE;
/// Bytes that a compressed piece may have before it is sent as it is.
const PACKED: usize = READ_PIECE - 16;

/// Buffers of reads.
#[derive(Clone, Copy)]
pub struct ReadBuffers {
    data: [u8; DATA],
    packed: [u8; PACKED],
    table: [u16; lz4::TABLE],
    /// Bytes of `data` that were sent before.
    history: usize,
}

/// Answer of the host while a stream runs.
enum Answer {
    /// So many frames were taken.
    Taken(u32),
    /// Something else: the stream ends, and the frame is looked at.
    Other(usize),
}

impl ReadBuffers {
    /// Streams a range in frames, of which up to `window` may be on their way. Returns the length
    /// of a frame that arrived meanwhile and ended the stream.
    pub fn stream(
        &mut self,
        offset: u32,
        len: u32,
        window: u32,
        flash: &mut Flash,
        link: &mut Link,
    ) -> Option<usize> {
        self.history = 0;
        self.table.fill(0);
        let (mut done, mut sent, mut taken) = (0, 0_u32, 0);
        while done < len {
            while sent.wrapping_sub(taken) >= window.max(1) {
                match answer(link) {
                    Some(Answer::Taken(count)) => taken = count,
                    Some(Answer::Other(frame)) => return Some(frame),
                    None => {}
                }
            }
            let at = offset + done;
            let piece = (len - done).min(READ_PIECE as u32) as usize;
            if self.history + piece > DATA {
                self.slide();
            }
            let from = self.history;
            let mut blank = true;
            let mut read = 0;
            while read < piece {
                let count = (piece - read).min(CHUNK);
                if let Some(to) =
                    self.data.get_mut(from + read..).and_then(|to| to.get_mut(..count))
                {
                    flash.read(at + read as u32, to);
                    blank &= to.iter().all(|byte| *byte == 0xff);
                }
                read += count;
                link.poll();
            }
            let mut total = piece as u32;
            if blank {
                // Everything blank that follows goes into one frame.
                while len - done - total >= CHUNK as u32 && flash.is_blank(at + total) {
                    total += CHUNK as u32;
                    link.poll();
                }
                frame(link, at, total, wire::KIND_BLANK, crc32(&total.to_le_bytes()), &[]);
            } else {
                self.history += piece;
                let data = self.data.get(..self.history).unwrap_or_default();
                let plain = data.get(from..).unwrap_or_default();
                let crc = crc32(plain);
                let len =
                    lz4::compress(data, from, &mut self.table, &mut self.packed, || link.poll());
                match len.and_then(|len| self.packed.get(..len)) {
                    Some(packed) => frame(link, at, total, wire::KIND_LZ4, crc, packed),
                    None => frame(link, at, total, wire::KIND_RAW, crc, plain),
                }
            }
            sent += 1;
            done += total;
        }
        link.reply_words(wire::READ, &[]);
        None
    }

    /// Keeps the last bytes that were sent, at the start of the buffer.
    fn slide(&mut self) {
        let shift = self.history - (READ_HISTORY - READ_PIECE);
        for at in shift..self.history {
            let byte = self.data.get(at).copied().unwrap_or(0);
            if let Some(to) = self.data.get_mut(at - shift) {
                *to = byte;
            }
        }
        self.history -= shift;
        for place in &mut self.table {
            *place = place.saturating_sub(shift as u16);
        }
    }
}

/// Sends a frame of a stream.
fn frame(link: &mut Link, offset: u32, len: u32, kind: u32, crc: u32, contents: &[u8]) {
    link.begin(wire::READ, 0, wire::READ_HEADER + contents.len());
    for word in [offset, len, kind, crc] {
        link.put_word(word);
    }
    for piece in contents.chunks(CHUNK) {
        link.put(piece);
        link.poll();
    }
    link.end();
}

fn answer(link: &mut Link) -> Option<Answer> {
    let len = link.receive()?;
    if link::byte(1) == wire::READ && len == 12 {
        return Some(Answer::Taken(word(0)));
    }
    Some(Answer::Other(len))
}

/// Streams a range as esptool's stub does: packets, each answered by the number of bytes so
/// far, and an MD5. Returns the length of a frame that ended the stream.
pub fn packets(
    [offset, len, packet, in_flight]: [u32; 4],
    flash: &mut Flash,
    link: &mut Link,
) -> Result<Option<usize>, u8> {
    if packet == 0 || packet as usize > READ_PIECE {
        return Err(reason::LENGTH);
    }
    link.reply(0xd2, 0, 0);
    let (mut sent, mut acknowledged) = (0, 0);
    let mut md5 = Md5::new();
    while acknowledged < len {
        while sent < len && sent - acknowledged < packet.saturating_mul(in_flight.max(1)) {
            let count = (len - sent).min(packet);
            link.begin_raw();
            flash.each(offset + sent, count, link, |link, bytes| {
                md5.update(bytes);
                link.put(bytes);
            });
            link.end();
            sent += count;
            if link.has_input() {
                break;
            }
        }
        if let Some(frame) = link.receive_any() {
            if frame != 4 {
                return Ok(Some(frame));
            }
            acknowledged = link::word_at(0).min(sent);
        }
    }
    let digest = md5.finish();
    link.begin_raw();
    link.put(&digest);
    link.end();
    Ok(None)
}
