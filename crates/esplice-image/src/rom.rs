//! ELF to an image that the ROM loads and that maps flash itself, and to an app image of the same
//! program.
//!
//! TinyGo's rule (TinyGo, builder/esp.go, `makeESPFirmwareImage`): a segment for each section with
//! bytes, in order of address. Its linker script (targets/esp32c3.ld) counts on it: flash is mapped
//! from its first byte on, and each section stands in the image where its address says.

use esplice_chip::{Addr, Chip};

use crate::app::{finished, flash_codes};
use crate::elf::{Elf, Piece};
use crate::{
    AppDescriptor, AppImage, FlashMode, FlashParams, ImageError, ImageHeader, ImageOptions,
    ImageSegment, ImageSource, ImageWarning, SegmentHeader, sha256,
};

/// Options of an image that the ROM loads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RomOptions {
    /// Flash parameters for the header.
    pub flash: FlashParams,
    /// Whether a SHA-256 is appended.
    pub append_sha256: bool,
}

impl RomOptions {
    /// What TinyGo writes: flash mode dio, 2 MB, and a hash, which later releases leave out.
    pub fn for_chip(chip: &Chip) -> Self {
        let flash =
            FlashParams { mode: FlashMode::Dio, size: 2 << 20, ..FlashParams::for_chip(chip) };
        Self { flash, append_sha256: true }
    }
}

/// Makes the image of `elf` that the ROM of `chip` loads, equal to TinyGo's own.
///
/// # Errors
/// [`ImageError`], see there.
pub fn build_rom_image(
    elf: &[u8],
    chip: &Chip,
    options: &RomOptions,
) -> Result<AppImage, ImageError> {
    let parsed = Elf::parse(elf, chip)?;
    let header = ImageHeader {
        flash_mode: options.flash.mode.code(),
        flash_size_freq: flash_codes(chip, &options.flash)?,
        entry: parsed.entry(),
        max_rev: 0,
        append_sha256: u8::from(options.append_sha256),
        ..header(chip)
    };
    let mut image = Segments::new(chip);
    for piece in by_address(&parsed)? {
        image.push(&piece)?;
    }
    let misplaced = image.misplaced(chip, chip.image.boot_offset.0);
    let mut made = image.finish(header, chip, elf)?;
    made.warnings.splice(..0, misplaced);
    Ok(made)
}

/// Makes an app image, for the second-stage bootloader, of a program made for the ROM: `descriptor`
/// comes first, then all that [`build_rom_image`] makes, a page of the MMU further on. It starts at
/// `start`, where the program goes on once flash is mapped.
///
/// # Errors
/// [`ImageError::NoSymbol`] without `start`; otherwise as [`build_rom_image`].
pub fn build_adopted_image(
    elf: &[u8],
    chip: &Chip,
    options: &ImageOptions,
    start: &str,
    descriptor: &AppDescriptor,
) -> Result<AppImage, ImageError> {
    let parsed = Elf::parse(elf, chip)?;
    let header = ImageHeader {
        flash_mode: options.flash.mode.code(),
        flash_size_freq: flash_codes(chip, &options.flash)?,
        entry: parsed.symbol(start)?,
        min_rev: options.min_rev,
        max_rev: options.max_rev,
        ..header(chip)
    };
    let pieces = by_address(&parsed)?;
    let page = chip.image.mmu_page_sizes.first().copied().unwrap_or(0x1_0000);
    let mapped = pieces.iter().any(Piece::is_flash);
    // The next segment's header comes where the image's own would be, a page further.
    let room = if mapped { page as usize - SegmentHeader::LEN } else { AppDescriptor::LEN };
    let elf_sha256 = sha256(elf);
    let mut first = AppDescriptor { elf_sha256, ..descriptor.clone() }.to_bytes().to_vec();
    first.resize(room, 0);

    let mut image = Segments::new(chip);
    image.push_padding(&first);
    for piece in &pieces {
        image.push(piece)?;
    }
    image.check_mapping(chip, &pieces, page)?;
    let made = image.finish(header, chip, elf)?;
    Ok(AppImage { elf_sha256_patched: true, ..made })
}

/// Whether `elf` was linked by TinyGo's scripts to be loaded by the ROM: their sections that make
/// room for headers are in it.
pub fn is_rom_program(elf: &[u8], chip: &Chip) -> bool {
    Elf::parse(elf, chip).is_ok_and(|elf| elf.has_section(".text_dummy"))
}

/// The fields that are the same for all.
fn header(chip: &Chip) -> ImageHeader {
    ImageHeader {
        segment_count: 0,
        flash_mode: 0,
        flash_size_freq: 0,
        entry: Addr(0),
        wp_pin: chip.image.wp_pin,
        drive: [0; 3],
        chip_id: chip.image.chip_id,
        min_rev_deprecated: 0,
        min_rev: 0,
        max_rev: u16::MAX,
        reserved: [0; 4],
        append_sha256: u8::from(chip.image.append_sha256),
    }
}

fn by_address<'d>(elf: &Elf<'d>) -> Result<Vec<Piece<'d>>, ImageError> {
    let mut pieces = elf.allocated()?;
    if pieces.is_empty() {
        return Err(ImageError::NoContent);
    }
    pieces.sort_by_key(|piece| piece.addr);
    Ok(pieces)
}

/// An image on its way.
struct Segments {
    bytes: Vec<u8>,
    segments: Vec<ImageSegment>,
    max: usize,
}

impl Segments {
    fn new(chip: &Chip) -> Self {
        let max = chip.image.max_segments.min(usize::from(u8::MAX));
        Self { bytes: vec![0; ImageHeader::LEN], segments: Vec::new(), max }
    }

    fn begin(&mut self, addr: u32, len: u32, region: Option<&str>) {
        self.bytes.extend_from_slice(&addr.to_le_bytes());
        self.bytes.extend_from_slice(&len.to_le_bytes());
        let (offset, region) = (self.bytes.len(), region.map(str::to_owned));
        self.segments.push(ImageSegment { addr: Addr(addr), len, offset, region });
    }

    fn push_padding(&mut self, data: &[u8]) {
        self.begin(0, data.len() as u32, None);
        self.bytes.extend_from_slice(data);
    }

    fn push(&mut self, piece: &Piece<'_>) -> Result<(), ImageError> {
        self.begin(piece.addr, piece.len, Some(&piece.region.key));
        for part in &piece.parts {
            self.bytes.extend_from_slice(part);
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        match self.segments.len() {
            count if count > self.max => Err(ImageError::TooManySegments { count, max: self.max }),
            _ => Ok(()),
        }
    }

    /// Flash segments that a program which maps flash from its first byte would not find; the image
    /// stands at `boot_offset`.
    fn misplaced(&self, chip: &Chip, boot_offset: u32) -> Vec<ImageWarning> {
        let flash = |segment: &&ImageSegment| {
            chip.region_at(segment.addr).is_some_and(|region| {
                let start = region.backing.offset.wrapping_add(segment.addr.0 - region.addr.0);
                region.kind == esplice_chip::RegionKind::Flash
                    && start != boot_offset.wrapping_add(segment.offset as u32)
            })
        };
        let warning = |segment: &ImageSegment| ImageWarning::NotWhereMapped {
            addr: segment.addr,
            offset: segment.offset,
        };
        self.segments.iter().filter(flash).map(warning).collect()
    }

    /// Checks that the bootloader can map each flash segment, and two of one page alike.
    fn check_mapping(
        &self,
        chip: &Chip,
        pieces: &[Piece<'_>],
        page: u32,
    ) -> Result<(), ImageError> {
        let delta = |segment: &ImageSegment| segment.addr.0.wrapping_sub(segment.offset as u32);
        let flash = pieces.iter().filter(|piece| piece.is_flash()).filter_map(|piece| {
            let segment = self.segments.iter().find(|segment| segment.addr.0 == piece.addr)?;
            let region = chip.region_at(segment.addr)?;
            // What the MMU's entries are counted by.
            let place = region.backing.offset.wrapping_add(piece.addr - region.addr.0);
            Some((piece, place, delta(segment).wrapping_add(place.wrapping_sub(piece.addr))))
        });
        let flash: Vec<_> = flash.collect();
        for (i, (first, place, delta)) in flash.iter().enumerate() {
            if delta % page != 0 {
                let (name, addr) = (first.name.clone(), Addr(first.addr));
                return Err(ImageError::NotWhereLinked { name, addr, page_size: page });
            }
            let last_page = place.wrapping_add(first.len.saturating_sub(1)) / page;
            for (second, other, other_delta) in &flash[i + 1..] {
                let shared = other / page <= last_page && place / page <= other / page;
                if shared && delta != other_delta {
                    return Err(ImageError::SamePage {
                        first: first.name.clone(),
                        first_addr: Addr(first.addr),
                        second: second.name.clone(),
                        second_addr: Addr(second.addr),
                        page_size: page,
                    });
                }
            }
        }
        Ok(())
    }

    fn finish(
        mut self,
        header: ImageHeader,
        chip: &Chip,
        elf: &[u8],
    ) -> Result<AppImage, ImageError> {
        let header = ImageHeader { segment_count: self.segments.len() as u8, ..header };
        self.bytes[..ImageHeader::LEN].copy_from_slice(&header.to_bytes());
        let data = self.segments.iter().map(|s| s.offset..s.offset + s.len as usize).collect();
        let executable = chip.region_at(header.entry).is_some_and(|region| region.access.execute);
        let warning = ImageWarning::EntryNotExecutable { entry: header.entry };
        Ok(AppImage {
            bytes: finished(self.bytes, data, header.append_sha256 != 0),
            header,
            segments: self.segments,
            elf_sha256: sha256(elf),
            elf_sha256_patched: false,
            source: ImageSource::Sections,
            warnings: if executable { Vec::new() } else { vec![warning] },
        })
    }
}
