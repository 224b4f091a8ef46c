//! Counts the symbols of a deflate stream to determine the work of inflating it. The data is
//! inflated elsewhere; only lengths are decoded here.

use super::cost::Work;

/// Longest code in bits, and number of symbols in the alphabet of lengths (RFC 1951, 3.2).
const LONGEST: usize = 15;
const LENGTHS: usize = 19;
/// Order in which a block lists the lengths of the codes for lengths (3.2.7).
const ORDER: [usize; LENGTHS] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
/// Extra bits and smallest values of length symbols from 257 on (3.2.5).
const LENGTH_BITS: [u32; 29] =
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const LENGTH_START: [u64; 29] = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131,
    163, 195, 227, 258,
];

/// A counter for a stream.
#[derive(Clone, Default)]
pub(super) struct Counter {
    /// Bytes not fully counted yet, and how many of their bits are.
    bytes: Vec<u8>,
    bit: usize,
    state: State,
    last: bool,
}

#[derive(Clone, Default)]
enum State {
    #[default]
    Zlib,
    Block,
    Stored(u64),
    Symbols(Box<[Codes; 2]>),
    Over,
}

impl Counter {
    /// Returns a counter for a stream with or without a zlib header.
    pub fn new(zlib: bool) -> Self {
        Self { state: if zlib { State::Zlib } else { State::Block }, ..Self::default() }
    }

    /// Takes more of the stream and adds its symbols to `work`.
    pub fn take(&mut self, bytes: &[u8], work: &mut Work) {
        if matches!(self.state, State::Over) {
            return;
        }
        self.bytes.extend_from_slice(bytes);
        loop {
            let before = self.bit;
            if self.step(work).is_none() {
                // An incomplete symbol is decoded again with more bytes.
                self.bit = before;
                break;
            }
        }
        self.bytes.drain(..(self.bit / 8).min(self.bytes.len()));
        self.bit %= 8;
    }

    /// Decodes one symbol or header. Returns `None` if bytes are missing.
    fn step(&mut self, work: &mut Work) -> Option<()> {
        match &mut self.state {
            State::Over => return None,
            State::Zlib => {
                self.bits(16)?;
                self.state = State::Block;
            }
            State::Block if self.last => self.state = State::Over,
            State::Block => {
                let last = self.bits(1)? != 0;
                self.state = match self.bits(2)? {
                    0 => {
                        self.bit = self.bit.next_multiple_of(8);
                        let len = self.bits(16)?;
                        self.bits(16)?;
                        work.add("stored", 1);
                        State::Stored(len.into())
                    }
                    1 => {
                        work.add("fixed", 1);
                        State::Symbols(Box::new(fixed()))
                    }
                    2 => self.codes(work)?,
                    _ => State::Over,
                };
                self.last = last;
            }
            State::Stored(left) => {
                let there = (self.bytes.len() as u64).saturating_sub((self.bit / 8) as u64);
                let taken = there.min(*left);
                *left -= taken;
                let over = *left == 0;
                self.bit += taken as usize * 8;
                work.add("stored-byte", taken);
                if over {
                    self.state = State::Block;
                } else {
                    return None;
                }
            }
            State::Symbols(_) => self.symbol(work)?,
        }
        Some(())
    }

    fn symbol(&mut self, work: &mut Work) -> Option<()> {
        let State::Symbols(codes) = std::mem::take(&mut self.state) else { return None };
        let next = self.after_symbol(&codes, work);
        // An incomplete symbol is decoded again with the same codes.
        self.state = next.clone().flatten().unwrap_or(State::Symbols(codes));
        next.map(drop)
    }

    /// Counts a symbol. Returns the next state if it changes, and `None` if bytes are missing.
    fn after_symbol(&mut self, codes: &[Codes; 2], work: &mut Work) -> Option<Option<State>> {
        let symbol = match self.decode(&codes[0])? {
            Some(0..256) => {
                work.add("literal", 1);
                return Some(None);
            }
            Some(256) => return Some(Some(State::Block)),
            Some(symbol) => usize::from(symbol) - 257,
            None => return Some(Some(State::Over)),
        };
        // A symbol without a meaning: the stream is invalid.
        let (Some(bits), Some(start)) = (LENGTH_BITS.get(symbol), LENGTH_START.get(symbol)) else {
            return Some(Some(State::Over));
        };
        let len = start + u64::from(self.bits(*bits)?);
        let Some(distance) = self.decode(&codes[1])?.map(u32::from) else {
            return Some(Some(State::Over));
        };
        self.bits((distance / 2).saturating_sub(1).min(13))?;
        work.add("match", 1);
        work.add("match-byte", len);
        work.add("match-extra", u64::from(*bits > 0) + u64::from(distance > 3));
        Some(None)
    }

    /// Reads the codes defined by a block (3.2.7).
    fn codes(&mut self, work: &mut Work) -> Option<State> {
        let [literals, distances, lengths] =
            [(5, 257), (5, 1), (4, 4)].map(|(bits, least)| Some(self.bits(bits)? as usize + least));
        let (literals, distances) = (literals?, distances?);
        let mut of_lengths = [0; LENGTHS];
        for at in ORDER.into_iter().take(lengths?) {
            of_lengths[at] = self.bits(3)? as u8;
        }
        let code = Codes::new(&of_lengths);
        let mut told: Vec<u8> = Vec::new();
        let mut symbols = 0;
        while told.len() < literals + distances {
            symbols += 1;
            let (len, times) = match self.decode(&code)? {
                Some(16) => (told.last().copied().unwrap_or(0), 3 + self.bits(2)?),
                Some(17) => (0, 3 + self.bits(3)?),
                Some(18) => (0, 11 + self.bits(7)?),
                Some(len) => (len as u8, 1),
                None => return Some(State::Over),
            };
            told.extend(std::iter::repeat_n(len, times as usize));
        }
        work.add("dynamic", 1);
        work.add("length-symbol", symbols);
        work.add("code", told.iter().filter(|len| **len != 0).count() as u64);
        let (literals, rest) = told.split_at(literals);
        let distances = rest.get(..distances).unwrap_or(rest);
        Some(State::Symbols(Box::new([Codes::new(literals), Codes::new(distances)])))
    }

    /// Returns the next bits, the first one lowest.
    fn bits(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for at in 0..count {
            value |= self.next_bit()? << at;
        }
        Some(value)
    }

    fn next_bit(&mut self) -> Option<u32> {
        let byte = *self.bytes.get(self.bit / 8)?;
        self.bit += 1;
        Some(u32::from(byte >> ((self.bit - 1) % 8) & 1))
    }

    /// Returns the next symbol; `Some(None)` if no code matches.
    fn decode(&mut self, codes: &Codes) -> Option<Option<u16>> {
        let (mut code, mut first, mut index) = (0_usize, 0_usize, 0_usize);
        for count in codes.counts.iter().skip(1) {
            code |= self.next_bit()? as usize;
            let count = usize::from(*count);
            if code < first + count {
                let at = (index + code).checked_sub(first)?;
                return Some(codes.symbols.get(at).copied());
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        Some(None)
    }
}

/// Codes by their lengths (3.2.2): the number of codes of each length, and their symbols in order.
#[derive(Clone, Default)]
struct Codes {
    counts: [u16; LONGEST + 1],
    symbols: Vec<u16>,
}

impl Codes {
    fn new(lengths: &[u8]) -> Self {
        let mut codes = Self::default();
        for len in 1..=LONGEST {
            for (symbol, of_it) in (0..).zip(lengths) {
                if usize::from(*of_it) == len {
                    codes.counts[len] += 1;
                    codes.symbols.push(symbol);
                }
            }
        }
        codes
    }
}

/// Returns the fixed codes (3.2.6).
fn fixed() -> [Codes; 2] {
    let literals: Vec<u8> = (0..288)
        .map(|symbol| match symbol {
            144..256 => 9,
            256..280 => 7,
            _ => 8,
        })
        .collect();
    [Codes::new(&literals), Codes::new(&[5; 30])]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(stream: &[u8], piece: usize) -> (Work, Counter) {
        let (mut counter, mut work) = (Counter::new(false), Work::default());
        for piece in stream.chunks(piece) {
            counter.take(piece, &mut work);
        }
        (work, counter)
    }

    #[test]
    fn a_stream_in_pieces_holds_what_it_holds_whole() {
        use std::io::Write as _;
        let text: Vec<u8> = (0_u32..20_000).map(|i| (i.wrapping_mul(i) >> 9) as u8).collect();
        let level = flate2::Compression::default();
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
        encoder.write_all(&text).unwrap();
        let stream = encoder.finish().unwrap();
        let whole: Vec<_> = counted(&stream, stream.len()).0.parts().collect();
        let of = |name: &str| whole.iter().find(|(part, _)| *part == name).map_or(0, |part| part.1);
        assert_eq!(of("literal") + of("match-byte") + of("stored-byte"), text.len() as u64);
        for piece in [1, 2, 7, 1000] {
            let (pieces, counter) = counted(&stream, piece);
            assert_eq!(pieces.parts().collect::<Vec<_>>(), whole, "{piece}");
            assert!(matches!(counter.state, State::Over), "{piece}");
        }
    }

    #[test]
    fn what_is_no_stream_is_not_kept() {
        // Fixed codes with an invalid length (286); an invalid block type; all ones.
        for begin in [[0b0001_1010, 0b0000_0011], [7, 0], [0xff, 0xff]] {
            let mut stream = begin.to_vec();
            stream.resize(100_000, 0xff);
            let (_, counter) = counted(&stream, 100);
            assert!(counter.bytes.len() < 1000, "{begin:?} keeps {}", counter.bytes.len());
        }
    }
}
