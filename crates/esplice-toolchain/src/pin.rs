//! The toolchain pinned by a project, which rustup's proxies start or install.

use std::path::Path;

use esplice_chip::Chip;

use crate::{Probe, ToolchainError, probe::program_name};

/// A toolchain that the project requests from rustup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pin {
    /// The name, such as `nightly-2024-06-01` or `esp`.
    pub channel: String,
    /// The file or variable that names it.
    place: String,
}

impl Pin {
    /// Returns the toolchain pinned for programs started in the project, if `cargo` is rustup's
    /// proxy: from the variable, or from the nearest `rust-toolchain` file (The rustup book,
    /// Overrides).
    pub(crate) fn of(cargo: &Path, probe: &dyn Probe) -> Option<Pin> {
        const VARIABLE: &str = "RUSTUP_TOOLCHAIN";
        if !is_rustups(cargo, probe) {
            return None;
        }
        if let Some(channel) = probe.variable(VARIABLE).and_then(|value| value.into_string().ok()) {
            return Some(Pin { channel, place: VARIABLE.into() });
        }
        let directory = probe.directory();
        directory.ancestors().find_map(|above| {
            // If both exist, rustup reads the one without an extension.
            ["rust-toolchain", "rust-toolchain.toml"].iter().find_map(|name| {
                let file = above.join(name);
                let channel = channel(&probe.text(&file)?)?;
                Some(Pin { channel, place: file.display().to_string() })
            })
        })
    }

    /// Returns the error for a pinned toolchain that does not run.
    pub(crate) fn missing(&self, cargo: &Path, chip: &Chip, probe: &dyn Probe) -> ToolchainError {
        let said = probe.error_output(cargo, &["--version"]).unwrap_or_default();
        let error = said.lines().find_map(|line| line.trim().strip_prefix("error: "));
        let install = match is_published(&self.channel) {
            true => format!("rustup toolchain install {}", self.channel),
            false => {
                chip.toolchain.rust_install.clone().unwrap_or_else(|| "espup install".to_owned())
            }
        };
        ToolchainError::PinnedMissing {
            channel: self.channel.clone(),
            place: self.place.clone(),
            said: error.unwrap_or("it does not run").to_owned(),
            install,
        }
    }
}

/// Returns whether the program at `path` is one of rustup's proxies, which start a toolchain's
/// programs.
pub(crate) fn is_rustups(path: &Path, probe: &dyn Probe) -> bool {
    let is_rustup = |path: &Path| program_name(path) == Some("rustup");
    probe.resolved(path).is_some_and(|resolved| is_rustup(&resolved))
        || path.parent().is_some_and(|bin| {
            probe.exists(&bin.join(format!("rustup{}", std::env::consts::EXE_SUFFIX)))
        })
}

/// Returns the channel named by a file in TOML, or by a file that contains only the name.
fn channel(text: &str) -> Option<String> {
    let text = text.trim();
    if let Ok(table) = text.parse::<toml::Table>() {
        let channel = table.get("toolchain")?.get("channel")?.as_str()?;
        return Some(channel.to_owned());
    }
    let mut words = text.split_whitespace();
    words.next().filter(|_| words.next().is_none()).map(str::to_owned)
}

/// Returns whether rustup can install the channel: one published by Rust, not a custom name.
fn is_published(channel: &str) -> bool {
    let first = channel.split('-').next().unwrap_or(channel);
    ["stable", "beta", "nightly"].contains(&first)
        || first.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_name_channels() {
        let of = |text: &str| channel(text).unwrap_or_default();
        assert_eq!(of("[toolchain]\nchannel = \"nightly-2024-06-01\"\n"), "nightly-2024-06-01");
        assert_eq!(of("1.95.0\n"), "1.95.0");
        for none in ["", "[toolchain]\ntargets = []\n", "two words", "[toolchain\nx"] {
            assert_eq!(of(none), "", "{none:?}");
        }
    }

    #[test]
    fn custom_toolchains_are_not_rustups() {
        for name in ["stable", "nightly-2024-06-01", "1.95.0", "stable-x86_64-unknown-linux-gnu"] {
            assert!(is_published(name), "{name}");
        }
        assert!(!is_published("esp") && !is_published("mine"));
    }
}
