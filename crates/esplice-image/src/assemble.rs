//! Bootloader, table and app put together into a plan.

use esplice_chip::{Chip, FlashOffset};

use crate::resolve::{app_partition, check_app_fits};
use crate::{
    AppDescriptor, BootLayout, Extent, FlashMode, FlashParams, FlashPlan, ImageHeader,
    PartitionTable, PlanError, PlannedWrite, WriteKind, patch_flash,
};

/// What a plan is made of.
#[derive(Debug, Clone)]
pub struct PlanParts<'a> {
    /// Boot layout.
    pub boot: BootLayout,
    /// The app image.
    pub app: &'a [u8],
    /// The second-stage bootloader, for layout idf; its header's flash parameters become the app's.
    pub bootloader: Option<&'a [u8]>,
    /// The partition table, for layout idf.
    pub table: Option<&'a PartitionTable>,
    /// The partition that the app goes to; else [`PartitionTable::app_target`] chooses.
    pub partition: Option<&'a str>,
    /// SHA-256 of the ELF, where there was one.
    pub elf_sha256: Option<[u8; 32]>,
}

/// Makes the plan for `chip`, with chip revisions and flash parameters of the app's header.
///
/// In layout idf the app must have a descriptor and fit its partition, and the table must be sound
/// and inside the flash. Without a table the app's offset is the default table's, and the device's
/// own table decides when the plan is resolved.
///
/// # Errors
/// [`PlanError`] for anything that would not boot or would not fit.
pub fn make_plan(chip: &Chip, parts: &PlanParts<'_>) -> Result<FlashPlan, PlanError> {
    if parts.boot == BootLayout::Direct {
        return Err(PlanError::LayoutUnsupported { boot: parts.boot });
    }
    let header = checked_header("app", parts.app, chip)?;
    let flash = flash_params("app", &header, chip)?;
    let mut plan = FlashPlan {
        chip: chip.name.clone(),
        min_rev: header.min_rev,
        // TinyGo leaves the field empty, and the ROM does not look at it.
        max_rev: match (parts.boot, header.max_rev) {
            (BootLayout::Rom, 0) => u16::MAX,
            (_, max) => max,
        },
        boot: parts.boot,
        flash,
        writes: Vec::new(),
        elf_sha256: parts.elf_sha256,
    };
    let app_offset = match parts.boot {
        BootLayout::Idf => idf_writes(&mut plan, chip, parts, &header)?,
        BootLayout::Rom | BootLayout::Direct => chip.image.boot_offset,
    };
    plan.writes.push(PlannedWrite {
        name: "app".into(),
        kind: WriteKind::App,
        offset: app_offset,
        data: parts.app.to_vec(),
    });
    plan.writes.sort_by_key(|write| write.offset);
    // Overlaps, and ends behind the flash.
    crate::resolve::check_planned(&plan.writes, plan.flash.size)?;
    Ok(plan)
}

/// Makes the plan for an image without header ([`crate::build_direct_image`]), for `chip` with this
/// flash: the image alone, at the start of flash, for any revision.
///
/// # Errors
/// [`PlanError`] for an image that does not fit.
pub fn make_direct_plan(
    chip: &Chip,
    image: &[u8],
    flash: &FlashParams,
    elf_sha256: Option<[u8; 32]>,
) -> Result<FlashPlan, PlanError> {
    let plan = FlashPlan {
        chip: chip.name.clone(),
        min_rev: 0,
        max_rev: u16::MAX,
        boot: BootLayout::Direct,
        flash: flash.clone(),
        writes: vec![PlannedWrite {
            name: "app".into(),
            kind: WriteKind::App,
            offset: FlashOffset(0),
            data: image.to_vec(),
        }],
        elf_sha256,
    };
    crate::resolve::check_planned(&plan.writes, plan.flash.size)?;
    Ok(plan)
}

/// Adds bootloader and table; the app's offset.
fn idf_writes(
    plan: &mut FlashPlan,
    chip: &Chip,
    parts: &PlanParts<'_>,
    app: &ImageHeader,
) -> Result<FlashOffset, PlanError> {
    if AppDescriptor::of_image(parts.app).is_none() {
        return Err(PlanError::NoDescriptor);
    }
    if let Some(bootloader) = parts.bootloader {
        let name = "bootloader";
        checked_header(name, bootloader, chip)?;
        let mut data = bootloader.to_vec();
        // The ROM reads the bootloader in no quad mode; a bootloader made for one enables it
        // itself (ESP-IDF components/esptool_py/Kconfig.projbuild, ESPTOOLPY_FLASHMODE).
        let mode = match plan.flash.mode {
            FlashMode::Qio | FlashMode::Qout => FlashMode::Dio,
            mode => mode,
        };
        let (freq, size) = (app.flash_freq_code(), app.flash_size_code());
        patch_flash(&mut data, Some(mode), Some(freq), Some(size))
            .map_err(|source| PlanError::Image { name: name.into(), source })?;
        plan.writes.push(PlannedWrite {
            name: name.into(),
            kind: WriteKind::Bootloader,
            offset: chip.image.boot_offset,
            data,
        });
    }
    let default = PartitionTable::esp_idf_default();
    let table = parts.table.unwrap_or(&default);
    let partition = app_partition(table, parts.partition, None)?;
    if parts.table.is_some() {
        let offset = chip.image.partition_table_offset;
        table.check(offset, Some(plan.flash.size))?;
        check_app_fits(parts.app.len(), partition)?;
        plan.writes.push(PlannedWrite {
            name: "partition table".into(),
            kind: WriteKind::PartitionTable,
            offset,
            data: table.to_bytes()?,
        });
    }
    Ok(partition.offset)
}

/// The header of a whole image that is for `chip`.
fn checked_header(name: &str, image: &[u8], chip: &Chip) -> Result<ImageHeader, PlanError> {
    let extent =
        Extent::of(image).map_err(|source| PlanError::Image { name: name.into(), source })?;
    if extent.header.chip_id != chip.image.chip_id {
        return Err(PlanError::ImageForOtherChip {
            name: name.into(),
            found: extent.header.chip_id,
            chip: chip.display_name.clone(),
            expected: chip.image.chip_id,
        });
    }
    Ok(extent.header)
}

fn flash_params(name: &str, header: &ImageHeader, chip: &Chip) -> Result<FlashParams, PlanError> {
    let unknown = |field, code| PlanError::UnknownCode {
        name: name.into(),
        field,
        code,
        chip: chip.display_name.clone(),
    };
    let (freq, size) = (header.flash_freq_code(), header.flash_size_code());
    Ok(FlashParams {
        mode: FlashMode::from_code(header.flash_mode)
            .ok_or_else(|| unknown("flash mode", header.flash_mode))?,
        freq: chip
            .image
            .flash_freq_name(freq)
            .map(str::to_owned)
            .ok_or_else(|| unknown("flash frequency", freq))?,
        size: chip.image.flash_size_bytes(size).ok_or_else(|| unknown("flash size", size))?,
    })
}
