//! Cargo's own configuration, as far as it names a target's linker. Its files are read here: to ask
//! cargo costs a process with each build.

use std::{path::PathBuf, str::FromStr};

use cargo_metadata::cargo_platform::{Cfg, Platform};

use crate::Probe;

/// Tables `target` of the configuration files: those of the nearest directory first.
pub(crate) struct Config {
    targets: Vec<toml::Table>,
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
        let mut targets = Vec::new();
        for directory in directories {
            // Of both, cargo takes the name without an extension.
            let text = probe
                .text(&directory.join("config"))
                .or_else(|| probe.text(&directory.join("config.toml")));
            let Some(text) = text else { continue };
            let mut table = text.parse::<toml::Table>().ok()?;
            if table.contains_key("include") {
                return None;
            }
            if let Some(toml::Value::Table(target)) = table.remove("target") {
                targets.push(target);
            }
        }
        Some(Config { targets })
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

/// Of linkers with the platforms that they are for, that of `target`: its own name stands over `cfg(…)`,
/// the first of several over the others.
pub(crate) fn linker_among(
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
