//! The parts of cargo's configuration that set the target and the linker. The files are read here
//! because querying cargo costs a process for each build.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use cargo_metadata::cargo_platform::{Cfg, Platform};

use crate::Probe;

/// Settings from cargo's configuration files, the nearest directory's first.
#[derive(Debug, Default)]
pub(crate) struct Config {
    /// The `target` tables.
    targets: Vec<toml::Table>,
    /// The targets set by `[build] target` or a variable.
    pub build_target: Option<BuildTarget>,
    /// True if `[unstable] build-std` is set.
    pub build_std: bool,
}

/// The targets that the project sets for cargo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BuildTarget {
    /// Triples, or paths of target files.
    pub names: Vec<String>,
    /// The file or variable that names them.
    pub place: String,
}

impl Config {
    /// Reads the files that cargo reads for a project: `.cargo/config.toml` in its directory and in
    /// each directory above, and the one in cargo's home (The Cargo Book, Configuration,
    /// Hierarchical structure). Returns `None` if only cargo can interpret them: a file is not
    /// TOML, or includes another.
    pub(crate) fn read(probe: &dyn Probe) -> Option<Config> {
        let mut directories: Vec<PathBuf> =
            probe.directory().ancestors().map(|directory| directory.join(".cargo")).collect();
        if let Some(home) = probe.cargo_home()
            && !directories.contains(&home)
        {
            directories.push(home);
        }
        let mut config = Config::default();
        for directory in directories {
            // If both exist, cargo reads the one without an extension.
            let files = [directory.join("config"), directory.join("config.toml")];
            let read = files.into_iter().find_map(|file| Some((probe.text(&file)?, file)));
            let Some((text, file)) = read else { continue };
            let mut table = text.parse::<toml::Table>().ok()?;
            if table.contains_key("include") {
                return None;
            }
            if let Some(toml::Value::Table(target)) = table.remove("target") {
                config.targets.push(target);
            }
            config.build_std |= table.get("unstable").is_some_and(|t| t.get("build-std").is_some());
            if config.build_target.is_none() {
                // The path of a target file is relative to the parent of `.cargo`.
                let root = directory.parent().unwrap_or(Path::new(""));
                let names = table.get("build").and_then(|build| build.get("target"));
                let names = names.map(|names| target_names(names, root)).unwrap_or_default();
                let place = file.display().to_string();
                config.build_target = (!names.is_empty()).then_some(BuildTarget { names, place });
            }
        }
        config.read_variable(probe);
        Some(config)
    }

    /// Queries cargo, which can interpret any configuration, at the cost of two processes.
    pub(crate) fn ask(cargo: &Path, probe: &dyn Probe) -> Config {
        let get = |key: &str| {
            let question = ["-Zunstable-options", "config", "get", "--format", "json-value", key];
            let answer = probe.output(cargo, &question)?;
            serde_json::from_str::<serde_json::Value>(&answer).ok()
        };
        let mut config = Config::default();
        // JSON without null maps to TOML.
        let table = get("target").and_then(|tables| toml::Table::try_from(tables).ok());
        config.targets.extend(table);
        let build = get("build.target").and_then(|names| toml::Value::try_from(names).ok());
        let names = build.map(|names| target_names(&names, &probe.directory()));
        config.build_target = names
            .filter(|names| !names.is_empty())
            .map(|names| BuildTarget { names, place: "cargo's configuration".into() });
        config.build_std = get("unstable.build-std").is_some();
        config.read_variable(probe);
        config
    }

    /// Reads the variable, which overrides the files.
    fn read_variable(&mut self, probe: &dyn Probe) {
        const VARIABLE: &str = "CARGO_BUILD_TARGET";
        if let Some(name) = probe.variable(VARIABLE).and_then(|name| name.into_string().ok()) {
            let value = toml::Value::String(name);
            let names = target_names(&value, &probe.directory());
            self.build_target = Some(BuildTarget { names, place: VARIABLE.into() });
        }
    }

    /// Returns the linker of `target`. `cfgs` returns the values that `cfg(…)` sees there, and is
    /// called only if a file has such a key.
    pub(crate) fn linker(&self, target: &str, cfgs: impl FnOnce() -> Vec<Cfg>) -> Option<String> {
        let linkers: Vec<(&str, &str)> = self
            .targets
            .iter()
            .flatten()
            .filter_map(|(key, table)| Some((key.as_str(), table.get("linker")?.as_str()?)))
            .collect();
        linker_among(&linkers, target, cfgs)
    }
}

/// Returns the targets in a string or an array. Paths of target files are relative to `root`.
fn target_names(value: &toml::Value, root: &Path) -> Vec<String> {
    let name = |name: &str| match name.ends_with(".json") {
        true => root.join(name).to_string_lossy().into_owned(),
        false => name.to_owned(),
    };
    match value {
        toml::Value::String(one) => vec![name(one)],
        toml::Value::Array(several) => {
            several.iter().filter_map(|value| value.as_str().map(name)).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns the linker of `target` from linkers listed by platform. The target's own name takes
/// precedence over `cfg(…)`, and the first match over later ones.
fn linker_among(
    linkers: &[(&str, &str)],
    target: &str,
    cfgs: impl FnOnce() -> Vec<Cfg>,
) -> Option<String> {
    let platforms: Vec<(Platform, &str)> = linkers
        .iter()
        .filter_map(|(key, linker)| Some((Platform::from_str(key).ok()?, *linker)))
        .collect();
    let by_name = platforms.iter().find(|(platform, _)| match platform {
        Platform::Name(name) => name == target,
        Platform::Cfg(_) => false,
    });
    let found = by_name.or_else(|| {
        let conditional = || platforms.iter().filter(|(p, _)| matches!(p, Platform::Cfg(_)));
        conditional().next()?;
        let cfgs = cfgs();
        conditional().find(|(platform, _)| platform.matches(target, &cfgs))
    });
    found.map(|(_, linker)| (*linker).to_owned())
}
