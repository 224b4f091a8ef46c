//! Makes a plan from bootloader, partition table and app.

use std::sync::Arc;

use esplice_chip::{Chip, FlashOffset};

use crate::resolve::{app_partition, check_app_fits};
use crate::{
    AppDescriptor, BootImage, BootLayout, CustomParts, Extent, FlashMode, FlashParams, FlashPlan,
    ImageHeader, PartitionTable, PlanError, Write, WriteKind, patch_flash,
};

/// The partition table of a plan.
#[derive(Debug, Clone, Copy, Default)]
pub enum TableChoice<'a> {
    /// The built-in table, sized for the flash.
    #[default]
    BuiltIn,
    /// A custom table.
    Own(&'a PartitionTable),
}

/// The inputs of a plan.
#[derive(Debug, Clone)]
pub struct PlanParts<'a> {
    /// Boot layout.
    pub boot: BootLayout,
    /// The app image.
    pub app: &'a [u8],
    /// The second-stage bootloader, for boot layout idf. Its header gets the app's flash
    /// parameters.
    pub bootloader: Option<&'a [u8]>,
    /// True if the bootloader is a custom one.
    pub own_bootloader: bool,
    /// The partition table, for boot layout idf.
    pub table: TableChoice<'a>,
    /// Offset of the partition table; `None` for the chip's default.
    pub table_offset: Option<FlashOffset>,
    /// The partition to write the app to; `None` for the choice of [`PartitionTable::app_target`].
    pub partition: Option<&'a str>,
    /// SHA-256 of the ELF, if the app was made from one.
    pub elf_sha256: Option<[u8; 32]>,
    /// True to leave it to [`resolve`](crate::resolve()) to check, with the device's table and
    /// flash size, that everything fits.
    pub fits_later: bool,
}

impl<'a> PlanParts<'a> {
    /// Returns the parts of a plan with only an app image and the built-in table.
    pub fn new(boot: BootLayout, app: &'a [u8]) -> Self {
        Self {
            boot,
            app,
            bootloader: None,
            own_bootloader: false,
            table: TableChoice::BuiltIn,
            table_offset: None,
            partition: None,
            elf_sha256: None,
            fits_later: false,
        }
    }
}

/// Makes the plan for `chip`, with the chip revisions and flash parameters of the app's header.
///
/// In boot layout idf the app must have a descriptor and the table must be valid. Unless
/// `parts.fits_later` is set, the app must also fit its partition, everything must fit the flash,
/// and the table must be where the built-in bootloader, if used, looks for it.
///
/// # Errors
/// [`PlanError`] if the result would not boot or would not fit.
pub fn make_plan(chip: &Arc<Chip>, parts: &PlanParts<'_>) -> Result<FlashPlan, PlanError> {
    if parts.boot == BootLayout::Direct {
        return Err(PlanError::LayoutUnsupported { boot: parts.boot });
    }
    let header = checked_header("app", parts.app, chip)?;
    let flash = flash_params("app", &header, chip)?;
    let usual = chip.image.partition_table_offset;
    let mut plan = FlashPlan {
        chip: chip.clone(),
        min_rev: header.min_rev,
        // TinyGo leaves the field zero, and the ROM ignores it.
        max_rev: match (parts.boot, header.max_rev) {
            (BootLayout::Rom, 0) => u16::MAX,
            (_, max) => max,
        },
        boot: parts.boot,
        flash,
        table_offset: parts.table_offset.filter(|offset| *offset != usual),
        own: CustomParts::default(),
        writes: Vec::new(),
        elf_sha256: parts.elf_sha256,
    };
    let app_offset = match parts.boot {
        BootLayout::Idf => idf_writes(&mut plan, chip, parts, &header)?,
        BootLayout::Rom | BootLayout::Direct => chip.image.boot_offset,
    };
    plan.writes.push(Write {
        name: "app".into(),
        kind: WriteKind::App,
        offset: app_offset,
        data: parts.app.to_vec(),
    });
    plan.writes.sort_by_key(|write| write.offset);
    if !parts.fits_later {
        // Overlaps, and writes past the end of flash.
        crate::resolve::check_planned(&plan.writes, plan.flash.size)?;
    }
    Ok(plan)
}

/// Makes the plan for an image without a header ([`crate::build_direct_image`]) on `chip` with this
/// flash. It writes only the image, at the start of flash, and allows any revision.
///
/// # Errors
/// [`PlanError`] if the image does not fit.
pub fn make_direct_plan(
    chip: &Arc<Chip>,
    image: &[u8],
    flash: &FlashParams,
    elf_sha256: Option<[u8; 32]>,
) -> Result<FlashPlan, PlanError> {
    let plan = FlashPlan {
        chip: chip.clone(),
        min_rev: 0,
        max_rev: u16::MAX,
        boot: BootLayout::Direct,
        flash: flash.clone(),
        table_offset: None,
        own: CustomParts::default(),
        writes: vec![Write {
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

/// Adds bootloader and table, and returns the app's offset.
fn idf_writes(
    plan: &mut FlashPlan,
    chip: &Chip,
    parts: &PlanParts<'_>,
    app: &ImageHeader,
) -> Result<FlashOffset, PlanError> {
    if AppDescriptor::of_image(parts.app).is_none() {
        return Err(PlanError::NoDescriptor);
    }
    let offset = parts.table_offset.unwrap_or(chip.image.partition_table_offset);
    check_table_offset(offset, chip)?;
    if let Some(bootloader) = parts.bootloader {
        let name = "bootloader";
        if parts.own_bootloader {
            check_bootloader(name, bootloader, chip)?;
        } else {
            checked_header(name, bootloader, chip)?;
            if !parts.fits_later {
                check_built_in(offset, chip)?;
            }
        }
        let mut data = bootloader.to_vec();
        // The ROM never reads the bootloader in quad mode. A bootloader built for quad mode enables
        // it itself (ESP-IDF components/esptool_py/Kconfig.projbuild, ESPTOOLPY_FLASHMODE).
        let mode = match plan.flash.mode {
            FlashMode::Qio | FlashMode::Qout => FlashMode::Dio,
            mode => mode,
        };
        let (freq, size) = (app.flash_freq_code(), app.flash_size_code());
        patch_flash(&mut data, Some(mode), Some(freq), Some(size))
            .map_err(|source| PlanError::Image { name: name.into(), source })?;
        check_before_table(&data, offset, chip)?;
        plan.own.bootloader = parts.own_bootloader;
        plan.writes.push(Write {
            name: name.into(),
            kind: WriteKind::Bootloader,
            offset: chip.image.boot_offset,
            data,
        });
    }
    let built_in;
    let table = match parts.table {
        TableChoice::Own(table) => table,
        TableChoice::BuiltIn => {
            built_in = PartitionTable::builtin(plan.flash.size, offset);
            &built_in
        }
    };
    plan.own.table = matches!(parts.table, TableChoice::Own(_));
    let partition = app_partition(table, parts.partition, None)?;
    table.check(offset, (!parts.fits_later).then_some(plan.flash.size))?;
    if !parts.fits_later {
        check_app_fits(parts.app.len(), partition)?;
    }
    if parts.bootloader.is_some() || plan.own.table {
        plan.writes.push(Write {
            name: "partition table".into(),
            kind: WriteKind::PartitionTable,
            offset,
            data: table.to_bytes()?,
        });
    }
    Ok(partition.offset)
}

/// Refuses an offset at which no table can be.
pub(crate) fn check_table_offset(offset: FlashOffset, chip: &Chip) -> Result<(), PlanError> {
    let sector = PartitionTable::SECTOR_LEN;
    if !offset.0.is_multiple_of(sector) {
        let name = "partition table".to_owned();
        return Err(PlanError::Unaligned { name, offset, align: sector });
    }
    let boot = chip.image.boot_offset;
    if offset <= boot {
        return Err(PlanError::TableInBootloader { offset, end: boot });
    }
    Ok(())
}

/// Refuses a table offset at which the built-in bootloader does not look.
pub(crate) fn check_built_in(offset: FlashOffset, chip: &Chip) -> Result<(), PlanError> {
    let expected = chip.image.partition_table_offset;
    match offset == expected {
        true => Ok(()),
        false => Err(PlanError::BuiltInBootloader { expected, offset }),
    }
}

/// Refuses a bootloader that reaches into the table at `offset`.
pub(crate) fn check_before_table(
    bootloader: &[u8],
    offset: FlashOffset,
    chip: &Chip,
) -> Result<(), PlanError> {
    let end = u64::from(chip.image.boot_offset.0) + bootloader.len() as u64;
    let end = FlashOffset(u32::try_from(end).unwrap_or(u32::MAX));
    if end > offset { Err(PlanError::TableInBootloader { offset, end }) } else { Ok(()) }
}

/// Checks that a file is a complete second-stage bootloader for `chip`.
///
/// # Errors
/// [`PlanError::Image`], [`PlanError::ImageForOtherChip`], [`PlanError::NotABootloader`].
pub fn check_bootloader(name: &str, image: &[u8], chip: &Chip) -> Result<(), PlanError> {
    checked_header(name, image, chip)?;
    let boot = chip.image.boot_offset.0 as usize;
    let read = |offset: FlashOffset, len: usize| {
        let start = (offset.0 as usize).saturating_sub(boot).min(image.len());
        let end = start.saturating_add(len).min(image.len());
        Ok::<_, std::convert::Infallible>(image.get(start..end).unwrap_or_default().to_vec())
    };
    let Ok(found) = BootImage::find(chip, read);
    if found.bootloader().is_some() {
        return Ok(());
    }
    let chip = chip.display_name.clone();
    Err(PlanError::NotABootloader { name: name.into(), chip })
}

/// Returns the header of a complete image that is for `chip`.
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
