//! Reads Intel HEX files, and checks that the result can be written.
#![no_main]

use esplice_image::{from_intel_hex, to_intel_hex};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    match from_intel_hex(bytes) {
        Ok(writes) => {
            let text = to_intel_hex(&writes).expect("what was read lies in a flash");
            assert_eq!(from_intel_hex(text.as_bytes()).as_ref(), Ok(&writes));
        }
        Err(error) => {
            let _ = (error.to_string(), error.hint());
        }
    }
});
