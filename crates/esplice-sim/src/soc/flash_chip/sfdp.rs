//! The flash chip's description of itself (JEDEC JESD216B, "Serial Flash Discoverable Parameters").
//! Density and times are from the chip data, the rest is as in chips of the family W25QxxJV.

use crate::nor::Nor;

/// Address of the basic table.
const BASIC_AT: usize = 0x80;
/// Number of words in the basic table.
const WORDS: usize = 16;

/// Returns `len` bytes from `addr`. Bytes after the table are ones.
pub(super) fn read(nor: &Nor, addr: u32, len: usize) -> Vec<u8> {
    let table = table(nor);
    (0..len)
        .map(|i| table.get((addr as usize).saturating_add(i)).copied().unwrap_or(0xff))
        .collect()
}

fn table(nor: &Nor) -> Vec<u8> {
    let timing = nor.timing();
    let mut table = vec![0xff_u8; BASIC_AT];
    // Signature, revision 1.6 (JESD216B), one parameter header.
    table[..8].copy_from_slice(b"SFDP\x06\x01\x00\xff");
    // Basic flash parameters: ID 0xff00, revision 1.6, number of words, address.
    table[8..16].copy_from_slice(&[
        0x00,
        0x06,
        0x01,
        WORDS as u8,
        BASIC_AT as u8,
        0x00,
        0x00,
        0xff,
    ]);
    let millis = |us: u32| us.div_ceil(1000);
    let page_us = (timing.program_first_byte_ns + 255 * timing.program_next_byte_ns).div_ceil(1000);
    let suspend = scaled(timing.suspend_us.saturating_mul(1000), &[128, 1000, 8000, 64_000]);
    let words: [u32; WORDS] = [
        // 4 KiB erase with 20h; 1-1-2, 1-2-2, 1-4-4 and 1-1-4 reads, 3-byte addresses.
        0xfff9_20e5 & !(1 << 19),
        (u64::from(nor.size()) * 8 - 1) as u32,
        // Fast reads: opcode, clocks of mode bits, dummy clocks. 1-4-4 and 1-1-4; 1-1-2 and 1-2-2.
        fast(0xeb, 2, 4) | fast(0x6b, 0, 8) << 16,
        fast(0x3b, 0, 8) | fast(0xbb, 4, 0) << 16,
        // Neither 2-2-2 nor 4-4-4.
        0xffff_ffee,
        0xff00_ffff,
        0xff00_ffff,
        // Erase types: log2 of the length, opcode.
        0x0c | 0x20 << 8 | 0x0f << 16 | 0x52 << 24,
        0x10 | 0xd8 << 8,
        // Typical times of the erase types; the maximum times are 2 * (4 + 1) times that.
        4 | scaled(millis(timing.erase_4k_us), &[1, 16, 128, 1000]) << 4
            | scaled(millis(timing.erase_32k_us), &[1, 16, 128, 1000]) << 11
            | scaled(millis(timing.erase_64k_us), &[1, 16, 128, 1000]) << 18,
        // Pages of 2^8 bytes; typical times of a page, its first byte, each further byte, and the
        // whole chip.
        2 | 8 << 4
            | scaled(page_us, &[8, 64]) << 8
            | small(timing.program_first_byte_ns) << 14
            | small(timing.program_next_byte_ns) << 19
            | scaled(timing.erase_chip_ms, &[16, 256, 4000, 64_000]) << 24
            | 1 << 31,
        // Suspend: no erase during a suspended erase, no program during a suspended program;
        // suspend time.
        0x0010_03e9 | suspend << 13 | suspend << 24,
        // Opcodes of resume and suspend, for program and erase.
        0x757a_757a,
        // Power-down with B9h, release with ABh; busy is bit 0 of 05h.
        0x5cd5_a2f7,
        // Quad enable is bit 1 of status register 2, written with 01h and two bytes; 0-4-4 with the
        // mode bits.
        0xff4d_f719,
        // Reset with 66h and 99h; status register 1 is written after 06h, or after 50h if volatile.
        0x80f8_30e9,
    ];
    table.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    table
}

/// Encodes the opcode, mode clocks and dummy clocks of a fast read.
fn fast(opcode: u32, mode: u32, dummy: u32) -> u32 {
    opcode << 8 | mode << 5 | dummy
}

/// Encodes a time as a 5-bit count minus one, with the number of its unit above. Rounds up and uses
/// the smallest unit that fits.
fn scaled(time: u32, units: &[u32]) -> u32 {
    let (number, unit) = (0..)
        .zip(units)
        .find(|(_, unit)| time <= **unit * 32)
        .unwrap_or((units.len() as u32 - 1, units.last().unwrap_or(&1)));
    number << 5 | (time.div_ceil(*unit).clamp(1, 32) - 1)
}

/// Encodes a time per byte as a 4-bit count minus one, with a unit of 1 or 8 µs above.
fn small(ns: u32) -> u32 {
    let us = ns.div_ceil(1000);
    if us <= 16 { us.max(1) - 1 } else { 1 << 4 | (us.div_ceil(8).min(16) - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the table like a driver, following the standard, and compares it with the chip data.
    #[test]
    fn a_driver_finds_the_chip() {
        let sim = esplice_chip::ChipDb::embedded().find("esp32c3").unwrap().sim.as_ref().unwrap();
        let nor = Nor::in_memory(sim.flash.size(), &sim.flash);
        let header = read(&nor, 0, 16);
        assert_eq!(&header[..4], b"SFDP");
        assert_eq!((header[6], header[8], header[15]), (0, 0x00, 0xff));
        let (words, at) = (usize::from(header[11]), u32::from(header[12]));
        let table = read(&nor, at, 4 * words);
        let word = |number: usize| {
            u32::from_le_bytes(table[4 * number - 4..4 * number].try_into().unwrap())
        };
        assert_eq!(words, 16);
        assert_eq!((word(1) & 3, word(1) >> 8 & 0xff), (1, 0x20));
        assert_eq!((u64::from(word(2)) + 1) / 8, 4 << 20);
        // Typical erase times in milliseconds, rounded up to their units.
        let erase = |field: u32| {
            let unit = [1, 16, 128, 1000][(field >> 5 & 3) as usize];
            ((field & 31) + 1) * unit
        };
        assert_eq!(erase(word(10) >> 4), 48);
        assert_eq!(erase(word(10) >> 11), 128);
        assert_eq!(erase(word(10) >> 18), 160);
        assert_eq!(1 << (word(11) >> 4 & 15), 256);
        let page = (word(11) >> 8 & 31) + 1;
        assert_eq!(page * if word(11) >> 13 & 1 != 0 { 64 } else { 8 }, 704); // 667.5 us
        let chip =
            ((word(11) >> 24 & 31) + 1) * [16, 256, 4000, 64_000][(word(11) >> 29 & 3) as usize];
        assert_eq!(chip, 12_000);
        assert_eq!(read(&nor, at + 4 * 16, 2), [0xff, 0xff]);
        assert_eq!(read(&nor, u32::MAX, 4), [0xff; 4]);
    }
}
