//! Inspection results for valid and broken images.

use std::sync::Arc;

use crate::support::{self, Options, descriptor, noise, section};
use esplice_chip::{Chip, ChipDb};
use esplice_image::{
    BootLayout, Content, Defect, ImageKind, ImageOptions, ImageReport, PartBody, PartitionTable,
    PlanParts, TableChoice, build_image, inspect, make_plan, merged, sha256,
};
use proptest::prelude::*;

fn chip() -> &'static Arc<Chip> {
    ChipDb::embedded().find("esp32c3").expect("chip data")
}

fn app() -> Vec<u8> {
    let sections = [
        section(".flash.appdesc", 0x3c00_0020, descriptor()),
        section(".rodata", 0x3c00_0120, noise(3, 700)),
        section(".rwtext", 0x4038_0000, noise(4, 900)),
        section(".text", 0x4201_0020, noise(5, 500)),
    ];
    build(&sections)
}

fn bootloader() -> Vec<u8> {
    let sections =
        [section(".text", 0x4038_0000, noise(4, 900)), section(".data", 0x3fcd_0000, noise(5, 90))];
    let elf = support::elf(&sections, Options { entry: 0x4038_0000, ..Options::default() });
    build_image(&elf, chip(), &ImageOptions::for_chip(chip())).expect("image").bytes
}

fn build(sections: &[support::Section]) -> Vec<u8> {
    let elf = support::elf(sections, Options::default());
    build_image(&elf, chip(), &ImageOptions::for_chip(chip())).expect("image").bytes
}

fn flash() -> Vec<u8> {
    let (app, bootloader, table) = (app(), bootloader(), PartitionTable::esp_idf_default());
    let parts = PlanParts {
        bootloader: Some(&bootloader),
        table: TableChoice::Own(&table),
        ..PlanParts::new(BootLayout::Idf, &app)
    };
    merged(&make_plan(chip(), &parts).expect("plan")).expect("merged")
}

/// Returns the image with its SHA-256 updated.
fn rehashed(mut image: Vec<u8>) -> Vec<u8> {
    let at = image.len() - 32;
    let hash = sha256(&image[..at]);
    image[at..].copy_from_slice(&hash);
    image
}

fn with(image: &[u8], changes: &[(usize, u8)]) -> Vec<u8> {
    let mut image = image.to_vec();
    for (at, byte) in changes {
        image[*at] = *byte;
    }
    image
}

fn said(report: &ImageReport) -> Vec<String> {
    report.all_defects().map(|(_, defect)| defect.to_string()).collect()
}

#[test]
fn a_sound_app_is_told_of() {
    let app = app();
    let report = inspect(&app, ChipDb::embedded());
    assert_eq!(said(&report), [""; 0]);
    assert_eq!(report.content, Content::Image);
    let PartBody::Image(info) = &report.parts[0].body else { panic!("{report:?}") };
    assert_eq!(info.kind, ImageKind::App);
    assert_eq!(info.chip.as_deref(), Some("esp32c3"));
    assert_eq!(info.flash_freq.as_deref(), Some("80m"));
    assert_eq!(info.flash_size, Some(4 << 20));
    assert_eq!(info.end, Some(app.len()));
    let regions: Vec<_> =
        info.segments.iter().map(|s| (s.region.as_deref(), s.addr.0, s.len, s.offset)).collect();
    assert_eq!(
        regions,
        [
            (Some("drom"), 0x3c00_0020, 956, 0x20),
            (Some("iram"), 0x4038_0000, 900, 0x3e4),
            (None, 0, 0xf8a8, 0x770),
            (Some("irom"), 0x4201_0020, 500, 0x1_0020),
        ]
    );
    let app = info.descriptor.as_ref().expect("descriptor");
    assert_eq!((app.version.as_str(), app.project_name.as_str()), ("1.2.3", "test"));
    assert_eq!((app.max_efuse_block_rev, app.mmu_page_size), (u16::MAX, Some(0x1_0000)));
    let text = report.to_string();
    for part in ["app image", "esp32c3 (id 5), revision v0.0 to any", "dio, 80m", "1.2.3", "irom"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn defects_are_named_with_their_numbers() {
    let app = app();
    let len = app.len();
    let checksum_at = len - 33;
    let stored = app[checksum_at];
    let cases: Vec<(Vec<u8>, &[&str])> = vec![
        (vec![], &["not an image, but an empty file"]),
        (b"hello".to_vec(), &["not an image, but a text file"]),
        (vec![0xff; 4096], &["not an image, but erased flash"]),
        (with(&app, &[(0, 0xe8)]), &["not an image, but binary data of unknown format"]),
        (app[..10].to_vec(), &["10 bytes are too few for the 24-byte image header"]),
        (app[..30].to_vec(), &["image is truncated at 30 of 32 bytes, in segment 0"]),
        (app[..1000].to_vec(), &["image is truncated at 1000 of 1896 bytes, in segment 1"]),
        (
            app[..checksum_at].to_vec(),
            &["image is truncated at 66079 of 66080 bytes, in the checksum"],
        ),
        (app[..len - 1].to_vec(), &["image is truncated at 66111 of 66112 bytes, in the SHA-256"]),
        (rehashed(with(&app, &[(checksum_at, stored ^ 1)])), &["checksum is 0x%1, expected 0x%0"]),
        (
            with(&app, &[(checksum_at, stored ^ 1)]),
            &["checksum is 0x%1, expected 0x%0", "SHA-256 is "],
        ),
        (with(&app, &[(0x200, app[0x200] ^ 0x10)]), &["checksum is ", "SHA-256 is "]),
        (with(&app, &[(5, 1)]), &["SHA-256 is "]),
        (rehashed(with(&app, &[(12, 0x77)])), &["chip id 119 is unknown"]),
        (rehashed(with(&app, &[(2, 9)])), &["flash mode code 0x9 is unknown"]),
        (
            rehashed(with(&app, &[(3, 0xf7)])),
            &["flash frequency code 0x7 is unknown", "flash size code 0xf is unknown"],
        ),
        (rehashed(with(&app, &[(7, 0)])), &["entry point 0x00380000 is in no executable segment"]),
        (
            rehashed(with(&app, &[(16, 1), (18, 0)])),
            &["minimum chip revision 256 is above the maximum 255"],
        ),
        (
            rehashed(with(&app, &[(27, 0x20)])),
            &["segment 0 at 0x20000020 of 956 bytes is outside every memory region"],
        ),
        (
            rehashed(with(&app, &[(24, 0x24)])),
            &["segment 0 for 0x3c000024 is at 0x20, which differs from it modulo the MMU page of \
               0x10000 bytes"],
        ),
        (with(&app, &[(23, 0)]), &["no SHA-256 is appended"]),
        (with(&app, &[(1, 0)]), &["image has no segments", "checksum is "]),
        (
            build(&[section(".text", 0x4201_0020, noise(5, 500))]),
            &["no app descriptor at byte 0x20"],
        ),
    ];
    for (bytes, expected) in cases {
        let report = inspect(&bytes, ChipDb::embedded());
        let said = said(&report);
        for expected in expected {
            let expected = expected
                .replace("%0", &format!("{stored:02x}"))
                .replace("%1", &format!("{:02x}", stored ^ 1));
            assert!(
                said.iter().any(|s| s.starts_with(&expected)),
                "{expected:?} is not in {said:?}"
            );
        }
        let remark = |s: &String| s.starts_with("no ");
        assert_eq!(report.is_sound(), said.iter().all(remark), "{said:?}");
    }
}

#[test]
fn a_merged_image_is_taken_apart() {
    let flash = flash();
    let report = inspect(&flash, ChipDb::embedded());
    assert_eq!(said(&report), [""; 0]);
    let names: Vec<_> = report.parts.iter().map(|p| (p.name.as_str(), p.offset.0)).collect();
    assert_eq!(
        names,
        [("bootloader", 0), ("partition table", 0x8000), ("app in factory", 0x1_0000)]
    );
    let PartBody::Table(table) = &report.parts[1].body else { panic!("{report:?}") };
    assert_eq!(*table, PartitionTable::esp_idf_default());

    let cases: [(Vec<u8>, &str, &str); 4] = [
        (with(&flash, &[(0x1_0300, 1)]), "app in factory", "checksum is "),
        (with(&flash, &[(0x8005, 1)]), "partition table", "MD5 of the partition table is "),
        (with(&flash, &[(0, 0)]), "bootloader", "the first byte is 0x00"),
        (flash[..flash.len() - 5].to_vec(), "app in factory", "image is truncated at "),
    ];
    for (bytes, part, expected) in cases {
        let report = inspect(&bytes, ChipDb::embedded());
        let found = report
            .all_defects()
            .any(|(p, d)| p.is_some_and(|p| p.name == part) && d.to_string().starts_with(expected));
        assert!(found, "{part}: {expected} is not in {:?}", said(&report));
    }
}

#[test]
fn a_table_and_a_bootloader_alone_are_told() {
    let table = PartitionTable::esp_idf_default().to_bytes().expect("bytes");
    let report = inspect(&table, ChipDb::embedded());
    assert!(report.is_sound() && report.content == Content::PartitionTable);
    let report = inspect(&with(&table, &[(40, 1)]), ChipDb::embedded());
    assert!(matches!(report.all_defects().next(), Some((_, Defect::Table(_)))));
    let report = inspect(&bootloader(), ChipDb::embedded());
    assert!(report.is_sound(), "{report}");
    let PartBody::Image(info) = &report.parts[0].body else { panic!("{report:?}") };
    assert_eq!(info.kind, ImageKind::Ram);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_flipped_bit_is_noticed(at in any::<prop::sample::Index>(), bit in 0..8) {
        let mut image = app();
        let at = at.index(image.len());
        image[at] ^= 1_u8 << bit;
        let report = inspect(&image, ChipDb::embedded());
        // Without its flag the hash is not checked, which is reported as a remark.
        prop_assert!(!report.is_sound() || at == 23, "byte {at}, bit {bit}: {report}");
        let _ = report.to_string();
    }

    #[test]
    fn mutated_images_never_panic(
        merged in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
        near in prop::collection::vec((0_usize..0x120, any::<u8>()), 0..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut image = if merged { flash() } else { app() };
        for (at, byte) in changes {
            let at = at.index(image.len());
            image[at] = byte;
        }
        for (at, byte) in near {
            image[at] = byte;
        }
        if let Some(cut) = cut {
            image.truncate(cut.index(image.len()));
        }
        let _ = inspect(&image, ChipDb::embedded()).to_string();
    }

    #[test]
    fn any_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..600), image: bool) {
        if let (true, Some(first)) = (image, bytes.first_mut()) {
            *first = 0xe9;
        }
        let _ = inspect(&bytes, ChipDb::embedded()).to_string();
    }
}

/// Limits how many images are listed for a file of a million runs that all begin like one.
#[test]
fn not_all_of_many_images_are_looked_at() {
    let writes: Vec<_> = (0..3000)
        .map(|n| esplice_image::Write::unnamed(esplice_chip::FlashOffset(n * 64), &[0xe9; 32]))
        .collect();
    let report = esplice_image::inspect_writes(Content::IntelHex, 0, &writes, ChipDb::embedded());
    assert_eq!(report.parts.len(), 1000);
    assert!(report.defects[0].to_string().starts_with("more than 1000 images"));
}
