//! Inverse of the RISC-V filter of the .xz format (filter ID 0x0B), which replaces addresses
//! relative to the instruction by absolute ones, so that calls of one function look alike.
//!
//! Converted are JAL with ra or t0, and pairs of AUIPC with an instruction that uses its register
//! (The .xz File Format 1.2.1, section 5.3.2).

/// Bytes at the end of the data so far that may still change.
pub const LOOKAHEAD: usize = 8;

/// Decodes `bytes`, which begin `position` bytes into the stream, in place. Returns the number of
/// bytes that are final; the rest is to be passed again, with what follows.
pub fn decode(position: u32, bytes: &mut [u8]) -> usize {
    let mut at = 0;
    while let Some(eight) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<8>()) {
        at += step(position.wrapping_add(at as u32), eight);
    }
    at.min(bytes.len())
}

/// Decodes what begins with these bytes. Returns the distance to the next instruction to look at.
fn step(pc: u32, bytes: &mut [u8; 8]) -> usize {
    let [b0, b1, b2, b3, c0, c1, c2, c3] = *bytes;
    if b0 == 0xef {
        return jal(pc, bytes);
    }
    if b0 & 0x7f != 0x17 {
        return 2;
    }
    let first = u32::from_le_bytes([b0, b1, b2, b3]);
    let (auipc, second);
    if first & 0xe80 != 0 {
        // An AUIPC whose register is neither x0 nor x2 was left alone, unless it looks like a pair;
        // then the encoder has wrapped it.
        second = u32::from_le_bytes([c0, c1, c2, c3]);
        if (first << 8 ^ second.wrapping_sub(3)) & 0xf_8003 != 0 {
            return 6;
        }
        auipc = 0x17 | 2 << 7 | second << 12;
        let wrapped = (first & 0xffff_f000).wrapping_add(second >> 20);
        write(bytes, auipc, wrapped);
        return 8;
    }
    let register = first >> 27;
    if first.wrapping_sub(0x3117) << 18 >= register & 0x1d {
        return 4;
    }
    let addr = u32::from_be_bytes([c0, c1, c2, c3]).wrapping_sub(pc);
    second = first >> 12 | addr << 20;
    auipc = 0x17 | register << 7 | addr.wrapping_add(0x800) & 0xffff_f000;
    write(bytes, auipc, second);
    8
}

fn write(bytes: &mut [u8; 8], first: u32, second: u32) {
    let [a0, a1, a2, a3] = first.to_le_bytes();
    let [b0, b1, b2, b3] = second.to_le_bytes();
    *bytes = [a0, a1, a2, a3, b0, b1, b2, b3];
}

fn jal(pc: u32, bytes: &mut [u8; 8]) -> usize {
    let [_, b1, b2, b3, ..] = bytes.map(u32::from);
    // Only with ra or t0 as link register.
    if b1 & 0x0d != 0 {
        return 2;
    }
    // Bits 20 to 1 of the address, highest first.
    let addr = ((b1 & 0xf0) << 13 | b2 << 9 | b3 << 1).wrapping_sub(pc);
    bytes[1] = (b1 & 0x0f | addr >> 8 & 0xf0) as u8;
    bytes[2] = (addr >> 16 & 0x0f | addr >> 7 & 0x10 | addr << 4 & 0xe0) as u8;
    bytes[3] = (addr >> 4 & 0x7f | addr >> 13 & 0x80) as u8;
    4
}
