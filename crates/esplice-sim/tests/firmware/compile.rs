//! Compiles firmware from `tests/firmware` and `examples` in the test.

#[path = "../../../../tests/support/toolchain.rs"]
mod toolchain;

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
};

use esplice_chip::ChipDb;
use esplice_toolchain::{CargoOptions, build_cargo};
use toolchain::firmware_target;

/// Returns the ELF of a binary of a package in `tests/firmware`. It is in the target directory that
/// the command tests also use.
pub fn compiled(package: &str, bin: &str) -> PathBuf {
    compiled_for("esp32c3", &format!("tests/firmware/{package}"), bin)
}

/// Returns the ELF for that chip of a binary of `project`, a directory of the repository.
pub fn compiled_for(chip: &str, project: &str, bin: &str) -> PathBuf {
    // One at a time, because cargo would only wait for the other.
    static COMPILING: Mutex<()> = Mutex::new(());
    let _one = COMPILING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let options = CargoOptions::default()
        .bin(Some(bin.into()))
        .locked(true)
        .target_dir(Some(firmware_target()));
    let chip = ChipDb::embedded().find(chip).unwrap();
    let project = here.join("../..").join(project);
    match build_cargo(&project, chip, &options) {
        Ok(artifact) => artifact.elf,
        Err(error) => panic!("{error}; {}", error.hint().unwrap_or_default()),
    }
}
