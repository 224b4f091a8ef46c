//! Builds a cargo project for a chip and copies the ELF to a given path: `cargo run -p
//! esplice-toolchain --example build -- CHIP PROJECT TARGET_DIR ELF [FEATURE …]`.

use std::{fs, path::Path, process::ExitCode};

use esplice_chip::ChipDb;
use esplice_toolchain::{CargoOptions, build_cargo};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [chip, project, target_dir, elf, features @ ..] = arguments.as_slice() else {
        eprintln!("usage: build CHIP PROJECT TARGET_DIR ELF [FEATURE …]");
        return ExitCode::from(2);
    };
    match build(chip, project.as_ref(), target_dir.as_ref(), elf.as_ref(), features) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn build(
    chip: &str,
    project: &Path,
    target_dir: &Path,
    elf: &Path,
    features: &[String],
) -> Result<(), Box<dyn std::error::Error>> {
    let chip = ChipDb::embedded().find(chip)?;
    let options = CargoOptions::default()
        .features(features.to_vec())
        .locked(true)
        .target_dir(Some(target_dir.to_owned()));
    let artifact = build_cargo(project, chip, &options).map_err(|error| match error.hint() {
        Some(hint) => format!("{error}\nhint: {hint}"),
        None => error.to_string(),
    })?;
    if let Some(directory) = elf.parent() {
        fs::create_dir_all(directory)?;
    }
    // Copy and rename, so that the target path never holds a partial file.
    let beside = elf.with_extension("new");
    fs::copy(&artifact.elf, &beside)?;
    fs::rename(&beside, elf)?;
    println!("{}", elf.display());
    Ok(())
}
