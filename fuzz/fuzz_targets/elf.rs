//! ELFs, however broken.
#![no_main]

use esplice_image::{
    AppDescriptor, Content, ImageOptions, ImageSource, RomOptions, SecurePad, build_adopted_image,
    build_direct_image, build_image, build_rom_image, elf_chip_name, inspect,
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = elf_chip_name(bytes);
    for chip in esplice_chip::all() {
        for source in [ImageSource::Auto, ImageSource::ProgramHeaders] {
            for secure_pad in [None, Some(SecurePad::V2)] {
                let usual = ImageOptions::for_chip(chip);
                let options = ImageOptions { source, secure_pad, ..usual };
                if let Ok(image) = build_image(bytes, chip, &options) {
                    // What is warned of, such as an entry point in no memory, is a defect of the image.
                    let report = inspect(&image.bytes);
                    assert!(report.is_sound() || !image.warnings.is_empty(), "{report}");
                }
            }
        }
        if let Ok(image) = build_direct_image(bytes, chip) {
            assert_eq!(Content::of(&image.bytes), Content::DirectImage);
        }
        let _ = build_rom_image(bytes, chip, &RomOptions::for_chip(chip));
        let (options, descriptor) = (ImageOptions::for_chip(chip), AppDescriptor::named("a", chip));
        let _ = build_adopted_image(bytes, chip, &options, "_start", &descriptor);
    }
});
