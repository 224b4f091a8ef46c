//! Images of programs linked as TinyGo does, compared with TinyGo's rule and checked by esptool.
//!
//! Addresses and section orders are TinyGo's (builder/esp.go; targets/esp32.ld, esp32s3.ld,
//! esp32c6.ld, esp32h2.ld).

use std::{collections::BTreeMap, sync::Arc};

use crate::support::{
    self, Job, Section, bss, descriptor, elf_with_symbols, esptool_images, esptool_info, noise,
    section,
};
use esplice_chip::{Chip, ChipDb};
use esplice_image::{
    AppDescriptor, AppImage, Extent, ImageError, ImageOptions, ImageWarning, RomOptions,
    build_app_of_rom_program, build_rom_image, inspect, is_rom_program, rom_program_chip,
};

const XTENSA: u16 = 94;
const RISC_V: u16 = 243;
const PAGE: usize = 0x1_0000;

fn chip(name: &str) -> &'static Arc<Chip> {
    ChipDb::embedded().find(name).expect("chip data")
}

fn rom_image(chip: &Chip, elf: &[u8]) -> Result<AppImage, ImageError> {
    build_rom_image(elf, chip, &RomOptions::for_chip(chip))
}

fn word(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize
}

/// Address of the data of an ESP32 and an ESP32-S3, and of the variables in it.
const DATA: u32 = 0x3fc8_9000;
const PLACES: [(&str, u32); 2] = [("_irom_flash_addr", DATA + 8), ("_drom_flash_addr", DATA + 12)];

fn s3_sections(text: usize, rodata: usize) -> Vec<Section> {
    let behind_text = 0x3c00_0000 + text.next_multiple_of(PAGE) as u32;
    vec![
        section(".rodata", behind_text, noise(1, rodata)),
        section(".data", DATA, noise(2, 18)),
        bss(".bss", DATA + 0x100, 0x100),
        section(".iram", 0x4037_8000, noise(3, 0x123)),
        section(".text", 0x4200_0000, noise(4, text)),
    ]
}

#[test]
fn code_and_data_of_an_esp32s3_stand_behind_what_its_rom_loads() {
    let (chip, dir) = (chip("esp32s3"), tempfile::tempdir().expect("directory"));
    // The last case has more data than the ROM accepts in a segment.
    for (text, rodata) in [(0x800, 0x400), (0x3_0000, 0x401), (0x3_0001, 7), (0x1000, 0x78_0000)] {
        let sections = s3_sections(text, rodata);
        let elf = elf_with_symbols(XTENSA, 0x4037_8000, &sections, &PLACES);
        assert!(is_rom_program(&elf, chip));
        let made = rom_image(chip, &elf).expect("image");
        assert_eq!(made.warnings, []);
        let image = &made.bytes;
        let addrs: Vec<u32> = made.segments.iter().map(|segment| segment.addr.0).collect();
        assert_eq!(addrs, [DATA, 0x4037_8000], "the ROM only sees the segments for RAM");

        let data = made.segments[0].offset;
        let (irom, drom) = (word(image, data + 8), word(image, data + 12));
        // The part that the ROM reads ends with a hash, in the first page.
        assert_eq!((irom, drom), (PAGE, PAGE + text.next_multiple_of(PAGE)), "{text:x} {rodata:x}");
        assert!(image[irom..irom + text] == sections[4].data);
        assert!(image[drom..drom + rodata] == sections[0].data);
        assert_eq!(image.len(), drom + rodata.next_multiple_of(4));
        let end = Extent::of(image).expect("whole").end;
        assert!(image[end..irom].iter().all(|byte| *byte == 0));
        assert!(
            inspect(image, ChipDb::embedded()).is_sound(),
            "{}",
            inspect(image, ChipDb::embedded())
        );
        if rodata < 0x1000 {
            let said = esptool_info(dir.path(), "esp32s3", image);
            assert!(said.contains("Checksum: ") && said.matches("(valid)").count() == 2, "{said}");
        }
    }
}

#[test]
fn code_of_an_esp32_stands_a_page_behind_its_data() {
    let (chip, dir) = (chip("esp32"), tempfile::tempdir().expect("directory"));
    let data_at = 0x3ffb_2000;
    let sections = |rodata: &[usize]| {
        let mut sections = vec![
            section(".data", data_at, noise(2, 0x20)),
            section(".iram", 0x4008_0000, noise(3, 0x1_0001)),
            section(".text", 0x400d_0000, noise(4, 0x2345)),
        ];
        let mut at = 0x3f40_0000;
        for (number, len) in (5..).zip(rodata) {
            sections.push(section(".rodata", at, noise(number, *len)));
            at += (*len as u32).next_multiple_of(4);
        }
        sections
    };
    let places = [("_drom_flash_addr", data_at + 0x1c)];
    // The image begins at 0x1000, and the part that the ROM loads is larger than a page.
    for (rodata, code) in [
        (&[][..], 0x3_0000),
        (&[1], 0x3_0000),
        (&[PAGE], 0x3_0000),
        (&[PAGE - 7, 2], 0x3_0000),
        (&[PAGE, 2], 0x4_0000),
    ] {
        let sections = sections(rodata);
        let elf = elf_with_symbols(XTENSA, 0x4008_0000, &sections, &places);
        assert!(is_rom_program(&elf, chip));
        let made = rom_image(chip, &elf).expect("image");
        let (image, data) = (&made.bytes, made.segments[0].offset);
        assert_eq!(word(image, data + 0x1c), 0x2_0000, "{rodata:x?}");
        let mut at = 0x2_0000 - 0x1000;
        for part in &sections[3..] {
            assert!(image[at..at + part.data.len()] == part.data, "{rodata:x?}");
            at = (at + part.data.len()).next_multiple_of(4);
        }
        assert!(image[code - 0x1000..].starts_with(&sections[2].data), "{rodata:x?}");
        assert!(
            inspect(image, ChipDb::embedded()).is_sound(),
            "{}",
            inspect(image, ChipDb::embedded())
        );
        let said = esptool_info(dir.path(), "esp32", image);
        assert!(said.matches("(valid)").count() == 2, "{said}");
    }
}

#[test]
fn what_the_start_code_would_not_find_is_refused() {
    let chip = chip("esp32s3");
    let refused = |sections: &[Section], symbols: &[(&str, u32)]| {
        let elf = elf_with_symbols(XTENSA, 0x4037_8000, sections, symbols);
        rom_image(chip, &elf).map(|_| ()).expect_err("refused").to_string()
    };
    let good = s3_sections(0x800, 0x400);
    let more = [&good[..], &[section(".rodata2", 0x3c02_0000, noise(9, 64))]].concat();
    let outside = [PLACES[1], ("_irom_flash_addr", 0x3fc9_9000)];
    let at_the_end = [PLACES[0], ("_drom_flash_addr", DATA + 18)];
    let cases = [
        (&good[1..], PLACES, "start code maps one section of data in flash, the ELF has 0"),
        (&good[..4], PLACES, "start code maps one section of code in flash, the ELF has 0"),
        (
            &more,
            PLACES,
            "start code maps one section of data in flash, the ELF has 2: .rodata, .rodata2",
        ),
        (
            &good,
            outside,
            "symbol _irom_flash_addr at 0x3fc99000 lies in no section that is loaded to RAM",
        ),
        (
            &good,
            at_the_end,
            "symbol _drom_flash_addr at 0x3fc89012 lies in no section that is loaded to RAM",
        ),
    ];
    for (sections, symbols, expected) in cases {
        assert_eq!(refused(sections, &symbols), expected);
    }
}

#[test]
fn an_app_for_the_bootloader_is_no_such_program() {
    let chip = chip("esp32s3");
    let mut sections = s3_sections(0x800, 0x400);
    let elf = |sections: &[Section], symbols: &[(&str, u32)]| {
        elf_with_symbols(XTENSA, 0x4037_8000, sections, symbols)
    };
    assert!(!is_rom_program(&elf(&sections, &[]), chip));
    assert!(is_rom_program(&elf(&sections, &PLACES), chip));
    sections.push(section(".flash.appdesc", 0x3c0f_0020, descriptor()));
    assert!(!is_rom_program(&elf(&sections, &PLACES), chip));
}

/// Returns a program for the ESP32-C6 or ESP32-H2 as linked by TinyGo's scripts: read-only data 8
/// MB after the code, each at its offset in the image.
fn c6() -> (Vec<Section>, Vec<u8>) {
    let (data, iram, text, rodata) = (0x128, 0x300, 0x1_2348, 0x3456);
    let text_at = 0x18 + (data + 8) + (iram + 8) + 8;
    let rodata_at = text_at + text + 8;
    let sections = vec![
        bss(".bss", 0x4080_1000, 0x100),
        section(".data", 0x4080_1100, noise(1, data as usize)),
        section(".iram", 0x4080_1100 + data, noise(2, iram as usize)),
        bss(".irom_dummy", 0x4200_0000, text_at),
        section(".text", 0x4200_0000 + text_at, noise(3, text as usize)),
        bss(".rodata_dummy", 0x4280_0000, rodata_at),
        section(".rodata", 0x4280_0000 + rodata_at, noise(4, rodata as usize)),
    ];
    let symbols = [("_start", 0x4200_0000 + text_at + 0x40)];
    let elf = elf_with_symbols(RISC_V, 0x4080_1100 + data, &sections, &symbols);
    (sections, elf)
}

#[test]
fn data_8_mb_behind_code_are_found_where_flash_begins_again() {
    ["esp32c6", "esp32h2"].into_iter().for_each(data_behind_the_end_are_found);
}

fn data_behind_the_end_are_found(name: &str) {
    let (chip, dir) = (chip(name), tempfile::tempdir().expect("directory"));
    let (sections, elf) = c6();
    assert!(is_rom_program(&elf, chip));
    let made = rom_image(chip, &elf).expect("image");
    assert_eq!(made.warnings, []);
    for part in [&sections[4], &sections[6]] {
        // A flash chip of 8 MB or less ignores the address's higher bits.
        let place = (part.addr - 0x4200_0000) as usize % (8 << 20);
        assert!(made.bytes[place..].starts_with(&part.data), "{}", part.name);
    }
    let said = esptool_info(dir.path(), name, &made.bytes);
    assert!(said.matches("(valid)").count() == 2, "{said}");

    // A larger one does not.
    let mut options = RomOptions::for_chip(chip);
    options.flash.size = 16 << 20;
    let warnings = build_rom_image(&elf, chip, &options).expect("image").warnings;
    assert!(
        matches!(warnings[..], [ImageWarning::MisplacedSegment { addr, .. }] if addr.0 >> 16 == 0x4281),
        "{warnings:?}"
    );
}

/// A program's addresses identify the chip that TinyGo linked it for. If two chips match, it is the
/// one with less RAM after the heap.
#[test]
fn a_program_is_known_by_its_addresses() {
    let (sections, _) = c6();
    let linked = |heap_end: u32| {
        let symbols = [("_start", sections[4].addr), ("_heap_end", heap_end)];
        elf_with_symbols(RISC_V, 0x4080_1228, &sections, &symbols)
    };
    let name =
        |elf: &[u8]| rom_program_chip(elf, ChipDb::embedded()).map(|chip| chip.name.as_str());
    assert_eq!(name(&linked(0x4088_0000)), Some("esp32c6"));
    assert_eq!(name(&linked(0x4087_e610)), Some("esp32c6"));
    assert_eq!(name(&linked(0x4085_0000)), Some("esp32h2"));
    assert_eq!(name(&linked(0x5000_0000)), None);
    let without_heap = elf_with_symbols(RISC_V, 0x4080_1228, &sections, &[]);
    assert_eq!(name(&without_heap), None, "two chips have memory there");
    let s3 = elf_with_symbols(XTENSA, 0x4037_8000, &s3_sections(0x800, 0x400), &PLACES);
    assert_eq!(name(&s3), Some("esp32s3"));
    let app = [section(".flash.appdesc", 0x3c00_0020, descriptor())];
    assert_eq!(name(&support::elf(&app, support::Options::default())), None);
}

/// Returns the bytes of an image by address.
fn memory(image: &[u8]) -> BTreeMap<u32, u8> {
    let extent = Extent::of(image).expect("whole");
    let mut memory = BTreeMap::new();
    for segment in extent.segments.iter().filter(|segment| segment.addr.0 != 0) {
        let bytes = &image[segment.offset..segment.offset + segment.len as usize];
        memory.extend((segment.addr.0..).zip(bytes.iter().copied()));
    }
    memory
}

#[test]
fn a_program_with_data_8_mb_behind_code_is_adopted_for_the_bootloader() {
    ["esp32c6", "esp32h2"].into_iter().for_each(program_is_adopted);
}

fn program_is_adopted(name: &str) {
    let (chip, dir) = (chip(name), tempfile::tempdir().expect("directory"));
    let start = chip.toolchain.tinygo.as_ref().and_then(|tinygo| tinygo.start.as_deref());
    let (sections, elf) = c6();
    let descriptor = AppDescriptor::named("hello", chip);
    let options = ImageOptions::for_chip(chip);
    let made = build_app_of_rom_program(&elf, chip, &options, start.expect("known"), &descriptor);
    let made = made.expect("image");
    assert_eq!(made.warnings, []);
    assert_eq!(made.header.entry.0, sections[4].addr + 0x40);
    let report = inspect(&made.bytes, ChipDb::embedded());
    assert!(report.is_sound(), "{report}");
    let said = esptool_info(dir.path(), name, &made.bytes);
    assert!(said.matches("(valid)").count() == 2, "{said}");
    assert_eq!(AppDescriptor::of_image(&made.bytes).expect("found").project_name, "hello");

    // ESP-IDF's bootloader maps two flash segments, each with its pages as they are in the image
    // (bootloader_utility.c, unpack_load_app).
    let flash: Vec<_> =
        made.segments.iter().filter(|segment| segment.addr.0 >= 0x4200_0000).collect();
    assert_eq!(flash.len(), 2);
    for segment in flash {
        assert_eq!(segment.addr.0 as usize % PAGE, segment.offset % PAGE);
    }

    // Each byte is at the same address as in esptool's image of the same ELF.
    let args = ["--chip", name, "elf2image", "--flash-mode", "dio", "--flash-size", "4MB"];
    let job = Job { elf: &elf, args: args.map(str::to_owned).to_vec() };
    let theirs = esptool_images(dir.path(), &[job]).remove(0).expect("esptool accepts it");
    assert!(memory(&made.bytes) == memory(&theirs));
}
