//! The choice of a flasher stub.

use std::{fmt, path::PathBuf};

use crate::cli::value::Form;

/// What the user wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StubChoice {
    /// That of an installed esptool, if there is one.
    Auto,
    /// The ROM loader does all.
    None,
    /// This file.
    File(PathBuf),
}

impl StubChoice {
    /// How it is written.
    pub const FORM: Form<StubChoice> =
        Form { parse: StubChoice::parse, show: StubChoice::to_string };

    /// As it stands behind `--stub`.
    pub fn parse(text: &str) -> Result<StubChoice, String> {
        match text {
            "" => Err("write a stub file, none or auto".into()),
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
