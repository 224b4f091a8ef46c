//! Facts read from a device: the image it boots and the position of its partition table.

use esplice_chip::{Chip, FlashOffset};

use crate::{BootImage, PartitionTable, PlanError, TableError};

/// Facts read from the device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceFacts {
    /// Name of the chip, such as `esp32c3`.
    pub chip: String,
    /// Chip revision: major, minor.
    pub revision: (u8, u8),
    /// Flash size in bytes, if known.
    pub flash_size: Option<u32>,
    /// The image at the boot offset.
    pub boot: BootImage,
    /// The partition tables in flash.
    pub tables: TableSearch,
    /// Content of the table's otadata partition.
    pub otadata: Option<Vec<u8>>,
}

/// The flash range that was searched for partition tables, and the tables in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableSearch {
    /// Offset at which the table must be, because the user set it or because the bootloader is
    /// known to look there. `None` if any offset may be the right one.
    pub known: Option<FlashOffset>,
    /// True if the offset is known from a recognised bootloader.
    pub recognised: bool,
    /// Offset of the first searched sector.
    pub from: FlashOffset,
    /// End of the last searched sector.
    pub to: FlashOffset,
    /// The sectors that begin like a table, in order.
    pub found: Vec<FoundTable>,
}

/// A sector that begins like a partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundTable {
    /// Offset of the sector.
    pub offset: FlashOffset,
    /// The table, or the reason why it is not valid.
    pub table: Result<PartitionTable, TableError>,
    /// True if the table has an MD5 row.
    pub has_md5: bool,
}

impl FoundTable {
    /// Returns the table, if the bootloader can boot from it and its partitions are trustworthy.
    ///
    /// # Errors
    /// Returns the first fault of the table.
    pub fn sound(&self, flash_size: Option<u32>) -> Result<&PartitionTable, TableError> {
        let table = self.table.as_ref().map_err(Clone::clone)?;
        table.check_for_boot(self.offset, flash_size)?;
        Ok(table)
    }
}

impl DeviceFacts {
    /// Returns the device's own table, if it is certain which one the bootloader uses.
    ///
    /// # Errors
    /// [`PlanError::DeviceTable`] for a table that is damaged or contradicts itself,
    /// [`PlanError::TableNotFound`], [`PlanError::SeveralTables`],
    /// [`PlanError::TableInBootloader`].
    pub fn device_table(&self) -> Result<(FlashOffset, &PartitionTable), PlanError> {
        let search = &self.tables;
        let bootloader = self.boot.bootloader();
        if let (Some(offset), Some(head)) = (search.known, bootloader)
            && offset < head.end
        {
            return Err(PlanError::TableInBootloader { offset, end: head.end });
        }
        let wanted = |found: &&FoundTable| search.known.is_none_or(|known| known == found.offset);
        let found = || search.found.iter().filter(wanted).filter(|found| self.is_whole(found));
        let sound: Vec<(FlashOffset, &PartitionTable)> = found()
            .filter_map(|found| Some((found.offset, found.sound(self.flash_size).ok()?)))
            .collect();
        match sound.as_slice() {
            [only] => Ok(*only),
            [_, _, ..] => {
                let offsets = sound.iter().map(|(offset, _)| *offset).collect();
                Err(PlanError::SeveralTables { offsets })
            }
            [] => Err(match found().find_map(|found| self.fault(found)) {
                Some(error) => error,
                None => PlanError::TableNotFound {
                    known: search.known,
                    from: search.from,
                    to: search.to,
                    bootloader_end: bootloader.map(|head| head.end),
                },
            }),
        }
    }

    /// Returns whether the table was written completely. One without an MD5 row may be the start of
    /// an unfinished table. It is accepted if it has an app partition and there is a bootloader,
    /// which is written after the table.
    fn is_whole(&self, found: &FoundTable) -> bool {
        let has_app = || found.table.as_ref().is_ok_and(|table| table.apps().next().is_some());
        found.has_md5 || found.table.is_err() || self.boot.bootloader().is_some() && has_app()
    }

    /// Returns the table at `offset`, if there is a complete one.
    pub(crate) fn table_at(&self, offset: FlashOffset) -> Option<&FoundTable> {
        let found = self.tables.found.iter().find(|found| found.offset == offset);
        found.filter(|found| self.is_whole(found))
    }

    /// Returns the fault of a table that was found.
    pub(crate) fn fault(&self, found: &FoundTable) -> Option<PlanError> {
        let source = found.sound(self.flash_size).err()?;
        Some(PlanError::DeviceTable { offset: found.offset, source })
    }
}

/// End of the search for tables in a flash's content: most bootloaders end before 0x8000, and apps
/// begin at 0x10000 or 0x20000.
const SEARCH_END: u32 = 0x2_1000;

impl DeviceFacts {
    /// Collects the facts of a flash from its content, starting at offset 0. `known` is the table's
    /// offset, if the user set it.
    pub fn of_flash(flash: &[u8], chip: &Chip, known: Option<FlashOffset>) -> Self {
        let read = |offset: FlashOffset, len: usize| {
            let rest = flash.get(offset.0 as usize..).unwrap_or_default();
            Ok::<_, std::convert::Infallible>(rest.get(..len).unwrap_or(rest).to_vec())
        };
        let Ok(boot) = BootImage::find(chip, read);
        let sector = PartitionTable::SECTOR_LEN;
        let usual = chip.image.partition_table_offset.0;
        let from = boot.bootloader().map_or(usual, |head| head.end.0);
        let from = from.checked_next_multiple_of(sector).unwrap_or(u32::MAX);
        let range = match known {
            Some(offset) => offset.0..offset.0.saturating_add(sector),
            None => from..SEARCH_END.max(from),
        };
        let sectors = range.clone().step_by(sector as usize).map(FlashOffset);
        let found = sectors.filter_map(|offset| {
            let bytes = flash.get(offset.0 as usize..)?;
            PartitionTable::looks_like(bytes).then(|| FoundTable {
                offset,
                table: PartitionTable::from_bytes(bytes),
                has_md5: PartitionTable::has_md5(bytes),
            })
        });
        let (from, to) = (FlashOffset(range.start), FlashOffset(range.end));
        let found = found.collect();
        let tables = TableSearch { known, recognised: false, from, to, found };
        let mut facts = Self { chip: chip.name.clone(), boot, tables, ..DeviceFacts::default() };
        let otadata = facts.device_table().ok().and_then(|(_, table)| table.otadata().cloned());
        facts.otadata = otadata.and_then(|partition| {
            let end = usize::try_from(partition.end()).ok()?;
            Some(flash.get(partition.offset.0 as usize..end)?.to_vec())
        });
        facts
    }
}
