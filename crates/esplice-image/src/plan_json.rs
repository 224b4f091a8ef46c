//! Reads and writes plans as JSON, schema 1.
//!
//! ```json
//! {
//!   "schema": 1,
//!   "chip": "esp32c3",
//!   "min_rev": 0,
//!   "max_rev": 65535,
//!   "boot": "idf",
//!   "flash": { "mode": "dio", "freq": "80m", "size": 4194304 },
//!   "partition_table_offset": 32768,
//!   "writes": [
//!     { "name": "bootloader", "kind": "bootloader", "offset": 0, "len": 20560, "sha256": "…",
//!       "file": "hello.merged.bin" },
//!     { "name": "app", "kind": "app", "offset": 65536, "len": 90464, "sha256": "…",
//!       "file": "hello.bin" }
//!   ],
//!   "elf_sha256": "…"
//! }
//! ```
//!
//! `partition_table_offset` is left out if it is the chip's default. `own_partition_table` and
//! `own_bootloader` are present, and true, if these parts are custom.
//!
//! `file` is relative to the plan's directory. A write's bytes begin at `file_offset` in its file,
//! or at 0 if the key is absent, and are `len` bytes long.

use std::collections::BTreeMap;

use esplice_chip::{Chip, ChipDb, FlashOffset};
use serde::{Deserialize, Serialize};

use crate::{CustomParts, FlashParams, FlashPlan, NameError, PlanError, Write, WriteKind, sha256};

/// The schema that this crate writes and reads.
const SCHEMA: u64 = 1;

/// The position of a write's bytes in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRef {
    /// Path relative to the plan's directory, with `/` between its parts.
    pub path: String,
    /// Offset of the first byte in that file.
    pub offset: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlan {
    schema: u64,
    chip: String,
    min_rev: u16,
    max_rev: u16,
    boot: String,
    flash: RawFlash,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partition_table_offset: Option<u32>,
    #[serde(default, skip_serializing_if = "is_false")]
    own_partition_table: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    own_bootloader: bool,
    writes: Vec<RawWrite>,
    elf_sha256: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFlash {
    mode: String,
    freq: String,
    size: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWrite {
    name: String,
    kind: String,
    offset: u32,
    len: u32,
    sha256: String,
    file: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    file_offset: u32,
}

#[derive(Deserialize)]
struct RawSchema {
    schema: u64,
}

impl FlashPlan {
    /// Returns the plan as JSON. `file_of` returns the file of each write's bytes. The same plan
    /// always yields the same text.
    ///
    /// # Errors
    /// [`PlanError::Path`] for a path that is not relative or leaves the plan's directory.
    pub fn to_json(&self, mut file_of: impl FnMut(&Write) -> FileRef) -> Result<String, PlanError> {
        let writes = self.writes.iter().map(|write| {
            let FileRef { path, offset } = file_of(write);
            check_path(&path)?;
            Ok(RawWrite {
                name: write.name.clone(),
                kind: write.kind.name().into(),
                offset: write.offset.0,
                // A longer write is refused when the plan is made.
                len: u32::try_from(write.data.len()).unwrap_or(u32::MAX),
                sha256: hex::encode(sha256(&write.data)),
                file: path,
                file_offset: offset,
            })
        });
        let raw = RawPlan {
            schema: SCHEMA,
            chip: self.chip.name.clone(),
            min_rev: self.min_rev,
            max_rev: self.max_rev,
            boot: self.boot.name().into(),
            flash: RawFlash {
                mode: self.flash.mode.name().into(),
                freq: self.flash.freq.clone(),
                size: self.flash.size,
            },
            partition_table_offset: self.table_offset.map(|offset| offset.0),
            own_partition_table: self.own.table,
            own_bootloader: self.own.bootloader,
            writes: writes.collect::<Result<_, PlanError>>()?,
            elf_sha256: self.elf_sha256.map(hex::encode),
        };
        let mut text = serde_json::to_string_pretty(&raw).map_err(json)?;
        text.push('\n');
        Ok(text)
    }

    /// Parses a plan for one of `chips`. `read` is called with a relative path and a length and returns the beginning
    /// of that file, at most of this length. Each file is read once, and never more of it than the
    /// size of the plan's flash.
    ///
    /// # Errors
    /// [`PlanError::Json`], [`PlanError::Schema`] and [`PlanError::Chip`]. If the files do not
    /// match the plan, [`PlanError::Path`], [`PlanError::File`], [`PlanError::FileTooShort`] or
    /// [`PlanError::Hash`].
    pub fn from_json(
        text: &str,
        chips: &ChipDb,
        mut read: impl FnMut(&str, u64) -> std::io::Result<Vec<u8>>,
    ) -> Result<Self, PlanError> {
        let RawSchema { schema } = serde_json::from_str(text).map_err(json)?;
        if schema != SCHEMA {
            return Err(PlanError::Schema { found: schema, known: SCHEMA });
        }
        let raw: RawPlan = serde_json::from_str(text).map_err(json)?;
        let chip = chips.find(&raw.chip)?;
        check_flash_size(&raw, chip)?;
        let mut needed: BTreeMap<String, u64> = BTreeMap::new();
        for write in &raw.writes {
            let end = u64::from(write.file_offset) + u64::from(write.len);
            let size = raw.flash.size;
            if end > size.into() {
                let (name, file) = (&write.name, &write.file);
                return Err(PlanError::Json {
                    message: format!(
                        "write {name:?} ends at {end} of {file:?}, past a flash of {size} bytes"
                    ),
                });
            }
            let most = needed.entry(write.file.clone()).or_default();
            *most = end.max(*most);
        }
        let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut writes = Vec::new();
        for write in raw.writes {
            if !files.contains_key(&write.file) {
                check_path(&write.file)?;
                let most = needed.get(&write.file).copied().unwrap_or_default();
                let content = read(&write.file, most).map_err(|error| PlanError::File {
                    path: write.file.clone(),
                    message: error.to_string(),
                })?;
                files.insert(write.file.clone(), content);
            }
            let content = files.get(&write.file).map_or(&[][..], Vec::as_slice);
            writes.push(read_write(write, content)?);
        }
        let of_name = |error: NameError| PlanError::Json { message: error.to_string() };
        Ok(Self {
            chip: chip.clone(),
            min_rev: raw.min_rev,
            max_rev: raw.max_rev,
            boot: raw.boot.parse().map_err(of_name)?,
            flash: FlashParams {
                mode: raw.flash.mode.parse().map_err(of_name)?,
                freq: raw.flash.freq,
                size: raw.flash.size,
            },
            table_offset: raw.partition_table_offset.map(FlashOffset),
            own: CustomParts { table: raw.own_partition_table, bootloader: raw.own_bootloader },
            writes,
            elf_sha256: raw.elf_sha256.map(|text| hash_of(&text)).transpose()?,
        })
    }
}

/// Refuses a flash size without a code on `chip`, and writes that have more bytes than the
/// flash.
fn check_flash_size(raw: &RawPlan, chip: &Chip) -> Result<(), PlanError> {
    let size = raw.flash.size;
    let all: u64 = raw.writes.iter().map(|write| u64::from(write.len)).sum();
    if all > size.into() {
        let message = format!("writes of {all} bytes in total, more than a flash of {size} bytes");
        return Err(PlanError::Json { message });
    }
    if chip.image.flash_size_code(size).is_none() {
        let chip = &chip.display_name;
        let message = format!("flash size of {size} bytes has no code for {chip}");
        return Err(PlanError::Json { message });
    }
    Ok(())
}

fn read_write(raw: RawWrite, content: &[u8]) -> Result<Write, PlanError> {
    let end = u64::from(raw.file_offset) + u64::from(raw.len);
    let data = usize::try_from(end)
        .ok()
        .and_then(|end| content.get(raw.file_offset as usize..end))
        .ok_or_else(|| PlanError::FileTooShort {
            path: raw.file.clone(),
            name: raw.name.clone(),
            len: content.len(),
            needed: end,
        })?;
    let found = sha256(data);
    if found != hash_of(&raw.sha256)? {
        return Err(PlanError::Hash {
            path: raw.file,
            name: raw.name,
            found: hex::encode(found),
            expected: raw.sha256,
        });
    }
    let kind = WriteKind::from_name(&raw.kind).ok_or_else(|| PlanError::Json {
        message: format!("kind {:?} is not bootloader, partition-table, app or data", raw.kind),
    })?;
    Ok(Write { name: raw.name, kind, offset: FlashOffset(raw.offset), data: data.to_vec() })
}

/// Refuses paths that are absolute or leave the directory, on this or any other system.
fn check_path(path: &str) -> Result<(), PlanError> {
    let inside = !path.contains(['\\', ':', '\0'])
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if inside { Ok(()) } else { Err(PlanError::Path { path: path.into() }) }
}

fn hash_of(text: &str) -> Result<[u8; 32], PlanError> {
    let wrong = || PlanError::Json { message: format!("{text:?} is not a SHA-256 in hex") };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut hash = [0; 32];
    if pairs.len() != hash.len() || !rest.is_empty() {
        return Err(wrong());
    }
    for (byte, pair) in hash.iter_mut().zip(pairs) {
        let digit = |c: u8| (c as char).to_digit(16).ok_or_else(wrong);
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Ok(hash)
}

fn json(error: serde_json::Error) -> PlanError {
    PlanError::Json { message: error.to_string() }
}

fn is_false(switch: &bool) -> bool {
    !switch
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}
