//! Makes the streams that the stub decodes, in the shortest form for the link.

use std::time::Duration;

use esplice_stub::wire;

use crate::deflate;

/// A stream and how it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packed {
    pub(crate) coder: u32,
    /// The properties byte of LZMA.
    pub(crate) properties: u32,
    pub(crate) bytes: Vec<u8>,
}

/// LZMA's parameters. For code with compressed instructions these make streams 1 % shorter than
/// the usual ones, 3, 0 and 2.
#[cfg(feature = "lzma")]
const LC: u32 = 2;
#[cfg(feature = "lzma")]
const LP: u32 = 1;
#[cfg(feature = "lzma")]
const PB: u32 = 1;

/// Time that the stub needs to decode a byte: measured on the virtual board, at 160 MHz.
fn decode_time(coder: u32, len: usize) -> Duration {
    let nanos = match coder {
        wire::RAW => 50,
        wire::ZLIB => 600,
        _ => 1_200,
    };
    Duration::from_nanos(nanos * len as u64)
}

impl Packed {
    /// Packs `data` for a link on which a stream of a length takes `wire_time`. The coder with the
    /// least estimated time is used; receiving and decoding overlap.
    pub(crate) fn new(data: &[u8], wire_time: &dyn Fn(usize) -> Duration) -> Packed {
        let time = |packed: &Packed| {
            wire_time(packed.bytes.len()).max(decode_time(packed.coder, data.len()))
        };
        let raw = Packed { coder: wire::RAW, properties: 0, bytes: data.to_vec() };
        let best = Packed::smallest(data);
        if time(&best) < time(&raw) { best } else { raw }
    }

    /// Packs `data` as short as possible.
    #[cfg(feature = "lzma")]
    pub(crate) fn smallest(data: &[u8]) -> Packed {
        let properties = (PB * 5 + LP) * 9 + LC;
        match lzma(data) {
            Ok(bytes) => Packed { coder: wire::LZMA_RISCV, properties, bytes },
            Err(_) => Packed::deflated(data),
        }
    }

    #[cfg(not(feature = "lzma"))]
    pub(crate) fn smallest(data: &[u8]) -> Packed {
        Packed::deflated(data)
    }

    fn deflated(data: &[u8]) -> Packed {
        Packed { coder: wire::ZLIB, properties: 0, bytes: deflate::compress(data) }
    }
}

/// Compresses with the filter for RISC-V code and a window as large as the stub's.
#[cfg(feature = "lzma")]
fn lzma(data: &[u8]) -> std::io::Result<Vec<u8>> {
    use std::io::Write as _;

    use liblzma::{
        stream::{Filters, LzmaOptions, Stream},
        write::XzEncoder,
    };
    let mut options = LzmaOptions::new_preset(9)?;
    options.dict_size(wire::WINDOW as u32).literal_context_bits(LC).literal_position_bits(LP);
    options.position_bits(PB).nice_len(273);
    let mut filters = Filters::new();
    filters.riscv().lzma1(&options);
    let stream = Stream::new_raw_encoder(&filters)?;
    let mut encoder = XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(data)?;
    encoder.finish()
}
