//! Parameters of a chip's images.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{FlashOffset, raw};

/// Parameters of app and bootloader images.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ImageParams {
    /// Chip id in the image header.
    pub chip_id: u16,
    /// True if a SHA-256 follows the checksum.
    pub append_sha256: bool,
    /// True if the chip supports Secure Boot v1. All chips that append a SHA-256 support v2.
    #[serde(default)]
    pub secure_boot_v1: bool,
    /// MMU page sizes in bytes, the default first. An app descriptor may name another one.
    pub mmu_page_sizes: Vec<u32>,
    /// Minimum number of bytes that a flash segment must have in its last MMU page. With fewer,
    /// some bootloaders map one page too few. Images are padded with zeros.
    #[serde(default)]
    pub last_page_min: u32,
    /// How the ROM runs a program in place without an image header, if known.
    pub direct: Option<DirectBoot>,
    /// Maximum number of segments in an image.
    pub max_segments: usize,
    /// Flash offset where the ROM looks for the image to boot.
    #[serde(deserialize_with = "raw::flash_offset")]
    pub boot_offset: FlashOffset,
    /// Default flash offset of the partition table.
    #[serde(deserialize_with = "raw::flash_offset")]
    pub partition_table_offset: FlashOffset,
    /// Default flash mode of images, such as `dio`.
    pub default_flash_mode: String,
    /// Default flash frequency of images: a key of `flash_frequencies`.
    pub default_flash_freq: String,
    /// Default flash size of images: a key of `flash_sizes`.
    pub default_flash_size: String,
    /// The header's write-protect pin field.
    pub wp_pin: u8,
    /// Family ID in UF2 files.
    pub uf2_family: u32,
    /// Names of flash frequencies and their codes in the header (low nibble of byte 3).
    pub flash_frequencies: BTreeMap<String, u8>,
    /// Names of flash sizes and their codes in the header (high nibble of byte 3).
    pub flash_sizes: BTreeMap<String, u8>,
}

/// A program without an image header that the ROM maps and runs in place. The vendor calls this
/// direct boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DirectBoot {
    /// The first two words of flash.
    pub magic: u32,
    /// Offset in the executable flash window to which the ROM jumps, in bytes.
    pub entry_offset: u32,
}

impl ImageParams {
    /// Returns the name of the header's flash frequency code. If two frequencies share a code, as
    /// the ESP32-C6's 80m and 40m do, returns the default one.
    pub fn flash_freq_name(&self, code: u8) -> Option<&str> {
        let named = |name: &str| self.flash_frequencies.get(name) == Some(&code);
        if named(&self.default_flash_freq) {
            return Some(&self.default_flash_freq);
        }
        self.flash_frequencies.keys().map(String::as_str).find(|name| named(name))
    }

    /// Returns the flash size in bytes for the header's code.
    pub fn flash_size_bytes(&self, code: u8) -> Option<u32> {
        self.flash_sizes
            .iter()
            .find(|(_, c)| **c == code)
            .and_then(|(name, _)| crate::parse_size(name))
    }

    /// Returns the header's code and the name for a flash of `bytes`.
    pub fn flash_size_code(&self, bytes: u32) -> Option<(u8, &str)> {
        self.flash_sizes
            .iter()
            .find(|(name, _)| crate::parse_size(name) == Some(bytes))
            .map(|(name, code)| (*code, name.as_str()))
    }
}
