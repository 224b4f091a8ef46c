//! Which of a machine's Rust toolchains makes code for a chip.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    str::FromStr,
};

use cargo_metadata::cargo_platform::Cfg;
use esplice_chip::Chip;

use crate::{
    Probe, ToolchainError,
    config::{Config, linker_among},
    probe::program_name,
};

/// A Rust toolchain and what cargo is to be told to use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RustToolchain {
    /// How it was found.
    pub origin: Origin,
    /// Its cargo.
    pub cargo: PathBuf,
    /// Its compiler.
    pub rustc: PathBuf,
    /// Cargo's target triple.
    pub target: String,
    /// Library crates to build along; empty where the target is installed.
    pub build_std: Vec<String>,
    /// The linker to name; none where the toolchain or the user's own configuration names one.
    pub linker: Option<PathBuf>,
    /// The linker that the user's own environment or configuration names.
    pub user_linker: Option<String>,
}

/// The ways a toolchain is found, in the order they are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The first cargo on the path has the target installed, as after `rustup target add`.
    Installed,
    /// The first cargo on the path has the library's sources, as after
    /// `rustup component add rust-src`.
    Sources,
    /// Debian's rustc-web with rust-web-src, which stands behind another on the path.
    Debian,
}

/// Where Debian's packages put their programs.
const DEBIAN: [&str; 2] = ["/usr/bin/cargo", "/usr/bin/rustc"];

/// Chooses the toolchain for `chip`: the installed target of the active toolchain, else its
/// library sources, else Debian's packages.
///
/// # Errors
/// [`ToolchainError::RustMissing`] where there is none, [`ToolchainError::LinkerMissing`] where
/// one is found and nothing links what it makes.
pub fn find_rust(chip: &Chip, probe: &dyn Probe) -> Result<RustToolchain, ToolchainError> {
    let target = &chip.toolchain.rust_target;
    let active = Installation::active(probe);
    // Upstream's compilers know the names of targets that their LLVM makes no code for.
    let processors = &chip.toolchain.rust_processors;
    let makes_code =
        |i: &Installation| processors.is_empty() || i.has_processor(target, processors, probe);
    let serves = |i: &Installation| i.has_sources(probe) && makes_code(i);

    let (origin, found) = if let Some(found) =
        active.clone().filter(|i| i.has_target(target, probe) && makes_code(i))
    {
        (Origin::Installed, found)
    } else if let Some(found) = active.filter(serves) {
        (Origin::Sources, found)
    } else if let Some(found) = Installation::debian(probe).filter(serves) {
        (Origin::Debian, found)
    } else {
        return Err(ToolchainError::RustMissing {
            target: target.clone(),
            install: chip.toolchain.rust_install.clone(),
            rustup: program(probe, "rustup").is_some(),
            apt: program(probe, "apt-get").is_some(),
        });
    };

    let user_linker = user_linker(&found, target, probe);
    let linker = if found.has_linker(probe) || user_linker.is_some() {
        None
    } else {
        Some(newest_lld(probe).ok_or_else(|| ToolchainError::LinkerMissing {
            target: target.clone(),
            sysroot: found.sysroot.clone(),
            apt: program(probe, "apt-get").is_some(),
        })?)
    };
    let build_std = match origin {
        Origin::Installed => Vec::new(),
        Origin::Sources | Origin::Debian => chip.toolchain.rust_build_std.clone(),
    };
    Ok(RustToolchain {
        origin,
        cargo: found.cargo,
        rustc: found.rustc,
        target: target.clone(),
        build_std,
        linker,
        user_linker,
    })
}

impl RustToolchain {
    /// Arguments for `cargo build`. They add to the project's own configuration: its
    /// `rustflags` are left alone, as cargo would join another list to them.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec!["--target".into(), self.target.clone().into()];
        if !self.build_std.is_empty() {
            arguments.push(format!("-Zbuild-std={}", self.build_std.join(",")).into());
        }
        if let Some(linker) = &self.linker {
            let path = toml_string(&linker.to_string_lossy());
            arguments.push("--config".into());
            arguments.push(format!("target.{}.linker={path}", self.target).into());
        }
        arguments
    }

    /// Variables for cargo's environment.
    pub fn variables(&self) -> Vec<(&'static str, OsString)> {
        let mut variables = Vec::new();
        if self.origin == Origin::Debian {
            // Its cargo would take the first rustc on the path.
            variables.push(("RUSTC", self.rustc.clone().into()));
        }
        if !self.build_std.is_empty() {
            // build-std is unstable; this opens it in a stable cargo.
            variables.push(("RUSTC_BOOTSTRAP", "1".into()));
        }
        variables
    }
}

/// A cargo with its compiler, as installed.
#[derive(Debug, Clone)]
struct Installation {
    cargo: PathBuf,
    rustc: PathBuf,
    sysroot: PathBuf,
}

impl Installation {
    /// What `cargo build` would use in a shell.
    fn active(probe: &dyn Probe) -> Option<Self> {
        let cargo = program(probe, "cargo")?;
        let rustc = match probe.variable("RUSTC") {
            Some(rustc) => rustc.into(),
            None => program(probe, "rustc")?,
        };
        Self::ask(cargo, rustc, probe)
    }

    fn debian(probe: &dyn Probe) -> Option<Self> {
        let [cargo, rustc] = DEBIAN.map(PathBuf::from);
        let both = probe.exists(&cargo) && probe.exists(&rustc);
        both.then(|| Self::ask(cargo, rustc, probe)).flatten()
    }

    fn ask(cargo: PathBuf, rustc: PathBuf, probe: &dyn Probe) -> Option<Self> {
        let sysroot = match installed_sysroot(&rustc, probe) {
            Some(sysroot) => sysroot,
            None => PathBuf::from(probe.output(&rustc, &["--print", "sysroot"])?.trim()),
        };
        Some(Installation { cargo, rustc, sysroot })
    }

    fn rustlib(&self) -> PathBuf {
        self.sysroot.join("lib").join("rustlib")
    }

    fn has_target(&self, target: &str, probe: &dyn Probe) -> bool {
        probe.exists(&self.rustlib().join(target).join("lib"))
    }

    /// Whether the compiler makes code for one of `processors`.
    fn has_processor(&self, target: &str, processors: &[String], probe: &dyn Probe) -> bool {
        let listed = probe.output(&self.rustc, &["--print", "target-cpus", "--target", target]);
        let listed = listed.unwrap_or_default();
        let mut names = listed.lines().filter_map(|line| line.split_whitespace().next());
        names.any(|name| processors.iter().any(|processor| processor == name))
    }

    fn has_sources(&self, probe: &dyn Probe) -> bool {
        probe.exists(&self.rustlib().join("src/rust/library/Cargo.toml"))
    }

    /// Whether rustc has its own lld beside it, which bare-metal targets use unasked. It stands in the
    /// host's directory, the only one with programs.
    fn has_linker(&self, probe: &dyn Probe) -> bool {
        let name = format!("rust-lld{}", std::env::consts::EXE_SUFFIX);
        let targets = probe.entries(&self.rustlib());
        targets.iter().any(|target| probe.exists(&target.join("bin").join(&name)))
    }
}

/// The sysroot of a compiler that lies in one, which need not be asked for it: a process less with each
/// build. None for rustup's stand-in, whose toolchain depends on where it is started.
fn installed_sysroot(rustc: &Path, probe: &dyn Probe) -> Option<PathBuf> {
    let rustc = probe.resolved(rustc)?;
    let bin = rustc.parent().filter(|_| program_name(&rustc) == Some("rustc"))?;
    let rustup = bin.join(format!("rustup{}", std::env::consts::EXE_SUFFIX));
    let sysroot = bin.parent().filter(|_| bin.file_name().is_some_and(|name| name == "bin"))?;
    let is_one = probe.exists(&sysroot.join("lib").join("rustlib")) && !probe.exists(&rustup);
    is_one.then(|| sysroot.to_owned())
}

/// The first program of exactly this name on the path.
pub(crate) fn program(probe: &dyn Probe, name: &str) -> Option<PathBuf> {
    probe.on_path(name).into_iter().find(|path| program_name(path) == Some(name))
}

/// The newest of `ld.lld` and `ld.lld-NN`; of the same, the first on the path.
fn newest_lld(probe: &dyn Probe) -> Option<PathBuf> {
    let mut newest: Option<(u32, PathBuf)> = None;
    for path in probe.on_path("ld.lld") {
        let version = match program_name(&path).and_then(|name| name.strip_prefix("ld.lld")) {
            Some("") => probe.output(&path, &["--version"]).and_then(|text| lld_version(&text)),
            Some(suffix) => suffix.strip_prefix('-').and_then(|number| number.parse().ok()),
            None => None,
        };
        let Some(version) = version else { continue };
        if newest.as_ref().is_none_or(|(best, _)| version > *best) {
            newest = Some((version, path));
        }
    }
    newest.map(|(_, path)| path)
}

/// The major version in `Debian LLD 19.1.7 (compatible with GNU linkers)`.
fn lld_version(text: &str) -> Option<u32> {
    let (_, after) = text.split_once("LLD ")?;
    after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The linker that the user's environment or cargo's configuration names for the target. It would
/// be wrong to override it, and a linker that is not on the path may be a good one.
fn user_linker(found: &Installation, target: &str, probe: &dyn Probe) -> Option<String> {
    let variable = format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_"));
    if let Some(linker) = probe.variable(&variable) {
        return Some(linker.to_string_lossy().into_owned());
    }
    let cfgs = || target_cfgs(&found.rustc, target, probe);
    if let Some(config) = Config::read(probe) {
        return config.linker(target, cfgs);
    }
    let question = ["-Zunstable-options", "config", "get", "--format", "json-value", "target"];
    let answer = probe.output(&found.cargo, &question)?;
    let tables = serde_json::from_str::<serde_json::Map<_, _>>(&answer).ok()?;
    let linkers: Vec<(&str, &str)> = tables
        .iter()
        .filter_map(|(key, table)| Some((key.as_str(), table.get("linker")?.as_str()?)))
        .collect();
    linker_among(&linkers, target, cfgs)
}

/// What `cfg(…)` sees on the target.
fn target_cfgs(rustc: &Path, target: &str, probe: &dyn Probe) -> Vec<Cfg> {
    let answer = probe.output(rustc, &["--print", "cfg", "--target", target]).unwrap_or_default();
    answer.lines().filter_map(|line| Cfg::from_str(line).ok()).collect()
}

/// `text` as a TOML string: JSON's escapes are also TOML's.
fn toml_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
