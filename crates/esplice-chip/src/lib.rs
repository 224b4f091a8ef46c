//! ESP32-family chips as data.
//!
//! Everything that differs from chip to chip stands in `targets/<chip>.toml`, each value with its
//! source; this crate gives the schema, the checks and the files embedded at compile time. Code
//! elsewhere asks `chip.image.append_sha256`, never which chip it is. There is no I/O here: a file
//! from outside is read by the caller and parsed with [`Chip::parse`].
//!
//! ```
//! let chip = esplice_chip::find("esp32c3")?;
//! assert_eq!(chip.display_name, "ESP32-C3");
//! assert_eq!(chip.region_at(esplice_chip::Addr(0x4200_0020)).unwrap().key, "irom");
//! # Ok::<(), esplice_chip::ChipError>(())
//! ```

mod address;
mod board;
mod check;
mod efuse;
mod layout;
mod outside;
mod raw;
mod schema;
mod watchdog;

use std::sync::OnceLock;

pub use address::{Addr, FlashOffset, parse_size};
pub use board::{Board, BoardUsb, Led, LedKind, UsbKind};
pub use efuse::{BitRange, Efuse, EfuseBlock, EfuseField};
pub use layout::{LayoutRegion, MemoryLayout, ReservedRange};
pub use outside::{Target, add_target};
pub use schema::{
    Access, Backing, Chip, EfuseGuards, Features, Flash, ImageParams, Loader, Peripheral, Region,
    RegionKind, Reset, Sim, SimCpu, Space, SpiRegisters, TinyGo, Toolchain, UsbId, UsbOtg,
};
pub use watchdog::{RegisterWrite, RtcWatchdog, SuperWatchdog, Watchdog};

mod embedded {
    include!(concat!(env!("OUT_DIR"), "/targets.rs"));
}

/// Why a chip can't be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChipError {
    /// No chip of that name is known.
    #[error("unknown chip {name:?}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The nearest known name, if one is near.
        nearest: Option<String>,
        /// All known names.
        known: Vec<String>,
    },
    /// No chip and no board of that name is known.
    #[error("unknown chip or board {name:?}")]
    UnknownTarget {
        /// The name asked for.
        name: String,
        /// The nearest known name, if one is near.
        nearest: Option<String>,
        /// All known chips.
        chips: Vec<String>,
    },
    /// The file is not TOML of the schema.
    #[error("{file}: {message}")]
    Parse {
        /// Name of the file.
        file: String,
        /// What the TOML reader says, with line and column.
        message: String,
        /// The name that an unknown key or value most likely stands for.
        nearest: Option<String>,
    },
    /// The file contradicts itself.
    #[error("{file}: {message}")]
    Check {
        /// Name of the file.
        file: String,
        /// The first check that fails, with its numbers.
        message: String,
    },
}

impl ChipError {
    /// What the user can do about it.
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

/// An error's hint, put behind its message in brackets.
fn hint_behind(error: &ChipError) -> String {
    error.hint().map_or_else(String::new, |hint| format!(" ({hint})"))
}

/// All embedded chips, by name.
pub fn all() -> &'static [Chip] {
    static CHIPS: OnceLock<Vec<Chip>> = OnceLock::new();
    CHIPS.get_or_init(|| {
        embedded::FILES
            .iter()
            .filter(|(file, _)| !file.contains(".rom.") && !file.contains('/'))
            // A test parses every file, so a broken one never gets into a build that passed.
            .filter_map(|(file, text)| Chip::parse(file, text).ok())
            .collect()
    })
}

/// All chips: those of [`add_target`], the last first, and the embedded ones, by name.
pub fn chips() -> Vec<&'static Chip> {
    let mut chips = outside::chips();
    for chip in all() {
        if chips.iter().all(|known| known.name != chip.name) {
            chips.push(chip);
        }
    }
    chips
}

/// All boards: those of [`add_target`], the last first, and the embedded ones, by name.
pub fn boards() -> Vec<&'static Board> {
    static BOARDS: OnceLock<Vec<Board>> = OnceLock::new();
    let embedded = BOARDS.get_or_init(|| {
        let files = embedded::FILES.iter().filter(|(file, _)| file.starts_with("boards/"));
        files.filter_map(|(file, text)| Board::parse(file, text).ok()).collect()
    });
    let mut boards = outside::boards();
    for board in embedded {
        if boards.iter().all(|known| known.name != board.name) {
            boards.push(board);
        }
    }
    boards
}

/// The chip called `name` (`esp32c3`, and forgiving: `ESP32-C3`).
///
/// # Errors
/// [`ChipError::Unknown`], with the nearest known name.
pub fn find(name: &str) -> Result<&'static Chip, ChipError> {
    let plain = plain_name(name);
    let chips = chips();
    if let Some(chip) = chips.iter().find(|chip| chip.name == plain) {
        return Ok(chip);
    }
    let known: Vec<String> = chips.iter().map(|chip| chip.name.clone()).collect();
    Err(ChipError::Unknown { name: name.into(), nearest: nearest(&plain, &known), known })
}

/// The chip or board called `name`, as forgiving as [`find`].
///
/// # Errors
/// [`ChipError::UnknownTarget`], with the nearest known name.
pub fn find_target(name: &str) -> Result<Target, ChipError> {
    let plain = plain_name(name);
    let (chips, boards) = (chips(), boards());
    if let Some(chip) = chips.iter().find(|chip| chip.name == plain) {
        return Ok(Target::Chip(chip));
    }
    if let Some(board) = boards.iter().find(|board| plain_name(&board.name) == plain) {
        return Ok(Target::Board(board));
    }
    let mut names: Vec<String> = chips.iter().map(|chip| chip.name.clone()).collect();
    let chips = names.clone();
    names.extend(boards.iter().map(|board| board.name.clone()));
    let nearest = nearest(&name.to_ascii_lowercase(), &names).or_else(|| nearest(&plain, &names));
    Err(ChipError::UnknownTarget { name: name.into(), nearest, chips })
}

/// The chip whose image headers carry `id`.
pub fn find_by_id(id: u16) -> Option<&'static Chip> {
    chips().into_iter().find(|chip| chip.image.chip_id == id)
}

/// Text of another embedded file of `targets/`, such as a table of ROM addresses.
pub fn embedded_file(name: &str) -> Option<&'static str> {
    embedded::FILES.iter().find(|(file, _)| *file == name).map(|(_, text)| *text)
}

/// The name among `known` that `name` most likely means: at most a third of it mistyped.
///
/// ```
/// assert_eq!(esplice_chip::nearest("esp32c4", &["esp32c3", "other"]).as_deref(), Some("esp32c3"));
/// assert_eq!(esplice_chip::nearest("buad", &["baud", "size"]).as_deref(), Some("baud"));
/// ```
pub fn nearest<S: AsRef<str>>(name: &str, known: &[S]) -> Option<String> {
    known
        .iter()
        .map(|k| (edit_distance(name, k.as_ref()), k.as_ref()))
        .min()
        .filter(|(distance, k)| *distance * 3 <= k.len().max(3))
        .map(|(_, k)| k.to_owned())
}

fn plain_name(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_')).collect::<String>().to_ascii_lowercase()
}

/// Letters to add, drop, change or swap with their neighbour to make `b` of `a` (optimal string
/// alignment).
fn edit_distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut next = vec![i];
        for j in 1..=b.len() {
            let substituted = row[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = substituted.min(row[j] + 1).min(next[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[b.len()]
}
