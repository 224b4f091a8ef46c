//! Detection of the chip that a program was linked for, if its ELF does not name one.

use std::sync::Arc;

use esplice_chip::{Addr, Chip, ChipDb, RegionKind};

use crate::elf::Elf;
use crate::is_rom_program;

/// Symbol at the end of TinyGo's heap, which its linker scripts put at or near the end of RAM.
const HEAP_END: &str = "_heap_end";

/// Returns the chip that TinyGo's linker scripts placed a program for, judging by its addresses:
/// TinyGo does not store the chip's name in the ELF. Returns `None` for other ELF files, and if
/// several of `chips` are equally likely.
pub fn rom_program_chip<'a>(elf: &[u8], chips: &'a ChipDb) -> Option<&'a Arc<Chip>> {
    let mut found: Option<(u32, &Arc<Chip>)> = None;
    let mut tied = false;
    for chip in chips.chips().filter(|c| c.toolchain.tinygo.is_some()) {
        let Some(unused) = unused_ram(elf, chip) else { continue };
        tied = found.is_some_and(|(least, _)| least == unused);
        if found.is_none_or(|(least, _)| unused < least) {
            found = Some((unused, chip));
        }
    }
    found.filter(|_| !tied).map(|(_, chip)| chip)
}

/// Returns the number of RAM bytes after the heap's end, if the program fits the chip. If two chips
/// have their memory at the same addresses, the program is for the one with less unused RAM.
fn unused_ram(elf: &[u8], chip: &Chip) -> Option<u32> {
    let parsed = Elf::parse(elf, chip).ok().filter(|_| is_rom_program(elf, chip))?;
    let fits = |(addr, len): (u32, u32)| {
        let region = chip.region_at(Addr(addr)).filter(|r| r.kind != RegionKind::Rom);
        region.is_some_and(|region| len <= region.bytes_after(Addr(addr)))
    };
    if !parsed.memory_ranges().ok()?.into_iter().all(fits) {
        return None;
    }
    let Ok(end) = parsed.symbol(HEAP_END) else { return Some(u32::MAX) };
    // The symbol may be the first address after the region.
    let region = chip.region_at(Addr(end.0.checked_sub(1)?));
    let region = region.filter(|region| region.kind == RegionKind::Ram)?;
    Some(region.bytes_after(Addr(end.0 - 1)) - 1)
}
