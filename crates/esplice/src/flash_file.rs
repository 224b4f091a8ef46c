//! Files with a flash's content: raw bytes, or a format that says where its bytes belong.

use std::path::Path;

use esplice_chip::FlashOffset;
use esplice_image::{ImageReport, Unpacked, inspect, inspect_writes, merge, unpack};

use crate::{exit::Failure, firmware::of_file, source};

/// What a file holds.
#[derive(Debug)]
pub enum FlashFile {
    /// Bytes that do not say where they belong.
    Raw(Vec<u8>),
    /// HEX or UF2.
    Places { len: usize, unpacked: Unpacked },
}

impl FlashFile {
    /// Reads a file and tells it by its content.
    pub fn read(path: &Path) -> Result<FlashFile, Failure> {
        let bytes = source::read(path)?;
        match unpack(&bytes) {
            Ok(Some(unpacked)) => Ok(FlashFile::Places { len: bytes.len(), unpacked }),
            Ok(None) => Ok(FlashFile::Raw(bytes)),
            Err(error) => Err(of_file(path, error.into())),
        }
    }

    /// What is in it, and what is wrong with it.
    pub fn inspect(&self) -> ImageReport {
        match self {
            FlashFile::Raw(bytes) => inspect(bytes),
            FlashFile::Places { len, unpacked } => {
                inspect_writes(unpacked.content, *len, &unpacked.writes)
            }
        }
    }

    /// The flash from offset 0.
    pub fn flash(&self) -> Result<std::borrow::Cow<'_, [u8]>, Failure> {
        Ok(match self {
            FlashFile::Raw(bytes) => bytes.as_slice().into(),
            FlashFile::Places { unpacked, .. } => {
                merge(&unpacked.writes, FlashOffset(0), None)?.into()
            }
        })
    }
}

/// What is wrong with an inspected file first of all, in words.
pub fn first_defect(report: &ImageReport) -> Option<String> {
    report.all_defects().find(|(_, defect)| !defect.is_remark()).map(|(part, defect)| match part {
        Some(part) if report.parts.len() > 1 => format!("{}: {defect}", part.name),
        _ => defect.to_string(),
    })
}
