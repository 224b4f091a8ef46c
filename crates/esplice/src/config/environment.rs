//! Names of environment variables: their meanings, and which are refused.
//!
//! Every setting has two names: `ESPLICE_` with its section and key, and `ESPLICE_` with its flag.
//! Any other name with the prefix `ESPLICE_` must be in [`OTHERS`] or start with one of
//! [`FAMILIES`].

use esplice_chip::nearest;

use crate::{
    config::keys::{KEYS, Key},
    ui::exit::Failure,
};

/// Prefix of all of esplice's variables.
const PREFIX: &str = "ESPLICE_";

/// Second flags of settings, each with the key it belongs to.
const ALIASES: &[(&str, &str, &str)] = &[("ESPLICE_CHIP", "project", "target")];

/// Variables that are not settings, with their descriptions.
pub const OTHERS: &[(&str, &str)] = &[
    ("ESPLICE_ESPTOOL", "esptool program whose flasher stubs are used"),
    (
        "ESPLICE_LOG_FILE",
        "set by esplice for the processes it starts: the file that they add diagnostics to",
    ),
    ("ESPLICE_COMPLETE", "set by completion scripts: the shell that requests candidates"),
    ("ESPLICE_LINKER", "lld that `esplice-ld` starts"),
    (
        "ESPLICE_LAYOUT",
        "set by esplice for build scripts: `injected` once the linker has the layout",
    ),
    // Used only by the project's own tests and benchmarks.
    ("ESPLICE_ESPFLASH", "espflash program that tests compare with"),
    ("ESPLICE_BLESS", "rewrite expected test output"),
    ("ESPLICE_CPU_BOUND_ELF", "program of the benchmark of the virtual processor"),
    ("ESPLICE_MEASURE", "measure boot times and ROM functions in tests"),
    ("ESPLICE_MOCK_BOOTLOADER", "bootloader for tests of the mock loader"),
];

/// Prefixes of names that the project's own tests and benchmarks use.
pub const FAMILIES: &[&str] = &["ESPLICE_BENCH_", "ESPLICE_ROM_", "ESPLICE_TEST_"];

/// Meaning of an environment variable.
#[derive(Debug, Clone, Copy)]
pub enum Meaning {
    /// The variable sets this key.
    Setting(&'static Key),
    /// The variable is read elsewhere, or is not esplice's.
    Other,
}

/// Returns the meaning of the variable `name`.
///
/// # Errors
/// Fails for an unknown name with the prefix `ESPLICE_`, and names the nearest known one.
pub fn meaning(name: &str) -> Result<Meaning, Failure> {
    let alias = ALIASES.iter().find(|(alias, ..)| *alias == name);
    let of_alias = |key: &&Key| {
        alias.is_some_and(|(_, section, setting)| key.section == *section && key.name == *setting)
    };
    let is_named = |key: &&Key| key.variables().iter().any(|variable| variable == name);
    if let Some(key) = KEYS.iter().find(|key| of_alias(key) || is_named(key)) {
        return Ok(Meaning::Setting(key));
    }
    let is_other = |(other, _): &(&str, &str)| *other == name;
    let is_known = !name.starts_with(PREFIX)
        || OTHERS.iter().any(is_other)
        || FAMILIES.iter().any(|family| name.starts_with(family));
    if is_known {
        return Ok(Meaning::Other);
    }
    let mut known: Vec<String> = KEYS.iter().flat_map(Key::variables).collect();
    known.extend(ALIASES.iter().map(|(alias, ..)| (*alias).to_owned()));
    known.extend(OTHERS.iter().map(|(other, _)| (*other).to_owned()));
    let failure = Failure::usage(format!("unknown setting {name} in the environment"));
    // The prefix is common to all names, so only the rest is compared.
    let rest = |name: &str| name.trim_start_matches(PREFIX).to_owned();
    let rests: Vec<String> = known.iter().map(|name| rest(name)).collect();
    Err(match nearest(&rest(name), &rests) {
        Some(near) => failure.hint(format!("did you mean {PREFIX}{near}?")),
        None => failure.hint("`esplice config` lists the settings and their variables"),
    })
}

/// Refuses an environment with an unknown `ESPLICE_` variable.
pub fn check() -> Result<(), Failure> {
    for (name, _) in std::env::vars_os() {
        if let Some(name) = name.to_str() {
            meaning(name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `expected` is the key, `-` for a variable that is not a setting, or the hint of the error.
    #[track_caller]
    fn check(name: &str, expected: &str) {
        let said = match meaning(name) {
            Ok(Meaning::Setting(key)) => format!("{}.{}", key.section, key.name),
            Ok(Meaning::Other) => "-".into(),
            Err(failure) => failure.hint.unwrap_or_default(),
        };
        assert_eq!(said, expected, "{name}");
    }

    #[test]
    fn a_setting_is_named_by_its_key_or_its_flag() {
        check("ESPLICE_PROJECT_PORT", "project.port");
        check("ESPLICE_PORT", "project.port");
        check("ESPLICE_TARGET", "project.target");
        check("ESPLICE_CHIP", "project.target");
        check("ESPLICE_BAUD", "flash.baud");
        check("ESPLICE_FLASH_BAUD", "flash.baud");
        check("ESPLICE_MONITOR_BAUD", "monitor.baud");
        check("ESPLICE_FLASH_SIZE", "image.flash-size");
        check("ESPLICE_NO_DEFAULT_FEATURES", "build.no-default-features");
    }

    #[test]
    fn other_variables_are_left_alone() {
        for name in ["ESPLICE", "ESPLICE_LAYOUT", "ESPLICE_BENCH_LTO", "PATH", "ESPFLASH_PORT"] {
            check(name, "-");
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest() {
        check("ESPLICE_PROT", "did you mean ESPLICE_PORT?");
        check("ESPLICE_TRAGET", "did you mean ESPLICE_TARGET?");
        check("ESPLICE_FLASH_BUAD", "did you mean ESPLICE_FLASH_BAUD?");
        check("ESPLICE_FEATURE", "did you mean ESPLICE_FEATURES?");
        check("ESPLICE_ESPTOL", "did you mean ESPLICE_ESPTOOL?");
        check(
            "ESPLICE_SOMETHING_ELSE_ENTIRELY",
            "`esplice config` lists the settings and their variables",
        );
    }

    /// Two settings with the same variable could not both be set.
    #[test]
    fn no_two_settings_share_a_variable() {
        let mut names: Vec<String> = KEYS.iter().flat_map(Key::variables).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "{names:?}");
    }
}
