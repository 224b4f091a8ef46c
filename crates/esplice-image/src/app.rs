//! ELF to app image.
//!
//! The result equals that of `esptool elf2image` to the byte, and that of `espflash save-image` where only
//! that makes an image; the rules in `layout` were found by running both on ELFs made for the purpose, see
//! `tests/esptool.rs` and `tests/espflash.rs`.

use esplice_chip::{Addr, Chip};

use crate::elf::Elf;
use crate::header::xor;
use crate::layout::{Layout, page_size};
use crate::{FlashParams, ImageError, ImageHeader, sha256};

/// Where the bytes are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ImageSource {
    /// Sections; program headers where sections can't be mapped into flash, or there are none.
    #[default]
    Auto,
    /// Sections.
    Sections,
    /// Program headers.
    ProgramHeaders,
}

/// How an image is filled up so that its signature can follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecurePad {
    /// For Secure Boot v1: with its signature behind it the image ends at a page.
    V1,
    /// For Secure Boot v2: the image ends at a page, where the signature's sector follows.
    V2,
}

/// Options of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageOptions {
    /// Flash parameters for the header.
    pub flash: FlashParams,
    /// Minimum chip revision, major × 100 + minor.
    pub min_rev: u16,
    /// Maximum chip revision, major × 100 + minor.
    pub max_rev: u16,
    /// Where the bytes are taken from.
    pub source: ImageSource,
    /// MMU page size in bytes; without one the app descriptor's, or the chip's usual one.
    pub mmu_page_size: Option<u32>,
    /// Filling for a signature; none for an image that is not to be signed.
    pub secure_pad: Option<SecurePad>,
    /// The SHA-256 of the ELF, for callers that have it already; computed where there is none.
    pub elf_sha256: Option<[u8; 32]>,
}

impl ImageOptions {
    /// The chip's default flash parameters, any revision, [`ImageSource::Auto`].
    pub fn for_chip(chip: &Chip) -> Self {
        Self {
            flash: FlashParams::for_chip(chip),
            min_rev: 0,
            max_rev: u16::MAX,
            source: ImageSource::Auto,
            mmu_page_size: None,
            secure_pad: None,
            elf_sha256: None,
        }
    }

    /// Whether images of `chip` can name a flash of `bytes`.
    ///
    /// # Errors
    /// [`ImageError::FlashSize`].
    pub fn check_flash_size(chip: &Chip, bytes: u32) -> Result<(), ImageError> {
        flash_size_code(chip, bytes).map(|_| ())
    }
}

/// A segment of a finished image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSegment {
    /// Load address, 0 for padding.
    pub addr: Addr,
    /// Length in bytes.
    pub len: u32,
    /// Place of its first byte in the image.
    pub offset: usize,
    /// Key of the region it is loaded to or mapped in; `None` for padding.
    pub region: Option<String>,
}

/// What will likely not work on the chip, though the format allows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageWarning {
    /// A program that maps flash from its first byte, as TinyGo's do, reads something else.
    #[error(
        "segment for {addr} stands at 0x{offset:x} of the image, where a program that maps flash from \
        its start does not look for it"
    )]
    NotWhereMapped {
        /// Its address.
        addr: Addr,
        /// Its place in the image.
        offset: usize,
    },
    /// The ROM starts the program in place elsewhere than at its entry point.
    #[error("entry point is {entry}, the ROM starts the program at {started}")]
    EntryNotStarted {
        /// The entry point.
        entry: Addr,
        /// Where the ROM jumps to.
        started: Addr,
    },
}

/// A finished image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppImage {
    /// The image, hash included.
    pub bytes: Vec<u8>,
    /// Its header.
    pub header: ImageHeader,
    /// Its segments, in order.
    pub segments: Vec<ImageSegment>,
    /// SHA-256 of the ELF.
    pub elf_sha256: [u8; 32],
    /// Whether that stands in the app descriptor.
    pub elf_sha256_patched: bool,
    /// [`ImageSource::Sections`] or [`ImageSource::ProgramHeaders`], whichever was taken.
    pub source: ImageSource,
    /// What will likely not work.
    pub warnings: Vec<ImageWarning>,
}

/// Makes the app image of `elf` for `chip`.
///
/// # Errors
/// [`ImageError`], see there.
pub fn build_image(
    elf: &[u8],
    chip: &Chip,
    options: &ImageOptions,
) -> Result<AppImage, ImageError> {
    let flash_size_freq = flash_codes(chip, &options.flash)?;
    let parsed = Elf::parse(elf, chip)?;

    let page = page_size(chip, options.mmu_page_size, &parsed)?;
    let (source, mut layout) = match options.source {
        ImageSource::Sections => (options.source, Layout::of_sections(&parsed, chip, page)?),
        ImageSource::ProgramHeaders => (options.source, Layout::of_segments(&parsed, chip, page)?),
        ImageSource::Auto => match Layout::of_sections(&parsed, chip, page) {
            Ok(layout) => (ImageSource::Sections, layout),
            Err(error) if wants_program_headers(&error) => {
                let layout = Layout::of_segments(&parsed, chip, page).map_err(|_| error)?;
                (ImageSource::ProgramHeaders, layout)
            }
            Err(error) => return Err(error),
        },
    };

    if let Some(pad) = options.secure_pad {
        layout.fill_for_signature(pad, chip, page)?;
    }

    let header = ImageHeader {
        segment_count: layout.segments.len() as u8,
        flash_mode: options.flash.mode.code(),
        flash_size_freq,
        entry: parsed.entry(),
        wp_pin: chip.image.wp_pin,
        drive: [0; 3],
        chip_id: chip.image.chip_id,
        min_rev_deprecated: 0,
        min_rev: options.min_rev,
        max_rev: options.max_rev,
        reserved: [0; 4],
        append_sha256: u8::from(chip.image.append_sha256),
    };
    layout.bytes[..ImageHeader::LEN].copy_from_slice(&header.to_bytes());

    let elf_sha256 = options.elf_sha256.unwrap_or_else(|| sha256(elf));
    if let Some(field) = layout.elf_sha256_field()? {
        field.copy_from_slice(&elf_sha256);
    }
    Ok(AppImage {
        elf_sha256_patched: layout.descriptor,
        segments: layout.segments,
        bytes: finished(layout.bytes, layout.checksummed, chip.image.append_sha256),
        header,
        elf_sha256,
        source,
        warnings: Vec::new(),
    })
}

/// Whether sections fail where program headers may not: no mapping of them into flash, or none.
fn wants_program_headers(error: &ImageError) -> bool {
    matches!(
        error,
        ImageError::SamePage { .. } | ImageError::UnalignedFlash { .. } | ImageError::NoContent
    )
}

/// Byte 3 of the header.
pub(crate) fn flash_codes(chip: &Chip, flash: &FlashParams) -> Result<u8, ImageError> {
    let image = &chip.image;
    let freq = image.flash_frequencies.get(&flash.freq).ok_or_else(|| ImageError::FlashFreq {
        freq: flash.freq.clone(),
        chip: chip.display_name.clone(),
        known: image.flash_frequencies.keys().cloned().collect(),
    })?;
    Ok((flash_size_code(chip, flash.size)? << 4) | (freq & 0xf))
}

fn flash_size_code(chip: &Chip, size: u32) -> Result<u8, ImageError> {
    let image = &chip.image;
    let code = image.flash_size_code(size).map(|(code, _)| code);
    code.ok_or_else(|| {
        let mut known: Vec<String> = image.flash_sizes.keys().cloned().collect();
        known.sort_by_key(|name| esplice_chip::parse_size(name));
        ImageError::FlashSize { size, chip: chip.display_name.clone(), known }
    })
}

/// Appends checksum and SHA-256.
pub(crate) fn finished(
    mut bytes: Vec<u8>,
    segments: Vec<std::ops::Range<usize>>,
    append_sha256: bool,
) -> Vec<u8> {
    let checksum = segments.into_iter().fold(0xef, |sum, range| sum ^ xor(&bytes[range]));
    bytes.resize(bytes.len() | 0xf, 0);
    bytes.push(checksum);
    if append_sha256 {
        let hash = sha256(&bytes);
        bytes.extend_from_slice(&hash);
    }
    bytes
}
