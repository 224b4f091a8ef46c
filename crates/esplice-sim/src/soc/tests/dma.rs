//! Tests of DMA and the SHA accelerator that uses it.

use super::*;

/// Stores the padded block of FIPS 180-4's example "abc" in RAM, in the buffers of three
/// descriptors.
fn abc_in_ram() -> Vec<Do> {
    let mut block = [0_u8; 64];
    block[..4].copy_from_slice(b"abc\x80");
    block[63] = 24;
    let mut moves = Vec::new();
    for (at, word) in (0_u32..).zip(block.chunks(4)) {
        let word = u32::from_le_bytes(word.try_into().unwrap());
        moves.push(Store(0x3fc9_0000 + 4 * at, word));
    }
    for (number, start, len, eof) in [(0, 0, 3, 0), (1, 3, 29, 0), (2, 32, 32, 1 << 30)] {
        let at = 0x3fc8_0000 + 12 * number;
        moves.extend([
            Store(at, 1 << 31 | eof | len << 12 | len),
            Store(at + 4, 0x3fc9_0000 + start),
            Store(at + 8, if eof == 0 { at + 12 } else { 0 }),
        ]);
    }
    moves
}

#[test]
fn sha_takes_its_blocks_by_dma_in_either_order() {
    let start_dma = [
        Store(DMA + 0xd0 + 4, 1 << 12), // OUT_CONF1: check the owner
        Store(DMA + 0xd0, 1 << 2),      // OUT_CONF0: write back
        Store(DMA + 0x100, 7),
        Store(DMA + 0xe0, 1 << 21 | 0x8_0000),
    ];
    let start_sha =
        [Store(SHA, 2), Store(SHA + 0x28, 1), Store(SHA + 0x0c, 1), Store(SHA + 0x1c, 1)];
    for dma_first in [true, false] {
        let mut moves = abc_in_ram();
        moves.extend(route(49));
        let (start_dma, start_sha) = (start_dma.clone(), start_sha.clone());
        if dma_first {
            moves.extend(start_dma);
            moves.extend(start_sha);
        } else {
            moves.extend(start_sha);
            moves.extend([Load(SHA + 0x18, 1, 1), Irq(0)]);
            moves.extend(start_dma);
        }
        moves.extend([
            Load(SHA + 0x18, 1, 0),
            Load(SHA + 0x40, ALL, 0xba78_16bf_u32.swap_bytes()),
            Load(SHA + 0x5c, ALL, 0xf200_15ad_u32.swap_bytes()),
            Irq(1 << 7),
            Store(SHA + 0x24, 1),
            Irq(0),
            // Descriptors are returned; the address is the last one's.
            Load(0x3fc8_0000, 1 << 31, 0),
            Load(DMA, 1 << 3 | 1 << 4 | 1 << 8, 1 << 3 | 1 << 4 | 1 << 8),
            Load(DMA + 0xe8, ALL, 0x3fc8_0018),
            Load(DMA + 0xe0, 1 << 23, 1 << 23),
        ]);
        check(&moves);
    }
}

#[test]
fn dma_copies_memory_and_refuses_what_is_not_its_own() {
    let mut moves = abc_in_ram();
    moves.extend(route(45));
    moves.extend([
        Store(DMA + 0x18, 1 << 1), // channel 1: interrupt at the end of receiving
        Store(0x3fc8_0100, 1 << 31 | 40),
        Store(0x3fc8_0104, 0x3fc9_1000),
        Store(0x3fc8_0108, 0x3fc8_010c),
        Store(0x3fc8_010c, 1 << 31 | 40),
        Store(0x3fc8_0110, 0x3fc9_1028),
        Store(0x3fc8_0114, 0),
        Store(DMA + 0x130, 1 << 4),
        Store(DMA + 0x1a0, 1 << 21 | 0x8_0000),
        Irq(0),
        Store(DMA + 0x140, 1 << 22 | 0x8_0100),
        Irq(1 << 7),
        Load(0x3fc9_1000, ALL, u32::from_le_bytes(*b"abc\x80")),
        Load(0x3fc9_103c, ALL, 24 << 24),
        // 64 bytes in two descriptors of 40 bytes.
        Load(0x3fc8_0100, ALL, 40 << 12 | 40),
        Load(0x3fc8_010c, ALL, 1 << 30 | 24 << 12 | 40),
        Store(DMA + 0x1c, ALL),
        Irq(0),
        // A descriptor owned by the CPU.
        Store(0x3fc8_0000, 3 << 12 | 3),
        Store(DMA + 0x194, 1 << 12),
        Store(DMA + 0x140, 1 << 22 | 0x8_0100),
        Store(DMA + 0x1a0, 1 << 21 | 0x8_0000),
        Load(DMA + 0x10, 1 << 6, 1 << 6),
        // A descriptor at an unmapped address.
        Store(DMA + 0x1a0, 1 << 21),
        Load(DMA + 0x10, 1 << 6, 1 << 6),
        // A circular list ends.
        Store(DMA + 0x194, 0),
        Store(0x3fc8_0008, 0x3fc8_0000),
        Store(DMA + 0x1a0, 1 << 21 | 0x8_0000),
    ]);
    check(&moves);
}
