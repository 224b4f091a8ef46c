//! Small reads of flash through the ROM loader, 64 bytes a time, and what they tell of a device.

use std::time::Duration;

use esplice_chip::{Chip, FlashOffset};
use esplice_image::{DeviceFacts, ImageHeader, OtaEntry, PartitionTable};
use esplice_protocol::{Opcode, Port, READ_FLASH_SLOW_LEN, Request};

use crate::{ChipInfo, FlashError, Session};

/// Time for one read of flash.
const READ: Duration = Duration::from_millis(500);

/// Bytes of a row of a partition table, and how the one with the MD5 begins (ESP-IDF
/// components/bootloader_support/include/esp_flash_partitions.h).
const TABLE_ROW: usize = 32;
const MD5_ROW: [u8; 2] = [0xeb, 0xeb];

/// Bytes of the table that are asked of a stub at once: most tables are shorter.
const STUB_STEP: usize = 256;

/// Bytes of an otadata record that tell which slot boots, at the start of both sectors.
const OTADATA_RECORD: usize = 32;

impl<P: Port + ?Sized> Session<'_, P> {
    /// Reads flash, 64 bytes a round trip: meant for small things, of which it is the only way
    /// without a stub. The flash must be attached.
    ///
    /// # Errors
    /// What commands bring.
    pub fn read_slow(&mut self, offset: FlashOffset, len: usize) -> Result<Vec<u8>, FlashError> {
        let mut bytes = Vec::new();
        while bytes.len() < len {
            let piece = (len - bytes.len()).min(READ_FLASH_SLOW_LEN);
            let at = offset.0.wrapping_add(bytes.len() as u32);
            let request = Request::ReadFlashSlow { offset: at, len: piece as u32 };
            let answer = self.ask(&request, READ)?;
            let read = answer.data.get(..piece).ok_or(FlashError::Malformed {
                command: Opcode::ReadFlashSlow,
                has: answer.data.len(),
            })?;
            bytes.extend_from_slice(read);
        }
        Ok(bytes)
    }

    /// What a flash plan must know of the device before its first write.
    ///
    /// # Errors
    /// What commands bring. A table that is not sound is none.
    pub fn device_facts(&mut self, info: &ChipInfo) -> Result<DeviceFacts, FlashError> {
        // Replies carry no checksum: what would be written anew is looked at twice.
        let (boot, table) = (info.chip.image.boot_offset, info.chip.image.partition_table_offset);
        self.read_ahead(&[boot, boot, table, table])?;
        let has_bootloader = self.has_bootloader(info.chip)? || self.has_bootloader(info.chip)?;
        let mut table = self.partition_table(info.chip, has_bootloader)?;
        if table.is_none() {
            table = self.partition_table(info.chip, has_bootloader)?;
        }
        let otadata = match table.as_ref().and_then(PartitionTable::otadata) {
            Some(partition) => {
                let (offset, len) = (partition.offset, partition.len);
                Some(self.otadata(offset, len)?)
            }
            None => None,
        };
        self.ahead.clear();
        Ok(DeviceFacts {
            chip: info.chip.name.clone(),
            revision: info.revision,
            flash_size: Some(info.flash_size),
            table,
            otadata,
            has_bootloader,
        })
    }

    /// The device's table, if it is whole. One without an MD5 row may be the beginning of one that
    /// was never finished; as the table is written before the bootloader, it is believed where a
    /// bootloader stands, if it has a place for an app.
    fn partition_table(
        &mut self,
        chip: &Chip,
        has_bootloader: bool,
    ) -> Result<Option<PartitionTable>, FlashError> {
        let start = chip.image.partition_table_offset;
        let mut bytes = Vec::new();
        let step = if self.loader().is_stub() { STUB_STEP } else { READ_FLASH_SLOW_LEN };
        while bytes.len() < PartitionTable::LEN {
            let at = FlashOffset(start.0.wrapping_add(bytes.len() as u32));
            let piece = self.read_small(at, step)?;
            let blank = piece.iter().rev().take(TABLE_ROW).all(|byte| *byte == 0xff);
            bytes.extend(piece);
            if !PartitionTable::looks_like(&bytes) {
                return Ok(None);
            }
            if blank {
                break;
            }
        }
        // What follows the first blank rows is blank.
        bytes.resize(PartitionTable::LEN, 0xff);
        let has_md5 = bytes.chunks(TABLE_ROW).any(|row| row.starts_with(&MD5_ROW));
        Ok(PartitionTable::from_bytes(&bytes)
            .ok()
            .filter(|table| has_md5 || (has_bootloader && table.apps().next().is_some())))
    }

    /// The otadata partition, of which only both records are read.
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

    /// Whether a whole bootloader of this chip stands at the boot offset. The first word of a
    /// bootloader is programmed last (see `write`), so a header that holds tells of the whole; the
    /// flash size is the word's last byte, and blank it is none.
    fn has_bootloader(&mut self, chip: &Chip) -> Result<bool, FlashError> {
        let head = self.read_small(chip.image.boot_offset, READ_FLASH_SLOW_LEN)?;
        let size = head.get(3).and_then(|byte| chip.image.flash_size_bytes(byte >> 4));
        Ok(size.is_some()
            && ImageHeader::from_bytes(&head)
                .is_ok_and(|header| header.chip_id == chip.image.chip_id))
    }
}
