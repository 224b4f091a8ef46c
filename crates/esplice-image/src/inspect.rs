//! Inspects images and reports their defects.

use esplice_chip::{Addr, Chip, ChipDb, FlashOffset, RegionKind};

use crate::header::read_segment_headers;
use crate::soundness::{Breach, breaches};
use crate::{
    AppDescriptor, Content, Defect, DeviceFacts, Extent, FlashMode, HeaderError, ImageHeader,
    ImageInfo, ImageKind, ImageReport, ImageSegment, Part, PartBody, PartitionTable, SegmentHeader,
    Write, merge, sha256,
};

/// Inspects `bytes`: an app, a bootloader, a partition table, or a flash content from offset 0 that
/// contains all of them. Its chip is one of `chips`.
pub fn inspect(bytes: &[u8], chips: &ChipDb) -> ImageReport {
    let content = Content::of(bytes);
    let mut report = ImageReport { content, len: bytes.len(), parts: Vec::new(), defects: vec![] };
    if let Some(chip) = merged_for(bytes, chips) {
        report.parts = merged_parts(bytes, chip, chips);
        return report;
    }
    match content {
        Content::Image => report.parts.push(image_part("image", 0, bytes, None, chips)),
        Content::PartitionTable => report.parts.push(table_part(0, bytes, None)),
        Content::DirectImage => {}
        content => report.defects.push(Defect::NotAnImage { content }),
    }
    report
}

/// Maximum number of images and tables that are inspected in a file: firmware has only a few.
const MOST_PARTS: usize = 1000;

/// Inspects the flash content in a HEX or UF2 file of `len` bytes. If it has a bootloader and a
/// table, it is inspected as a flash from offset 0, otherwise each run of bytes is inspected
/// separately. Its chip is one of `chips`.
pub fn inspect_writes(
    content: Content,
    len: usize,
    writes: &[Write],
    chips: &ChipDb,
) -> ImageReport {
    let mut report = ImageReport { content, len, parts: Vec::new(), defects: Vec::new() };
    let flash = match merge(writes, FlashOffset(0), None) {
        Ok(flash) => flash,
        Err(error) => {
            report.defects.push(Defect::NotOneFlash { message: error.to_string() });
            return report;
        }
    };
    if let Some(chip) = merged_for(&flash, chips) {
        report.parts = merged_parts(&flash, chip, chips);
        return report;
    }
    for write in writes {
        if report.parts.len() == MOST_PARTS {
            let message = format!("more than {MOST_PARTS} images and tables are in it");
            report.defects.push(Defect::NotOneFlash { message });
            break;
        }
        let offset = write.offset.0;
        match Content::of(&write.data) {
            Content::Image => {
                report.parts.push(image_part("image", offset, &write.data, None, chips))
            }
            Content::PartitionTable => report.parts.push(table_part(offset, &write.data, None)),
            _ => {}
        }
    }
    if report.parts.is_empty() {
        report.defects.push(Defect::NotAnImage { content: Content::of(&flash) });
    }
    report
}

/// Returns the chip if this is its flash content from offset 0. That is so if there is a bootloader
/// at the chip's boot offset and more than itself after it. It is also so if there is a table; then
/// the chip is the one named by an app in it, or else the first one of all.
fn merged_for<'a>(bytes: &[u8], chips: &'a ChipDb) -> Option<&'a Chip> {
    let at = |offset: FlashOffset| bytes.get(offset.0 as usize..).filter(|rest| !rest.is_empty());
    let has_bootloader = |chip: &&Chip| {
        let image = &chip.image;
        let Some(table) = at(table_offset(bytes, chip)) else { return false };
        let Some(boot) = at(image.boot_offset) else { return false };
        // An app's bytes may look like a table by chance, but not after its end.
        Extent::of(boot).is_ok_and(|extent| {
            let before = boot.len() - extent.end >= table.len();
            // TinyGo pads with zeros up to code and data after its image, while unwritten flash
            // holds ones.
            let between = boot.get(extent.end..).unwrap_or_default();
            let between = &between[..between.len().min(PartitionTable::LEN)];
            let before = before && between.iter().any(|byte| *byte != 0);
            extent.header.chip_id == image.chip_id && before && !has_flash(&extent, chip)
        })
    };
    let table_of = |chip: &Chip| {
        let image = &chip.image;
        let boot = at(image.boot_offset)?;
        let table = PartitionTable::from_bytes(at(image.partition_table_offset)?).ok();
        table.filter(|_| Extent::of(boot).is_err())
    };
    let has_app = |chip: &&Chip| {
        table_of(chip).is_some_and(|table| {
            table.partitions.iter().filter_map(|partition| at(partition.offset)).any(|bytes| {
                let header = ImageHeader::from_bytes(bytes);
                header.is_ok_and(|header| header.chip_id == chip.image.chip_id)
            })
        })
    };
    let with = |has: &dyn Fn(&&Chip) -> bool| chips.chips().map(|chip| &**chip).find(has);
    let found = with(&has_bootloader).or_else(|| with(&has_app));
    found.or_else(|| with(&|chip| table_of(chip).is_some()))
}

/// Returns the offset of the table in a flash content: the certain one if found, else the default.
fn table_offset(bytes: &[u8], chip: &Chip) -> FlashOffset {
    let facts = DeviceFacts::of_flash(bytes, chip, None);
    let found = facts.boot.bootloader().and_then(|_| facts.device_table().ok());
    found.map_or(chip.image.partition_table_offset, |(offset, _)| offset)
}

fn has_flash(extent: &Extent, chip: &Chip) -> bool {
    extent.segments.iter().any(|segment| is_flash(segment.addr, chip))
}

fn is_flash(addr: Addr, chip: &Chip) -> bool {
    chip.region_at(addr).is_some_and(|region| region.kind == RegionKind::Flash)
}

fn merged_parts(bytes: &[u8], chip: &Chip, chips: &ChipDb) -> Vec<Part> {
    let image = &chip.image;
    let table_offset = table_offset(bytes, chip);
    let id = Some(image.chip_id);
    let boot = slice(bytes, image.boot_offset.0.into(), table_offset.0.into());
    let mut parts = vec![image_part("bootloader", image.boot_offset.0, boot, id, chips)];
    let table_end = u64::from(table_offset.0) + PartitionTable::LEN as u64;
    let table = slice(bytes, table_offset.0.into(), table_end);
    let part = table_part(table_offset.0, table, Some(table_offset));
    let table = match &part.body {
        PartBody::Table(table) => table.clone(),
        _ => PartitionTable::default(),
    };
    parts.push(part);
    for partition in table.apps() {
        let rest = slice(bytes, partition.offset.0.into(), u64::MAX);
        let room = slice(bytes, partition.offset.0.into(), partition.end());
        if room.iter().all(|byte| *byte == 0xff) {
            continue;
        }
        let name = format!("app in {}", partition.name);
        let mut part = image_part(&name, partition.offset.0, room, id, chips);
        // If the partition's end cut the image, not the file's end, the app is too large for the
        // partition.
        if room.len() < rest.len() {
            for defect in &mut part.defects {
                if let Defect::Header(HeaderError::Truncated { needed, .. }) = defect {
                    let excess = needed.saturating_sub(partition.len.into());
                    *defect = Defect::AppTooLarge { len: *needed, excess };
                }
            }
        }
        parts.push(part);
    }
    parts
}

/// Returns `bytes[start..end]`, cut to the bytes that exist.
fn slice(bytes: &[u8], start: u64, end: u64) -> &[u8] {
    let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    bytes.get(clamp(start)..clamp(end)).unwrap_or_default()
}

fn table_part(offset: u32, bytes: &[u8], in_flash: Option<FlashOffset>) -> Part {
    let mut defects = Vec::new();
    let body = match PartitionTable::from_bytes(bytes) {
        Ok(table) => {
            // The offset of a table in a separate file is unknown; no table is before one sector.
            let place = in_flash.unwrap_or(FlashOffset(0));
            defects.extend(table.check(place, None).err().map(Defect::Table));
            PartBody::Table(table)
        }
        Err(error) => {
            defects.push(Defect::Table(error));
            PartBody::Unreadable
        }
    };
    Part { name: "partition table".into(), offset: FlashOffset(offset), body, defects }
}

fn image_part(
    name: &str,
    offset: u32,
    bytes: &[u8],
    expected_id: Option<u16>,
    chips: &ChipDb,
) -> Part {
    let mut defects = Vec::new();
    let body = match ImageHeader::from_bytes(bytes) {
        Ok(header) => {
            if let Some(expected) = expected_id.filter(|id| *id != header.chip_id) {
                defects.push(Defect::OtherChip { id: header.chip_id, expected });
            }
            PartBody::Image(Box::new(image_info(header, bytes, chips, &mut defects)))
        }
        Err(error) => {
            defects.push(error.into());
            PartBody::Unreadable
        }
    };
    Part { name: name.into(), offset: FlashOffset(offset), body, defects }
}

fn image_info(
    header: ImageHeader,
    bytes: &[u8],
    chips: &ChipDb,
    defects: &mut Vec<Defect>,
) -> ImageInfo {
    let chip = chips.find_by_id(header.chip_id).map(|chip| &**chip);
    let (segments, _) = read_segment_headers(bytes, header.segment_count);
    let descriptor = AppDescriptor::of_image(bytes);
    let mut info = ImageInfo {
        kind: kind(&segments, descriptor.is_some(), chip),
        header,
        chip: chip.map(|chip| chip.name.clone()),
        flash_freq: None,
        flash_size: None,
        segments: segments.iter().map(|segment| image_segment(segment, chip)).collect(),
        end: None,
        checksum: None,
        sha256: None,
        descriptor,
    };
    check_header(&header, chip, defects);
    if let Some(chip) = chip {
        name_flash_codes(&mut info, chip, defects);
        let page_size = page_size(&info, chip);
        check_segments(&segments, chip, defects);
        check_soundness(&info, chip, page_size, defects);
    }
    check_end(&mut info, bytes, chip, defects);
    if info.kind == ImageKind::Rom {
        defects.push(Defect::NoDescriptor);
    }
    info
}

fn kind(segments: &[SegmentHeader], descriptor: bool, chip: Option<&Chip>) -> ImageKind {
    match chip {
        _ if descriptor => ImageKind::App,
        None => ImageKind::Unknown,
        Some(chip) if segments.iter().any(|segment| is_flash(segment.addr, chip)) => ImageKind::Rom,
        Some(_) => ImageKind::Ram,
    }
}

fn image_segment(segment: &SegmentHeader, chip: Option<&Chip>) -> ImageSegment {
    let SegmentHeader { addr, len, offset } = *segment;
    let region = chip.and_then(|chip| chip.region_at(addr)).map(|region| region.key.clone());
    ImageSegment { addr, len, offset, region }
}

fn check_header(header: &ImageHeader, chip: Option<&Chip>, defects: &mut Vec<Defect>) {
    if chip.is_none() {
        defects.push(Defect::UnknownChip { id: header.chip_id });
    }
    let (count, max) =
        (usize::from(header.segment_count), chip.map_or(16, |c| c.image.max_segments));
    if count == 0 {
        defects.push(Defect::NoSegments);
    }
    if count > max {
        defects.push(Defect::TooManySegments { count, max });
    }
    let (min, max) = (header.min_rev, header.max_rev);
    if min > max {
        defects.push(Defect::Revisions { min, max });
    }
    if FlashMode::from_code(header.flash_mode).is_none() {
        defects.push(Defect::UnknownCode { field: "flash mode", code: header.flash_mode });
    }
}

fn name_flash_codes(info: &mut ImageInfo, chip: &Chip, defects: &mut Vec<Defect>) {
    let code = info.header.flash_freq_code();
    info.flash_freq = chip.image.flash_freq_name(code).map(str::to_owned);
    if info.flash_freq.is_none() {
        defects.push(Defect::UnknownCode { field: "flash frequency", code });
    }
    let code = info.header.flash_size_code();
    info.flash_size = chip.image.flash_size_bytes(code);
    if info.flash_size.is_none() {
        defects.push(Defect::UnknownCode { field: "flash size", code });
    }
}

/// Returns the MMU page size of an image: its descriptor's, or else the smallest, which divides
/// all.
fn page_size(info: &ImageInfo, chip: &Chip) -> u32 {
    let known = &chip.image.mmu_page_sizes;
    let named = info.descriptor.as_ref().and_then(|descriptor| descriptor.mmu_page_size);
    let named = named.filter(|size| known.contains(size));
    named.or_else(|| known.iter().copied().min()).unwrap_or(0x1_0000)
}

fn check_segments(segments: &[SegmentHeader], chip: &Chip, defects: &mut Vec<Defect>) {
    for (number, segment) in segments.iter().enumerate() {
        let SegmentHeader { addr, len, .. } = *segment;
        if addr.0 == 0 {
            continue; // padding
        }
        match chip.region_at(addr) {
            // A segment's padding to 4 bytes may extend past a region's end.
            Some(region)
                if matches!(region.kind, RegionKind::Ram | RegionKind::Flash)
                    && len <= region.bytes_after(addr).next_multiple_of(4) => {}
            _ => defects.push(Defect::SegmentOutside { number, addr, len }),
        }
    }
}

fn check_soundness(info: &ImageInfo, chip: &Chip, page_size: u32, defects: &mut Vec<Defect>) {
    let addr = |number: usize| info.segments.get(number).map_or(Addr(0), |segment| segment.addr);
    let entry = info.header.entry;
    for breach in breaches(&info.segments, entry, chip, page_size) {
        defects.push(match breach {
            Breach::SharedRam { first, second, backing, len } => Defect::SegmentsOverlap {
                first,
                first_addr: addr(first),
                second,
                second_addr: addr(second),
                shared: len,
                backing,
            },
            Breach::Misplaced { number } => Defect::SegmentMisplaced {
                number,
                addr: addr(number),
                offset: info.segments.get(number).map_or(0, |segment| segment.offset),
                page_size,
            },
            Breach::SharedPage { first, second } => Defect::SamePage {
                first,
                first_addr: addr(first),
                second,
                second_addr: addr(second),
                page_size,
            },
            Breach::Entry => Defect::EntryOutside { entry },
        });
    }
}

/// Checks that the image is complete, and checks checksum and hash.
fn check_end(info: &mut ImageInfo, bytes: &[u8], chip: Option<&Chip>, defects: &mut Vec<Defect>) {
    let extent = match Extent::of(bytes) {
        Ok(extent) => extent,
        Err(error) => return defects.push(error.into()),
    };
    info.end = Some(extent.end);
    info.checksum = bytes.get(extent.checksum_at).copied();
    let computed = extent.checksum(bytes);
    if let Some(stored) = info.checksum.filter(|stored| *stored != computed) {
        defects.push(Defect::Checksum { stored, computed });
    }
    match extent.sha256_at.and_then(|at| Some((&bytes[..at], bytes.get(at..)?.first_chunk()?))) {
        Some((hashed, stored)) => {
            info.sha256 = Some(*stored);
            let computed = sha256(hashed);
            if computed != *stored {
                defects.push(Defect::Sha256 {
                    stored: hex::encode(stored),
                    computed: hex::encode(computed),
                });
            }
        }
        None if chip.is_some_and(|chip| chip.image.append_sha256) => defects.push(Defect::NoSha256),
        None => {}
    }
}
