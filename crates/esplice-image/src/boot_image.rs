//! The image at the offset that the ROM boots from, identified by its headers only.

use esplice_chip::{Addr, Chip, FlashOffset, LayoutRegion, RegionKind};

use crate::{ImageHeader, SegmentHeader};

/// Number of bytes to read at once: a ROM loader sends no more.
const PIECE: usize = 64;

/// First byte of ESP-IDF's bootloader descriptor, which is at the start of the first segment's
/// data.
///
/// Source: ESP-IDF components/esp_bootloader_format/include/esp_bootloader_desc.h, since 5.1.
const DESCRIPTOR_MAGIC: u8 = 80;
/// Range of the version text in that descriptor.
const DESCRIPTOR_VERSION: std::ops::Range<usize> = 8..32;

/// The image at the boot offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BootImage {
    /// Nothing that the ROM boots: erased flash, or an image that was not completely written.
    #[default]
    Nothing,
    /// A second-stage bootloader, which uses the partition table to boot an app.
    Bootloader(BootHead),
    /// A program that the ROM loads, such as one made by TinyGo.
    Program(BootHead),
    /// A program without an image header that the ROM runs in place.
    InPlace,
    /// An image for another chip.
    OtherChip {
        /// The chip ID in its header.
        chip_id: u16,
    },
    /// An image whose segments are cut off or have invalid addresses.
    Damaged,
}

/// Values from an image's headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootHead {
    /// Entry point. The ROM prints this address when it boots.
    pub entry: Addr,
    /// Flash offset of the first byte after the image.
    pub end: FlashOffset,
    /// Flash size in bytes according to the header.
    pub flash_size: u32,
}

impl BootImage {
    /// Identifies the image at the boot offset of `chip`. `read` returns the given number of bytes
    /// at a flash offset, or fewer at the end of flash. Only headers are read, never the whole
    /// image.
    ///
    /// A second-stage bootloader lies completely in RAM, partly in the RAM reserved for it while it
    /// loads an app, or it has a bootloader descriptor. A program that the ROM loads may also lie
    /// in RAM and map the rest of itself from flash.
    ///
    /// # Errors
    /// Returns the errors of `read`.
    pub fn find<E>(
        chip: &Chip,
        mut read: impl FnMut(FlashOffset, usize) -> Result<Vec<u8>, E>,
    ) -> Result<Self, E> {
        let start = chip.image.boot_offset.0;
        let head = read(FlashOffset(start), PIECE)?;
        let magic = chip.image.direct.map(|direct| direct.magic.to_le_bytes());
        if magic.is_some_and(|magic| head.starts_with(&[magic, magic].concat())) {
            return Ok(BootImage::InPlace);
        }
        let Ok(header) = ImageHeader::from_bytes(&head) else { return Ok(BootImage::Nothing) };
        // The first word is programmed last, and its last byte holds the flash size.
        let Some(flash_size) = chip.image.flash_size_bytes(header.flash_size_code()) else {
            return Ok(BootImage::Nothing);
        };
        if header.chip_id != chip.image.chip_id {
            return Ok(BootImage::OtherChip { chip_id: header.chip_id });
        }
        let count = usize::from(header.segment_count);
        if count == 0 || count > chip.image.max_segments {
            return Ok(BootImage::Damaged);
        }
        let mut at = ImageHeader::LEN as u32;
        let (mut in_ram, mut own_ram) = (true, has_descriptor(&head));
        for number in 0..count {
            let bytes = if number == 0 {
                head.get(ImageHeader::LEN..).unwrap_or_default().to_vec()
            } else {
                read(FlashOffset(start.saturating_add(at)), SegmentHeader::LEN)?
            };
            let Some((addr, len)) = segment(&bytes) else { return Ok(BootImage::Damaged) };
            let Some(kind) = kind_of(chip, addr, len) else { return Ok(BootImage::Damaged) };
            in_ram &= kind == RegionKind::Ram;
            own_ram |= bootloader_regions(chip).any(|region| region.contains(addr));
            let next = at.checked_add(SegmentHeader::LEN as u32).and_then(|at| at.checked_add(len));
            let Some(next) = next.filter(|next| *next <= flash_size) else {
                return Ok(BootImage::Damaged);
            };
            at = next;
        }
        let hash = if header.append_sha256 == 0 { 0 } else { 32 };
        let end = FlashOffset(start.saturating_add((at | 0xf) + 1 + hash));
        let head = BootHead { entry: header.entry, end, flash_size };
        let runs = chip.region_at(header.entry);
        let runs =
            runs.is_some_and(|region| region.kind == RegionKind::Ram && region.access.execute);
        let knows_own = bootloader_regions(chip).next().is_some();
        Ok(if in_ram && runs && (own_ram || !knows_own) {
            BootImage::Bootloader(head)
        } else {
            BootImage::Program(head)
        })
    }

    /// Returns the header values of the bootloader, if this is one.
    pub fn bootloader(&self) -> Option<&BootHead> {
        match self {
            BootImage::Bootloader(head) => Some(head),
            _ => None,
        }
    }
}

/// Reads load address and length from a segment header.
fn segment(bytes: &[u8]) -> Option<(Addr, u32)> {
    let (addr, rest) = bytes.split_first_chunk()?;
    Some((Addr(u32::from_le_bytes(*addr)), u32::from_le_bytes(*rest.first_chunk()?)))
}

/// Returns the kind of memory that a segment goes to. Padding is not loaded and counts as RAM.
fn kind_of(chip: &Chip, addr: Addr, len: u32) -> Option<RegionKind> {
    if addr.0 == 0 {
        return Some(RegionKind::Ram);
    }
    let region = chip.region_at(addr)?;
    let fits = len <= region.bytes_after(addr).next_multiple_of(4);
    let loads = matches!(region.kind, RegionKind::Ram | RegionKind::Flash);
    (fits && loads).then_some(region.kind)
}

/// Returns the RAM regions reserved for the second-stage bootloader while it loads an app.
fn bootloader_regions(chip: &Chip) -> impl Iterator<Item = &LayoutRegion> {
    let regions = chip.layout.iter().flat_map(|layout| &layout.regions);
    regions.filter(|region| region.bootloader)
}

/// Returns whether an image begins with a bootloader descriptor.
fn has_descriptor(head: &[u8]) -> bool {
    let first = ImageHeader::LEN + SegmentHeader::LEN;
    let Some(descriptor) = head.get(first..) else { return false };
    let version = descriptor.get(DESCRIPTOR_VERSION).unwrap_or_default();
    let text = version.split(|byte| *byte == 0).next().unwrap_or_default();
    descriptor.starts_with(&[DESCRIPTOR_MAGIC, 0])
        && !text.is_empty()
        && text.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn chip() -> &'static Arc<Chip> {
        esplice_chip::ChipDb::embedded().find("esp32c3").unwrap()
    }

    /// Returns an image with segments of these addresses and lengths, filled with zeros.
    fn image(entry: u32, segments: &[(u32, u32)]) -> Vec<u8> {
        let mut bytes = vec![0; ImageHeader::LEN];
        bytes[..4].copy_from_slice(&[0xe9, segments.len() as u8, 2, 0x2f]);
        bytes[4..8].copy_from_slice(&entry.to_le_bytes());
        bytes[12] = 5;
        bytes[23] = 1;
        for (addr, len) in segments {
            bytes.extend_from_slice(&addr.to_le_bytes());
            bytes.extend_from_slice(&len.to_le_bytes());
            bytes.resize(bytes.len() + *len as usize, 0);
        }
        bytes
    }

    fn find(flash: &[u8]) -> BootImage {
        let read = |offset: FlashOffset, len: usize| {
            let rest = flash.get(offset.0 as usize..).unwrap_or_default();
            let mut bytes = rest[..rest.len().min(len)].to_vec();
            bytes.resize(len, 0xff);
            Ok::<_, ()>(bytes)
        };
        BootImage::find(chip(), read).unwrap()
    }

    #[test]
    fn images_are_told_apart_by_where_they_load() {
        let bootloader = [(0x3fcd_5830, 0x1404), (0x403c_bf10, 0xc98)];
        let head =
            BootHead { entry: Addr(0x403c_bf1a), end: FlashOffset(0x20f0), flash_size: 4 << 20 };
        assert_eq!(find(&image(0x403c_bf1a, &bootloader)), BootImage::Bootloader(head));
        // TinyGo's programs begin at the start of RAM, or map flash themselves.
        let programs = [
            (0x4038_0000, vec![(0x3fc8_0000, 16), (0x4038_0000, 64)]),
            (0x4200_0100, vec![(0x3c00_0020, 16), (0x3fc8_0000, 64), (0x4200_0100, 64)]),
            // All in RAM, but the entry point is in flash.
            (0x4200_0100, vec![(0x3fcd_5830, 16)]),
        ];
        for (entry, segments) in programs {
            let found = find(&image(entry, &segments));
            assert!(matches!(found, BootImage::Program(_)), "{segments:x?}: {found:?}");
        }
        // A descriptor identifies a bootloader at any address.
        let mut described = image(0x4038_0000, &[(0x3fc8_0000, 96), (0x4038_0000, 64)]);
        described[32] = DESCRIPTOR_MAGIC;
        described[40..44].copy_from_slice(b"v6.1");
        assert!(find(&described).bootloader().is_some());
    }

    #[test]
    fn what_is_no_image_of_the_chip_is_named() {
        let good = image(0x403c_bf1a, &[(0x3fcd_5830, 16), (0x403c_bf10, 16)]);
        let changed = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        let direct = 0xaedb_041d_u32.to_le_bytes();
        let cases = [
            (vec![], BootImage::Nothing),
            (vec![0xff; 64], BootImage::Nothing),
            // The first word is not written yet.
            (changed(3, 0xff), BootImage::Nothing),
            ([direct, direct].concat(), BootImage::InPlace),
            (changed(12, 9), BootImage::OtherChip { chip_id: 9 }),
            (changed(1, 0), BootImage::Damaged),
            (changed(1, 200), BootImage::Damaged),
            // The second segment's header is erased flash.
            (good[..40].to_vec(), BootImage::Damaged),
            (changed(31, 0x7f), BootImage::Damaged),
        ];
        for (bytes, expected) in cases {
            assert_eq!(find(&bytes), expected, "{bytes:02x?}");
        }
    }
}
