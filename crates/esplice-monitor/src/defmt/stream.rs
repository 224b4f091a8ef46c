//! Frames among text: `FF 00`, then the frame. Source: esp-println 0.18, `src/defmt.rs`.

use std::sync::Arc;

use super::{DefmtTable, LogFrame, MAX_FRAME, NoFrame};
use crate::binlog::{BinaryLog, Packages};

/// What stands before a frame: bytes that text in UTF-8 has not.
const HEAD: [u8; 2] = [0xff, 0x00];

/// A part of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// What is no frame.
    Text(Vec<u8>),
    /// A frame.
    Frame(LogFrame),
}

/// Takes a stream apart; without a table it is all text. Packages of ESP-IDF's binary log become text
/// before.
#[derive(Debug, Default)]
pub(crate) struct Demux {
    table: Option<Arc<DefmtTable>>,
    binary: Option<Arc<BinaryLog>>,
    packages: Packages,
    /// A frame that is not whole yet, with its head.
    partial: Vec<u8>,
}

impl Demux {
    pub fn new(table: Option<Arc<DefmtTable>>, binary: Option<Arc<BinaryLog>>) -> Demux {
        Demux { table, binary, ..Demux::default() }
    }

    /// Takes the next bytes. What begins like a frame is held back until it is one, or is none.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Piece> {
        match self.binary.clone() {
            Some(log) => {
                let text = self.packages.push(bytes, &log);
                self.frames(text)
            }
            None => self.frames(bytes.to_vec()),
        }
    }

    /// Whether a package of the binary log is held back that has not come whole.
    pub fn holds_package(&self) -> bool {
        self.packages.holds()
    }

    /// Nothing has come for a while: what was held back of a package is none.
    pub fn settle(&mut self) -> Vec<Piece> {
        let rest = self.packages.finish();
        if rest.is_empty() { vec![] } else { self.frames(rest) }
    }

    /// The stream has ended: what was held back is no frame.
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
            // The first of two may belong to noise.
            [0xff, 0xff] => {
                self.partial.truncate(1);
                text(&[0xff], pieces);
            }
            [first, second, frame @ ..] if [*first, *second] == HEAD => {
                if let Some(log) = whole(frame, table) {
                    self.partial.clear();
                    match log {
                        Whole::Frame(log) => pieces.push(Piece::Frame(log)),
                        // An encoder may end a frame before its first.
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

/// What the bytes behind a head are, once they end; none if more are to come.
fn whole(bytes: &[u8], table: &DefmtTable) -> Option<Whole> {
    if table.is_raw() {
        // Nothing but its own contents tells a frame's end.
        return match table.decode(bytes) {
            Ok(log) => Some(Whole::Frame(log)),
            Err(NoFrame::NotWhole) => None,
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

/// A frame without its reverse-zero-compressing COBS; none if it is none. Source: the encoding's
/// description, <https://github.com/Dirbaio/rzcobs>: read from the end, a byte tells of the seven
/// before it which were zero.
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
            // A zero behind that many bytes.
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
        // The description's own examples.
        assert_eq!(rzcobs(&[]), Some(vec![]));
        assert_eq!(rzcobs(&[0x7f]), Some(vec![0; 7]));
        let seven = [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77];
        assert_eq!(rzcobs(&[&seven[..], &[0x80]].concat()), Some([&seven[..], &[0]].concat()));
        assert_eq!(rzcobs(&[0x12, 0x34, 0x7c]), Some(vec![0x12, 0x34, 0, 0, 0, 0, 0]));
        assert_eq!(rzcobs(&[0]), None);
        assert_eq!(rzcobs(&[0x01]), None);
    }
}
