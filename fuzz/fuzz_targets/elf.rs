//! ELFs, however broken.
#![no_main]

use esplice_image::{ImageOptions, build_image, elf_chip_name, inspect};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = elf_chip_name(bytes);
    for chip in esplice_chip::all() {
        if let Ok(image) = build_image(bytes, chip, &ImageOptions::for_chip(chip)) {
            assert!(inspect(&image.bytes).is_sound(), "{}", inspect(&image.bytes));
        }
    }
});
