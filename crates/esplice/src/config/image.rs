//! Settings of the `image` stage: from ELF to image and flash plan.

use std::path::PathBuf;

use esplice_chip::FlashOffset;
use esplice_image::{BootLayout, ImageSource, SecurePad};

use crate::{
    cli::{args::ImageArgs, value},
    config::{
        paths::inside,
        settings::{Origin, Settings, Settled},
        settler::Settler,
        target::Hardware,
    },
    ui::exit::Failure,
};

/// Settings of the `image` stage.
#[derive(Debug)]
pub struct ImageConfig {
    pub boot: Option<Settled<BootLayout>>,
    /// File of a custom partition table.
    pub partition_table: Option<PathBuf>,
    /// Offset of the partition table in flash.
    pub partition_table_offset: Option<Settled<u32>>,
    /// File of a custom second-stage bootloader.
    pub bootloader: Option<PathBuf>,
    pub flash_mode: Option<Settled<String>>,
    pub flash_freq: Option<Settled<String>>,
    pub flash_size: Option<Settled<String>>,
    /// Oldest and newest supported chip revision, major × 100 + minor.
    pub revisions: (u16, u16),
    pub mmu_page_size: Option<u32>,
    pub secure_pad: Option<SecurePad>,
    pub source: ImageSource,
}

impl ImageConfig {
    /// Resolves the keys of `[image]`, in their order.
    pub fn settle(
        s: &mut Settler<'_>,
        settings: &Settings,
        image: ImageArgs,
        hardware: Hardware<'_>,
    ) -> Result<ImageConfig, Failure> {
        let path = |file: PathBuf| file.to_string_lossy().into_owned();
        let boot = s.value("image", "boot", &value::BOOT, image.boot, None)?;
        let partition_table =
            s.text("image", "partition-table", image.partition_table.map(path))?;
        let partition_table = partition_table.map(|file| inside(settings, file)).transpose()?;
        let usual = hardware.of_chip(|chip| chip.image.partition_table_offset.0);
        let flag = image.table.partition_table_offset;
        let partition_table_offset =
            s.value("image", "partition-table-offset", &value::OFFSET, flag, usual)?;
        let bootloader = s.text("image", "bootloader", image.bootloader.map(path))?;
        let bootloader = bootloader.map(|file| inside(settings, file)).transpose()?;
        let mut of_flash =
            |name, flag, default| s.value("image", name, &value::TEXT, flag, default);
        let usual =
            hardware.default_of(|b| b.flash_mode.clone(), |c| c.image.default_flash_mode.clone());
        let flash_mode = of_flash("flash-mode", image.flash_mode, usual)?;
        let usual =
            hardware.default_of(|b| b.flash_freq.clone(), |c| c.image.default_flash_freq.clone());
        let flash_freq = of_flash("flash-freq", image.flash_freq, usual)?;
        let usual = hardware
            .default_of(|b| Some(b.flash_size.clone()), |c| c.image.default_flash_size.clone());
        let flash_size = of_flash("flash-size", image.flash_size, usual)?;
        let min_rev = s.or("image", "min-rev", &value::REVISION, image.min_rev, 0)?;
        let max_rev = s.value("image", "max-rev", &value::REVISION, image.max_rev, None)?;
        let mmu_page_size =
            s.value("image", "mmu-page-size", &value::SIZE, image.mmu_page_size, None)?;
        let secure_pad =
            s.value("image", "secure-pad", &value::SECURE_PAD, image.secure_pad, None)?;
        let (form, flag) = (&value::IMAGE_SOURCE, image.image_source);
        let source = s.or("image", "source", form, flag, ImageSource::Auto)?;

        Ok(ImageConfig {
            boot,
            partition_table,
            partition_table_offset,
            bootloader,
            flash_mode,
            flash_freq,
            flash_size,
            revisions: (min_rev.value, max_rev.map_or(u16::MAX, |r| r.value)),
            mmu_page_size: mmu_page_size.map(|p| p.value),
            secure_pad: secure_pad.map(|p| p.value),
            source: source.value,
        })
    }

    /// Returns the partition table's offset, unless it is the chip's default.
    pub fn own_table_offset(&self) -> Option<FlashOffset> {
        let offset = self.partition_table_offset.as_ref();
        let offset = offset.filter(|offset| !matches!(offset.origin, Origin::Chip(_)));
        offset.map(|offset| FlashOffset(offset.value))
    }
}
