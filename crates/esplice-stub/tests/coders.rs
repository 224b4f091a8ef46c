//! Decodes what other encoders made, and the other way round.

use std::io::Write as _;

use esplice_stub::{
    crc::crc32,
    inflate::Inflate,
    lz4,
    lzma::Lzma,
    md5::Md5,
    riscv,
    stream::{BadStream, Source, Window},
};
use liblzma::stream::{Filters, LzmaOptions, Stream};
use proptest::prelude::*;

/// A stream that arrives in pieces of `step` bytes.
struct Pieces<'a> {
    bytes: &'a [u8],
    at: usize,
    arrived: usize,
    step: usize,
}

impl<'a> Pieces<'a> {
    fn new(bytes: &'a [u8], step: usize) -> Self {
        Pieces { bytes, at: 0, arrived: 0, step }
    }

    fn arrive(&mut self) {
        self.arrived = (self.arrived + self.step).min(self.bytes.len());
    }
}

impl Source for Pieces<'_> {
    fn next(&mut self) -> u8 {
        let byte = if self.at < self.arrived { self.bytes[self.at] } else { 0 };
        self.at += 1;
        byte
    }
    fn available(&self) -> usize {
        self.arrived.saturating_sub(self.at)
    }
    fn is_complete(&self) -> bool {
        self.arrived == self.bytes.len()
    }
}

const WINDOW: usize = 0x1_0000;

/// Runs `step` until it has made `len` bytes, or fails.
fn collect(
    stream: &[u8],
    piece: usize,
    len: usize,
    mut step: impl FnMut(&mut Pieces<'_>, &mut Window<WINDOW>) -> Result<bool, BadStream>,
) -> Result<Vec<u8>, BadStream> {
    let mut source = Pieces::new(stream, piece);
    let mut window = Window::new();
    let mut plain = Vec::new();
    while plain.len() < len {
        let before = window.position;
        if !step(&mut source, &mut window)? {
            if source.is_complete() {
                return Err(BadStream);
            }
            source.arrive();
        }
        plain.extend((before..window.position).map(|at| window.at(at)));
        if source.at > stream.len() + 8 {
            return Err(BadStream);
        }
    }
    Ok(plain)
}

fn unlzma(stream: &[u8], properties: u8, piece: usize, len: usize) -> Result<Vec<u8>, BadStream> {
    let mut lzma = Box::new(Lzma::new());
    lzma.start(properties)?;
    collect(stream, piece, len, |source, window| lzma.step(source, window))
}

fn inflate(stream: &[u8], piece: usize, len: usize) -> Result<Vec<u8>, BadStream> {
    let mut inflate = Box::new(Inflate::new());
    inflate.start();
    collect(stream, piece, len, |source, window| inflate.step(source, window))
}

fn lzma_stream(data: &[u8], (lc, lp, pb): (u32, u32, u32), filter: bool) -> Vec<u8> {
    let mut options = LzmaOptions::new_preset(6).unwrap();
    options.dict_size(WINDOW as u32).literal_context_bits(lc).literal_position_bits(lp);
    options.position_bits(pb);
    let mut filters = Filters::new();
    if filter {
        filters.riscv();
    }
    filters.lzma1(&options);
    let stream = Stream::new_raw_encoder(&filters).unwrap();
    let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn unfilter(mut data: Vec<u8>, pieces: &[usize]) -> Vec<u8> {
    let (mut done, mut held) = (0, 0);
    for piece in pieces.iter().cycle() {
        held = (held + piece).min(data.len());
        done += riscv::decode(done as u32, &mut data[done..held]);
        if held == data.len() {
            return data;
        }
    }
    data
}

/// Bytes that look like programs: calls, address pairs, constants, and repeated text.
fn code() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        any::<u32>().prop_map(|n| n & 0xffff_f000 | 0xef),
        any::<u32>().prop_map(|n| n & 0xffff_f000 | 0x2ef),
        any::<u32>().prop_map(|n| n & 0xffff_ff80 | 0x17),
        any::<u32>().prop_map(|n| n & 0xffff_f07f | 0x117),
        any::<u32>().prop_map(|n| n & 0xfff0_7f80 | 0x67),
        Just(0x0000_4505_u32),
        any::<u32>(),
        0..16_u32,
    ];
    (proptest::collection::vec((word, 1..6_usize), 0..2000), 0..4_usize).prop_map(|(words, odd)| {
        let mut bytes: Vec<u8> =
            words.iter().flat_map(|(word, times)| word.to_le_bytes().repeat(*times)).collect();
        bytes.truncate(bytes.len().saturating_sub(odd));
        bytes
    })
}

proptest! {
    #[test]
    fn lzma_decodes_what_liblzma_encodes(
        data in code(), lc in 0..4_u32, lp in 0..4_u32, pb in 0..3_u32, piece in 1..5000_usize,
    ) {
        let lp = lp.min(3 - lc);
        let stream = lzma_stream(&data, (lc, lp, pb), false);
        let properties = ((pb * 5 + lp) * 9 + lc) as u8;
        prop_assert!(unlzma(&stream, properties, piece, data.len()) == Ok(data));
    }

    #[test]
    fn the_filter_is_undone(data in code(), pieces in proptest::collection::vec(1..700_usize, 1..9)) {
        let stream = lzma_stream(&data, (0, 2, 2), true);
        let filtered = unlzma(&stream, 2 * 45 + 2 * 9, 1000, data.len()).unwrap();
        prop_assert!(unfilter(filtered, &pieces) == data);
    }

    #[test]
    fn inflate_decodes_what_zlib_encodes(data in code(), level in 0..10_u32, piece in 1..5000_usize) {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(level));
        encoder.write_all(&data).unwrap();
        let stream = encoder.finish().unwrap();
        prop_assert!(inflate(&stream, piece, data.len()) == Ok(data));
    }

    #[test]
    fn damaged_streams_end(mut data in code(), at in any::<usize>(), bit in 0..8_u32) {
        data.push(0);
        let mut packed = lzma_stream(&data, (3, 0, 2), false);
        let place = at % packed.len();
        packed[place] ^= 1 << bit;
        let _ = unlzma(&packed, 93, 700, data.len());
        let _ = inflate(&packed, 700, data.len());
        let _ = unlzma(&data, 93, 700, 100_000);
    }

    #[test]
    fn lz4_is_decoded_by_another_crate(data in code(), history in 0..9000_usize) {
        let from = history.min(data.len());
        let mut table = [0; lz4::TABLE];
        let mut out = vec![0; data.len() * 2 + 64];
        let len = lz4::compress(&data, from, &mut table, &mut out, || {}).unwrap();
        let plain = lz4_flex::block::decompress_with_dict(&out[..len], data.len() - from, &data[..from]);
        prop_assert!(plain.unwrap() == data[from..]);
        // Without room, nothing is claimed.
        let short = len.saturating_sub(1);
        let cut = lz4::compress(&data, from, &mut table, &mut out[..short], || {});
        prop_assert!(cut.unwrap_or(0) <= short);
    }
}

#[test]
fn checksums_are_those_of_their_standards() {
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    let digest = |text: &[u8]| {
        let mut md5 = Md5::new();
        md5.update(text);
        md5.finish().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    // RFC 1321, A.5.
    assert_eq!(digest(b""), "d41d8cd98f00b204e9800998ecf8427e");
    assert_eq!(digest(b"abc"), "900150983cd24fb0d6963f7d28e17f72");
    let digits =
        b"12345678901234567890123456789012345678901234567890123456789012345678901234567890";
    assert_eq!(digest(digits), "57edf4a22be3c955ac49da2e2107b67a");
}
