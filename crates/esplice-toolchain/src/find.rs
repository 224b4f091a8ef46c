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
    config::Config,
    error::Missing,
    pin::{Pin, is_rustups},
    probe::program_name,
    triple::{self, Target},
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
    /// Cargo's target: a triple, or the path of a target file.
    pub target: String,
    /// Whether programs for it have the standard library, on ESP-IDF.
    pub is_std: bool,
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

/// Chooses the toolchain for `chip`: the installed target of the active toolchain, else its library
/// sources, else Debian's packages. The target is the one that the project's cargo configuration asks
/// for, if its code runs on the chip; a toolchain that the project pins is not replaced by another.
///
/// # Errors
/// [`ToolchainError::RustMissing`] where there is none, [`ToolchainError::LinkerMissing`] where one is
/// found and nothing links what it makes, [`ToolchainError::PinnedMissing`],
/// [`ToolchainError::OtherTarget`], and [`ToolchainError::StdMissing`] for a project with the standard
/// library.
pub fn find_rust(chip: &Chip, probe: &dyn Probe) -> Result<RustToolchain, ToolchainError> {
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
    let target = triple::choose(chip, config.build_target.as_ref())?;
    if target.is_std {
        return std_toolchain(chip, target, active, &config, probe);
    }
    // Upstream's compilers know the names of targets that their LLVM makes no code for.
    let processors = &chip.toolchain.rust_processors;
    let name = target.name;
    let makes_code =
        |i: &Installation| processors.is_empty() || i.has_processor(&name, processors, probe);
    let serves = |i: &Installation| i.has_sources(probe) && makes_code(i);
    // What the project pins is all it is to be built with.
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
        // The project has a list for the target it asks for.
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

/// The toolchain of a project with the standard library, which ESP-IDF's build system and its linker
/// proxy serve. Nothing of it is replaced: what is missing is named.
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
        if self.origin != Origin::Installed {
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
    let sysroot = bin.parent().filter(|_| bin.file_name().is_some_and(|name| name == "bin"))?;
    let is_one = probe.exists(&sysroot.join("lib").join("rustlib")) && !is_rustups(&rustc, probe);
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

/// What `cfg(…)` sees on the target.
fn target_cfgs(rustc: &Path, target: &str, probe: &dyn Probe) -> Vec<Cfg> {
    let answer = probe.output(rustc, &["--print", "cfg", "--target", target]).unwrap_or_default();
    answer.lines().filter_map(|line| Cfg::from_str(line).ok()).collect()
}

/// `text` as a TOML string: JSON's escapes are also TOML's.
fn toml_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
