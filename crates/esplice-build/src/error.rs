//! Why a build script cannot go on.

use std::{fmt, io, path::PathBuf};

use esplice_chip::ChipError;
use esplice_layout::LayoutError;

/// Why a build script cannot go on. `main` may return it: its `Debug` is the message that cargo
/// shows, with the remedy.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The layout is refused.
    #[error("{0}")]
    Layout(#[from] LayoutError),
    /// The file has no `[layout]`.
    #[error("{path} has no [layout]")]
    NoLayout {
        /// The file.
        path: PathBuf,
    },
    /// Nobody says for which chip.
    #[error("nothing says which chip the layout is for")]
    NoChip,
    /// Several of the package's features name chips.
    #[error("features name more than one chip: {}", names.join(", "))]
    ManyChips {
        /// The chips.
        names: Vec<String>,
    },
    /// The chip is unknown.
    #[error("{0}")]
    Chip(#[from] ChipError),
    /// Not called by a build script.
    #[error("cargo has not set {name}: this is for build scripts")]
    NoVariable {
        /// The variable.
        name: &'static str,
    },
    /// The project's file names a chip's file that is not the project's.
    #[error("target-file {path} leaves the project")]
    OutsideProject {
        /// The path, as it is written.
        path: PathBuf,
    },
    /// Cargo's configuration gives GNU ld esp-hal's script, which comes before all that a build script
    /// gives.
    #[error(
        "GNU ld takes the layout only in front of linkall.x, which cargo's rustflags give it first"
    )]
    LinkallFirst,
    /// A file cannot be read or written.
    #[error("cannot {verb} {path}: {source}")]
    Io {
        /// `read`, `write`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A path that cargo's lines to it cannot hold.
    #[error("path {path:?} is not text, or has a line break")]
    OddPath {
        /// The path.
        path: PathBuf,
    },
    /// The program `esplice` cannot be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The firmware could not be built.
    #[error("{program} build {project} failed (exit code {code})\n{output}")]
    Firmware {
        /// The program.
        program: PathBuf,
        /// The project.
        project: PathBuf,
        /// What it ended with.
        code: i32,
        /// What it said.
        output: String,
    },
}

impl Error {
    /// What can be done about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Layout(error) => error.hint(),
            Error::Chip(error) => error.hint(),
            Error::NoLayout { .. } => Some("add a [layout.heap] or an [[layout.arena]]".into()),
            Error::NoChip => Some(
                "set target in [project] of esplice.toml, name a feature like the chip, or call Layout::chip"
                    .into(),
            ),
            Error::ManyChips { .. } => Some("enable one of them, or call Layout::chip".into()),
            Error::Start { .. } => {
                Some("install esplice, or name it in the variable ESPLICE".into())
            }
            Error::LinkallFirst => Some(
                "build with `esplice build`; or take -Tlinkall.x out of the rustflags, and give it in build.rs \
                 behind emit(): println!(\"cargo::rustc-link-arg=-Tlinkall.x\")"
                    .into(),
            ),
            Error::OutsideProject { .. } => {
                Some("put it into the project, or name it in ESPLICE_PROJECT_TARGET_FILE".into())
            }
            Error::NoVariable { .. } | Error::Io { .. } | Error::OddPath { .. } => None,
            Error::Firmware { .. } => None,
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        match self.hint() {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}
