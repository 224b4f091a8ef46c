//! Reads a record of a layout-stable link, and checks that it is written back the same.
#![no_main]

use esplice_link::stable::Record;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(record) = Record::from_bytes(bytes) else { return };
    let again = Record::from_bytes(&record.to_bytes());
    assert_eq!(again.as_ref(), Ok(&record));
});
