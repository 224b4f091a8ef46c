//! Finds a device's partition table without writing a byte: with bootloaders of every length,
//! tables at every place, programs instead of a bootloader, and damaged replies.

use crate::{
    plan::plan,
    rom::{Fault, Rom, Way},
};
use esplice_chip::{ChipDb, FlashOffset};
use esplice_flash::{ErrorClass, FlashOptions, Session, TableHint, flash_plan};
use esplice_image::{
    BootImage, DeviceFacts, Partition, PartitionTable, PlanError, ResolveOptions, WriteKind,
};

/// Returns a bootloader of `len` bytes that differs from the plan's.
fn bootloader(len: usize) -> Vec<u8> {
    let mut bytes = plan().write(WriteKind::Bootloader).unwrap().data.clone();
    bytes.resize(len, 0x5a);
    bytes[28..32].copy_from_slice(&(len as u32 - 48).to_le_bytes());
    bytes[40] ^= 1;
    bytes
}

/// Returns a program that the ROM loads, with code in flash.
fn program(len: usize) -> Vec<u8> {
    let mut bytes = bootloader(len);
    bytes[24..28].copy_from_slice(&0x3c00_0020_u32.to_le_bytes());
    bytes
}

fn table(offset: u32) -> Vec<u8> {
    let app = Partition {
        name: "main".into(),
        kind: 0,
        subtype: 0,
        offset: FlashOffset((offset + 0x1000).next_multiple_of(0x1_0000)),
        len: 0x10_0000,
        flags: 0,
    };
    PartitionTable { partitions: vec![app] }.to_bytes().unwrap()
}

fn device(parts: &[(usize, Vec<u8>)]) -> Rom {
    let mut rom = Rom::new();
    rom.flash.fill(0xff);
    for (at, bytes) in parts {
        rom.flash[*at..*at + bytes.len()].copy_from_slice(bytes);
    }
    rom
}

fn facts(rom: &mut Rom, offset: Option<u32>) -> DeviceFacts {
    let mut events = |_| {};
    let mut session = Session::new(rom, ChipDb::embedded(), None, &mut events);
    let info = session.bring_up(&FlashOptions::default()).unwrap();
    let hint = TableHint { offset: offset.map(FlashOffset), bootloader: None };
    session.device_facts(&info, &hint).unwrap()
}

/// Returns the place of the device's table, or the reason why it is unknown.
fn place(rom: &mut Rom, offset: Option<u32>) -> Result<u32, String> {
    let facts = facts(rom, offset);
    facts.device_table().map(|(offset, _)| offset.0).map_err(|error| error.to_string())
}

#[test]
fn tables_are_found_after_the_bootloader() {
    let lens = [0x3000_usize, 0x7ff0, 0x8000, 0x9000, 0xfff0];
    for len in lens {
        for at in (0x8000_u32..=0x2_0000).step_by(0x1000) {
            let end = len.next_multiple_of(0x1000) as u32;
            let mut rom = device(&[(0, bootloader(len)), (at as usize, table(at))]);
            if at < end {
                // Inside the bootloader: it is ignored, and the bootloader's bytes are overwritten.
                continue;
            }
            assert_eq!(place(&mut rom, None), Ok(at), "0x{len:x}");
            assert_eq!(place(&mut rom, Some(at)), Ok(at), "0x{len:x}");
        }
    }
    // Further up than tables usually are.
    let mut rom = device(&[(0, bootloader(0x3000)), (0x8_0000, table(0x8_0000))]);
    assert_eq!(place(&mut rom, None), Ok(0x8_0000));
}

#[test]
fn what_is_not_certain_is_told() {
    let torn = {
        let mut bytes = table(0xa000);
        // The first letter of the partition's name.
        bytes[12] ^= 1;
        bytes
    };
    let cases = [
        (
            vec![],
            "no partition table from 0x3000 to 0x100000, and the board has a bootloader that ends at 0x3000",
        ),
        (
            vec![(0x8000, table(0x8000)), (0xa000, table(0xa000))],
            "the board has 2 partition tables, at 0x8000 and 0xa000",
        ),
        (
            vec![(0xa000, torn)],
            "the board's partition table at 0xa000: MD5 of the partition table is",
        ),
        // Its app would overlap the table itself.
        (
            vec![(0x1_0000, table(0x8000))],
            "the board's partition table at 0x10000: partition main at 0x10000 begins before",
        ),
    ];
    for (tables, words) in cases {
        let mut parts = tables;
        parts.push((0, bootloader(0x3000)));
        let mut rom = device(&parts);
        let said = place(&mut rom, None).expect_err(words);
        assert!(said.starts_with(words), "{said}");
        let before = rom.flash.clone();
        let options = FlashOptions::default();
        let plan = plan();
        // Whether or not the user supplies a table.
        for own in [true, false] {
            let mut plan = plan.clone();
            plan.own.table = own;
            rom.restart();
            let error =
                flash_plan(&mut rom, &plan, &ResolveOptions::default(), &options, &mut |_| {});
            assert_eq!(error.unwrap_err().class(), ErrorClass::Plan, "{words}");
            assert!(rom.flash == before);
        }
    }
}

#[test]
fn programs_are_no_bootloaders() {
    for len in [0x3000, 0x9000] {
        let mut rom = device(&[(0, program(len))]);
        let found = facts(&mut rom, None);
        assert!(matches!(found.boot, BootImage::Program(_)), "{:?}", found.boot);
        assert!(matches!(found.device_table(), Err(PlanError::TableNotFound { .. })));
        let options = FlashOptions::default();
        let report =
            flash_plan(&mut rom, &plan(), &ResolveOptions::default(), &options, &mut |_| {});
        let writes = report.unwrap().writes;
        let names: Vec<&str> = writes.iter().map(|write| write.name.as_str()).collect();
        assert_eq!(names, ["bootloader", "partition table", "app"]);
    }
}

/// Damages any one of the replies: the same table is found, or none.
#[test]
fn damaged_replies_do_not_move_the_table() {
    let parts =
        [(0, bootloader(0x9000)), (0xa000, table(0xa000)), (0xc000, vec![0xaa, 0x50, 1, 2])];
    let mut clean = device(&parts);
    let expected = facts(&mut clean, None);
    assert_eq!(expected.device_table().map(|(offset, _)| offset), Ok(FlashOffset(0xa000)));
    let frames = clean.frames[Way::ToHost as usize];
    for fault in [Fault::Flipped, Fault::FlippedEarly, Fault::ByteLost, Fault::Doubled] {
        for number in 0..frames {
            let mut rom = device(&parts);
            rom.fault = Some((Way::ToHost, number, fault));
            let mut events = |_| {};
            let mut session = Session::new(&mut rom, ChipDb::embedded(), None, &mut events);
            let Ok(info) = session.bring_up(&FlashOptions::default()) else { continue };
            let Ok(found) = session.device_facts(&info, &TableHint::default()) else { continue };
            assert_eq!(found.tables, expected.tables, "{number} {fault:?}");
            assert_eq!(found.boot, expected.boot, "{number} {fault:?}");
        }
    }
}
