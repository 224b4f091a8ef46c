//! What cargo tells build scripts, and what they tell it.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::Error;

/// What cargo says of the build.
pub(crate) struct Build {
    pub out_dir: PathBuf,
    pub manifest_dir: PathBuf,
    /// The target is a board's, and not the host or another system.
    pub device: bool,
    /// The linker that cargo's configuration names, if any.
    pub linker: Option<String>,
    /// The compiler's flags by cargo's configuration, joined by 0x1f (The Cargo Book, Environment Variables:
    /// CARGO_ENCODED_RUSTFLAGS).
    flags: String,
    /// Variables of the form CARGO_FEATURE_NAME, the names alone in lower case.
    pub features: Vec<String>,
}

impl Build {
    pub fn read() -> Result<Build, Error> {
        let features = env::vars_os().filter_map(|(name, _)| {
            let name = name.into_string().ok()?;
            Some(name.strip_prefix("CARGO_FEATURE_")?.to_ascii_lowercase())
        });
        Ok(Build {
            out_dir: variable("OUT_DIR")?,
            manifest_dir: variable("CARGO_MANIFEST_DIR")?,
            device: env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none"),
            linker: env::var("RUSTC_LINKER").ok(),
            flags: env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default(),
            features: features.collect(),
        })
    }

    /// Whether a flag of cargo's configuration gives the linker the script `name`.
    pub fn flags_name(&self, name: &str) -> bool {
        let names = |flag: &str| flag.rsplit("-T").next().is_some_and(|last| last == name);
        self.flags.split('\x1f').any(|flag| flag.contains("-T") && names(flag))
    }
}

fn variable(name: &'static str) -> Result<PathBuf, Error> {
    env::var_os(name).map(PathBuf::from).ok_or(Error::NoVariable { name })
}

/// A line to cargo. Build scripts have no other way to speak to it.
#[allow(clippy::print_stdout, reason = "cargo reads a build script's standard output")]
pub(crate) fn tell(key: &str, value: &str) {
    println!("cargo::{key}={value}");
}

/// A path as text for a line to cargo.
pub(crate) fn text(path: &Path) -> Result<&str, Error> {
    path.to_str()
        .filter(|text| !text.contains(['\n', '\r']))
        .ok_or_else(|| Error::OddPath { path: path.to_owned() })
}

/// Writes a file that cargo and others watch, only where its content differs.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    fs::write(path, bytes).map_err(|source| Error::Io {
        verb: "write",
        path: path.to_owned(),
        source,
    })
}
