//! ROM functions that hash: MD5, SHA, CRC. A running SHA is stored here, by its context's address.
//! MD5's state is in its context, which may be moved between two calls.

use md5::block_api::compress;
use sha2::{Digest, Sha224, Sha256};

use super::{Call, Flow, Hook, State, Work};

/// A running hash and the number of bytes it has taken.
pub(super) type Hash = (Running, u64);

/// The algorithm of a running hash.
#[derive(Debug, Clone)]
pub(super) enum Running {
    Sha224(Sha224),
    Sha256(Sha256),
}

/// Most running hashes; contexts that were never finished are dropped beyond it.
const MOST_RUNNING: usize = 64;

pub(super) const HOOKS: &[(&str, Hook)] = &[
    ("MD5Init", |call| {
        let context = call.arg(0);
        for (at, word) in (0..).zip(MD5_START.into_iter().chain([0, 0])) {
            call.store(context.wrapping_add(4 * at), word);
        }
        Flow::after(30)
    }),
    ("MD5Update", |call| {
        let (context, data, len) = (call.arg(0), call.arg(1), call.arg(2));
        Flow::doing(md5_update(call, context, data, len))
    }),
    ("MD5Final", |call| {
        let (to, context) = (call.arg(0), call.arg(1));
        Flow::doing(md5_final(call, to, context))
    }),
    ("ets_sha_enable", |_| Flow::after(20)),
    ("ets_sha_disable", |_| Flow::after(20)),
    ("ets_sha_init", |call| {
        let (context, kind) = (call.arg(0), call.arg(1));
        // SHA_TYPE: 0 is SHA-1, which no boot code uses.
        let running = match kind {
            1 => Running::Sha224(Sha224::new()),
            _ => Running::Sha256(Sha256::new()),
        };
        begin(call.state, context, running);
        call.set_result(0);
        Flow::after(40)
    }),
    ("ets_sha_starts", |call| {
        call.set_result(0);
        Flow::after(10)
    }),
    ("ets_sha_update", |call| {
        let (context, data, len) = (call.arg(0), call.arg(1), call.arg(2));
        let work = update(call, context, data, len);
        call.set_result(0);
        Flow::doing(work)
    }),
    ("ets_sha_finish", |call| {
        let (context, to) = (call.arg(0), call.arg(1));
        let blocks = finish(call, context, to);
        call.set_result(0);
        Flow::doing(Work::of("block", blocks))
    }),
    ("crc32_le", |call| crc(call, true)),
    ("crc32_be", |call| crc(call, false)),
];

fn begin(state: &mut State, context: u32, running: Running) {
    if state.hashes.len() >= MOST_RUNNING && !state.hashes.contains_key(&context) {
        state.hashes.clear();
    }
    state.hashes.insert(context, (running, 0));
}

fn update(call: &mut Call<'_>, context: u32, data: u32, len: u32) -> Work {
    let bytes = call.bytes(data, len);
    let Some((running, before)) = call.state.hashes.get_mut(&context) else {
        return Work::default();
    };
    match running {
        Running::Sha224(hash) => hash.update(&bytes),
        Running::Sha256(hash) => hash.update(&bytes),
    }
    let (filled, all) = (*before % SHA_BLOCK, *before + bytes.len() as u64);
    let mut work = Work::of("block", all / SHA_BLOCK - *before / SHA_BLOCK);
    *before = all;
    // Only bytes that do not fill a block are copied (ROM: `ets_sha_update`).
    let (mut at, mut left, mut to) = (data, bytes.len() as u64, context.wrapping_add(SHA_REST));
    let room = SHA_BLOCK - filled;
    if filled != 0 && left >= room {
        work.add("begun", 1);
        work.add_copy(to.wrapping_add(filled as u32), at, room);
        (at, left) = (at.wrapping_add(room as u32), left - room);
    } else {
        to = to.wrapping_add(filled as u32);
    }
    at = at.wrapping_add((left / SHA_BLOCK * SHA_BLOCK) as u32);
    if left % SHA_BLOCK != 0 {
        work.add("rest", 1);
        work.add_copy(to, at, left % SHA_BLOCK);
    }
    work
}

/// Finishes a hash and returns the number of blocks in its end.
fn finish(call: &mut Call<'_>, context: u32, to: u32) -> u64 {
    let Some((running, len)) = call.state.hashes.remove(&context) else { return 0 };
    let digest = match running {
        Running::Sha224(hash) => hash.finalize().to_vec(),
        Running::Sha256(hash) => hash.finalize().to_vec(),
    };
    call.store_bytes(to, &digest);
    // One bit and the length follow the last byte (FIPS 180-4, 5.1.1).
    (len % SHA_BLOCK + 9).div_ceil(SHA_BLOCK)
}

/// Block size of SHA-224 and SHA-256.
const SHA_BLOCK: u64 = 64;
/// Offset of the partial block in a context (ROM: `ets_sha_update`).
const SHA_REST: u32 = 72;

/// Initial state of MD5 (RFC 1321, 3.3).
const MD5_START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
/// Block size of MD5.
const MD5_BLOCK: usize = 64;
/// The context: state, bit count in two words, partial block (ROM, `MD5Update`).
const MD5_BITS: u32 = 16;
const MD5_REST: u32 = 24;
const MD5_CONTEXT_LEN: usize = 88;

fn md5_update(call: &mut Call<'_>, context: u32, data: u32, len: u32) -> Work {
    let low = call.load(context.wrapping_add(MD5_BITS));
    let high = call.load(context.wrapping_add(MD5_BITS + 4));
    let bits = (u64::from(high) << 32 | u64::from(low)).wrapping_add(u64::from(len) * 8);
    call.store(context.wrapping_add(MD5_BITS), bits as u32);
    call.store(context.wrapping_add(MD5_BITS + 4), (bits >> 32) as u32);
    let mut bytes = call.bytes(context.wrapping_add(MD5_REST), low / 8 % MD5_BLOCK as u32);
    bytes.extend(call.bytes(data, len));
    let (blocks, rest) = bytes.as_chunks::<MD5_BLOCK>();
    md5_compress(call, context, blocks);
    call.store_bytes(context.wrapping_add(MD5_REST), rest);
    let mut work = Work::of("block", blocks.len() as u64);
    copies(&mut work, context.wrapping_add(MD5_REST), low / 8 % MD5_BLOCK as u32, data, len);
    work
}

/// Adds the copies of `len` bytes from `data` into a block at `block` that has `filled` bytes (ROM:
/// `MD5Update`).
fn copies(work: &mut Work, block: u32, filled: u32, data: u32, len: u32) {
    const BLOCK: u32 = MD5_BLOCK as u32;
    let (mut at, mut left) = (data, len);
    if filled != 0 {
        work.add("begun", 1);
        let first = left.min(BLOCK - filled);
        work.add_copy(block.wrapping_add(filled), at, first.into());
        if first < BLOCK - filled {
            return;
        }
        (at, left) = (at.wrapping_add(first), left - first);
    }
    // All whole blocks have the same alignment.
    let mut whole = Work::default();
    whole.add_copy(block, at, BLOCK.into());
    work.add_all(&whole, (left / BLOCK).into());
    work.add("rest", 1);
    work.add_copy(block, at, (left % BLOCK).into());
}

fn md5_final(call: &mut Call<'_>, to: u32, context: u32) -> Work {
    let bits = call.bytes(context.wrapping_add(MD5_BITS), 8);
    let filled = call.load(context.wrapping_add(MD5_BITS)) / 8 % MD5_BLOCK as u32;
    let mut last = call.bytes(context.wrapping_add(MD5_REST), filled);
    last.push(0x80);
    last.resize((last.len() + 8).next_multiple_of(MD5_BLOCK) - 8, 0);
    last.extend(bits);
    let (blocks, _) = last.as_chunks::<MD5_BLOCK>();
    md5_compress(call, context, blocks);
    let digest = call.bytes(context, 16);
    call.store_bytes(to, &digest);
    call.store_bytes(context, &[0; MD5_CONTEXT_LEN]);
    let mut work = Work::of("block", blocks.len() as u64);
    work.add_copy(to, context, 16);
    work
}

/// Hashes whole blocks into the state.
fn md5_compress(call: &mut Call<'_>, context: u32, blocks: &[[u8; MD5_BLOCK]]) {
    let mut state = [0, 4, 8, 12].map(|at| call.load(context.wrapping_add(at)));
    compress(&mut state, blocks);
    for (at, word) in (0..).zip(state) {
        call.store(context.wrapping_add(4 * at), word);
    }
}

/// Computes a CRC-32 with the polynomial 0x04c11db7 and the given start value, both ends inverted.
fn crc(call: &mut Call<'_>, little: bool) -> Flow {
    let (start, data, len) = (call.arg(0), call.arg(1), call.arg(2));
    let mut crc = !start;
    for byte in call.bytes(data, len) {
        crc ^= if little { u32::from(byte) } else { u32::from(byte) << 24 };
        for _ in 0..8 {
            crc = match (little, crc & 1, crc >> 31) {
                (true, 1, _) => crc >> 1 ^ 0xedb8_8320,
                (true, ..) => crc >> 1,
                (false, _, 1) => crc << 1 ^ 0x04c1_1db7,
                (false, ..) => crc << 1,
            };
        }
    }
    call.set_result(!crc);
    Flow::of(len.into())
}
