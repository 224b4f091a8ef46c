//! Why a virtual board can't be had, or can't go on.

use std::{io, path::PathBuf, sync::Arc};

use crate::{memory::MapError, nor::NorError};

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
    /// The flash chip failed while the board used it. Shared, as it is told until the next reset.
    #[error("the board's flash failed: {0}")]
    FlashFailed(#[source] Arc<NorError>),
    /// There is no virtual board of this chip.
    #[error("there is no virtual {chip}")]
    NoBoard {
        /// The chip.
        chip: String,
    },
    /// The chip data names a model that the simulator does not have.
    #[error("device {device} has the unknown model {model:?}")]
    UnknownModel {
        /// The device.
        device: String,
        /// The model's name.
        model: String,
    },
    /// The chip data lists no device of a name that the ROM's functions look for.
    #[error("the ROM needs a device {device}, which the chip's data do not list")]
    NoDevice {
        /// The name.
        device: &'static str,
    },
    /// The chip data places a device where none can be, or over another.
    #[error("device {device} can't be placed at {base:#010x} with {len:#x} bytes")]
    DevicePlace {
        /// The device.
        device: String,
        /// Its first address.
        base: u32,
        /// Its length.
        len: u32,
    },
    /// The chip's memories contradict each other.
    #[error("memory map: {0}")]
    Memory(#[source] MapError),
    /// The chip's table of ROM addresses can't be used.
    #[error("ROM table {file}: {message}")]
    RomTable {
        /// The file.
        file: String,
        /// What is wrong.
        message: String,
    },
    /// The firmware called a ROM function that is not modelled.
    #[error(
        "ROM function {} at {addr:#010x} is not modelled (called from {caller:#010x})",
        name.as_deref().unwrap_or("without a name")
    )]
    RomFunction {
        /// Its address.
        addr: u32,
        /// Its name, where the table knows it.
        name: Option<String>,
        /// The return address of the call.
        caller: u32,
    },
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
            SimError::RomFunction { .. } => {
                "the virtual board carries out the ROM functions that boot code and usual firmware call; this one is not among them".into()
            }
            _ => return None,
        })
    }
}
