//! The vendor's ELF of the ESP32-C3's mask ROM, from the sources of espflash, which the workspace
//! depends on. No part of it is stored here.

#![allow(dead_code)] // Each program uses a part of it.

use std::{fs, path::PathBuf, process::Command, sync::LazyLock};

use cargo_metadata::MetadataCommand;
use esplice_chip::ChipDb;
use esplice_sim::RomImage;

/// Returns the path of the ELF.
pub fn path() -> PathBuf {
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
    sources.unwrap().join("resources/roms/esp32c3_rev300_rom.elf").into()
}

/// Returns the bytes of the ELF.
pub fn elf() -> Vec<u8> {
    let path = path();
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the ROM image in the ELF.
pub fn image() -> &'static RomImage {
    static ROM: LazyLock<RomImage> = LazyLock::new(|| {
        RomImage::from_elf(&elf(), ChipDb::embedded().find("esp32c3").unwrap()).unwrap()
    });
    &ROM
}
