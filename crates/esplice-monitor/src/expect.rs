//! Expected text, searched in a stream one byte at a time.

use std::sync::Arc;

use crate::{
    escape::{EscapeError, unescape},
    stream_regex::{Found, Search, StreamRegex},
};

/// An error in expected text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpectError {
    /// An escape is invalid, or the text is empty.
    #[error(transparent)]
    Escape(#[from] EscapeError),
    /// A regular expression is invalid, or too large.
    #[error("regular expression /{pattern}/: {reason}")]
    Regex {
        /// The expression.
        pattern: String,
        /// The cause.
        reason: String,
    },
    /// A regular expression matches before any byte has arrived.
    #[error("regular expression /{pattern}/ matches empty text")]
    MatchesNothing {
        /// The expression.
        pattern: String,
    },
}

impl ExpectError {
    /// Returns a hint about how to fix the problem, if there is one.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            ExpectError::Escape(error) => return error.hint(),
            ExpectError::Regex { .. } => {
                r"text between slashes is a regular expression; plain text may begin with \x2f for a slash"
                    .into()
            }
            ExpectError::MatchesNothing { .. } => {
                "make it match at least one byte, such as with + instead of *".into()
            }
        })
    }
}

/// Text expected in a board's output: bytes or a regular expression. Matches do not depend on how
/// the stream is split into pieces.
///
/// The text is searched in the output as shown, without escape sequences such as those for colours.
/// Expectations with bytes that are never shown, such as an escape, are searched in the raw bytes,
/// and so are all others after [`Expectation::in_raw_bytes`].
#[derive(Debug, Clone)]
pub struct Expectation {
    text: String,
    pattern: Pattern,
    raw: bool,
}

#[derive(Debug, Clone)]
enum Pattern {
    Bytes {
        bytes: Vec<u8>,
        /// For each prefix of the bytes, the length of its longest proper border: the number of
        /// bytes that still match when the next byte does not fit (Knuth, Morris, Pratt, "Fast
        /// Pattern Matching in Strings", 1977).
        border: Vec<usize>,
    },
    Regex(Arc<StreamRegex>),
}

impl PartialEq for Expectation {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.bytes() == other.bytes() && self.raw == other.raw
    }
}

impl Eq for Expectation {}

impl Expectation {
    /// Parses text with C-style escapes, see [`unescape`], or a regular expression between slashes:
    /// `/temp=[0-9]+/`.
    ///
    /// Expressions use the syntax of the crate `regex` on bytes, without Unicode classes. `^` and
    /// `$` match at line ends, and `.` does not match a line end. An expression matches at the
    /// earliest possible byte. With `$` or `\b`, which look at what follows, that is the byte after
    /// the match.
    pub fn parse(text: &str) -> Result<Self, ExpectError> {
        if let Some(regex) = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
            if regex.is_empty() {
                return Err(EscapeError::Empty.into());
            }
            let pattern = Pattern::Regex(Arc::new(StreamRegex::new(regex)?));
            let raw = asks_for_hidden_bytes(regex);
            return Ok(Expectation { text: text.to_owned(), pattern, raw });
        }
        Ok(Self::plain(text)?)
    }

    /// Parses text with C-style escapes that is never a regular expression, even between slashes.
    pub fn plain(text: &str) -> Result<Self, EscapeError> {
        Self::new(text.to_owned(), unescape(text)?)
    }

    /// Expects the given bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EscapeError> {
        Self::new(bytes.escape_ascii().to_string(), bytes.to_vec())
    }

    /// Searches the raw bytes instead of the output as shown.
    pub fn in_raw_bytes(self) -> Expectation {
        Expectation { raw: true, ..self }
    }

    /// Returns whether the raw bytes are searched.
    pub fn is_raw(&self) -> bool {
        self.raw
    }

    /// Returns the text as the user wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the expected bytes, never empty, or `None` for a regular expression.
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.pattern {
            Pattern::Bytes { bytes, .. } => Some(bytes),
            Pattern::Regex(_) => None,
        }
    }

    fn new(text: String, bytes: Vec<u8>) -> Result<Self, EscapeError> {
        if bytes.is_empty() {
            return Err(EscapeError::Empty);
        }
        let mut border = vec![0; bytes.len()];
        let mut matched = 0;
        for at in 1..bytes.len() {
            while matched > 0 && bytes[at] != bytes[matched] {
                matched = border[matched - 1];
            }
            matched += usize::from(bytes[at] == bytes[matched]);
            border[at] = matched;
        }
        let raw = std::str::from_utf8(&bytes).map_or(true, |text| text.chars().any(is_hidden));
        Ok(Expectation { text, pattern: Pattern::Bytes { bytes, border }, raw })
    }
}

/// Returns whether `char` is never shown unchanged.
fn is_hidden(char: char) -> bool {
    char.is_control() && !matches!(char, '\t' | '\r' | '\n')
}

/// Returns whether a regular expression contains bytes that are never shown, such as `\x1b`.
fn asks_for_hidden_bytes(regex: &str) -> bool {
    let mut rest = regex;
    while let Some(at) = rest.find('\\') {
        let mut chars = rest.get(at + 1..).unwrap_or_default().chars();
        match chars.next() {
            Some('a' | 'f' | 'v') => return true,
            Some('x' | 'u' | 'U') => {
                let digits = chars.as_str().trim_start_matches('{');
                let end = digits.find(|char: char| !char.is_ascii_hexdigit());
                let digits = digits.get(..end.unwrap_or(digits.len()).min(2)).unwrap_or_default();
                let byte = u8::from_str_radix(digits, 16).unwrap_or(0);
                if !byte.is_ascii() || is_hidden(char::from(byte)) {
                    return true;
                }
            }
            _ => {}
        }
        rest = chars.as_str();
    }
    regex.contains("[:cntrl:]") || regex.chars().any(is_hidden)
}

/// The progress of a stream towards one expectation.
#[derive(Debug)]
pub(crate) struct Finder {
    expectation: Expectation,
    progress: Progress,
}

#[derive(Debug)]
enum Progress {
    /// Number of expected bytes at the end of the stream. Always less than their total.
    Bytes(usize),
    Regex(Box<Search>),
}

impl Finder {
    /// Starts a search for `expectation` after the byte `before`.
    pub fn new(expectation: Expectation, before: Option<u8>) -> Finder {
        let progress = match &expectation.pattern {
            Pattern::Bytes { .. } => Progress::Bytes(0),
            Pattern::Regex(regex) => Progress::Regex(Box::new(regex.search(before))),
        };
        Finder { expectation, progress }
    }

    /// Returns the expectation.
    pub fn expectation(&self) -> &Expectation {
        &self.expectation
    }

    /// Takes the next byte of the stream. Returns each match once and then starts over.
    pub fn push(&mut self, byte: u8) -> Option<Found> {
        match (&self.expectation.pattern, &mut self.progress) {
            (Pattern::Bytes { bytes, border }, Progress::Bytes(matched)) => {
                while *matched > 0 && bytes[*matched] != byte {
                    *matched = border[*matched - 1];
                }
                *matched += usize::from(bytes[*matched] == byte);
                if *matched < bytes.len() {
                    return None;
                }
                *matched = 0;
                Some(Found { len: bytes.len(), trailing: 0 })
            }
            (Pattern::Regex(regex), Progress::Regex(search)) => {
                let found = regex.push(search, byte)?;
                **search = regex.search(Some(byte));
                Some(found)
            }
            // The progress always fits the pattern.
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn find(pattern: &[u8], stream: &[u8]) -> Option<usize> {
        let mut finder = Finder::new(Expectation::from_bytes(pattern).unwrap(), None);
        stream.iter().position(|byte| finder.push(*byte).is_some()).map(|at| at + 1)
    }

    #[test]
    fn patterns_that_overlap_themselves_are_found() {
        assert_eq!(find(b"aab", b"aaab"), Some(4));
        assert_eq!(find(b"abcabd", b"abcabcabd"), Some(9));
        assert_eq!(find(b"\r\n\r\n", b"\r\r\n\r\r\n\r\n"), Some(8));
        assert_eq!(find(b"x", b"abc"), None);
    }

    #[test]
    fn slashes_make_an_expression_and_one_slash_does_not() {
        let bytes = |text: &str| Expectation::parse(text).unwrap().bytes().map(<[u8]>::to_vec);
        assert_eq!(bytes("/dev/tty"), Some(b"/dev/tty".to_vec()));
        assert_eq!(bytes("/"), Some(b"/".to_vec()));
        assert_eq!(bytes(r"\x2ftmp/"), Some(b"/tmp/".to_vec()));
        assert_eq!(bytes("/tmp/"), None);
    }

    #[test]
    fn what_is_never_shown_is_looked_for_in_raw_bytes() {
        let is_raw = |text: &str| Expectation::parse(text).unwrap().is_raw();
        for text in [r"a\e[31m", r"\x00", r"\xff", r"\x08", r"/\x1b\[/", r"/\x{1b}/", r"/a\xff/"] {
            assert!(is_raw(text), "{text}");
        }
        for text in [r"a\r\n\tb", "f\u{fc}r", r"\x41", r"/\x41+/", r"/\d+\\x/", r"/[^a]b/"] {
            assert!(!is_raw(text), "{text}");
        }
        assert!(Expectation::parse("a").unwrap().in_raw_bytes().is_raw());
    }

    #[test]
    fn nothing_to_expect_is_refused() {
        for text in ["", "//"] {
            assert_eq!(Expectation::parse(text), Err(EscapeError::Empty.into()));
        }
        let error = Expectation::parse("/a[/").unwrap_err();
        assert!(
            error.hint().is_some() && error.to_string().starts_with("regular expression /a[/: ")
        );
    }

    proptest! {
        /// Compares with the standard library's search in the whole. Few letters are used so that
        /// prefixes recur.
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
