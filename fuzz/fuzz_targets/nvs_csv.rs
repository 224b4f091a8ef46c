//! Reads CSV files of NVS partitions, makes the partitions, and checks that they read back the same.
#![no_main]

use esplice_nvs::{Csv, MakeOptions, Record, make, read, to_csv};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut csv = Csv::default();
    let mut file = |path: &str| if path.len() > 3 { Ok(path.into()) } else { Err("none".into()) };
    if let Err(error) = csv.add(text, &mut file) {
        assert!(error.line > 0 && error.column > 0);
        return;
    }
    let options = MakeOptions::new(0x8000);
    let Ok(bytes) = make(&csv, &options) else { return };
    let dump = read(&bytes, None);
    assert!(dump.defects.is_empty(), "{:?}", dump.defects);
    let pairs = csv.lines().iter().filter_map(|line| match &line.record {
        Record::Pair { key, value } => Some((key, value)),
        _ => None,
    });
    assert!(pairs.eq(dump.items.iter().map(|item| (&item.key, &item.value))));
    let again = to_csv(&dump);
    if again.left_out.is_empty() {
        let mut csv = Csv::default();
        csv.add(&again.text, &mut |_| Err(String::new())).unwrap();
        // Grouped by namespace, so the order may differ.
        let dump = read(&make(&csv, &MakeOptions::new(0x10000)).unwrap(), None);
        assert_eq!(to_csv(&dump).text, again.text);
    }
});
