//! Why a virtual board can't be had, or can't go on.

use std::{io, path::PathBuf};

use crate::nor::NorError;

/// Why a virtual board can't be had, or can't go on.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// Another board has the flash file open.
    #[error("flash file {} is in use by another board", path.display())]
    FlashBusy {
        /// The file.
        path: PathBuf,
    },
    /// The flash file is no flash chip's size.
    #[error("flash file {} has {len} bytes, which no flash chip has", path.display())]
    FlashSize {
        /// The file.
        path: PathBuf,
        /// Bytes it has.
        len: u64,
        /// Bytes the chip's usual flash has.
        usual: u32,
    },
    /// The flash file can't be opened, made or read.
    #[error("flash file {}: {source}", path.display())]
    FlashFile {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The flash chip can't do what was asked.
    #[error(transparent)]
    Nor(#[from] NorError),
}

impl SimError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            SimError::FlashBusy { .. } => {
                "stop the other program, or give this board a file of its own".into()
            }
            SimError::FlashSize { usual, .. } => format!(
                "a flash file is the raw contents, of 1, 2, 4, 8 or 16 MiB; remove it and one of {usual} bytes is made"
            ),
            _ => return None,
        })
    }
}
