//! ESP32-family chips as data.
//!
//! Everything that differs between chips is in `targets/<chip>.toml`, each value with its source.
//! This crate holds the schema and the checks; `esplice-targets` embeds the files. Code elsewhere
//! asks `chip.image.append_sha256`, never which chip it is. This crate does no I/O: the caller
//! reads a custom file and adds it to a [`ChipDb`], the set of chips and boards that a program knows.
//!
//! ```
//! use esplice_chip::{Addr, ChipDb};
//!
//! let chip = ChipDb::embedded().find("esp32c3")?;
//! assert_eq!(chip.display_name, "ESP32-C3");
//! assert_eq!(chip.region_at(Addr(0x4200_0020)).unwrap().key, "irom");
//! # Ok::<(), esplice_chip::ChipError>(())
//! ```

mod address;
mod alias;
mod board;
mod check;
mod crystal;
mod custom;
mod db;
mod efuse;
mod features;
mod image_params;
mod layout;
mod loader;
mod raw;
mod region;
mod schema;
mod sim_data;
mod stub_data;
mod watchdog;

pub use address::{Addr, FlashOffset, parse_size};
pub use alias::SharedRam;
pub use board::{Board, BoardUsb, Led, LedKind, UsbKind};
pub use crystal::{AssumedCrystal, Crystal};
pub use custom::Target;
pub use db::ChipDb;
pub use efuse::{BitRange, Efuse, EfuseBlock, EfuseCondition, EfuseField};
pub use features::FeatureChip;
pub use image_params::{DirectBoot, ImageParams};
pub use layout::{LayoutRegion, MemoryLayout, ReservedRange};
pub use loader::{EarlyStub, Loader, Reset, SpiRegisters, UsbId, UsbOtg};
pub use region::{Access, Backing, Peripheral, Region, RegionKind, Space};
pub use schema::{Chip, Features, TinyGo, Toolchain};
pub use sim_data::{EfuseGuards, Flash, Sim, SimAdc, SimAttenuation, SimCpu, WorstFlash};
pub use stub_data::Stub;
pub use watchdog::{RegisterWrite, RtcWatchdog, SuperWatchdog, Watchdog};

/// The reason why a chip or board is not available.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChipError {
    /// No chip with this name is known.
    #[error("unknown chip {name:?}")]
    Unknown {
        /// The requested name.
        name: String,
        /// The most similar known name, if there is one.
        nearest: Option<String>,
        /// All known names.
        known: Vec<String>,
    },
    /// No chip or board with this name is known.
    #[error("unknown chip or board {name:?}")]
    UnknownTarget {
        /// The requested name.
        name: String,
        /// The most similar known name, if there is one.
        nearest: Option<String>,
        /// All known chips.
        chips: Vec<String>,
    },
    /// The file is not valid TOML or does not match the schema.
    #[error("{file}: {message}")]
    Parse {
        /// Name of the file.
        file: String,
        /// The TOML parser's message, with line and column.
        message: String,
        /// The known name that is closest to an unknown key or value.
        nearest: Option<String>,
    },
    /// The file contradicts itself.
    #[error("{file}: {message}")]
    Check {
        /// Name of the file.
        file: String,
        /// The message of the first failed check, with its numbers.
        message: String,
    },
}

impl ChipError {
    /// Returns advice on how to fix the error.
    pub fn hint(&self) -> Option<String> {
        match self {
            ChipError::Unknown { nearest: Some(name), .. }
            | ChipError::UnknownTarget { nearest: Some(name), .. }
            | ChipError::Parse { nearest: Some(name), .. } => {
                Some(format!("did you mean {name:?}?"))
            }
            ChipError::Unknown { known, .. } => Some(format!("known chips: {}", known.join(", "))),
            ChipError::UnknownTarget { chips, .. } => {
                Some(format!("known chips: {}", chips.join(", ")))
            }
            _ => None,
        }
    }
}

/// Returns the error's hint in parentheses, to append to its message.
fn hint_suffix(error: &ChipError) -> String {
    error.hint().map_or_else(String::new, |hint| format!(" ({hint})"))
}

/// Returns the text of another embedded file of `targets/`, such as a table of ROM addresses.
pub fn embedded_file(name: &str) -> Option<&'static str> {
    esplice_targets::file(name)
}

/// Returns the name in `known` that is closest to `name`, if at most a third of it is mistyped.
///
/// ```
/// assert_eq!(esplice_chip::nearest("esp32c4", &["esp32c3", "other"]).as_deref(), Some("esp32c3"));
/// assert_eq!(esplice_chip::nearest("buad", &["baud", "size"]).as_deref(), Some("baud"));
/// ```
pub fn nearest<S: AsRef<str>>(name: &str, known: &[S]) -> Option<String> {
    known
        .iter()
        .map(|k| (strsim::osa_distance(name, k.as_ref()), k.as_ref()))
        .min()
        .filter(|(distance, k)| *distance * 3 <= k.len().max(3))
        .map(|(_, k)| k.to_owned())
}
