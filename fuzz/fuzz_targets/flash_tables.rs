//! Finds what boots and where the tables are in flash contents, and resolves a plan with that.
#![no_main]

use esplice_chip::{ChipDb, FlashOffset};
use esplice_image::{DeviceFacts, PartitionTable};

libfuzzer_sys::fuzz_target!(|parts: (Vec<u8>, Vec<u8>, u8)| {
    let (boot, table, sector) = parts;
    let mut flash = vec![0xff; 0x2_0000];
    let mut put = |at: usize, bytes: &[u8]| {
        let len = bytes.len().min(flash.len() - at);
        flash[at..at + len].copy_from_slice(&bytes[..len]);
    };
    put(0, &boot);
    put(usize::from(sector & 0x1f) * 0x1000, &table);
    for chip in ChipDb::embedded().chips() {
        let facts = DeviceFacts::of_flash(&flash, chip, None);
        if let Ok((offset, table)) = facts.device_table() {
            assert_eq!(table.check_for_boot(offset, None), Ok(()));
        }
        let _ = DeviceFacts::of_flash(&flash, chip, Some(FlashOffset(0x8000)));
    }
    if let Ok(table) = PartitionTable::from_bytes(&table) {
        let _ = (table.faults(FlashOffset(0x8000), None), table.to_csv(), table.app_target(None));
    }
});
