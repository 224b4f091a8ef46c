//! ESP32-family chips as data.
//!
//! Everything that differs between chips is in `targets/<chip>.toml`, each value with its source.
//! This crate holds the schema and the checks; `esplice-targets` embeds the files. Code elsewhere
//! asks `chip.image.append_sha256`, never which chip it is. This crate does no I/O: the caller
//! reads a custom file and parses it with [`Chip::parse`].
//!
//! ```
//! let chip = esplice_chip::find("esp32c3")?;
//! assert_eq!(chip.display_name, "ESP32-C3");
//! assert_eq!(chip.region_at(esplice_chip::Addr(0x4200_0020)).unwrap().key, "irom");
//! # Ok::<(), esplice_chip::ChipError>(())
//! ```

mod address;
mod alias;
mod board;
mod check;
mod crystal;
mod custom;
mod efuse;
mod features;
mod layout;
mod raw;
mod schema;
mod watchdog;

use std::sync::OnceLock;

pub use address::{Addr, FlashOffset, parse_size};
pub use alias::SharedRam;
pub use board::{Board, BoardUsb, Led, LedKind, UsbKind};
pub use crystal::{AssumedCrystal, Crystal};
pub use custom::{CustomTarget, Target, add_target, parse_target};
pub use efuse::{BitRange, Efuse, EfuseBlock, EfuseCondition, EfuseField};
pub use features::{FeatureChip, chip_from_features};
pub use layout::{LayoutRegion, MemoryLayout, ReservedRange};
pub use schema::{
    Access, Backing, Chip, DirectBoot, EfuseGuards, Features, Flash, ImageParams, Loader,
    Peripheral, Region, RegionKind, Reset, Sim, SimCpu, Space, SpiRegisters, TinyGo, Toolchain,
    UsbId, UsbOtg,
};
pub use watchdog::{RegisterWrite, RtcWatchdog, SuperWatchdog, Watchdog};

/// The reason why a chip or board is not available.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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

/// An embedded file, parsed on first use: parsing all of them takes some milliseconds.
struct Embedded<T> {
    /// The file name without `.toml`. A test checks that it is the name of the chip or board.
    name: &'static str,
    file: &'static str,
    text: &'static str,
    parsed: OnceLock<Option<T>>,
}

impl<T> Embedded<T> {
    /// Returns the embedded files in `folder` (`""` or `boards/`), sorted by name.
    fn files(folder: &str) -> Vec<Embedded<T>> {
        let in_folder = |(file, text): &(&'static str, &'static str)| {
            let name = file.strip_prefix(folder)?.strip_suffix(".toml")?;
            let is_target = !name.contains(['/', '.']);
            is_target.then_some(Embedded { name, file, text, parsed: OnceLock::new() })
        };
        esplice_targets::FILES.iter().filter_map(in_folder).collect()
    }
}

fn embedded_chips() -> &'static [Embedded<Chip>] {
    static CHIPS: OnceLock<Vec<Embedded<Chip>>> = OnceLock::new();
    CHIPS.get_or_init(|| Embedded::files(""))
}

fn embedded_boards() -> &'static [Embedded<Board>] {
    static BOARDS: OnceLock<Vec<Embedded<Board>>> = OnceLock::new();
    BOARDS.get_or_init(|| Embedded::files("boards/"))
}

impl Embedded<Chip> {
    fn get(&self) -> Option<&Chip> {
        // A test parses every file, so a broken file can't get into a build that passed its tests.
        self.parsed.get_or_init(|| Chip::parse(self.file, self.text).ok()).as_ref()
    }

    /// Returns whether the chip's image headers carry `id`, without parsing the whole file.
    fn has_id(&self, id: u16) -> bool {
        let value = self.text.lines().find_map(|line| line.strip_prefix("chip-id = "));
        let digits = value.and_then(|value| value.split_whitespace().next());
        digits.and_then(|digits| digits.parse().ok()) == Some(id)
    }
}

impl Embedded<Board> {
    fn get(&self) -> Option<&Board> {
        self.parsed.get_or_init(|| Board::parse(self.file, self.text).ok()).as_ref()
    }
}

/// Returns all embedded chips, sorted by name.
pub fn all() -> &'static [Chip] {
    static CHIPS: OnceLock<Vec<Chip>> = OnceLock::new();
    CHIPS.get_or_init(|| embedded_chips().iter().filter_map(|c| c.get().cloned()).collect())
}

/// Returns all chips: those added by [`add_target`], newest first, then the embedded ones by name.
pub fn chips() -> Vec<&'static Chip> {
    let mut chips = custom::chips();
    for chip in embedded_chips() {
        if chips.iter().all(|known| known.name != chip.name) {
            chips.extend(chip.get());
        }
    }
    chips
}

/// Returns all boards: those added by [`add_target`], newest first, then the embedded ones by name.
pub fn boards() -> Vec<&'static Board> {
    let mut boards = custom::boards();
    for board in embedded_boards() {
        if boards.iter().all(|known| known.name != board.name) {
            boards.extend(board.get());
        }
    }
    boards
}

/// Returns the names of all [`chips`].
pub fn chip_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = custom::chips().iter().map(|chip| chip.name.as_str()).collect();
    names.extend(embedded_chips().iter().map(|chip| chip.name));
    names.dedup();
    names
}

/// Finds the chip called `name`, ignoring case, `-` and `_`: both `esp32c3` and `ESP32-C3` match.
///
/// # Errors
/// [`ChipError::Unknown`], with the nearest known name.
pub fn find(name: &str) -> Result<&'static Chip, ChipError> {
    let plain = plain_name(name);
    if let Some(chip) = chip_called(&plain) {
        return Ok(chip);
    }
    let known: Vec<String> = chip_names().into_iter().map(str::to_owned).collect();
    Err(ChipError::Unknown { name: name.into(), nearest: nearest(&plain, &known), known })
}

fn chip_called(plain: &str) -> Option<&'static Chip> {
    if let Some(chip) = custom::chips().into_iter().find(|chip| chip.name == plain) {
        return Some(chip);
    }
    embedded_chips().iter().find(|chip| chip.name == plain)?.get()
}

/// Finds the chip or board called `name`, ignoring case, `-` and `_`.
///
/// # Errors
/// [`ChipError::UnknownTarget`], with the nearest known name.
pub fn find_target(name: &str) -> Result<Target, ChipError> {
    let plain = plain_name(name);
    if let Some(chip) = chip_called(&plain) {
        return Ok(Target::Chip(chip));
    }
    let outside = custom::boards();
    if let Some(board) = outside.iter().find(|board| plain_name(&board.name) == plain) {
        return Ok(Target::Board(board));
    }
    let embedded = embedded_boards().iter().find(|board| plain_name(board.name) == plain);
    if let Some(board) = embedded.and_then(Embedded::<Board>::get) {
        return Ok(Target::Board(board));
    }
    let chips: Vec<String> = chip_names().into_iter().map(str::to_owned).collect();
    let mut names = chips.clone();
    names.extend(outside.iter().map(|board| board.name.clone()));
    names.extend(embedded_boards().iter().map(|board| board.name.to_owned()));
    let nearest = nearest(&name.to_ascii_lowercase(), &names).or_else(|| nearest(&plain, &names));
    Err(ChipError::UnknownTarget { name: name.into(), nearest, chips })
}

/// Finds the chip whose image headers carry `id`.
pub fn find_by_id(id: u16) -> Option<&'static Chip> {
    let outside = custom::chips().into_iter().find(|chip| chip.image.chip_id == id);
    let embedded = || embedded_chips().iter().find(|chip| chip.has_id(id))?.get();
    outside.or_else(embedded)
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

fn plain_name(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_')).collect::<String>().to_ascii_lowercase()
}
