//! Errors for files that no image can be made from.

use std::sync::Arc;

use crate::support::{self, Options, Section, bss, descriptor, noise, section};
use esplice_chip::{Chip, ChipDb};
use esplice_image::{ImageError, ImageOptions, ImageSource, build_image};
use object::elf;
use proptest::prelude::*;

fn chip() -> &'static Arc<Chip> {
    ChipDb::embedded().find("esp32c3").expect("chip data")
}

fn error_of(elf: &[u8]) -> ImageError {
    build_image(elf, chip(), &ImageOptions::for_chip(chip())).expect_err("refused")
}

fn text() -> Section {
    section(".text", 0x4201_0020, noise(1, 100))
}

#[test]
fn files_that_are_no_elf_for_the_chip() {
    let whole = support::elf(&[text()], Options::default());
    let other = |options| support::elf(&[text()], options);
    let big_endian = {
        let mut bytes = whole.clone();
        bytes[5] = 2;
        bytes
    };
    let cases = [
        (vec![], "not an ELF, but an empty file"),
        (b"fn main() {}\n".to_vec(), "not an ELF, but a text file"),
        (b"\xfd7zXZ\0\0\x04".to_vec(), "not an ELF, but an xz file"),
        (b"!<arch>\n".to_vec(), "not an ELF, but a static library"),
        (vec![0xe9, 5, 2, 0x2f], "not an ELF, but an ESP32 image"),
        (vec![0, 0, 0], "not an ELF, but binary data of unknown format"),
        (
            other(Options { is_64: true, machine: elf::EM_X86_64, ..Options::default() }),
            "64-bit ELF (machine 62, x86-64), the chip needs a 32-bit one",
        ),
        (
            other(Options { machine: elf::EM_XTENSA, ..Options::default() }),
            "ELF is for machine 94 (Xtensa), ESP32-C3 is 243 (RISC-V)",
        ),
        (
            other(Options { kind: elf::ET_REL, ..Options::default() }),
            "ELF is of type 1, an executable has 2 (or 3)",
        ),
        (big_endian, "big-endian ELF, the chip needs a little-endian one"),
        (whole[..40].to_vec(), "damaged ELF: "),
        (whole[..whole.len() - 50].to_vec(), "damaged ELF: "),
        (other_sections(&[]), "ELF has no section with bytes at an address"),
        (
            other_sections(&[bss(".bss", 0x3fc9_0000, 100)]),
            "ELF has no section with bytes at an address",
        ),
    ];
    for (bytes, expected) in cases {
        let error = error_of(&bytes);
        assert!(error.to_string().starts_with(expected), "{expected}: {error}");
    }
}

fn other_sections(sections: &[Section]) -> Vec<u8> {
    support::elf(sections, Options::default())
}

#[test]
fn sections_that_no_image_can_hold() {
    let data = |at: u32, len| section(".odd", at, noise(2, len));
    let many: Vec<Section> = (0..17).map(|n| data(0x4038_0000 + 64 * n, 8)).collect();
    let mut hashed = descriptor();
    hashed[150] = 1;
    let cases: Vec<(Vec<Section>, &str)> = vec![
        (
            vec![text(), data(0x2000_0000, 8)],
            ".odd at 0x20000000 of 8 bytes is outside every memory region",
        ),
        (
            vec![text(), data(0x4000_0100, 8)],
            ".odd at 0x40000100 of 8 bytes is outside every memory region",
        ),
        (
            vec![text(), data(0x3fcd_fff0, 0x20)],
            ".odd at 0x3fcdfff0 of 32 bytes ends 16 bytes past region dram",
        ),
        (many, "image would have 17 segments, the bootloader accepts 16"),
        // Both windows share the MMU's entries.
        (
            vec![text(), data(0x3c01_0020, 8)],
            ".odd at 0x3c010020 and .text at 0x42010020 need the same MMU page of 0x10000 bytes",
        ),
        // The second section begins in another page, but that is the page in which the first one
        // ends.
        (
            vec![section(".text", 0x4201_0020, noise(1, 0x1_0100)), data(0x3c02_0224, 8)],
            ".odd at 0x3c020224 and .text at 0x42010020 need the same MMU page of 0x10000 bytes",
        ),
        (
            vec![text(), data(0x4201_0080, 8)],
            ".text at 0x42010020 of 100 bytes and .odd at 0x42010080 of 8 bytes share 4 bytes of flash",
        ),
        (
            vec![text(), data(0x4202_0022, 8)],
            ".odd at 0x42020022 in flash is not aligned to 4 bytes",
        ),
        (
            vec![text(), section(".flash.appdesc", 0x3c00_0020, hashed)],
            "app descriptor's field for the ELF's SHA-256 (byte 0xb0 of the image) is not zero",
        ),
        (
            vec![text(), section(".flash.appdesc", 0x3c00_0100, descriptor())],
            "app descriptor at 0x3c000100 is not at byte 0x20 of the image, padding at 0x00000000 is",
        ),
        (
            vec![
                text(),
                data(0x3c00_0020, 16),
                section(".flash.appdesc", 0x3c00_0030, descriptor()),
            ],
            "app descriptor at 0x3c000030 is not at byte 0x20 of the image, .odd at 0x3c000020 is",
        ),
        (
            vec![text(), section(".flash.appdesc", 0x3c00_0020, [0; 16])],
            "app descriptor's segment has 16 bytes, fewer than the descriptor's 256",
        ),
    ];
    for (sections, expected) in cases {
        assert_eq!(error_of(&other_sections(&sections)).to_string(), expected);
    }
}

#[test]
fn notes_for_the_host_are_left_out() {
    let mut strings = section(".strings", 1, noise(3, 100));
    strings.flags = 0;
    let with = other_sections(&[text(), strings]);
    let options = ImageOptions::for_chip(chip());
    let image = build_image(&with, chip(), &options).expect("image");
    assert_eq!(image.segments.len(), 1);
}

#[test]
fn flash_parameters_without_a_code_are_refused() {
    let elf = other_sections(&[text()]);
    let mut options = ImageOptions::for_chip(chip());
    options.flash.freq = "81m".into();
    let error = build_image(&elf, chip(), &options).expect_err("81m");
    assert_eq!(error.to_string(), "flash frequency \"81m\" is unknown for ESP32-C3");
    assert_eq!(error.hint().as_deref(), Some("known are 20m, 26m, 40m, 80m"));
    options.flash.freq = "40m".into();
    options.flash.size = 5 << 20;
    let error = build_image(&elf, chip(), &options).expect_err("5MB");
    assert_eq!(error.to_string(), "flash size of 5242880 bytes has no code for ESP32-C3");
}

proptest! {
    #[test]
    fn mutated_elfs_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        // Such an ELF has headers at both ends.
        tail in prop::collection::vec((0_usize..250, any::<u8>()), 0..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
        source in prop::sample::select(vec![ImageSource::Auto, ImageSource::ProgramHeaders]),
    ) {
        let mut elf = other_sections(&[
            section(".flash.appdesc", 0x3c00_0020, descriptor()),
            section(".data", 0x3fc9_0000, noise(2, 70)),
            text(),
        ]);
        for (at, byte) in changes {
            let at = at.index(elf.len());
            elf[at] = byte;
        }
        let len = elf.len();
        for (back, byte) in tail {
            elf[len - 1 - back] = byte;
        }
        if let Some(cut) = cut {
            elf.truncate(cut.index(len));
        }
        let options = ImageOptions::for_chip(chip()).source(source);
        if let Ok(image) = build_image(&elf, chip(), &options) {
            let report = esplice_image::inspect(&image.bytes, ChipDb::embedded());
            let broken = |(_, d): (_, &esplice_image::Defect)| {
                !d.is_remark() && !matches!(d, esplice_image::Defect::EntryOutside { .. })
            };
            prop_assert!(!report.all_defects().any(broken), "{report}");
        }
    }
}
