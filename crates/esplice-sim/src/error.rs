//! Errors of creating and running a virtual board.

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use crate::{
    Status, fault_plan::FaultPlanError, memory::MapError, nor::NorError, parts::PartsError,
};

/// Reason why a virtual board can't be created or can't continue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// Another board has the flash file open.
    #[error("flash file {} is in use by another board", path.display())]
    FlashBusy {
        /// The file.
        path: PathBuf,
    },
    /// The flash file does not have the size of a flash chip.
    #[error("flash file {} has {len} bytes, which no flash chip has", path.display())]
    FlashSize {
        /// The file.
        path: PathBuf,
        /// Length in bytes.
        len: u64,
        /// Bytes of the chip's usual flash.
        usual: u32,
    },
    /// The flash file can't be opened, created or read.
    #[error("flash file {}: {source}", path.display())]
    FlashFile {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The flash chip failed while the board used it. Shared because it is returned until the next
    /// reset.
    #[error("the board's flash failed: {0}")]
    FlashFailed(#[source] Arc<NorError>),
    /// No chip has that name.
    #[error(transparent)]
    Chip(#[from] esplice_chip::ChipError),
    /// The image is longer than the board's flash, or reaches past its end.
    #[error("{len} bytes at 0x{offset:x} do not fit into the board's flash of {size} bytes")]
    FlashTooSmall {
        /// Offset of the first byte.
        offset: u32,
        /// Bytes of the image.
        len: usize,
        /// Bytes of the flash.
        size: u32,
    },
    /// The file given as flash contents is something else.
    #[error(
        "this is {what}, not the contents of a flash chip from offset 0: load the merged image, \
         NAME.merged.bin of `esplice build`"
    )]
    NotFlashContents {
        /// The kind of file: `an ELF`.
        what: &'static str,
    },
    /// The expected output did not come in time.
    #[error(
        "{expected} did not come within {} ms of the board's time: the board {status}; \
          it printed {} bytes, at the end {}",
        within.as_millis(),
        printed.0.len(),
        printed.last_line()
    )]
    NotSeen {
        /// The expected output.
        expected: Printed,
        /// The time limit.
        within: Duration,
        /// The board's state.
        status: Status,
        /// Everything printed in that time.
        printed: Printed,
    },
    /// The board could not continue before the expected output came.
    #[error(
        "{}{source}; the board printed {} bytes, at the end {}",
        if expected.0.is_empty() { String::new() } else { format!("{expected} did not come: ") },
        printed.0.len(),
        printed.last_line()
    )]
    Stopped {
        /// The expected output; empty if the board was to run for a time.
        expected: Printed,
        /// Reason why it could not continue.
        source: Box<SimError>,
        /// Everything printed before.
        printed: Printed,
    },
    /// The snapshot is of another chip's board, or of a board with another flash size.
    #[error("a snapshot of {state} does not fit {board}")]
    SnapshotMismatch {
        /// The snapshot's chip and flash size.
        state: String,
        /// The board's chip and flash size.
        board: String,
    },
    /// The chip has no virtual board; [`crate::spec::with_board`] lists those that have one.
    #[error("there is no virtual {chip}")]
    NoBoard {
        /// The chip.
        chip: String,
    },
    /// The chip's ROM is not modelled, and no file of it was given.
    #[error("the virtual {chip} needs the chip's mask ROM")]
    NeedsRom {
        /// The chip.
        chip: String,
    },
    /// The fault plan file is invalid.
    #[error(transparent)]
    Faults(#[from] FaultPlanError),
    /// The file of parts or voltages is invalid.
    #[error(transparent)]
    Parts(#[from] PartsError),
    /// The file of a part can't be written. Shared because it is returned until the next reset.
    #[error("a part of the board failed: {0}")]
    PartFailed(#[source] Arc<PartsError>),
    /// The fault plan does not fit the flash chip.
    #[error("plan of faults: {0}")]
    FaultPlace(#[from] NorError),
    /// The chip data names a model that the simulator does not have.
    #[error("device {device} has the unknown model {model:?}")]
    UnknownModel {
        /// The device.
        device: String,
        /// The model's name.
        model: String,
    },
    /// The chip data lists no device with a name that the ROM functions need.
    #[error("the ROM needs a device {device}, which the chip's data do not list")]
    NoDevice {
        /// The name.
        device: &'static str,
    },
    /// The chip data places a device at an invalid address or over another device.
    #[error("device {device} can't be placed at {base:#010x} with {len:#x} bytes")]
    DevicePlace {
        /// The device.
        device: String,
        /// First address.
        base: u32,
        /// Length.
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
        /// The reason.
        message: String,
    },
    /// The ROM's file can't be read.
    #[error("ROM file {}: {source}", path.display())]
    RomFile {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The ROM file is not a valid 32-bit little-endian ELF file.
    #[error("the ROM file of {len} bytes is not a 32-bit ELF file: {message}")]
    RomNotElf {
        /// Length in bytes.
        len: usize,
        /// The reason.
        message: String,
    },
    /// The ROM is for another CPU architecture.
    #[error("the ROM file is for ELF machine {found}, and the {chip} is machine {expected}")]
    RomMachine {
        /// ELF machine of the file.
        found: u16,
        /// ELF machine of the chip.
        expected: u16,
        /// The chip.
        chip: String,
    },
    /// The ROM file has no code at the chip's reset vector.
    #[error(
        "the ROM file has no code at {vector:#010x}, where the {chip} starts; {}",
        found.map_or("it has none in the ROM at all".to_owned(), |(addr, len)| format!(
            "its first code is {len} bytes at {addr:#010x}"
        ))
    )]
    RomNoCode {
        /// The chip.
        chip: String,
        /// The reset vector.
        vector: u32,
        /// Address and length of the file's first bytes in the ROM.
        found: Option<(u32, usize)>,
    },
    /// A section of the ROM file runs past the ROM.
    #[error(
        "section {name} of the ROM file, {len} bytes at {addr:#010x}, \
         runs past {region}, {region_len} bytes at {region_addr:#010x}"
    )]
    RomPlace {
        /// The section.
        name: String,
        /// Address.
        addr: u32,
        /// Length in bytes.
        len: usize,
        /// The memory it begins in.
        region: String,
        /// The memory's address.
        region_addr: u32,
        /// The memory's length in bytes.
        region_len: u32,
    },
    /// The ROM is of another revision or chip.
    #[error(
        "the ROM file is not the known revision of the {chip}'s ROM: \
         {name} at {addr:#010x} is {found:#010x} instead of {expected:#010x}"
    )]
    RomDiffers {
        /// The chip.
        chip: String,
        /// The item that differs.
        name: String,
        /// Address.
        addr: u32,
        /// The word found there.
        found: u32,
        /// The expected word.
        expected: u32,
    },
    /// The firmware called a ROM function that is not modelled.
    #[error(
        "ROM function {} at {addr:#010x} is not modelled (called from {caller:#010x})",
        name.as_deref().unwrap_or("without a name")
    )]
    RomFunction {
        /// Address of the function.
        addr: u32,
        /// Name of the function, if the table has one.
        name: Option<String>,
        /// The return address of the call.
        caller: u32,
    },
}

impl SimError {
    /// Returns whether the board met something that is not modelled.
    pub fn is_not_modelled(&self) -> bool {
        match self {
            SimError::RomFunction { .. } => true,
            SimError::Stopped { source, .. } => source.is_not_modelled(),
            _ => false,
        }
    }

    /// Returns advice for the user.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            SimError::Faults(error) => return error.hint(),
            SimError::Parts(error) => return error.hint(),
            SimError::FlashBusy { .. } => {
                "stop the other program, or use another flash file for this board".into()
            }
            SimError::FlashSize { usual, .. } => format!(
                "a flash file holds the raw contents, 1, 2, 4, 8 or 16 MiB: \
                 name a file that does not exist to create one of {usual} bytes; \
                 `esplice write 0 FILE` puts an image into it"
            ),
            SimError::Chip(error) => return error.hint(),
            SimError::Stopped { source, .. } => return source.hint(),
            SimError::FlashTooSmall { .. } => {
                "give the board a larger flash chip (`Board::with_flash`), \
                 or a smaller image"
                    .into()
            }
            SimError::RomNotElf { .. }
            | SimError::RomMachine { .. }
            | SimError::RomNoCode { .. }
            | SimError::RomPlace { .. }
            | SimError::RomDiffers { .. } => {
                "use the ELF file of the chip's mask ROM that Espressif publishes \
                 (esp-rom-elfs), or run without a ROM file: none is needed"
                    .into()
            }
            SimError::RomFunction { .. } => "let the board execute the chip's own mask ROM, \
                 which has every function (`Board::with_rom`)"
                .into(),
            SimError::NeedsRom { .. } => rom_hint(),
            SimError::NoBoard { .. } => crate::spec::embedded_hint(),
            _ => return None,
        })
    }
}

/// Returns a hint where to get a mask ROM.
pub(crate) fn rom_hint() -> String {
    "name the ELF file of the chip's mask ROM that Espressif publishes (esp-rom-elfs) with rom=FILE, \
     or with --rom FILE; it is also part of the sources of espflash"
        .into()
}

/// Printed bytes. Displayed as text with the rest escaped.
#[derive(Clone, PartialEq, Eq)]
pub struct Printed(pub Vec<u8>);

impl Printed {
    /// Returns the last line that is not empty.
    fn last_line(&self) -> Printed {
        let mut lines = self.0.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        Printed(lines.rfind(|line| !line.is_empty()).unwrap_or_default().to_vec())
    }
}

impl fmt::Display for Printed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Printed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
