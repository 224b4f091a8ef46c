//! Tests the module that esplice-build writes, in other crates, on the host and for a board. It
//! passes clippy's default lints, and with `safe_module` it passes `forbid(unsafe_code)`.

use std::{fs, path::Path, process::Command};

use crate::support::repository;

const BUILD: &str = r#"fn main() -> Result<(), esplice_build::Error> {
    use esplice_build::{Arena, Layout};
    Layout::new()
        .chip("esp32c3")
        .heap("dram", "32K")?
        .arena(Arena::new("dma", "dram", "4K")?.align(64))
        .arena(Arena::new("log", "rtc-fast", "256")?.keep())
        .arena(Arena::new("table", "dram", "256")?.fill(0xa5))
        // SAFE
        .emit()
}
"#;

const LIB: &str = r#"#![no_std]
#![warn(clippy::all)]

mod layout {
    include!(concat!(env!("OUT_DIR"), "/esplice_layout.rs"));
}

/// The bytes of all blocks.
pub fn all() -> Option<usize> {
    Some(layout::dma()?.len() + layout::log()?.len() + layout::table()?.len() + layout::heap()?.len())
}
"#;

#[test]
fn the_module_passes_the_lints_of_others() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let crates = repository().join("crates");
    write("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"plain\", \"safe\"]\n");
    fs::copy(repository().join("Cargo.lock"), directory.path().join("Cargo.lock")).unwrap();
    for (name, call, lint) in
        [("plain", "", ""), ("safe", ".safe_module()", "#![forbid(unsafe_code)]\n")]
    {
        let manifest = format!(
            "[package]\nname = \"{name}-lints\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
             [dependencies]\nesplice-rt = {{ path = {:?} }}\n\
             [build-dependencies]\nesplice-build = {{ path = {:?} }}\n",
            crates.join("esplice-rt"),
            crates.join("esplice-build")
        );
        write(&format!("{name}/Cargo.toml"), &manifest);
        write(&format!("{name}/build.rs"), &BUILD.replace("// SAFE", call));
        write(&format!("{name}/src/lib.rs"), &format!("{lint}{LIB}"));
    }
    // Rust's own toolchain has the board's target; Debian's has it too, but without clippy.
    for target in [None, Some("riscv32imc-unknown-none-elf")] {
        let mut cargo = Command::new(env!("CARGO"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ESPLICE") {
                cargo.env_remove(name);
            }
        }
        cargo
            .current_dir(directory.path())
            .args(["clippy", "--release", "--quiet", "--workspace"])
            .args(target.into_iter().flat_map(|target| ["--target", target]))
            .args(["--", "-D", "warnings"])
            .env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("carried"));
        let output = cargo.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{target:?}: {said}");
    }
}
