//! Reads the content of NVS partitions, with and without a key.
#![no_main]

use esplice_nvs::{Key, read, to_csv};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let dump = read(bytes, None);
    let _ = (dump.seems_encrypted(), to_csv(&dump));
    dump.defects.iter().for_each(|defect| drop(defect.to_string()));
    let Ok(key) = Key::from_bytes(bytes) else { return };
    let _ = read(bytes, Some(&key));
});
