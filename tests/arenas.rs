//! Builds the example with a heap and three arenas, boots it on the virtual board, and compares it
//! with its own ELF. These tests compile firmware, into a directory that is kept between runs.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use crate::support::{self, Said, finish, repository, toolchain::firmware_target};
use esplice_chip::{Chip, ChipDb};
use esplice_layout::{Layout, Linker, Spec, inject};
use esplice_toolchain::{CargoOptions, Machine, build_cargo, find_rust};
use object::{Object as _, ObjectSymbol as _};

fn esplice(args: &[&str]) -> Said {
    let mut command = support::esplice(&repository());
    command.env("CARGO_TARGET_DIR", firmware_target());
    finish(command.args(args))
}

/// Returns the symbols of an ELF, as read by the `object` crate.
fn symbols(elf: &Path) -> BTreeMap<String, u64> {
    let bytes = fs::read(elf).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let named =
        |symbol: object::Symbol<'_, '_>| Some((symbol.name().ok()?.to_owned(), symbol.address()));
    file.symbols().filter_map(named).collect()
}

#[test]
fn the_same_for_a_chip_with_one_bus() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    let (image, elf) = (at("arenas.bin"), at("arenas.elf"));
    let build = ["build", "examples/arenas-rust", "--target=esp32c6", "--output", &image];
    esplice(&build).check(0, &[]);
    let check = ["layout", "check", "examples/arenas-rust", "--elf", &elf, "--target=esp32c6"];
    esplice(&check).check(0, &[]);
    let symbols = symbols(Path::new(&elf));
    // targets/esp32c6.toml: dram2.
    assert_eq!(symbols["__esplice_arena_frames_start"], 0x4086_e700);
}

/// Copies a firmware project under another name: cargo distinguishes packages in one target
/// directory by name.
fn copy(example: &str, name: &str, to: &Path) {
    let from = repository().join("examples").join(example);
    let crates = repository().join("crates");
    for file in [
        "Cargo.toml",
        "Cargo.lock",
        ".cargo/config.toml",
        "build.rs",
        "esplice.toml",
        "src/main.rs",
    ] {
        let Ok(text) = fs::read_to_string(from.join(file)) else { continue };
        let to = to.join(file);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let text = text.replace("../../crates", &crates.to_string_lossy());
        fs::write(to, text.replace(example, name)).unwrap();
    }
}

#[test]
fn build_rs_and_esplice_give_the_same_and_a_change_links_anew_the_last_crate_alone() {
    let chip = ChipDb::embedded().find("esp32c3").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let project = directory.path();
    copy("arenas-rust", "same-rust", project);
    let path = project.to_string_lossy();
    let image = project.join("same.bin");
    let output = image.to_string_lossy();
    let build = ["build", "--target=esp32c3", "--output", &output, &path];
    esplice(&build).check(0, &[]);
    let by_esplice = fs::read(project.join("same.elf")).unwrap();

    // Nothing is compiled if unchanged, and the last crate with another layout.
    let compiled = |said: &Said| -> Vec<String> {
        let words = |line: &str| {
            Some(line.trim().strip_prefix("Compiling ")?.split(' ').next()?.to_owned())
        };
        // Esplice's status line names a directory.
        said.err.lines().filter(|line| line.contains(" v0.1.0")).filter_map(words).collect()
    };
    let said = esplice(&build).check(0, &[]);
    assert_eq!(compiled(&said), [""; 0], "{said:#?}");
    let file = project.join("esplice.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("size = \"96K\"", "size = \"80K\"")).unwrap();
    let said = esplice(&build).check(0, &[]);
    assert_eq!(compiled(&said), ["same-rust"], "{said:#?}");
    let lines = said.err.lines().filter(|line| line.trim().starts_with("Compiling ")).count();
    assert_eq!(lines, 2, "ours and cargo's: {said:#?}");
    let (old, new) = (project.join("old.elf"), output.replace(".bin", ".elf"));
    fs::write(&old, &by_esplice).unwrap();
    let said = esplice(&["layout", "diff", &old.to_string_lossy(), &new]).check(0, &[]);
    assert!(said.out.contains("98304 -> 81920 bytes (-16384)"), "{said:#?}");

    fs::write(&file, &text).unwrap();

    // A user's plain `cargo build --release`, with the compiler found here.
    let machine = Machine::in_directory(project);
    let toolchain = find_rust(chip, ChipDb::embedded(), &machine).unwrap();
    let mut cargo = Command::new(&toolchain.cargo);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_") && name != "CARGO_HOME"
            || name.starts_with("ESPLICE")
            || name == "RUSTUP_TOOLCHAIN"
        {
            cargo.env_remove(name);
        }
    }
    let status = cargo
        .current_dir(project)
        .args(["build", "--release", "--quiet"])
        .args(toolchain.arguments())
        .envs(toolchain.variables())
        .env("CARGO_TARGET_DIR", firmware_target())
        .env("SOURCE_DATE_EPOCH", esplice_toolchain::SOURCE_DATE_EPOCH)
        .status()
        .unwrap();
    assert!(status.success());
    let elf = firmware_target().join(&toolchain.target).join("release/same-rust");
    assert!(fs::read(elf).unwrap() == by_esplice, "build.rs gives another ELF than esplice build");

    // Initialised data in a place that nothing is loaded into.
    fs::write(&file, &text).unwrap();
    let main = project.join("src/main.rs");
    let source = fs::read_to_string(&main).unwrap();
    let data = "#[used]\n#[unsafe(link_section = \".esplice.arena.dma\")]\nstatic TABLE: [u8; 4] = [1, 2, 3, 4];\n";
    fs::write(&main, format!("{source}\n{data}")).unwrap();
    let said = esplice(&build);
    let words = "arena dma is no-load and has initialised data: ";
    let said = said.check(6, &[words]);
    assert!(said.err.contains("TABLE"), "{said:#?}");
}

/// Links both examples again with GNU ld, from the same inputs as lld.
#[test]
fn every_example_is_linked_by_both_linkers() {
    let examples =
        |chip| [("hello-rust", None), ("arenas-rust", Some(layout_of("arenas-rust", chip)))];
    let chips = ["esp32c3", "esp32c6"].map(|chip| ChipDb::embedded().find(chip).unwrap());
    for (chip, (example, layout)) in
        chips.into_iter().flat_map(|chip| examples(chip).map(|example| (chip, example)))
    {
        let directory = tempfile::tempdir().unwrap();
        let project = directory.path().join(format!("both-{example}"));
        copy(example, &format!("both-{example}"), &project);
        let inputs = directory.path().join("inputs.tar");
        let options = CargoOptions::default()
            .target_dir(Some(firmware_target()))
            .link_args(vec![format!("--reproduce={}", inputs.display())])
            .layout(layout.clone());
        let artifact = build_cargo(&project, chip, &options).unwrap();
        let by_lld = symbols(&artifact.elf);

        let status =
            Command::new("tar").arg("xf").arg(&inputs).current_dir(&directory).status().unwrap();
        assert!(status.success());
        let elf = link_by_gnu(&directory.path().join("inputs"), layout.as_ref());
        let by_gnu = symbols(&elf);
        let ours = |symbols: &BTreeMap<String, u64>| -> Vec<(String, u64)> {
            let of_layout = |name: &str| {
                name.starts_with("__esplice_") && name != "__esplice_seen"
                    || matches!(name, "_stack_start" | "_stack_end")
            };
            symbols
                .iter()
                .filter(|(name, _)| of_layout(name))
                .map(|(n, a)| (n.clone(), *a))
                .collect()
        };
        assert_eq!(ours(&by_lld), ours(&by_gnu), "{example} for {}", chip.name);
        assert!(!ours(&by_gnu).is_empty());
        if let Some(layout) = &layout {
            let defects = esplice_link::check(&fs::read(&elf).unwrap(), layout).unwrap();
            assert_eq!(defects, []);
        }
    }
}

fn layout_of(example: &str, chip: &'static Arc<Chip>) -> Layout {
    let path = repository().join("examples").join(example).join("esplice.toml");
    let spec = Spec::parse("esplice.toml", &fs::read_to_string(path).unwrap()).unwrap().unwrap();
    spec.settle(chip).unwrap()
}

/// Links the inputs that lld kept, with the layout's script for GNU ld before linkall.x, as
/// `esplice build` does: cargo puts `cargo rustc`'s arguments before those of its configuration.
fn link_by_gnu(inputs: &Path, layout: Option<&Layout>) -> PathBuf {
    let response = fs::read_to_string(inputs.join("response.txt")).unwrap();
    let elf = inputs.join("by-gnu.elf");
    let mut linker = Command::new("riscv64-unknown-elf-ld");
    linker
        .current_dir(inputs)
        .args(["-m", "elf32lriscv", "--gc-sections", "-z", "noexecstack", "-o"])
        .arg(&elf);
    let words: Vec<&str> = response.split_whitespace().map(|word| word.trim_matches('"')).collect();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        match word {
            "-L" | "-l" => {
                linker.arg(word).arg(words.next().unwrap());
            }
            "-o" | "--output" => drop(words.next()),
            word if word.contains("esplice-layout") => {}
            word if word.ends_with(".o")
                || word.ends_with(".rlib")
                || word.starts_with("-l")
                || word.starts_with("-L") =>
            {
                linker.arg(word);
            }
            _ => {}
        }
    }
    if let Some(layout) = layout {
        let injection = inject(layout, Linker::Gnu);
        for file in &injection.files {
            fs::write(inputs.join(file.name), &file.bytes).unwrap();
        }
        linker.args(injection.link_args(&inputs.to_string_lossy()));
    }
    linker.arg("-Tlinkall.x");
    let output = linker.output().expect("GNU ld for RISC-V is installed: scripts/setup --tests");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    elf
}

/// Tests that depend on the compiler; `scripts/test` runs them with each one.
mod with_each_compiler {
    use super::*;

    #[test]
    fn the_arenas_lie_where_the_elf_says() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
        let (image, elf) = (at("arenas.bin"), at("arenas.elf"));
        let build = ["build", "examples/arenas-rust", "--target=esp32c3", "--output", &image];
        esplice(&build).check(0, &[]);

        let port = format!("sim:esp32c3,flash={}", at("board.flash"));
        let expect = r"all is where it should be\r\n";
        let run = ["run", "--elf", &elf, "--port", &port, "--expect", expect, "--timeout", "10s"];
        let said = esplice(&run).check(0, &[]);

        // "arena dma at 0x3fc81040, 16384 bytes", "heap at 0x3fc85040, 98304 bytes"
        let symbols = symbols(Path::new(&elf));
        let mut told = 0;
        for line in said.out.lines().filter(|line| line.contains(" at 0x")) {
            let (name, place) = line.trim_end().split_once(" at 0x").unwrap();
            let (addr, len) = place.split_once(", ").unwrap();
            let addr = u64::from_str_radix(addr, 16).unwrap();
            let len: u64 = len.strip_suffix(" bytes").unwrap().parse().unwrap();
            let symbol = format!("__esplice_{}", name.replace(' ', "_"));
            assert_eq!(symbols[&format!("{symbol}_start")], addr, "{line}");
            assert_eq!(symbols[&format!("{symbol}_end")], addr + len, "{line}");
            assert_eq!(symbols[&format!("{symbol}_size")], len, "{line}");
            told += 1;
        }
        assert_eq!(told, 4, "{said:#?}");
        assert_eq!(symbols["__go_heap_start"], symbols["__esplice_heap_start"]);
        assert_eq!(symbols["__go_heap_end"], symbols["__esplice_heap_end"]);

        let check = ["layout", "check", "examples/arenas-rust", "--elf", &elf];
        esplice(&check).check(0, &[]);
        let said = esplice(&["layout", "show", &elf]).check(0, &[]);
        for words in ["  arena    0x50000000      1024  log", "  heap     0x", "  stack    0x"] {
            assert!(said.out.contains(words), "{said:#?}");
        }
        // The image contains nothing of heap and arenas.
        assert!(fs::metadata(&image).unwrap().len() < 100_000);
    }

    #[test]
    fn the_largest_heap_that_fits_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let project = directory.path();
        copy("arenas-rust", "room-rust", project);
        let image = project.join("room.bin");
        let (path, output) = (project.to_string_lossy(), image.to_string_lossy());
        let build = ["build", "--target=esp32c3", "--output", &output, &path];
        let file = project.join("esplice.toml");
        let text = fs::read_to_string(&file).unwrap();
        let sized = |size: &str| fs::write(&file, text.replace("size = \"96K\"", size)).unwrap();
        // Too large for this program: the linker refuses it, and the error names the line.
        sized("size = \"279K\"");
        let said = esplice(&build)
            .check(6, &["esplice.toml:6: the heap of 279K (285696 bytes) does not fit in dram"]);
        // The exact size depends on the compiler.
        let (_, largest) = said.err.split_once("hint: the largest that fits is ").unwrap();
        let number = largest.split(" bytes").next().unwrap().rsplit([' ', '(']).next().unwrap();
        let largest: u32 = number.parse().unwrap();
        assert!((96 << 10..279 << 10).contains(&largest), "{said:#?}");
        sized(&format!("size = {largest}"));
        esplice(&build).check(0, &[]);
        sized(&format!("size = {}", largest + 16));
        esplice(&build).check(6, &["hint: the largest that fits is ", number]);
    }
}
