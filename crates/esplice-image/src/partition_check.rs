//! Checks of partition tables by the rules of ESP-IDF's bootloader and generator.

use esplice_chip::FlashOffset;

use crate::partition::{APP_ALIGN, DATA_COREDUMP, DATA_NVS, LARGEST_APP, SECTOR, TYPE_DATA};
use crate::{Partition, PartitionTable, TableError};

/// Size of an otadata partition in bytes: a sector for each of its two records.
const OTADATA_LEN: u32 = 2 * SECTOR;

/// Minimum size of a writable NVS partition (ESP-IDF documentation, "Non-Volatile Storage").
const NVS_LEN: u32 = 3 * SECTOR;

impl PartitionTable {
    /// Checks the table as ESP-IDF's generator does, for a table at `table_offset` and, if known, a
    /// flash of `flash_size` bytes.
    ///
    /// # Errors
    /// Returns the first of [`Self::faults`].
    pub fn check(
        &self,
        table_offset: FlashOffset,
        flash_size: Option<u32>,
    ) -> Result<(), TableError> {
        self.faults(table_offset, flash_size).into_iter().next().map_or(Ok(()), Err)
    }

    /// Checks for faults that prevent booting, or that would let a write to a partition destroy
    /// something else: [`Self::check`] without [`TableError::is_remark`].
    ///
    /// # Errors
    /// Returns the first fault.
    pub fn check_for_boot(
        &self,
        table_offset: FlashOffset,
        flash_size: Option<u32>,
    ) -> Result<(), TableError> {
        let mut faults = self.faults(table_offset, flash_size).into_iter();
        faults.find(|fault| !fault.is_remark()).map_or(Ok(()), Err)
    }

    /// Returns all faults of the table, for a table at `table_offset` and, if known, a flash of
    /// `flash_size` bytes.
    pub fn faults(&self, table_offset: FlashOffset, flash_size: Option<u32>) -> Vec<TableError> {
        let mut faults = Vec::new();
        let table_end = u64::from(table_offset.0) + u64::from(SECTOR);
        for (i, partition) in self.partitions.iter().enumerate() {
            let before = self.partitions.get(..i).unwrap_or_default();
            faults.extend(before.iter().find_map(|other| conflict(other, partition)));
            faults.extend(place_fault(partition, table_end, flash_size));
            faults.extend(use_fault(partition));
        }
        let mut by_offset: Vec<&Partition> = self.partitions.iter().collect();
        by_offset.sort_by_key(|partition| partition.offset);
        let mut reaches: Option<&Partition> = None;
        for partition in by_offset {
            match reaches {
                Some(first) if first.end() > u64::from(partition.offset.0) => {
                    faults.push(TableError::Overlap {
                        first: first.name.clone(),
                        second: partition.name.clone(),
                        offset: partition.offset,
                    });
                }
                _ => {}
            }
            if reaches.is_none_or(|first| first.end() < partition.end()) {
                reaches = Some(partition);
            }
        }
        // Faults that prevent booting come first.
        faults.sort_by_key(TableError::is_remark);
        faults
    }
}

/// Returns the error if two partitions share a property that must be unique.
fn conflict(first: &Partition, second: &Partition) -> Option<TableError> {
    let boots = second.is_factory() || second.is_test() || second.ota_slot().is_some();
    let is_one_kind = boots && first.is_app() && first.subtype == second.subtype
        || first.is_otadata() && second.is_otadata();
    if is_one_kind {
        return Some(TableError::SameKind {
            kind: format!("{} {}", second.kind_name(), second.subtype_name()),
            first: first.name.clone(),
            second: second.name.clone(),
        });
    }
    let name = second.name.clone();
    (first.name == second.name).then_some(TableError::DuplicateName { name })
}

/// Returns the fault of a partition's offset or length.
fn place_fault(
    partition: &Partition,
    table_end: u64,
    flash_size: Option<u32>,
) -> Option<TableError> {
    let Partition { offset, len, .. } = *partition;
    let name = || partition.name.clone();
    let align = if partition.is_app() { APP_ALIGN } else { SECTOR };
    let whole = !partition.is_app() || len.is_multiple_of(SECTOR);
    if !offset.0.is_multiple_of(align) || !whole || len == 0 {
        return Some(TableError::Unaligned { name: name(), offset, len, align });
    }
    if partition.is_app() && len > LARGEST_APP {
        return Some(TableError::AppPartitionTooLarge { name: name(), len, most: LARGEST_APP });
    }
    if u64::from(offset.0) < table_end && !partition.is_primary() {
        return Some(TableError::BeforeTable { name: name(), offset, table_end });
    }
    let flash_size = flash_size.filter(|size| partition.end() > u64::from(*size))?;
    Some(TableError::PastFlash { name: name(), end: partition.end(), flash_size })
}

/// Returns the fault that makes a partition unusable for its purpose.
fn use_fault(partition: &Partition) -> Option<TableError> {
    let Partition { kind, subtype, len, .. } = *partition;
    let name = partition.name.clone();
    let readonly = partition.flag_names().contains(&"readonly");
    if partition.is_otadata() && len != OTADATA_LEN {
        return Some(TableError::OtadataLen { name, len, needed: OTADATA_LEN });
    }
    let always_written = partition.is_otadata() || kind == TYPE_DATA && subtype == DATA_COREDUMP;
    if always_written && readonly {
        return Some(TableError::NotReadOnly { name, subtype: partition.subtype_name() });
    }
    let is_nvs = kind == TYPE_DATA && subtype == DATA_NVS;
    (is_nvs && len < NVS_LEN && !readonly).then_some(TableError::NvsTooSmall {
        name,
        len,
        needed: NVS_LEN,
    })
}
