//! Files with flash contents, as `image verify` and `image split` process them.
#![no_main]

use esplice_chip::{ChipDb, FlashOffset};
use esplice_image::{inspect_writes, merge, split, unpack, unxz};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let chips = ChipDb::embedded();
    // Sparse files would fill memory with erased flash, which takes time and finds nothing.
    const MOST: u64 = 4 << 20;
    let flash = match unpack(bytes) {
        Ok(Some(unpacked)) if unpacked.writes.iter().all(|write| write.end() <= MOST) => {
            let report = inspect_writes(unpacked.content, bytes.len(), &unpacked.writes, chips);
            let _ = (report.to_string(), report.is_sound());
            merge(&unpacked.writes, FlashOffset(0), None).expect("none lies over another")
        }
        Ok(Some(_)) => return,
        Ok(None) => {
            let _ = unxz(bytes, 1 << 20);
            bytes.to_vec()
        }
        Err(error) => {
            let _ = (error.to_string(), error.hint());
            return;
        }
    };
    let parts = split(&flash, chips);
    if !parts.is_empty() {
        let merged = merge(&parts, FlashOffset(0), None).expect("none lies over another");
        let (same, rest) = flash.split_at(merged.len());
        assert!(same == merged && rest.iter().all(|byte| *byte == 0xff));
    }
});
