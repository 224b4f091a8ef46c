//! Real builds with this machine's toolchain.

use std::{fs, path::PathBuf};

use esplice_chip::ChipDb;
use esplice_toolchain::{CargoOptions, ErrorKind, build_cargo};

fn project(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

#[test]
#[ignore = "takes minutes: compiles the example twice from scratch"]
fn two_cold_builds_give_the_same_bytes() {
    let chip = ChipDb::embedded().find("esp32c3").unwrap();
    let target = tempfile::tempdir().unwrap();
    let build = || {
        let options =
            CargoOptions::default().locked(true).target_dir(Some(target.path().join("target")));
        let artifact = build_cargo(&project("examples/hello-rust"), chip, &options).unwrap();
        assert_eq!(
            (artifact.package.as_str(), artifact.bin.as_str()),
            ("hello-rust", "hello-rust")
        );
        (artifact.fresh, fs::read(&artifact.elf).unwrap())
    };

    let (fresh, first) = build();
    assert!(!fresh);
    let (fresh, again) = build();
    assert!(fresh && first == again, "the second build was not fresh or changed the ELF");
    fs::remove_dir_all(target.path().join("target")).unwrap();
    let (fresh, second) = build();
    assert!(!fresh);
    assert!(first == second, "two cold builds differ");
}

#[test]
fn source_that_does_not_compile_is_told_from_a_bad_project() {
    let chip = ChipDb::embedded().find("esp32c3").unwrap();
    let root = tempfile::tempdir().unwrap();
    let manifest = root.path().join("Cargo.toml");
    let kind = || {
        let options = CargoOptions::default();
        build_cargo(root.path(), chip, &options).unwrap_err().kind()
    };

    fs::write(&manifest, "[package]\nname = 'broken'\nversion = '0.1.0'\n[workspace]\n").unwrap();
    fs::create_dir(root.path().join("src")).unwrap();
    fs::write(root.path().join("src/main.rs"), "#![no_std]\n#![no_main]\nnot rust").unwrap();
    assert_eq!(kind(), ErrorKind::CompileFailed);

    fs::write(&manifest, "[package\n").unwrap();
    assert_eq!(kind(), ErrorKind::BadInput);
}
