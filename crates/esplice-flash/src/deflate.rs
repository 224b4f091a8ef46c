//! Makes zlib streams for loaders, and prepares them ahead of time.
//!
//! With the feature `libdeflate` (on by default) libdeflate compresses at its best level, which
//! makes streams 2 % shorter than zlib's in less time. Without it everything is Rust.

use std::{collections::BTreeMap, thread::JoinHandle, time::Duration};

use flate2::{Decompress, FlushDecompress, Status};
use md5::{Digest as _, Md5};

use crate::own::Packed;

/// Compresses `data` to a zlib stream as short as possible.
pub(crate) fn compress(data: &[u8]) -> Vec<u8> {
    #[cfg(feature = "libdeflate")]
    {
        use libdeflater::{CompressionLvl, Compressor};
        let mut compressor = Compressor::new(CompressionLvl::best());
        let mut stream = vec![0; compressor.zlib_compress_bound(data.len())];
        // With the room of the bound this can't fail; if it did, the Rust code would do it.
        if let Ok(len) = compressor.zlib_compress(data, &mut stream) {
            stream.truncate(len);
            return stream;
        }
    }
    in_rust(data)
}

fn in_rust(data: &[u8]) -> Vec<u8> {
    use std::io::Write as _;

    use flate2::{Compression, write::ZlibEncoder};
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    // Writing to a vector can't fail; if it did, the loader would refuse the short stream.
    let _ = encoder.write_all(data);
    encoder.finish().unwrap_or_default()
}

/// Cuts a stream into blocks, first of the lengths in `lead` and then of `block_len`. Returns each
/// with the number of bytes that it unpacks to.
pub(crate) fn blocks(stream: &[u8], lead: &[u32], block_len: usize) -> Vec<(Vec<u8>, u32)> {
    let mut inflater = Decompress::new(true);
    let mut room = vec![0; 0x8000];
    let mut blocks = Vec::new();
    let mut lens = lead.iter().map(|len| *len as usize).chain(std::iter::repeat(block_len));
    let mut stream = stream;
    while !stream.is_empty() {
        let len = lens.next().unwrap_or(block_len).max(1).min(stream.len());
        let (chunk, rest) = stream.split_at(len);
        stream = rest;
        let (consumed, produced) = (inflater.total_in(), inflater.total_out());
        // After all of its input, an inflater may still hold back output.
        loop {
            let before = (inflater.total_in(), inflater.total_out());
            let used = (before.0 - consumed) as usize;
            let unused = chunk.get(used..).unwrap_or_default();
            let status = inflater.decompress(unused, &mut room, FlushDecompress::None);
            let idle = (inflater.total_in(), inflater.total_out()) == before;
            if idle || matches!(status, Err(_) | Ok(Status::StreamEnd)) {
                break;
            }
        }
        blocks.push((chunk.to_vec(), (inflater.total_out() - produced) as u32));
    }
    blocks
}

/// Streams that are compressed in threads while a board resets and is identified.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    deflated: BTreeMap<[u8; 16], Stream>,
    /// For esplice's own stub.
    packed: BTreeMap<[u8; 16], JoinHandle<Packed>>,
}

#[derive(Debug)]
enum Stream {
    Pending(JoinHandle<Vec<u8>>),
    Ready(Vec<u8>),
}

impl Prepared {
    /// Starts to compress `data`.
    pub(crate) fn begin(&mut self, data: Vec<u8>) {
        let key = Md5::digest(&data).into();
        self.deflated
            .entry(key)
            .or_insert_with(|| Stream::Pending(std::thread::spawn(move || compress(&data))));
    }

    /// Starts to pack `data` for esplice's own stub.
    pub(crate) fn begin_packed(&mut self, data: Vec<u8>) {
        let key = Md5::digest(&data).into();
        self.packed
            .entry(key)
            .or_insert_with(|| std::thread::spawn(move || Packed::smallest(&data)));
    }

    /// Returns `data` packed for esplice's own stub, ahead or now, for a link on which a stream of a
    /// length takes `wire_time`.
    pub(crate) fn packed(&mut self, data: &[u8], wire_time: &dyn Fn(usize) -> Duration) -> Packed {
        let key: [u8; 16] = Md5::digest(data).into();
        let ready = self.packed.remove(&key).and_then(|thread| thread.join().ok());
        ready.unwrap_or_else(|| Packed::new(data, wire_time))
    }

    /// Returns the stream of `data`, compressed ahead or now.
    pub(crate) fn stream(&mut self, data: &[u8]) -> Vec<u8> {
        let key: [u8; 16] = Md5::digest(data).into();
        let stream = match self.deflated.remove(&key) {
            // A thread that panicked has made nothing.
            Some(Stream::Pending(thread)) => thread.join().unwrap_or_else(|_| compress(data)),
            Some(Stream::Ready(stream)) => stream,
            None => return compress(data),
        };
        // The stream may be sent again.
        self.deflated.insert(key, Stream::Ready(stream.clone()));
        stream
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(data: &[u8], stream: &[u8]) {
        let mut plain = Vec::new();
        flate2::read::ZlibDecoder::new(stream).read_to_end(&mut plain).unwrap();
        assert!(plain == data, "{} bytes", data.len());
        for (lead, block_len) in [(&[][..], 0x400), (&[], 0x4000), (&[0x1000, 1], 0x4000)] {
            let blocks = blocks(stream, lead, block_len);
            assert_eq!(blocks.iter().map(|(_, plain)| *plain as usize).sum::<usize>(), data.len());
            assert_eq!(blocks.iter().map(|(bytes, _)| bytes.len()).sum::<usize>(), stream.len());
            assert!(blocks.iter().all(|(bytes, _)| bytes.len() <= block_len));
        }
    }

    proptest! {
        /// Ensures that progress ends at the total, with runs of all lengths, which compress well,
        /// and noise, which does not.
        #[test]
        fn streams_unpack_to_what_was_packed(
            parts in proptest::collection::vec((any::<u32>(), 1..40_000_usize, any::<bool>()), 1..8)
        ) {
            let mut data = Vec::new();
            for (seed, len, noise) in parts {
                let word = |n: u32| if noise { n.wrapping_mul(seed | 1).rotate_left(n % 31) } else { seed };
                data.extend((0..len as u32).map(|n| word(n) as u8));
            }
            check(&data, &compress(&data));
            check(&data, &in_rust(&data));
        }
    }

    #[test]
    fn blocks_tell_what_they_unpack_to() {
        let text: Vec<u8> = (0..70_000_u32).flat_map(|n| (n / 7 * n).to_le_bytes()).collect();
        // An inflater that has all its input may hold back a part of its output.
        let mut held_back: Vec<u8> = text.iter().copied().take(17_524).collect();
        held_back.resize(65_537, 0);
        for data in [vec![0xff; 300_000], text, vec![1, 2, 3, 4], held_back] {
            check(&data, &compress(&data));
            check(&data, &in_rust(&data));
        }
    }

    #[test]
    fn what_was_prepared_is_what_would_be_made() {
        let data = b"what is made ahead ".repeat(500);
        let mut prepared = Prepared::default();
        prepared.begin(data.clone());
        for _ in 0..2 {
            assert_eq!(prepared.stream(&data), compress(&data));
        }
        assert_eq!(prepared.stream(&data[1..]), compress(&data[1..]));
    }
}
