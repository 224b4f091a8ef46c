//! Compares every chip's app images with esptool's, byte by byte: ELF files at each chip's
//! addresses, with all header options.

use std::{collections::BTreeMap, io::Write as _};

use crate::support::{
    self, Job, Options, Section, bss, descriptor, equals_espflashs, esptool_images, noise, section,
};
use esplice_chip::{Chip, ChipDb, RegionKind};
use esplice_image::{
    AppImage, FlashMode, FlashParams, ImageOptions, ImageSource, SecurePad, build_image,
};
use object::elf;

/// Description of a case, its ELF, and the options for both sides.
struct Case<'c> {
    name: String,
    chip: &'c Chip,
    elf: Vec<u8>,
    options: ImageOptions,
}

/// Minimum number of cases, so that a shrinking table is noticed.
const LEAST_CASES: usize = 150;
const LEAST_CASES_A_CHIP: usize = 48;

#[test]
fn images_equal_esptools() {
    let chips: Vec<_> = ChipDb::embedded().chips().collect();
    let cases: Vec<Case> = chips
        .iter()
        .flat_map(|chip| [shapes(chip), headers(chip), signatures(chip)])
        .flatten()
        .collect();
    assert!(cases.len() >= LEAST_CASES, "only {} cases", cases.len());
    assert!(cases.len() >= LEAST_CASES_A_CHIP * chips.len(), "only {} cases", cases.len());
    let dir = tempfile::tempdir().expect("directory");
    let jobs: Vec<Job> =
        cases.iter().map(|case| Job { elf: &case.elf, args: esptool_args(case) }).collect();
    let mut wrong = Vec::new();
    for (case, theirs) in cases.iter().zip(esptool_images(dir.path(), &jobs)) {
        let ours = build_image(&case.elf, case.chip, &case.options);
        let what = match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => {
                if ours.bytes == theirs {
                    goblin_agrees(case, &ours);
                    continue;
                }
                let place = ours.bytes.iter().zip(&theirs).position(|(a, b)| a != b);
                let lens = (ours.bytes.len(), theirs.len());
                format!("first difference at {place:x?}, lengths {lens:x?}, {:x?}", ours.segments)
            }
            (Ok(_), Err(said)) => format!("only esptool rejects it: {said}"),
            (Err(error), Ok(_)) => format!("only we reject it: {error}"),
            (Err(error), Err(said)) => format!("both reject it: {error}; {said}"),
        };
        wrong.push(format!("{} {}: {what}", case.chip.name, case.name));
    }
    assert!(wrong.is_empty(), "{} of {} cases: {wrong:#?}", wrong.len(), cases.len());
    // Written past the test harness's capture, so that every run's output contains it.
    let stated = format!(
        "{} images of {} chips equal esptool's byte for byte, and goblin agrees on their ELFs\n",
        cases.len(),
        chips.len()
    );
    std::io::stderr().write_all(stated.as_bytes()).expect("standard error");
}

/// Checks each ELF with another parser: every byte that goblin finds for an address is in the image
/// at that address, and the image has no other bytes.
fn goblin_agrees(case: &Case<'_>, image: &AppImage) {
    let what = format!("{} {}", case.chip.name, case.name);
    let elf = goblin::elf::Elf::parse(&case.elf).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(elf.entry, u64::from(image.header.entry.0), "{what}");
    assert_eq!(elf.header.e_machine, case.chip.elf_machine, "{what}");
    let pieces: Vec<(u64, std::ops::Range<usize>)> = match image.source {
        ImageSource::ProgramHeaders => elf
            .program_headers
            .iter()
            .filter(|segment| segment.p_type == goblin::elf::program_header::PT_LOAD)
            .map(|segment| (segment.p_paddr, segment.file_range()))
            .collect(),
        _ => elf
            .section_headers
            .iter()
            .filter(|section| matches!(section.sh_type, 1 | 14 | 15 | 16) && section.is_alloc())
            .filter_map(|section| Some((section.sh_addr, section.file_range()?)))
            .collect(),
    };
    let pieces = pieces.iter().filter(|(addr, range)| *addr != 0 && !range.is_empty());
    let mut expected = BTreeMap::new();
    for (addr, range) in pieces {
        for (place, byte) in (*addr..).zip(&case.elf[range.clone()]) {
            assert_eq!(expected.insert(place, *byte), None, "{what}: two bytes at {place:#x}");
        }
    }
    let mut surplus = 0;
    for segment in image.segments.iter().filter(|segment| segment.addr.0 != 0) {
        let bytes = &image.bytes[segment.offset..segment.offset + segment.len as usize];
        for (place, byte) in (u64::from(segment.addr.0)..).zip(bytes) {
            let hash = image.elf_sha256_patched
                && segment.offset == 0x20
                && (0x90..0xb0).contains(&(place - u64::from(segment.addr.0)));
            match expected.remove(&place) {
                Some(found) => assert!(hash || found == *byte, "{what}: at {place:#x}"),
                // Padding to multiples of 4.
                None => {
                    assert_eq!(*byte, 0, "{what}: at {place:#x}");
                    surplus += 1;
                }
            }
        }
    }
    assert!(expected.is_empty(), "{what}: {} bytes are not loaded", expected.len());
    assert!(surplus <= 3 * 8, "{what}: {surplus} bytes of padding");
}

/// For chips that espflash supports, it makes the same image of an ELF with a descriptor.
#[test]
fn espflash_agrees() {
    let dir = tempfile::tempdir().expect("directory");
    let mut judged = 0;
    for chip in ChipDb::embedded().chips().filter(|chip| !ESPFLASH_LACKS.contains(&&*chip.name)) {
        let at = Places::of(chip);
        let mut descriptor = descriptor();
        // espflash requires an ESP-IDF version there, and a page size that it knows.
        descriptor[112..116].copy_from_slice(b"v5.5");
        let sections = [
            section(".flash.appdesc", at.rodata + 0x20, descriptor),
            section(".rodata", at.rodata + 0x120, noise(1, 0x1234)),
            section(".text", at.text + 0x20, noise(2, 0x4321)),
            section(".data", at.data, noise(3, 0x333)),
            section(".rwtext", at.rwtext, noise(4, 0x100)),
            bss(".bss", at.data + 0x1000, 4096),
        ];
        equals_espflashs(chip, &elf_of(chip, &sections), dir.path(), "with a descriptor");
        judged += 1;
    }
    assert!(judged >= 12, "{judged} chips were compared with espflash");
}

/// Chips that espflash 4.7 does not support.
const ESPFLASH_LACKS: &[&str] = &["esp32h21"];

/// Cases that the hardware accepts but that esptool rejects or handles differently. They are
/// compared with espflash.
#[test]
fn where_esptool_is_wrong_espflash_judges() {
    let dir = tempfile::tempdir().expect("directory");
    let mut descriptor = descriptor();
    descriptor[112..116].copy_from_slice(b"v5.5");
    let cases = [(
        "the ESP32-C61 maps 32 MiB of flash (esp-metadata-generated, memory_layout); esptool knows \
         16 of them, takes the rest for RAM, and does not align it to its MMU page",
        "esp32c61",
        vec![
            section(".flash.appdesc", 0x4200_0020, descriptor),
            section(".text", 0x4301_0020, noise(2, 3000)),
            section(".data", 0x4081_0000, noise(3, 300)),
        ],
    )];
    for (why, name, sections) in cases {
        let chip = ChipDb::embedded().find(name).expect("chip data");
        let elf = elf_of(chip, &sections);
        let options = ImageOptions::for_chip(chip);
        let case = Case { name: why.into(), chip, elf, options };
        let jobs = [Job { elf: &case.elf, args: esptool_args(&case) }];
        let esptools = esptool_images(dir.path(), &jobs).remove(0);
        let ours = build_image(&case.elf, chip, &case.options).expect(why);
        assert_ne!(esptools, Ok(ours.bytes), "esptool now makes the same image: {why}");
        equals_espflashs(chip, &case.elf, dir.path(), why);
    }
}

/// Two sections in one MMU page, with a gap that holds no segment header, become one segment.
/// esptool does the same with --use-segments if the linker wrote one program header for both.
#[test]
fn a_small_gap_in_a_page_is_filled() {
    let dir = tempfile::tempdir().expect("directory");
    let mut compared = 0;
    for chip in ChipDb::embedded().chips() {
        let at = Places::of(chip);
        let mut bytes = noise(1, 0x300);
        bytes[0x1f0..0x200].fill(0);
        let sections = [(0, 0x1f0), (0x200, 0x100)];
        let elf =
            support::elf_with_one_segment_of(chip.elf_machine, at.text + 0x20, &bytes, &sections);
        let usual = ImageOptions::for_chip(chip);
        let ours = build_image(&elf, chip, &usual).expect("image");
        assert_eq!(ours.source, ImageSource::Sections);
        let headers = usual.clone().source(ImageSource::ProgramHeaders);
        let sections = usual.source(ImageSource::Sections);
        let case = |options| Case { name: String::new(), chip, elf: elf.clone(), options };
        let args = [esptool_args(&case(sections)), esptool_args(&case(headers))];
        let jobs = args.map(|args| Job { elf: &elf, args });
        let theirs = esptool_images(dir.path(), &jobs);
        assert!(theirs[0].is_err(), "{}: esptool makes an image of the sections", chip.name);
        assert!(theirs[1].as_ref() == Ok(&ours.bytes), "{}", chip.name);
        compared += 1;
    }
    assert!(compared >= 13, "{compared} chips");
}

/// Only the ESP32 has Secure Boot v1. For other chips esptool ignores the option.
#[test]
fn padding_for_a_secure_boot_that_is_not_there_is_refused() {
    for chip in ChipDb::embedded().chips() {
        let at = Places::of(chip);
        let elf = elf_of(chip, &[section(".text", at.text + 0x20, noise(2, 100))]);
        let secure_pad = Some(SecurePad::V1);
        let ours = build_image(&elf, chip, &ImageOptions::for_chip(chip).secure_pad(secure_pad));
        match ours {
            Ok(_) => assert_eq!(chip.name, "esp32"),
            Err(error) => {
                let expected = format!("{} has no Secure Boot v1", chip.display_name);
                assert_eq!(error.to_string(), expected);
            }
        }
    }
}

/// Input that both reject, at each chip's addresses.
#[test]
fn what_cannot_run_is_refused_by_both() {
    let dir = tempfile::tempdir().expect("directory");
    for chip in ChipDb::embedded().chips() {
        let at = Places::of(chip);
        let many: Vec<Section> =
            (0..20).map(|i| section(".rwtext", at.rwtext + 64 * i, noise(i + 1, 16))).collect();
        let unaligned = [section(".text", at.text + 0x22, noise(1, 100))];
        for (name, sections) in [("unaligned", &unaligned[..]), ("many", &many)] {
            let options = ImageOptions::for_chip(chip).source(ImageSource::Sections);
            let elf = elf_of(chip, sections);
            let case = Case { name: name.into(), chip, elf, options };
            let jobs = [Job { elf: &case.elf, args: esptool_args(&case) }];
            let theirs = esptool_images(dir.path(), &jobs).remove(0);
            assert!(theirs.is_err(), "{} {name}: esptool makes an image", chip.name);
            let ours = build_image(&case.elf, chip, &case.options);
            assert!(ours.is_err(), "{} {name}: we make an image", chip.name);
        }
    }
}

/// A chip's addresses for each kind of section, with free space after each.
struct Places {
    rodata: u32,
    text: u32,
    data: u32,
    rwtext: u32,
    rtc: Option<u32>,
}

impl Places {
    fn of(chip: &Chip) -> Self {
        let find = |kind, execute| {
            let mut regions = chip.regions.iter().filter(|r| r.kind == kind && r.key != "rtc-fast");
            let exact = regions.clone().find(|r| r.access.execute == execute);
            exact.or_else(|| regions.next()).expect("a region").clone()
        };
        let (code, data) = (find(RegionKind::Ram, true), find(RegionKind::Ram, false));
        let one_bus = code.key == data.key;
        Self {
            rodata: find(RegionKind::Flash, false).addr.0,
            text: find(RegionKind::Flash, true).addr.0 + 0x20_0000,
            // After the memory of the caches, and after the code, which may be in the same memory.
            data: data.addr.0 + if one_bus { 0x2_0000 } else { 0x1_4000 },
            rwtext: code.addr.0 + 0x8000,
            rtc: chip.region("rtc-fast").map(|region| region.addr.0),
        }
    }
}

/// Returns ELF files of every shape, with the chip's default header.
fn shapes(chip: &Chip) -> Vec<Case<'_>> {
    let at = Places::of(chip);
    let page = chip.image.mmu_page_sizes[0];
    let rodata = |offset: u32, len| section(".rodata", at.rodata + offset, noise(1, len));
    let text = |offset: u32, len| section(".text", at.text + offset, noise(2, len));
    let data = |offset: u32, len| section(".data", at.data + offset, noise(3, len));
    let rwtext = |offset: u32, len| section(".rwtext", at.rwtext + offset, noise(4, len));
    let array = Section {
        kind: elf::SHT_INIT_ARRAY,
        ..section(".init_array", at.rodata + 0x124, noise(5, 8))
    };
    let appdesc = |offset: u32| section(".flash.appdesc", at.rodata + offset, descriptor());
    let mut shapes = vec![
        (
            "gaps and unaligned ends",
            vec![
                rwtext(0, 1021),
                data(0, 333),
                data(0x400, 2),
                bss(".bss", at.data + 0x1000, 4096),
                rodata(0x20, 4097),
                text(0x20, 9999),
            ],
        ),
        (
            "several sections per segment",
            vec![
                rwtext(0, 0x100),
                rwtext(0x100, 0x33),
                rwtext(0x134, 0x80),
                appdesc(0x20),
                section(".rodata.merge", at.rodata + 0x120, noise(6, 3)),
                array,
                rodata(0x12c, 0x1234),
                text(0x20, 0x4321),
                section(".comment", 0, noise(7, 40)),
            ],
        ),
        (
            "a section across a page",
            vec![rodata(0x20, 0x1_2345), text(0x20, 0x2_0010), data(0, 0x9000), rwtext(0, 0x9000)],
        ),
        (
            "the descriptor comes first",
            vec![text(0x20, 3000), rodata(0x20, 700), data(0, 300), appdesc(page + 0x20)],
        ),
        ("RAM only", vec![rwtext(0, 1000), data(0, 500), bss(".bss", at.data + 0x1000, 100)]),
        ("flash only", vec![appdesc(0x20), text(0x20, 5000)]),
        ("only text", vec![text(0x20, 77)]),
        ("out of order", vec![data(0, 40), text(page + 0x20, 50), rwtext(0, 60), rodata(0x20, 70)]),
        ("RAM fills the gap", vec![rodata(0x20, 100), text(0x20, 100), rwtext(0, 0xff74)]),
        ("RAM just too long", vec![rodata(0x20, 100), text(0x20, 100), rwtext(0, 0xff90)]),
        ("page start", vec![text(0, 100), data(0, 60)]),
        ("after page start", vec![text(0x18, 100), data(0, 60)]),
        ("before page end", vec![text(page - 0x10, 100), data(0, 60)]),
    ];
    if let Some(rtc) = at.rtc {
        shapes.push(("RTC memory", vec![section(".rtc", rtc, noise(8, 7)), text(0x20, 100)]));
    }
    let mut cases = Vec::new();
    for (name, sections) in &shapes {
        for source in [ImageSource::Sections, ImageSource::ProgramHeaders] {
            cases.push(Case {
                name: format!("{name}, {source:?}"),
                chip,
                elf: elf_of(chip, sections),
                options: ImageOptions::for_chip(chip).source(source),
            });
        }
    }
    // Data with different run and load addresses. Program headers contain the load address.
    let loaded = Section { load: Some(at.data + 0x4000), ..data(0, 200) };
    cases.push(Case {
        name: "different load and run address".into(),
        chip,
        elf: elf_of(chip, &[text(0x20, 100), loaded]),
        options: ImageOptions::for_chip(chip).source(ImageSource::ProgramHeaders),
    });
    cases
}

/// Returns an ELF with every flash mode, frequency, size and MMU page size of the chip, and with
/// revisions.
fn headers(chip: &Chip) -> Vec<Case<'_>> {
    let at = Places::of(chip);
    let usual = ImageOptions::for_chip(chip).source(ImageSource::Sections);
    let sections = |page: Option<u32>, text: u32| {
        let mut descriptor = descriptor();
        descriptor[180] = page.map_or(0, |page| page.trailing_zeros() as u8);
        [
            section(".flash.appdesc", at.rodata + 0x20, descriptor),
            section(".text", at.text + text, noise(2, 3000)),
            section(".data", at.data, noise(3, 300)),
        ]
    };
    let mut cases = Vec::new();
    let mut push = |name: String, page, text, options| {
        let elf = elf_of(chip, &sections(page, text));
        cases.push(Case { name, chip, elf, options });
    };
    for mode in [FlashMode::Qio, FlashMode::Qout, FlashMode::Dio, FlashMode::Dout] {
        let flash = FlashParams { mode, ..usual.flash.clone() };
        push(format!("mode {mode}"), None, 0x20, usual.clone().flash(flash));
    }
    for freq in chip.image.flash_frequencies.keys() {
        let flash = FlashParams { freq: freq.clone(), ..usual.flash.clone() };
        push(format!("frequency {freq}"), None, 0x20, usual.clone().flash(flash));
    }
    for name in chip.image.flash_sizes.keys() {
        let size = esplice_chip::parse_size(name).expect("a size");
        let flash = FlashParams { size, ..usual.flash.clone() };
        push(format!("size {name}"), None, 0x20, usual.clone().flash(flash));
    }
    for (min_rev, max_rev) in [(0, 99), (3, 199), (100, 399), (301, 65535)] {
        let options = usual.clone().min_rev(min_rev).max_rev(max_rev);
        push(format!("revisions {min_rev} to {max_rev}"), None, 0x20, options);
    }
    let pages = &chip.image.mmu_page_sizes;
    for page in pages {
        // The descriptor's page size, with text one small page further on, and an option that
        // overrides it.
        push(format!("descriptor's page {page:#x}"), Some(*page), page + 0x20, usual.clone());
        // esptool's option has no larger sizes, though it accepts them in a descriptor.
        if *page > 0x1_0000 {
            continue;
        }
        let options = usual.clone().mmu_page_size(Some(*page));
        push(format!("page {page:#x}"), Some(pages[0]), page + 0x20, options);
    }
    cases
}

/// Returns images to be signed that end at every position in a block and around a page boundary.
fn signatures(chip: &Chip) -> Vec<Case<'_>> {
    let at = Places::of(chip);
    let page = chip.image.mmu_page_sizes[0] as usize;
    let mut cases = Vec::new();
    let pads = if chip.image.secure_boot_v1 {
        &[SecurePad::V1, SecurePad::V2][..]
    } else {
        &[SecurePad::V2][..]
    };
    for pad in pads {
        for len in [100, 104, 108, 112, page - 0x100, page - 0x40, page - 0x3c] {
            cases.push(Case {
                name: format!("{len:#x} bytes and {pad:?}"),
                chip,
                elf: elf_of(chip, &[section(".text", at.text + 0x20, noise(2, len))]),
                options: ImageOptions::for_chip(chip)
                    .secure_pad(Some(*pad))
                    .source(ImageSource::Sections),
            });
        }
    }
    cases
}

fn elf_of(chip: &Chip, sections: &[Section]) -> Vec<u8> {
    let machine = elf::Machine(chip.elf_machine);
    support::elf(sections, Options { machine, ..Options::default() })
}

fn esptool_args(case: &Case<'_>) -> Vec<String> {
    let ImageOptions { flash, min_rev, max_rev, source, mmu_page_size, secure_pad, .. } =
        &case.options;
    let (_, size) = case.chip.image.flash_size_code(flash.size).expect("a size");
    let mut args: Vec<String> =
        ["--chip", &case.chip.name, "elf2image", "--flash-mode", flash.mode.name()]
            .map(str::to_owned)
            .into();
    args.extend(["--flash-freq".into(), flash.freq.clone(), "--flash-size".into(), size.into()]);
    args.extend(["--min-rev-full".into(), min_rev.to_string()]);
    args.extend(["--max-rev-full".into(), max_rev.to_string()]);
    if *source == ImageSource::ProgramHeaders {
        args.push("--use-segments".into());
    }
    match secure_pad {
        Some(SecurePad::V1) => args.push("--secure-pad".into()),
        Some(SecurePad::V2) => args.push("--secure-pad-v2".into()),
        None => {}
    }
    // esptool accepts this option only for chips with several page sizes.
    if let Some(page) = mmu_page_size.filter(|_| case.chip.image.mmu_page_sizes.len() > 1) {
        args.extend(["--flash-mmu-page-size".into(), format!("{}KB", page >> 10)]);
    }
    args
}
