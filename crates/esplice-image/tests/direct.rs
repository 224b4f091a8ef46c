//! Compares images without a header, which the ROM executes in place, with `objcopy -O binary`.

use std::{process::Command, sync::Arc};

use crate::support::{self, Options, Section, bss, noise, section};
use esplice_chip::{Addr, Chip, ChipDb};
use esplice_image::{
    BootLayout, Content, FlashParams, ImageError, ImageWarning, build_direct_image,
    make_direct_plan,
};
use object::elf;

const MAGIC: [u8; 8] = [0x1d, 0x04, 0xdb, 0xae, 0x1d, 0x04, 0xdb, 0xae];

fn chip() -> &'static Arc<Chip> {
    ChipDb::embedded().find("esp32c3").expect("chip data")
}

fn at(load: u32, section: Section) -> Section {
    Section { load: Some(load), ..section }
}

fn elf_of(sections: &[Section]) -> Vec<u8> {
    support::elf(sections, Options { entry: 0x4200_0008, ..Options::default() })
}

/// Returns a program linked like the vendor's example: load addresses count up in flash.
fn program() -> Vec<Section> {
    let mut text = MAGIC.to_vec();
    text.extend(noise(1, 0x1235));
    vec![
        at(0, section(".text", 0x4200_0000, text)),
        at(0x1_0020, section(".rodata", 0x3c01_0020, noise(2, 0x321))),
        at(0x1_0400, section(".data", 0x3fc8_8000, noise(3, 77))),
        at(0x1_0450, section(".iram", 0x4038_9000, noise(4, 128))),
        bss(".bss", 0x3fc8_9000, 0x400),
    ]
}

#[test]
fn images_equal_objcopys() {
    let cases = [
        ("a program with all kinds of sections", program()),
        ("only code", program()[..1].to_vec()),
        ("out of order", vec![program()[2].clone(), program()[0].clone(), program()[1].clone()]),
    ];
    let dir = tempfile::tempdir().expect("directory");
    for (name, sections) in cases {
        let elf = elf_of(&sections);
        let (input, output) = (dir.path().join("app.elf"), dir.path().join("app.bin"));
        std::fs::write(&input, &elf).expect("write the ELF");
        // The host's objcopy may not support the ELF's machine, so the ELF is read as a generic
        // one.
        let said = Command::new("objcopy")
            .args(["-I", "elf32-little", "-O", "binary"])
            .args([&input, &output])
            .output()
            .unwrap_or_else(|e| panic!("this test compares with objcopy: {e}; install binutils"));
        assert!(said.status.success(), "{name}: {said:?}");
        let theirs = std::fs::read(&output).expect("read objcopy's image");
        let ours = build_direct_image(&elf, chip()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(ours.bytes.len(), theirs.len(), "{name}");
        assert!(ours.bytes == theirs, "{name}");
        assert_eq!(ours.warnings, [], "{name}");
        assert_eq!(Content::of(&ours.bytes), Content::DirectImage, "{name}");
    }
}

/// The plan writes the image to the start of flash. A load address in a flash window means the
/// offset mapped there.
#[test]
fn the_plan_is_the_image_at_the_start_of_flash() {
    let windows: Vec<Section> =
        program()[..2].iter().map(|section| Section { load: None, ..section.clone() }).collect();
    let in_windows = build_direct_image(&elf_of(&windows), chip()).expect("image");
    let image = build_direct_image(&elf_of(&program()[..2]), chip()).expect("image");
    assert_eq!(in_windows.bytes, image.bytes);
    let flash = FlashParams::for_chip(chip());
    let plan = make_direct_plan(chip(), &image.bytes, &flash, None).expect("plan");
    assert_eq!(plan.boot, BootLayout::Direct);
    assert_eq!((plan.writes.len(), plan.writes[0].offset.0), (1, 0));
    let small = FlashParams { size: 0x1_0000, ..flash };
    assert!(make_direct_plan(chip(), &image.bytes, &small, None).is_err());
}

#[test]
fn what_the_rom_would_not_run_is_refused() {
    let refused = |sections: &[Section]| build_direct_image(&elf_of(sections), chip()).unwrap_err();
    let no_magic = [at(0, section(".text", 0x4200_0000, noise(1, 100)))];
    let error = refused(&no_magic);
    assert!(matches!(&error, ImageError::NoDirectMagic { .. }), "{error}");
    assert!(error.hint().is_some());
    let mut moved = program();
    moved[1].load = Some(0x1_0040);
    let error = refused(&moved);
    let said = "segment 1 at 0x3c010020 is at 0x10040 in flash, but its address maps 0x10020";
    assert_eq!(error.to_string(), said);
    let mut over = program();
    over[2].load = Some(0x1000);
    let error = refused(&over);
    assert!(matches!(&error, ImageError::LoadsOverlap { place: 0x1000, .. }), "{error}");
    let mut far = program();
    far[2].load = Some(0x3fc8_8000);
    let error = refused(&far);
    assert!(
        matches!(&error, ImageError::OutsideRegions { addr: Addr(0x3fc8_8000), .. }),
        "{error}"
    );
    let empty = [bss(".bss", 0x3fc8_9000, 0x400)];
    assert!(matches!(refused(&empty), ImageError::NoContent));

    let other = ChipDb::embedded().find("esp32").expect("chip data");
    let options = Options { machine: elf::EM_XTENSA, ..Options::default() };
    let error = build_direct_image(&support::elf(&program(), options), other).unwrap_err();
    let said = "ESP32 is not known to boot a program in place, without an image header";
    assert_eq!(error.to_string(), said);
}

#[test]
fn another_entry_point_is_warned_of() {
    let elf = support::elf(&program(), Options { entry: 0x4200_0100, ..Options::default() });
    let warnings = build_direct_image(&elf, chip()).expect("image").warnings;
    let (entry, started) = (Addr(0x4200_0100), Addr(0x4200_0008));
    assert_eq!(warnings, [ImageWarning::EntryNotStarted { entry, started }]);
}
