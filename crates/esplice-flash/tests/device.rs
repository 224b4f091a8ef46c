//! Tests the facts read from a device before its first write, and how a plan uses them.

use crate::{
    plan::{APP, plan},
    rom::{Fault, Rom, Way},
};
use esplice_chip::{ChipDb, FlashOffset};
use esplice_flash::{
    ErrorClass, FlashError, FlashOptions, FlashReport, Session, TableHint, flash_plan,
};
use esplice_image::{
    BootImage, DeviceFacts, PartitionTable, PlanError, ResolveOptions, TableSearch,
};

fn run(rom: &mut Rom) -> Result<FlashReport, FlashError> {
    let options = FlashOptions::default().baud(Some(460_800));
    flash_plan(rom, &plan(), &ResolveOptions::default(), &options, &mut |_| {})
}

fn names(report: &FlashReport) -> Vec<&str> {
    report.writes.iter().map(|write| write.name.as_str()).collect()
}

fn facts(rom: &mut Rom) -> DeviceFacts {
    let mut events = |_| {};
    let mut session = Session::new(rom, ChipDb::embedded(), None, &mut events);
    let info = session.bring_up(&FlashOptions::default()).unwrap();
    let usual = FlashOffset(0x8000);
    let bootloader = plan().bootloader_for(info.flash_size).unwrap().unwrap();
    let hint = TableHint { offset: None, bootloader: Some((bootloader, usual)) };
    session.device_facts(&info, &hint).unwrap()
}

/// Returns the table in the facts.
fn table(facts: &DeviceFacts) -> Option<&PartitionTable> {
    facts.device_table().ok().map(|(_, table)| table)
}

#[test]
fn a_blank_device_gets_all_and_the_next_time_the_app() {
    let mut rom = Rom::new();
    assert_eq!(
        facts(&mut rom),
        DeviceFacts {
            chip: "esp32c3".into(),
            revision: (0, 4),
            flash_size: Some(4 << 20),
            tables: TableSearch {
                from: FlashOffset(0x8000),
                to: FlashOffset(0x9000),
                ..TableSearch::default()
            },
            ..DeviceFacts::default()
        }
    );
    let report = run(&mut rom).unwrap();
    assert_eq!(names(&report), ["bootloader", "partition table", "app"]);
    let after = facts(&mut rom);
    assert!(after.boot.bootloader().is_some());
    assert_eq!(table(&after), Some(&PartitionTable::esp_idf_default()));
    // The bootloader's header now has the device's flash size: code 2 is 4 MB.
    assert_eq!(rom.flash[3], 0x2f);
    let report = run(&mut rom).unwrap();
    assert_eq!(names(&report), ["app"]);
}

#[test]
fn otadata_is_read_where_the_table_has_it() {
    let mut table = PartitionTable::esp_idf_default();
    let mut partition = table.partitions[0].clone();
    (partition.name, partition.kind, partition.subtype) = ("otadata".into(), 1, 0);
    (partition.offset, partition.len) = (FlashOffset(0xd000), 0x2000);
    table.partitions[0] = partition;
    let mut rom = Rom::new();
    rom.flash[0x8000..0x8c00].copy_from_slice(&table.to_bytes().unwrap());
    rom.flash[0xd000..0xf000].fill(0xff);
    rom.flash[0xe000..0xe020].fill(3);
    let facts = facts(&mut rom);
    assert_eq!(self::table(&facts), Some(&table));
    let mut expected = vec![0xff; 0x2000];
    expected[0x1000..0x1020].fill(3);
    assert_eq!(facts.otadata, Some(expected));
}

#[test]
fn a_damaged_table_is_none() {
    let mut rom = Rom::new();
    let mut bytes = PartitionTable::esp_idf_default().to_bytes().unwrap();
    bytes[8] ^= 1;
    rom.flash[0x8000..0x8c00].copy_from_slice(&bytes);
    let facts = facts(&mut rom);
    assert_eq!(table(&facts), None);
    assert!(matches!(facts.device_table(), Err(PlanError::DeviceTable { .. })));
}

#[test]
fn a_table_without_its_md5_is_believed_beside_a_bootloader() {
    let mut rom = Rom::new();
    run(&mut rom).unwrap();
    // Three rows, then the MD5.
    rom.flash[0x8060..0x8c00].fill(0xff);
    assert!(table(&facts(&mut rom)).is_some());
    // Only nvs is left, so there is no partition for an app.
    rom.flash[0x8020..0x8c00].fill(0xff);
    assert_eq!(table(&facts(&mut rom)), None);
    run(&mut rom).unwrap();
    rom.flash[0x8060..0x8c00].fill(0xff);
    rom.flash[0] = 0xff;
    let facts = facts(&mut rom);
    assert_eq!((table(&facts), facts.boot), (None, BootImage::Nothing));
}

/// After an interruption at any frame, a flash without a bootloader must detect whether the device
/// has a complete one.
#[test]
fn what_was_left_half_written_is_written_anew() {
    let mut clean = Rom::new();
    run(&mut clean).unwrap();
    let expected = clean.flash;
    for number in 0..clean.frames[Way::ToBoard as usize] {
        let mut rom = Rom::new();
        rom.fault = Some((Way::ToBoard, number, Fault::Interrupt));
        assert_eq!(run(&mut rom).unwrap_err().class(), ErrorClass::Interrupted);
        rom.restart();
        run(&mut rom).unwrap();
        for (from, to) in [(0, 0x3210), (0x8000, 0x8c00), (APP, APP + 0x5000)] {
            assert!(rom.flash[from..to] == expected[from..to], "frame {number}: 0x{from:x}");
        }
    }
}

/// A damaged reply must not make a wrong plan succeed.
#[test]
fn damaged_facts_end_in_the_same_flash() {
    let mut clean = Rom::new();
    run(&mut clean).unwrap();
    for fault in [Fault::Flipped, Fault::ByteLost, Fault::Reset] {
        for number in 0..clean.frames[Way::ToHost as usize] {
            let mut rom = Rom::new();
            rom.fault = Some((Way::ToHost, number, fault));
            run(&mut rom).unwrap_or_else(|error| panic!("frame {number} {fault:?}: {error}"));
            assert!(rom.flash[APP..APP + 0x5000] == clean.flash[APP..APP + 0x5000]);
            assert!(rom.flash[..0x3000] == clean.flash[..0x3000], "frame {number} {fault:?}");
        }
    }
}

#[test]
fn a_plan_that_does_not_fit_writes_nothing() {
    let mut rom = Rom::new();
    let before = rom.flash.clone();
    let mut plan = plan();
    plan.min_rev = 101;
    let options = FlashOptions::default();
    let error = flash_plan(&mut rom, &plan, &ResolveOptions::default(), &options, &mut |_| {});
    let error = error.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Plan);
    assert_eq!(error.to_string(), "the app needs chip revision v1.1 or later, the device is v0.4");
    assert!(rom.flash == before);
}
