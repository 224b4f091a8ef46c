//! Partition tables in their binary form.

use std::fmt;

use esplice_chip::{FlashOffset, nearest};
use md5::{Digest as _, Md5};

use crate::TableError;
use crate::descriptor::printable;

/// Bytes of a row.
const ROW: usize = 32;
/// First bytes of a row that names a partition.
const ROW_MAGIC: [u8; 2] = [0xaa, 0x50];
/// First 16 bytes of the row that carries the MD5 of all rows before it.
const MD5_MAGIC: [u8; 16] = [
    0xeb, 0xeb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
];
/// Longest name in bytes; the field has 16, the last a zero.
pub(crate) const NAME_LEN: usize = 16;
/// Unit of erasing, to which every partition is aligned.
const SECTOR: u32 = 0x1000;
/// To this, app partitions are aligned: the MMU maps pages of it.
const APP_ALIGN: u32 = 0x1_0000;

const TYPE_APP: u8 = 0x00;
const TYPE_DATA: u8 = 0x01;
const APP_FACTORY: u8 = 0x00;
const APP_OTA_0: u8 = 0x10;
const APP_OTA_END: u8 = 0x20;
const DATA_OTA: u8 = 0x00;
const DATA_PHY: u8 = 0x01;
const DATA_NVS: u8 = 0x02;

/// A partition table: its partitions, in the table's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionTable {
    /// The partitions.
    pub partitions: Vec<Partition>,
}

/// One row of a table.
///
/// | byte | |
/// |---|---|
/// | 0–1 | magic AA 50 |
/// | 2 | type |
/// | 3 | subtype |
/// | 4–7 | offset |
/// | 8–11 | length |
/// | 12–27 | name, filled with zeros |
/// | 28–31 | flags |
///
/// Source: ESP-IDF documentation, "Partition Tables", and
/// components/bootloader_support/include/esp_flash_partitions.h.
#[doc(alias = "esp_partition_info_t")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Name.
    pub name: String,
    /// Type: 0 app, 1 data, from 0x40 the user's own.
    pub kind: u8,
    /// Subtype, by type.
    pub subtype: u8,
    /// First byte.
    pub offset: FlashOffset,
    /// Length in bytes.
    pub len: u32,
    /// Flags: bit 0 encrypted, bit 1 read-only.
    pub flags: u32,
}

impl Partition {
    /// Whether an app goes here.
    pub fn is_app(&self) -> bool {
        self.kind == TYPE_APP
    }

    /// Whether this is the factory app.
    pub fn is_factory(&self) -> bool {
        self.is_app() && self.subtype == APP_FACTORY
    }

    /// Number of the OTA slot, if it is one: 0 for ota_0.
    pub fn ota_slot(&self) -> Option<u32> {
        (self.is_app() && (APP_OTA_0..APP_OTA_END).contains(&self.subtype))
            .then(|| u32::from(self.subtype - APP_OTA_0))
    }

    /// Whether this is the otadata partition.
    pub fn is_otadata(&self) -> bool {
        self.kind == TYPE_DATA && self.subtype == DATA_OTA
    }

    /// First byte behind it; beyond 4 GiB for a damaged row.
    pub fn end(&self) -> u64 {
        u64::from(self.offset.0) + u64::from(self.len)
    }

    /// Name of its type: `app`, `data`, else hex.
    pub fn kind_name(&self) -> String {
        match self.kind {
            TYPE_APP => "app".into(),
            TYPE_DATA => "data".into(),
            other => format!("0x{other:02x}"),
        }
    }

    /// Name of its subtype: `factory`, `ota_0`, `nvs`, …, else hex.
    ///
    /// Source: ESP-IDF documentation, "Partition Tables", SubType Field.
    pub fn subtype_name(&self) -> String {
        let known = match (self.kind, self.subtype) {
            (TYPE_APP, APP_FACTORY) => "factory",
            (TYPE_APP, 0x20) => "test",
            (TYPE_APP, APP_OTA_0..APP_OTA_END) => {
                return format!("ota_{}", self.subtype - APP_OTA_0);
            }
            (TYPE_DATA, DATA_OTA) => "ota",
            (TYPE_DATA, DATA_PHY) => "phy",
            (TYPE_DATA, DATA_NVS) => "nvs",
            (TYPE_DATA, 0x03) => "coredump",
            (TYPE_DATA, 0x04) => "nvs_keys",
            (TYPE_DATA, 0x05) => "efuse",
            (TYPE_DATA, 0x06) => "undefined",
            (TYPE_DATA, 0x80) => "esphttpd",
            (TYPE_DATA, 0x81) => "fat",
            (TYPE_DATA, 0x82) => "spiffs",
            (TYPE_DATA, 0x83) => "littlefs",
            _ => return format!("0x{:02x}", self.subtype),
        };
        known.into()
    }

    fn to_row(&self) -> [u8; ROW] {
        let mut row = [0; ROW];
        row[..2].copy_from_slice(&ROW_MAGIC);
        row[2] = self.kind;
        row[3] = self.subtype;
        row[4..8].copy_from_slice(&self.offset.0.to_le_bytes());
        row[8..12].copy_from_slice(&self.len.to_le_bytes());
        for (to, from) in row[12..12 + NAME_LEN].iter_mut().zip(self.name.bytes()) {
            *to = from;
        }
        row[28..].copy_from_slice(&self.flags.to_le_bytes());
        row
    }

    fn from_row(row: &[u8; ROW]) -> Self {
        let word = |at: usize| u32::from_le_bytes([row[at], row[at + 1], row[at + 2], row[at + 3]]);
        let name = &row[12..12 + NAME_LEN];
        let name = &name[..name.iter().position(|b| *b == 0).unwrap_or(NAME_LEN)];
        Self {
            name: printable(name),
            kind: row[2],
            subtype: row[3],
            offset: FlashOffset(word(4)),
            len: word(8),
            flags: word(28),
        }
    }
}

impl PartitionTable {
    /// Bytes of a table: longest content, before the padding to a sector.
    ///
    /// Source: ESP-IDF esp_flash_partitions.h, `ESP_PARTITION_TABLE_MAX_LEN`.
    pub const LEN: usize = 0xc00;
    /// Bytes of flash that a table occupies: one sector.
    pub const SECTOR_LEN: u32 = SECTOR;
    /// Most partitions: the MD5 row takes one of the 96 rows.
    pub const MAX_PARTITIONS: usize = Self::LEN / ROW - 1;

    /// ESP-IDF's "Single factory app, no OTA".
    ///
    /// Source: ESP-IDF components/partition_table/partitions_singleapp.csv.
    pub fn esp_idf_default() -> Self {
        let row = |name: &str, kind, subtype, offset, len| Partition {
            name: name.into(),
            kind,
            subtype,
            offset: FlashOffset(offset),
            len,
            flags: 0,
        };
        Self {
            partitions: vec![
                row("nvs", TYPE_DATA, DATA_NVS, 0x9000, 0x6000),
                row("phy_init", TYPE_DATA, DATA_PHY, 0xf000, 0x1000),
                row("factory", TYPE_APP, APP_FACTORY, 0x1_0000, 0x10_0000),
            ],
        }
    }

    /// Whether `bytes` begin like a table.
    pub fn looks_like(bytes: &[u8]) -> bool {
        bytes.starts_with(&ROW_MAGIC)
    }

    /// Reads the table at the start of `bytes`, up to its end mark or [`Self::LEN`].
    ///
    /// A table without an MD5 row is taken, as the bootloader can be built to take it. Whether the
    /// partitions make sense is asked of [`Self::check`].
    ///
    /// # Errors
    /// [`TableError::Empty`], [`TableError::BadMagic`], [`TableError::Truncated`],
    /// [`TableError::Md5Mismatch`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TableError> {
        let bytes = &bytes[..bytes.len().min(Self::LEN)];
        let (rows, rest) = bytes.as_chunks::<ROW>();
        let mut partitions = Vec::new();
        let mut md5 = Md5::new();
        for (number, row) in rows.iter().enumerate() {
            if row.iter().all(|byte| *byte == 0xff) {
                return finish(partitions);
            }
            if row.starts_with(&MD5_MAGIC) {
                let computed = md5.clone().finalize();
                if computed[..] != row[16..] {
                    return Err(TableError::Md5Mismatch {
                        stored: hex(&row[16..]),
                        computed: hex(&computed),
                    });
                }
                return finish(partitions);
            }
            if !row.starts_with(&ROW_MAGIC) {
                return Err(TableError::BadMagic { row: number, found: [row[0], row[1]] });
            }
            md5.update(row);
            partitions.push(Partition::from_row(row));
        }
        if bytes.len() == Self::LEN && rest.is_empty() {
            return finish(partitions);
        }
        Err(TableError::Truncated { len: bytes.len(), row: rows.len() })
    }

    /// The table's bytes: rows, MD5 row, filled with 0xFF to [`Self::LEN`].
    ///
    /// # Errors
    /// [`TableError::TooMany`], [`TableError::BadName`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, TableError> {
        if self.partitions.len() > Self::MAX_PARTITIONS {
            return Err(TableError::TooMany { count: self.partitions.len() });
        }
        let mut bytes = Vec::with_capacity(Self::LEN);
        for partition in &self.partitions {
            let name = &partition.name;
            if name.is_empty() || name.len() > NAME_LEN || name.contains('\0') {
                return Err(TableError::BadName { name: name.clone() });
            }
            bytes.extend_from_slice(&partition.to_row());
        }
        let md5 = Md5::digest(&bytes);
        bytes.extend_from_slice(&MD5_MAGIC);
        bytes.extend_from_slice(&md5);
        bytes.resize(Self::LEN, 0xff);
        Ok(bytes)
    }

    /// Checks names, alignment and overlaps, that all lies behind the table at `table_offset`, and,
    /// where `flash_size` (bytes) is known, inside the flash.
    ///
    /// # Errors
    /// The first [`TableError`] found.
    pub fn check(
        &self,
        table_offset: FlashOffset,
        flash_size: Option<u32>,
    ) -> Result<(), TableError> {
        let table_end = u64::from(table_offset.0) + u64::from(SECTOR);
        for (i, partition) in self.partitions.iter().enumerate() {
            let name = || partition.name.clone();
            if self.partitions[..i].iter().any(|other| other.name == partition.name) {
                return Err(TableError::DuplicateName { name: name() });
            }
            let align = if partition.is_app() { APP_ALIGN } else { SECTOR };
            let aligned = partition.offset.0.is_multiple_of(align)
                && partition.len.is_multiple_of(SECTOR)
                && partition.len > 0;
            if !aligned {
                return Err(TableError::Unaligned {
                    name: name(),
                    offset: partition.offset,
                    len: partition.len,
                    align,
                });
            }
            if u64::from(partition.offset.0) < table_end {
                let offset = partition.offset;
                return Err(TableError::BeforeTable { name: name(), offset, table_end });
            }
        }
        if let Some(flash_size) = flash_size {
            self.check_ends(flash_size)?;
        }
        let mut by_offset: Vec<&Partition> = self.partitions.iter().collect();
        by_offset.sort_by_key(|partition| partition.offset);
        for pair in by_offset.windows(2) {
            if let [first, second] = pair
                && first.end() > u64::from(second.offset.0)
            {
                return Err(TableError::Overlap {
                    first: first.name.clone(),
                    second: second.name.clone(),
                    offset: second.offset,
                });
            }
        }
        Ok(())
    }

    /// Checks that every partition ends inside a flash of `flash_size` bytes.
    ///
    /// # Errors
    /// [`TableError::PastFlash`] for the first that does not.
    pub fn check_ends(&self, flash_size: u32) -> Result<(), TableError> {
        match self.partitions.iter().find(|p| p.end() > u64::from(flash_size)) {
            None => Ok(()),
            Some(p) => {
                Err(TableError::PastFlash { name: p.name.clone(), end: p.end(), flash_size })
            }
        }
    }

    /// The partition called `name`.
    pub fn find(&self, name: &str) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.name == name)
    }

    /// The name nearest to a mistyped one.
    pub fn nearest_name(&self, name: &str) -> Option<String> {
        nearest(name, &self.partitions.iter().map(|p| p.name.as_str()).collect::<Vec<_>>())
    }

    /// App partitions, in the table's order.
    pub fn apps(&self) -> impl Iterator<Item = &Partition> {
        self.partitions.iter().filter(|partition| partition.is_app())
    }

    /// The otadata partition.
    pub fn otadata(&self) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.is_otadata())
    }

    /// The app partition that a new app goes to: factory, else the slot that `otadata` (its
    /// content) boots, else ota_0, else the first.
    pub fn app_target(&self, otadata: Option<&[u8]>) -> Option<&Partition> {
        let slot = |number: u32| self.apps().find(|p| p.ota_slot() == Some(number));
        let slots = self.apps().filter(|p| p.ota_slot().is_some()).count() as u32;
        self.apps()
            .find(|partition| partition.is_factory())
            .or_else(|| slot(crate::booted_slot(otadata?, slots)?))
            .or_else(|| slot(0))
            .or_else(|| self.apps().next())
    }
}

impl fmt::Display for PartitionTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for p in &self.partitions {
            writeln!(
                f,
                "{:<16} {:<5} {:<9} {:>8} {:>8}{}",
                p.name,
                p.kind_name(),
                p.subtype_name(),
                p.offset.to_string(),
                format!("0x{:x}", p.len),
                if p.flags & 1 == 1 { " encrypted" } else { "" },
            )?;
        }
        Ok(())
    }
}

fn finish(partitions: Vec<Partition>) -> Result<PartitionTable, TableError> {
    if partitions.is_empty() {
        return Err(TableError::Empty);
    }
    Ok(PartitionTable { partitions })
}

/// Lower-case hex without separators.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
