//! Why a build script cannot go on.

use std::{fmt, io, path::PathBuf};

use esplice_chip::ChipError;
use esplice_layout::LayoutError;

use crate::firmware;

/// Why a build script cannot go on. `Display` is the message and the hint, and so is `Debug`, so that
/// `main` may return it and cargo shows both.
#[non_exhaustive]
pub enum Error {
    /// The layout is refused.
    Layout(LayoutError),
    /// The file has no `[layout]`.
    NoLayout {
        /// The file.
        path: PathBuf,
    },
    /// Nobody says for which chip.
    NoChip,
    /// Several of the package's features name chips.
    ManyChips {
        /// The chips.
        names: Vec<String>,
    },
    /// The chip is unknown.
    Chip(ChipError),
    /// Not called by a build script.
    NoVariable {
        /// The variable.
        name: &'static str,
    },
    /// The project's file names a chip's file that is not the project's.
    OutsideProject {
        /// The path, as it is written.
        path: PathBuf,
    },
    /// Cargo's configuration gives GNU ld esp-hal's script, which comes before all that a build script
    /// gives.
    LinkallFirst,
    /// A static with an initial value in an arena that nothing is loaded into.
    DataInNoLoad {
        /// The source.
        path: PathBuf,
        /// The line, from 1.
        line: u32,
        /// The static.
        name: String,
        /// The arena.
        arena: String,
    },
    /// A file cannot be read or written.
    Io {
        /// `read`, `write`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A path that cargo's lines to it cannot hold.
    OddPath {
        /// The path.
        path: PathBuf,
    },
    /// The program `esplice` cannot be started.
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The firmware could not be built.
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
    /// Returns the message without the hint.
    pub fn message(&self) -> String {
        match self {
            Error::Layout(error) => error.to_string(),
            Error::Chip(error) => error.to_string(),
            Error::NoLayout { path } => format!("{} has no [layout]", path.display()),
            Error::NoChip => "nothing says which chip the layout is for".into(),
            Error::ManyChips { names } => {
                format!("features name more than one chip: {}", names.join(", "))
            }
            Error::NoVariable { name } => {
                format!("cargo has not set {name}: this is for build scripts")
            }
            Error::OutsideProject { path } => {
                format!("target-file {} leaves the project", path.display())
            }
            Error::LinkallFirst => {
                "GNU ld takes the layout only in front of linkall.x, which cargo's \
                                    rustflags give it first"
                    .into()
            }
            Error::DataInNoLoad { path, line, name, arena } => format!(
                "{}:{line}: {name} is initialised data in arena {arena}, which is no-load",
                path.display()
            ),
            Error::Io { verb, path, source } => {
                format!("cannot {verb} {}: {source}", path.display())
            }
            Error::OddPath { path } => format!("path {path:?} is not text, or has a line break"),
            Error::Start { program, source } => {
                format!("cannot start {}: {source}", program.display())
            }
            Error::Firmware { program, project, code, output } => format!(
                "{} build {} failed (exit code {code})\n{output}",
                program.display(),
                project.display()
            ),
        }
    }

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
            Error::Firmware { output, .. } => firmware::advice(output),
            Error::DataInNoLoad { .. } => Some(
                "nothing writes its initial value: make it MaybeUninit and write it in the program, or give \
                 the arena a fill"
                    .into(),
            ),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())?;
        match self.hint() {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } | Error::Start { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<LayoutError> for Error {
    fn from(error: LayoutError) -> Error {
        Error::Layout(error)
    }
}

impl From<ChipError> for Error {
    fn from(error: ChipError) -> Error {
        Error::Chip(error)
    }
}
