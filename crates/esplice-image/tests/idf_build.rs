//! Tests the plans in build folders of ESP-IDF, as versions 4.4 and 6 write them.

use esplice_chip::FlashOffset;
use esplice_image::{IdfDescription, IdfPlan, WriteKind};

const OLD: &str = include_str!("idf/v4.4-ota/flasher_args.json");
const NEW: &str = include_str!("idf/v6-encrypted/flasher_args.json");

#[test]
fn files_have_offsets_and_roles() {
    let plan = IdfPlan::from_json(OLD).unwrap();
    let files: Vec<_> =
        plan.files.iter().map(|f| (f.offset.0, f.path.as_str(), f.kind, f.encrypted)).collect();
    assert_eq!(
        files,
        [
            (0, "bootloader/bootloader.bin", WriteKind::Bootloader, false),
            (0x8000, "partition_table/partition-table.bin", WriteKind::PartitionTable, false),
            (0xd000, "ota_data_initial.bin", WriteKind::Data, false),
            (0x1_0000, "hello.bin", WriteKind::App, false),
        ]
    );
    assert_eq!(plan.chip.as_deref(), Some("esp32c3"));
    assert_eq!(plan.settings.flash_size, "4MB");
    assert_eq!(plan.files[2].name.as_deref(), Some("otadata"));

    let plan = IdfPlan::from_json(NEW).unwrap();
    let app = plan.files.iter().find(|file| file.kind == WriteKind::App).unwrap();
    assert_eq!((app.offset, app.encrypted), (FlashOffset(0x2_0000), true));
}

#[test]
fn the_description_names_the_elf() {
    let text = include_str!("idf/v4.4-ota/project_description.json");
    let description = IdfDescription::from_json(text).unwrap();
    assert_eq!(description.app_elf.as_deref(), Some("hello.elf"));
    assert_eq!(description.monitor_baud.as_deref(), Some("115200"));
}

#[test]
fn mistakes_have_a_place() {
    let error = |text: &str| IdfPlan::from_json(text).unwrap_err().to_string();
    // The column depends on the features that other crates select for serde_json.
    let wrong = error("{\n  \"flash_files\": [\n");
    assert!(
        wrong.starts_with("2:1") && wrong.ends_with(": invalid type: sequence, expected a map"),
        "{wrong}"
    );
    assert_eq!(error("{}"), "1:2: missing field `flash_files`");
    assert_eq!(error(r#"{"flash_files": {}}"#), "flash_files is empty");
    let text = r#"{"flash_files": {"ten": "a.bin"}}"#;
    assert_eq!(error(text), "the offset \"ten\" of a.bin is not a number such as 0x10000");
}
