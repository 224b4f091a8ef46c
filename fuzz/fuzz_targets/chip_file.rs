//! Parses untrusted files of chips and boards.
#![no_main]

use esplice_chip::{Board, Chip, ChipDb};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(chip) = Chip::parse("fuzz.toml", text) {
        for field in &chip.efuse.fields {
            let mut words = std::collections::BTreeMap::new();
            field.put(field.value(|_| u32::MAX), |addr, bits| {
                *words.entry(addr).or_insert(0) |= bits;
            });
        }
        assert!(chip.watchdog.stop().len() <= 6);
        let _ = chip.watchdog.reset();
        let _ = chip.regions.iter().map(|region| region.bytes_after(region.addr)).max();
    }
    if let Ok(board) = Board::parse("fuzz.toml", text, ChipDb::embedded()) {
        assert!(board.chip.image.flash_sizes.contains_key(&board.flash_size));
    }
    let _ = ChipDb::default().add("fuzz.toml", text);
});
