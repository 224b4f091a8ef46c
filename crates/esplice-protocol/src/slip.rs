//! SLIP framing (RFC 1055) as the ROM loader uses it: each frame is between two END bytes.

/// Marks both ends of a frame.
pub const END: u8 = 0xc0;
/// Starts an escape.
pub const ESC: u8 = 0xdb;
/// After [`ESC`]: a data byte 0xC0.
pub const ESC_END: u8 = 0xdc;
/// After [`ESC`]: a data byte 0xDB.
pub const ESC_ESC: u8 = 0xdd;

/// Encodes `payload` as one frame, with both END bytes.
///
/// ```
/// use esplice_protocol::slip;
/// assert_eq!(slip::encode(&[1, 0xc0, 0xdb]), [0xc0, 1, 0xdb, 0xdc, 0xdb, 0xdd, 0xc0]);
/// ```
pub fn encode(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + payload.len() / 64 + 2);
    frame.push(END);
    for &byte in payload {
        match byte {
            END => frame.extend([ESC, ESC_END]),
            ESC => frame.extend([ESC, ESC_ESC]),
            _ => frame.push(byte),
        }
    }
    frame.push(END);
    frame
}

/// Result of decoding one byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// No frame is complete yet.
    More,
    /// A frame is complete.
    Frame(Vec<u8>),
    /// The frame was broken and has been discarded up to here.
    Broken(Fault),
    /// A byte outside any frame, such as a boot message.
    Stray(u8),
}

/// Reason why a frame is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// ESC was followed by a byte that is neither ESC_END nor ESC_ESC.
    BadEscape(u8),
    /// The frame is longer than the limit.
    TooLong,
}

/// Extracts frames from a stream of bytes, holding at most `limit` bytes.
#[derive(Debug, Clone)]
pub struct Decoder {
    frame: Vec<u8>,
    limit: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Outside,
    Inside,
    Escaped,
    /// A frame was broken: skip to its END.
    Skipping,
}

impl Decoder {
    /// Creates a decoder that refuses frames of more than `limit` bytes.
    pub fn new(limit: usize) -> Decoder {
        Decoder { frame: Vec::new(), limit, state: State::Outside }
    }

    /// Discards a partial frame.
    pub fn reset(&mut self) {
        self.frame.clear();
        self.state = State::Outside;
    }

    /// Decodes one byte.
    pub fn push(&mut self, byte: u8) -> Decoded {
        match (self.state, byte) {
            (State::Outside, END) => {
                self.state = State::Inside;
                Decoded::More
            }
            (State::Outside, byte) => Decoded::Stray(byte),
            (State::Inside, END) if self.frame.is_empty() => Decoded::More,
            (State::Inside, END) => {
                self.state = State::Outside;
                Decoded::Frame(std::mem::take(&mut self.frame))
            }
            (State::Inside, ESC) => {
                self.state = State::Escaped;
                Decoded::More
            }
            (State::Inside, byte) => self.keep(byte),
            (State::Escaped, ESC_END) => self.keep(END),
            (State::Escaped, ESC_ESC) => self.keep(ESC),
            (State::Escaped, byte) => {
                self.frame.clear();
                // The bad byte may itself be the END of the frame.
                self.state = if byte == END { State::Outside } else { State::Skipping };
                tracing::trace!(byte, "bad escape in a frame");
                Decoded::Broken(Fault::BadEscape(byte))
            }
            (State::Skipping, END) => {
                self.state = State::Outside;
                Decoded::More
            }
            (State::Skipping, _) => Decoded::More,
        }
    }

    fn keep(&mut self, byte: u8) -> Decoded {
        if self.frame.len() == self.limit {
            self.frame.clear();
            self.state = State::Skipping;
            tracing::trace!(limit = self.limit, "frame is too long");
            return Decoded::Broken(Fault::TooLong);
        }
        self.state = State::Inside;
        self.frame.push(byte);
        Decoded::More
    }
}
