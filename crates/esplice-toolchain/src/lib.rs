//! Finds a compiler for a chip, drives it, and says which ELF came out.
//!
//! - [`find_rust`] chooses a Rust toolchain that can make code for a chip: an installed target,
//!   else library sources to build, else Debian's packages. It asks the machine only through
//!   [`Probe`], so that a test can play any machine.
//! - [`build_cargo`] settles package, binary and features, runs cargo, and gives an [`Artifact`].
//! - [`build_tinygo`] finds TinyGo, settles its target and flags, runs it, and gives a
//!   [`GoArtifact`].
//!
//! The compiler's own messages and progress go straight to the standard error stream it inherits;
//! this crate prints nothing, and it leaves reading the ELF to others.
//!
//! ```no_run
//! use esplice_toolchain::{CargoOptions, build_cargo};
//!
//! let chip = esplice_chip::find("esp32c3")?;
//! let artifact = build_cargo("examples/hello-rust".as_ref(), chip, &CargoOptions::default())?;
//! println!("{}", artifact.elf.display());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cargo;
mod config;
mod environment;
mod error;
mod find;
mod pin;
mod probe;
mod project;
mod scripts;
mod tinygo;
mod triple;

pub use cargo::{
    Artifact, CargoOptions, Diagnostic, Hear, StableLink, build_cargo, build_cargo_heard,
    chip_of_project,
};
pub use environment::{SOURCE_DATE_EPOCH, outer_cargo_variables};
pub use error::{ErrorKind, Missing, ToolchainError};
pub use find::{Origin, RustToolchain, find_rust};
pub use probe::{Machine, Probe};
pub use tinygo::{GoArtifact, TinyGo, TinyGoOptions, build_tinygo, find_tinygo};
