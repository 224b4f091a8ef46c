//! Patches between two firmware images.
//!
//! A patch is small because it knows what moves when a program is linked again. Copy operations come
//! first and define where each address of the base is in the new image. While it copies, the applier
//! decodes every reference (jumps, calls, branches, pairs of upper and lower parts, literals and
//! words that are addresses), looks up where its target went, and encodes it again. The patch only
//! contains what is wrong after that. No symbols and no ELF are needed, neither by the encoder nor by
//! the applier.
//!
//! [`Applier`] is for devices: `no_std`, without allocation, with less than 12 KiB of memory and 8
//! bytes for each operation. The patch is read once from start to end, the image is written once from
//! start to end, and the base is read at random. With the feature `std`, which is on by default,
//! [`diff`] makes patches, and [`apply`] applies them in memory.
//!
//! A patch has checksums but no signature. Verify the image by a signed hash, as `esplice-ota` does.
//!
//! ```
//! use esplice_delta::{Isa, apply, diff};
//!
//! let base = b"the quick brown fox jumps over the lazy dog, twice".repeat(9);
//! let mut image = base.clone();
//! image.splice(100..100, *b"and something else ");
//! let patch = diff(&base, &image, Isa::Unknown)?;
//! assert!(patch.bytes.len() < 100);
//! assert_eq!(apply(&base, &patch.bytes)?, image);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![no_std]

#[cfg(feature = "std")]
extern crate std;

mod apply;
mod coder;
mod crc;
#[cfg(feature = "std")]
mod encode;
mod error;
mod format;
mod image;
mod isa;
mod map;
#[cfg(feature = "std")]
mod memory;
mod predict;

pub use apply::{Applier, Info, Io};
#[cfg(feature = "std")]
pub use encode::{DiffError, Patch, PatchKind, diff};
pub use error::ApplyError;
pub use format::MAX_OPERATIONS;
pub use isa::Isa;
#[cfg(feature = "std")]
pub use memory::{MemoryError, apply};
