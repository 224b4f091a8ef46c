//! Frames among text: `FF 00`, then the frame. Source: esp-println 0.18, `src/defmt.rs`.

use std::sync::Arc;

use super::{DefmtTable, LogFrame, MAX_FRAME, NoFrame};
use crate::binlog::{BinaryLog, PacketReader};

/// The bytes before a frame. They do not occur in UTF-8 text.
const HEAD: [u8; 2] = [0xff, 0x00];

/// A part of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Bytes outside of frames.
    Text(Vec<u8>),
    /// A frame.
    Frame(LogFrame),
}

/// Splits a stream into text and frames. Without a table everything is text. Packets of ESP-IDF's
/// binary log are converted to text first.
#[derive(Debug, Default)]
pub(crate) struct Demux {
    table: Option<Arc<DefmtTable>>,
    binary: Option<Arc<BinaryLog>>,
    packages: PacketReader,
    /// An incomplete frame with its head.
    partial: Vec<u8>,
}

impl Demux {
    pub fn new(table: Option<Arc<DefmtTable>>, binary: Option<Arc<BinaryLog>>) -> Demux {
        Demux { table, binary, ..Demux::default() }
    }

    /// Takes the next bytes. Bytes that may be a frame are held back until that is known.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Piece> {
        match self.binary.clone() {
            Some(log) => {
                let text = self.packages.push(bytes, &log);
                self.frames(text)
            }
            None => self.frames(bytes.to_vec()),
        }
    }

    /// Returns whether an incomplete packet of the binary log is held back.
    pub fn holds_packet(&self) -> bool {
        self.packages.holds()
    }

    /// Called when nothing has arrived for a while: the bytes held back are not a packet.
    pub fn settle(&mut self) -> Vec<Piece> {
        let rest = self.packages.finish();
        if rest.is_empty() { vec![] } else { self.frames(rest) }
    }

    /// Ends the stream. The bytes held back are not a frame.
    pub fn finish(&mut self) -> Vec<Piece> {
        let mut pieces = self.settle();
        let rest = std::mem::take(&mut self.partial);
        if !rest.is_empty() {
            text(&rest, &mut pieces);
        }
        pieces
    }

    fn frames(&mut self, bytes: Vec<u8>) -> Vec<Piece> {
        let Some(table) = self.table.clone() else { return vec![Piece::Text(bytes)] };
        let mut pieces = vec![];
        for byte in &bytes {
            self.byte(*byte, &table, &mut pieces);
        }
        pieces
    }

    fn byte(&mut self, byte: u8, table: &DefmtTable, pieces: &mut Vec<Piece>) {
        self.partial.push(byte);
        match self.partial.as_slice() {
            [0xff] => {}
            [0xff, 0x00] => {}
            // The first of the two may be noise.
            [0xff, 0xff] => {
                self.partial.truncate(1);
                text(&[0xff], pieces);
            }
            [first, second, frame @ ..] if [*first, *second] == HEAD => {
                if let Some(log) = whole(frame, table) {
                    self.partial.clear();
                    match log {
                        Whole::Frame(log) => pieces.push(Piece::Frame(log)),
                        // An encoder may send a frame end before its first frame.
                        Whole::Nothing => self.partial.extend(HEAD),
                        Whole::Broken(bytes) => text(&bytes, pieces),
                    }
                } else if frame.len() >= MAX_FRAME {
                    let bytes = std::mem::take(&mut self.partial);
                    text(&bytes, pieces);
                }
            }
            _ => {
                let bytes = std::mem::take(&mut self.partial);
                text(&bytes, pieces);
            }
        }
    }
}

enum Whole {
    Frame(LogFrame),
    Nothing,
    Broken(Vec<u8>),
}

/// Decodes the bytes after a head once they are complete. Returns `None` if more are needed.
fn whole(bytes: &[u8], table: &DefmtTable) -> Option<Whole> {
    if table.is_raw() {
        // Only the contents show where a frame ends.
        return match table.decode(bytes) {
            Ok(log) => Some(Whole::Frame(log)),
            Err(NoFrame::Incomplete) => None,
            Err(NoFrame::Never) => Some(Whole::Broken([&HEAD, bytes].concat())),
        };
    }
    let (0, encoded) = bytes.split_last()? else { return None };
    if encoded.is_empty() {
        return Some(Whole::Nothing);
    }
    let decoded = rzcobs(encoded).and_then(|frame| table.decode(&frame).ok());
    Some(match decoded {
        Some(log) => Whole::Frame(log),
        None => Whole::Broken([&HEAD, bytes].concat()),
    })
}

fn text(bytes: &[u8], pieces: &mut Vec<Piece>) {
    match pieces.last_mut() {
        Some(Piece::Text(text)) => text.extend(bytes),
        _ => pieces.push(Piece::Text(bytes.to_vec())),
    }
}

/// Decodes reverse-zero-compressing COBS. Returns `None` if the frame is invalid. Source:
/// <https://github.com/Dirbaio/rzcobs>: read from the end, a byte states which of the seven bytes
/// before it were zero.
fn rzcobs(encoded: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(encoded.len().saturating_mul(8).min(8 * MAX_FRAME));
    let mut rest = encoded.iter().rev().copied();
    while let Some(code) = rest.next() {
        let literal = match code {
            0 => return None,
            0x01..=0x7f => {
                for bit in (0..7).rev() {
                    decoded.push(if code >> bit & 1 == 1 { 0 } else { rest.next()? });
                }
                continue;
            }
            // A zero after this many bytes.
            0x80..=0xfe => {
                decoded.push(0);
                usize::from(code & 0x7f) + 7
            }
            0xff => 134,
        };
        for _ in 0..literal {
            decoded.push(rest.next()?);
        }
    }
    decoded.reverse();
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rzcobs_is_taken_off() {
        // The examples from the description.
        assert_eq!(rzcobs(&[]), Some(vec![]));
        assert_eq!(rzcobs(&[0x7f]), Some(vec![0; 7]));
        let seven = [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77];
        assert_eq!(rzcobs(&[&seven[..], &[0x80]].concat()), Some([&seven[..], &[0]].concat()));
        assert_eq!(rzcobs(&[0x12, 0x34, 0x7c]), Some(vec![0x12, 0x34, 0, 0, 0, 0, 0]));
        assert_eq!(rzcobs(&[0]), None);
        assert_eq!(rzcobs(&[0x01]), None);
    }
}
