//! The stubs of the installed esptool, which the tests require.

#![allow(dead_code)] // Each program uses a part of it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use esplice_flash::Stub;

/// Returns the stub of generation `version` for `chip`.
pub fn stub(version: u32, chip: &str) -> Stub {
    let path = folder().join(format!("{version}/{chip}.json"));
    let file = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Stub::parse(&file).unwrap()
}

/// Returns the stub files of generation `version`.
pub fn files(version: u32) -> Vec<PathBuf> {
    let folder = folder().join(version.to_string());
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|ext| ext == "json")).collect()
}

/// Returns esptool's stub directory, found from the program that `ESPLICE_ESPTOOL` or PATH names.
fn folder() -> PathBuf {
    let program = std::env::var_os("ESPLICE_ESPTOOL").map(PathBuf::from).or_else(on_path);
    let program = program.expect("esptool is installed: scripts/setup --tests, or ESPLICE_ESPTOOL");
    let program = fs::canonicalize(&program).unwrap_or(program);
    let lib = program.parent().and_then(Path::parent).unwrap().join("lib");
    let python = fs::read_dir(&lib).unwrap_or_else(|error| panic!("{}: {error}", lib.display()));
    let found = python
        .map(|entry| entry.unwrap().path().join("site-packages/esptool/targets/stub_flasher"))
        .find(|folder| folder.is_dir());
    found.unwrap_or_else(|| panic!("no stubs below {}", lib.display()))
}

fn on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("esptool")).find(|file| file.is_file())
}
