//! Environment variables set by a cargo that runs esplice, which must not reach the cargo that
//! esplice runs.

use std::ffi::{OsStr, OsString};

/// The value of `SOURCE_DATE_EPOCH` unless the user has set one, for reproducible builds:
/// 2026-01-01 00:00:00 UTC, in seconds since 1970.
pub const SOURCE_DATE_EPOCH: &str = "1767225600";

/// Variables set for every child, or only by cargo (The Cargo Book, Environment Variables).
const ALWAYS: &[&str] = &[
    "CARGO",
    "CARGO_BIN_NAME",
    "CARGO_CRATE_NAME",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_RUSTC_CURRENT_DIR",
    "CARGO_SBOM_PATH",
    "CARGO_TARGET_TMPDIR",
];

/// Prefixes of further such variables.
const ALWAYS_PREFIXES: &[&str] =
    &["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CFG_", "CARGO_FEATURE_", "CARGO_BIN_EXE_"];

/// Variables meant for host code if a cargo runs esplice (`cargo run`, `cargo test`, a build
/// script), and set by the user for the firmware otherwise. rustup's proxies set the last two.
const UNDER_CARGO: &[&str] = &[
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTDOC",
    "RUSTDOCFLAGS",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
    "RUST_RECURSION_COUNT",
];

/// Variables set only for build scripts. The outer build holds a lock on its target directory, so
/// the inner one must not share it.
const IN_BUILD_SCRIPT: &[&str] = &[
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_TARGET_DIR",
    "DEBUG",
    "HOST",
    "NUM_JOBS",
    "OPT_LEVEL",
    "OUT_DIR",
    "PROFILE",
    "RUSTC_LINKER",
    "RUSTC_WRAPPER",
    "TARGET",
];

/// Returns those of `names` that an outer cargo has set for its children. The user's own
/// configuration (`CARGO_HOME`, `CARGO_NET_*`, `CARGO_REGISTRIES_*`, …) is not included.
pub fn outer_cargo_variables(names: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let names: Vec<OsString> = names.into_iter().collect();
    let has = |name: &str| names.iter().any(|n| n == name);
    let under_cargo = has("CARGO_MANIFEST_DIR");
    let in_build_script = under_cargo && has("OUT_DIR") && has("TARGET");

    let hidden = |name: &OsStr| {
        // A name that is not UTF-8 is none of those listed here.
        let Some(name) = name.to_str() else { return false };
        ALWAYS.contains(&name)
            || ALWAYS_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            || under_cargo && UNDER_CARGO.contains(&name)
            || in_build_script && (IN_BUILD_SCRIPT.contains(&name) || name.starts_with("DEP_"))
    };
    names.into_iter().filter(|name| hidden(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `set` is the environment. Words with a leading minus are expected to be removed.
    #[track_caller]
    fn check(set: &str) {
        let plain = |word: &str| OsString::from(word.trim_start_matches('-'));
        let expected: Vec<OsString> =
            set.split_whitespace().filter(|word| word.starts_with('-')).map(plain).collect();
        assert_eq!(outer_cargo_variables(set.split_whitespace().map(plain)), expected);
    }

    #[test]
    fn a_shell_keeps_what_the_user_set() {
        check("PATH HOME RUSTC RUSTFLAGS RUSTUP_TOOLCHAIN RUSTC_WRAPPER CARGO_TARGET_DIR TARGET");
        check("CARGO_HOME CARGO_NET_OFFLINE CARGO_REGISTRIES_OWN_INDEX CARGO_TERM_COLOR");
        check("CARGO_TARGET_RISCV32IMC_UNKNOWN_NONE_ELF_LINKER CARGO_PROFILE_RELEASE_LTO");
    }

    #[test]
    fn under_cargo_run_the_outer_build_is_forgotten() {
        check(
            "PATH CARGO_HOME -CARGO -CARGO_MANIFEST_DIR -CARGO_MANIFEST_PATH -CARGO_PKG_NAME \
             -RUSTUP_TOOLCHAIN -RUST_RECURSION_COUNT RUSTUP_HOME -RUSTFLAGS -RUSTC \
             CARGO_TARGET_DIR CARGO_MAKEFLAGS",
        );
    }

    #[test]
    fn in_a_build_script_its_target_directory_goes_too() {
        check(
            "-CARGO_MANIFEST_DIR -OUT_DIR -TARGET -HOST -PROFILE -OPT_LEVEL -CARGO_CFG_UNIX \
             -CARGO_FEATURE_STD -CARGO_ENCODED_RUSTFLAGS -RUSTC_WORKSPACE_WRAPPER -RUSTC_WRAPPER \
             -CARGO_TARGET_DIR -DEP_Z_ROOT CARGO_NET_RETRY RUSTUP_HOME",
        );
    }

    #[test]
    fn a_variable_that_merely_looks_alike_stays() {
        check("OUT_DIR TARGET DEP_Z_ROOT CARGO_PKGS CARGO_MANIFESTO MYCARGO_PKG_NAME");
    }
}
