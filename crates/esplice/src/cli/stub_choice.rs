//! The choice of a flasher stub.

use std::{fmt, path::PathBuf};

use crate::cli::value::Form;

/// The flasher stub that the user selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StubChoice {
    /// Esplice's own stub for the chip, or else that of an installed esptool.
    Auto,
    /// No stub: the ROM loader does everything.
    None,
    /// The stub in this file.
    File(PathBuf),
}

impl StubChoice {
    /// Notation of the choice.
    pub const FORM: Form<StubChoice> =
        Form { parse: StubChoice::parse, show: StubChoice::to_string };

    /// Parses the value of `--stub`.
    pub fn parse(text: &str) -> Result<StubChoice, String> {
        match text {
            "" => Err("expected a stub file, none or auto".into()),
            "auto" => Ok(StubChoice::Auto),
            "none" => Ok(StubChoice::None),
            file => Ok(StubChoice::File(file.into())),
        }
    }
}

impl fmt::Display for StubChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StubChoice::Auto => f.write_str("auto"),
            StubChoice::None => f.write_str("none"),
            StubChoice::File(path) => write!(f, "{}", path.display()),
        }
    }
}
