//! What keys mean while a board is watched.

/// Ctrl-C, Ctrl-T and Ctrl-], as a terminal in raw mode sends them.
const CTRL_C: u8 = 0x03;
const MENU: u8 = 0x14;
const QUIT: u8 = 0x1d;

/// The keys, for people.
pub const KEYS: &str = "Keys: Ctrl-] or Ctrl-C quits; Ctrl-T and then r resets, d resets to download \
                        mode, t time stamps, f filter on and off, 1 to 9 the port that is typed to, \
                        c sends Ctrl-C, Ctrl-T sends itself, h this help. All else goes to the board.";

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// These bytes go to the board.
    Send(Vec<u8>),
    /// Leave, as by a wish.
    Quit,
    /// Leave, as by the signal of the same name.
    Interrupt,
    Reset,
    Download,
    TimeStamps,
    Filter,
    /// The port that is typed to, from 0.
    Port(usize),
    Help,
    /// A key of the menu that means nothing.
    Unknown,
}

/// Reads keys from a terminal's bytes, wherever these are cut.
#[derive(Debug, Default)]
pub struct Keys {
    /// The menu's key was pressed last.
    menu: bool,
}

impl Keys {
    /// The next bytes from the terminal.
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

/// A key behind the menu's, with or without Ctrl.
fn in_menu(byte: u8) -> Key {
    // Ctrl and a letter send the letter's place in the alphabet.
    let letter = match byte {
        1..=26 if byte != MENU => byte + b'a' - 1,
        _ => byte.to_ascii_lowercase(),
    };
    match letter {
        MENU => Key::Send(vec![MENU]),
        b'c' => Key::Send(vec![CTRL_C]),
        b']' | QUIT => Key::Send(vec![QUIT]),
        b'r' => Key::Reset,
        // esp-idf-monitor has p.
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
        // And key by key: what is sent then comes in pieces.
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
