//! Text that is waited for, found in a stream of which only one byte at a time is known.

use crate::escape::{EscapeError, unescape};

/// Bytes waited for in a board's raw output, wherever its pieces are cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    text: String,
    pattern: Vec<u8>,
    /// For each prefix of the pattern, the length of its longest proper border: how much is still
    /// matched when the next byte does not fit (Knuth, Morris, Pratt, "Fast Pattern Matching in
    /// Strings", 1977).
    border: Vec<usize>,
}

impl Expectation {
    /// From text with C-style escapes, see [`unescape`].
    pub fn parse(text: &str) -> Result<Self, EscapeError> {
        let pattern = unescape(text)?;
        Self::new(text.to_owned(), pattern)
    }

    /// From bytes as they are.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EscapeError> {
        Self::new(bytes.escape_ascii().to_string(), bytes.to_vec())
    }

    /// As the user wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The bytes waited for, never empty.
    pub fn bytes(&self) -> &[u8] {
        &self.pattern
    }

    fn new(text: String, pattern: Vec<u8>) -> Result<Self, EscapeError> {
        if pattern.is_empty() {
            return Err(EscapeError::Empty);
        }
        let mut border = vec![0; pattern.len()];
        let mut matched = 0;
        for at in 1..pattern.len() {
            while matched > 0 && pattern[at] != pattern[matched] {
                matched = border[matched - 1];
            }
            matched += usize::from(pattern[at] == pattern[matched]);
            border[at] = matched;
        }
        Ok(Expectation { text, pattern, border })
    }
}

/// How far a stream has come with expectations that must be met one after another.
#[derive(Debug)]
pub(crate) struct Matcher {
    expectations: Vec<Expectation>,
    /// The one waited for now.
    index: usize,
    /// How many of its bytes the stream ends with; always less than its length.
    matched: usize,
}

impl Matcher {
    pub fn new(expectations: Vec<Expectation>) -> Self {
        Matcher { expectations, index: 0, matched: 0 }
    }

    /// Whether there is nothing to wait for at all.
    pub fn is_idle(&self) -> bool {
        self.expectations.is_empty()
    }

    /// The one waited for now; `None` when all are met.
    pub fn pending(&self) -> Option<&Expectation> {
        self.expectations.get(self.index)
    }

    /// Takes the next byte of the stream and gives the expectation that it completes: its index
    /// and length.
    pub fn push(&mut self, byte: u8) -> Option<(usize, usize)> {
        let Expectation { pattern, border, .. } = self.expectations.get(self.index)?;
        while self.matched > 0 && pattern[self.matched] != byte {
            self.matched = border[self.matched - 1];
        }
        self.matched += usize::from(pattern[self.matched] == byte);
        if self.matched < pattern.len() {
            return None;
        }
        self.matched = 0;
        self.index += 1;
        Some((self.index - 1, pattern.len()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn find(pattern: &[u8], stream: &[u8]) -> Option<usize> {
        let mut matcher = Matcher::new(vec![Expectation::from_bytes(pattern).unwrap()]);
        stream.iter().position(|byte| matcher.push(*byte).is_some()).map(|at| at + 1)
    }

    #[test]
    fn patterns_that_overlap_themselves_are_found() {
        assert_eq!(find(b"aab", b"aaab"), Some(4));
        assert_eq!(find(b"abcabd", b"abcabcabd"), Some(9));
        assert_eq!(find(b"\r\n\r\n", b"\r\r\n\r\r\n\r\n"), Some(8));
        assert_eq!(find(b"x", b"abc"), None);
    }

    #[test]
    fn several_are_met_in_order() {
        let make = |text| Expectation::parse(text).unwrap();
        let mut matcher = Matcher::new(vec![make("one"), make("two")]);
        let met: Vec<_> = b"two one one two".iter().filter_map(|b| matcher.push(*b)).collect();
        assert_eq!(met, [(0, 3), (1, 3)]);
        assert!(matcher.pending().is_none());
    }

    #[test]
    fn nothing_to_expect_is_refused() {
        assert_eq!(Expectation::parse(""), Err(EscapeError::Empty));
    }

    proptest! {
        /// As the standard library's search in the whole, with few letters so that prefixes recur.
        #[test]
        fn same_as_a_plain_search(
            pattern in proptest::collection::vec(0u8..3, 1..8),
            stream in proptest::collection::vec(0u8..3, 0..200),
        ) {
            let plain = stream.windows(pattern.len()).position(|w| w == pattern);
            prop_assert_eq!(find(&pattern, &stream), plain.map(|at| at + pattern.len()));
        }
    }
}
