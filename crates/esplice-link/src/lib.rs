//! Describes how a linked ELF uses a chip's memories, and checks it against its layout.
//!
//! - [`map`] lists regions, sections, heap, arenas and stacks of an ELF with the space they leave;
//!   [`MemoryMap::to_text`], [`to_svg`] and [`to_html`] display it, [`diff`] compares two.
//! - [`sizes`] counts flash and RAM by section, crate or symbol, and [`compare_sizes`] compares two.
//! - [`compare_pieces`] compares the functions and variables of two ELFs.
//! - [`stable`] links so that sections stay where the last link put them.
//! - [`initialised`] finds initial values among the objects of a link that its output would lose.
//! - [`check`] checks an ELF against the [`Layout`](esplice_layout::Layout) it was linked with.
//!
//! The caller supplies the bytes; nothing here opens files or starts linkers.
//!
//! ```no_run
//! let elf = std::fs::read("hello.elf")?;
//! let chip = esplice_chip::ChipDb::embedded().find("esp32c3")?;
//! println!("{}", esplice_link::map(&elf, chip)?.to_text());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod check;
mod diff;
mod draw;
mod elf;
mod error;
mod inputs;
mod map;
mod pieces;
mod size;
pub mod stable;

pub use check::{Defect, check};
pub use diff::{Change, Difference, diff};
pub use draw::{to_html, to_svg};
pub use error::LinkError;
pub use inputs::{Initialised, Unloaded, initialised};
pub use map::{Item, Kind, MemoryMap, Overlap, RegionMap, map};
pub use pieces::{Piece, PieceChange, Pieces, compare_pieces};
pub use size::{SizeBy, SizeChange, SizeRow, Sizes, Usage, compare_sizes, sizes};
