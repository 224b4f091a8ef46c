//! ELF to app image.
//!
//! The result equals that of `esptool elf2image` to the byte; the rules below were found by running
//! it on ELFs made for the purpose, see `tests/esptool.rs`.

use esplice_chip::{Addr, Chip, RegionKind};

use crate::elf::{DESCRIPTOR_SECTION, Elf, Piece};
use crate::header::xor;
use crate::{AppDescriptor, FlashParams, ImageError, ImageHeader, SegmentHeader, sha256};

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
}

impl ImageOptions {
    /// The chip's default flash parameters, any revision, [`ImageSource::Auto`].
    pub fn for_chip(chip: &Chip) -> Self {
        Self {
            flash: FlashParams::for_chip(chip),
            min_rev: 0,
            max_rev: u16::MAX,
            source: ImageSource::Auto,
        }
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
    /// Two segments, on two buses, need one MMU entry for two pages of flash.
    #[error("segments at {first} and {second} share an MMU entry, the chip can map only one")]
    SharedMmuEntry {
        /// Address of the first.
        first: Addr,
        /// Address of the second.
        second: Addr,
    },
    /// The entry point is not in executable memory.
    #[error("entry point {entry} is not in executable memory")]
    EntryNotExecutable {
        /// The entry point.
        entry: Addr,
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

    let (source, mut layout) = match options.source {
        ImageSource::Sections => (options.source, Layout::of_sections(&parsed, chip)?),
        ImageSource::ProgramHeaders => (options.source, Layout::of_segments(&parsed, chip)?),
        ImageSource::Auto => match Layout::of_sections(&parsed, chip) {
            Ok(layout) => (ImageSource::Sections, layout),
            Err(error) if wants_program_headers(&error) => {
                let layout = Layout::of_segments(&parsed, chip).map_err(|_| error)?;
                (ImageSource::ProgramHeaders, layout)
            }
            Err(error) => return Err(error),
        },
    };

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

    let elf_sha256 = sha256(elf);
    if let Some(field) = layout.elf_sha256_field()? {
        field.copy_from_slice(&elf_sha256);
    }
    let warnings = warnings(&layout.segments, chip, header.entry);
    Ok(AppImage {
        elf_sha256_patched: layout.descriptor,
        segments: layout.segments,
        bytes: finished(layout.bytes, layout.checksummed, chip),
        header,
        elf_sha256,
        source,
        warnings,
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
fn flash_codes(chip: &Chip, flash: &FlashParams) -> Result<u8, ImageError> {
    let image = &chip.image;
    let freq = image.flash_frequencies.get(&flash.freq).ok_or_else(|| ImageError::FlashFreq {
        freq: flash.freq.clone(),
        chip: chip.display_name.clone(),
        known: image.flash_frequencies.keys().cloned().collect(),
    })?;
    let (size, _) = image.flash_size_code(flash.size).ok_or_else(|| ImageError::FlashSize {
        size: flash.size,
        chip: chip.display_name.clone(),
        known: image.flash_sizes.keys().cloned().collect(),
    })?;
    Ok((size << 4) | (freq & 0xf))
}

/// Appends checksum and SHA-256.
fn finished(mut bytes: Vec<u8>, segments: Vec<std::ops::Range<usize>>, chip: &Chip) -> Vec<u8> {
    let checksum = segments.into_iter().fold(0xef, |sum, range| sum ^ xor(&bytes[range]));
    bytes.resize(bytes.len() | 0xf, 0);
    bytes.push(checksum);
    if chip.image.append_sha256 {
        let hash = sha256(&bytes);
        bytes.extend_from_slice(&hash);
    }
    bytes
}

/// Segments in the order and at the places of the image.
struct Layout {
    /// Header (still zeros) and segments.
    bytes: Vec<u8>,
    segments: Vec<ImageSegment>,
    /// Where the segments' bytes are.
    checksummed: Vec<std::ops::Range<usize>>,
    /// Whether the ELF's SHA-256 belongs into it.
    descriptor: bool,
}

impl Layout {
    fn of_sections(elf: &Elf<'_>, chip: &Chip) -> Result<Self, ImageError> {
        Self::of_pieces(elf.sections()?, chip)
    }

    fn of_segments(elf: &Elf<'_>, chip: &Chip) -> Result<Self, ImageError> {
        Self::of_pieces(elf.segments()?, chip)
    }

    fn of_pieces(pieces: Vec<Piece<'_>>, chip: &Chip) -> Result<Self, ImageError> {
        if pieces.is_empty() {
            return Err(ImageError::NoContent);
        }
        let descriptor = pieces
            .iter()
            .find(|piece| piece.name == DESCRIPTOR_SECTION && piece.is_flash())
            .map(|piece| piece.addr);
        let merged = merge_adjacent(pieces);
        check_count(merged.len(), chip)?;

        let (mut flash, mut ram): (Vec<_>, Vec<_>) = merged.into_iter().partition(Piece::is_flash);
        flash.sort_by_key(|piece| piece.addr);
        ram.sort_by_key(|piece| piece.addr);
        let page_size = page_size(chip);
        check_pages(&flash, page_size)?;
        if let Some(addr) = descriptor {
            descriptor_first(&mut flash, addr)?;
        }

        let mut layout = Self {
            bytes: vec![0; ImageHeader::LEN],
            segments: Vec::with_capacity(chip.image.max_segments),
            checksummed: Vec::with_capacity(chip.image.max_segments),
            descriptor: descriptor.is_some(),
        };
        let mut ram: std::collections::VecDeque<Ram> = ram.iter().map(Ram::new).collect();
        for piece in &flash {
            layout.fill_up_to(piece.addr, page_size, &mut ram);
            layout.begin(piece.addr, piece.len, Some(&piece.region.key));
            append_parts(&mut layout.bytes, &piece.parts);
        }
        for rest in ram {
            layout.push(&rest, rest.bytes.len());
        }
        check_count(layout.segments.len(), chip)?;
        layout.check_first(&flash, descriptor)?;
        layout.check_mapping(&flash, page_size)?;
        Ok(layout)
    }

    /// Fills the image so that the next segment's bytes are congruent to `addr` modulo the page:
    /// with RAM segments, cut where need be, and zeros where none are left.
    fn fill_up_to(
        &mut self,
        addr: u32,
        page_size: u32,
        ram: &mut std::collections::VecDeque<Ram<'_>>,
    ) {
        loop {
            let gap = gap(self.bytes.len(), addr, page_size);
            if gap == 0 {
                return;
            }
            match ram.front_mut() {
                Some(first) if gap > SegmentHeader::LEN => {
                    let len = gap.min(first.bytes.len());
                    self.push(first, len);
                    if first.take(len) {
                        ram.pop_front();
                    }
                }
                _ => {
                    self.begin(0, gap as u32, None);
                    self.bytes.resize(self.bytes.len() + gap, 0);
                }
            }
        }
    }

    fn push(&mut self, ram: &Ram<'_>, len: usize) {
        self.begin(ram.addr, len as u32, Some(ram.region));
        self.bytes.extend_from_slice(&ram.bytes[..len]);
    }

    fn begin(&mut self, addr: u32, len: u32, region: Option<&str>) {
        self.bytes.extend_from_slice(&addr.to_le_bytes());
        self.bytes.extend_from_slice(&len.to_le_bytes());
        let offset = self.bytes.len();
        self.checksummed.push(offset..offset + len as usize);
        self.segments.push(ImageSegment {
            addr: Addr(addr),
            len,
            offset,
            region: region.map(str::to_owned),
        });
    }

    /// Checks that the descriptor comes first and lies whole in the first segment.
    fn check_first(&self, flash: &[Piece<'_>], descriptor: Option<u32>) -> Result<(), ImageError> {
        let (Some(addr), Some(first)) = (descriptor, self.segments.first()) else { return Ok(()) };
        if first.addr.0 != addr {
            let first_name = flash.iter().find(|piece| piece.addr == first.addr.0);
            return Err(ImageError::DescriptorMisplaced {
                addr: Addr(addr),
                first: first_name.map_or_else(|| "padding".into(), |piece| piece.name.clone()),
                first_addr: first.addr,
            });
        }
        if (first.len as usize) < AppDescriptor::LEN {
            return Err(ImageError::DescriptorShort { len: first.len });
        }
        Ok(())
    }

    /// Checks that no two flash segments need one MMU page to show two pages of flash.
    fn check_mapping(&self, flash: &[Piece<'_>], page_size: u32) -> Result<(), ImageError> {
        let placed = |piece: &Piece<'_>| {
            self.segments.iter().find(|segment| segment.addr.0 == piece.addr).map(|s| s.offset)
        };
        for (i, a) in flash.iter().enumerate() {
            for b in &flash[i + 1..] {
                let (first, second) = if a.addr <= b.addr { (a, b) } else { (b, a) };
                let shared = (first.end() - 1) / page_size >= second.addr / page_size;
                let delta = |piece| Some(piece_delta(piece, placed(piece)?));
                if shared && delta(first) != delta(second) {
                    return Err(same_page(first, second, page_size));
                }
            }
        }
        Ok(())
    }

    /// The descriptor's field for the ELF's SHA-256, if it is to be filled.
    fn elf_sha256_field(&mut self) -> Result<Option<&mut [u8]>, ImageError> {
        let at = AppDescriptor::IMAGE_OFFSET + AppDescriptor::ELF_SHA256_OFFSET;
        let field = self.bytes.get_mut(at..at + 32).filter(|_| self.descriptor);
        match field {
            Some(field) if field.iter().any(|byte| *byte != 0) => Err(ImageError::ElfHashNotEmpty),
            field => Ok(field),
        }
    }
}

/// RAM bytes not yet in the image.
struct Ram<'p> {
    addr: u32,
    region: &'p str,
    bytes: Vec<u8>,
}

impl<'p> Ram<'p> {
    fn new(piece: &Piece<'p>) -> Self {
        let mut bytes = Vec::with_capacity(piece.len as usize);
        append_parts(&mut bytes, &piece.parts);
        Self { addr: piece.addr, region: &piece.region.key, bytes }
    }

    /// Drops the first `len` bytes; whether nothing is left.
    fn take(&mut self, len: usize) -> bool {
        self.bytes.drain(..len);
        self.addr = self.addr.wrapping_add(len as u32);
        self.bytes.is_empty()
    }
}

/// Joins pieces that follow one another in the ELF's order, at addresses and in a region.
///
/// Sections in another order than their addresses stay apart, as esptool leaves them.
fn merge_adjacent(pieces: Vec<Piece<'_>>) -> Vec<Piece<'_>> {
    let mut merged: Vec<Piece<'_>> = Vec::with_capacity(pieces.len().min(64));
    for piece in pieces {
        match merged.last_mut() {
            Some(last) if last.region.key == piece.region.key && last.end() == piece.addr => {
                last.len += piece.len;
                last.parts.extend(piece.parts);
            }
            _ => merged.push(piece),
        }
    }
    merged
}

fn check_count(count: usize, chip: &Chip) -> Result<(), ImageError> {
    // The header's field is a byte.
    let max = chip.image.max_segments.min(usize::from(u8::MAX));
    if count > max { Err(ImageError::TooManySegments { count, max }) } else { Ok(()) }
}

/// Checks alignment, and that no two segments, sorted by address, begin in one page.
fn check_pages(flash: &[Piece<'_>], page_size: u32) -> Result<(), ImageError> {
    if let Some(piece) = flash.iter().find(|piece| !piece.addr.is_multiple_of(4)) {
        let (name, addr) = (piece.name.clone(), Addr(piece.addr));
        return Err(ImageError::UnalignedFlash { name, addr });
    }
    for pair in flash.windows(2) {
        if let [first, second] = pair
            && first.addr / page_size == second.addr / page_size
        {
            return Err(same_page(first, second, page_size));
        }
    }
    Ok(())
}

fn same_page(first: &Piece<'_>, second: &Piece<'_>, page_size: u32) -> ImageError {
    ImageError::SamePage {
        first: first.name.clone(),
        first_addr: Addr(first.addr),
        second: second.name.clone(),
        second_addr: Addr(second.addr),
        page_size,
    }
}

/// Moves the piece that begins with the descriptor at `addr` to the front.
fn descriptor_first(flash: &mut [Piece<'_>], addr: u32) -> Result<(), ImageError> {
    if let Some(place) = flash.iter().position(|piece| piece.addr == addr) {
        flash[..=place].rotate_right(1);
        return Ok(());
    }
    let holder = flash.iter().find(|piece| addr.wrapping_sub(piece.addr) < piece.len);
    Err(ImageError::DescriptorMisplaced {
        addr: Addr(addr),
        first: holder.map_or_else(String::new, |piece| piece.name.clone()),
        first_addr: Addr(holder.map_or(0, |piece| piece.addr)),
    })
}

/// Bytes of filling (without its segment header) before a segment for `addr`, if the image has
/// `len` bytes so far; 0 if its header can follow at once.
///
/// An image that ends just behind a page's start gets a page more than would be needed: so does
/// esptool.
fn gap(len: usize, addr: u32, page_size: u32) -> usize {
    let header = SegmentHeader::LEN as i64;
    let page = i64::from(page_size);
    // From the image's end to the place of the segment's header, which is before its page for an
    // address at the page's start.
    let needed = page - len as i64 % page + i64::from(addr % page_size) - header;
    let filling = match needed {
        0 => 0,
        _ if needed == page => 0,
        _ if needed < header => needed - header + page,
        _ => needed - header,
    };
    filling.max(0) as usize
}

fn append_parts(bytes: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        bytes.extend_from_slice(part);
        bytes.resize(bytes.len() + part.len().next_multiple_of(4) - part.len(), 0);
    }
}

fn page_size(chip: &Chip) -> u32 {
    chip.image.mmu_page_sizes.first().copied().unwrap_or(0x1_0000)
}

fn piece_delta(piece: &Piece<'_>, offset: usize) -> u32 {
    piece.addr.wrapping_sub(offset as u32)
}

fn warnings(segments: &[ImageSegment], chip: &Chip, entry: Addr) -> Vec<ImageWarning> {
    let mut warnings = Vec::new();
    if !chip.region_at(entry).is_some_and(|region| region.access.execute) {
        warnings.push(ImageWarning::EntryNotExecutable { entry });
    }
    let page_size = page_size(chip);
    // Pages of the array behind the bus, and what must be added to get the flash's.
    let mapped: Vec<_> = segments
        .iter()
        .filter_map(|segment| {
            let region = chip.region_at(segment.addr)?;
            let start = region.backing.offset.wrapping_add(segment.addr.0 - region.addr.0);
            let last = start.wrapping_add(segment.len.saturating_sub(1));
            (region.kind == RegionKind::Flash).then_some((
                segment.addr,
                region.backing.name.as_str(),
                start / page_size..=last / page_size,
                start.wrapping_sub(segment.offset as u32),
            ))
        })
        .collect();
    for (i, (first, array, pages, delta)) in mapped.iter().enumerate() {
        for (second, other_array, other_pages, other_delta) in &mapped[i + 1..] {
            let meet = pages.start() <= other_pages.end() && other_pages.start() <= pages.end();
            if array == other_array && meet && delta != other_delta {
                let (first, second) = (*first, *second);
                warnings.push(ImageWarning::SharedMmuEntry { first, second });
            }
        }
    }
    warnings
}
