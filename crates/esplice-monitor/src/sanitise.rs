//! Makes bytes from a board safe for a terminal.

/// Maximum length of a control sequence. A longer one is noise (ECMA-48 5.4 names no limit; xterm
/// takes 30 parameters).
const MAX_CSI: usize = 128;

/// Maximum length of a control string, such as a window's title.
const MAX_STRING: usize = 1024;

/// Returns `bytes` as text without escape sequences, see [`Sanitiser`].
pub fn sanitise(bytes: &[u8]) -> String {
    let mut sanitiser = Sanitiser::default();
    let mut text = sanitiser.push(bytes);
    text.push_str(&sanitiser.finish());
    text
}

/// The treatment of backspaces.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backspace {
    /// A backspace becomes a Unicode picture, like other control characters.
    #[default]
    Pictured,
    /// A backspace is passed on within a line, so that a terminal moves back, but never beyond the
    /// start of the line's own text.
    Passed,
    /// A backspace is removed.
    Dropped,
}

/// A filter for a stream. Its output does not depend on how the stream is split into pieces.
///
/// Escape sequences and control strings (ECMA-48 5.4, 5.6) are removed, in their 7-bit and UTF-8
/// forms. Tab, line feed and carriage return are kept. Other control characters become visible as
/// their Unicode pictures. Bytes that are not UTF-8 and characters that change the writing
/// direction become U+FFFD.
#[derive(Debug, Default)]
pub struct Sanitiser {
    state: State,
    /// The first bytes of an unfinished UTF-8 character, at most three.
    partial: Vec<u8>,
    backspace: Backspace,
    /// Number of characters between the start of the line and a terminal's cursor.
    column: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// In a control sequence, with its length so far.
    Sequence(usize),
    /// In a control string (title, clipboard, device control), with its length so far.
    String(usize),
    /// After ESC in a control string.
    StringEscape,
}

impl Sanitiser {
    /// Creates a filter with this treatment of backspaces.
    pub fn new(backspace: Backspace) -> Sanitiser {
        Sanitiser { backspace, ..Sanitiser::default() }
    }

    /// Returns whether `byte` is shown unchanged: printable ASCII or a line end, outside of
    /// sequences.
    pub(crate) fn passes(&self, byte: u8) -> bool {
        let is_plain = matches!(byte, b' '..=b'~' | b'\r' | b'\n' | b'\t');
        // The column is needed only if backspaces are passed on.
        let counts = self.backspace == Backspace::Passed;
        is_plain && !counts && self.state == State::Text && self.partial.is_empty()
    }

    /// Takes the next piece of the stream. A character cut off at its end is returned with the next
    /// piece.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        let mut text = String::with_capacity(bytes.len());
        for byte in bytes {
            self.byte(*byte, &mut text);
        }
        text
    }

    /// Ends the stream. Returns a replacement for a character that was cut off.
    pub fn finish(&mut self) -> String {
        self.state = State::Text;
        let cut = !std::mem::take(&mut self.partial).is_empty();
        if cut { char::REPLACEMENT_CHARACTER.into() } else { String::new() }
    }

    fn byte(&mut self, byte: u8, text: &mut String) {
        if byte.is_ascii() {
            if !self.partial.is_empty() {
                self.partial.clear();
                self.char(char::REPLACEMENT_CHARACTER, text);
            }
            return self.char(char::from(byte), text);
        }
        self.partial.push(byte);
        match std::str::from_utf8(&self.partial) {
            Ok(whole) => {
                let char = whole.chars().next();
                self.partial.clear();
                char.into_iter().for_each(|char| self.char(char, text));
            }
            // More bytes are needed.
            Err(error) if error.error_len().is_none() => {}
            Err(_) => {
                let alone = self.partial.len() == 1;
                self.partial.clear();
                self.char(char::REPLACEMENT_CHARACTER, text);
                // The byte that did not fit may start a new character.
                if !alone {
                    self.byte(byte, text);
                }
            }
        }
    }

    fn char(&mut self, char: char, text: &mut String) {
        self.state = match self.state {
            State::Text => return self.text(char, text),
            State::Escape => match char {
                '[' => State::Sequence(0),
                ']' | 'P' | 'X' | '^' | '_' => State::String(0),
                // Intermediate bytes of a longer escape sequence, ECMA-35 13.2.
                ' '..='/' | '\x1b' => State::Escape,
                '0'..='~' => State::Text,
                _ => return self.text(char, text),
            },
            State::Sequence(len) => match char {
                ' '..='?' if len < MAX_CSI => State::Sequence(len + 1),
                '@'..='~' => State::Text,
                _ => return self.text(char, text),
            },
            State::String(len) => match char {
                '\x07' | '\u{9c}' => State::Text,
                '\x1b' => State::StringEscape,
                // A genuine string does not contain a line end.
                '\n' | '\r' => return self.text(char, text),
                _ if len >= MAX_STRING => return self.text(char, text),
                _ => State::String(len + 1),
            },
            State::StringEscape => match char {
                '\\' => State::Text,
                _ => {
                    self.state = State::Escape;
                    return self.char(char, text);
                }
            },
        };
    }

    fn text(&mut self, char: char, text: &mut String) {
        self.state = State::Text;
        self.column = match char {
            '\r' | '\n' => 0,
            '\x08' | '\x1b' => self.column,
            _ => self.column.saturating_add(1),
        };
        match char {
            '\x08' if self.backspace == Backspace::Dropped => {}
            '\x08' if self.backspace == Backspace::Passed => {
                if let Some(column) = self.column.checked_sub(1) {
                    self.column = column;
                    text.push(char);
                }
            }
            '\x1b' => self.state = State::Escape,
            // C1 controls that begin a sequence or a string, ECMA-48 5.3.
            '\u{9b}' => self.state = State::Sequence(0),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => self.state = State::String(0),
            '\t' | '\n' | '\r' => text.push(char),
            // The block Control Pictures has NUL to US at U+2400, and DEL at U+2421.
            '\0'..='\x1f' => text.extend(char::from_u32(0x2400 + u32::from(char))),
            '\x7f' => text.push('\u{2421}'),
            '\u{80}'..='\u{9f}' => text.push(char::REPLACEMENT_CHARACTER),
            // Direction marks, embeddings, overrides and isolates (Unicode UAX #9, 2), line ends
            // that most programs do not treat as such, and invisible tags.
            '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{e0000}'..='\u{e007f}' => text.push(char::REPLACEMENT_CHARACTER),
            _ => text.push(char),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: &str) {
        assert_eq!(sanitise(bytes), expected, "{}", bytes.escape_ascii());
    }

    #[test]
    fn text_stays() {
        check(b"Hello,\tWorld!\r\n", "Hello,\tWorld!\r\n");
        check("Grüße, 世界 🙂".as_bytes(), "Grüße, 世界 🙂");
    }

    #[test]
    fn sequences_vanish() {
        check(b"\x1b[0;32mI (24) boot: ok\x1b[0m\n", "I (24) boot: ok\n");
        check(b"a\x1b[2J\x1b[Hb", "ab");
        check(b"a\x1b(Bb\x1bcd\x1b#8e", "abde");
        check(b"a\x1b]0;title\x07b\x1b]52;c;cm0=\x1b\\c", "abc");
        check(b"a\x1bP1$r\x1b\\b\x1b_x\x1b\\c", "abc");
        check("a\u{9b}31mb\u{9d}0;t\u{9c}c".as_bytes(), "abc");
    }

    #[test]
    fn broken_sequences_swallow_little() {
        check(b"a\x1b[31\nb", "a\nb");
        check(b"a\x1b]0;never ended\nb", "a\nb");
        check(b"a\x1b\x1b[1mb", "ab");
        check(b"a\x1b]x\x1b[1mb", "ab");
        let endless: Vec<u8> = [b"\x1b]".as_slice(), &[b'x'; 3000]].concat();
        assert_eq!(sanitise(&endless).len(), 3000 - MAX_STRING);
    }

    #[test]
    fn other_controls_are_shown() {
        check(b"\0\x07\x08\x7f", "\u{2400}\u{2407}\u{2408}\u{2421}");
        check(b"a\x9b31mb\xff", "a\u{fffd}31mb\u{fffd}");
        check(b"\xe4\xb8", "\u{fffd}");
        check(b"\xe4A\xe4\xc3\xbc", "\u{fffd}A\u{fffd}ü");
        check("\u{85}".as_bytes(), "\u{fffd}");
        check(
            "a\u{202e}b\u{2067}c\u{200e}d\u{2028}".as_bytes(),
            "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}",
        );
    }

    #[test]
    fn backspaces_move_back_within_a_line() {
        let shown = |backspace, bytes: &[u8]| Sanitiser::new(backspace).push(bytes);
        assert_eq!(shown(Backspace::Passed, b"ab\x08\x08\x08c"), "ab\x08\x08c");
        assert_eq!(shown(Backspace::Passed, b"ab\r\n\x08> l\x08 \x08"), "ab\r\n> l\x08 \x08");
        assert_eq!(shown(Backspace::Passed, b"\x1b[31m\x08a\x08"), "a\x08");
        assert_eq!(shown(Backspace::Dropped, b"ab\x08\x08\x08c"), "abc");
    }

    proptest! {
        #[test]
        fn no_control_gets_through(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let text = sanitise(&bytes);
            prop_assert!(!text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r')));
        }

        #[test]
        fn pieces_make_no_difference(
            bytes in proptest::collection::vec(
                prop_oneof![Just(0x1b), Just(b'['), Just(b']'), Just(0xc2), Just(0x9b), any::<u8>()],
                0..300,
            ),
            cut in 1usize..9,
        ) {
            let mut sanitiser = Sanitiser::default();
            let mut text: String = bytes.chunks(cut).map(|piece| sanitiser.push(piece)).collect();
            text.push_str(&sanitiser.finish());
            prop_assert_eq!(text, sanitise(&bytes));
        }
    }
}
