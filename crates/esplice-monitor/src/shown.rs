//! A board's output as shown, which expected text is matched against.

use std::collections::VecDeque;

use crate::sanitise::{Backspace, Sanitiser};

/// Number of offsets kept: as far back as a match can begin, see `stream_regex`.
const KEPT: usize = 1 << 13;

/// The text shown for a stream of bytes, without escape sequences and backspaces.
#[derive(Debug)]
pub(crate) struct Shown {
    sanitiser: Sanitiser,
    /// The text added by the last byte.
    text: Vec<u8>,
    /// The stream offsets of the last bytes of the text.
    offsets: VecDeque<u64>,
}

impl Default for Shown {
    fn default() -> Shown {
        let sanitiser = Sanitiser::new(Backspace::Dropped);
        Shown { sanitiser, text: vec![], offsets: VecDeque::new() }
    }
}

impl Shown {
    /// Takes the byte at `offset`. [`Shown::text`] then holds the text it adds: often the byte
    /// itself, nothing within an escape sequence, a whole character with its last byte.
    pub fn push(&mut self, byte: u8, offset: u64) {
        self.text.clear();
        if self.sanitiser.passes(byte) {
            self.text.push(byte);
            self.remember(offset);
            return;
        }
        let text = self.sanitiser.push(&[byte]);
        for char in text.chars() {
            let len = char.len_utf8() as u64;
            // A character keeps the offsets of its bytes. A substitute has the offset of the last
            // byte.
            let is_own = char != char::REPLACEMENT_CHARACTER && !char.is_ascii();
            let first = if is_own { (offset + 1).saturating_sub(len) } else { offset };
            for index in 0..len {
                self.remember(if is_own { first + index } else { offset });
            }
        }
        self.text.extend(text.as_bytes());
    }

    /// Returns the text added by the last byte.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Returns the stream offset of the byte `back` bytes before the end of the text.
    pub fn offset(&self, back: usize) -> Option<u64> {
        let at = self.offsets.len().checked_sub(back)?;
        self.offsets.get(at).copied()
    }

    fn remember(&mut self, offset: u64) {
        if self.offsets.len() >= KEPT {
            self.offsets.pop_front();
        }
        self.offsets.push_back(offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_stream() {
        let mut shown = Shown::default();
        let mut text: Vec<u8> = vec![];
        for (offset, byte) in (0..).zip("\x1b[31ma\u{e9}\x08b\x1b[0m".bytes()) {
            shown.push(byte, offset);
            text.extend(shown.text());
        }
        assert_eq!(text, "a\u{e9}b".as_bytes());
        let offsets: Vec<_> = (1..=4).rev().map(|back| shown.offset(back)).collect();
        assert_eq!(offsets, [Some(5), Some(6), Some(7), Some(9)]);
        assert_eq!(shown.offset(5), None);
    }
}
