//! ELF to a flash image without header, which the ROM maps and executes in place.
//!
//! The image is what `objcopy -O binary` makes of the ELF: each of its segments at its load address,
//! counted in flash, and zeros between them. The vendor calls this direct boot.

use esplice_chip::{Addr, Chip, RegionKind};

use crate::elf::{Elf, Load};
use crate::{ImageError, ImageSegment, ImageWarning};

/// A finished image without header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectImage {
    /// Flash from offset 0 on.
    pub bytes: Vec<u8>,
    /// Its segments, in order of their places; `addr` is where each runs.
    pub segments: Vec<ImageSegment>,
    /// What will likely not work.
    pub warnings: Vec<ImageWarning>,
}

/// Makes the image of `elf` for `chip`. Load addresses are offsets in flash, or addresses in one of
/// the windows that it is mapped in.
///
/// # Errors
/// [`ImageError::NoDirectBoot`] where the chip has no such boot, [`ImageError::NoDirectMagic`] where
/// the ROM would not take the image for one, [`ImageError::NotInPlace`] for a segment that flash can't
/// be mapped for, [`ImageError::LoadsOverlap`], and those of a bad ELF.
pub fn build_direct_image(elf: &[u8], chip: &Chip) -> Result<DirectImage, ImageError> {
    let name = || chip.display_name.clone();
    let direct = chip.image.direct.ok_or_else(|| ImageError::NoDirectBoot { chip: name() })?;
    let parsed = Elf::parse(elf, chip)?;
    let mut placed = Vec::new();
    for load in parsed.loads()? {
        placed.push((place_of(&load, chip)?, load));
    }
    placed.sort_by_key(|(place, _)| *place);

    let mut bytes: Vec<u8> = Vec::new();
    let mut segments = Vec::new();
    for (place, load) in placed {
        let place = place as usize;
        if place < bytes.len() {
            let (first, second) = (place as u32, bytes.len() as u32);
            return Err(ImageError::LoadsOverlap { name: load.name, place: first, end: second });
        }
        // Bounded by the largest flash that the chip can have, see `place_of`.
        bytes.resize(place, 0);
        bytes.extend_from_slice(load.bytes);
        let region = chip.region_at(Addr(load.addr)).map(|region| region.key.clone());
        let (addr, len) = (Addr(load.addr), load.bytes.len() as u32);
        segments.push(ImageSegment { addr, len, offset: place, region });
    }
    let word = direct.magic.to_le_bytes();
    let magic = [word, word].concat();
    if !bytes.starts_with(&magic) {
        let found = bytes.iter().take(magic.len()).copied().collect();
        return Err(ImageError::NoDirectMagic { magic: direct.magic, found });
    }
    let code = chip.regions.iter().find(|r| r.kind == RegionKind::Flash && r.access.execute);
    let started = Addr(code.map_or(0, |region| region.addr.0.wrapping_add(direct.entry_offset)));
    let entry = parsed.entry();
    let warnings = if entry == started {
        Vec::new()
    } else {
        vec![ImageWarning::EntryNotStarted { entry, started }]
    };
    Ok(DirectImage { bytes, segments, warnings })
}

/// Where in flash a segment stands. One that runs from flash must stand where its window shows it.
fn place_of(load: &Load<'_>, chip: &Chip) -> Result<u32, ImageError> {
    let in_flash = |addr: u32| {
        let region = chip.region_at(Addr(addr)).filter(|r| r.kind == RegionKind::Flash)?;
        region.backing.offset.checked_add(addr - region.addr.0)
    };
    let sizes = chip.image.flash_sizes.keys().filter_map(|name| esplice_chip::parse_size(name));
    let largest = sizes.max().unwrap_or(0);
    let place = in_flash(load.load_addr).unwrap_or(load.load_addr);
    let len = load.bytes.len() as u32;
    if place.checked_add(len).is_none_or(|end| end > largest) {
        let (name, addr) = (load.name.clone(), Addr(load.load_addr));
        return Err(ImageError::OutsideRegions { name, addr, len });
    }
    match in_flash(load.addr) {
        Some(shown) if shown != place => {
            let (name, addr) = (load.name.clone(), Addr(load.addr));
            Err(ImageError::NotInPlace { name, addr, shown, place })
        }
        _ => Ok(place),
    }
}
