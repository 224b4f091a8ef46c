//! Partition tables in binary form.

use esplice_chip::{FlashOffset, nearest};
use md5::{Digest as _, Md5};

use crate::descriptor::printable;
use crate::{PlanError, TableError};

/// Size of a row in bytes.
const ROW: usize = 32;
/// First bytes of a row that names a partition.
const ROW_MAGIC: [u8; 2] = [0xaa, 0x50];
/// First bytes of the row that carries an MD5. The bootloader looks at no more.
const MD5_ROW: [u8; 2] = [0xeb, 0xeb];
/// First bytes of the row that ends the table: magic, type and subtype, as the bootloader checks
/// them (ESP-IDF components/bootloader_support/src/flash_partitions.c).
const END_ROW: [u8; 4] = [0xff; 4];
/// First 16 bytes of the row that carries the MD5 of all rows before it.
const MD5_MAGIC: [u8; 16] = [
    0xeb, 0xeb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
];
/// Size of the name field in bytes, and of the longest name.
pub(crate) const NAME_LEN: usize = 16;
/// Size of an erase sector. Every partition is aligned to it.
pub(crate) const SECTOR: u32 = 0x1000;
/// Alignment of app partitions: the MMU maps pages of this size.
pub(crate) const APP_ALIGN: u32 = 0x1_0000;
/// Largest app partition that the bootloader loads from (ESP-IDF
/// components/bootloader_support/src/esp_image_format.c, `SIXTEEN_MB`).
pub(crate) const LARGEST_APP: u32 = 16 << 20;

pub(crate) const TYPE_APP: u8 = 0x00;
pub(crate) const TYPE_DATA: u8 = 0x01;
pub(crate) const TYPE_BOOTLOADER: u8 = 0x02;
pub(crate) const TYPE_TABLE: u8 = 0x03;
pub(crate) const PRIMARY: u8 = 0x00;
const APP_FACTORY: u8 = 0x00;
const APP_OTA_0: u8 = 0x10;
const APP_OTA_END: u8 = 0x20;
const APP_TEST: u8 = 0x20;
pub(crate) const DATA_OTA: u8 = 0x00;
pub(crate) const DATA_PHY: u8 = 0x01;
pub(crate) const DATA_NVS: u8 = 0x02;
pub(crate) const DATA_COREDUMP: u8 = 0x03;
pub(crate) const DATA_UNDEFINED: u8 = 0x06;

/// Names of types.
///
/// Source: ESP-IDF documentation, "Partition Tables", Type Field.
pub(crate) const TYPES: [(&str, u8); 4] = [
    ("app", TYPE_APP),
    ("data", TYPE_DATA),
    ("bootloader", TYPE_BOOTLOADER),
    ("partition_table", TYPE_TABLE),
];

/// Names of app subtypes, other than the numbered OTA slots.
///
/// Source, here and below: ESP-IDF documentation, "Partition Tables", SubType Field, and
/// components/esp_partition/include/esp_partition.h.
const APP_SUBTYPES: [(&str, u8); 4] =
    [("factory", APP_FACTORY), ("test", APP_TEST), ("tee_0", 0x30), ("tee_1", 0x31)];
const DATA_SUBTYPES: [(&str, u8); 12] = [
    ("ota", DATA_OTA),
    ("phy", DATA_PHY),
    ("nvs", DATA_NVS),
    ("coredump", DATA_COREDUMP),
    ("nvs_keys", 0x04),
    ("efuse", 0x05),
    ("undefined", DATA_UNDEFINED),
    ("esphttpd", 0x80),
    ("fat", 0x81),
    ("spiffs", 0x82),
    ("littlefs", 0x83),
    ("tee_ota", 0x90),
];
const BOOTLOADER_SUBTYPES: [(&str, u8); 3] = [("primary", PRIMARY), ("ota", 1), ("recovery", 2)];
const TABLE_SUBTYPES: [(&str, u8); 2] = [("primary", PRIMARY), ("ota", 1)];

/// Names of flags, and their bits.
pub(crate) const FLAGS: [(&str, u32); 2] = [("encrypted", 1), ("readonly", 2)];

/// Returns the names of the subtypes of `kind`, and their numbers.
pub(crate) fn subtypes(kind: u8) -> Vec<(String, u8)> {
    let named: &[(&str, u8)] = match kind {
        TYPE_APP => &APP_SUBTYPES,
        TYPE_DATA => &DATA_SUBTYPES,
        TYPE_BOOTLOADER => &BOOTLOADER_SUBTYPES,
        TYPE_TABLE => &TABLE_SUBTYPES,
        _ => &[],
    };
    let slots = (APP_OTA_0..APP_OTA_END).filter(|_| kind == TYPE_APP);
    let slots = slots.map(|subtype| (format!("ota_{}", subtype - APP_OTA_0), subtype));
    named.iter().map(|(name, number)| ((*name).to_owned(), *number)).chain(slots).collect()
}

/// A partition table: its partitions, in the table's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionTable {
    /// The partitions.
    pub partitions: Vec<Partition>,
}

/// A row of a partition table.
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
    /// Type: 0 app, 1 data, 2 bootloader, 3 partition table, 0x40 and above custom.
    pub kind: u8,
    /// Subtype, its meaning depends on the type.
    pub subtype: u8,
    /// Flash offset of the first byte.
    pub offset: FlashOffset,
    /// Length in bytes.
    pub len: u32,
    /// Flags: bit 0 encrypted, bit 1 read-only.
    pub flags: u32,
}

impl Partition {
    /// Returns whether this is an app partition.
    pub fn is_app(&self) -> bool {
        self.kind == TYPE_APP
    }

    /// Returns whether this is the factory app partition.
    pub fn is_factory(&self) -> bool {
        self.is_app() && self.subtype == APP_FACTORY
    }

    /// Returns the number of the OTA slot, if this is one: 0 for ota_0.
    pub fn ota_slot(&self) -> Option<u32> {
        (self.is_app() && (APP_OTA_0..APP_OTA_END).contains(&self.subtype))
            .then(|| u32::from(self.subtype - APP_OTA_0))
    }

    /// Returns whether this is the otadata partition.
    pub fn is_otadata(&self) -> bool {
        self.kind == TYPE_DATA && self.subtype == DATA_OTA
    }

    /// Returns the offset of the first byte after the partition, which is past 4 GiB for a damaged
    /// row.
    pub fn end(&self) -> u64 {
        u64::from(self.offset.0) + u64::from(self.len)
    }

    /// Returns whether this is the test app partition, which boots if no other one does.
    pub fn is_test(&self) -> bool {
        self.is_app() && self.subtype == APP_TEST
    }

    /// Returns whether this describes the bootloader that the ROM boots, or the partition table
    /// itself. Both are before all other partitions.
    pub(crate) fn is_primary(&self) -> bool {
        matches!(self.kind, TYPE_BOOTLOADER | TYPE_TABLE) && self.subtype == PRIMARY
    }

    /// Returns the name of the type, such as `app` or `data`, or its number in hex.
    pub fn kind_name(&self) -> String {
        let known = TYPES.iter().find(|(_, kind)| *kind == self.kind);
        known.map_or_else(|| format!("0x{:02x}", self.kind), |(name, _)| (*name).to_owned())
    }

    /// Returns the name of the subtype, such as `factory`, `ota_0` or `nvs`, or its number in hex.
    pub fn subtype_name(&self) -> String {
        self.known_subtype().unwrap_or_else(|| format!("0x{:02x}", self.subtype))
    }

    pub(crate) fn known_subtype(&self) -> Option<String> {
        let known = subtypes(self.kind).into_iter().find(|(_, number)| *number == self.subtype);
        known.map(|(name, _)| name)
    }

    /// Returns the names of the flags that are set. Bits without a name are left out.
    pub fn flag_names(&self) -> Vec<&'static str> {
        FLAGS.iter().filter(|(_, bit)| self.flags & bit != 0).map(|(name, _)| *name).collect()
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
    /// Maximum length of a table in bytes, before the padding to a sector.
    ///
    /// Source: ESP-IDF esp_flash_partitions.h, `ESP_PARTITION_TABLE_MAX_LEN`.
    pub const LEN: usize = 0xc00;
    /// Size of the flash sector that a table occupies, in bytes.
    pub const SECTOR_LEN: u32 = SECTOR;
    /// Maximum number of partitions: of the 96 rows, one holds the MD5 and one ends the table.
    pub const MAX_PARTITIONS: usize = Self::LEN / ROW - 2;

    /// Returns ESP-IDF's table "Single factory app, no OTA".
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

    /// Returns the built-in table for a flash of `flash_size` bytes and a table at `table_offset`:
    /// `nvs` and `phy_init` as in ESP-IDF's table, then `factory` up to the end of flash or the
    /// largest size that the bootloader can load an app from.
    pub fn builtin(flash_size: u32, table_offset: FlashOffset) -> Self {
        let mut table = Self::esp_idf_default();
        let mut next = table_offset.0.saturating_add(SECTOR);
        for partition in &mut table.partitions {
            let align = if partition.is_app() { APP_ALIGN } else { SECTOR };
            next = next.checked_next_multiple_of(align).unwrap_or(u32::MAX);
            partition.offset = FlashOffset(next);
            if partition.is_app() {
                partition.len = flash_size.saturating_sub(next).min(LARGEST_APP);
            }
            next = next.saturating_add(partition.len);
        }
        table
    }

    /// Returns whether `bytes` begin like a table.
    pub fn looks_like(bytes: &[u8]) -> bool {
        bytes.starts_with(&ROW_MAGIC)
    }

    /// Parses the table at the start of `bytes` by the rules of ESP-IDF's bootloader: rows up to
    /// the one that ends the table, which must be within [`Self::LEN`].
    ///
    /// A table without an MD5 row is accepted, because the bootloader can be built to accept it
    /// ([`Self::has_md5`]). A table that ends with its MD5 row is complete: erased flash follows.
    /// [`Self::check`] checks whether the partitions make sense.
    ///
    /// # Errors
    /// [`TableError::Empty`], [`TableError::BadMagic`], [`TableError::Truncated`],
    /// [`TableError::NoEnd`], [`TableError::Md5Mismatch`], [`TableError::AfterMd5`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TableError> {
        let bytes = &bytes[..bytes.len().min(Self::LEN)];
        let (rows, _) = bytes.as_chunks::<ROW>();
        let mut partitions = Vec::new();
        let mut md5 = Md5::new();
        let mut md5_seen = false;
        for (number, row) in rows.iter().enumerate() {
            if row.starts_with(&END_ROW) {
                return finish(partitions);
            }
            if md5_seen {
                return Err(TableError::AfterMd5 { row: number });
            }
            if row.starts_with(&MD5_ROW) {
                let computed = md5.clone().finalize();
                if computed[..] != row[16..] {
                    return Err(TableError::Md5Mismatch {
                        stored: hex::encode(&row[16..]),
                        computed: hex::encode(computed),
                    });
                }
                md5_seen = true;
                continue;
            }
            if !row.starts_with(&ROW_MAGIC) {
                return Err(TableError::BadMagic { row: number, found: [row[0], row[1]] });
            }
            md5.update(row);
            partitions.push(Partition::from_row(row));
        }
        if bytes.len() == Self::LEN {
            return Err(TableError::NoEnd { rows: rows.len() });
        }
        if md5_seen {
            return finish(partitions);
        }
        Err(TableError::Truncated { len: bytes.len(), row: rows.len() })
    }

    /// Returns whether the table at the start of `bytes` has an MD5 row.
    pub fn has_md5(bytes: &[u8]) -> bool {
        let bytes = &bytes[..bytes.len().min(Self::LEN)];
        let (rows, _) = bytes.as_chunks::<ROW>();
        let mut rows = rows.iter().skip_while(|row| row.starts_with(&ROW_MAGIC));
        rows.next().is_some_and(|row| row.starts_with(&MD5_ROW))
    }

    /// Returns the table's bytes: rows and MD5 row, padded with 0xFF to [`Self::LEN`].
    ///
    /// # Errors
    /// [`TableError::TooMany`], [`TableError::BadName`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, TableError> {
        let mut bytes = self.to_rows(Self::MAX_PARTITIONS)?;
        let md5 = Md5::digest(&bytes);
        bytes.extend_from_slice(&MD5_MAGIC);
        bytes.extend_from_slice(&md5);
        bytes.resize(Self::LEN, 0xff);
        Ok(bytes)
    }

    /// Returns the table's bytes without an MD5 row, for bootloaders that were built without MD5
    /// support.
    ///
    /// # Errors
    /// The same as for [`Self::to_bytes`].
    pub fn to_bytes_without_md5(&self) -> Result<Vec<u8>, TableError> {
        let mut bytes = self.to_rows(Self::MAX_PARTITIONS + 1)?;
        bytes.resize(Self::LEN, 0xff);
        Ok(bytes)
    }

    fn to_rows(&self, most: usize) -> Result<Vec<u8>, TableError> {
        if self.partitions.len() > most {
            return Err(TableError::TooMany { count: self.partitions.len(), most });
        }
        let mut bytes = Vec::with_capacity(Self::LEN);
        for partition in &self.partitions {
            let name = &partition.name;
            // The replacement character marks bytes that were not text when the table was read.
            let unreadable = name.contains(char::REPLACEMENT_CHARACTER);
            if name.is_empty() || name.len() > NAME_LEN || name.contains('\0') || unreadable {
                return Err(TableError::BadName { name: name.clone() });
            }
            bytes.extend_from_slice(&partition.to_row());
        }
        Ok(bytes)
    }

    /// Finds the partition called `name`.
    pub fn find(&self, name: &str) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.name == name)
    }

    /// Returns the partition called `name`, which must be the only one. With `apps`, the error's
    /// hint lists only app partitions.
    ///
    /// # Errors
    /// [`PlanError::UnknownPartition`], [`PlanError::AmbiguousPartition`].
    pub fn named(&self, name: &str, apps: bool) -> Result<&Partition, PlanError> {
        let mut named = self.partitions.iter().filter(|partition| partition.name == name);
        match (named.next(), named.next()) {
            (Some(only), None) => Ok(only),
            (Some(_), Some(_)) => Err(PlanError::AmbiguousPartition { name: name.to_owned() }),
            (None, _) => {
                let listed = self.partitions.iter().filter(|p| !apps || p.is_app());
                Err(PlanError::UnknownPartition {
                    name: name.to_owned(),
                    nearest: self.nearest_name(name),
                    apps,
                    known: listed.map(|partition| partition.name.clone()).collect(),
                })
            }
        }
    }

    /// Returns the partition name that is closest to `name`.
    pub fn nearest_name(&self, name: &str) -> Option<String> {
        nearest(name, &self.partitions.iter().map(|p| p.name.as_str()).collect::<Vec<_>>())
    }

    /// Returns the app partitions, in the table's order.
    pub fn apps(&self) -> impl Iterator<Item = &Partition> {
        self.partitions.iter().filter(|partition| partition.is_app())
    }

    /// Returns the otadata partition.
    pub fn otadata(&self) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.is_otadata())
    }

    /// Returns the app partition that the bootloader starts with this `otadata` (the partition's
    /// content), provided that every app partition holds an app: the slot selected by otadata, or
    /// else factory, or else ota_0, or else test.
    ///
    /// Source: ESP-IDF components/bootloader_support/src/bootloader_utility.c,
    /// `bootloader_utility_get_selected_boot_partition` and `bootloader_utility_load_boot_image`.
    pub fn app_target(&self, otadata: Option<&[u8]>) -> Option<&Partition> {
        let slot = |number: u32| self.apps().find(|p| p.ota_slot() == Some(number));
        let slots = self.apps().filter(|p| p.ota_slot().is_some()).count() as u32;
        let selected = || slot(crate::booted_slot(otadata?, slots)?);
        selected()
            .or_else(|| self.apps().find(|partition| partition.is_factory()))
            .or_else(|| slot(0))
            .or_else(|| self.apps().find(|partition| partition.is_test()))
    }
}

fn finish(partitions: Vec<Partition>) -> Result<PartitionTable, TableError> {
    if partitions.is_empty() {
        return Err(TableError::Empty);
    }
    Ok(PartitionTable { partitions })
}
