//! ELF shapes that linkers produce but esptool rejects or makes an unusable image of. If espflash
//! makes a valid image, ours is compared with it. ELF files that nothing can load are rejected.

use std::{path::Path, sync::Arc};

use crate::support::{
    self, Job, Options, Section, bss, descriptor, equals_espflashs, esptool_images, noise, section,
};
use esplice_chip::{Chip, ChipDb};
use esplice_image::{ImageOptions, build_image, inspect};
use object::elf;

fn chip(name: &str) -> &'static Arc<Chip> {
    ChipDb::embedded().find(name).expect("chip data")
}

fn elf_of(chip: &Chip, sections: &[Section]) -> Vec<u8> {
    let machine = elf::Machine(chip.elf_machine);
    support::elf(sections, Options { machine, ..Options::default() })
}

/// Returns a descriptor with an ESP-IDF version, which espflash requires.
fn appdesc(addr: u32) -> Section {
    let mut bytes = descriptor();
    bytes[112..116].copy_from_slice(b"v5.5");
    section(".flash.appdesc", addr, bytes)
}

/// Returns a section marked as code.
fn code(name: &'static str, addr: u32, data: Vec<u8>) -> Section {
    let flags = (elf::SHF_ALLOC.0 | elf::SHF_EXECINSTR.0) as u32;
    Section { flags, ..section(name, addr, data) }
}

/// Compares our image with espflash's, and inspects it.
#[track_caller]
fn equal(chip: &Chip, dir: &Path, what: &str, sections: &[Section]) {
    let elf = elf_of(chip, sections);
    equals_espflashs(chip, &elf, dir, what);
    let image = build_image(&elf, chip, &ImageOptions::for_chip(chip)).expect(what);
    let report = inspect(&image.bytes, ChipDb::embedded());
    assert!(report.is_sound(), "{} {what}: {report}", chip.name);
}

#[test]
fn sections_that_touch_are_joined_in_any_order_of_the_table() {
    let dir = tempfile::tempdir().expect("directory");
    for (name, drom, iram) in [
        ("esp32c3", 0x3c00_0000, 0x4038_0000),
        ("esp32c2", 0x3c00_0000, 0x4038_0000),
        ("esp32s3", 0x3c00_0000, 0x4037_8000),
    ] {
        let sections = [
            appdesc(drom + 0x20),
            code(".rwtext", iram + 0x400, noise(1, 0xcec)),
            section(".rodata", drom + 0x120, noise(2, 0x430)),
            section(".rodata.wifi", drom + 0x550, []),
            code(".vectors", iram, noise(3, 0x400)),
            code(".text", 0x4201_0020, noise(4, 0x1ff3)),
        ];
        let mut reversed = sections.clone();
        reversed.reverse();
        equal(chip(name), dir.path(), "touching, out of order", &sections);
        equal(chip(name), dir.path(), "touching, reversed", &reversed);
        let [appdesc, rwtext, rodata, .., text] = sections;
        equal(chip(name), dir.path(), "another one in between", &[text, rodata, rwtext, appdesc]);
    }
}

/// Read-only data and code in one address space, as esp-hal links them for chips with a single bus.
#[test]
fn gaps_in_a_page_are_kept() {
    let dir = tempfile::tempdir().expect("directory");
    for (name, flash, ram) in [
        ("esp32c6", 0x4200_0000, 0x4080_0000),
        ("esp32h2", 0x4200_0000, 0x4080_0000),
        ("esp32c5", 0x4200_0000, 0x4080_0000),
        ("esp32c61", 0x4200_0000, 0x4080_0000),
        ("esp32p4", 0x4000_0000, 0x4ff4_0000),
        ("esp32s31", 0x4000_0000, 0x2f01_0000),
    ] {
        for (gap, ram_len) in [
            (8, 32),
            (20, 32),
            (0x24, 32),
            (0x24, 0x14),
            (0x24, 0x18),
            (0x24, 0x4000),
            (0x28, 7),
            (0x100, 0x21),
            (0x5000, 0x333),
        ] {
            let text = flash + 0x6a4 + gap;
            let sections = [
                code(".trap", ram, noise(1, 0x45e)),
                section(".data", ram + 0x460, noise(2, ram_len)),
                appdesc(flash + 0x20),
                section(".rodata", flash + 0x120, noise(3, 0x584)),
                bss(".text_gap", flash + 0x6a4, gap),
                code(".text", text, noise(4, 0x2110)),
            ];
            equal(chip(name), dir.path(), &format!("gap of {gap:#x}, {ram_len} in RAM"), &sections);
        }
        // Read-only data that end in a later page, without RAM to fill the gap, and three parts.
        let sections = [
            appdesc(flash + 0x20),
            section(".rodata", flash + 0x120, noise(3, 0x1_2344)),
            code(".text", flash + 0x1_2488, noise(4, 0x2110)),
        ];
        equal(chip(name), dir.path(), "no RAM", &sections);
        let sections = [
            appdesc(flash + 0x20),
            section(".rodata", flash + 0x140, noise(3, 0x500)),
            section(".eh_frame", flash + 0x700, noise(5, 0x123)),
            code(".text", flash + 0x900, noise(4, 0x2110)),
        ];
        equal(chip(name), dir.path(), "three parts", &sections);
    }
    // Two windows onto one flash: code continues after the data in a page that both need.
    for name in ["esp32c3", "esp32c2", "esp32s3"] {
        for gap in [8, 0x24, 0x400] {
            let sections = [
                appdesc(0x3c00_0020),
                section(".rodata", 0x3c00_0120, noise(3, 0x584)),
                code(".text", 0x4200_06a4 + gap, noise(4, 0x2110)),
                section(".data", 0x3fcb_0000, noise(2, 0x60)),
            ];
            equal(chip(name), dir.path(), &format!("two windows, gap of {gap:#x}"), &sections);
        }
    }
}

/// If no segment header fits in between, espflash needs two pages of flash in one MMU page. Padding
/// the gap with zeros makes one segment of both, as esptool does if the linker wrote the zeros.
#[test]
fn gaps_too_small_for_a_header_are_filled() {
    let dir = tempfile::tempdir().expect("directory");
    let chip = chip("esp32c6");
    for gap in [1, 2, 3, 4, 7, 12, 16, 18, 0x46] {
        let (rodata, text) = (noise(3, 0x584), noise(4, 0x2110));
        let at = 0x4200_06a4 + gap;
        let head = [appdesc(0x4200_0020), section(".rodata", 0x4200_0120, rodata.clone())];
        let data = section(".data", 0x4080_0000, noise(2, 32));
        let ours = [&head[..], &[code(".text", at, text.clone()), data.clone()]].concat();
        let gap_of_zeros = section(".gap", 0x4200_06a4, vec![0; gap as usize]);
        let filled = [&rodata[..], &gap_of_zeros.data, &text].concat();
        let theirs = [head[0].clone(), code(".text", 0x4200_0120, filled), data];
        let elf = elf_of(chip, &ours);
        let entry = at;
        let machine = elf::Machine(chip.elf_machine);
        let theirs = support::elf(&theirs, Options { machine, entry, ..Options::default() });
        let args = ["--chip", "esp32c6", "elf2image", "--flash-mode", "dio", "--flash-freq", "80m"];
        let more = ["--flash-size", "4MB", "--max-rev-full", "65535"];
        let args = args.iter().chain(&more).map(|word| (*word).to_owned()).collect();
        let theirs = esptool_images(dir.path(), &[Job { elf: &theirs, args }]).remove(0);
        let theirs = theirs.expect("esptool accepts it");
        let ours = build_image(&elf, chip, &ImageOptions::for_chip(chip)).expect("image");
        assert!(
            inspect(&ours.bytes, ChipDb::embedded()).is_sound(),
            "gap {gap}: {}",
            inspect(&ours.bytes, ChipDb::embedded())
        );
        assert_eq!(ours.bytes.len(), theirs.len(), "gap {gap}");
        // All but the ELF's hash and the image's checksum and hash.
        let (len, checks) = (theirs.len() - 33, 0xb0..0xd0);
        let differs = |at: &usize| !checks.contains(at) && ours.bytes[*at] != theirs[*at];
        assert_eq!((0..len).find(differs), None, "gap {gap}");
    }
}

#[test]
fn odd_lengths_are_joined_before_they_are_filled() {
    let dir = tempfile::tempdir().expect("directory");
    for (lens, gaps) in [
        ([14, 10, 6], [0, 0]),
        ([14, 10, 6], [0, 2]),
        ([1, 2, 3], [0, 0]),
        ([5, 9, 2], [1, 3]),
        ([5, 9, 2], [3, 8]),
        ([82, 42, 7], [2, 1]),
    ] {
        for (name, base) in [("RAM", 0x4038_0000), ("flash", 0x4201_0020)] {
            let second: u32 = base + lens[0] + gaps[0];
            let third: u32 = second + lens[1] + gaps[1];
            // espflash begins a flash segment at an odd address, while such a gap is padded here.
            if name == "flash" && third > (second + lens[1]).next_multiple_of(4) {
                continue;
            }
            let mut sections = vec![
                appdesc(0x3c00_0020),
                code(".text", base, noise(1, lens[0] as usize)),
                code(".text2", second, noise(2, lens[1] as usize)),
                code(".text3", third, noise(3, lens[2] as usize)),
            ];
            if name == "RAM" {
                sections.push(code(".flash.text", 0x4201_0020, noise(4, 800)));
            }
            equal(chip("esp32c3"), dir.path(), &format!("{name} {lens:?} {gaps:?}"), &sections);
        }
    }
}

/// Sections for tools on the host have addresses too, which may be those of code.
#[test]
fn sections_that_take_no_memory_are_left_out() {
    let dir = tempfile::tempdir().expect("directory");
    let note = |name, addr| Section { flags: 0, ..section(name, addr, noise(5, 40)) };
    let sections = [
        appdesc(0x3c00_0020),
        code(".text", 0x4201_0020, noise(1, 800)),
        note(".defmt", 1),
        note(".embedded_test", 0x4201_0020),
        note(".other", 0x3fc9_0000),
    ];
    equal(chip("esp32c3"), dir.path(), "notes", &sections);
}

/// On the ESP32, segments that end shortly after a page start are padded. Both tools do this,
/// esptool only for that chip.
#[test]
fn the_last_page_of_an_esp32_is_not_left_short() {
    let dir = tempfile::tempdir().expect("directory");
    let chip = chip("esp32");
    for end in [0xfffc, 0x1_0000, 0x1_0004, 0x1_0020, 0x1_0024, 0x1_0028] {
        let sections = [
            appdesc(0x3f40_0020),
            section(".rodata", 0x3f40_0120, noise(3, end - 0x120)),
            code(".text", 0x400d_0020, noise(4, 0x2110)),
            section(".data", 0x3ffb_0000, noise(2, 0x60)),
        ];
        equal(chip, dir.path(), &format!("end at {end:#x}"), &sections);
        let elf = elf_of(chip, &sections);
        let args = "--chip esp32 elf2image --flash-mode dio --flash-freq 40m --flash-size 4MB \
                    --max-rev-full 65535";
        let args = args.split_whitespace().map(str::to_owned).collect();
        let theirs = esptool_images(dir.path(), &[Job { elf: &elf, args }]).remove(0);
        let ours = build_image(&elf, chip, &ImageOptions::for_chip(chip)).expect("image");
        assert!(theirs.as_ref() == Ok(&ours.bytes), "end at {end:#x}");
    }
}

/// Input that no loader can load or start is rejected with the sections' names. The same defect is
/// found in the image that esptool still makes.
#[test]
fn what_cannot_be_loaded_is_refused_and_found_in_images() {
    struct Case {
        chip: &'static str,
        sections: Vec<Section>,
        entry: u32,
        /// The build error, and the defect in esptool's image.
        said: [&'static str; 2],
    }
    let data = |addr, len| section(".data", addr, noise(2, len));
    let case = |chip, sections: &[Section], entry, said| {
        let (drom, text) = match chip {
            "esp32" => (0x3f40_0020, 0x400d_0020),
            "esp32c6" => (0x4200_0020, 0x4201_0020),
            _ => (0x3c00_0020, 0x4201_0020),
        };
        let mut all = vec![appdesc(drom), code(".text", text, noise(1, 800))];
        all.extend_from_slice(sections);
        Case { chip, sections: all, entry, said }
    };
    let cases = [
        case(
            "esp32c3",
            &[data(0x3fc8_0000, 64), section(".data2", 0x3fc8_0020, noise(3, 64))],
            0,
            [
                ".data at 0x3fc80000 of 64 bytes and .data2 at 0x3fc80020 of 64 bytes share 32 bytes of \
                 sram",
                "segment 1 at 0x3fc80000 and segment 2 at 0x3fc80020 share 32 bytes of sram",
            ],
        ),
        // 0x40380000 is 0x3fc80000 on the other bus.
        case(
            "esp32c3",
            &[data(0x3fc8_0000, 64), code(".rwtext", 0x4038_0000, noise(3, 256))],
            0,
            [
                ".data at 0x3fc80000 of 64 bytes and .rwtext at 0x40380000 of 256 bytes share 64 bytes of \
                 sram",
                "segment 1 at 0x3fc80000 and segment 2 at 0x40380000 share 64 bytes of sram",
            ],
        ),
        // An overlap of four bytes, as TinyGo's script may leave it.
        case(
            "esp32c3",
            &[data(0x3fc8_1000, 0x180), code(".iram", 0x4038_117c, noise(3, 0x100))],
            0,
            [
                ".data at 0x3fc81000 of 384 bytes and .iram at 0x4038117c of 256 bytes share 4 bytes of \
                 sram",
                "segment 1 at 0x3fc81000 and segment 2 at 0x4038117c share 4 bytes of sram",
            ],
        ),
        case(
            "esp32s3",
            &[data(0x3fc8_8000, 64), code(".rwtext", 0x4037_8000, noise(3, 256))],
            0,
            [
                ".data at 0x3fc88000 of 64 bytes and .rwtext at 0x40378000 of 256 bytes share 64 bytes of \
                 sram",
                "segment 1 at 0x3fc88000 and segment 2 at 0x40378000 share 64 bytes of sram",
            ],
        ),
        // SRAM1 of the ESP32, whose words are in reverse order on the instruction bus.
        case(
            "esp32",
            &[data(0x3ffe_0000, 64), code(".rwtext", 0x400b_ffe0, noise(3, 32))],
            0,
            [
                ".data at 0x3ffe0000 of 64 bytes and .rwtext at 0x400bffe0 of 32 bytes share 32 bytes of \
                 sram12",
                "segment 1 at 0x3ffe0000 and segment 2 at 0x400bffe0 share 32 bytes of sram12",
            ],
        ),
        case(
            "esp32c6",
            &[data(0x4080_0000, 64), section(".data2", 0x4080_0010, noise(3, 8))],
            0,
            [
                ".data at 0x40800000 of 64 bytes and .data2 at 0x40800010 of 8 bytes share 8 bytes of sram",
                "segment 1 at 0x40800000 and segment 2 at 0x40800010 share 8 bytes of sram",
            ],
        ),
        // Both windows share the MMU's entries, which esptool ignores.
        case(
            "esp32c3",
            &[section(".rodata", 0x3c01_0020, noise(3, 64))],
            0,
            [
                ".rodata at 0x3c010020 and .text at 0x42010020 need the same MMU page of 0x10000 bytes",
                "need the same MMU page of 0x10000 bytes",
            ],
        ),
        case(
            "esp32c3",
            &[data(0x3fc8_0000, 64)],
            0x4205_0020,
            [
                "entry point 0x42050020 is outside every loaded section; code is in .text at 0x42010020 of \
                 800 bytes",
                "entry point 0x42050020 is in no executable segment",
            ],
        ),
        case(
            "esp32c3",
            &[data(0x3fc8_0000, 64)],
            0x3fc8_0000,
            [
                "entry point 0x3fc80000 is in .data, which is not executable; code is in .text at \
                 0x42010020 of 800 bytes",
                "entry point 0x3fc80000 is in no executable segment",
            ],
        ),
        // In an executable region, but after the program's last byte.
        case(
            "esp32c6",
            &[data(0x4080_0000, 64)],
            0x4080_0040,
            [
                "entry point 0x40800040 is outside every loaded section; code is in .text at 0x42010020 of \
                 800 bytes",
                "entry point 0x40800040 is in no executable segment",
            ],
        ),
    ];
    let dir = tempfile::tempdir().expect("directory");
    let elfs: Vec<Vec<u8>> = cases
        .iter()
        .map(|case| {
            let machine = elf::Machine(chip(case.chip).elf_machine);
            let options = Options { machine, entry: case.entry, ..Options::default() };
            support::elf(&case.sections, options)
        })
        .collect();
    let args = |chip: &str| ["--chip", chip, "elf2image", "--flash-size", "4MB"].map(str::to_owned);
    let jobs: Vec<Job> = cases
        .iter()
        .zip(&elfs)
        .map(|(case, elf)| Job { elf, args: args(case.chip).to_vec() })
        .collect();
    let theirs = esptool_images(dir.path(), &jobs);
    for ((case, elf), theirs) in cases.iter().zip(&elfs).zip(theirs) {
        let chip = chip(case.chip);
        let [building, reading] = case.said;
        let error = build_image(elf, chip, &ImageOptions::for_chip(chip)).expect_err(building);
        assert_eq!(error.to_string(), building, "{}", case.chip);
        assert!(error.hint().is_some(), "{building}");
        let report = inspect(
            &theirs.unwrap_or_else(|said| panic!("{building}: esptool: {said}")),
            ChipDb::embedded(),
        );
        assert!(!report.is_sound(), "{building}: {report}");
        let defects: Vec<String> = report.all_defects().map(|(_, d)| d.to_string()).collect();
        assert!(defects.iter().any(|defect| defect.ends_with(reading)), "{reading}: {defects:#?}");
    }
}

/// An entry point in data is also found on chips whose whole RAM is executable.
#[test]
fn an_entry_point_in_data_is_refused_by_the_sections_flags() {
    let chip = chip("esp32c6");
    let sections = [
        appdesc(0x4200_0020),
        code(".text", 0x4201_0020, noise(1, 800)),
        section(".data", 0x4080_0000, noise(2, 64)),
    ];
    let options = Options { entry: 0x4080_0010, ..Options::default() };
    let error = build_image(&support::elf(&sections, options), chip, &ImageOptions::for_chip(chip));
    assert_eq!(
        error.expect_err("refused").to_string(),
        "entry point 0x40800010 is in .data, which is not executable; code is in .text at 0x42010020 of \
         800 bytes",
    );
}
