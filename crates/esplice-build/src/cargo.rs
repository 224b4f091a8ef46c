//! Communication between cargo and build scripts.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::Error;

/// The build as cargo describes it in environment variables.
pub(crate) struct Build {
    pub out_dir: PathBuf,
    pub manifest_dir: PathBuf,
    /// True if the target is bare metal, not the host or another system.
    pub device: bool,
    /// The linker named by cargo's configuration, if any.
    pub linker: Option<String>,
    /// The compiler flags from cargo's configuration, joined by 0x1f (The Cargo Book, Environment
    /// Variables: CARGO_ENCODED_RUSTFLAGS).
    flags: String,
    /// The enabled features, in lower case, from variables of the form CARGO_FEATURE_NAME.
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

    /// Returns whether a flag from cargo's configuration passes the script `name` to the linker.
    pub fn flags_name(&self, name: &str) -> bool {
        let names = |flag: &str| flag.rsplit("-T").next().is_some_and(|last| last == name);
        self.flags.split('\x1f').any(|flag| flag.contains("-T") && names(flag))
    }
}

fn variable(name: &'static str) -> Result<PathBuf, Error> {
    env::var_os(name).map(PathBuf::from).ok_or(Error::NoVariable { name })
}

/// Prints an instruction to cargo. Build scripts have no other way to talk to it.
#[allow(clippy::print_stdout, reason = "cargo reads a build script's standard output")]
pub(crate) fn emit_instruction(key: &str, value: &str) {
    println!("cargo::{key}={value}");
}

/// Returns a path as text for an instruction to cargo.
pub(crate) fn text(path: &Path) -> Result<&str, Error> {
    path.to_str()
        .filter(|text| !text.contains(['\n', '\r']))
        .ok_or_else(|| Error::OddPath { path: path.to_owned() })
}

/// Writes a file only if its content differs, since cargo and others watch it.
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
