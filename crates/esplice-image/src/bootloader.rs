//! Second-stage bootloaders, as the espflash library brings them.

use espflash::flasher::{FlashData, FlashMode as TheirMode, FlashSettings};
use espflash::image_format::idf::IdfBootloaderFormat;
use espflash::target::{Chip as TheirChip, XtalFrequency};
use esplice_chip::Chip;

use crate::{Extent, FlashMode, FlashParams, HeaderError, patch_flash};

/// A second-stage bootloader, its header set for a board's flash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootloader {
    /// The image.
    pub bytes: Vec<u8>,
    /// Minimum chip revision it runs on, major × 100 + minor.
    pub min_rev: u16,
    /// Maximum chip revision it runs on, major × 100 + minor.
    pub max_rev: u16,
}

/// Why there is no bootloader.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BootloaderError {
    /// The library does not know the chip.
    #[error("no bootloader for {chip}: the espflash library does not know it")]
    UnknownChip {
        /// The chip's name.
        chip: String,
    },
    /// The library has none for this crystal.
    #[error("no bootloader for {chip} with a crystal of {xtal_mhz} MHz")]
    UnknownCrystal {
        /// The chip's name.
        chip: String,
        /// The crystal, in MHz.
        xtal_mhz: u32,
    },
    /// The library refuses.
    #[error("no bootloader for {chip}: {message}")]
    Library {
        /// The chip's name.
        chip: String,
        /// What it says.
        message: String,
    },
    /// What the library gives is no image.
    #[error("bootloader: {0}")]
    Image(#[from] HeaderError),
    /// A flash parameter has no code for the chip.
    #[error("flash {parameter} has no code for {chip}")]
    UnknownFlash {
        /// `frequency 80m`, `size 4194304`.
        parameter: String,
        /// The chip's name.
        chip: String,
    },
}

impl BootloaderError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some("give a bootloader of your own, built with ESP-IDF for this chip".into())
    }
}

/// The bootloader for `chip` with its usual crystal, its header set to `flash`.
///
/// # Errors
/// [`BootloaderError`] where the library has none, or `flash` has no code.
pub fn second_stage(chip: &Chip, flash: &FlashParams) -> Result<Bootloader, BootloaderError> {
    second_stage_for(chip, flash, chip.xtal_mhz, 0)
}

/// [`second_stage`] for a crystal, and for chips of revision `min_rev` (major × 100 + minor) and
/// later: of some chips the library has one for older and one for newer silicon.
///
/// # Errors
/// See there.
pub fn second_stage_for(
    chip: &Chip,
    flash: &FlashParams,
    xtal_mhz: u32,
    min_rev: u16,
) -> Result<Bootloader, BootloaderError> {
    let name = || chip.display_name.clone();
    let their_chip: TheirChip =
        chip.name.parse().map_err(|_| BootloaderError::UnknownChip { chip: name() })?;
    let xtal = match xtal_mhz {
        26 => XtalFrequency::_26Mhz,
        32 => XtalFrequency::_32Mhz,
        40 => XtalFrequency::_40Mhz,
        48 => XtalFrequency::_48Mhz,
        _ => return Err(BootloaderError::UnknownCrystal { chip: name(), xtal_mhz }),
    };
    // The mode chooses between bootloaders; frequency and size are set below, by the chip's data.
    let mode = match flash.mode {
        FlashMode::Qio => TheirMode::Qio,
        FlashMode::Qout => TheirMode::Qout,
        FlashMode::Dio => TheirMode::Dio,
        FlashMode::Dout => TheirMode::Dout,
    };
    let settings = FlashSettings::new(Some(mode), None, None);
    let data = FlashData::new(settings, min_rev, None, their_chip, xtal);
    let elf = empty_elf(chip.elf_machine);
    let format = IdfBootloaderFormat::new(&elf, &data, None, None, None, None)
        .map_err(|error| BootloaderError::Library { chip: name(), message: error.to_string() })?;
    // The first of its flash segments is the bootloader.
    let mut bytes =
        format.flash_segments().next().map(|first| first.data.into_owned()).unwrap_or_default();

    let unknown = |parameter| BootloaderError::UnknownFlash { parameter, chip: name() };
    let freq = chip.image.flash_frequencies.get(&flash.freq).copied();
    let freq = freq.ok_or_else(|| unknown(format!("frequency {}", flash.freq)))?;
    let (size, _) = chip
        .image
        .flash_size_code(flash.size)
        .ok_or_else(|| unknown(format!("size {}", flash.size)))?;
    patch_flash(&mut bytes, None, Some(freq), Some(size))?;
    let header = Extent::of(&bytes)?.header;
    Ok(Bootloader { bytes, min_rev: header.min_rev, max_rev: header.max_rev })
}

/// An executable without content: the library wants one to make its app image of.
fn empty_elf(machine: u16) -> Vec<u8> {
    let mut elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend_from_slice(&2_u16.to_le_bytes()); // e_type: ET_EXEC
    elf.extend_from_slice(&machine.to_le_bytes());
    elf.extend_from_slice(&1_u32.to_le_bytes()); // e_version
    elf.extend_from_slice(&[0; 16]); // e_entry, e_phoff, e_shoff, e_flags
    for half in [52_u16, 32, 0, 40, 0, 0] {
        // e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx
        elf.extend_from_slice(&half.to_le_bytes());
    }
    elf
}
