//! Makes a flash image without a header, which the ROM maps and executes in place, from an ELF
//! file.
//!
//! The image is identical to the output of `objcopy -O binary`: each segment of the ELF at its load
//! address, as an offset in flash, with zeros in between. The vendor calls this direct boot.

use esplice_chip::{Addr, Chip, RegionKind};

use crate::elf::{Elf, Load};
use crate::{ImageError, ImageSegment, ImageWarning};

/// A finished image without a header.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirectImage {
    /// Content of flash from offset 0.
    pub bytes: Vec<u8>,
    /// The segments, ordered by offset; `addr` is the address at which each one runs.
    pub segments: Vec<ImageSegment>,
    /// Properties that will likely not work.
    pub warnings: Vec<ImageWarning>,
}

/// Makes the image of `elf` for `chip`. Load addresses are flash offsets, or addresses in one of
/// the windows that map flash.
///
/// # Errors
/// [`ImageError::NoDirectBoot`] if the chip does not support direct boot,
/// [`ImageError::NoDirectMagic`] if the ROM would not recognise the image,
/// [`ImageError::NotInPlace`] for a segment that can't be mapped at its address,
/// [`ImageError::LoadsOverlap`], and the errors of a bad ELF.
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
        // Bounded by the largest flash of the chip, see `place_of`.
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

/// Returns a segment's flash offset. A segment that runs from flash must be where its window maps
/// it.
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
