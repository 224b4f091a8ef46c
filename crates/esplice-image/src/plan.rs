//! The flash plan: the bytes to write, their offsets, and the chip they are for.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use esplice_chip::{Chip, FlashOffset, parse_size};

use crate::{FlashMode, NameError, PlanError};

/// The way the chip boots the app after a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootLayout {
    /// Second-stage bootloader, partition table, and the app in a partition.
    Idf,
    /// An image with a header at the boot offset. The ROM loads it, and it maps flash itself.
    Rom,
    /// A program without an image header, executed in place (magic 0xaedb041d).
    Direct,
}

impl BootLayout {
    /// Returns the name in options and plans, such as `idf`.
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
    type Err = NameError;

    /// # Errors
    /// [`NameError`] for an unknown layout.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let all = [BootLayout::Idf, BootLayout::Rom, BootLayout::Direct];
        all.into_iter().find(|layout| layout.name() == text).ok_or_else(|| NameError {
            what: "boot layout",
            found: text.into(),
            known: all.map(BootLayout::name).into(),
        })
    }
}

/// The kind of a write, which decides whether it is written.
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
    /// Returns the name in plans, such as `partition-table`.
    pub fn name(self) -> &'static str {
        match self {
            WriteKind::Bootloader => "bootloader",
            WriteKind::PartitionTable => "partition-table",
            WriteKind::App => "app",
            WriteKind::Data => "data",
        }
    }

    /// Returns the kind with this name.
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

/// Bytes and their offset in flash. In a plan the offset may change once the device is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Name for display: `bootloader`, `partition table`, `app`, …
    pub name: String,
    /// Kind of the write.
    pub kind: WriteKind,
    /// Offset in flash.
    pub offset: FlashOffset,
    /// The bytes.
    pub data: Vec<u8>,
}

impl Write {
    /// Returns a write of unknown kind, named after its offset.
    pub fn unnamed(offset: FlashOffset, data: &[u8]) -> Self {
        Self { name: offset.to_string(), kind: WriteKind::Data, offset, data: data.to_vec() }
    }

    /// Returns the offset of the first byte after the write.
    pub fn end(&self) -> u64 {
        u64::from(self.offset.0) + self.data.len() as u64
    }
}

/// Flash parameters of the images in a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlashParams {
    /// Flash mode.
    pub mode: FlashMode,
    /// Flash frequency, a key of the chip's `flash-frequencies`, such as `80m`.
    pub freq: String,
    /// Flash size in bytes.
    pub size: u32,
}

impl FlashParams {
    /// Returns the default parameters of images for `chip`.
    pub fn for_chip(chip: &Chip) -> Self {
        let image = &chip.image;
        Self {
            // The chip's checks ensure that mode and size are known names.
            mode: image.default_flash_mode.parse().unwrap_or(FlashMode::Dio),
            freq: image.default_flash_freq.clone(),
            size: parse_size(&image.default_flash_size).unwrap_or(4 << 20),
        }
    }
}

/// Custom parts of a plan. They replace what is on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CustomParts {
    /// True if the partition table is custom. The built-in one is for devices without a table and
    /// fills their flash.
    pub table: bool,
    /// True if the second-stage bootloader is custom. The built-in one is for devices without a
    /// bootloader.
    pub bootloader: bool,
}

/// Everything about flashing a firmware that can be decided without a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlashPlan {
    /// The chip.
    pub chip: Arc<Chip>,
    /// Minimum chip revision, major × 100 + minor.
    pub min_rev: u16,
    /// Maximum chip revision, major × 100 + minor; 65535 for any.
    pub max_rev: u16,
    /// Boot layout.
    pub boot: BootLayout,
    /// Flash parameters.
    pub flash: FlashParams,
    /// Flash offset of the partition table, for layout idf; `None` for the chip's default.
    pub table_offset: Option<FlashOffset>,
    /// The writes that are custom rather than built in.
    pub own: CustomParts,
    /// The writes, in order of offset.
    pub writes: Vec<Write>,
    /// SHA-256 of the ELF that the app was made from, if there was one.
    pub elf_sha256: Option<[u8; 32]>,
}

impl FlashPlan {
    /// Returns the first write of `kind`.
    pub fn write(&self, kind: WriteKind) -> Option<&Write> {
        self.writes.iter().find(|write| write.kind == kind)
    }

    /// Returns the bootloader as written to a device with a flash of `flash_size` bytes.
    ///
    /// # Errors
    /// [`PlanError`] for a bootloader that is not a complete image.
    pub fn bootloader_for(&self, flash_size: u32) -> Result<Option<Vec<u8>>, PlanError> {
        let Some(planned) = self.write(WriteKind::Bootloader) else { return Ok(None) };
        crate::resolve::adapt_bootloader(planned, &self.chip, Some(flash_size)).map(Some)
    }
}
