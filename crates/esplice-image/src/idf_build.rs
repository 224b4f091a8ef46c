//! The plan in a build folder of ESP-IDF: `flasher_args.json` and `project_description.json`.
//!
//! Source: ESP-IDF, `components/esptool_py/flasher_args.json.in` and
//! `tools/cmake/project_description.json.in`.

use std::collections::BTreeMap;

use esplice_chip::{FlashOffset, parse_size};
use serde::Deserialize;

use crate::WriteKind;

/// Files that ESP-IDF's build writes to a board.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdfPlan {
    /// Name of the chip, such as `esp32c3`, if the file has it.
    pub chip: Option<String>,
    /// The files, in the order of their offsets.
    pub files: Vec<IdfFile>,
    /// Flash settings for the header of the image at the boot offset; `keep` leaves a field.
    pub settings: IdfFlashSettings,
}

/// A file of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdfFile {
    /// Offset in flash.
    pub offset: FlashOffset,
    /// Path, relative to the build folder.
    pub path: String,
    /// Name of the part, such as `bootloader`, `app` or `otadata`, if the file has one.
    pub name: Option<String>,
    /// Role of the part.
    pub kind: WriteKind,
    /// True if the chip would have to encrypt it while it is written.
    pub encrypted: bool,
}

/// Flash settings of a build.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct IdfFlashSettings {
    /// Mode, such as `dio`.
    pub flash_mode: String,
    /// Frequency, such as `80m`.
    pub flash_freq: String,
    /// Size, such as `4MB`, or `detect`.
    pub flash_size: String,
}

impl Default for IdfFlashSettings {
    fn default() -> IdfFlashSettings {
        let keep = || "keep".to_owned();
        IdfFlashSettings { flash_mode: keep(), flash_freq: keep(), flash_size: keep() }
    }
}

/// Description of a project by ESP-IDF's build.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct IdfDescription {
    /// Name of the project.
    pub project_name: Option<String>,
    /// Path of the app's ELF, relative to the build folder.
    pub app_elf: Option<String>,
    /// Baud rate of the console, as text.
    pub monitor_baud: Option<String>,
}

/// An error in a file of a build folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdfBuildError {
    /// JSON that is not valid, or not of the right shape.
    #[error("{line}:{column}: {reason}")]
    Json {
        /// Line, counted from 1.
        line: usize,
        /// Column, counted from 1.
        column: usize,
        /// The parser's reason.
        reason: String,
    },
    /// An offset that is not a number.
    #[error("the offset {text:?} of {path} is not a number such as 0x10000")]
    BadOffset {
        /// The text.
        text: String,
        /// Path of the file for this offset.
        path: String,
    },
    /// A plan without files.
    #[error("flash_files is empty")]
    Empty,
}

#[derive(Deserialize)]
struct Raw {
    flash_files: BTreeMap<String, String>,
    #[serde(default)]
    flash_settings: IdfFlashSettings,
    #[serde(default)]
    extra_esptool_args: RawExtra,
    /// The parts, by name; `write_flash_args` and others are no objects with these fields.
    #[serde(flatten)]
    parts: BTreeMap<String, serde_json::Value>,
}

#[derive(Default, Deserialize)]
struct RawExtra {
    chip: Option<String>,
}

impl IdfPlan {
    /// Parses `flasher_args.json`.
    ///
    /// # Errors
    /// [`IdfBuildError`]
    pub fn from_json(text: &str) -> Result<IdfPlan, IdfBuildError> {
        let raw: Raw = serde_json::from_str(text).map_err(json)?;
        let mut files = Vec::new();
        for (offset_text, path) in raw.flash_files {
            let bad = || IdfBuildError::BadOffset { text: offset_text.clone(), path: path.clone() };
            let offset = parse_size(&offset_text).ok_or_else(bad)?;
            let part = raw.parts.iter().find(|(_, part)| {
                let same = |key: &str, wanted: &str| {
                    part.get(key).and_then(|v| v.as_str()) == Some(wanted)
                };
                same("file", &path) && same("offset", &offset_text)
            });
            let name = part.map(|(name, _)| name.clone());
            let kind = match name.as_deref() {
                Some("bootloader") => WriteKind::Bootloader,
                Some("partition-table" | "partition_table") => WriteKind::PartitionTable,
                Some("app") => WriteKind::App,
                _ => WriteKind::Data,
            };
            let encrypted = part.and_then(|(_, part)| part.get("encrypted"));
            let encrypted = encrypted.is_some_and(|value| {
                value.as_str() == Some("true") || value.as_bool() == Some(true)
            });
            files.push(IdfFile { offset: FlashOffset(offset), path, name, kind, encrypted });
        }
        if files.is_empty() {
            return Err(IdfBuildError::Empty);
        }
        files.sort_by_key(|file| file.offset);
        Ok(IdfPlan { chip: raw.extra_esptool_args.chip, files, settings: raw.flash_settings })
    }
}

impl IdfDescription {
    /// Parses `project_description.json`.
    ///
    /// # Errors
    /// [`IdfBuildError::Json`]
    pub fn from_json(text: &str) -> Result<IdfDescription, IdfBuildError> {
        serde_json::from_str(text).map_err(json)
    }
}

fn json(error: serde_json::Error) -> IdfBuildError {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or(&text).to_owned();
    IdfBuildError::Json { line: line.max(1), column: column.max(1), reason }
}
