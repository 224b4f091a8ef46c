//! Reads layout files of any contents: each is refused with a message, or yields scripts and
//! modules.
#![no_main]

use esplice_chip::ChipDb;
use esplice_layout::{Linker, ModuleOptions, Spec, esp_idf, explain, inject, rust_module, tinygo};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = esplice_layout::project_target(text);
    let Ok(Some(spec)) = Spec::parse("esplice.toml", text) else { return };
    for chip in ChipDb::embedded().chips() {
        let layout = match spec.settle(chip) {
            Ok(layout) => layout,
            Err(error) => {
                let _ = (error.to_string(), error.hint());
                continue;
            }
        };
        for linker in [Linker::Lld, Linker::Gnu] {
            let injection = inject(&layout, linker);
            assert!(explain(&layout, injection.script()).len() <= 2 * layout.arenas.len() + 2);
        }
        let _ = (
            rust_module(&layout, ModuleOptions::default().device(true).safe(false)),
            rust_module(&layout, ModuleOptions::default().device(false).safe(true)),
            esp_idf(&layout),
        );
        let _ = tinygo(&layout, "board", "targets/chip.ld", "/own.ld");
        for arena in &layout.arenas {
            let room = layout.room(&arena.region).unwrap();
            assert!(arena.size.bytes <= room.len);
            assert!(arena.addr.is_none_or(|addr| room.contains(addr) && addr % arena.align == 0));
        }
    }
});
