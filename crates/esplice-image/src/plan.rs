//! The flash plan: which bytes go where, and for which chip.

use std::fmt;
use std::str::FromStr;

use esplice_chip::{Chip, FlashOffset, parse_size};

use crate::{FlashMode, PlanError};

/// How the chip comes from reset to the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootLayout {
    /// Second-stage bootloader, partition table, app in a partition.
    Idf,
    /// An image with header at the boot offset, which the ROM loads and which maps flash itself.
    Rom,
    /// Headerless, executed in place (magic 0xaedb041d).
    Direct,
}

impl BootLayout {
    /// Name in options and plans: `idf`.
    pub fn name(self) -> &'static str {
        match self {
            BootLayout::Idf => "idf",
            BootLayout::Rom => "rom",
            BootLayout::Direct => "direct",
        }
    }
}

impl fmt::Display for BootLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for BootLayout {
    type Err = String;

    /// # Errors
    /// A sentence that names the layouts there are.
    fn from_str(text: &str) -> Result<Self, String> {
        [BootLayout::Idf, BootLayout::Rom, BootLayout::Direct]
            .into_iter()
            .find(|layout| layout.name() == text)
            .ok_or_else(|| format!("boot layout {text:?} is none of idf, rom, direct"))
    }
}

/// What a write is, which decides whether it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteKind {
    /// The second-stage bootloader.
    Bootloader,
    /// The partition table.
    PartitionTable,
    /// The app.
    App,
    /// Anything else.
    Data,
}

impl WriteKind {
    /// Name in plans: `partition-table`.
    pub fn name(self) -> &'static str {
        match self {
            WriteKind::Bootloader => "bootloader",
            WriteKind::PartitionTable => "partition-table",
            WriteKind::App => "app",
            WriteKind::Data => "data",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [WriteKind::Bootloader, WriteKind::PartitionTable, WriteKind::App, WriteKind::Data]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

impl fmt::Display for WriteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Bytes and the place they are meant for, before the device is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedWrite {
    /// Name for people: `bootloader`, `partition table`, `app`, …
    pub name: String,
    /// What it is.
    pub kind: WriteKind,
    /// Where it goes by the plan's own table.
    pub offset: FlashOffset,
    /// The bytes.
    pub data: Vec<u8>,
}

impl PlannedWrite {
    /// Bytes of unknown kind, named for their place.
    pub fn unnamed(offset: FlashOffset, data: &[u8]) -> Self {
        Self { name: offset.to_string(), kind: WriteKind::Data, offset, data: data.to_vec() }
    }

    /// First byte behind it.
    pub fn end(&self) -> u64 {
        u64::from(self.offset.0) + self.data.len() as u64
    }
}

/// Flash parameters of the images in a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlashParams {
    /// Mode.
    pub mode: FlashMode,
    /// Frequency, a key of the chip's `flash-frequencies`: `80m`.
    pub freq: String,
    /// Size in bytes.
    pub size: u32,
}

impl FlashParams {
    /// What images of `chip` have by default.
    pub fn for_chip(chip: &Chip) -> Self {
        let image = &chip.image;
        Self {
            // The chip's checks hold mode and size to known names.
            mode: image.default_flash_mode.parse().unwrap_or(FlashMode::Dio),
            freq: image.default_flash_freq.clone(),
            size: parse_size(&image.default_flash_size).unwrap_or(4 << 20),
        }
    }
}

/// Parts of a plan that the user brought along: they are written in place of what a device has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnParts {
    /// The partition table. The built-in one is for devices without a table, and fills their flash.
    pub table: bool,
    /// The second-stage bootloader. The built-in one is for devices without a bootloader.
    pub bootloader: bool,
}

/// All that is decided about a firmware without a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlashPlan {
    /// Name of the chip: `esp32c3`.
    pub chip: String,
    /// Minimum chip revision, major × 100 + minor.
    pub min_rev: u16,
    /// Maximum chip revision, major × 100 + minor; 65535 for any.
    pub max_rev: u16,
    /// Boot layout.
    pub boot: BootLayout,
    /// Flash parameters.
    pub flash: FlashParams,
    /// Where the partition table is, for layout idf; `None` for the chip's usual offset.
    pub table_offset: Option<FlashOffset>,
    /// Which of the writes are the user's own rather than built in.
    pub own: OwnParts,
    /// The writes, in order of offset.
    pub writes: Vec<PlannedWrite>,
    /// SHA-256 of the ELF that the app was made from, where there was one.
    pub elf_sha256: Option<[u8; 32]>,
}

impl FlashPlan {
    /// The first write of `kind`.
    pub fn write(&self, kind: WriteKind) -> Option<&PlannedWrite> {
        self.writes.iter().find(|write| write.kind == kind)
    }

    /// The bootloader as it would be written to a device with a flash of `flash_size` bytes.
    ///
    /// # Errors
    /// [`PlanError`] for a bootloader that is no whole image.
    pub fn bootloader_for(&self, flash_size: u32) -> Result<Option<Vec<u8>>, PlanError> {
        let Some(planned) = self.write(WriteKind::Bootloader) else { return Ok(None) };
        let chip = esplice_chip::find(&self.chip)?;
        crate::resolve::fit_bootloader(planned, chip, Some(flash_size)).map(Some)
    }
}
