//! The app descriptor: 256 bytes at the start of an app's first flash segment.

use esplice_chip::Chip;

use crate::{ImageHeader, SegmentHeader};

/// An app's description of itself.
///
/// | byte | |
/// |---|---|
/// | 0–3 | magic 0xABCD5432 |
/// | 4–7 | secure version |
/// | 16–47 | app version |
/// | 48–79 | project name |
/// | 80–95 | compile time |
/// | 96–111 | compile date |
/// | 112–143 | ESP-IDF version |
/// | 144–175 | SHA-256 of the ELF |
/// | 176–179 | minimum and maximum eFuse block revision, major × 100 + minor |
/// | 180 | log2 of the MMU page size, 0 if not given |
///
/// Source: ESP-IDF components/esp_app_format/include/esp_app_desc.h.
#[doc(alias = "esp_app_desc_t")]
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppDescriptor {
    /// Anti-rollback version.
    pub secure_version: u32,
    /// Version of the app.
    pub version: String,
    /// Name of the project.
    pub project_name: String,
    /// Time of the build.
    pub time: String,
    /// Date of the build.
    pub date: String,
    /// Version of ESP-IDF.
    pub idf_version: String,
    /// SHA-256 of the ELF, zeros if it was not filled in.
    pub elf_sha256: [u8; 32],
    /// Minimum eFuse block revision, major × 100 + minor.
    pub min_efuse_block_rev: u16,
    /// Maximum eFuse block revision, major × 100 + minor.
    pub max_efuse_block_rev: u16,
    /// MMU page size in bytes, if given.
    pub mmu_page_size: Option<u32>,
}

impl AppDescriptor {
    /// Length in bytes.
    pub const LEN: usize = 256;
    /// The first word.
    pub const MAGIC: u32 = 0xabcd_5432;
    /// Offset of the descriptor in an image: after the first segment's header.
    pub const IMAGE_OFFSET: usize = ImageHeader::LEN + SegmentHeader::LEN;
    /// Offset of the ELF's SHA-256 in the descriptor.
    pub const ELF_SHA256_OFFSET: usize = 144;

    /// Returns a descriptor that contains only the project's name.
    pub fn named(project_name: &str, chip: &Chip) -> Self {
        Self {
            secure_version: 0,
            version: String::new(),
            project_name: project_name.to_owned(),
            time: String::new(),
            date: String::new(),
            idf_version: String::new(),
            elf_sha256: [0; 32],
            min_efuse_block_rev: 0,
            max_efuse_block_rev: u16::MAX,
            mmu_page_size: chip.image.mmu_page_sizes.first().copied(),
        }
    }

    /// Parses the descriptor at the start of `bytes`; `None` if there is none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let b = bytes.first_chunk::<{ Self::LEN }>()?;
        let word = |at: usize| u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
        let half = |at: usize| u16::from_le_bytes([b[at], b[at + 1]]);
        if word(0) != Self::MAGIC {
            return None;
        }
        let mut elf_sha256 = [0; 32];
        elf_sha256.copy_from_slice(&b[Self::ELF_SHA256_OFFSET..Self::ELF_SHA256_OFFSET + 32]);
        Some(Self {
            secure_version: word(4),
            version: text(&b[16..48]),
            project_name: text(&b[48..80]),
            time: text(&b[80..96]),
            date: text(&b[96..112]),
            idf_version: text(&b[112..144]),
            elf_sha256,
            min_efuse_block_rev: half(176),
            max_efuse_block_rev: half(178),
            mmu_page_size: Some(b[180])
                .filter(|log2| *log2 != 0)
                .and_then(|log2| 1_u32.checked_shl(u32::from(log2))),
        })
    }

    /// Returns the descriptor's bytes. Texts are cut to the size of their fields.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut b = [0; Self::LEN];
        b[..4].copy_from_slice(&Self::MAGIC.to_le_bytes());
        b[4..8].copy_from_slice(&self.secure_version.to_le_bytes());
        let mut put = |text: &str, at: usize, len: usize| {
            // The text ends with a zero byte.
            let cut = text.floor_char_boundary(len - 1);
            b[at..at + cut].copy_from_slice(&text.as_bytes()[..cut]);
        };
        put(&self.version, 16, 32);
        put(&self.project_name, 48, 32);
        put(&self.time, 80, 16);
        put(&self.date, 96, 16);
        put(&self.idf_version, 112, 32);
        b[144..176].copy_from_slice(&self.elf_sha256);
        b[176..178].copy_from_slice(&self.min_efuse_block_rev.to_le_bytes());
        b[178..180].copy_from_slice(&self.max_efuse_block_rev.to_le_bytes());
        b[180] = self.mmu_page_size.and_then(u32::checked_ilog2).unwrap_or(0) as u8;
        b
    }

    /// Parses the descriptor of `image`.
    pub fn of_image(image: &[u8]) -> Option<Self> {
        Self::from_bytes(image.get(Self::IMAGE_OFFSET..)?)
    }
}

/// Returns the text up to the first zero byte.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    printable(&field[..end])
}

/// Returns text with invalid UTF-8 and control characters replaced, so that it can't control a
/// terminal.
pub(crate) fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text)
        .chars()
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect()
}
