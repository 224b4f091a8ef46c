//! Tests the example from source to its first output. These tests compile firmware, into a
//! directory that is kept between runs.

use std::{fs, path::Path};

use crate::{
    mask_rom,
    support::{self, Said, finish, repository},
};

/// Runs the program at the root of the repository, with a place for firmware under its own target
/// directory.
fn esplice(args: &[&str]) -> Said {
    let mut command = support::esplice(&repository());
    command.env("CARGO_TARGET_DIR", support::toolchain::firmware_target());
    finish(command.args(args))
}

const EXPECT: &str = r"Hello, World!\r\n";

#[test]
fn the_same_in_steps_and_reproducibly() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    let (hello, again, elf) = (at("hello.bin"), at("again.bin"), at("hello.elf"));

    let args = ["build", "--target=esp32c3", "--output", &hello, "examples/hello-rust"];
    esplice(&args).check(0, &[]);
    esplice(&["build", "--elf", &elf, "--output", &again]).check(0, &[]);
    assert_eq!(
        support::files(directory.path()),
        [
            "again.bin",
            "again.elf",
            "again.merged.bin",
            "again.plan.json",
            "hello.bin",
            "hello.elf",
            "hello.merged.bin",
            "hello.plan.json"
        ]
    );
    for (one, two) in [("hello.bin", "again.bin"), ("hello.merged.bin", "again.merged.bin")] {
        assert_eq!(fs::read(at(one)).unwrap(), fs::read(at(two)).unwrap(), "{one} and {two}");
    }

    assert!(esptools_image("esp32c3", "80m", &elf) == fs::read(&hello).unwrap());

    let port = format!("--port=sim:esp32c3,flash={}", at("board.flash"));
    let said = esplice(&["flash", &port, "--baud=921600", &hello]).check(0, &[]);
    assert!(said.out.contains("Chip is ESP32-C3"), "{said:#?}");
    assert!(said.out.contains("Hash of data verified"), "{said:#?}");
    let said = esplice(&["monitor", &port, "--expect", EXPECT, "--timeout", "5s"]).check(0, &[]);
    assert!(said.out.ends_with("Hello, World!\r\n"), "{said:#?}");
}

#[test]
fn the_example_for_other_chips() {
    check_other_chip("esp32c6", "80m", "ESP32-C6");
}

#[test]
#[ignore = "takes a minute: compiles the example for one more chip"]
fn the_example_for_one_more_chip() {
    check_other_chip("esp32h2", "48m", "ESP32-H2");
}

/// Compiles the example; its image equals esptool's, `image info` accepts it, and it runs.
fn check_other_chip(chip: &str, freq: &str, display_name: &str) {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    let (hello, elf) = (at(&format!("{chip}.bin")), at(&format!("{chip}.elf")));
    let args = ["build", "--target", chip, "--output", &hello, "examples/hello-rust"];
    let said = esplice(&args).check(0, &[]);
    assert!(said.out.contains(&format!("bytes for {display_name}")), "{said:#?}");
    assert!(esptools_image(chip, freq, &elf) == fs::read(&hello).unwrap(), "{chip}");
    // The chip is named in the ELF.
    let again = at("again.bin");
    esplice(&["build", "--elf", &elf, "--output", &again]).check(0, &[]);
    assert!(fs::read(&again).unwrap() == fs::read(&hello).unwrap(), "{chip}");
    let merged = at(&format!("{chip}.merged.bin"));
    let said = esplice(&["image", "info", &merged]).check(0, &[]);
    assert!(said.out.contains("bootloader") && said.out.contains(chip), "{said:#?}");
    // The chip's board executes the mask ROM.
    let rom = mask_rom::path_of(chip);
    let port = format!("--port=sim:{chip},flash={},rom={}", at("board.flash"), rom.display());
    let said = esplice(&["flash", &port, "--baud=921600", &hello]).check(0, &[]);
    assert!(said.out.contains("Hash of data verified"), "{said:#?}");
    let said = esplice(&["monitor", &port, "--expect", EXPECT, "--timeout", "5s"]).check(0, &[]);
    assert!(said.out.ends_with("Hello, World!\r\n"), "{said:#?}");
}

/// Makes the image of an ELF with esptool, an independent program; fails the test if it is missing.
fn esptools_image(chip: &str, freq: &str, elf: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("esptool.bin");
    let spelt_out = ["--flash-mode", "dio", "--flash-freq", freq, "--flash-size", "4MB"];
    let revisions = ["--min-rev-full", "0", "--max-rev-full", "65535"];
    let esptool = std::env::var_os("ESPLICE_ESPTOOL").unwrap_or("esptool".into());
    let output = std::process::Command::new(esptool)
        .args(["--chip", chip, "elf2image"])
        .args(spelt_out)
        .args(revisions)
        .arg("-o")
        .arg(&image)
        .arg(elf)
        .output()
        .expect("esptool can be started: install it, or name it in ESPLICE_ESPTOOL");
    assert!(output.status.success(), "{output:?}");
    fs::read(image).unwrap()
}

#[test]
fn source_that_does_not_compile() {
    let directory = tempfile::tempdir().unwrap();
    let example = repository().join("examples/hello-rust");
    // Another name: cargo distinguishes packages in one target directory by name.
    for name in ["Cargo.toml", "Cargo.lock", ".cargo/config.toml", "src/main.rs"] {
        let text = fs::read_to_string(example.join(name)).unwrap();
        let to = directory.path().join(name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, text.replace("hello-rust", "broken-rust")).unwrap();
    }
    let main = directory.path().join("src/main.rs");
    let source = fs::read_to_string(&main).unwrap();
    fs::write(&main, format!("{source}\nconst NUMBER: u32 = \"text\";\n")).unwrap();
    let output = directory.path().join("hello.bin");
    let (output, project) = (output.to_string_lossy(), directory.path().to_string_lossy());
    // The compiler's messages come first, then esplice's.
    let said = esplice(&["build", "--target", "esp32c3", "--output", &output, &project]);
    said.check(5, &["mismatched types", "error: cargo could not build broken-rust"]);
    assert!(!Path::new(&*output).exists());
}

/// Tests that depend on the compiler; `scripts/test` runs them with each one.
mod with_each_compiler {
    use super::*;

    #[test]
    fn run_takes_the_example_to_its_first_words() {
        let port = ["--port", "sim:esp32c3", "--expect", EXPECT];
        let said = esplice(&[&["run", "examples/hello-rust"], &port[..]].concat());
        let words = ["Chip is ESP32-C3", "Hash of data verified", "Expected output found"];
        let said = said.check(0, &words);
        assert!(said.out.ends_with("Hello, World!\r\n"), "{said:#?}");
    }
}
