//! Compares app images with esptool's, byte by byte.

use crate::support::{self, Options, Section, bss, descriptor, esptool_image, noise, section};
use esplice_chip::ChipDb;
use esplice_image::{AppImage, ImageError, ImageOptions, ImageSource, build_image};
use object::elf;

fn ours(elf: &[u8], source: ImageSource) -> Result<AppImage, ImageError> {
    let chip = ChipDb::embedded().find("esp32c3").expect("chip data");
    build_image(elf, chip, &ImageOptions::for_chip(chip).source(source))
}

/// Compares our images from both sources of an ELF with esptool's.
fn check(name: &str, sections: &[Section]) {
    let dir = tempfile::tempdir().expect("directory");
    let elf = support::elf(sections, Options::default());
    for (source, more) in
        [(ImageSource::Sections, &[][..]), (ImageSource::ProgramHeaders, &["--use-segments"][..])]
    {
        let theirs = esptool_image(dir.path(), &elf, more)
            .unwrap_or_else(|said| panic!("{name}: esptool rejects it: {said}"));
        let ours = ours(&elf, source).unwrap_or_else(|error| panic!("{name}: {error}"));
        let place = ours.bytes.iter().zip(&theirs).position(|(a, b)| a != b);
        assert_eq!(place, None, "{name}, {source:?}: first difference");
        assert_eq!(ours.bytes.len(), theirs.len(), "{name}, {source:?}");
    }
}

#[test]
fn gaps_and_unaligned_ends() {
    check(
        "gaps and unaligned ends",
        &[
            section(".rwtext", 0x4038_0000, noise(1, 1021)),
            section(".data", 0x3fc9_0000, noise(2, 333)),
            section(".data2", 0x3fc9_0400, noise(3, 2)),
            bss(".bss", 0x3fc9_1000, 4096),
            section(".rodata", 0x3c00_0020, noise(4, 4097)),
            section(".text", 0x4201_0020, noise(5, 9999)),
            section(".rtc", 0x5000_0000, noise(6, 7)),
        ],
    );
}

#[test]
fn several_sections_a_segment() {
    let array =
        Section { kind: elf::SHT_INIT_ARRAY, ..section(".init_array", 0x3c00_0124, noise(3, 8)) };
    check(
        "several sections a segment",
        &[
            section(".trap", 0x4038_0000, noise(1, 0x100)),
            section(".rwtext", 0x4038_0100, noise(2, 0x33)),
            section(".rwtext.wifi", 0x4038_0134, noise(9, 0x80)),
            section(".empty", 0x4038_01b4, []),
            section(".flash.appdesc", 0x3c00_0020, descriptor()),
            section(".rodata.merge", 0x3c00_0120, noise(7, 3)),
            array,
            section(".rodata", 0x3c00_012c, noise(4, 0x1234)),
            section(".text", 0x4201_0020, noise(5, 0x4321)),
            section(".comment", 0, noise(6, 40)),
        ],
    );
}

#[test]
fn a_section_across_a_page() {
    check(
        "a section across a page",
        &[
            section(".rodata", 0x3c00_0020, noise(1, 0x1_2345)),
            section(".text", 0x4202_0020, noise(2, 0x2_0010)),
            section(".data", 0x3fc9_0000, noise(3, 0x9000)),
            section(".rwtext", 0x4038_0000, noise(4, 0xc000)),
        ],
    );
}

#[test]
fn the_descriptor_comes_first() {
    let dir = tempfile::tempdir().expect("directory");
    let sections = [
        section(".text", 0x4202_0020, noise(1, 3000)),
        section(".rodata", 0x3c00_0020, noise(2, 700)),
        section(".data", 0x3fc9_0000, noise(3, 300)),
        section(".flash.appdesc", 0x3c01_0020, descriptor()),
    ];
    check("the descriptor comes first", &sections);
    let elf = support::elf(&sections, Options::default());
    let image = ours(&elf, ImageSource::Auto).expect("image");
    assert_eq!(image.segments[0].addr.0, 0x3c01_0020);
    assert!(image.elf_sha256_patched);
    assert_eq!(image.bytes[0xb0..0xd0], image.elf_sha256);
    assert_eq!(Ok(image.bytes), esptool_image(dir.path(), &elf, &[]));
}

#[test]
fn places_around_a_page_boundary() {
    let beside = [0xff6c, 0xff70, 0xff74, 0xff78, 0xff7c, 0xff8c, 0xff90, 0x1_0000];
    for len in beside {
        check(
            &format!("{len:#x} bytes of RAM"),
            &[
                section(".rodata", 0x3c00_0020, noise(1, 100)),
                section(".text", 0x4202_0020, noise(2, 100)),
                section(".rwtext", 0x4038_0000, noise(3, len)),
            ],
        );
    }
    for addr in [0x4201_0000, 0x4201_0018, 0x4201_001c, 0x4201_0024, 0x4201_0030, 0x4201_fff0] {
        check(
            &format!("flash at {addr:#x}"),
            &[section(".text", addr, noise(2, 100)), section(".data", 0x3fc9_0000, noise(3, 60))],
        );
    }
}

#[test]
fn program_headers_where_sections_are_refused() {
    // An ELF without sections, and one with a section at an odd address, both with a program header
    // over all bytes.
    let bytes = noise(1, 0x300);
    let dir = tempfile::tempdir().expect("directory");
    let stripped = support::elf_with_one_segment(0x4201_0020, &bytes, &[]);
    let image = ours(&stripped, ImageSource::Auto).expect("image");
    assert_eq!(Ok(image.bytes), esptool_image(dir.path(), &stripped, &["--use-segments"]));

    let mut elf = support::elf_with_one_segment(0x4201_0020, &bytes, &[(2, 0x2fe)]);
    elf[24..28].copy_from_slice(&0x4201_0024_u32.to_le_bytes());
    assert!(esptool_image(dir.path(), &elf, &[]).is_err());
    let sections = ours(&elf, ImageSource::Sections);
    assert!(matches!(sections, Err(ImageError::UnalignedFlash { .. })));
    let image = ours(&elf, ImageSource::Auto).expect("image");
    assert_eq!(image.source, ImageSource::ProgramHeaders);
    assert_eq!(Ok(image.bytes), esptool_image(dir.path(), &elf, &["--use-segments"]));
}

/// Random ELFs: if esptool makes an image, ours is identical or the error explains why that image
/// can't run. esptool only joins neighbours in the section table, so its sections are sorted by
/// address.
#[test]
fn random_elfs() {
    check_random_elfs(8);
}

#[test]
#[ignore = "takes minutes: hundreds of random ELFs"]
fn hundreds_of_random_elfs() {
    check_random_elfs(300);
}

fn check_random_elfs(count: u32) {
    let dir = tempfile::tempdir().expect("directory");
    let chip = ChipDb::embedded().find("esp32c3").expect("chip data");
    let mut equal = [0, 0];
    for seed in 1..=count {
        let sections = random_sections(seed.wrapping_mul(0x9e37_79b9));
        let elf = support::elf(&sections, Options::default());
        let mut sorted = sections.clone();
        sorted.sort_by_key(|section| section.addr);
        let entry = u32::from_le_bytes([elf[24], elf[25], elf[26], elf[27]]);
        let sorted = support::elf(&sorted, Options { entry, ..Options::default() });
        let theirs = esptool_image(dir.path(), &sorted, &[]);
        match (ours(&elf, ImageSource::Sections), theirs) {
            (Ok(ours), Ok(theirs)) if !filled_over(&sections) => {
                let same = ours.bytes.len() == theirs.len()
                    && ours.bytes.iter().zip(&theirs).enumerate().all(|(at, (a, b))| {
                        // Skip the hashes of the two ELFs, and the image's own hash.
                        a == b || (0xb0..0xd0).contains(&at) || at + 33 >= theirs.len()
                    });
                assert!(same, "seed {seed}: images differ: {}", listed(&sections));
                equal[0] += 1;
            }
            (Ok(_), _) => {
                let what = format!("seed {seed}: {}", listed(&sections));
                support::equals_espflashs(chip, &elf, dir.path(), &what);
                equal[1] += 1;
            }
            (Err(ImageError::Overlap { .. } | ImageError::EntryOutside { .. }), Ok(theirs)) => {
                let report = esplice_image::inspect(&theirs, ChipDb::embedded());
                assert!(!report.is_sound(), "seed {seed}: {report}{}", listed(&sections));
            }
            (Err(ImageError::SamePage { .. }), _) | (Err(_), Err(_)) => {}
            // esptool counts before it pads gaps, and makes an image that its image-info rejects.
            (Err(ImageError::TooManySegments { max, .. }), Ok(theirs)) => {
                assert!(usize::from(theirs[1]) > max, "seed {seed}: {} segments", theirs[1]);
            }
            (Err(error), Ok(_)) => {
                panic!("seed {seed}: only we reject it: {error}: {}", listed(&sections))
            }
        }
    }
    assert!(equal[0] > 0, "no image was compared: {equal:?}");
}

/// Returns whether a section, padded to whole words before sections are joined as esptool does,
/// would reach into the next one.
fn filled_over(sections: &[Section]) -> bool {
    let mut sorted: Vec<&Section> = sections.iter().collect();
    sorted.sort_by_key(|section| section.addr);
    sorted
        .windows(2)
        .any(|pair| pair[0].addr + (pair[0].data.len() as u32).next_multiple_of(4) > pair[1].addr)
}

fn listed(sections: &[Section]) -> String {
    sections.iter().map(|s| format!("\n{} {:#x} {:#x}", s.name, s.addr, s.data.len())).collect()
}

fn random_sections(seed: u32) -> Vec<Section> {
    let numbers = noise(seed, 4096);
    let mut numbers = numbers.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let mut below = |n: u32| numbers.next().unwrap_or(0) % n;
    let mut sections = Vec::new();
    let mut places = vec![
        (".rodata", 0x3c00_0020_u32, true),
        (".text", 0x4204_0020, true),
        (".data", 0x3fc9_0000, false),
        (".rwtext", 0x4038_0000, false),
        (".rtc", 0x5000_0000, false),
    ];
    for i in (1..places.len()).rev() {
        places.swap(i, below(i as u32 + 1) as usize);
    }
    for (name, mut addr, is_flash) in places {
        if below(6) == 0 {
            continue;
        }
        for number in 0..1 + below(4) {
            let limit = match name {
                ".rtc" => 300,
                _ if below(3) == 0 => 0x9000,
                _ => 900,
            };
            let len = below(limit);
            let descriptor_first = name == ".rodata" && number == 0 && below(2) == 0;
            if descriptor_first {
                sections.push(section(".flash.appdesc", addr, descriptor()));
                addr += 256;
            }
            sections.push(section(name, addr, noise(seed ^ addr, len as usize)));
            addr += len;
            addr = match below(4) {
                0 => addr.next_multiple_of(0x1_0000) + 0x20 + 4 * below(3),
                1 if !is_flash => addr + below(40),
                _ => addr.next_multiple_of(4),
            };
            if name == ".rtc" {
                addr = addr.min(0x5000_1000);
            }
        }
    }
    if below(3) == 0 {
        sections.reverse();
    }
    sections
}
