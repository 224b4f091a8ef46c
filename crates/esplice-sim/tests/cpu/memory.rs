//! Tests of the plain memories.

use super::machine::{DRAM, DROM, IRAM, IRAM0, IROM, Machine, SRAM_LEN, map};
use esplice_sim::memory::{Access, Backing, MapError, Memory, Region};
use proptest::prelude::*;

#[test]
fn aliases_show_the_same_bytes() {
    let mut memory = Machine::new().memory;
    assert!(memory.store32(DRAM + 0x1234, 0xcafe_f00d));
    assert_eq!(memory.load32(IRAM + 0x1234, &[]), Some(0xcafe_f00d));
    assert!(memory.store8(IRAM + 0x1235, 0x11));
    assert_eq!(memory.load16(DRAM + 0x1234, &[]), Some(0x110d));
    assert_eq!(memory.bank(1).unwrap()[0x1234..0x1238], [0x0d, 0x11, 0xfe, 0xca]);
}

#[test]
fn nothing_is_outside_of_regions() {
    let mut memory = Machine::new().memory;
    for addr in [0, IRAM0 - 1, DRAM - 1, DRAM + SRAM_LEN, IRAM + SRAM_LEN, 0xffff_ffff] {
        assert_eq!(memory.load8(addr, &[]), None, "{addr:#x}");
        assert!(!memory.store8(addr, 0), "{addr:#x}");
        assert_eq!(memory.fetch16(addr & !1, &[]), None, "{addr:#x}");
    }
    // A word that begins inside and ends outside.
    assert_eq!(memory.load32(DRAM + SRAM_LEN - 2, &[]), None);
    assert!(!memory.store32(DRAM + SRAM_LEN - 2, 0));
    assert_eq!(memory.load32(0xffff_fffe, &[]), None);
    assert_eq!(memory.bank(2), None);
}

#[test]
fn data_aliases_are_not_executable() {
    let memory = Machine::new().memory;
    assert_eq!(memory.fetch16(DRAM, &[]), None);
    assert_eq!(memory.fetch16(IRAM, &[]), Some(0));
}

#[test]
fn flash_windows_read_through_the_mmu_and_take_no_stores() {
    let mut memory = Machine::new().memory;
    let mut flash = vec![0xff; 0x3_0000];
    flash[0x2_0010..0x2_0014].copy_from_slice(&0x1122_3344_u32.to_le_bytes());
    assert!(!memory.is_mapped(DROM + 0x3_0010));
    memory.set_flash_page(3, Some(2));
    assert_eq!(memory.flash_page(3), Some(2));
    for window in [DROM, IROM] {
        assert_eq!(memory.load32(window + 0x3_0010, &flash), Some(0x1122_3344));
        assert_eq!(memory.load16(window + 0x3_0011, &flash), Some(0x2233));
        assert_eq!(memory.load8(window + 0x3_0013, &flash), Some(0x11));
        assert!(!memory.store32(window + 0x3_0010, 0));
        assert!(memory.is_mapped(window + 0x3_0010));
    }
    assert_eq!(memory.fetch16(DROM + 0x3_0010, &flash), None);
    assert_eq!(memory.fetch16(IROM + 0x3_0010, &flash), Some(0x3344));
    // Past the end of the chip.
    memory.set_flash_page(4, Some(7));
    assert_eq!(memory.load32(DROM + 0x4_0000, &flash), Some(0xffff_ffff));
    memory.set_flash_page(4, Some(u32::MAX));
    assert!(memory.load32(DROM + 0x4_0000, &flash).is_some());
    memory.set_flash_page(3, None);
    assert_eq!(memory.load32(DROM + 0x3_0010, &flash), None);
    // Entries that no window shows.
    memory.set_flash_page(5000, Some(1));
    assert_eq!(memory.flash_page(5000), None);
}

#[test]
fn impossible_maps_are_refused() {
    fn region(base: u32, len: u32, backing: Backing) -> Region {
        Region { name: "extra".to_owned(), base, len, backing, access: Access::R }
    }
    let sram = |offset| Backing::Bank { bank: 1, offset };
    let cases = [
        (region(0x5000_0800, 0x1000, sram(0)), "extra: 0x50000800 is not"),
        (region(0x5000_0000, 0x1800, sram(0)), "extra: 0x1800 is not"),
        (region(0x5000_0000, 0, sram(0)), "extra: 0x0 is not"),
        (region(0x5000_0000, 0x1000, sram(0x10)), "extra: 0x10 is not"),
        (
            region(0x5000_0000, 0x1000, sram(SRAM_LEN)),
            "region extra shows bytes 0x60000 to 0x61000",
        ),
        (region(0x5000_0000, 0x1000, Backing::Bank { bank: 9, offset: 0 }), "region extra shows"),
        (region(0x5000_0000, 0x1000, Backing::Flash { first_entry: 0 }), "extra: 0x1000 is not"),
        (
            region(0x5000_0000, 0x1_0000, Backing::Flash { first_entry: u32::MAX }),
            "extra: 4294967296",
        ),
        (region(DRAM + 0x1000, 0x1000, sram(0)), "region extra at 0x3fc81000 overlaps"),
        (region(IRAM0 - 0x1000, 0x2000, sram(0)), "region iram0 at 0x4037c000 overlaps"),
        (region(0xffff_f000, 0x2000, sram(0)), "region extra at 0x100001000 overlaps"),
    ];
    for (extra, message) in cases {
        let mut map = map();
        map.regions.push(extra.clone());
        let error: MapError = Memory::new(map).expect_err(&format!("{extra:?}"));
        assert!(error.to_string().starts_with(message), "{extra:?} returned: {error}");
    }
}

proptest! {
    /// Loads and stores of any length at any address are the same as those of their bytes, also in
    /// pages with decoded code.
    #[test]
    fn accesses_are_their_bytes(
        stores in prop::collection::vec((0_u32..0x1010, any::<u32>(), 0_u32..3), 1..50),
        decoded in prop::collection::vec(0_u32..0x800, 0..5),
    ) {
        let mut memory = Machine::new().memory;
        let mut plain = vec![0_u8; 0x1014];
        for at in decoded {
            memory.decoded(IRAM + at * 2, 4);
        }
        for (at, value, len) in stores {
            let addr = DRAM + at;
            let bytes = &value.to_le_bytes()[..1 << len];
            plain[at as usize..][..bytes.len()].copy_from_slice(bytes);
            let taken = match len {
                0 => memory.store8(addr, value as u8),
                1 => memory.store16(addr, value as u16),
                _ => memory.store32(addr, value),
            };
            prop_assert!(taken);
            let word = u32::from_le_bytes(plain[at as usize..][..4].try_into().unwrap());
            prop_assert_eq!(memory.load32(addr, &[]), Some(word));
            prop_assert_eq!(memory.load16(addr, &[]), Some(word as u16));
            prop_assert_eq!(memory.load8(addr, &[]), Some(word as u8));
        }
        let mut found = vec![0; plain.len()];
        prop_assert!(memory.read(IRAM, &mut found, &[]));
        prop_assert_eq!(found, plain);
    }
}
