//! Reads images, partition tables and otadata, as files or from a device's flash.
#![no_main]

use esplice_chip::ChipDb;
use esplice_image::{AppDescriptor, Extent, ImageHeader, PartitionTable, booted_slot, inspect};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let report = inspect(bytes, ChipDb::embedded());
    let _ = (report.to_string(), report.is_sound());
    let _ = Extent::of(bytes).map(|extent| extent.checksum(bytes));
    let _ = AppDescriptor::of_image(bytes);
    if let Ok(header) = ImageHeader::from_bytes(bytes) {
        assert!(bytes.starts_with(&header.to_bytes()[..8]));
    }
    for slots in 0..4 {
        assert!(booted_slot(bytes, slots).is_none_or(|slot| slot < slots));
    }
    if let Ok(table) = PartitionTable::from_bytes(bytes)
        && let Ok(again) = table.to_bytes()
    {
        assert_eq!(PartitionTable::from_bytes(&again).as_ref(), Ok(&table));
    }
});
