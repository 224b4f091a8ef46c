//! Makes an app image from an ELF file.
//!
//! The result is identical to that of `esptool elf2image`, or to that of `espflash save-image`
//! where only espflash makes an image. The rules in `layout` were found by running both on ELF
//! files made for this purpose; see `tests/esptool.rs` and `tests/espflash.rs`.

use derive_setters::Setters;
use esplice_chip::{Addr, Chip};

use crate::elf::Elf;
use crate::header::xor;
use crate::layout::{Layout, page_size};
use crate::{FlashParams, ImageError, ImageHeader, sha256};

/// The part of the ELF that the image's bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ImageSource {
    /// Sections, or program headers if there are no sections or they can't be mapped into flash.
    #[default]
    Auto,
    /// Sections.
    Sections,
    /// Program headers.
    ProgramHeaders,
}

/// Padding that makes room for a signature after the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecurePad {
    /// Secure Boot v1: the image with its signature ends at a page boundary.
    V1,
    /// Secure Boot v2: the image ends at a page boundary, where the signature's sector follows.
    V2,
}

/// Options of an image.
#[derive(Debug, Clone, PartialEq, Eq, Setters)]
#[non_exhaustive]
pub struct ImageOptions {
    /// Flash parameters for the header.
    pub flash: FlashParams,
    /// Minimum chip revision, major × 100 + minor.
    pub min_rev: u16,
    /// Maximum chip revision, major × 100 + minor.
    pub max_rev: u16,
    /// The part of the ELF that the bytes come from.
    pub source: ImageSource,
    /// MMU page size in bytes; `None` for the app descriptor's, or else the chip's default.
    pub mmu_page_size: Option<u32>,
    /// Padding for a signature; `None` for an image that is not to be signed.
    pub secure_pad: Option<SecurePad>,
    /// SHA-256 of the ELF, if the caller already has it; otherwise it is computed.
    pub elf_sha256: Option<[u8; 32]>,
}

impl ImageOptions {
    /// Returns options with the chip's default flash parameters, any revision and
    /// [`ImageSource::Auto`].
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

    /// Checks that images of `chip` can hold a flash size of `bytes`.
    ///
    /// # Errors
    /// [`ImageError::FlashSize`] if the chip has no code for it.
    pub fn check_flash_size(chip: &Chip, bytes: u32) -> Result<(), ImageError> {
        flash_size_code(chip, bytes).map(|_| ())
    }
}

/// A segment of a finished image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageSegment {
    /// Load address, 0 for padding.
    pub addr: Addr,
    /// Length in bytes.
    pub len: u32,
    /// Offset of its first byte in the image.
    pub offset: usize,
    /// Key of the region it is loaded to or mapped in; `None` for padding.
    pub region: Option<String>,
}

/// A property of an image that will likely not work on the chip, although the format allows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageWarning {
    /// A segment is not where a program that maps flash from its first byte, as TinyGo's do,
    /// expects it.
    #[error(
        "segment for {addr} is at 0x{offset:x} in the image, where a program that maps flash from \
        its start does not look for it"
    )]
    MisplacedSegment {
        /// The segment's address.
        addr: Addr,
        /// The segment's offset in the image.
        offset: usize,
    },
    /// The ROM starts an in-place program at an address that is not its entry point.
    #[error("entry point is {entry}, the ROM starts the program at {started}")]
    EntryNotStarted {
        /// The entry point.
        entry: Addr,
        /// The address that the ROM jumps to.
        started: Addr,
    },
}

/// A finished image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppImage {
    /// The image, including its hash.
    pub bytes: Vec<u8>,
    /// The image header.
    pub header: ImageHeader,
    /// The segments, in order.
    pub segments: Vec<ImageSegment>,
    /// SHA-256 of the ELF.
    pub elf_sha256: [u8; 32],
    /// True if the app descriptor contains that hash.
    pub elf_sha256_patched: bool,
    /// The source used: [`ImageSource::Sections`] or [`ImageSource::ProgramHeaders`].
    pub source: ImageSource,
    /// Properties that will likely not work.
    pub warnings: Vec<ImageWarning>,
}

/// Makes the app image of `elf` for `chip`.
///
/// # Errors
/// [`ImageError`] if the ELF or the options are not suitable.
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

    for segment in &layout.segments {
        let (addr, len, region) = (segment.addr, segment.len, &segment.region);
        tracing::debug!(%addr, len, ?region, "segment of the image");
    }
    let elf_sha256 = options.elf_sha256.unwrap_or_else(|| sha256(elf));
    if let Some(field) = layout.elf_sha256_field()? {
        field.copy_from_slice(&elf_sha256);
    }
    Ok(AppImage {
        elf_sha256_patched: layout.descriptor,
        segments: layout.segments,
        bytes: with_checksum_and_hash(layout.bytes, layout.checksummed, chip.image.append_sha256),
        header,
        elf_sha256,
        source,
        warnings: Vec::new(),
    })
}

/// Returns whether program headers may work after sections failed with `error`: the sections can't
/// be mapped into flash, or there are none.
fn wants_program_headers(error: &ImageError) -> bool {
    matches!(
        error,
        ImageError::SamePage { .. } | ImageError::UnalignedFlash { .. } | ImageError::NoContent
    )
}

/// Returns byte 3 of the header.
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

/// Appends the checksum and the SHA-256.
pub(crate) fn with_checksum_and_hash(
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
