//! C-style escapes in command-line text.

/// An error in text with escapes. Positions count characters from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EscapeError {
    /// An unknown letter follows a backslash.
    #[error("unknown escape \\{found} at character {at}")]
    Unknown {
        /// Position of the backslash.
        at: usize,
        /// The letter that follows.
        found: char,
    },
    /// The text ends with a backslash.
    #[error("lone backslash at character {at}, the end")]
    Unfinished {
        /// Position of the backslash.
        at: usize,
    },
    /// `\x` is not followed by two hex digits.
    #[error("\\x at character {at} needs two hex digits, found {found:?}")]
    Hex {
        /// Position of the backslash.
        at: usize,
        /// The text that follows, at most two characters.
        found: String,
    },
    /// The text is empty and would match at once.
    #[error("expected text is empty")]
    Empty,
}

impl EscapeError {
    /// Returns a hint about how to fix the problem, if there is one.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            EscapeError::Empty => "pass at least one byte to wait for".into(),
            EscapeError::Unfinished { .. } => r"write \\ for a backslash".into(),
            _ => r#"known escapes are \r \n \t \0 \e \\ \" \' and \x followed by two hex digits"#
                .into(),
        })
    }
}

/// Returns the bytes that `text` stands for. `\r`, `\n`, `\t`, `\0`, `\e`, `\\`, `\"`, `\'` and
/// `\xNN` are escapes, everything else stands for its UTF-8 bytes.
pub fn unescape(text: &str) -> Result<Vec<u8>, EscapeError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    let mut at = 0;
    while let Some(char) = chars.next() {
        at += 1;
        if char != '\\' {
            bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let Some(letter) = chars.next() else { return Err(EscapeError::Unfinished { at }) };
        bytes.push(match letter {
            'r' => b'\r',
            'n' => b'\n',
            't' => b'\t',
            '0' => 0,
            'e' => 0x1b,
            '\\' | '"' | '\'' => letter as u8,
            'x' => {
                let digits: String = chars.by_ref().take(2).collect();
                let hex = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit());
                let value = if hex { u8::from_str_radix(&digits, 16).ok() } else { None };
                let value = value.ok_or(EscapeError::Hex { at, found: digits })?;
                at += 2;
                value
            }
            found => return Err(EscapeError::Unknown { at, found }),
        });
        at += 1;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&[u8], EscapeError>) {
        assert_eq!(unescape(text), expected.map(<[u8]>::to_vec), "{text:?}");
    }

    #[test]
    fn escapes_become_bytes() {
        check("", Ok(b""));
        check("plain", Ok(b"plain"));
        check(r"Hello, World!\r\n", Ok(b"Hello, World!\r\n"));
        check(r#"\t\0\e\\\"\'"#, Ok(b"\t\0\x1b\\\"'"));
        check(r"\x00\xff\xAb1", Ok(b"\x00\xff\xab1"));
        check("für\\n", Ok("für\n".as_bytes()));
        check(r"\\n", Ok(br"\n"));
    }

    #[test]
    fn errors_say_where() {
        check(r"ab\q", Err(EscapeError::Unknown { at: 3, found: 'q' }));
        check(r"ü\q", Err(EscapeError::Unknown { at: 2, found: 'q' }));
        check(r"a\n\", Err(EscapeError::Unfinished { at: 4 }));
        check(r"\x4", Err(EscapeError::Hex { at: 1, found: "4".into() }));
        check(r"\x41\xzz", Err(EscapeError::Hex { at: 5, found: "zz".into() }));
        check(r"\x+1", Err(EscapeError::Hex { at: 1, found: "+1".into() }));
        check(r"\xé1", Err(EscapeError::Hex { at: 1, found: "é1".into() }));
    }
}
