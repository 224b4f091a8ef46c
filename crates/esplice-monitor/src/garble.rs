//! Detection of noise caused by a wrong baud rate.

/// Minimum number of bytes to judge by. A reset can cause a few stray bytes.
const ENOUGH: u64 = 64;

/// Minimum length of a text line that cannot be chance and so proves the baud rate.
const READABLE_LINE: usize = 8;

/// Counters for signs of a wrong baud rate.
#[derive(Debug, Default)]
pub(crate) struct Garble {
    seen: u64,
    strange: u64,
    readable: bool,
}

impl Garble {
    /// Takes the next byte.
    pub fn byte(&mut self, byte: u8) {
        self.seen += 1;
        self.strange += u64::from(!matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r' | 0x1b));
    }

    /// Takes the next line.
    pub fn line(&mut self, text: &str, is_text: bool) {
        self.readable |= is_text && text.trim().len() >= READABLE_LINE;
    }

    /// Returns the percentage of bytes that are not text, if the baud rate seems wrong: more than a
    /// fifth of enough bytes are not text, and no line could be read.
    pub fn verdict(&self) -> Option<u8> {
        let percent = (self.strange * 100).checked_div(self.seen)?;
        let wrong = !self.readable && self.seen >= ENOUGH && percent > 20;
        if wrong { u8::try_from(percent).ok() } else { None }
    }
}
