//! Splits the stream into lines.

use std::collections::VecDeque;

use crate::sanitise::{Backspace, Sanitiser, sanitise};

/// Maximum length of a line. Longer lines are split, so that a stream without line ends stays
/// bounded.
const MAX_LINE: usize = 4096;

/// Number of lines kept for the end of a report.
const KEPT: usize = 12;

/// A line without its line end and escape sequences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub text: String,
    /// True if the bytes were text: valid UTF-8 without control characters unusual in text.
    pub is_text: bool,
}

/// Collects bytes until a line is complete, and remembers the last few.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    partial: Vec<u8>,
    last: VecDeque<String>,
}

impl Lines {
    /// Takes the next byte. Returns the line that it ends, if any.
    pub fn push(&mut self, byte: u8) -> Option<Line> {
        if byte != b'\n' {
            self.partial.push(byte);
            if self.partial.len() < MAX_LINE {
                return None;
            }
        }
        Some(self.take())
    }

    /// Returns the unfinished line, if there is one, at the end of the stream.
    pub fn finish(&mut self) -> Option<Line> {
        if self.partial.is_empty() { None } else { Some(self.take()) }
    }

    /// Returns the last non-empty lines, oldest first.
    pub fn last(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }

    /// Adds text from elsewhere to the last lines.
    pub fn remember_text(&mut self, line: &str) {
        for line in line.lines().filter(|line| !line.trim().is_empty()) {
            self.remember(sanitise(line.as_bytes()));
        }
    }

    fn remember(&mut self, text: String) {
        self.last.push_back(text);
        if self.last.len() > KEPT {
            self.last.pop_front();
        }
    }

    fn take(&mut self) -> Line {
        let bytes = std::mem::take(&mut self.partial);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(&bytes);
        let control =
            |byte: &u8| byte.is_ascii_control() && !matches!(byte, b'\t' | b'\r' | 0x08 | 0x1b);
        let is_text = std::str::from_utf8(bytes).is_ok() && !bytes.iter().any(control);
        let mut sanitiser = Sanitiser::new(Backspace::Dropped);
        let text = sanitiser.push(bytes) + &sanitiser.finish();
        if !text.trim().is_empty() {
            self.remember(text.clone());
        }
        Line { text, is_text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> (Vec<String>, Option<String>) {
        let mut lines = Lines::default();
        let whole = bytes.iter().filter_map(|b| lines.push(*b)).map(|l| l.text).collect();
        (whole, lines.finish().map(|l| l.text))
    }

    #[test]
    fn ends_are_taken_off_and_the_rest_is_kept() {
        assert_eq!(
            lines(b"a\r\nb\n\nc"),
            (vec!["a".into(), "b".into(), "".into()], Some("c".into()))
        );
        assert_eq!(lines(b"\x1b[31mred\x1b[0m\r\n"), (vec!["red".into()], None));
    }

    #[test]
    fn a_stream_without_ends_is_cut() {
        let (whole, rest) = lines(&[b'x'; 2 * MAX_LINE + 5]);
        assert_eq!(whole.len(), 2);
        assert_eq!(rest.as_deref(), Some("xxxxx"));
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let mut lines = Lines::default();
        for number in 0..100 {
            for byte in format!("{number}\n\n").bytes() {
                lines.push(byte);
            }
        }
        assert_eq!(lines.last().len(), KEPT);
        assert_eq!(lines.last().last().map(String::as_str), Some("99"));
    }
}
