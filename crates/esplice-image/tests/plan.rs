//! Plans: made, written to JSON and read back, and resolved for devices.

use std::{collections::BTreeMap, sync::Arc};

use crate::support::{self, Options, descriptor, esptool, noise, section};
use esplice_chip::{Addr, Chip, ChipDb, FlashOffset};
use esplice_image::{
    BootHead, BootImage, BootLayout, DeviceFacts, Extent, FileRef, FlashPlan, FoundTable,
    ImageOptions, Partition, PartitionTable, PlanError, PlanParts, ResolveOptions, ResolvedPlan,
    TableChoice, TableError, TableSearch, WriteKind, build_image, make_plan, merged, resolve,
    sha256,
};

fn chip() -> &'static Arc<Chip> {
    ChipDb::embedded().find("esp32c3").expect("chip data")
}

fn app(len: usize) -> Vec<u8> {
    let sections = [
        section(".flash.appdesc", 0x4200_0020, descriptor()),
        section(".text", 0x4200_0120, noise(3, len)),
    ];
    let elf = support::elf(&sections, Options::default());
    build_image(&elf, chip(), &ImageOptions::for_chip(chip())).expect("image").bytes
}

/// Returns a RAM-only image in place of a bootloader.
fn bootloader(min_rev: u16) -> Vec<u8> {
    let elf = support::elf(&[section(".text", 0x4038_0000, noise(4, 20_000))], Options::default());
    let options = ImageOptions::for_chip(chip()).min_rev(min_rev);
    build_image(&elf, chip(), &options).expect("image").bytes
}

fn plan_of(app: &[u8]) -> FlashPlan {
    let bootloader = bootloader(3);
    let parts = PlanParts {
        bootloader: Some(&bootloader),
        elf_sha256: Some([7; 32]),
        ..PlanParts::new(BootLayout::Idf, app)
    };
    make_plan(chip(), &parts).expect("plan")
}

fn device() -> DeviceFacts {
    DeviceFacts {
        chip: "esp32c3".into(),
        revision: (0, 4),
        flash_size: Some(4 << 20),
        ..DeviceFacts::default()
    }
}

/// Returns a device with a bootloader, and with this table at the default offset.
fn used(table: PartitionTable) -> DeviceFacts {
    let head = BootHead { entry: Addr(0x403c_bf1a), end: FlashOffset(0x5050), flash_size: 4 << 20 };
    let offset = FlashOffset(0x8000);
    let found = vec![FoundTable { offset, table: Ok(table), has_md5: true }];
    DeviceFacts {
        boot: BootImage::Bootloader(head),
        tables: TableSearch { found, ..TableSearch::default() },
        ..device()
    }
}

/// Returns a device with a bootloader that looks at the default offset, where there is no table.
fn without_table() -> DeviceFacts {
    let facts = used(PartitionTable::default());
    let known = Some(FlashOffset(0x8000));
    DeviceFacts {
        tables: TableSearch { known, recognised: true, ..TableSearch::default() },
        ..facts
    }
}

fn places(plan: &ResolvedPlan) -> Vec<(&str, u32)> {
    plan.writes.iter().map(|write| (write.name.as_str(), write.offset.0)).collect()
}

fn partition(name: &str, kind: u8, subtype: u8, offset: u32, len: u32) -> Partition {
    Partition { name: name.into(), kind, subtype, offset: FlashOffset(offset), len, flags: 0 }
}

fn ota_table() -> PartitionTable {
    PartitionTable {
        partitions: vec![
            partition("otadata", 1, 0, 0x9000, 0x2000),
            partition("nvs", 1, 2, 0xb000, 0x4000),
            partition("one", 0, 0x10, 0x1_0000, 0x18_0000),
            partition("two", 0, 0x11, 0x20_0000, 0x18_0000),
        ],
    }
}

/// Returns an otadata partition that selects slot 1 (sequence number 2, with its CRC as stored by
/// ESP-IDF).
fn otadata_for_slot_1() -> Vec<u8> {
    let mut bytes = vec![0xff; 0x2000];
    bytes[..4].copy_from_slice(&2_u32.to_le_bytes());
    bytes[28..32].copy_from_slice(&0x55f6_3774_u32.to_le_bytes());
    bytes
}

#[test]
fn an_empty_board_gets_everything() {
    let plan = plan_of(&app(1000));
    let resolved = resolve(&plan, &device(), &ResolveOptions::default()).expect("resolved");
    assert_eq!(
        places(&resolved),
        [("bootloader", 0), ("partition table", 0x8000), ("app", 0x1_0000)]
    );
}

#[test]
fn a_board_in_use_gets_the_app_alone() {
    let plan = plan_of(&app(1000));
    let factory = PartitionTable {
        partitions: vec![
            partition("ota_0", 0, 0x10, 0x2_0000, 0x1_0000),
            partition("main", 0, 0, 0x3_0000, 0x1_0000),
        ],
    };
    let cases = [
        (PartitionTable::esp_idf_default(), None, None, 0x1_0000),
        (factory, None, None, 0x3_0000),
        (ota_table(), None, None, 0x1_0000),
        (ota_table(), Some(vec![0xff; 0x2000]), None, 0x1_0000),
        (ota_table(), Some(otadata_for_slot_1()), None, 0x20_0000),
        (ota_table(), Some(otadata_for_slot_1()), Some("one"), 0x1_0000),
        (ota_table(), None, Some("two"), 0x20_0000),
    ];
    for (table, otadata, partition, expected) in cases {
        let facts = DeviceFacts { otadata, ..used(table) };
        let options = ResolveOptions::default().partition(partition.map(str::to_owned));
        let resolved = resolve(&plan, &facts, &options).expect("resolved");
        assert_eq!(places(&resolved), [("app", expected)]);
    }
}

#[test]
fn with_bootloader_replaces_bootloader_and_table() {
    let plan = plan_of(&app(1000));
    let facts = DeviceFacts { otadata: Some(otadata_for_slot_1()), ..used(ota_table()) };
    let options = ResolveOptions::default().with_bootloader(true);
    let resolved = resolve(&plan, &facts, &options).expect("resolved");
    assert_eq!(
        places(&resolved),
        [("bootloader", 0), ("partition table", 0x8000), ("app", 0x1_0000)]
    );
}

#[test]
fn the_bootloader_learns_the_flash_size() {
    let plan = plan_of(&app(1000));
    for (size, code) in [(2 << 20, 1), (4 << 20, 2), (16 << 20, 4), (32 << 20, 2)] {
        let facts = DeviceFacts { flash_size: Some(size), ..device() };
        let resolved = resolve(&plan, &facts, &ResolveOptions::default()).expect("resolved");
        let bytes = &resolved.writes[0].data;
        let extent = Extent::of(bytes).expect("bootloader");
        assert_eq!(extent.header.flash_size_code(), code, "{size}");
        let at = extent.sha256_at.expect("hash");
        assert_eq!(bytes[at..at + 32], sha256(&bytes[..at]), "{size}");
    }
}

#[test]
fn what_would_not_boot_is_refused() {
    let plan = plan_of(&app(1000));
    let mut newer = plan.clone();
    newer.min_rev = 101;
    let mut older = plan.clone();
    older.max_rev = 3;
    let bare = FlashPlan {
        writes: plan.writes.iter().filter(|w| w.kind == WriteKind::App).cloned().collect(),
        ..plan.clone()
    };
    let small = PartitionTable { partitions: vec![partition("app", 0, 0, 0x1_0000, 0x1000)] };
    let data = PartitionTable { partitions: vec![partition("nvs", 1, 2, 0x9000, 0x1000)] };
    let default = ResolveOptions::default;
    let partition = |name: &str| default().partition(Some(name.into()));
    let offset = |at| default().offset(Some(FlashOffset(at)));
    let cases = [
        (
            &plan,
            DeviceFacts { chip: "esp32c6".into(), ..device() },
            default(),
            "the image is for esp32c3, the device is esp32c6",
        ),
        (
            &newer,
            device(),
            default(),
            "the app needs chip revision v1.1 or later, the device is v0.4",
        ),
        (
            &older,
            device(),
            default(),
            "the app needs chip revision v0.3 or earlier, the device is v0.4",
        ),
        (
            &plan,
            DeviceFacts { revision: (0, 2), ..device() },
            default(),
            "the bootloader needs chip revision v0.3 or later, the device is v0.2",
        ),
        (&bare, device(), default(), "a bootloader must be written, but the plan has none"),
        (
            &bare,
            without_table(),
            default(),
            "neither the device nor the plan has a partition table",
        ),
        (&plan, used(data), default(), "the partition table has no app partition"),
        (&plan, used(ota_table()), partition("tow"), "no partition is called \"tow\""),
        (&plan, used(ota_table()), partition("nvs"), "partition nvs is of type data, not app"),
        (
            &plan,
            used(ota_table()),
            offset(0x1_0010),
            "app at 0x10010 does not begin at a flash sector (0x1000 bytes)",
        ),
        (
            &plan,
            used(ota_table()),
            offset(0x40_0000),
            "app of 1328 bytes at 0x400000 ends at 0x400530, 1328 bytes past the flash of 4194304 \
             bytes",
        ),
        (
            &plan,
            device(),
            offset(0x8000),
            "partition table ends at 0x8c00, in the flash sector where app begins at 0x8000",
        ),
    ];
    for (plan, facts, options, expected) in cases {
        let error = resolve(plan, &facts, &options).expect_err(expected);
        assert_eq!(error.to_string(), expected);
    }
    let large = plan_of(&app(0x2000));
    let error = resolve(&large, &used(small), &default()).expect_err("too large");
    assert_eq!(
        error.to_string(),
        "app of 8528 bytes is 4432 bytes too large for partition app (4096 bytes)"
    );
}

#[test]
fn an_app_too_large_for_its_table_is_refused_at_once_or_by_the_device() {
    let app = app(0x10_0000);
    let parts = PlanParts::new(BootLayout::Idf, &app);
    // The built-in table fills the flash.
    let plan = make_plan(chip(), &parts).expect("it fits");
    assert_eq!(plan.write(WriteKind::App).map(|write| write.offset), Some(FlashOffset(0x1_0000)));
    let small = PartitionTable::esp_idf_default();
    let own = PlanParts { table: TableChoice::Own(&small), ..parts.clone() };
    let error = make_plan(chip(), &own).expect_err("too large");
    assert_eq!(
        error.to_string(),
        "app of 1048912 bytes is 336 bytes too large for partition factory (1048576 bytes)"
    );
    assert!(error.hint().is_some());
    make_plan(chip(), &PlanParts { fits_later: true, ..own }).expect("the device decides");
    let past = PartitionTable { partitions: vec![partition("f", 0, 0, 0x1_0000, 0x40_0000)] };
    let own = PlanParts { table: TableChoice::Own(&past), ..parts };
    assert_eq!(
        make_plan(chip(), &own),
        Err(PlanError::Table(TableError::PastFlash {
            name: "f".into(),
            end: 0x41_0000,
            flash_size: 4 << 20
        }))
    );
    make_plan(chip(), &PlanParts { fits_later: true, ..own }).expect("the device decides");
}

#[test]
fn json_is_the_same_each_time_and_read_back() {
    let plan = plan_of(&app(1000));
    let merged = merged(&plan).expect("merged");
    let app = plan.write(WriteKind::App).expect("app").data.clone();
    let app_len = app.len();
    let files: BTreeMap<&str, Vec<u8>> = [("a.bin", app), ("a.merged.bin", merged)].into();
    let text = plan
        .to_json(|write| match write.kind {
            WriteKind::App => FileRef { path: "a.bin".into(), offset: 0 },
            _ => FileRef { path: "a.merged.bin".into(), offset: write.offset.0 },
        })
        .expect("JSON");
    assert!(text.starts_with("{\n  \"schema\": 1,\n  \"chip\": \"esp32c3\",\n"), "{text}");
    let mut asked = Vec::new();
    let read = FlashPlan::from_json(&text, ChipDb::embedded(), |path, most| {
        asked.push((path.to_owned(), most));
        files.get(path).cloned().ok_or_else(|| std::io::ErrorKind::NotFound.into())
    });
    assert_eq!(read, Ok(plan));
    // No file is read further than the plan needs: the table ends at 0x8c00.
    assert_eq!(asked, [("a.merged.bin".into(), 0x8c00), ("a.bin".into(), app_len as u64)]);

    let broken = |text: &str, change: &dyn Fn(&str, Vec<u8>) -> Vec<u8>| {
        FlashPlan::from_json(text, ChipDb::embedded(), |path, _| {
            Ok(change(path, files[path].clone()))
        })
        .expect_err("broken")
        .to_string()
    };
    let same = |_: &str, bytes| bytes;
    let flipped = |path: &str, mut bytes: Vec<u8>| {
        if path == "a.bin" {
            bytes[500] ^= 1;
        }
        bytes
    };
    let cut = |_: &str, bytes: Vec<u8>| bytes[..800].to_vec();
    let said = broken(&text, &flipped);
    assert!(said.starts_with("plan's file a.bin: SHA-256 of app is "), "{said}");
    let said = broken(&text, &cut);
    assert!(said.contains("a.merged.bin has 800 bytes, bootloader needs 20"), "{said}");
    let said = broken(&text.replace("\"schema\": 1", "\"schema\": 2"), &same);
    assert_eq!(said, "plan has schema 2, only 1 is supported");
    let said = broken(&text.replace("\"a.bin\"", "\"../a.bin\""), &same);
    assert!(said.contains("not a relative path"), "{said}");
    let said = broken(&text.replace("4194304", "4294967295"), &same);
    assert_eq!(said, "plan: flash size of 4294967295 bytes has no code for ESP32-C3");
    let said = broken(&text.replace("\"len\": 3072", "\"len\": 4294967295"), &same);
    assert!(said.ends_with("bytes in total, more than a flash of 4194304 bytes"), "{said}");
    let far = text.replace("\"file\": \"a.bin\"", "\"file\": \"a.bin\",\n\"file_offset\": 4194000");
    let said = broken(&far, &same);
    assert!(said.ends_with("of \"a.bin\", past a flash of 4194304 bytes"), "{said}");
    let said = broken(&text.replace("esp32c3", "esp32c33"), &same);
    assert!(said.contains("esp32c33"), "{said}");
    let said = broken(&text[..100], &same);
    assert!(said.starts_with("plan: "), "{said}");
    let said = broken(&text.replace("\"max_rev\"", "\"mx_rev\""), &same);
    assert!(said.contains("mx_rev"), "{said}");
}

#[test]
fn the_merged_flash_is_esptools() {
    let plan = plan_of(&app(12_345));
    let dir = tempfile::tempdir().expect("directory");
    let out = dir.path().join("out.bin");
    let mut command = esptool();
    command.args(["--chip", "esp32c3", "merge-bin", "-o"]).arg(&out);
    command.args(["--flash-mode", "keep", "--flash-freq", "keep", "--flash-size", "keep"]);
    for write in &plan.writes {
        let file = dir.path().join(write.kind.name());
        std::fs::write(&file, &write.data).expect("write");
        command.arg(write.offset.to_string()).arg(file);
    }
    let said = command.output().expect("run esptool");
    assert!(said.status.success(), "{said:?}");
    assert!(merged(&plan).expect("merged") == std::fs::read(out).expect("read"));
}

#[test]
fn a_rom_loaded_image_goes_to_the_boot_offset() {
    let elf = support::elf(&[section(".text", 0x4200_0020, noise(3, 100))], Options::default());
    let image = build_image(&elf, chip(), &ImageOptions::for_chip(chip())).expect("image").bytes;
    let parts = PlanParts::new(BootLayout::Rom, &image);
    let plan = make_plan(chip(), &parts).expect("plan");
    let resolved = resolve(&plan, &device(), &ResolveOptions::default()).expect("resolved");
    assert_eq!(places(&resolved), [("app", 0)]);
    assert_eq!(
        make_plan(chip(), &PlanParts { boot: BootLayout::Idf, ..parts }),
        Err(PlanError::NoDescriptor)
    );
}
