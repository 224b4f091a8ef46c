//! Reads flash plans that refer to files.
#![no_main]

use esplice_image::{DeviceFacts, FlashPlan, ResolveOptions, merged, resolve};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let read = |path: &str, most: u64| {
        assert!(most <= 16 << 20, "more of a file is read than any flash can hold");
        Ok(path.as_bytes().to_vec())
    };
    let Ok(plan) = FlashPlan::from_json(text, esplice_chip::ChipDb::embedded(), read) else {
        return;
    };
    let _ = merged(&plan);
    let facts = DeviceFacts {
        chip: plan.chip.name.clone(),
        revision: (0, 4),
        flash_size: Some(4 << 20),
        ..DeviceFacts::default()
    };
    if let Ok(resolved) = resolve(&plan, &facts, &ResolveOptions::default()) {
        let ends = |w: &esplice_image::Write| u64::from(w.offset.0) + w.data.len() as u64;
        assert!(resolved.writes.iter().all(|write| ends(write) <= 4 << 20));
    }
});
