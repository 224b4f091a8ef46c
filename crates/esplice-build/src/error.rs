//! Errors of this crate.

use std::{fmt, io, path::PathBuf};

use esplice_chip::ChipError;
use esplice_layout::LayoutError;

use crate::firmware;

/// An error that ends a build script. Both `Display` and `Debug` print the message and the hint, so
/// `main` can return the error and cargo shows both.
#[non_exhaustive]
pub enum Error {
    /// The layout is invalid.
    Layout(LayoutError),
    /// The file has no `[layout]` section.
    NoLayout {
        /// The file.
        path: PathBuf,
    },
    /// No chip was given.
    NoChip,
    /// Several enabled features of the package name chips.
    ManyChips {
        /// The chips.
        names: Vec<String>,
    },
    /// The chip is unknown.
    Chip(ChipError),
    /// The caller is not a build script.
    NoVariable {
        /// The variable.
        name: &'static str,
    },
    /// The project's file names a chip file outside the project.
    OutsideProject {
        /// The path as written.
        path: PathBuf,
    },
    /// Cargo's configuration passes esp-hal's script to GNU ld, ahead of every argument from a
    /// build script.
    LinkallFirst,
    /// A static with an initial value is placed in a no-load arena.
    DataInNoLoad {
        /// The source file.
        path: PathBuf,
        /// The line number, from 1.
        line: u32,
        /// The name of the static.
        name: String,
        /// The name of the arena.
        arena: String,
    },
    /// A file cannot be read or written.
    Io {
        /// `read` or `write`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// The error from the operating system.
        source: io::Error,
    },
    /// A path cannot be passed to cargo.
    OddPath {
        /// The path.
        path: PathBuf,
    },
    /// The program `esplice` cannot be started.
    Start {
        /// The program.
        program: PathBuf,
        /// The error from the operating system.
        source: io::Error,
    },
    /// The firmware could not be built.
    Firmware {
        /// The program.
        program: PathBuf,
        /// The project.
        project: PathBuf,
        /// The exit code of the program.
        code: i32,
        /// The standard error of the program.
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
            Error::NoChip => "no chip was given for the layout".into(),
            Error::ManyChips { names } => {
                format!("features name more than one chip: {}", names.join(", "))
            }
            Error::NoVariable { name } => {
                format!("cargo has not set {name}: run this from a build script")
            }
            Error::OutsideProject { path } => {
                format!("target-file {} leaves the project", path.display())
            }
            Error::LinkallFirst => {
                "GNU ld needs the layout before linkall.x, but rustflags put linkall.x first".into()
            }
            Error::DataInNoLoad { path, line, name, arena } => format!(
                "{}:{line}: {name} is initialised data in arena {arena}, which is no-load",
                path.display()
            ),
            Error::Io { verb, path, source } => {
                format!("cannot {verb} {}: {source}", path.display())
            }
            Error::OddPath { path } => format!("path {path:?} is not UTF-8 or has a line break"),
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

    /// Returns a hint about how to fix the problem, if there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Layout(error) => error.hint(),
            Error::Chip(error) => error.hint(),
            Error::NoLayout { .. } => Some("add a [layout.heap] or an [[layout.arena]]".into()),
            Error::NoChip => Some(
                "set target in [project] of esplice.toml, enable a feature named after the chip, \
                 or call Layout::chip"
                    .into(),
            ),
            Error::ManyChips { .. } => Some("enable one of them, or call Layout::chip".into()),
            Error::Start { .. } => {
                Some("install esplice, or set the variable ESPLICE to its path".into())
            }
            Error::LinkallFirst => Some(
                "build with `esplice build`; or remove -Tlinkall.x from the rustflags and pass it \
                 in build.rs \
                 after emit(): println!(\"cargo::rustc-link-arg=-Tlinkall.x\")"
                    .into(),
            ),
            Error::OutsideProject { .. } => {
                Some("move it into the project, or set ESPLICE_PROJECT_TARGET_FILE".into())
            }
            Error::NoVariable { .. } | Error::Io { .. } | Error::OddPath { .. } => None,
            Error::Firmware { output, .. } => firmware::advice(output),
            Error::DataInNoLoad { .. } => Some(
                "nothing writes its initial value: make it MaybeUninit and write it in the \
                 program, or give \
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
