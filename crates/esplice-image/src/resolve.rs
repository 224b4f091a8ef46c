//! Completes a plan with the device's facts. It is the last step that needs no device.

use derive_setters::Setters;
use esplice_chip::{Addr, Chip, FlashOffset};

use crate::assemble::{check_before_table, check_built_in};
use crate::{
    BootImage, BootLayout, DeviceFacts, FlashPlan, ImageHeader, Partition, PartitionTable,
    PlanError, Write, WriteKind, patch_flash,
};

/// The user's options.
#[derive(Debug, Clone, Default, PartialEq, Eq, Setters)]
#[non_exhaustive]
pub struct ResolveOptions {
    /// True to write bootloader and table even if the device has them.
    pub with_bootloader: bool,
    /// The partition to write the app to.
    pub partition: Option<String>,
    /// The offset to write the app to, regardless of the table.
    pub offset: Option<FlashOffset>,
    /// True to refuse to write an app that the device would not boot.
    pub must_boot: bool,
}

/// Writes in order of offset, all inside the flash, no two of them in the same erase sector.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvedPlan {
    /// The writes.
    pub writes: Vec<Write>,
    /// Facts that the user should know before the writes.
    pub notes: Vec<PlanNote>,
    /// The expected output of the device when it boots the written app, if known.
    pub boots: ExpectedBoot,
}

impl From<Vec<Write>> for ResolvedPlan {
    /// Wraps writes about which nothing else is known.
    fn from(writes: Vec<Write>) -> Self {
        Self { writes, ..Self::default() }
    }
}

/// Values that a device prints while it boots the written app.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExpectedBoot {
    /// Entry point of the image that the ROM boots.
    pub entry: Option<Addr>,
    /// Offset of the app that the second-stage bootloader boots.
    pub app: Option<FlashOffset>,
}

/// A consequence of a plan beyond writing an app.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanNote {
    /// The bootloader replaces something else.
    #[error("{}: the second-stage bootloader replaces it", at_boot_offset(.found, *.offset))]
    BootReplaced {
        /// The image that is replaced.
        found: BootImage,
        /// The boot offset.
        offset: FlashOffset,
    },
    /// A program that the ROM boots replaces the bootloader.
    #[error(
        "the second-stage bootloader at {offset} is replaced by a program that the ROM \
        boots; the partition table is no longer used"
    )]
    BootloaderReplaced {
        /// The boot offset.
        offset: FlashOffset,
    },
    /// The device's table is not at the default offset.
    #[error("the board's partition table is at {offset}")]
    TableAt {
        /// Offset of the table.
        offset: FlashOffset,
    },
    /// An incomplete table is overwritten.
    #[error("the partition table at {offset} is incomplete: it is replaced")]
    IncompleteTable {
        /// Offset of the table.
        offset: FlashOffset,
    },
    /// A custom table replaces a different one.
    #[error("the board's partition table at {offset} is a different one: it is replaced")]
    TableReplaced {
        /// Offset of the table.
        offset: FlashOffset,
    },
    /// True if the custom bootloader looks for the table at this offset is unknown.
    #[error("cannot check whether the bootloader looks for the partition table at {offset}")]
    TableOffsetUnchecked {
        /// Offset of the table.
        offset: FlashOffset,
    },
    /// The device will boot a different app than the one that is written.
    #[error("the board boots {boots}, not {written}")]
    NotBooted {
        /// Partition or offset of the app.
        written: String,
        /// Name of the partition that boots.
        boots: String,
    },
}

impl PlanNote {
    /// Returns whether this is only information that needs no attention.
    pub fn is_fact(&self) -> bool {
        matches!(self, PlanNote::TableAt { .. })
    }
}

fn at_boot_offset(found: &BootImage, offset: FlashOffset) -> String {
    match found {
        BootImage::Nothing => format!("nothing boots at {offset}"),
        BootImage::Bootloader(_) => format!("another bootloader is at {offset}"),
        BootImage::Program(_) => format!("a program that the ROM loads is at {offset}"),
        BootImage::InPlace => format!("a program that runs in place is at {offset}"),
        BootImage::OtherChip { chip_id } => {
            format!("an image for another chip (id {chip_id}) is at {offset}")
        }
        BootImage::Damaged => format!("a damaged image is at {offset}"),
    }
}

/// Size of an erase sector of SPI NOR flash in bytes. Every write begins at one.
const SECTOR: u32 = 0x1000;

/// Completes `plan` for the device of `facts`.
///
/// The app goes to `options.offset`, or else to `options.partition`, or else to the partition that
/// the device boots ([`PartitionTable::app_target`]), according to the table that will be on the
/// device. Bootloader and table are written if the device has none, if they are custom, or with
/// `options.with_bootloader`. The bootloader's header gets the device's flash size, and the
/// built-in table fills the flash.
///
/// # Errors
/// [`PlanError`] for anything that would not boot or would not fit, and for a device whose table is
/// damaged or can't be found with certainty. Nothing has been written at this point.
pub fn resolve(
    plan: &FlashPlan,
    facts: &DeviceFacts,
    options: &ResolveOptions,
) -> Result<ResolvedPlan, PlanError> {
    if plan.chip.name != facts.chip {
        return Err(PlanError::WrongChip {
            planned: plan.chip.name.clone(),
            device: facts.chip.clone(),
        });
    }
    check_revision("the app", plan.min_rev, plan.max_rev, facts.revision)?;
    let flash_size = facts.flash_size.unwrap_or(plan.flash.size);
    let chip = &*plan.chip;

    let mut resolved = match plan.boot {
        BootLayout::Idf => IdfDevice { plan, facts, options, chip }.resolve(flash_size)?,
        BootLayout::Rom | BootLayout::Direct => plain_writes(plan, facts, options, chip)?,
    };
    resolved.writes.sort_by_key(|write| write.offset);
    check_places(&resolved.writes, flash_size)?;
    for write in &resolved.writes {
        tracing::debug!(name = write.name, offset = %write.offset, len = write.data.len(), "write");
    }
    Ok(resolved)
}

/// Checks that `revision` of a device is from `min` to `max` (major × 100 + minor).
fn check_revision(
    what: &'static str,
    min: u16,
    max: u16,
    revision: (u8, u8),
) -> Result<(), PlanError> {
    let full = u32::from(revision.0) * 100 + u32::from(revision.1);
    if full < u32::from(min) {
        return Err(PlanError::RevisionTooOld { what, min, device: revision });
    }
    if full > u32::from(max) {
        return Err(PlanError::RevisionTooNew { what, max, device: revision });
    }
    Ok(())
}

/// A device that will boot an app with bootloader and partition table.
struct IdfDevice<'a> {
    plan: &'a FlashPlan,
    facts: &'a DeviceFacts,
    options: &'a ResolveOptions,
    chip: &'a Chip,
}

/// The table that will be on the device.
struct TableInEffect {
    table: PartitionTable,
    /// The write for the table, if the device does not have it.
    write: Option<Write>,
}

impl IdfDevice<'_> {
    fn resolve(&self, flash_size: u32) -> Result<ResolvedPlan, PlanError> {
        let mut resolved = ResolvedPlan::default();
        let kept = match self.facts.boot.bootloader() {
            Some(head) if !self.options.with_bootloader && !self.plan.own.bootloader => Some(head),
            _ => None,
        };
        // The bootloader uses the flash size in its own header.
        let seen_size = match kept {
            Some(head) => {
                resolved.boots.entry = Some(head.entry);
                head.flash_size.min(flash_size)
            }
            None => {
                let write = self.bootloader(&mut resolved.notes)?;
                let header = self.header(&write)?;
                resolved.boots.entry = Some(header.entry);
                resolved.writes.push(write);
                let size = self.chip.image.flash_size_bytes(header.flash_size_code());
                size.unwrap_or(flash_size).min(flash_size)
            }
        };
        let in_effect = self.table(kept.is_some(), seen_size, &mut resolved.notes)?;
        if let Some(TableInEffect { table, write: Some(write) }) = &in_effect {
            resolved.writes.push(write.clone());
            // The content was written under a different table and would select a slot.
            resolved.writes.extend(table.otadata().map(blank_otadata));
        }
        for planned in self.plan.writes.iter().filter(|write| write.kind == WriteKind::App) {
            let write = self.app(planned, in_effect.as_ref(), &mut resolved)?;
            resolved.writes.push(write);
        }
        if !resolved.writes.iter().any(|write| write.kind == WriteKind::App) {
            return Err(PlanError::NoApp);
        }
        let data = self.plan.writes.iter().filter(|write| write.kind == WriteKind::Data);
        resolved.writes.extend(data.cloned());
        Ok(resolved)
    }

    /// Returns the offset of the plan's table.
    fn table_offset(&self) -> FlashOffset {
        let planned = self.plan.write(WriteKind::PartitionTable).map(|write| write.offset);
        let offset = self.plan.table_offset.or(planned);
        offset.unwrap_or(self.chip.image.partition_table_offset)
    }

    fn header(&self, write: &Write) -> Result<ImageHeader, PlanError> {
        ImageHeader::from_bytes(&write.data)
            .map_err(|source| PlanError::Image { name: write.name.clone(), source })
    }

    /// Returns the plan's bootloader, adapted to the device.
    fn bootloader(&self, notes: &mut Vec<PlanNote>) -> Result<Write, PlanError> {
        let planned = self.plan.write(WriteKind::Bootloader).ok_or(PlanError::NoBootloader)?;
        let mut write = planned.clone();
        let header = self.header(&write)?;
        check_revision("the bootloader", header.min_rev, header.max_rev, self.facts.revision)?;
        write.data = adapt_bootloader(planned, self.chip, self.facts.flash_size)?;
        let offset = self.table_offset();
        if self.plan.own.bootloader {
            if offset != self.chip.image.partition_table_offset {
                notes.push(PlanNote::TableOffsetUnchecked { offset });
            }
        } else {
            check_built_in(offset, self.chip)?;
        }
        check_before_table(&write.data, offset, self.chip)?;
        let found = self.facts.boot;
        if !matches!(found, BootImage::Nothing | BootImage::Bootloader(_)) {
            let offset = write.offset;
            notes.push(PlanNote::BootReplaced { found, offset });
        }
        Ok(write)
    }

    /// Returns the table that will be in effect, for a bootloader that sees `flash_size` bytes of
    /// flash. Returns `None` if no table is needed because the user set the app's offset.
    fn table(
        &self,
        bootloader_kept: bool,
        flash_size: u32,
        notes: &mut Vec<PlanNote>,
    ) -> Result<Option<TableInEffect>, PlanError> {
        let (facts, offset) = (self.facts, self.table_offset());
        if self.options.with_bootloader {
            return self.planned_table(flash_size).map(Some);
        }
        if bootloader_kept && self.options.offset.is_some() && !self.plan.own.table {
            return Ok(None);
        }
        let found = if bootloader_kept {
            match facts.device_table() {
                Ok((found, table)) => Some((found, table)),
                // The offset is certain, and there is no table, or only an incomplete one.
                Err(PlanError::TableNotFound { known: Some(known), .. })
                    if known == offset && (facts.tables.recognised || self.plan.own.table) =>
                {
                    None
                }
                Err(error) => return Err(error),
            }
        } else {
            match facts.table_at(offset) {
                Some(found) => match facts.fault(found) {
                    Some(_) if self.plan.own.table => None,
                    Some(error) => return Err(error),
                    None => found.table.as_ref().ok().map(|table| (offset, table)),
                },
                None => {
                    // A table at a different offset belongs to a different bootloader than the one
                    // to be written.
                    if let Ok((found, _)) = facts.device_table() {
                        return Err(PlanError::TableElsewhere { found, planned: offset });
                    }
                    None
                }
            }
        };
        match found {
            Some((found, _)) if found != offset && self.plan.own.table => {
                Err(PlanError::TableElsewhere { found, planned: offset })
            }
            Some((found, table)) if !self.plan.own.table => {
                if found != self.chip.image.partition_table_offset {
                    notes.push(PlanNote::TableAt { offset: found });
                }
                Ok(Some(TableInEffect { table: table.clone(), write: None }))
            }
            other => {
                let mut planned = self.planned_table(flash_size)?;
                match other {
                    Some((_, table)) if *table == planned.table => planned.write = None,
                    Some((offset, _)) => notes.push(PlanNote::TableReplaced { offset }),
                    None if facts.tables.found.iter().any(|found| found.offset == offset) => {
                        notes.push(PlanNote::IncompleteTable { offset });
                    }
                    None => {}
                }
                Ok(Some(planned))
            }
        }
    }

    /// Returns the plan's custom table, or the built-in one for this flash.
    fn planned_table(&self, flash_size: u32) -> Result<TableInEffect, PlanError> {
        let planned = self.plan.write(WriteKind::PartitionTable).ok_or(PlanError::NoTable)?;
        let mut write = planned.clone();
        write.offset = self.table_offset();
        let table = if self.plan.own.table {
            PartitionTable::from_bytes(&planned.data)?
        } else {
            let table = PartitionTable::builtin(flash_size, write.offset);
            write.data = table.to_bytes()?;
            table
        };
        table.check(write.offset, Some(flash_size))?;
        Ok(TableInEffect { table, write: Some(write) })
    }

    /// Returns the app at its final offset.
    fn app(
        &self,
        planned: &Write,
        in_effect: Option<&TableInEffect>,
        resolved: &mut ResolvedPlan,
    ) -> Result<Write, PlanError> {
        let mut write = planned.clone();
        // The otadata belongs to the device's own table, not to one that replaces it.
        let own = in_effect.is_some_and(|in_effect| in_effect.write.is_none());
        let otadata = if own { self.facts.otadata.as_deref() } else { None };
        let table = in_effect.map(|in_effect| &in_effect.table);
        let (offset, written) = match (self.options.offset, table) {
            (Some(offset), _) => {
                if let Some(partition) = &self.options.partition {
                    let partition = partition.clone();
                    return Err(PlanError::PartitionAndOffset { partition, offset });
                }
                (offset, offset.to_string())
            }
            (None, None) => return Err(PlanError::NoTable),
            (None, Some(table)) => {
                let partition = app_partition(table, self.options.partition.as_deref(), otadata)?;
                check_app_fits(planned.data.len(), partition)?;
                (partition.offset, partition.name.clone())
            }
        };
        write.offset = offset;
        resolved.boots.app = Some(offset);
        match table.and_then(|table| table.app_target(otadata)) {
            Some(target) if target.offset != offset => {
                let boots = target.name.clone();
                if self.options.must_boot {
                    return Err(PlanError::NotBooted { written, boots });
                }
                resolved.boots.app = Some(target.offset);
                resolved.notes.push(PlanNote::NotBooted { written, boots });
            }
            _ => {}
        }
        Ok(write)
    }
}

/// Returns a write of an erased otadata partition, which selects no slot.
fn blank_otadata(partition: &Partition) -> Write {
    Write {
        name: partition.name.clone(),
        kind: WriteKind::Data,
        offset: partition.offset,
        data: vec![0xff; partition.len as usize],
    }
}

fn plain_writes(
    plan: &FlashPlan,
    facts: &DeviceFacts,
    options: &ResolveOptions,
    chip: &Chip,
) -> Result<ResolvedPlan, PlanError> {
    if let Some(partition) = &options.partition {
        return Err(PlanError::NoPartitions { boot: plan.boot, partition: partition.clone() });
    }
    let mut writes = plan.writes.clone();
    let app = writes.iter_mut().find(|write| write.kind == WriteKind::App);
    let app = app.ok_or(PlanError::NoApp)?;
    if let Some(offset) = options.offset {
        app.offset = offset;
    }
    let mut resolved = ResolvedPlan::default();
    let offset = chip.image.boot_offset;
    if app.offset == offset {
        resolved.boots.entry = ImageHeader::from_bytes(&app.data).ok().map(|header| header.entry);
        if facts.boot.bootloader().is_some() {
            resolved.notes.push(PlanNote::BootloaderReplaced { offset });
        }
    }
    Ok(ResolvedPlan { writes, ..resolved })
}

/// Returns the bootloader with the device's flash size in its header and an updated hash.
pub(crate) fn adapt_bootloader(
    planned: &Write,
    chip: &Chip,
    flash_size: Option<u32>,
) -> Result<Vec<u8>, PlanError> {
    let mut data = planned.data.clone();
    // If the size has no code because the device has more than the header can express, keep the
    // plan's.
    if let Some((code, _)) = flash_size.and_then(|size| chip.image.flash_size_code(size)) {
        patch_flash(&mut data, None, None, Some(code))
            .map_err(|source| PlanError::Image { name: planned.name.clone(), source })?;
    }
    Ok(data)
}

/// Returns the partition of `table` for the app: the one called `name`, or else the one chosen by
/// [`PartitionTable::app_target`].
pub(crate) fn app_partition<'t>(
    table: &'t PartitionTable,
    name: Option<&str>,
    otadata: Option<&[u8]>,
) -> Result<&'t Partition, PlanError> {
    let Some(name) = name else {
        return table.app_target(otadata).ok_or(PlanError::NoAppPartition);
    };
    let partition = table.named(name, true)?;
    if !partition.is_app() {
        let (name, kind) = (name.to_owned(), partition.kind_name());
        return Err(PlanError::NotForApps { name, kind });
    }
    Ok(partition)
}

pub(crate) fn check_app_fits(len: usize, partition: &Partition) -> Result<(), PlanError> {
    let room = partition.len as usize;
    match len.checked_sub(room) {
        None | Some(0) => Ok(()),
        Some(excess) => Err(PlanError::AppTooLarge {
            len,
            excess,
            partition: partition.name.clone(),
            partition_len: partition.len,
        }),
    }
}

/// Checks that planned writes, sorted by offset, begin at sectors, share none, and are inside the
/// flash.
pub(crate) fn check_planned(writes: &[Write], flash_size: u32) -> Result<(), PlanError> {
    let places =
        writes.iter().map(|w| Place { name: &w.name, offset: w.offset, len: w.data.len() });
    check(places, flash_size)
}

fn check_places(writes: &[Write], flash_size: u32) -> Result<(), PlanError> {
    let places =
        writes.iter().map(|w| Place { name: &w.name, offset: w.offset, len: w.data.len() });
    check(places, flash_size)
}

struct Place<'w> {
    name: &'w str,
    offset: FlashOffset,
    len: usize,
}

fn check<'w>(places: impl Iterator<Item = Place<'w>>, flash_size: u32) -> Result<(), PlanError> {
    let mut before: Option<(&str, u64)> = None;
    for Place { name, offset, len } in places {
        if !offset.0.is_multiple_of(SECTOR) {
            return Err(PlanError::Unaligned { name: name.into(), offset, align: SECTOR });
        }
        if let Some((first, first_end)) = before
            && first_end.next_multiple_of(u64::from(SECTOR)) > u64::from(offset.0)
        {
            return Err(PlanError::Overlap {
                first: first.into(),
                first_end,
                second: name.into(),
                second_offset: offset,
            });
        }
        let end = u64::from(offset.0) + len as u64;
        if end > u64::from(flash_size) {
            return Err(PlanError::PastFlash { name: name.into(), len, offset, flash_size });
        }
        before = Some((name, end));
    }
    Ok(())
}
