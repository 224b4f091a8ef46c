//! Second-stage bootloaders from the espflash library.

use espflash::flasher::{FlashData, FlashMode as TheirMode, FlashSettings};
use espflash::image_format::idf::IdfBootloaderFormat;
use espflash::target::{Chip as TheirChip, XtalFrequency};
use esplice_chip::Chip;

use crate::{Extent, FlashMode, FlashParams, HeaderError, patch_flash};

/// A second-stage bootloader with its header set for a board's flash.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bootloader {
    /// The image.
    pub bytes: Vec<u8>,
    /// Minimum chip revision, major × 100 + minor.
    pub min_rev: u16,
    /// Maximum chip revision, major × 100 + minor.
    pub max_rev: u16,
}

/// The reason why no bootloader is available.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BootloaderError {
    /// The library does not know the chip.
    #[error("no bootloader for {chip}: the espflash library does not know it")]
    UnknownChip {
        /// The chip's name.
        chip: String,
    },
    /// The library has no bootloader for this crystal.
    #[error("no bootloader for {chip} with a crystal of {xtal_mhz} MHz")]
    UnknownCrystal {
        /// The chip's name.
        chip: String,
        /// Crystal frequency in MHz.
        xtal_mhz: u32,
    },
    /// The library returned an error.
    #[error("no bootloader for {chip}: {message}")]
    Library {
        /// The chip's name.
        chip: String,
        /// The library's error message.
        message: String,
    },
    /// The library's bootloader is not a valid image.
    #[error("bootloader: {0}")]
    Image(#[from] HeaderError),
    /// A flash parameter has no code for the chip.
    #[error("flash {parameter} has no code for {chip}")]
    UnknownFlash {
        /// The parameter, such as `frequency 80m` or `size 4194304`.
        parameter: String,
        /// The chip's name.
        chip: String,
    },
}

impl BootloaderError {
    /// Returns advice on how to fix the error.
    pub fn hint(&self) -> Option<String> {
        Some("pass your own bootloader, built with ESP-IDF for this chip".into())
    }
}

/// Returns the bootloader for `chip` with its default crystal, with the header set to `flash`.
///
/// # Errors
/// [`BootloaderError`] if the library has no bootloader for the chip, or `flash` has no code.
pub fn second_stage(chip: &Chip, flash: &FlashParams) -> Result<Bootloader, BootloaderError> {
    second_stage_for(chip, flash, chip.xtal_mhz, 0)
}

/// Returns the bootloader for a crystal and for chips of revision `min_rev` (major × 100 + minor)
/// or later. For some chips the library has one bootloader for old and one for new silicon.
///
/// # Errors
/// The same as for [`second_stage`].
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
    // The mode selects among bootloaders. Frequency and size are set below from the chip's data.
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
    // The library's first flash segment is the bootloader.
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

/// Returns an executable without content, which the library needs to make its app image.
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
