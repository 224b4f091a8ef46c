//! Meanings of keys while a board is watched.

/// Ctrl-C, Ctrl-T and Ctrl-], as a terminal in raw mode sends them.
const CTRL_C: u8 = 0x03;
const MENU: u8 = 0x14;
const QUIT: u8 = 0x1d;

/// Summary of the keys, for people.
pub const KEYS: &str = "Keys: Ctrl-] or Ctrl-C quits; Ctrl-T and then r resets, d resets to download \
                        mode, t toggles time stamps, f toggles the filter, 1 to 9 select the port \
                        to type to, c sends Ctrl-C, Ctrl-T sends itself, h shows this help. All other \
                        keys go to the board.";

/// Action of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// Sends these bytes to the board.
    Send(Vec<u8>),
    /// Leaves normally.
    Quit,
    /// Leaves as if interrupted by a signal.
    Interrupt,
    Reset,
    Download,
    TimeStamps,
    Filter,
    /// Selects the port to type to, from 0.
    Port(usize),
    Help,
    /// Unknown key in the menu.
    Unknown,
}

/// Parses keys from a terminal's bytes, however these are split.
#[derive(Debug, Default)]
pub struct Keys {
    /// True if the menu key was pressed last.
    menu: bool,
}

impl Keys {
    /// Takes the next bytes from the terminal.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Key> {
        let mut keys = vec![];
        for byte in bytes {
            let key = match (std::mem::take(&mut self.menu), *byte) {
                (false, MENU) => {
                    self.menu = true;
                    continue;
                }
                (false, CTRL_C) => Key::Interrupt,
                (false, QUIT) => Key::Quit,
                (false, byte) => {
                    if let Some(Key::Send(bytes)) = keys.last_mut() {
                        bytes.push(byte);
                        continue;
                    }
                    Key::Send(vec![byte])
                }
                (true, byte) => in_menu(byte),
            };
            keys.push(key);
        }
        keys
    }
}

/// Returns the action of a key after the menu key, with or without Ctrl.
fn in_menu(byte: u8) -> Key {
    // Ctrl with a letter sends the letter's position in the alphabet.
    let letter = match byte {
        1..=26 if byte != MENU => byte + b'a' - 1,
        _ => byte.to_ascii_lowercase(),
    };
    match letter {
        MENU => Key::Send(vec![MENU]),
        b'c' => Key::Send(vec![CTRL_C]),
        b']' | QUIT => Key::Send(vec![QUIT]),
        b'r' => Key::Reset,
        // esp-idf-monitor uses p.
        b'd' | b'p' => Key::Download,
        b't' => Key::TimeStamps,
        b'f' => Key::Filter,
        b'q' | b'x' => Key::Quit,
        b'h' | b'?' => Key::Help,
        b'1'..=b'9' => Key::Port(usize::from(letter - b'1')),
        _ => Key::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: &[Key]) {
        assert_eq!(Keys::default().push(bytes), expected);
        // The same, key by key: the bytes to send then arrive in pieces.
        let mut keys = Keys::default();
        let mut single: Vec<Key> = vec![];
        for key in bytes.chunks(1).flat_map(|byte| keys.push(byte)) {
            match (single.last_mut(), key) {
                (Some(Key::Send(sent)), Key::Send(more)) => sent.extend(more),
                (_, key) => single.push(key),
            }
        }
        let mut joined: Vec<Key> = vec![];
        for key in expected.iter().cloned() {
            match (joined.last_mut(), key) {
                (Some(Key::Send(sent)), Key::Send(more)) => sent.extend(more),
                (_, key) => joined.push(key),
            }
        }
        assert_eq!(single, joined);
    }

    fn send(bytes: &[u8]) -> Key {
        Key::Send(bytes.to_vec())
    }

    #[test]
    fn what_is_no_key_of_ours_goes_to_the_board() {
        check(b"ls\r\x1b[A\xc3\xa4\0\x12", &[send(b"ls\r\x1b[A\xc3\xa4\0\x12")]);
    }

    #[test]
    fn keys_and_the_menu() {
        check(b"a\x1d", &[send(b"a"), Key::Quit]);
        check(b"\x03", &[Key::Interrupt]);
        check(b"\x14r\x14\x12\x14R", &[Key::Reset, Key::Reset, Key::Reset]);
        check(b"\x14d\x14p\x14t", &[Key::Download, Key::Download, Key::TimeStamps]);
        check(b"\x14f\x14h\x14?\x14q", &[Key::Filter, Key::Help, Key::Help, Key::Quit]);
        check(b"\x142\x14\x7f", &[Key::Port(1), Key::Unknown]);
    }

    #[test]
    fn keys_of_ours_can_be_sent_too() {
        check(b"\x14\x14", &[send(b"\x14")]);
        check(b"\x14c", &[send(b"\x03")]);
        check(b"\x14\x1d", &[send(b"\x1d")]);
    }
}
