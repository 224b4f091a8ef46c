//! Makes an image that the ROM loads and that maps flash itself from an ELF file, and an app image
//! of the same program.
//!
//! The rule is TinyGo's (TinyGo, builder/esp.go, `makeESPFirmwareImage`): a segment for each
//! section with bytes, in order of address. TinyGo's linker scripts (targets/esp32c3.ld,
//! esp32c6.ld) rely on it: flash is mapped from its first byte, and each section is at the image
//! offset that its address implies. On the ESP32-C6 and ESP32-H2 read-only data are linked 8 MB
//! higher. The flash chip, which is smaller, returns the content at its start for these addresses.
//!
//! For the ESP32 and ESP32-S3, whose ROM does not accept segments that run from flash, later
//! releases leave them out and put them after the image ([`Appended`]).

use derive_setters::Setters;
use esplice_chip::{Addr, Chip};

use crate::app::{flash_codes, with_checksum_and_hash};
use crate::elf::{DESCRIPTOR_SECTION, Elf, Section};
use crate::soundness::{check_sections, check_segments};
use crate::{
    AppDescriptor, AppImage, FlashMode, FlashParams, ImageError, ImageHeader, ImageOptions,
    ImageSegment, ImageSource, ImageWarning, SegmentHeader, sha256,
};

/// Options of an image that the ROM loads.
#[derive(Debug, Clone, PartialEq, Eq, Setters)]
#[non_exhaustive]
pub struct RomOptions {
    /// Flash parameters for the header.
    pub flash: FlashParams,
    /// True if a SHA-256 is appended. An image with flash content after it always has one.
    pub append_sha256: bool,
    /// SHA-256 of the ELF, if the caller already has it; otherwise it is computed.
    pub elf_sha256: Option<[u8; 32]>,
}

impl RomOptions {
    /// Returns TinyGo's options: flash mode dio, 2 MB, and a hash, which later releases leave out.
    pub fn for_chip(chip: &Chip) -> Self {
        let flash =
            FlashParams { mode: FlashMode::Dio, size: 2 << 20, ..FlashParams::for_chip(chip) };
        Self { flash, append_sha256: true, elf_sha256: None }
    }
}

/// Makes the image of `elf` that the ROM of `chip` loads, identical to TinyGo's.
///
/// # Errors
/// [`ImageError`] if the ELF or the options are not suitable.
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
    let elf_sha256 = options.elf_sha256.unwrap_or_else(|| sha256(elf));
    let (places, sections) = (FlashOffsetVars::of(&parsed), by_address(&parsed)?);
    check_sections(&sections, header.entry, chip)?;
    let Some(places) = places.filter(|_| sections.iter().any(Section::is_flash)) else {
        let mut image = Segments::new(chip);
        for section in &sections {
            image.push(section)?;
        }
        let warnings = image.misplaced(chip, options.flash.size);
        let made = image.finish(header, chip, elf_sha256, &sections)?;
        return Ok(AppImage { warnings, ..made });
    };
    let header = ImageHeader { append_sha256: 1, ..header };
    with_appended(&places, &sections, header, chip, elf_sha256)
}

/// Makes an app image, for the second-stage bootloader, of a program made for the ROM. `descriptor`
/// comes first, followed by the segments of [`build_rom_image`], shifted by an MMU page. The entry
/// point is `start`, where the program continues once flash is mapped.
///
/// # Errors
/// [`ImageError::NoSymbol`] without the symbol `start`; otherwise the same as for
/// [`build_rom_image`].
pub fn build_app_of_rom_program(
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
    let sections = by_address(&parsed)?;
    check_sections(&sections, header.entry, chip)?;
    let page = page_of(chip);
    let mapped = sections.iter().any(Section::is_flash);
    // The next segment's header comes where the image's own would be, one page further.
    let room = if mapped { page as usize - SegmentHeader::LEN } else { AppDescriptor::LEN };
    let elf_sha256 = options.elf_sha256.unwrap_or_else(|| sha256(elf));
    let mut first = AppDescriptor { elf_sha256, ..descriptor.clone() }.to_bytes().to_vec();
    first.resize(room, 0);

    let mut image = Segments::new(chip);
    image.push_padding(&first);
    for section in &sections {
        image.push(section)?;
    }
    image.check_places(&sections, page)?;
    let made = image.finish(header, chip, elf_sha256, &sections)?;
    Ok(AppImage { elf_sha256_patched: true, ..made })
}

/// Sections with which TinyGo's scripts reserve space for headers (targets/esp32c3.ld;
/// targets/esp32c6.ld).
const DUMMIES: [&str; 2] = [".text_dummy", ".irom_dummy"];

/// Variables of TinyGo's start code in which its builder stores the flash offsets of what it
/// appends. The ESP32 only has the one for data, because its code follows the data
/// (src/device/esp/esp32.S, esp32s3.S).
const IROM_PLACE: &str = "_irom_flash_addr";
const DROM_PLACE: &str = "_drom_flash_addr";

/// Returns whether `elf` was linked by TinyGo's scripts to be loaded by the ROM: it has the
/// sections that reserve space for headers, or the variables for flash offsets, and no app
/// descriptor.
pub fn is_rom_program(elf: &[u8], chip: &Chip) -> bool {
    Elf::parse(elf, chip).is_ok_and(|elf| {
        !elf.has_section(DESCRIPTOR_SECTION)
            && (DUMMIES.iter().any(|name| elf.has_section(name))
                || FlashOffsetVars::of(&elf).is_some())
    })
}

/// Returns a header with the fields that all images share.
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

/// Returns the page size with which TinyGo's programs map flash.
fn page_of(chip: &Chip) -> u32 {
    chip.image.mmu_page_sizes.first().copied().unwrap_or(0x1_0000)
}

fn by_address<'d>(elf: &Elf<'d>) -> Result<Vec<Section<'d>>, ImageError> {
    let mut sections = elf.allocated()?;
    if sections.is_empty() {
        return Err(ImageError::NoContent);
    }
    sections.sort_by_key(|section| section.addr);
    Ok(sections)
}

/// Addresses of the start code's variables for code and data that the ROM does not load.
struct FlashOffsetVars {
    /// `None` if code starts in the page after the last one of the data, and needs no variable.
    irom: Option<Addr>,
    drom: Addr,
}

impl FlashOffsetVars {
    fn of(elf: &Elf<'_>) -> Option<Self> {
        if elf.has_section(DESCRIPTOR_SECTION) {
            return None;
        }
        let drom = elf.symbol(DROM_PLACE).ok()?;
        Some(Self { irom: elf.symbol(IROM_PLACE).ok(), drom })
    }
}

/// Content after an image. It is mapped in whole pages from a place that the start code reads.
struct Appended<'s, 'd> {
    /// Flash offset, a multiple of the page size.
    place: u32,
    sections: Vec<&'s Section<'d>>,
}

impl<'s, 'd> Appended<'s, 'd> {
    /// Places `sections` at the first page boundary at or after `end`.
    fn after(end: u32, page: u32, sections: Vec<&'s Section<'d>>) -> Result<Self, ImageError> {
        let place = end.checked_next_multiple_of(page);
        let place = place.ok_or_else(|| outside(&sections))?;
        Ok(Self { place, sections })
    }

    fn end(&self) -> Result<u32, ImageError> {
        let add = |sum: u32, section: &&Section<'_>| sum.checked_add(section.padded_len());
        let len = self.sections.iter().try_fold(0_u32, add);
        let end = len.and_then(|len| self.place.checked_add(len));
        end.ok_or_else(|| outside(&self.sections))
    }
}

fn outside(sections: &[&Section<'_>]) -> ImageError {
    let (name, addr, len) = sections.last().map_or_else(
        || (String::new(), Addr(0), 0),
        |section| (section.name(), Addr(section.addr), section.len()),
    );
    ImageError::OutsideRegions { name, addr, len }
}

/// Makes an image of the RAM sections, followed by the code and data of flash, each from the start
/// of a page. With variables for both (ESP32-S3), code comes first, and both must be one piece,
/// because the start code maps each by its first and last address. With only the one for data
/// (ESP32), data come first and code on the next page after them.
fn with_appended(
    places: &FlashOffsetVars,
    sections: &[Section<'_>],
    header: ImageHeader,
    chip: &Chip,
    elf_sha256: [u8; 32],
) -> Result<AppImage, ImageError> {
    let page = page_of(chip);
    let base = chip.image.boot_offset.0;
    let (flash, ram): (Vec<&Section<'_>>, Vec<&Section<'_>>) =
        sections.iter().partition(|section| section.is_flash());
    let (irom, drom): (Vec<&Section<'_>>, Vec<&Section<'_>>) =
        flash.into_iter().partition(|section| section.region.access.execute);
    let mut image = Segments::new(chip);
    for section in ram {
        image.push(section)?;
    }
    // The checksum at the end of a 16-byte block, and the SHA-256.
    let end = base.saturating_add((image.bytes.len() as u32 | 0xf) + 1 + 32);
    let appended = if let Some(irom_place) = places.irom {
        for (name, sections) in [("code", &irom), ("data", &drom)] {
            if sections.len() != 1 {
                let found = sections.iter().map(|section| section.name()).collect();
                return Err(ImageError::NotOnePiece { what: name, found });
            }
        }
        let irom = Appended::after(end, page, irom)?;
        let drom = Appended::after(irom.end()?, page, drom)?;
        image.patch(IROM_PLACE, irom_place, irom.place)?;
        image.patch(DROM_PLACE, places.drom, drom.place)?;
        [irom, drom]
    } else {
        let drom = Appended::after(end, page, drom)?;
        // The start code counts at least one page of data.
        let irom = Appended::after(drom.end()?.max(drom.place.saturating_add(1)), page, irom)?;
        image.patch(DROM_PLACE, places.drom, drom.place)?;
        [drom, irom]
    };
    let mut made = image.finish(header, chip, elf_sha256, sections)?;
    for part in appended.iter().filter(|part| !part.sections.is_empty()) {
        made.bytes.resize((part.place - base) as usize, 0);
        for section in &part.sections {
            made.bytes.extend_from_slice(section.bytes);
            made.bytes.resize(made.bytes.len().next_multiple_of(4), 0);
        }
    }
    Ok(made)
}

/// An image under construction.
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

    fn push(&mut self, section: &Section<'_>) -> Result<(), ImageError> {
        self.begin(section.addr, section.padded_len(), Some(&section.region.key));
        self.bytes.extend_from_slice(section.bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        match self.segments.len() {
            count if count > self.max => Err(ImageError::TooManySegments { count, max: self.max }),
            _ => Ok(()),
        }
    }

    /// Writes a four-byte variable, which must lie in a segment.
    fn patch(&mut self, name: &str, addr: Addr, value: u32) -> Result<(), ImageError> {
        let place = self.segments.iter().find_map(|segment| {
            let within = addr.0.checked_sub(segment.addr.0)?;
            let room = segment.len.checked_sub(within)?;
            (room >= 4).then(|| segment.offset + within as usize)
        });
        let field = place.and_then(|at| self.bytes.get_mut(at..at + 4));
        let field = field.ok_or_else(|| ImageError::NotInRam { name: name.to_owned(), addr })?;
        field.copy_from_slice(&value.to_le_bytes());
        Ok(())
    }

    /// Returns a warning for each flash segment that a program which maps flash from its first byte
    /// would not find. The size of a flash chip is a power of two, and the chip ignores higher
    /// address bits, so a mapping past its end shows the content at its start.
    fn misplaced(&self, chip: &Chip, flash_size: u32) -> Vec<ImageWarning> {
        let boot_offset = chip.image.boot_offset.0;
        let flash = |segment: &&ImageSegment| {
            chip.region_at(segment.addr).is_some_and(|region| {
                let start = region.backing.offset.wrapping_add(segment.addr.0 - region.addr.0);
                let place = boot_offset.wrapping_add(segment.offset as u32);
                region.kind == esplice_chip::RegionKind::Flash
                    && start.wrapping_sub(place).checked_rem(flash_size) != Some(0)
            })
        };
        let warning = |segment: &ImageSegment| ImageWarning::MisplacedSegment {
            addr: segment.addr,
            offset: segment.offset,
        };
        self.segments.iter().filter(flash).map(warning).collect()
    }

    /// Checks that the bootloader can map each flash segment.
    fn check_places(&self, sections: &[Section<'_>], page: u32) -> Result<(), ImageError> {
        for section in sections.iter().filter(|section| section.is_flash()) {
            let segment = self.segments.iter().find(|segment| segment.addr.0 == section.addr);
            let offset = segment.map_or(0, |segment| segment.offset as u32);
            if !section.addr.wrapping_sub(offset).is_multiple_of(page) {
                let (name, addr) = (section.name(), Addr(section.addr));
                return Err(ImageError::NotWhereLinked { name, addr, page_size: page });
            }
        }
        Ok(())
    }

    fn finish(
        mut self,
        header: ImageHeader,
        chip: &Chip,
        elf_sha256: [u8; 32],
        sections: &[Section<'_>],
    ) -> Result<AppImage, ImageError> {
        check_segments(&self.segments, header.entry, chip, page_of(chip), sections)?;
        let header = ImageHeader { segment_count: self.segments.len() as u8, ..header };
        self.bytes[..ImageHeader::LEN].copy_from_slice(&header.to_bytes());
        let data = self.segments.iter().map(|s| s.offset..s.offset + s.len as usize).collect();
        Ok(AppImage {
            bytes: with_checksum_and_hash(self.bytes, data, header.append_sha256 != 0),
            header,
            segments: self.segments,
            elf_sha256,
            elf_sha256_patched: false,
            source: ImageSource::Sections,
            warnings: Vec::new(),
        })
    }
}
