//! The vendor's ELFs of the chips' mask ROMs, from the sources of espflash, which the workspace
//! depends on. No part of them is stored here.

#![allow(dead_code)] // Each program uses a part of it.

use std::{fs, path::PathBuf, process::Command, sync::LazyLock};

use cargo_metadata::MetadataCommand;
use esplice_chip::ChipDb;
use esplice_sim::RomImage;

/// Files of the ROMs that virtual boards execute.
const FILES: [(&str, &str); 4] = [
    ("esp32c2", "esp32c2_rev100_rom.elf"),
    ("esp32c3", "esp32c3_rev300_rom.elf"),
    ("esp32c6", "esp32c6_rev0_rom.elf"),
    ("esp32h2", "esp32h2_rev0_rom.elf"),
];

/// Returns the path of the ESP32-C3's ELF.
pub fn path() -> PathBuf {
    path_of("esp32c3")
}

/// Returns the path of a chip's ELF.
pub fn path_of(chip: &str) -> PathBuf {
    let file = FILES.iter().find(|(name, _)| *name == chip).expect("a ROM is known").1;
    folder().join(file)
}

/// Returns the folder of the ELFs.
fn folder() -> PathBuf {
    // Only for this host: dependencies of other platforms may never have been downloaded.
    let told = Command::new(env!("CARGO")).arg("-vV").output().expect("cargo prints its version");
    let told = String::from_utf8(told.stdout).unwrap();
    let host = told.lines().find_map(|line| line.strip_prefix("host: ")).expect("with a host line");
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .other_options(["--locked", "--filter-platform", host].map(str::to_owned))
        .exec()
        .expect("cargo prints the workspace's packages");
    let espflash = metadata.packages.iter().find(|package| package.name == "espflash");
    let sources = espflash.expect("the workspace depends on espflash").manifest_path.parent();
    sources.unwrap().join("resources/roms").into()
}

/// Returns the bytes of the ESP32-C3's ELF.
pub fn elf() -> Vec<u8> {
    elf_of("esp32c3")
}

/// Returns the bytes of a chip's ELF.
pub fn elf_of(chip: &str) -> Vec<u8> {
    let path = path_of(chip);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the ROM image in a chip's ELF.
pub fn image_of(chip: &str) -> RomImage {
    RomImage::from_elf(&elf_of(chip), ChipDb::embedded().find(chip).unwrap()).unwrap()
}

/// Returns the ROM image in the ESP32-C3's ELF.
pub fn image() -> &'static RomImage {
    static ROM: LazyLock<RomImage> = LazyLock::new(|| image_of("esp32c3"));
    &ROM
}
