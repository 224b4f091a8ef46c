//! Maps ELFs, however broken, and checks them against a layout.
#![no_main]

use esplice_chip::ChipDb;
use esplice_layout::Spec;

const FILE: &str = "[layout.heap]\nsize = \"96K\"\nlimit = \"64K\"\n[[layout.arena]]\nname = \"dma\"\nsize = \"16K\"\n";

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let chip = ChipDb::embedded().find("esp32c3").unwrap();
    let layout = Spec::parse("esplice.toml", FILE).unwrap().unwrap().settle(chip).unwrap();
    let _ = esplice_link::check(bytes, &layout);
    if let Ok(map) = esplice_link::map(bytes, chip) {
        for region in &map.regions {
            assert_eq!(region.used() + region.free(), region.len);
        }
        let _ = (map.to_text(), esplice_link::to_html(&map));
        assert!(esplice_link::diff(&map, &map).is_empty());
    }
});
