//! What was read from a device: which image it boots, and where its partition table is.

use esplice_chip::{Chip, FlashOffset};

use crate::{BootImage, PartitionTable, PlanError, TableError};

/// What was read from the device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceFacts {
    /// Name of the chip: `esp32c3`.
    pub chip: String,
    /// Its revision: major, minor.
    pub revision: (u8, u8),
    /// Size of its flash in bytes, where it is known.
    pub flash_size: Option<u32>,
    /// What is at the place that it boots from.
    pub boot: BootImage,
    /// Its partition tables.
    pub tables: TableSearch,
    /// Content of the otadata partition of its table.
    pub otadata: Option<Vec<u8>>,
}

/// Where partition tables were looked for, and what was found there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableSearch {
    /// Where the table must be: the user says so, or the bootloader is one that is known to look
    /// there. `None` where any place may be the right one.
    pub known: Option<FlashOffset>,
    /// Whether that is known because the bootloader is one that was recognised.
    pub recognised: bool,
    /// First sector that was looked at.
    pub from: FlashOffset,
    /// End of the last sector that was looked at.
    pub to: FlashOffset,
    /// The sectors that begin like a table, in order.
    pub found: Vec<FoundTable>,
}

/// A sector that begins like a partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundTable {
    /// Its offset.
    pub offset: FlashOffset,
    /// The table, or why it is none.
    pub table: Result<PartitionTable, TableError>,
    /// Whether it has an MD5 row.
    pub has_md5: bool,
}

impl FoundTable {
    /// The table, if the bootloader could boot from it and its partitions can be trusted.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn sound(&self, flash_size: Option<u32>) -> Result<&PartitionTable, TableError> {
        let table = self.table.as_ref().map_err(Clone::clone)?;
        table.check_for_boot(self.offset, flash_size)?;
        Ok(table)
    }
}

impl DeviceFacts {
    /// The device's own table, where it is certain which one the bootloader uses.
    ///
    /// # Errors
    /// [`PlanError::DeviceTable`] for a table that is damaged or contradicts itself,
    /// [`PlanError::TableNotFound`], [`PlanError::SeveralTables`],
    /// [`PlanError::TableInBootloader`].
    pub fn own_table(&self) -> Result<(FlashOffset, &PartitionTable), PlanError> {
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

    /// Whether what begins like a table was finished. One without an MD5 row may be the beginning
    /// of one that was not; it is believed where a bootloader is, which is written after the table,
    /// if it has a place for an app.
    fn is_whole(&self, found: &FoundTable) -> bool {
        let has_app = || found.table.as_ref().is_ok_and(|table| table.apps().next().is_some());
        found.has_md5 || found.table.is_err() || self.boot.bootloader().is_some() && has_app()
    }

    /// The table at `offset`, if something whole is there.
    pub(crate) fn table_at(&self, offset: FlashOffset) -> Option<&FoundTable> {
        let found = self.tables.found.iter().find(|found| found.offset == offset);
        found.filter(|found| self.is_whole(found))
    }

    /// What is wrong with a table that was found.
    pub(crate) fn fault(&self, found: &FoundTable) -> Option<PlanError> {
        let source = found.sound(self.flash_size).err()?;
        Some(PlanError::DeviceTable { offset: found.offset, source })
    }
}

/// Where tables are looked for in a flash's content: most bootloaders end before 0x8000, and apps
/// follow from 0x10000 or 0x20000 on.
const SEARCH_END: u32 = 0x2_1000;

impl DeviceFacts {
    /// The same of a flash whose content is at hand, from its first byte on. `known` is where its
    /// table is, if the user says so.
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
        let otadata = facts.own_table().ok().and_then(|(_, table)| table.otadata().cloned());
        facts.otadata = otadata.and_then(|partition| {
            let end = usize::try_from(partition.end()).ok()?;
            Some(flash.get(partition.offset.0 as usize..end)?.to_vec())
        });
        facts
    }
}
