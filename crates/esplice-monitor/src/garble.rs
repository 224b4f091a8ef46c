//! Tells noise of a wrong baud rate from text.

/// Less is too little to judge by: a reset alone can send a few stray bytes.
const ENOUGH: u64 = 64;

/// A line of text of this length is no chance: what came was decodable.
const TELLING_LINE: usize = 8;

/// Counts what a wrong baud rate makes of text.
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
        self.readable |= is_text && text.trim().len() >= TELLING_LINE;
    }

    /// The share of bytes that are no text, in percent, if all speaks for a wrong baud rate: more
    /// than a fifth of enough bytes are strange, and not one line could be read.
    pub fn verdict(&self) -> Option<u8> {
        let percent = (self.strange * 100).checked_div(self.seen)?;
        let wrong = !self.readable && self.seen >= ENOUGH && percent > 20;
        if wrong { u8::try_from(percent).ok() } else { None }
    }
}
