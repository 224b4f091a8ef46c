//! Filters all text that goes to a terminal: names of files, ports, sections and symbols, settings,
//! and output of other programs and boards.

use std::borrow::Cow;

use esplice_monitor::sanitise;

/// Makes `text` harmless for a terminal: removes escape sequences, and makes control characters and
/// those that change the writing direction visible. Only line ends and tabs stay.
pub fn printable(text: &str) -> Cow<'_, str> {
    let plain = |byte: u8| matches!(byte, b' '..=b'~' | b'\n' | b'\t');
    if text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    let mut shown = sanitise(text.as_bytes());
    // A lone carriage return would let the following text overwrite the preceding one.
    if shown.contains('\r') {
        shown = shown.replace("\r\n", "\n").replace('\r', "\u{240d}");
    }
    Cow::Owned(shown)
}

/// Like [`printable`], for a message of one line. Further lines, which a value may contain, are
/// indented, so that they cannot be mistaken for separate messages.
pub fn printable_message(text: &str) -> Cow<'_, str> {
    let shown = printable(text);
    if shown.contains('\n') { Cow::Owned(shown.replace('\n', "\n  ")) } else { shown }
}

/// Indents lines of another program's message that a value may have made to look like messages of
/// esplice.
pub fn without_false_heads(text: &str) -> String {
    let mut shown = text.to_owned();
    for head in ["error:", "warning:", "hint:"] {
        shown = shown.replace(&format!("\n{head}"), &format!("\n  {head}"));
    }
    shown
}

/// Like [`printable`], for text with colours, which stay if `colors` is set.
pub fn printable_colored(text: &str, colors: bool) -> String {
    let mut shown = String::with_capacity(text.len());
    let (mut rest, mut colored) = (text, false);
    while let Some((at, len)) = next_color(rest) {
        let (before, sequence) = rest.split_at(at);
        let (color, after) = sequence.split_at(len);
        shown.push_str(&printable(before));
        if colors {
            shown.push_str(color);
            colored = true;
        }
        rest = after;
    }
    shown.push_str(&printable(rest));
    if colored {
        shown.push_str("\x1b[0m");
    }
    shown
}

/// Returns position and length of the next colour sequence (ECMA-48 8.3.117, SGR).
fn next_color(text: &str) -> Option<(usize, usize)> {
    text.match_indices("\x1b[").find_map(|(at, start)| {
        let parameters = text.bytes().skip(at + start.len());
        let count = parameters.take_while(|b| matches!(b, b'0'..=b'9' | b';' | b':')).count();
        let end = at + start.len() + count;
        (text.as_bytes().get(end) == Some(&b'm')).then_some((at, end + 1 - at))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_as_it_is() {
        for text in ["", "a\tb\n", "Grüße, 世界 🙂", "error[E0308]: {x}"] {
            assert_eq!(printable(text), text);
        }
        assert!(matches!(printable("plain"), Cow::Borrowed(_)));
        assert_eq!(printable("a\r\nb"), "a\nb");
    }

    #[test]
    fn what_drives_a_terminal_does_not_get_through() {
        for (text, shown) in [
            ("a\x1b[2Jb", "ab"),
            ("a\x1b]0;title\x07b", "ab"),
            ("a\u{9b}31mb", "ab"),
            ("ok\rno", "ok\u{240d}no"),
            ("a\x08b\0", "a\u{2408}b\u{2400}"),
            ("a\u{202e}b\u{2066}c\u{200f}d", "a\u{fffd}b\u{fffd}c\u{fffd}d"),
            ("a\u{2028}b", "a\u{fffd}b"),
        ] {
            assert_eq!(printable(text), shown, "{text:?}");
            assert_eq!(printable_colored(text, true), shown, "{text:?}");
        }
    }

    #[test]
    fn colors_are_kept_only_where_they_are_wanted() {
        let text = "\x1b[0m\x1b[1;38;5;9merror\x1b[0m: \x1b[2Jno\x1b[";
        assert_eq!(printable_colored(text, false), "error: no");
        assert_eq!(printable_colored(text, true), "\x1b[0m\x1b[1;38;5;9merror\x1b[0m: no\x1b[0m");
    }

    #[test]
    fn no_further_line_looks_like_a_message() {
        assert_eq!(printable_message("a\nerror: b"), "a\n  error: b");
    }
}
