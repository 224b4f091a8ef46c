//! Builds cargo projects of the shapes that users have, with the real cargo: which binary is
//! selected, for which chip, and which error is reported if there is no answer.

use std::{fs, path::Path};

use crate::support::{self, Said, finish};

const CONFIG: &str = "[build]\ntarget = \"riscv32imc-unknown-none-elf\"\n\
    [target.'cfg(target_arch=\"riscv32\")']\nrustflags = [\"-C\", \"link-arg=-Tlink.x\"]\n";

const MANIFEST: &str = "[package]\nname = \"bare\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\
    [workspace]\n[profile.release]\npanic = \"abort\"\n[profile.dev]\npanic = \"abort\"\n";

const BUILD: &str = r#"fn main() {
    println!("cargo:rustc-link-search={}", std::env::var("CARGO_MANIFEST_DIR").unwrap());
}
"#;

const LINK: &str = "ENTRY(_start)
MEMORY {
  DROM : ORIGIN = 0x3c000020, LENGTH = 0x3fffe0
  IROM : ORIGIN = 0x42010020, LENGTH = 0x3effe0
  RAM : ORIGIN = 0x3fc80000, LENGTH = 0x40000
}
SECTIONS {
  .flash.appdesc : { KEEP(*(.flash.appdesc)) } > DROM
  .rodata : ALIGN(4) { *(.rodata .rodata.* .srodata .srodata.*) } > DROM
  .text : { KEEP(*(.init)) *(.text .text.*) } > IROM
  .data : { *(.data .data.* .sdata .sdata.*) } > RAM
  .bss (NOLOAD) : { *(.bss .bss.* .sbss .sbss.*) } > RAM
  /DISCARD/ : { *(.eh_frame) *(.eh_frame_hdr) }
}
";

const MAIN: &str = r#"#![no_std]
#![no_main]
#[repr(C)]
pub struct Desc([u32; 64]);
#[no_mangle]
#[link_section = ".flash.appdesc"]
pub static DESC: Desc = {
    let mut d = [0u32; 64];
    d[0] = 0xABCD5432;
    d[44] = 0xffff_0000;
    d[45] = 16;
    Desc(d)
};
#[no_mangle]
#[link_section = ".init"]
pub unsafe extern "C" fn _start() -> ! {
    loop {}
}
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
"#;

/// A project of one package in a directory, to be modified.
struct Shape(tempfile::TempDir);

impl Shape {
    fn new() -> Shape {
        let shape = Shape(tempfile::tempdir().unwrap());
        for (name, text) in [
            (".cargo/config.toml", CONFIG),
            ("Cargo.toml", MANIFEST),
            ("build.rs", BUILD),
            ("link.x", LINK),
            ("src/main.rs", MAIN),
        ] {
            shape.write(name, text);
        }
        shape
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn add(&self, name: &str, text: &str) {
        let before = fs::read_to_string(self.0.path().join(name)).unwrap_or_default();
        self.write(name, &format!("{before}{text}"));
    }

    /// Runs `esplice` with these arguments in a directory of the project.
    fn run_in(&self, directory: &str, words: &str) -> Said {
        let mut command = support::esplice(&self.0.path().join(directory));
        command.env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS");
        finish(command.args(words.split_whitespace()))
    }

    /// Builds for the ESP32-C3, unless the arguments name another chip, and returns the name of the
    /// image.
    #[track_caller]
    fn builds(&self, words: &str, name: &str) -> Said {
        let said = self.run_in(".", &format!("build {words}"));
        let said = said.check(0, &[]);
        assert!(said.out.starts_with(&format!("{name}.bin: ")), "{words}: {said:#?}");
        said
    }

    #[track_caller]
    fn refuses(&self, words: &str, exit: i32, told: &[&str]) {
        self.run_in(".", &format!("build {words}")).check(exit, told);
    }
}

const C3: &str = "--target esp32c3";

#[test]
fn examples_and_main_files_are_built() {
    let shape = Shape::new();
    shape.write("examples/blink.rs", MAIN);
    shape.write("src/bin/other.rs", MAIN);
    shape.builds(&format!("{C3} --example blink"), "blink");
    shape.builds(&format!("{C3} examples/blink.rs"), "blink");
    shape.builds(&format!("{C3} --main src/bin/other.rs"), "other");
    shape.builds(&format!("{C3} src/main.rs"), "bare");
    shape.refuses(&format!("{C3} --bin blink"), 2, &["hint: it is an example: --example blink"]);
    shape.refuses(C3, 2, &["2 binaries: bare, other", "hint: choose one: --bin bare"]);
    shape.refuses(&format!("{C3} build.rs"), 3, &["build.rs is not the main file of"]);
    shape.refuses(&format!("{C3} --bin a --example b"), 2, &["cannot be used with"]);
}

#[test]
fn a_project_is_found_from_a_directory_below() {
    let shape = Shape::new();
    let said = shape.run_in("src", &format!("build {C3}")).check(0, &[]);
    assert!(said.out.starts_with("bare.bin: "), "{said:#?}");
    // An invalid path that was given explicitly is not replaced by another one.
    shape.run_in(".", &format!("build {C3} src")).check(3, &["src has neither Cargo.toml nor"]);
    shape.run_in("src", &format!("build {C3} --manifest-path ../Cargo.toml")).check(0, &[]);
}

#[test]
fn two_packages_with_one_binarys_name_are_told_apart() {
    let shape = Shape::new();
    shape.write(
        "Cargo.toml",
        "[workspace]\nmembers = [\"a\", \"b\"]\nresolver = \"2\"\n\
                               [profile.release]\npanic = \"abort\"\n",
    );
    fs::rename(shape.0.path().join("src"), shape.0.path().join("source")).unwrap();
    for package in ["a", "b"] {
        let manifest = MANIFEST.split("[workspace]").next().unwrap().replace("bare", package);
        let bin = "[[bin]]\nname = \"fw\"\npath = \"src/main.rs\"\n";
        shape.write(&format!("{package}/Cargo.toml"), &format!("{manifest}{bin}"));
        shape.write(&format!("{package}/build.rs"), BUILD);
        shape.write(&format!("{package}/link.x"), LINK);
        shape.write(&format!("{package}/src/main.rs"), MAIN);
    }
    let hint = "hint: choose one: --package a --bin fw";
    shape.refuses(C3, 2, &["2 binaries: fw of a, fw of b", hint]);
    shape.refuses(
        &format!("{C3} --bin fw"),
        2,
        &["\"fw\" is in more than one package: a, b", hint],
    );
    shape.builds(&format!("{C3} --package a --bin fw"), "fw");
    shape.builds(&format!("{C3} -p b"), "fw");
}

#[test]
fn the_target_that_cargo_is_asked_for_is_respected() {
    let shape = Shape::new();
    let other = CONFIG.replace("riscv32imc", "riscv32imac");
    shape.write(".cargo/config.toml", &other);
    shape.refuses(
        C3,
        4,
        &[
            ".cargo/config.toml builds for riscv32imac-unknown-none-elf, and the ESP32-C3 runs \
             riscv32imc-unknown-none-elf",
            "hint: set it to riscv32imc-unknown-none-elf",
        ],
    );
    assert!(!shape.0.path().join("target").exists(), "nothing is compiled");

    // Flags of the target in the project take effect: without the script, nothing links.
    let own = "[build]\ntarget = \"riscv32imc-unknown-none-elf\"\n\
               [target.riscv32imc-unknown-none-elf]\nrustflags = [\"-C\", \"link-arg=-Tlink.x\"]\n";
    shape.write(".cargo/config.toml", own);
    shape.builds(C3, "bare");
    let list = CONFIG.replace(
        "\"riscv32imc-unknown-none-elf\"",
        "[\"x86_64-unknown-linux-gnu\", \"riscv32imc-unknown-none-elf\"]",
    );
    shape.write(".cargo/config.toml", &list);
    shape.builds(C3, "bare");
    shape.write(".cargo/config.toml", &CONFIG.replace("riscv32imc-unknown", "x86_64-unknown"));
    shape.builds(C3, "bare");
}

#[test]
fn a_std_project_is_told_what_is_missing() {
    let shape = Shape::new();
    shape.write(
        ".cargo/config.toml",
        "[build]\ntarget = \"riscv32imc-esp-espidf\"\n[target.riscv32imc-esp-espidf]\n\
         linker = \"ldproxy-that-is-nowhere\"\n[unstable]\nbuild-std = [\"std\", \"panic_abort\"]\n",
    );
    shape.refuses(
        C3,
        4,
        &[
            "a project with the standard library (riscv32imc-esp-espidf in ",
            "ldproxy-that-is-nowhere",
            "hint: run `",
        ],
    );
    shape.write(".cargo/config.toml", CONFIG);
    shape.add("Cargo.toml", "[dependencies]\nesp-idf-sys = { path = \"sys\" }\n");
    shape.write("sys/Cargo.toml", "[package]\nname = \"esp-idf-sys\"\nversion = \"0.1.0\"\n");
    shape.write("sys/src/lib.rs", "#![no_std]\n");
    shape.refuses(C3, 4, &["bare depends on esp-idf", "target = \"riscv32imc-esp-espidf\""]);
}

/// Only with rustup's cargo; another one does not know the file, and builds.
#[test]
fn a_pinned_toolchain_is_not_replaced() {
    let shape = Shape::new();
    let file = "[toolchain]\nchannel = \"not-a-toolchain-of-this-machine\"\n";
    shape.write("rust-toolchain.toml", file);
    let cargo = std::process::Command::new("cargo")
        .arg("--version")
        .current_dir(shape.0.path())
        .env_remove("RUSTUP_TOOLCHAIN")
        .output()
        .unwrap();
    if cargo.status.success() {
        shape.builds(C3, "bare");
        return;
    }
    shape.refuses(
        C3,
        4,
        &["rust-toolchain.toml asks for the toolchain not-a-toolchain-of-this-machine: ", "hint: "],
    );
}

#[test]
fn features_name_the_chip_wherever_it_is_asked_for() {
    let shape = Shape::new();
    let features = "[features]\ndefault = [\"board\"]\nboard = [\"esp32c3\"]\nesp32c3 = []\n\
                    esp32c2 = []\n";
    shape.add("Cargo.toml", features);
    shape.add("esplice.toml", "[layout]\nbase = \"ram\"\n[layout.heap]\nsize = \"16K\"\n");
    let chip = |words: &str| {
        let said = shape.run_in(".", &format!("layout check --format json {words}")).check(0, &[]);
        support::result(&said)["value"]["chip"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(chip(""), "esp32c3");
    assert_eq!(chip("--target esp32c2"), "esp32c2");
    fs::remove_file(shape.0.path().join("esplice.toml")).unwrap();

    let told = |said: Said| said.out.trim_end().rsplit(' ').next().unwrap().to_owned();
    assert_eq!(told(shape.builds("", "bare")), "ESP32-C3");
    let words = "--no-default-features --features esp32c2";
    assert_eq!(told(shape.builds(words, "bare")), "ESP32-C2");
    shape.refuses(
        "--features esp32c2 --target esp32c3",
        2,
        &["--target is for the ESP32-C3, and the feature esp32c2 of --features for the ESP32-C2"],
    );
    shape.add("esplice.toml", "[project]\ntarget = \"esp32c2\"\n");
    assert_eq!(told(shape.builds("", "bare")), "ESP32-C2");
}

#[test]
fn flags_without_a_meaning_are_refused() {
    let shape = Shape::new();
    shape.refuses(&format!("{C3} --tags a"), 2, &["--tags is for Go packages", "--features"]);
    shape.refuses(&format!("{C3} --opt 2"), 2, &["--opt is for Go packages", "--profile"]);
    shape.builds(&format!("{C3} --release --offline --target-dir elsewhere"), "bare");
    assert!(Path::new(&shape.0.path().join("elsewhere")).is_dir());
    assert!(!shape.0.path().join("target").exists());
    let elf = shape.0.path().join("bare.elf").display().to_string();
    shape.refuses(&format!("{C3} --features a {elf}"), 2, &["is already compiled"]);
}
