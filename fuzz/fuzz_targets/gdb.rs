//! Whatever a client sends to the debug server: no panic, and the board can be debugged afterwards.

#![no_main]

use esplice_gdb::{Debugger, answer};
use esplice_sim::{Board, SharedBoard};
use libfuzzer_sys::fuzz_target;

// The first byte chooses between raw bytes and packets with correct checksums, separated by line
// feeds.
fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    let board = Board::new("esp32c3").expect("the chip is known");
    let mut debugger = Debugger::new(SharedBoard::new(board), None);
    let bytes = match kind & 1 {
        0 => rest.to_vec(),
        _ => rest.split(|byte| *byte == b'\n').flat_map(packet).collect(),
    };
    answer(&mut debugger, &bytes, 1);
    let replies = answer(&mut debugger, &packet(b"p20"), 1);
    assert!(replies.contains(&b'$'), "{replies:?}");
});

fn packet(text: &[u8]) -> Vec<u8> {
    let sum = text.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    [b"$", text, format!("#{sum:02x}").as_bytes()].concat()
}
