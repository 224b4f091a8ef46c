//! Chip files from outside.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(chip) = esplice_chip::Chip::parse("fuzz.toml", text) {
        for field in &chip.efuse.fields {
            field.value(|_| u32::MAX);
        }
    }
});
