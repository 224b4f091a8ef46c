//! Ranges protected by the status registers (W25Q32JV datasheet, 7.1 and its tables "Status
//! Register Memory Protection"). The fractions of the chip also apply to other sizes of the family,
//! with a minimum of 64 KiB.

use std::ops::Range;

/// Status register 2: quad enable.
pub(super) const QUAD_ENABLE: u8 = 1 << 1;
/// Status register 1: all block protection bits, which select the whole chip.
pub(super) const ALL: u8 = 7 << 2;
/// Status register 2: protects the complement of the selected range.
const CMP: u8 = 1 << 6;
/// Status register 1: sectors instead of blocks; from the bottom instead of the top.
const SEC: u8 = 1 << 6;
const TB: u8 = 1 << 5;

/// Returns the protected range, or with the complement bit the part before the selected range.
pub(super) fn range(status: [u8; 3], size: u32) -> Range<u32> {
    let named = named(status[0], size);
    match status[1] & CMP {
        0 => named,
        _ if named.is_empty() => 0..size,
        _ => 0..named.start,
    }
}

/// Returns the second protected range: with the complement bit, the part after the selected range.
pub(super) fn second_range(status: [u8; 3], size: u32) -> Range<u32> {
    let named = named(status[0], size);
    if status[1] & CMP != 0 && !named.is_empty() { named.end..size } else { 0..0 }
}

fn named(status_1: u8, size: u32) -> Range<u32> {
    let level = u32::from(status_1 >> 2 & 7);
    let len = match level {
        0 => return 0..0,
        7 => size,
        // 4, 8, 16 and 32 KiB.
        _ if status_1 & SEC != 0 => 0x1000 << (level - 1).min(3),
        // From 1/64 of the chip to half of it.
        _ => (size / 64).max(0x1_0000) << (level - 1),
    }
    .min(size);
    if status_1 & TB != 0 { 0..len } else { size - len..size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_name_the_ranges_of_the_data_sheet() {
        const M: u32 = 4 << 20;
        for (one, two, first, second) in [
            (0, 0, 0..0, 0..0),
            (1 << 2, 0, 0x3f_0000..M, 0..0),
            (6 << 2, 0, 0x20_0000..M, 0..0),
            (7 << 2, 0, 0..M, 0..0),
            (1 << 5 | 2 << 2, 0, 0..0x2_0000, 0..0),
            (1 << 6 | 1 << 2, 0, 0x3f_f000..M, 0..0),
            (1 << 6 | 5 << 2, 0, 0x3f_8000..M, 0..0),
            (1 << 6 | 1 << 5 | 3 << 2, 0, 0..0x4000, 0..0),
            (0, CMP, 0..M, 0..0),
            (1 << 2, CMP, 0..0x3f_0000, M..M),
            (1 << 5 | 1 << 2, CMP, 0..0, 0x1_0000..M),
            (7 << 2, CMP, 0..0, M..M),
        ] {
            assert_eq!(range([one, two, 0], M), first, "{one:#x} {two:#x}");
            assert_eq!(second_range([one, two, 0], M), second, "{one:#x} {two:#x}");
        }
        // A chip of 1 MiB also has blocks of 64 KiB.
        assert_eq!(range([1 << 2, 0, 0], 1 << 20), 0xf_0000..1 << 20);
        assert_eq!(range([6 << 2, 0, 0], 1 << 20), 0..1 << 20);
    }
}
