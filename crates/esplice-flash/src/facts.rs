//! Finds the facts that a plan needs before the first write: which image boots, and where the
//! device's partition table is.
//!
//! The bootloader does not record where it looks for the table, so this module finds out. A
//! bootloader that the plan contains is recognised by its first and last bytes, which include its
//! SHA-256. For any other, the length is computed from its segments, and the sectors after it are
//! searched for tables. Replies carry no checksum, so everything that matters is read twice.

use esplice_chip::{Chip, FlashOffset};
use esplice_image::{
    BootHead, BootImage, DeviceFacts, FoundTable, OtaEntry, PartitionTable, PlanError, TableSearch,
};
use esplice_protocol::{Opcode, Port, READ_FLASH_SLOW_LEN};

use crate::{ChipInfo, FlashError, Session};

/// Bytes of a row of a partition table.
const TABLE_ROW: usize = 32;

/// Bytes of the table to read from a stub at once: most tables are shorter.
const STUB_STEP: usize = 256;

/// Bytes of an otadata record that select the slot, at the start of both sectors.
const OTADATA_RECORD: usize = 32;

/// Ends of the ranges searched for tables. Most bootloaders end before 0x8000, and apps start at
/// 0x10000 or 0x20000. The second range is searched only if the first contains no table.
const USUAL_END: u32 = 0x2_1000;
const FURTHEST_END: u32 = 0x10_0000;

/// Number of sectors read at once: their requests fit into a ROM loader's FIFO.
const SECTORS_AT_ONCE: usize = 6;

/// Number of readings in which two in a row must agree.
const READINGS: u32 = 4;

/// Information about a device's partition table from before the device is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableHint {
    /// Offset of the table, if the user gave one.
    pub offset: Option<FlashOffset>,
    /// A bootloader that is likely to be on the device, with the bytes that its flash would hold,
    /// and the offset at which that bootloader looks for the table.
    pub bootloader: Option<(Vec<u8>, FlashOffset)>,
}

impl<P: Port + ?Sized> Session<'_, P> {
    /// Reads the facts that a flash plan needs before the first write.
    ///
    /// # Errors
    /// The errors of commands. An invalid table is no error but part of the returned facts.
    pub fn device_facts(
        &mut self,
        info: &ChipInfo,
        hint: &TableHint,
    ) -> Result<DeviceFacts, FlashError> {
        let image = &info.chip.image;
        let usual = match &hint.bootloader {
            Some((_, offset)) => hint.offset.unwrap_or(*offset),
            None => hint.offset.unwrap_or(image.partition_table_offset),
        };
        let known = match &hint.bootloader {
            Some((bytes, offset)) => {
                self.known_bootloader(&info.chip, bytes, usual)?.map(|head| (head, *offset))
            }
            None => None,
        };
        let (boot, tables) = match known {
            Some((head, expected)) => {
                let offset = hint.offset.unwrap_or(expected);
                if offset != expected {
                    return Err(PlanError::BuiltInBootloader { expected, offset }.into());
                }
                let tables = TableSearch { recognised: true, ..self.table_at(offset, info)? };
                (BootImage::Bootloader(head), tables)
            }
            None => self.search_device(info, hint, usual)?,
        };
        self.ahead.clear();
        let mut facts = DeviceFacts {
            chip: info.chip.name.clone(),
            revision: info.revision,
            flash_size: Some(info.flash_size),
            boot,
            tables,
            otadata: None,
        };
        let otadata = facts.device_table().ok().and_then(|(_, table)| table.otadata());
        if let Some((offset, len)) = otadata.map(|partition| (partition.offset, partition.len)) {
            facts.otadata = Some(self.otadata(offset, len)?);
        }
        Ok(facts)
    }

    /// Returns the headers of the device's bootloader, if it is the one in `bytes`.
    fn known_bootloader(
        &mut self,
        chip: &Chip,
        bytes: &[u8],
        table: FlashOffset,
    ) -> Result<Option<BootHead>, FlashError> {
        let boot = chip.image.boot_offset;
        let read = |offset: FlashOffset, len: usize| {
            let start = (offset.0.saturating_sub(boot.0) as usize).min(bytes.len());
            let end = start.saturating_add(len).min(bytes.len());
            Ok::<_, std::convert::Infallible>(bytes.get(start..end).unwrap_or_default().to_vec())
        };
        let Ok(found) = BootImage::find(chip, read);
        let (BootImage::Bootloader(head) | BootImage::Program(head)) = found else {
            return Ok(None);
        };
        let Some(last) = bytes.len().checked_sub(READ_FLASH_SLOW_LEN) else { return Ok(None) };
        let tail = FlashOffset(boot.0.saturating_add(last as u32));
        // The sectors of another bootloader are read twice.
        self.read_ahead(&[boot, tail, table, boot, boot, table])?;
        let begins = self.read_small(boot, READ_FLASH_SLOW_LEN)?;
        let ends = self.read_small(tail, READ_FLASH_SLOW_LEN)?;
        let is_known = bytes.starts_with(&begins) && bytes.ends_with(&ends);
        Ok(is_known.then_some(head))
    }

    /// Finds what boots, and the tables, of a device with another bootloader than the known one.
    fn search_device(
        &mut self,
        info: &ChipInfo,
        hint: &TableHint,
        usual: FlashOffset,
    ) -> Result<(BootImage, TableSearch), FlashError> {
        let mut last = None;
        for _ in 0..READINGS {
            let boot = self.boot_image(&info.chip)?;
            let tables = match (hint.offset, &boot) {
                (Some(offset), _) => found_at(offset, self.found_table(offset, None)?),
                // The flash has no bootloader: only look where the plan will write a table.
                (None, BootImage::Nothing) => {
                    let found = found_at(usual, self.found_table(usual, None)?);
                    TableSearch { known: None, ..found }
                }
                (None, _) => self.search(info, &boot)?,
            };
            let found = (boot, tables);
            if last.as_ref() == Some(&found) {
                return Ok(found);
            }
            last = Some(found);
        }
        Err(FlashError::Unstable { command: Opcode::ReadFlashSlow })
    }

    fn boot_image(&mut self, chip: &Chip) -> Result<BootImage, FlashError> {
        BootImage::find(chip, |offset, len| self.read_small(offset, len))
    }

    /// Reads the table at `offset`, where it must be.
    fn table_at(
        &mut self,
        offset: FlashOffset,
        info: &ChipInfo,
    ) -> Result<TableSearch, FlashError> {
        let mut found = self.found_table(offset, None)?;
        // Nothing else shows that a table is complete, and the damage may be in the reply.
        let sound =
            |found: &FoundTable| found.has_md5 && found.sound(Some(info.flash_size)).is_ok();
        if !found.as_ref().is_some_and(sound) {
            found = self.found_table(offset, None)?;
        }
        Ok(found_at(offset, found))
    }

    /// Searches for tables in the sectors after the bootloader, or from the usual offset on.
    fn search(&mut self, info: &ChipInfo, boot: &BootImage) -> Result<TableSearch, FlashError> {
        let sector = PartitionTable::SECTOR_LEN;
        let image = &info.chip.image;
        let from = match boot {
            BootImage::Bootloader(head) => head.end.0,
            _ => image.partition_table_offset.0,
        };
        let from = from.checked_next_multiple_of(sector).unwrap_or(u32::MAX);
        let mut found = Vec::new();
        let mut next = from;
        for end in [USUAL_END, FURTHEST_END] {
            let end = end.min(info.flash_size);
            if next < end {
                self.search_sectors(next..end, &mut found)?;
                next = end;
            }
            if !found.is_empty() {
                break;
            }
        }
        let (from, to) = (FlashOffset(from), FlashOffset(next));
        Ok(TableSearch { known: None, recognised: false, from, to, found })
    }

    fn search_sectors(
        &mut self,
        range: std::ops::Range<u32>,
        found: &mut Vec<FoundTable>,
    ) -> Result<(), FlashError> {
        let offsets: Vec<FlashOffset> =
            range.step_by(PartitionTable::SECTOR_LEN as usize).map(FlashOffset).collect();
        for batch in offsets.chunks(SECTORS_AT_ONCE) {
            self.read_ahead(batch)?;
            let mut heads = Vec::new();
            for offset in batch {
                heads.push((*offset, self.read_small(*offset, READ_FLASH_SLOW_LEN)?));
            }
            for (offset, head) in heads {
                if PartitionTable::looks_like(&head) {
                    found.extend(self.found_table(offset, Some(head))?);
                }
            }
        }
        Ok(())
    }

    /// Reads the table at `offset`, if the data begins like one. `head` holds its first bytes, if
    /// they were already read.
    fn found_table(
        &mut self,
        offset: FlashOffset,
        head: Option<Vec<u8>>,
    ) -> Result<Option<FoundTable>, FlashError> {
        let mut bytes = head.unwrap_or_default();
        let step = if self.loader().is_stub() { STUB_STEP } else { READ_FLASH_SLOW_LEN };
        while bytes.len() < PartitionTable::LEN {
            let blank = bytes.iter().rev().take(TABLE_ROW).all(|byte| *byte == 0xff);
            if !bytes.is_empty() && blank {
                break;
            }
            let at = FlashOffset(offset.0.wrapping_add(bytes.len() as u32));
            let rest = PartitionTable::LEN - bytes.len();
            bytes.extend(self.read_small(at, step.min(rest))?);
            if !PartitionTable::looks_like(&bytes) {
                return Ok(None);
            }
        }
        // Everything after the first blank rows is blank.
        bytes.resize(PartitionTable::LEN, 0xff);
        let has_md5 = PartitionTable::has_md5(&bytes);
        Ok(Some(FoundTable { offset, table: PartitionTable::from_bytes(&bytes), has_md5 }))
    }

    /// Reads the otadata partition, of which only both records are read.
    fn otadata(&mut self, offset: FlashOffset, len: u32) -> Result<Vec<u8>, FlashError> {
        let sector = PartitionTable::SECTOR_LEN;
        let mut bytes = vec![0xff; 2 * sector as usize];
        for at in [0, sector] {
            if at.saturating_add(sector) > len {
                break;
            }
            let place = FlashOffset(offset.0.wrapping_add(at));
            let mut record = self.read_small(place, OTADATA_RECORD)?;
            let blank = record.iter().all(|byte| *byte == 0xff);
            if !blank && !OtaEntry::from_bytes(&record).is_some_and(|entry| entry.is_valid()) {
                record = self.read_small(place, OTADATA_RECORD)?;
            }
            if let Some(room) = bytes.get_mut(at as usize..at as usize + record.len()) {
                room.copy_from_slice(&record);
            }
        }
        Ok(bytes)
    }
}

/// Wraps the table found at the only place where it can be.
fn found_at(offset: FlashOffset, found: Option<FoundTable>) -> TableSearch {
    let to = FlashOffset(offset.0.saturating_add(PartitionTable::SECTOR_LEN));
    let found = found.into_iter().collect();
    TableSearch { known: Some(offset), recognised: false, from: offset, to, found }
}
