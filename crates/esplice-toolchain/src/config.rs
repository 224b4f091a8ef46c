//! Cargo's own configuration, as far as it says what to build for and what links it. Its files are read
//! here: asking cargo costs a process with each build.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use cargo_metadata::cargo_platform::{Cfg, Platform};

use crate::Probe;

/// What the configuration says, with the nearest directory's file first.
#[derive(Debug, Default)]
pub(crate) struct Config {
    /// Tables `target`.
    targets: Vec<toml::Table>,
    /// The targets that `[build] target` or a variable names.
    pub build_target: Option<BuildTarget>,
    /// Whether `[unstable] build-std` is set.
    pub build_std: bool,
}

/// The targets that the project asks cargo for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BuildTarget {
    /// Triples, or paths of target files.
    pub names: Vec<String>,
    /// The file or the variable that names them.
    pub place: String,
}

impl Config {
    /// Reads the files that cargo reads for a project: `.cargo/config.toml` in its directory and each
    /// above it, and that in cargo's home (The Cargo Book, Configuration, Hierarchical structure). None
    /// where only cargo can tell what they mean: one is no TOML, or includes another.
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
            // Of both, cargo takes the name without an extension.
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
                // A target file's path begins at the directory that `.cargo` lies in.
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

    /// Asks cargo, whose answer holds for any configuration, at the cost of two processes.
    pub(crate) fn ask(cargo: &Path, probe: &dyn Probe) -> Config {
        let get = |key: &str| {
            let question = ["-Zunstable-options", "config", "get", "--format", "json-value", key];
            let answer = probe.output(cargo, &question)?;
            serde_json::from_str::<serde_json::Value>(&answer).ok()
        };
        let mut config = Config::default();
        // JSON without null is TOML.
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

    /// The variable stands over the files.
    fn read_variable(&mut self, probe: &dyn Probe) {
        const VARIABLE: &str = "CARGO_BUILD_TARGET";
        if let Some(name) = probe.variable(VARIABLE).and_then(|name| name.into_string().ok()) {
            let value = toml::Value::String(name);
            let names = target_names(&value, &probe.directory());
            self.build_target = Some(BuildTarget { names, place: VARIABLE.into() });
        }
    }

    /// The linker of `target`; `cfgs` gives what `cfg(…)` sees there, and is asked only where a file
    /// has such a key.
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

/// The targets of a text or a list; the path of a target file is relative to `root`.
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

/// Of linkers with the platforms that they are for, that of `target`: its own name stands over `cfg(…)`,
/// the first of several over the others.
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
