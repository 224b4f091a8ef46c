//! Reads the plan and the description in build folders of ESP-IDF.
#![no_main]

use esplice_image::{IdfDescription, IdfPlan};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = IdfDescription::from_json(text);
    let Ok(plan) = IdfPlan::from_json(text) else { return };
    assert!(plan.files.is_sorted_by_key(|file| file.offset));
});
