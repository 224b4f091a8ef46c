//! Reads partition tables as CSV, writes them in both forms, and checks that both read back the
//! same.
#![no_main]

use esplice_chip::FlashOffset;
use esplice_image::{CsvOptions, PartitionTable};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let options =
        CsvOptions::new(FlashOffset(0x8000)).boot_offset(Some(FlashOffset(0)));
    let Ok(table) = PartitionTable::from_csv(text, &options) else { return };
    let _ = (table.faults(options.table_offset, Some(4 << 20)), table.to_string());
    if let Ok(bytes) = table.to_bytes() {
        assert_eq!(PartitionTable::from_bytes(&bytes).as_ref(), Ok(&table));
    }
    if let Ok(csv) = table.to_csv() {
        assert_eq!(PartitionTable::from_csv(&csv, &options), Ok(table));
    }
});
