//! The vendor's ELF of the ESP32-C3's mask ROM, out of the sources of espflash, which the workspace
//! depends on anyway. Nothing of it is kept here.

#![allow(dead_code)] // Each test uses its part.

use std::{fs, path::PathBuf, process::Command, sync::LazyLock};

use cargo_metadata::MetadataCommand;
use esplice_sim::RomImage;

/// Where the ELF is.
pub fn path() -> PathBuf {
    // For this host alone: what other platforms need may never have been downloaded.
    let told = Command::new(env!("CARGO")).arg("-vV").output().expect("cargo tells its version");
    let told = String::from_utf8(told.stdout).unwrap();
    let host = told.lines().find_map(|line| line.strip_prefix("host: ")).expect("with its host");
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .other_options(["--locked", "--filter-platform", host].map(str::to_owned))
        .exec()
        .expect("cargo tells the workspace's packages");
    let espflash = metadata.packages.iter().find(|package| package.name == "espflash");
    let sources = espflash.expect("the workspace depends on espflash").manifest_path.parent();
    sources.unwrap().join("resources/roms/esp32c3_rev300_rom.elf").into()
}

/// Its bytes.
pub fn elf() -> Vec<u8> {
    let path = path();
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The ROM in it.
pub fn image() -> &'static RomImage {
    static ROM: LazyLock<RomImage> = LazyLock::new(|| {
        RomImage::from_elf(&elf(), esplice_chip::find("esp32c3").unwrap()).unwrap()
    });
    &ROM
}
