//! Reads UF2 files, and checks that the result can be written.
#![no_main]

use esplice_image::{Uf2Options, from_uf2, to_uf2};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    match from_uf2(bytes) {
        Ok(file) => {
            let options = Uf2Options { family: file.family.unwrap_or(0), chunk: None, md5: true };
            let again = to_uf2(&file.writes, &options).expect("what was read lies in a flash");
            assert_eq!(from_uf2(&again).expect("our own").writes, file.writes);
        }
        Err(error) => {
            let _ = (error.to_string(), error.hint());
        }
    }
});
