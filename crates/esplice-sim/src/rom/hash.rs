//! ROM functions that hash: MD5, SHA, CRC. A hash under way is kept here, by its context's address.

use md5::Md5;
use sha2::{Digest, Sha224, Sha256};

use super::{Call, Flow, Hook, State};

/// A hash under way.
#[derive(Debug, Clone)]
pub(super) enum Running {
    Md5(Md5),
    Sha224(Sha224),
    Sha256(Sha256),
}

/// Most hashes under way at a time: contexts that were never finished make room.
const MOST_RUNNING: usize = 64;

pub(super) const HOOKS: &[(&str, Hook)] = &[
    ("MD5Init", |call| {
        let context = call.arg(0);
        begin(call.state, context, Running::Md5(Md5::new()));
        Flow::after(30)
    }),
    ("MD5Update", |call| {
        let (context, data, len) = (call.arg(0), call.arg(1), call.arg(2));
        update(call, context, data, len);
        Flow::after(40 + 12 * u64::from(len)) // About 770 cycles a block of 64 bytes.
    }),
    ("MD5Final", |call| {
        let (to, context) = (call.arg(0), call.arg(1));
        finish(call, context, to);
        Flow::after(800)
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
        call.give(0);
        Flow::after(40)
    }),
    ("ets_sha_starts", |call| {
        call.give(0);
        Flow::after(10)
    }),
    ("ets_sha_update", |call| {
        let (context, data, len) = (call.arg(0), call.arg(1), call.arg(2));
        update(call, context, data, len);
        call.give(0);
        Flow::after(40 + 3 * u64::from(len)) // The accelerator: some 200 cycles a block.
    }),
    ("ets_sha_finish", |call| {
        let (context, to) = (call.arg(0), call.arg(1));
        finish(call, context, to);
        call.give(0);
        Flow::after(300)
    }),
    ("crc32_le", |call| crc(call, true)),
    ("crc32_be", |call| crc(call, false)),
];

fn begin(state: &mut State, context: u32, running: Running) {
    if state.hashes.len() >= MOST_RUNNING && !state.hashes.contains_key(&context) {
        state.hashes.clear();
    }
    state.hashes.insert(context, running);
}

fn update(call: &mut Call<'_>, context: u32, data: u32, len: u32) {
    let bytes = call.bytes(data, len);
    match call.state.hashes.get_mut(&context) {
        Some(Running::Md5(hash)) => hash.update(&bytes),
        Some(Running::Sha224(hash)) => hash.update(&bytes),
        Some(Running::Sha256(hash)) => hash.update(&bytes),
        None => {}
    }
}

fn finish(call: &mut Call<'_>, context: u32, to: u32) {
    let digest = match call.state.hashes.remove(&context) {
        Some(Running::Md5(hash)) => hash.finalize().to_vec(),
        Some(Running::Sha224(hash)) => hash.finalize().to_vec(),
        Some(Running::Sha256(hash)) => hash.finalize().to_vec(),
        None => return,
    };
    call.store_bytes(to, &digest);
}

/// CRC-32 with the polynomial 0x04c11db7, from the value given, both inverted.
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
    call.give(!crc);
    Flow::after(20 + 8 * u64::from(len))
}
