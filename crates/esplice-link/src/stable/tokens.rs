//! Splits a linker script into words, and inlines the scripts that it includes.

use std::ops::Range;

use super::StableError;

/// Maximum depth of includes, which stops scripts that include each other.
const MAX_DEPTH: usize = 16;
/// Maximum length of a linker script.
const MAX_LEN: usize = 16 << 20;

/// Replaces every `INCLUDE` in `text` by the script that `include` returns for its name.
///
/// # Errors
/// [`StableError::NoInclude`] if it returns none; [`StableError::Script`] if includes do not end.
pub(crate) fn flatten(
    text: &str,
    include: &mut dyn FnMut(&str) -> Option<String>,
) -> Result<String, StableError> {
    let mut flat = String::new();
    flatten_into(&mut flat, text, include, 0)?;
    Ok(flat)
}

fn flatten_into(
    flat: &mut String,
    text: &str,
    include: &mut dyn FnMut(&str) -> Option<String>,
    depth: usize,
) -> Result<(), StableError> {
    if depth > MAX_DEPTH || flat.len().saturating_add(text.len()) > MAX_LEN {
        return Err(unsupported("scripts that include each other"));
    }
    let tokens = tokens(text)?;
    let mut copied = 0;
    for pair in tokens.windows(2) {
        let [token, name] = pair else { continue };
        if token.quoted || token.text != "INCLUDE" {
            continue;
        }
        let included = include(name.text)
            .ok_or_else(|| StableError::NoInclude { name: name.text.to_owned() })?;
        flat.push_str(text.get(copied..token.range.start).unwrap_or_default());
        flatten_into(flat, &included, include, depth + 1)?;
        flat.push('\n');
        copied = name.range.end;
    }
    flat.push_str(text.get(copied..).unwrap_or_default());
    Ok(())
}

/// A word, or a quoted text.
#[derive(Debug, Clone)]
pub(crate) struct Token<'a> {
    pub text: &'a str,
    pub quoted: bool,
    pub range: Range<usize>,
}

/// The characters of a word, as in lld's lexer (lld/ELF/ScriptLexer.cpp).
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.$/\\~=+[]*?-!^:".contains(&byte)
}

/// Returns the words of `text`, without comments.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token<'_>>, StableError> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    let from = |at: usize| bytes.get(at..).unwrap_or_default();
    while let Some(byte) = bytes.get(at) {
        let rest = from(at);
        if byte.is_ascii_whitespace() {
            at += 1;
        } else if rest.starts_with(b"/*") {
            let end = from(at + 2).windows(2).position(|pair| pair == b"*/");
            at += end.ok_or_else(|| unsupported("a comment without end"))? + 4;
        } else if *byte == b'#' {
            at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        } else if *byte == b'"' {
            let len = from(at + 1).iter().position(|byte| *byte == b'"');
            let len = len.ok_or_else(|| unsupported("a quotation without end"))?;
            let inside = text.get(at + 1..at + 1 + len).unwrap_or_default();
            tokens.push(Token { text: inside, quoted: true, range: at..at + len + 2 });
            at += len + 2;
        } else {
            let len = match rest.iter().take_while(|byte| is_word(**byte)).count() {
                0 => text.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8),
                len => len,
            };
            let word = text.get(at..at + len).ok_or_else(|| unsupported("broken text"))?;
            tokens.push(Token { text: word, quoted: false, range: at..at + len });
            at += len;
        }
    }
    Ok(tokens)
}

/// Returns the error for an unsupported feature.
pub(crate) fn unsupported(what: &str) -> StableError {
    StableError::Script { what: what.to_owned() }
}
