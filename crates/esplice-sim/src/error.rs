//! Why a virtual board can't be had, or can't go on.

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use crate::{Status, fault_plan::FaultPlanError, memory::MapError, nor::NorError};

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
    /// No chip has that name.
    #[error(transparent)]
    Chip(#[from] esplice_chip::ChipError),
    /// The image is longer than the board's flash, or reaches past its end.
    #[error("{len} bytes at 0x{offset:x} do not fit into the board's flash of {size} bytes")]
    FlashTooSmall {
        /// First byte.
        offset: u32,
        /// Bytes of the image.
        len: usize,
        /// Bytes of the flash.
        size: u32,
    },
    /// The file that was given as the contents of the flash is something else.
    #[error(
        "this is {what}, and not the contents of a flash from offset 0: load the merged image, \
         NAME.merged.bin of `esplice build`"
    )]
    NotFlashContents {
        /// What it is: `an ELF`.
        what: &'static str,
    },
    /// What was waited for did not come in time.
    #[error(
        "{expected} did not come within {} ms of the board's time: the board {status}; it printed {} bytes, at the end {}",
        within.as_millis(),
        printed.0.len(),
        printed.last_line()
    )]
    NotSeen {
        /// What was waited for.
        expected: Printed,
        /// For how long.
        within: Duration,
        /// What the board is at.
        status: Status,
        /// All that came in that time.
        printed: Printed,
    },
    /// The board could not go on before what was waited for had come.
    #[error(
        "{}{source}; the board printed {} bytes, at the end {}",
        if expected.0.is_empty() { String::new() } else { format!("{expected} did not come: ") },
        printed.0.len(),
        printed.last_line()
    )]
    Stopped {
        /// What was waited for; nothing, where the board was to run for a time.
        expected: Printed,
        /// Why it could not go on.
        source: Box<SimError>,
        /// All that came before.
        printed: Printed,
    },
    /// The state is that of another chip's board, or of one with another flash size.
    #[error("a state of {state} is none of {board}")]
    OtherBoard {
        /// Whose state it is.
        state: String,
        /// Who is to go on from it.
        board: String,
    },
    /// There is no virtual board of this chip; [`crate::spec::chips`] are those that have one.
    #[error("there is no virtual {chip}")]
    NoBoard {
        /// The chip.
        chip: String,
    },
    /// The file with the plan of faults is none.
    #[error(transparent)]
    Faults(#[from] FaultPlanError),
    /// The plan of faults does not fit the flash chip.
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
    /// The ROM's file can't be read.
    #[error("ROM file {}: {source}", path.display())]
    RomFile {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The ROM's file is no 32-bit little-endian ELF file, or a broken one.
    #[error("the ROM file of {len} bytes is no 32-bit ELF file: {message}")]
    RomNoElf {
        /// Bytes it has.
        len: usize,
        /// What is wrong.
        message: String,
    },
    /// The ROM is for other CPUs.
    #[error("the ROM file is for ELF machine {found}, and the {chip} is machine {expected}")]
    RomMachine {
        /// Machine in the file.
        found: u16,
        /// The chip's.
        expected: u16,
        /// The chip.
        chip: String,
    },
    /// The ROM's file has nothing where the chip's CPU begins.
    #[error(
        "the ROM file has no code at {vector:#010x}, where the {chip} begins; {}",
        found.map_or("it has none in the ROM at all".to_owned(), |(addr, len)| format!(
            "the first it has are {len} bytes at {addr:#010x}"
        ))
    )]
    RomNoCode {
        /// The chip.
        chip: String,
        /// Its reset vector.
        vector: u32,
        /// The first bytes in the ROM that the file has: address and length.
        found: Option<(u32, usize)>,
    },
    /// A section of the ROM's file runs past the ROM.
    #[error(
        "section {name} of the ROM file, {len} bytes at {addr:#010x}, runs past {region}, {region_len} bytes at {region_addr:#010x}"
    )]
    RomPlace {
        /// The section.
        name: String,
        /// Its address.
        addr: u32,
        /// Its length.
        len: usize,
        /// The memory it begins in.
        region: String,
        /// That one's address.
        region_addr: u32,
        /// That one's length.
        region_len: u32,
    },
    /// The ROM is that of another revision or chip.
    #[error(
        "the ROM file is no ROM of the {chip} of the revision that is known: {name} at {addr:#010x} is {found:#010x} instead of {expected:#010x}"
    )]
    RomDiffers {
        /// The chip.
        chip: String,
        /// What differs.
        name: String,
        /// Where.
        addr: u32,
        /// What is there.
        found: u32,
        /// What has to be there.
        expected: u32,
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
    /// Whether the board met something that it does not model.
    pub fn is_not_modelled(&self) -> bool {
        match self {
            SimError::RomFunction { .. } => true,
            SimError::Stopped { source, .. } => source.is_not_modelled(),
            _ => false,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            SimError::Faults(error) => return error.hint(),
            SimError::FlashBusy { .. } => {
                "stop the other program, or give this board a file of its own".into()
            }
            SimError::FlashSize { usual, .. } => format!(
                "a flash file is the raw contents, of 1, 2, 4, 8 or 16 MiB: name one that is not there yet, and it is made, of {usual} bytes; `esplice write 0 FILE` puts an image into it"
            ),
            SimError::Chip(error) => return error.hint(),
            SimError::Stopped { source, .. } => return source.hint(),
            SimError::FlashTooSmall { .. } => {
                "give the board a larger flash chip (`Board::with_flash`), or a smaller image".into()
            }
            SimError::RomNoElf { .. }
            | SimError::RomMachine { .. }
            | SimError::RomNoCode { .. }
            | SimError::RomPlace { .. }
            | SimError::RomDiffers { .. } => {
                "take the ELF file of the chip's mask ROM that Espressif publishes (esp-rom-elfs), or leave the ROM out: none is needed".into()
            }
            SimError::RomFunction { .. } => {
                "let the board execute the chip's own mask ROM, which has every function (`Board::with_rom`)".into()
            }
            SimError::NoBoard { .. } => crate::spec::boards_hint(),
            _ => return None,
        })
    }
}

/// Bytes that are text most of the time, and are shown as such, with the rest escaped.
#[derive(Clone, PartialEq, Eq)]
pub struct Printed(pub Vec<u8>);

impl Printed {
    /// The last line with something in it.
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
