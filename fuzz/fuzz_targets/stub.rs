//! Parses stub files.
#![no_main]

use esplice_chip::ChipDb;
use esplice_flash::Stub;

libfuzzer_sys::fuzz_target!(|json: &[u8]| {
    let Ok(stub) = Stub::parse(json) else { return };
    let code = stub.text.bytes.len();
    assert!(code > 0 && code < json.len());
    let entry = stub.entry.0.checked_sub(stub.text.addr.0).expect("the entry is in the code");
    assert!((entry as usize) < code);
    for chip in ChipDb::embedded().chips() {
        let _ = stub.check(chip);
    }
});
