//! Sends requests to the virtual board's loader, and parses names of virtual boards.
#![no_main]

use esplice_chip::ChipDb;
use esplice_sim::{
    download::{Clocks, Loader, LoaderTarget},
    nor::Nor,
    spec::Spec,
};

struct Bare(Nor, bool);

impl LoaderTarget for Bare {
    fn read32(&mut self, addr: u32) -> u32 {
        addr
    }
    fn write32(&mut self, _: u32, _: u32) {}
    fn write_ram(&mut self, addr: u32, bytes: &[u8]) -> bool {
        addr.checked_add(bytes.len() as u32).is_some()
    }
    fn nor(&mut self) -> &mut Nor {
        &mut self.0
    }
    fn protect(&mut self, protected: bool) {
        self.1 = protected;
    }
    fn is_protected(&self, _: u32, _: u32) -> bool {
        self.1
    }
    fn clocks(&mut self) -> Clocks {
        Clocks { cpu: 20_000_000, spi: 5_000_000 }
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Spec::parse(text, ChipDb::embedded());
    }
    let Ok(chip) = ChipDb::embedded().find("esp32c3") else { return };
    let Some(sim) = &chip.sim else { return };
    let mut target = Bare(Nor::in_memory(1 << 20, &sim.flash), false);
    let mut loader = Loader::new(chip);
    for byte in bytes {
        if loader.receive(*byte, &mut target).then.is_some() {
            break;
        }
    }
});
