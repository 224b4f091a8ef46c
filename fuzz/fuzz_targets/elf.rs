//! Builds images from ELFs, however broken.
#![no_main]

use esplice_chip::ChipDb;
use esplice_image::{
    AppDescriptor, Content, ElfUse, ImageOptions, ImageSource, RomOptions, SecurePad,
    build_app_of_rom_program, build_direct_image, build_image, build_rom_image, elf_chip_name,
    inspect, is_rom_program, sha256, spare_ranges,
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let name = elf_chip_name(bytes);
    // Changes to the bytes that are not read make no difference.
    let read = |at: u64, len: usize| {
        let at = usize::try_from(at).ok()?;
        bytes.get(at..at.checked_add(len)?).map(<[u8]>::to_vec)
    };
    let without = |asked| {
        let mut without = bytes.to_vec();
        for range in spare_ranges(asked, read).unwrap_or_default() {
            if let Some(spare) = without.get_mut(range.start as usize..range.end as usize) {
                spare.fill(0);
            }
        }
        without
    };
    let elf_sha256 = Some(sha256(bytes));
    assert_eq!(name, elf_chip_name(&without(ElfUse::ImagesAndChip)));
    let without = without(ElfUse::ImagesOnly);
    for chip in ChipDb::embedded().chips() {
        for source in [ImageSource::Auto, ImageSource::ProgramHeaders] {
            for secure_pad in [None, Some(SecurePad::V2)] {
                let usual = ImageOptions::for_chip(chip);
                let options = usual.source(source).secure_pad(secure_pad).elf_sha256(elf_sha256);
                let image = build_image(bytes, chip, &options);
                assert_eq!(image, build_image(&without, chip, &options));
                if let Ok(image) = image {
                    // Every defect of the image, such as an entry point outside memory, has a
                    // warning.
                    let report = inspect(&image.bytes, ChipDb::embedded());
                    assert!(report.is_sound() || !image.warnings.is_empty(), "{report}");
                }
            }
        }
        let direct = build_direct_image(bytes, chip);
        assert_eq!(direct, build_direct_image(&without, chip));
        if let Ok(image) = direct {
            assert_eq!(Content::of(&image.bytes), Content::DirectImage);
        }
        assert_eq!(is_rom_program(bytes, chip), is_rom_program(&without, chip));
        let options = RomOptions::for_chip(chip).elf_sha256(elf_sha256);
        let image = build_rom_image(bytes, chip, &options);
        assert_eq!(image, build_rom_image(&without, chip, &options));
        let (options, descriptor) = (ImageOptions::for_chip(chip), AppDescriptor::named("a", chip));
        let _ = build_app_of_rom_program(bytes, chip, &options, "_start", &descriptor);
    }
});
