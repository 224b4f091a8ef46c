//! Tests a host program that contains firmware: its build.rs builds a firmware project with
//! esplice, and includes the layout's module in statics.

use std::{fs, path::Path, process::Command};

use crate::support::{self, repository};

const BUILD: &str = r#"
fn main() -> Result<(), esplice_build::Error> {
    use esplice_build::{Arena, Layout};
    Layout::new()
        .chip("esp32c3")
        .heap("dram", "rest")?
        .arena(Arena::new("dma", "dram", "4K")?.align(64))
        .arena(Arena::new("table", "dram", "256")?.fill(0xa5))
        .emit()?;
    let image = esplice_build::firmware("fw")?;
    println!("cargo::rustc-env=FIRMWARE={}", image.display());
    Ok(())
}
"#;

const MAIN: &str = r#"
mod layout {
    include!(concat!(env!("OUT_DIR"), "/esplice_layout.rs"));
}

static FIRMWARE: &[u8] = include_bytes!(env!("FIRMWARE"));

fn main() {
    let dma = layout::dma().unwrap();
    assert!(dma.len() == 4096 && (dma.as_ptr() as usize).is_multiple_of(64));
    assert!(layout::dma().is_none());
    assert_eq!(layout::table().unwrap(), [0xa5; 256]);
    assert!(layout::heap().is_some_and(|heap| !heap.is_empty()) && layout::heap().is_none());
    println!("{} {:02x?}", FIRMWARE.len(), &FIRMWARE[..4]);
}
"#;

#[test]
fn a_host_program_carries_firmware() {
    let directory = tempfile::tempdir().unwrap();
    let host = directory.path();
    let write = |name: &str, text: &str| {
        let path = host.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let crates = repository().join("crates");
    write(
        "Cargo.toml",
        &format!(
            "[package]\nname = \"host-program\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n\
             [build-dependencies]\nesplice-build = {{ path = {:?} }}\n",
            crates.join("esplice-build")
        ),
    );
    // The versions of the workspace, so that the registry is not contacted.
    fs::copy(repository().join("Cargo.lock"), host.join("Cargo.lock")).unwrap();
    write("build.rs", BUILD);
    write("src/main.rs", MAIN);
    // The example, compiled where the other tests have compiled its dependencies.
    let example = repository().join("examples/hello-rust");
    for file in ["Cargo.toml", "Cargo.lock", ".cargo/config.toml", "src/main.rs"] {
        let text = fs::read_to_string(example.join(file)).unwrap();
        write(&format!("fw/{file}"), &text.replace("hello-rust", "carried-rust"));
    }
    let config = host.join("fw/.cargo/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    let target = support::toolchain::firmware_target();
    fs::write(config, text.replace("[build]\n", &format!("[build]\ntarget-dir = {target:?}\n")))
        .unwrap();
    write("fw/esplice.toml", "[project]\ntarget = \"esp32c3\"\n");

    let mut cargo = Command::new(env!("CARGO"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("ESPLICE") {
            cargo.env_remove(name);
        }
    }
    let output = cargo
        .current_dir(host)
        .args(["run", "--quiet"])
        .env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("host"))
        .env("ESPLICE", assert_cmd::cargo::cargo_bin!("esplice"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let (len, bytes) = said.trim().split_once(' ').unwrap();
    assert!(len.parse::<u32>().unwrap() > 50_000, "{said}");
    // The magic of an app image, ESP-IDF's esp_app_format.h.
    assert!(bytes.starts_with("[e9, "), "{said}");
}
