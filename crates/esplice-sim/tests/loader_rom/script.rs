//! Random requests that make progress: mostly in sequence, but often enough broken.

use std::io::Write;

use esplice_protocol::{checksum, slip};
use flate2::{Compression, write::ZlibEncoder};

const OPCODES: [u8; 33] = [
    2, 2, 3, 3, 3, 3, 4, 5, 7, 7, 6, 8, 9, 10, 11, 13, 14, 14, 15, 16, 16, 17, 17, 17, 17, 17, 18,
    19, 19, 20, 12, 0, 0xd0,
];
const OFFSETS: [u32; 10] =
    [0, 0x1000, 0x1f_f000, 0x1f_ffe0, 0x1f_fffe, 0x20_0000, 0x1_0002, 0x8000, 0xffff_f000, 0x1234];
const LENGTHS: [u32; 10] = [0, 1, 4, 16, 63, 64, 65, 0x400, 0x1000, 0x1_2345];

pub struct Script {
    random: u64,
    sequence: u32,
    packed: Vec<u8>,
    piece: usize,
    piece_len: usize,
}

impl Script {
    pub fn new(seed: u64) -> Script {
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Script { random, sequence: 0, packed: Vec::new(), piece: 0, piece_len: 16 }
    }

    /// Returns the next request as sent on the line.
    pub fn next_request(&mut self) -> Option<Vec<u8>> {
        let opcode = self.pick(&OPCODES);
        let mut said = None;
        let mut sum = 0;
        let data = match opcode {
            2 => {
                self.sequence = 0;
                let block = self.pick(&[4, 16, 64, 0x400, 0x1800, 0x1801]);
                let encrypt = u32::from(self.below(40) == 0);
                words(&[self.pick(&LENGTHS), self.below(4), block, self.pick(&OFFSETS), encrypt])
            }
            3 | 7 => {
                let len = self.pick(&[0, 1, 4, 16, 64, 1024]);
                let block: Vec<u8> = (0..len).map(|_| self.next() as u8).collect();
                sum = checksum(&block) ^ u8::from(self.below(6) == 0);
                let sequence = if self.below(6) == 0 { self.below(3) } else { self.sequence };
                self.sequence += u32::from(sequence == self.sequence);
                if self.below(15) == 0 {
                    said = Some(self.pick(&[0, 0x1810, 0x1811]));
                }
                [words(&[len, sequence, 0, 0]), block].concat()
            }
            4 | 18 if self.below(3) > 0 => return None,
            4 | 18 => words(&[self.below(2)]),
            5 => {
                self.sequence = 0;
                let block = self.pick(&[4, 64, 1024, 0x1801]);
                words(&[64, self.below(4), block, 0x3fc8_0000 + self.below(5) * 64])
            }
            6 if self.below(6) > 0 => words(&[1, 0]),
            6 => words(&[self.below(2), self.pick(&[0, 0x3fc8_0000])]),
            8 => (0..self.below(40)).map(|_| self.next() as u8).collect(),
            9 => words(&[0x3fc9_0000, self.next(), self.next(), 0]),
            10 => words(&[self.pick(&[0x3fc9_0000, 0x3fc8_0000, 0x3fc8_0010])]),
            11 => {
                let size = self.pick(&[0x20_0000, 0x40_0000, 0x10_0000]);
                let [mut block, mut sector, mut page] = [0x1_0000, 0x1000, 0x100];
                // One in four has a geometry that no chip has.
                if self.below(4) == 0 {
                    block = self.pick(&[0x1_0000, 0, 0x400, 0x1000, 0x3000, 0x2_0000]);
                    sector = self.pick(&[0x1000, 0, 0x400, 0x1800, 0x2000]);
                    page = self.pick(&[0x100, 0, 4, 0x20, 100, 0x1000]);
                }
                words(&[0, size, block, sector, page, 0xffff])
            }
            13 => vec![0; self.pick(&[4, 8])],
            14 => words(&[self.pick(&OFFSETS), self.pick(&LENGTHS)]),
            15 => {
                let new = self.pick(&[115_200, 921_600, 0, 74_880, 700_000_000]);
                words(&[new, self.pick(&[0, 115_200, 1])])
            }
            16 => self.begin_stream(),
            17 => {
                let at = (self.piece * self.piece_len).min(self.packed.len());
                let end = (at + self.piece_len).min(self.packed.len());
                let block = self.packed[at..end].to_vec();
                sum = checksum(&block) ^ u8::from(self.below(12) == 0);
                let header = words(&[block.len() as u32, self.piece as u32, 0, 0]);
                self.piece += usize::from(self.below(12) > 0);
                [header, block].concat()
            }
            19 => {
                let len = if self.below(9) == 0 { 0x8000_0001 } else { self.pick(&LENGTHS) };
                words(&[self.pick(&OFFSETS), len, 0, 0])
            }
            _ => (0..self.below(8)).map(|_| self.next() as u8).collect(),
        };
        let mut frame = vec![0, opcode];
        frame.extend(said.unwrap_or(data.len() as u16).to_le_bytes());
        frame.extend([sum, 0, 0, 0]);
        frame.extend(data);
        Some(self.break_sometimes(frame))
    }

    fn begin_stream(&mut self) -> Vec<u8> {
        let len = self.pick(&[1, 100, 5000, 40_000, 70_000]);
        let noisy = self.below(2) == 0;
        let image: Vec<u8> = (0..len)
            .map(|i: u32| if noisy { i.wrapping_mul(2_654_435_761) >> 11 } else { i / 300 } as u8)
            .collect();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::new(self.below(10)));
        zlib.write_all(&image).unwrap();
        self.packed = zlib.finish().unwrap();
        let place = self.below(self.packed.len() as u32) as usize;
        match self.below(6) {
            0 => self.packed[place] ^= 1 << self.below(8),
            1 => self.packed.truncate(place),
            _ => {}
        }
        self.piece = 0;
        let least = self.packed.len() / 20 + 1;
        self.piece_len = self.pick(&[16, 1024, 0x1800]).max(least).min(0x1800);
        let blocks = self.packed.len().div_ceil(self.piece_len) as u32;
        let offset = self.pick(&[0, 0x1000, 0x1_0000, 0x1f_f000]);
        let encrypt = u32::from(self.below(20) == 0);
        words(&[len, blocks, self.piece_len as u32, offset, encrypt])
    }

    fn break_sometimes(&mut self, mut frame: Vec<u8>) -> Vec<u8> {
        if self.below(25) == 0 {
            frame.truncate(self.below(frame.len() as u32) as usize + 1);
        }
        if self.below(25) == 0 {
            frame.extend(vec![0x5a; self.below(30) as usize]);
        }
        if self.below(60) == 0 {
            frame[0] = 1;
        }
        if self.below(60) == 0 {
            frame.extend([0x33; 9000]);
        }
        let mut bytes = slip::encode(&frame);
        if self.below(40) == 0 {
            let at = self.below(bytes.len() as u32) as usize;
            bytes[at] ^= 1 << self.below(8);
        }
        bytes
    }

    fn next(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 16) as u32
    }

    fn below(&mut self, limit: u32) -> u32 {
        self.next() % limit.max(1)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u32) as usize]
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
