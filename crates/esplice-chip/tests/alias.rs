//! Address ranges that share bytes.

use esplice_chip::{Addr, ChipDb, SharedRam};

#[track_caller]
fn check(chip: &str, ranges: &[(u32, u32)], expected: Option<(usize, usize, &str, u32)>) {
    let chip = ChipDb::embedded().find(chip).expect("chip data");
    let found = chip.shared_ram(ranges.iter().map(|(addr, len)| (Addr(*addr), *len)));
    let expected = expected.map(|(first, second, backing, len)| SharedRam {
        first,
        second,
        backing: backing.into(),
        len,
    });
    assert_eq!(found, expected, "{ranges:x?}");
}

#[test]
fn ranges_share_bytes_at_one_address_and_through_two_buses() {
    check("esp32c3", &[], None);
    check("esp32c3", &[(0x3fc8_0000, 64), (0x3fc8_0040, 64)], None);
    check("esp32c3", &[(0x3fc8_0040, 64), (0x3fc8_0000, 65)], Some((0, 1, "sram", 1)));
    check("esp32c3", &[(0x3fc8_0000, 64), (0x4038_0040, 64)], None);
    check("esp32c3", &[(0x4038_003c, 8), (0x3fc8_0000, 64)], Some((0, 1, "sram", 4)));
    // Empty ranges, flash, and addresses outside every region.
    check("esp32c3", &[(0x3fc8_0000, 64), (0x3fc8_0010, 0)], None);
    check("esp32c3", &[(0x4200_0000, 64), (0x3c00_0000, 64)], None);
    check("esp32c3", &[(0x1000_0000, 64), (0x1000_0000, 64)], None);
    // The region's last byte, and a length beyond it.
    check("esp32c3", &[(0x3fcd_ffff, u32::MAX), (0x403d_ffff, 1)], Some((0, 1, "sram", 1)));
    // One bus.
    check("esp32c6", &[(0x4080_0000, 0x100), (0x4080_00ff, 1)], Some((0, 1, "sram", 1)));
    // Words in reverse order: the last one on the instruction bus is the first one on the data bus.
    check("esp32", &[(0x3ffe_0000, 4), (0x400b_fffc, 4)], Some((0, 1, "sram12", 4)));
    check("esp32", &[(0x3ffe_0000, 4), (0x400b_fff8, 4)], None);
    check("esp32", &[(0x3ffe_0000, 1), (0x400b_fffe, 1)], Some((0, 1, "sram12", 1)));
    check("esp32", &[(0x400c_0000, 8), (0x3ff8_0004, 8)], Some((0, 1, "rtc-fast", 4)));
}
