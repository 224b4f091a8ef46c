//! Finds a compiler for a chip, runs it, and returns the resulting ELF.
//!
//! - [`find_rust`] chooses a Rust toolchain that can compile for a chip: an installed target, else
//!   library sources to build, else Debian's packages. It queries the machine only through
//!   [`Probe`], so a test can simulate any machine.
//! - [`build_cargo`] selects package, binary and features, runs cargo, and returns an [`Artifact`].
//! - [`build_tinygo`] finds TinyGo, selects its target and flags, runs it, and returns a
//!   [`GoArtifact`].
//!
//! The compiler's messages and progress go straight to the inherited standard error stream. This
//! crate prints nothing itself and does not read the ELF.
//!
//! ```no_run
//! use esplice_toolchain::{CargoOptions, build_cargo};
//!
//! let chip = esplice_chip::ChipDb::embedded().find("esp32c3")?;
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
    Artifact, CargoOptions, Diagnostic, OnDiagnostic, StableLink, build_cargo,
    build_cargo_with_diagnostics, chip_of_project,
};
pub use environment::{SOURCE_DATE_EPOCH, outer_cargo_variables};
pub use error::{ErrorKind, Missing, ToolchainError};
pub use find::{Origin, RustToolchain, find_rust};
pub use probe::{Machine, Probe};
pub use tinygo::{GoArtifact, TinyGo, TinyGoOptions, build_tinygo, find_tinygo};
