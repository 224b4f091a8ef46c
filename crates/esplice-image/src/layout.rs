//! Order and offsets of an image's segments.

use std::collections::VecDeque;
use std::ops::Range;

use esplice_chip::{Addr, Chip};

use crate::elf::{DESCRIPTOR_SECTION, Elf, Section};
use crate::pieces::{Piece, Rules, join_adjacent, joined};
use crate::soundness::{check_sections, check_segments};
use crate::{AppDescriptor, ImageError, ImageHeader, ImageSegment, SecurePad, SegmentHeader};

/// Size of the block that ends with the checksum. If the segments end at a multiple of 16, as they
/// do before a signature, the block is a whole one.
const CHECKSUM_BLOCK: usize = 16;
/// Size of the SHA-256 in bytes.
const HASH: usize = 32;
/// Size of a version word and an ECDSA signature, plus 12 bytes of padding to a multiple of 16
/// (esptool documentation, "elf2image", --secure-pad; sizes as in its images).
const V1_SIGNATURE: usize = 4 + 64 + 12;

/// Segments in their order and at their offsets in the image.
pub(crate) struct Layout {
    /// Header (still zeros) and segments.
    pub bytes: Vec<u8>,
    /// The segments.
    pub segments: Vec<ImageSegment>,
    /// Ranges of the segments' data in `bytes`.
    pub checksummed: Vec<Range<usize>>,
    /// True if there is an app descriptor, which takes the ELF's SHA-256.
    pub descriptor: bool,
}

impl Layout {
    pub fn of_sections(elf: &Elf<'_>, chip: &Chip, page_size: u32) -> Result<Self, ImageError> {
        Self::of(elf.sections()?, elf.entry(), chip, page_size)
    }

    pub fn of_segments(elf: &Elf<'_>, chip: &Chip, page_size: u32) -> Result<Self, ImageError> {
        Self::of(elf.segments()?, elf.entry(), chip, page_size)
    }

    fn of(
        mut sections: Vec<Section<'_>>,
        entry: Addr,
        chip: &Chip,
        page_size: u32,
    ) -> Result<Self, ImageError> {
        if sections.is_empty() {
            return Err(ImageError::NoContent);
        }
        let descriptor = sections
            .iter()
            .find(|section| section.is_called(DESCRIPTOR_SECTION) && section.is_flash())
            .map(|section| section.addr);
        let table = sections.clone();
        sections.sort_by_key(|section| section.addr);
        check_sections(&sections, entry, chip)?;
        let rules = Rules::of(&table, &join_adjacent(&sections), chip, page_size);
        drop(table);
        let pieces = joined(&sections, rules);
        check_count(pieces.len(), chip)?;

        let (mut flash, ram): (Vec<_>, Vec<_>) = pieces.iter().partition(|piece| piece.is_flash());
        if let Some(piece) = flash.iter().find(|piece| !piece.addr.is_multiple_of(4)) {
            let (name, addr) = (piece.name(), Addr(piece.addr));
            return Err(ImageError::UnalignedFlash { name, addr });
        }
        if let Some(addr) = descriptor {
            descriptor_first(&mut flash, addr)?;
        }

        let mut layout = Self {
            bytes: vec![0; ImageHeader::LEN],
            segments: Vec::with_capacity(chip.image.max_segments),
            checksummed: Vec::with_capacity(chip.image.max_segments),
            descriptor: descriptor.is_some(),
        };
        let mut ram: VecDeque<Ram> = ram.into_iter().map(Ram::new).collect();
        for piece in &flash {
            layout.fill_up_to(piece.addr, rules, &mut ram);
            layout.push_flash(piece, rules);
        }
        for rest in ram {
            layout.push(&rest, rest.bytes.len());
        }
        check_count(layout.segments.len(), chip)?;
        layout.check_first(&flash, descriptor)?;
        check_segments(&layout.segments, entry, chip, page_size, &sections)?;
        Ok(layout)
    }

    /// Fills the image up to an offset at which the next segment's data are congruent to `addr`
    /// modulo the page. The filling is RAM segments, split where necessary, and zeros when none are
    /// left.
    fn fill_up_to(&mut self, addr: u32, rules: Rules, ram: &mut VecDeque<Ram<'_>>) {
        loop {
            let gap = gap(self.bytes.len(), addr, rules);
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

    /// Appends a segment of zeros, so that the hashed and the signed part of the image end at a
    /// page boundary.
    ///
    /// # Errors
    /// [`ImageError::SecurePad`] if the chip does not have this version of Secure Boot, or no hash
    /// to sign.
    pub fn fill_for_signature(
        &mut self,
        pad: SecurePad,
        chip: &Chip,
        page_size: u32,
    ) -> Result<(), ImageError> {
        let image = &chip.image;
        if !image.append_sha256 || (pad == SecurePad::V1 && !image.secure_boot_v1) {
            return Err(ImageError::SecurePad { pad, chip: chip.display_name.clone() });
        }
        let behind = match pad {
            SecurePad::V1 => CHECKSUM_BLOCK + HASH + V1_SIGNATURE,
            SecurePad::V2 => CHECKSUM_BLOCK + HASH,
        };
        let page = page_size as usize;
        let used = (self.bytes.len() + SegmentHeader::LEN + behind) % page;
        let len = (page - used) % page;
        self.begin(0, len as u32, None);
        self.bytes.resize(self.bytes.len() + len, 0);
        check_count(self.segments.len(), chip)
    }

    fn push(&mut self, ram: &Ram<'_>, len: usize) {
        self.begin(ram.addr, len as u32, Some(ram.region));
        self.bytes.extend_from_slice(&ram.bytes[..len]);
    }

    fn push_flash(&mut self, piece: &Piece<'_, '_>, rules: Rules) {
        // Image offsets fit in 32 bits: regions are much smaller than 4 GiB.
        let end = (self.bytes.len() + SegmentHeader::LEN) as u32 + piece.len;
        let len = piece.len + rules.padding_after(end);
        self.begin(piece.addr, len, Some(&piece.region.key));
        let start = self.bytes.len();
        piece.append_to(&mut self.bytes);
        self.bytes.resize(start + len as usize, 0);
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

    /// Checks that the descriptor comes first and lies completely in the first segment.
    fn check_first(
        &self,
        flash: &[&Piece<'_, '_>],
        descriptor: Option<u32>,
    ) -> Result<(), ImageError> {
        let (Some(addr), Some(first)) = (descriptor, self.segments.first()) else { return Ok(()) };
        if first.addr.0 != addr {
            let first_name = flash.iter().find(|piece| piece.addr == first.addr.0);
            return Err(ImageError::DescriptorMisplaced {
                addr: Addr(addr),
                first: first_name.map_or_else(|| "padding".into(), |piece| piece.name()),
                first_addr: first.addr,
            });
        }
        if (first.len as usize) < AppDescriptor::LEN {
            return Err(ImageError::DescriptorShort { len: first.len });
        }
        Ok(())
    }

    /// Returns the descriptor's field for the ELF's SHA-256, if it is to be filled.
    pub fn elf_sha256_field(&mut self) -> Result<Option<&mut [u8]>, ImageError> {
        let at = AppDescriptor::IMAGE_OFFSET + AppDescriptor::ELF_SHA256_OFFSET;
        let field = self.bytes.get_mut(at..at + 32).filter(|_| self.descriptor);
        match field {
            Some(field) if field.iter().any(|byte| *byte != 0) => Err(ImageError::ElfHashNotEmpty),
            field => Ok(field),
        }
    }
}

/// RAM data that are not in the image yet.
struct Ram<'p> {
    addr: u32,
    region: &'p str,
    bytes: Vec<u8>,
}

impl<'p> Ram<'p> {
    fn new(piece: &Piece<'p, '_>) -> Self {
        let mut bytes = Vec::with_capacity(piece.len as usize);
        piece.append_to(&mut bytes);
        Self { addr: piece.addr, region: &piece.region.key, bytes }
    }

    /// Drops the first `len` bytes. Returns whether nothing is left.
    fn take(&mut self, len: usize) -> bool {
        self.bytes.drain(..len);
        self.addr = self.addr.wrapping_add(len as u32);
        self.bytes.is_empty()
    }
}

fn check_count(count: usize, chip: &Chip) -> Result<(), ImageError> {
    // The header's field is a single byte.
    let max = chip.image.max_segments.min(usize::from(u8::MAX));
    if count > max { Err(ImageError::TooManySegments { count, max }) } else { Ok(()) }
}

/// Moves the piece that begins with the descriptor at `addr` to the front.
fn descriptor_first(flash: &mut [&Piece<'_, '_>], addr: u32) -> Result<(), ImageError> {
    if let Some(place) = flash.iter().position(|piece| piece.addr == addr) {
        flash[..=place].rotate_right(1);
        return Ok(());
    }
    let holder = flash.iter().find(|piece| addr.wrapping_sub(piece.addr) < piece.len);
    Err(ImageError::DescriptorMisplaced {
        addr: Addr(addr),
        first: holder.map_or_else(String::new, |piece| piece.name()),
        first_addr: Addr(holder.map_or(0, |piece| piece.addr)),
    })
}

/// Returns the number of padding bytes (without their segment header) before a segment for `addr`,
/// if the image has `len` bytes so far; 0 if the segment's header can follow directly.
///
/// If segments don't share pages and the image ends before the next segment's offset in a page, one
/// page more than necessary is padded, as esptool does.
fn gap(len: usize, addr: u32, rules: Rules) -> usize {
    let header = SegmentHeader::LEN as i64;
    let page = i64::from(rules.page);
    // Distance from the image's end to the segment's header. For an address at the start of a page
    // the header is in the page before.
    let needed = page - len as i64 % page + i64::from(addr % rules.page) - header;
    let needed = if rules.shares_pages { needed % page } else { needed };
    let filling = match needed {
        0 => 0,
        _ if needed == page => 0,
        _ if needed <= header => needed - header + page,
        _ => needed - header,
    };
    filling.max(0) as usize
}

/// Returns the MMU page size of an image in bytes: the requested one, or else the app descriptor's
/// if the chip has a choice, or else the chip's default. If the descriptor has none, the result is
/// the largest, because an image made for it also suits the smaller ones.
///
/// # Errors
/// [`ImageError::MmuPageSize`] if the chip does not support it.
pub(crate) fn page_size(chip: &Chip, asked: Option<u32>, elf: &Elf<'_>) -> Result<u32, ImageError> {
    let known = chip.image.mmu_page_sizes.as_slice();
    let of_descriptor = || match known {
        [_, _, ..] => elf.descriptor()?.mmu_page_size.or_else(|| known.iter().copied().max()),
        _ => None,
    };
    let Some(size) = asked.or_else(of_descriptor) else {
        return Ok(known.first().copied().unwrap_or(0x1_0000));
    };
    known.contains(&size).then_some(size).ok_or_else(|| ImageError::MmuPageSize {
        size,
        by_descriptor: asked.is_none(),
        chip: chip.display_name.clone(),
        known: known.to_vec(),
    })
}
