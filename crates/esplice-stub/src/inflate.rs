//! Decoder of zlib streams (RFC 1950 and RFC 1951), in steps of one symbol.
//!
//! Codes are decoded bit by bit with the counts of their lengths, so the tables need 700 bytes. The
//! checksum at the end is left to the caller, who checks what was written.

use crate::stream::{BadStream, Source, Window};

/// Bytes of the stream that one step may need. The longest is the header of a block with its own
/// codes: 3 + 14 + 19 × 3 bits, and 320 code lengths of at most 7 + 7 bits.
pub const STEP_IN: usize = 640;

/// Bytes that one step produces at most.
pub const STEP_OUT: u32 = 258;

/// Bytes of a stored block that one step copies.
const STORED_STEP: u32 = 256;

const MAX_BITS: usize = 15;
const LENGTHS: usize = 288;
const DISTANCES: usize = 30;

/// Order of the lengths of the code length code (RFC 1951, 3.2.7).
const ORDER: [u8; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// A decoder in progress.
#[repr(C)]
pub struct Inflate {
    hold: u32,
    count: u32,
    block: Block,
    last: bool,
    literals: Counts,
    distances: Counts,
    /// The symbols of both codes in the order of their codes.
    literal_symbols: [u16; LENGTHS],
    distance_symbols: [u16; DISTANCES],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    /// The header of the stream is next.
    Stream,
    /// The header of a block is next.
    Header,
    /// So many bytes of a stored block follow.
    Stored(u32),
    /// A symbol is next.
    Symbols,
    /// The stream has ended.
    End,
}

/// Number of codes of each length in a canonical Huffman code.
type Counts = [u16; MAX_BITS + 1];

/// Builds a code from the length of each symbol's code.
#[inline(never)]
fn build(counts: &mut Counts, symbols: &mut [u16], lengths: &[u8]) -> Result<(), BadStream> {
    counts.fill(0);
    for len in lengths {
        counts[usize::from(len & 15)] += 1;
    }
    counts[0] = 0;
    let (mut left, mut places) = (1_i32, [0_u16; MAX_BITS + 1]);
    let mut place = 0;
    for (count, next) in counts.iter().zip(&mut places).skip(1) {
        left = (left << 1) - i32::from(*count);
        if left < 0 {
            return Err(BadStream);
        }
        *next = place;
        place += count;
    }
    for (symbol, len) in (0..).zip(lengths) {
        if *len != 0 {
            let place = &mut places[usize::from(len & 15)];
            if let Some(to) = symbols.get_mut(usize::from(*place)) {
                *to = symbol;
            }
            *place += 1;
        }
    }
    Ok(())
}

impl Default for Inflate {
    fn default() -> Self {
        Self::new()
    }
}

impl Inflate {
    /// Creates a decoder.
    pub const fn new() -> Inflate {
        Inflate {
            hold: 0,
            count: 0,
            block: Block::Stream,
            last: false,
            literals: [0; MAX_BITS + 1],
            distances: [0; MAX_BITS + 1],
            literal_symbols: [0; LENGTHS],
            distance_symbols: [0; DISTANCES],
        }
    }

    /// Starts a stream.
    pub fn start(&mut self) {
        (self.hold, self.count, self.last) = (0, 0, false);
        self.block = Block::Stream;
    }

    /// Returns true at the end of the stream.
    pub fn is_done(&self) -> bool {
        self.block == Block::End
    }

    /// Decodes a symbol, a header or a part of a stored block. Returns false if the source does not
    /// have enough bytes yet, or at the end of the stream.
    ///
    /// # Errors
    /// [`BadStream`].
    #[inline(never)]
    pub fn step<const N: usize>(
        &mut self,
        source: &mut impl Source,
        out: &mut Window<N>,
    ) -> Result<bool, BadStream> {
        if self.block == Block::End || source.available() < STEP_IN && !source.is_complete() {
            return Ok(false);
        }
        match self.block {
            Block::Stream => {
                let (method, flags) = (self.bits(source, 8), self.bits(source, 8));
                // Deflate, without a preset dictionary.
                if method & 15 != 8 || flags & 0x20 != 0 || (method << 8 | flags) % 31 != 0 {
                    return Err(BadStream);
                }
                self.block = Block::Header;
            }
            Block::Header => self.header(source)?,
            Block::Stored(left) => {
                let len = left.min(STORED_STEP);
                for _ in 0..len {
                    let byte = self.bits(source, 8);
                    out.push(byte as u8);
                }
                self.block =
                    if left == len { self.after_block() } else { Block::Stored(left - len) };
            }
            Block::Symbols => self.symbol(source, out)?,
            Block::End => {}
        }
        Ok(true)
    }

    fn after_block(&self) -> Block {
        if self.last { Block::End } else { Block::Header }
    }

    fn header(&mut self, source: &mut impl Source) -> Result<(), BadStream> {
        self.last = self.bits(source, 1) != 0;
        self.block = Block::Symbols;
        match self.bits(source, 2) {
            0 => {
                // The rest of the byte is unused.
                self.bits(source, self.count & 7);
                let (len, check) = (self.bits(source, 16), self.bits(source, 16));
                if len != !check & 0xffff {
                    return Err(BadStream);
                }
                self.block = if len == 0 { self.after_block() } else { Block::Stored(len) };
                Ok(())
            }
            1 => {
                let mut lengths = [8; LENGTHS];
                lengths[144..256].fill(9);
                lengths[256..280].fill(7);
                self.build_both(&lengths, &[5; DISTANCES])
            }
            2 => self.own_codes(source),
            _ => Err(BadStream),
        }
    }

    #[inline(never)]
    fn own_codes(&mut self, source: &mut impl Source) -> Result<(), BadStream> {
        let literals = self.bits(source, 5) as usize + 257;
        let distances = self.bits(source, 5) as usize + 1;
        let listed = self.bits(source, 4) as usize + 4;
        if literals > 286 || distances > DISTANCES {
            return Err(BadStream);
        }
        let mut lengths = [0; 320];
        for place in ORDER.iter().take(listed) {
            let len = self.bits(source, 3) as u8;
            if let Some(to) = lengths.get_mut(usize::from(*place)) {
                *to = len;
            }
        }
        // The code of the lengths is needed only here.
        build(&mut self.literals, &mut self.literal_symbols, &lengths[..19])?;
        lengths.fill(0);
        let (mut at, total) = (0, literals + distances);
        while at < total {
            let (value, repeat) = match self.decode_literal(source)? {
                16 if at == 0 => return Err(BadStream),
                16 => (lengths.get(at - 1).copied().unwrap_or(0), 3 + self.bits(source, 2)),
                17 => (0, 3 + self.bits(source, 3)),
                18 => (0, 11 + self.bits(source, 7)),
                len => (len as u8, 1),
            };
            let end = at + repeat as usize;
            if end > total {
                return Err(BadStream);
            }
            if let Some(places) = lengths.get_mut(at..end) {
                places.fill(value);
            }
            at = end;
        }
        let (first, rest) = lengths.split_at_checked(literals).ok_or(BadStream)?;
        self.build_both(first, rest.get(..distances).ok_or(BadStream)?)
    }

    fn build_both(&mut self, literals: &[u8], distances: &[u8]) -> Result<(), BadStream> {
        build(&mut self.literals, &mut self.literal_symbols, literals)?;
        build(&mut self.distances, &mut self.distance_symbols, distances)
    }

    #[inline(never)]
    fn symbol<const N: usize>(
        &mut self,
        source: &mut impl Source,
        out: &mut Window<N>,
    ) -> Result<(), BadStream> {
        let symbol = self.decode_literal(source)?;
        if symbol < 256 {
            out.push(symbol as u8);
            return Ok(());
        }
        let len = match symbol - 256 {
            0 => {
                self.block = self.after_block();
                return Ok(());
            }
            code @ 1..=8 => code + 2,
            29 => 258,
            // Codes 9 to 28 come in groups of four, each group with one more extra bit.
            code @ 9..=28 => {
                let extra = (code - 5) >> 2;
                ((4 + ((code - 5) & 3)) << extra) + 3 + self.bits(source, extra)
            }
            _ => return Err(BadStream),
        };
        let (hold, count) = (&mut self.hold, &mut self.count);
        let code = decode(hold, count, source, &self.distances, &self.distance_symbols)?;
        let distance = match code {
            0..=3 => code + 1,
            4..=29 => {
                let extra = (code >> 1) - 1;
                ((2 + (code & 1)) << extra) + 1 + self.bits(source, extra)
            }
            _ => return Err(BadStream),
        };
        out.copy(distance, len)
    }

    fn decode_literal(&mut self, source: &mut impl Source) -> Result<u32, BadStream> {
        let (hold, count) = (&mut self.hold, &mut self.count);
        decode(hold, count, source, &self.literals, &self.literal_symbols)
    }

    fn bits(&mut self, source: &mut impl Source, count: u32) -> u32 {
        take(&mut self.hold, &mut self.count, source, count)
    }
}

/// Takes up to 16 bits, lowest first.
fn take(hold: &mut u32, held: &mut u32, source: &mut impl Source, count: u32) -> u32 {
    while *held < count {
        *hold |= u32::from(source.next()) << *held;
        *held += 8;
    }
    let value = *hold & ((1 << count) - 1);
    *hold >>= count;
    *held -= count;
    value
}

#[inline(never)]
fn decode(
    hold: &mut u32,
    held: &mut u32,
    source: &mut impl Source,
    counts: &Counts,
    symbols: &[u16],
) -> Result<u32, BadStream> {
    let (mut code, mut first, mut index) = (0_i32, 0_i32, 0_i32);
    for count in counts.iter().skip(1) {
        if *held == 0 {
            *hold = u32::from(source.next());
            *held = 8;
        }
        code |= (*hold & 1) as i32;
        *hold >>= 1;
        *held -= 1;
        let count = i32::from(*count);
        if code - count < first {
            let place = (index + code - first) as usize;
            return symbols.get(place).map(|symbol| u32::from(*symbol)).ok_or(BadStream);
        }
        index += count;
        first = (first + count) << 1;
        code <<= 1;
    }
    Err(BadStream)
}
