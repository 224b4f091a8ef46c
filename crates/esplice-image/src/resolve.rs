//! The last pure step before the first write: the plan meets the device's facts.

use esplice_chip::FlashOffset;

use crate::{
    BootLayout, FlashPlan, ImageHeader, Partition, PartitionTable, PlanError, PlannedWrite,
    WriteKind, patch_flash,
};

/// What was read from the device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceFacts {
    /// Name of the chip: `esp32c3`.
    pub chip: String,
    /// Its revision: major, minor.
    pub revision: (u8, u8),
    /// Size of its flash in bytes, where it could be told.
    pub flash_size: Option<u32>,
    /// Its partition table, if it has a sound one.
    pub table: Option<PartitionTable>,
    /// Content of its otadata partition.
    pub otadata: Option<Vec<u8>>,
    /// Whether a bootloader stands at the boot offset.
    pub has_bootloader: bool,
}

/// What the user decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolveOptions {
    /// Write bootloader and table even where the device has them.
    pub with_bootloader: bool,
    /// The app goes to this partition.
    pub partition: Option<String>,
    /// The app goes to this place, whatever the table says.
    pub offset: Option<FlashOffset>,
}

/// Bytes and their final place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Name for people.
    pub name: String,
    /// What it is.
    pub kind: WriteKind,
    /// Where it goes.
    pub offset: FlashOffset,
    /// The bytes.
    pub data: Vec<u8>,
}

/// Writes in order of offset, no two in one erase sector, all inside the flash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedPlan {
    /// The writes.
    pub writes: Vec<Write>,
}

/// Unit of erasing of SPI NOR flash, in bytes; every write begins at one.
const SECTOR: u32 = 0x1000;

/// Ends `plan` for the device of `facts`.
///
/// The app goes to `options.offset`, else to the partition asked for or chosen
/// ([`PartitionTable::app_target`]) in the table that will stand on the device. Bootloader and
/// table are written where the device has none, or if asked. The flash size in the bootloader's
/// header becomes the device's.
///
/// # Errors
/// [`PlanError`] for anything that would not boot or would not fit, before a byte is written.
pub fn resolve(
    plan: &FlashPlan,
    facts: &DeviceFacts,
    options: &ResolveOptions,
) -> Result<ResolvedPlan, PlanError> {
    if plan.chip != facts.chip {
        return Err(PlanError::WrongChip {
            planned: plan.chip.clone(),
            device: facts.chip.clone(),
        });
    }
    check_revision("the app", plan.min_rev, plan.max_rev, facts.revision)?;
    let flash_size = facts.flash_size.unwrap_or(plan.flash.size);

    let mut writes = match plan.boot {
        BootLayout::Idf => idf_writes(plan, facts, options, flash_size)?,
        BootLayout::Rom | BootLayout::Direct => plain_writes(plan, options)?,
    };
    writes.sort_by_key(|write| write.offset);
    check_places(&writes, flash_size)?;
    Ok(ResolvedPlan { writes })
}

/// Whether a device of `revision` is inside `min` to `max` (major × 100 + minor).
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

fn idf_writes(
    plan: &FlashPlan,
    facts: &DeviceFacts,
    options: &ResolveOptions,
    flash_size: u32,
) -> Result<Vec<Write>, PlanError> {
    let mut writes = Vec::new();

    if options.with_bootloader || !facts.has_bootloader {
        let planned = plan.write(WriteKind::Bootloader).ok_or(PlanError::NoBootloader)?;
        let mut write = as_planned(planned);
        fit_bootloader(&mut write, plan, facts)?;
        writes.push(write);
    }

    let planned_table = plan.write(WriteKind::PartitionTable);
    let new_table = match (&facts.table, planned_table) {
        (Some(_), Some(planned)) if options.with_bootloader => Some(planned),
        (None, Some(planned)) => Some(planned),
        _ => None,
    };
    let table = match (new_table, &facts.table) {
        (Some(planned), _) => {
            let table = PartitionTable::from_bytes(&planned.data)?;
            table.check(planned.offset, Some(flash_size))?;
            writes.push(as_planned(planned));
            Some(table)
        }
        (None, device) => device.clone(),
    };
    // What otadata says is about the device's own table, not about one that replaces it.
    let otadata = if new_table.is_none() { facts.otadata.as_deref() } else { None };

    for planned in plan.writes.iter().filter(|write| write.kind == WriteKind::App) {
        let mut write = as_planned(planned);
        write.offset = match (options.offset, &table) {
            (Some(offset), _) => {
                if let Some(partition) = &options.partition {
                    let partition = partition.clone();
                    return Err(PlanError::PartitionAndOffset { partition, offset });
                }
                offset
            }
            (None, None) => return Err(PlanError::NoTable),
            (None, Some(table)) => {
                // The bootloader refuses the whole table then.
                table.check_ends(flash_size)?;
                let partition = app_partition(table, options.partition.as_deref(), otadata)?;
                check_app_fits(planned.data.len(), partition)?;
                partition.offset
            }
        };
        writes.push(write);
    }
    if !writes.iter().any(|write| write.kind == WriteKind::App) {
        return Err(PlanError::NoApp);
    }
    writes.extend(plan.writes.iter().filter(|w| w.kind == WriteKind::Data).map(as_planned));
    Ok(writes)
}

fn plain_writes(plan: &FlashPlan, options: &ResolveOptions) -> Result<Vec<Write>, PlanError> {
    if let Some(partition) = &options.partition {
        return Err(PlanError::NoPartitions { boot: plan.boot, partition: partition.clone() });
    }
    let mut writes: Vec<Write> = plan.writes.iter().map(as_planned).collect();
    let app = writes.iter_mut().find(|write| write.kind == WriteKind::App);
    let app = app.ok_or(PlanError::NoApp)?;
    if let Some(offset) = options.offset {
        app.offset = offset;
    }
    Ok(writes)
}

fn as_planned(planned: &PlannedWrite) -> Write {
    Write {
        name: planned.name.clone(),
        kind: planned.kind,
        offset: planned.offset,
        data: planned.data.clone(),
    }
}

/// Checks that the bootloader runs on this revision and sets the device's flash size in it.
fn fit_bootloader(
    write: &mut Write,
    plan: &FlashPlan,
    facts: &DeviceFacts,
) -> Result<(), PlanError> {
    let in_image = |source| PlanError::Image { name: write.name.clone(), source };
    let header = ImageHeader::from_bytes(&write.data).map_err(in_image)?;
    check_revision("the bootloader", header.min_rev, header.max_rev, facts.revision)?;
    let chip = esplice_chip::find(&plan.chip)?;
    // A size without a code (the device has more than the header can say) leaves the plan's.
    if let Some((code, _)) = facts.flash_size.and_then(|size| chip.image.flash_size_code(size)) {
        patch_flash(&mut write.data, None, None, Some(code))
            .map_err(|source| PlanError::Image { name: write.name.clone(), source })?;
    }
    Ok(())
}

/// The partition of `table` that the app goes to: the one called `name`, else by
/// [`PartitionTable::app_target`].
pub(crate) fn app_partition<'t>(
    table: &'t PartitionTable,
    name: Option<&str>,
    otadata: Option<&[u8]>,
) -> Result<&'t Partition, PlanError> {
    let Some(name) = name else {
        return table.app_target(otadata).ok_or(PlanError::NoAppPartition);
    };
    let partition = table.find(name).ok_or_else(|| PlanError::UnknownPartition {
        name: name.into(),
        nearest: table.nearest_name(name),
        apps: table.apps().map(|p| p.name.clone()).collect(),
    })?;
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

/// Checks that planned writes, sorted by offset, begin at sectors, share none, and lie in the flash.
pub(crate) fn check_planned(writes: &[PlannedWrite], flash_size: u32) -> Result<(), PlanError> {
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
