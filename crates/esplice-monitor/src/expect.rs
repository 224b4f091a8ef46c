//! Text that is waited for, found in a stream of which only one byte at a time is known.

use std::sync::Arc;

use crate::{
    escape::{EscapeError, unescape},
    stream_regex::{Found, Search, StreamRegex},
};

/// Why text to wait for can't be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpectError {
    /// An escape is wrong, or there is no text at all.
    #[error(transparent)]
    Escape(#[from] EscapeError),
    /// A regular expression is wrong, or too large.
    #[error("regular expression /{pattern}/: {reason}")]
    Regex {
        /// The expression.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A regular expression that is met before a byte has come.
    #[error("regular expression /{pattern}/ is met by nothing at all")]
    MatchesNothing {
        /// The expression.
        pattern: String,
    },
}

impl ExpectError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            ExpectError::Escape(error) => return error.hint(),
            ExpectError::Regex { .. } => {
                r"text between slashes is a regular expression; plain text may begin with \x2f for a slash"
                    .into()
            }
            ExpectError::MatchesNothing { .. } => {
                "let it ask for at least one byte, such as with + in the place of *".into()
            }
        })
    }
}

/// What is waited for in a board's output, wherever its pieces are cut: bytes, or what a regular
/// expression describes.
///
/// It is looked for in the text that is shown, without escape sequences such as those of colours. What
/// asks for bytes that are never shown, such as an escape, is looked for in the raw bytes, and so is
/// all else after [`Expectation::in_raw_bytes`].
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
        /// For each prefix of the bytes, the length of its longest proper border: how much is still
        /// matched when the next byte does not fit (Knuth, Morris, Pratt, "Fast Pattern Matching in
        /// Strings", 1977).
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
    /// From text with C-style escapes, see [`unescape`], or from a regular expression that stands
    /// between slashes: `/temp=[0-9]+/`.
    ///
    /// Expressions are those of the crate `regex` on bytes, without Unicode classes. `^` and `$` are
    /// the ends of lines, and `.` is no line's end. One is met with the first byte at which it can
    /// be; `$` and `\b`, which ask for what follows, with the byte that follows.
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

    /// From text with C-style escapes that is no regular expression, whatever stands around it.
    pub fn plain(text: &str) -> Result<Self, EscapeError> {
        Self::new(text.to_owned(), unescape(text)?)
    }

    /// From bytes as they are.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EscapeError> {
        Self::new(bytes.escape_ascii().to_string(), bytes.to_vec())
    }

    /// The same, looked for in the raw bytes.
    pub fn in_raw_bytes(self) -> Expectation {
        Expectation { raw: true, ..self }
    }

    /// Whether it is looked for in the raw bytes.
    pub fn is_raw(&self) -> bool {
        self.raw
    }

    /// As the user wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The bytes waited for, never empty; none for a regular expression.
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

/// Whether `char` is never shown as it is.
fn is_hidden(char: char) -> bool {
    char.is_control() && !matches!(char, '\t' | '\r' | '\n')
}

/// Whether a regular expression names bytes that are never shown, such as `\x1b`.
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

/// How far a stream has come with one expectation.
#[derive(Debug)]
pub(crate) struct Finder {
    expectation: Expectation,
    progress: Progress,
}

#[derive(Debug)]
enum Progress {
    /// How many of its bytes the stream ends with; always less than their number.
    Bytes(usize),
    Regex(Box<Search>),
}

impl Finder {
    /// Begins to look for `expectation`, behind the byte `before`.
    pub fn new(expectation: Expectation, before: Option<u8>) -> Finder {
        let progress = match &expectation.pattern {
            Pattern::Bytes { .. } => Progress::Bytes(0),
            Pattern::Regex(regex) => Progress::Regex(Box::new(regex.search(before))),
        };
        Finder { expectation, progress }
    }

    /// What is looked for.
    pub fn expectation(&self) -> &Expectation {
        &self.expectation
    }

    /// Takes the next byte of the stream; a match is told once, then it is looked for again.
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
                Some(Found { len: bytes.len(), behind: 0 })
            }
            (Pattern::Regex(regex), Progress::Regex(search)) => {
                let found = regex.push(search, byte)?;
                **search = regex.search(Some(byte));
                Some(found)
            }
            // The progress was made for the pattern.
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
