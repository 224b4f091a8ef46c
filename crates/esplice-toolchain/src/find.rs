//! Search for a Rust toolchain that compiles for a chip.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    str::FromStr,
};

use cargo_metadata::cargo_platform::Cfg;
use esplice_chip::{Chip, ChipDb};

use crate::{
    Probe, ToolchainError,
    config::Config,
    error::Missing,
    pin::{Pin, is_rustups},
    probe::program_name,
    triple::{self, Target},
};

/// A Rust toolchain and the settings for cargo to use it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RustToolchain {
    /// How it was found.
    pub origin: Origin,
    /// The toolchain's cargo.
    pub cargo: PathBuf,
    /// The toolchain's compiler.
    pub rustc: PathBuf,
    /// Cargo's target: a triple, or the path of a target file.
    pub target: String,
    /// True if programs for the target use the standard library, on ESP-IDF.
    pub is_std: bool,
    /// Library crates to build as well. Empty if the target is installed.
    pub build_std: Vec<String>,
    /// The linker to pass to cargo. `None` if the toolchain or the user's configuration names one.
    pub linker: Option<PathBuf>,
    /// The linker set by the user's environment or configuration.
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
    /// Debian's rustc-web with rust-web-src, with another toolchain first on the path.
    Debian,
}

/// The programs installed by Debian's packages.
const DEBIAN: [&str; 2] = ["/usr/bin/cargo", "/usr/bin/rustc"];

/// Chooses the toolchain for `chip`, one of `chips`: the installed target of the active toolchain, else its library
/// sources, else Debian's packages. The target set by the project's cargo configuration is used if
/// its code runs on the chip. A toolchain pinned by the project is never replaced by another.
///
/// # Errors
/// Returns [`ToolchainError::RustMissing`] if there is no toolchain,
/// [`ToolchainError::LinkerMissing`] if there is one but no linker,
/// [`ToolchainError::PinnedMissing`], [`ToolchainError::OtherTarget`], and
/// [`ToolchainError::StdMissing`] for a project with the standard library.
pub fn find_rust(
    chip: &Chip,
    chips: &ChipDb,
    probe: &dyn Probe,
) -> Result<RustToolchain, ToolchainError> {
    let cargo = program(probe, "cargo");
    let pin = cargo.as_deref().and_then(|cargo| Pin::of(cargo, probe));
    let active = Installation::active(probe);
    if let (None, Some(pin), Some(cargo)) = (&active, &pin, &cargo) {
        return Err(pin.missing(cargo, chip, probe));
    }
    let config = Config::read(probe).unwrap_or_else(|| {
        let debian = || probe.exists(Path::new(DEBIAN[0])).then(|| DEBIAN[0].into());
        cargo.clone().or_else(debian).map(|cargo| Config::ask(&cargo, probe)).unwrap_or_default()
    });
    let target = triple::choose(chip, chips, config.build_target.as_ref())?;
    if target.is_std {
        return std_toolchain(chip, target, active, &config, probe);
    }
    // Upstream compilers list targets for which their LLVM cannot generate code.
    let processors = &chip.toolchain.rust_processors;
    let name = target.name;
    let makes_code =
        |i: &Installation| processors.is_empty() || i.has_processor(&name, processors, probe);
    let serves = |i: &Installation| i.has_sources(probe) && makes_code(i);
    // A pinned toolchain is the only one the project may be built with.
    let debian = || if pin.is_none() { Installation::debian(probe) } else { None };

    let (origin, found) = if let Some(found) =
        active.clone().filter(|i| i.has_target(&name, probe) && makes_code(i))
    {
        (Origin::Installed, found)
    } else if let Some(found) = active.filter(serves) {
        (Origin::Sources, found)
    } else if let Some(found) = debian().filter(serves) {
        (Origin::Debian, found)
    } else {
        return Err(ToolchainError::RustMissing {
            target: name,
            install: chip.toolchain.rust_install.clone(),
            pinned: pin.map(|pin| pin.channel),
            rustup: program(probe, "rustup").is_some(),
            apt: program(probe, "apt-get").is_some(),
        });
    };

    let user_linker = user_linker(&found, &name, &config, probe);
    let linker = if found.has_linker(probe) || user_linker.is_some() {
        None
    } else {
        Some(newest_lld(probe).ok_or_else(|| ToolchainError::LinkerMissing {
            target: name.clone(),
            sysroot: found.sysroot.clone(),
            apt: program(probe, "apt-get").is_some(),
        })?)
    };
    let build_std = match origin {
        Origin::Installed => Vec::new(),
        // The project lists the crates for its own target.
        Origin::Sources if config.build_std && target.place.is_some() => Vec::new(),
        Origin::Sources | Origin::Debian => chip.toolchain.rust_build_std.clone(),
    };
    Ok(RustToolchain {
        origin,
        cargo: found.cargo,
        rustc: found.rustc,
        target: name,
        is_std: false,
        build_std,
        linker,
        user_linker,
    })
}

/// Returns the toolchain of a project with the standard library, which needs ESP-IDF's build system
/// and its linker proxy. Nothing is substituted: missing parts are reported.
fn std_toolchain(
    chip: &Chip,
    target: Target,
    active: Option<Installation>,
    config: &Config,
    probe: &dyn Probe,
) -> Result<RustToolchain, ToolchainError> {
    let name = target.name;
    let processors = &chip.toolchain.rust_processors;
    let serves = |i: &Installation| {
        (i.has_target(&name, probe) || i.has_sources(probe))
            && (processors.is_empty() || i.has_processor(&name, processors, probe))
    };
    let found = active.filter(serves);
    let linker = match &found {
        Some(found) => user_linker(found, &name, config, probe),
        None => config.linker(&name, Vec::new),
    };
    let bin = program(probe, "cargo").and_then(|cargo| cargo.parent().map(Path::to_owned));
    let is_there = |linker: &str| {
        let beside_cargo = |bin: &PathBuf| {
            probe.exists(&bin.join(format!("{linker}{}", std::env::consts::EXE_SUFFIX)))
        };
        linker.contains(['/', '\\'])
            || program(probe, linker).is_some()
            || bin.as_ref().is_some_and(beside_cargo)
    };
    let mut missing = Vec::new();
    if found.is_none() {
        let install = chip.toolchain.rust_install.clone();
        let install = install
            .unwrap_or_else(|| "rustup toolchain install nightly --component rust-src".into());
        missing.push(Missing { what: "Rust with the sources of its library".into(), install });
    }
    let absent =
        |what: String, linker: &str| Missing { what, install: format!("cargo install {linker}") };
    match &linker {
        Some(linker) if is_there(linker) => {}
        Some(linker) => missing.push(absent(linker.clone(), linker)),
        None => {
            missing.push(absent(format!("a linker for {name} in .cargo/config.toml"), "ldproxy"))
        }
    }
    let found = match found {
        Some(found) if missing.is_empty() => found,
        _ => {
            let place = target.place.unwrap_or_default();
            return Err(ToolchainError::StdMissing { target: name, place, missing });
        }
    };
    let is_installed = found.has_target(&name, probe);
    let build_std = match is_installed || config.build_std {
        true => Vec::new(),
        false => ["std", "panic_abort"].map(str::to_owned).to_vec(),
    };
    Ok(RustToolchain {
        origin: if is_installed { Origin::Installed } else { Origin::Sources },
        cargo: found.cargo,
        rustc: found.rustc,
        target: name,
        is_std: true,
        build_std,
        linker: None,
        user_linker: linker,
    })
}

impl RustToolchain {
    /// Returns arguments for `cargo build`. They add to the project's own configuration. Its
    /// `rustflags` are left unchanged, as cargo would append another list to them.
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

    /// Returns variables for cargo's environment.
    pub fn variables(&self) -> Vec<(&'static str, OsString)> {
        let mut variables = Vec::new();
        if self.origin == Origin::Debian {
            // Debian's cargo would otherwise use the first rustc on the path.
            variables.push(("RUSTC", self.rustc.clone().into()));
        }
        if self.origin != Origin::Installed {
            // build-std is unstable; this enables it in a stable cargo.
            variables.push(("RUSTC_BOOTSTRAP", "1".into()));
        }
        variables
    }
}

/// An installed cargo with its compiler.
#[derive(Debug, Clone)]
struct Installation {
    cargo: PathBuf,
    rustc: PathBuf,
    sysroot: PathBuf,
}

impl Installation {
    /// Returns the cargo and rustc that a shell would run.
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

    /// Returns whether the compiler can generate code for one of `processors`.
    fn has_processor(&self, target: &str, processors: &[String], probe: &dyn Probe) -> bool {
        let listed = probe.output(&self.rustc, &["--print", "target-cpus", "--target", target]);
        let listed = listed.unwrap_or_default();
        let mut names = listed.lines().filter_map(|line| line.split_whitespace().next());
        names.any(|name| processors.iter().any(|processor| processor == name))
    }

    fn has_sources(&self, probe: &dyn Probe) -> bool {
        probe.exists(&self.rustlib().join("src/rust/library/Cargo.toml"))
    }

    /// Returns whether rustc ships its own lld, which bare-metal targets use by default. lld is in
    /// the host's directory, the only one with programs.
    fn has_linker(&self, probe: &dyn Probe) -> bool {
        let name = format!("rust-lld{}", std::env::consts::EXE_SUFFIX);
        let targets = probe.entries(&self.rustlib());
        targets.iter().any(|target| probe.exists(&target.join("bin").join(&name)))
    }
}

/// Returns the sysroot of a compiler installed in one, which saves a process for each build.
/// Returns `None` for rustup's proxy, whose toolchain depends on the directory it is started in.
fn installed_sysroot(rustc: &Path, probe: &dyn Probe) -> Option<PathBuf> {
    let rustc = probe.resolved(rustc)?;
    let bin = rustc.parent().filter(|_| program_name(&rustc) == Some("rustc"))?;
    let sysroot = bin.parent().filter(|_| bin.file_name().is_some_and(|name| name == "bin"))?;
    let is_one = probe.exists(&sysroot.join("lib").join("rustlib")) && !is_rustups(&rustc, probe);
    is_one.then(|| sysroot.to_owned())
}

/// Returns the first program of exactly this name on the path.
pub(crate) fn program(probe: &dyn Probe, name: &str) -> Option<PathBuf> {
    probe.on_path(name).into_iter().find(|path| program_name(path) == Some(name))
}

/// Returns the newest of `ld.lld` and `ld.lld-NN`. If versions are equal, the first on the path.
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

/// Returns the major version in `Debian LLD 19.1.7 (compatible with GNU linkers)`.
fn lld_version(text: &str) -> Option<u32> {
    let (_, after) = text.split_once("LLD ")?;
    after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Returns the linker set for the target by the user's environment or cargo's configuration.
/// Overriding it would be wrong, and a linker that is not on the path may still work.
fn user_linker(
    found: &Installation,
    target: &str,
    config: &Config,
    probe: &dyn Probe,
) -> Option<String> {
    let variable = format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_"));
    if let Some(linker) = probe.variable(&variable) {
        return Some(linker.to_string_lossy().into_owned());
    }
    config.linker(target, || target_cfgs(&found.rustc, target, probe))
}

/// Returns the values that `cfg(…)` sees on the target.
fn target_cfgs(rustc: &Path, target: &str, probe: &dyn Probe) -> Vec<Cfg> {
    let answer = probe.output(rustc, &["--print", "cfg", "--target", target]).unwrap_or_default();
    answer.lines().filter_map(|line| Cfg::from_str(line).ok()).collect()
}

/// Returns `text` as a TOML string. JSON's escapes are also valid in TOML.
fn toml_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
