//! The ROM's inflater, miniz's `tinfl_decompress`. The state of a stream is stored here, by its
//! decompressor's address. The first word there is the ROM's state, and 0 in it begins a stream.

use miniz_oxide::inflate::{
    TINFLStatus,
    core::{DecompressorOxide, decompress},
};

use super::{Call, Flow, Hook, MOST_BYTES, Work, deflate_work::Counter};

pub(super) const HOOKS: &[(&str, Hook)] = &[("tinfl_decompress", tinfl_decompress)];

/// Most running streams; abandoned ones are dropped beyond it.
const MOST_STREAMS: usize = 8;
/// Flags of the call, the same as in the crate (miniz: `TINFL_FLAG_*`).
const KNOWN_FLAGS: u32 = 0xf;
/// The output is the whole buffer, not a ring.
const NOT_A_RING: u32 = 4;
/// The stream has a zlib header.
const ZLIB: u32 = 1;
/// An Adler-32 sum is always computed.
const ADLER: u32 = 8;
/// Inflates: `(decompressor, input, &input length, output's start, output's next, &room, flags)`.
fn tinfl_decompress(call: &mut Call<'_>) -> Flow {
    let [state, input, input_len, start, next, room, flags] =
        [0, 1, 2, 3, 4, 5, 6].map(|index| call.arg(index));
    let asked = call.load(room);
    let before = next.wrapping_sub(start);
    let len = before.checked_add(asked).filter(|len| *len <= MOST_BYTES);
    let ring_is_odd = |len: u32| flags & NOT_A_RING == 0 && !len.is_power_of_two();
    let Some(len) = len.filter(|len| next >= start && !ring_is_odd(*len)) else {
        // miniz: TINFL_STATUS_BAD_PARAM, without progress.
        call.store(input_len, 0);
        call.store(room, 0);
        call.set_result(TINFLStatus::BadParam as i32 as u32);
        return Flow::after(40);
    };
    let source_len = call.load(input_len);
    let source = call.bytes(input, source_len);
    let mut out = call.bytes(start, len);
    if call.load(state) == 0 {
        let streams = &mut call.state.streams;
        if streams.len() >= MOST_STREAMS && !streams.contains_key(&state) {
            streams.clear();
        }
        streams.insert(state, (Box::default(), Counter::new(flags & ZLIB != 0)));
    }
    // A stream that was never begun also fails in the ROM.
    let mut work = Work::default();
    let (status, consumed, produced) = match call.state.streams.get_mut(&state) {
        Some((stream, counter)) => {
            let flags = flags & KNOWN_FLAGS;
            let done = decompress(stream, &source, &mut out, before as usize, flags);
            counter.take(source.get(..done.1).unwrap_or_default(), &mut work);
            done
        }
        None => (TINFLStatus::Failed, 0, 0),
    };
    work.add("input", consumed as u64);
    if flags & (ZLIB | ADLER) != 0 {
        work.add("summed", produced as u64);
    }
    let first = before as usize;
    let written = out.get(first..first + produced).unwrap_or_default();
    call.store_bytes(next, written);
    call.store(input_len, consumed as u32);
    call.store(room, produced as u32);
    // Any state but 0 means that the stream has begun.
    call.store(state, 1);
    call.set_result(status as i32 as u32);
    Flow::doing(work)
}

/// A stream being inflated, with its symbol counter.
pub(super) type Stream = (Box<DecompressorOxide>, Counter);
