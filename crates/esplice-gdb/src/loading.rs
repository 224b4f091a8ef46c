//! Collects what GDB's `load` writes, until the firmware is complete.

use std::collections::BTreeMap;

use esplice_sim::SharedBoard;

/// Most bytes that one `load` may have: more than any chip's flash window.
const LIMIT: usize = 64 << 20;

/// Bytes of a program, and the address they belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// First address.
    pub addr: u32,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Reason that firmware can't be written into the flash, for the person at the debugger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LoadError(pub String);

/// Writes firmware into the flash of a board, for GDB's `load`.
pub trait Loader {
    /// Writes the program of these segments, in ascending order, into the flash and verifies it.
    /// The board may be reset for that; the debugger resets it afterwards. `entry` is the address at
    /// which the program begins, if it is already known: GDB names it only after the load.
    ///
    /// # Errors
    /// [`LoadError`] if the segments are no program for the chip, or writing fails.
    fn load(
        &mut self,
        board: &SharedBoard,
        segments: &[Segment],
        entry: Option<u32>,
    ) -> Result<Loaded, LoadError>;
}

/// Result of a [`Loader`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loaded {
    /// The program was written. It begins at this address.
    Written {
        /// The entry point.
        entry: u32,
    },
    /// Nothing was written, because the entry point must be known.
    NeedsEntry,
}

/// The bytes that were written since the program last ran.
#[derive(Debug, Default)]
pub(crate) struct Loading {
    /// Pieces by address, which do not overlap.
    pieces: BTreeMap<u32, Vec<u8>>,
    len: usize,
}

impl Loading {
    pub fn clear(&mut self) {
        *self = Loading::default();
    }

    /// Adds bytes. What was written to the same addresses before is replaced. Returns false if
    /// there are too many.
    pub fn put(&mut self, addr: u32, bytes: &[u8]) -> bool {
        if bytes.is_empty() {
            return true;
        }
        if self.len.saturating_add(bytes.len()) > LIMIT
            || addr.checked_add(bytes.len() as u32 - 1).is_none()
        {
            return false;
        }
        self.remove(addr, bytes.len());
        self.len += bytes.len();
        // Continues the piece before it, which is the usual case.
        if let Some((start, piece)) = self.pieces.range_mut(..addr).next_back()
            && *start as usize + piece.len() == addr as usize
        {
            piece.extend_from_slice(bytes);
        } else {
            self.pieces.insert(addr, bytes.to_vec());
        }
        true
    }

    fn remove(&mut self, addr: u32, len: usize) {
        let end = u64::from(addr) + len as u64;
        let touched: Vec<u32> = self
            .pieces
            .range(..u32::try_from(end).unwrap_or(u32::MAX))
            .rev()
            .take_while(|(start, piece)| u64::from(**start) + piece.len() as u64 > addr.into())
            .map(|(start, _)| *start)
            .collect();
        for start in touched {
            let Some(mut piece) = self.pieces.remove(&start) else { continue };
            self.len -= piece.len();
            let after = (end - u64::from(start)) as usize;
            if after < piece.len() {
                let rest = piece.split_off(after);
                self.len += rest.len();
                self.pieces.insert(end as u32, rest);
            }
            if start < addr {
                piece.truncate((addr - start) as usize);
                self.len += piece.len();
                self.pieces.insert(start, piece);
            }
        }
    }

    /// Takes the segments in ascending order. Pieces that touch each other become one.
    pub fn take(&mut self) -> Vec<Segment> {
        let mut segments: Vec<Segment> = Vec::new();
        for (addr, bytes) in std::mem::take(self).pieces {
            match segments.last_mut() {
                Some(last) if u64::from(last.addr) + last.bytes.len() as u64 == addr.into() => {
                    last.bytes.extend_from_slice(&bytes);
                }
                _ => segments.push(Segment { addr, bytes }),
            }
        }
        segments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(puts: &[(u32, &[u8])], expected: &[(u32, &[u8])]) {
        let mut loading = Loading::default();
        for (addr, bytes) in puts {
            assert!(loading.put(*addr, bytes));
        }
        let expected: Vec<Segment> = expected
            .iter()
            .map(|(addr, bytes)| Segment { addr: *addr, bytes: bytes.to_vec() })
            .collect();
        assert_eq!(loading.len, expected.iter().map(|segment| segment.bytes.len()).sum::<usize>());
        assert_eq!(loading.take(), expected);
        assert_eq!(loading.take(), []);
    }

    #[test]
    fn pieces_are_joined_and_replaced() {
        check(&[(16, b"abcd"), (20, b"ef")], &[(16, b"abcdef")]);
        check(&[(20, b"ef"), (16, b"abcd")], &[(16, b"abcdef")]);
        check(&[(16, b"abcd"), (17, b"XY")], &[(16, b"aXYd")]);
        check(&[(16, b"ab"), (20, b"cd"), (15, b"1234567")], &[(15, b"1234567")]);
        check(&[(16, b"ab"), (20, b"cd"), (17, b"1234")], &[(16, b"a1234d")]);
        check(&[(u32::MAX, b"z")], &[(u32::MAX, b"z")]);
    }

    #[test]
    fn a_piece_past_the_end_is_refused() {
        let mut loading = Loading::default();
        assert!(!loading.put(u32::MAX, b"ab"));
        assert_eq!(loading.take(), []);
    }
}
