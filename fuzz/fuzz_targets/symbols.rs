//! Reads debug information, however broken; the input's last bytes are the addresses to look up.
#![no_main]

use esplice_monitor::{Registers, Symbols};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (elf, addresses) = bytes.split_at(bytes.len().saturating_sub(64));
    let Ok(symbols) = Symbols::from_elf(elf) else { return };
    for addr in addresses.chunks_exact(4) {
        let pc = u32::from_le_bytes([addr[0], addr[1], addr[2], addr[3]]);
        symbols.frames(pc.into());
        let registers = Registers { pc, x: [Some(pc); 32] };
        symbols.unwind(&registers, &|addr| Some(addr));
    }
});
