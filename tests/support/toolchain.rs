//! The toolchain that compiles the tests' firmware, and its output directory.

use std::{
    path::{Path, PathBuf},
    sync::LazyLock,
};

use esplice_chip::ChipDb;
use esplice_toolchain::{Machine, Origin, find_rust};

/// Variable with the name of the toolchain that `scripts/with-toolchain` has put first on the PATH.
const VARIABLE: &str = "ESPLICE_TEST_TOOLCHAIN";

/// Returns the directory where firmware is compiled: one for each toolchain, kept between runs.
pub fn firmware_target() -> PathBuf {
    static TARGET: LazyLock<PathBuf> = LazyLock::new(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        match std::env::var(VARIABLE) {
            Ok(name) => {
                check(&name);
                // If this one is installed, it is also the default.
                if name == "target" {
                    directory.join("firmware")
                } else {
                    directory.join(format!("firmware-{name}"))
                }
            }
            Err(_) => directory.join("firmware"),
        }
    });
    TARGET.clone()
}

/// Checks that the toolchain is the requested one: silently testing another would be worse than
/// failing.
fn check(name: &str) {
    let chip = ChipDb::embedded().find("esp32c3").expect("the chip is known");
    let here = Machine::in_directory(env!("CARGO_MANIFEST_DIR"));
    let found =
        find_rust(chip, ChipDb::embedded(), &here).unwrap_or_else(|error| panic!("{error}"));
    let is_debians = std::fs::canonicalize(&found.rustc).is_ok_and(|at| at.starts_with("/usr"));
    let origin = match found.origin {
        Origin::Installed => "target",
        Origin::Sources if is_debians => "debian",
        Origin::Sources => "sources",
        Origin::Debian => "debian",
    };
    assert_eq!(origin, name, "{VARIABLE}: {} would be taken", found.rustc.display());
    eprintln!("firmware is compiled by toolchain {name}: {}", found.rustc.display());
}
