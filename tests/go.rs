//! Tests Go firmware from source to its first output. A stand-in for TinyGo records its arguments
//! and returns an ELF of TinyGo's shape. With `--ignored`, the real TinyGo's image is compared with
//! esplice's.
#![cfg(unix)]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use crate::support::{self, Said, files, finish, repository, served::esptool};
use esplice_chip::FlashOffset;
use esplice_image::{Partition, PartitionTable};

const EXPECT: &str = r"Hello, World!\r\n";

/// Returns the firmware `tinygo-shape`, compiled once into a directory that is kept between runs.
fn shape() -> &'static [u8] {
    static ELF: OnceLock<Vec<u8>> = OnceLock::new();
    ELF.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let mut command = support::esplice(&repository());
        command.env("CARGO_TARGET_DIR", support::toolchain::firmware_target());
        let output = directory.path().join("shape.bin");
        command.args(["build", "--target", "esp32c3", "tests/firmware/tinygo-shape", "--output"]);
        finish(command.arg(output)).check(0, &[]);
        fs::read(directory.path().join("shape.elf")).unwrap()
    })
}

/// Links the same with feature `odd` by `script` in a directory, as `output` there.
fn odd_shape(at: &Path, script: &str, output: &str) -> Said {
    let mut command = support::esplice(&repository());
    command.env("CARGO_TARGET_DIR", support::toolchain::firmware_target());
    command.env("SHAPE_SCRIPT", at.join(script));
    command.args(["build", "--target", "esp32c3", "tests/firmware/tinygo-shape"]);
    command.args(["--features", "odd", "--output"]).arg(at.join(output));
    finish(&mut command)
}

/// Data aligned to 8 bytes shares four bytes with code in TinyGo's script. Such a program is
/// refused, and one that esplice links through TinyGo runs with both boot methods.
#[test]
fn code_and_data_that_share_bytes_are_refused_and_kept_apart() {
    let desk = Desk::new("0.33.0");
    let (at, root) = (desk.at(), desk.directory.path().join("bin/root"));
    let shape = repository().join("tests/firmware/tinygo-shape/shape.x");
    fs::create_dir_all(root.join("targets")).unwrap();
    fs::copy(&shape, root.join("targets/esp32c3.ld")).unwrap();
    let plain = fs::read_to_string(&shape).unwrap();
    fs::write(at.join("plain.x"), &plain).unwrap();
    let shared = [".data at 0x3fc8", ".iram at 0x4038", "share 4 bytes of sram", "hint: "];
    odd_shape(&at, "plain.x", "odd.bin").check(3, &shared);

    // TinyGo receives its own script plus the missing parts.
    let about = r#"{"target": {"llvm-target": "riscv32", "linkerscript": "targets/esp32c3.ld"}}"#;
    fs::write(desk.directory.path().join("bin/info"), about).unwrap();
    desk.run("build --target=esp32c3 --output=hello.bin").check(0, &[]);
    let script = fs::read_to_string(desk.directory.path().join("bin/script.ld")).unwrap();
    let spec = fs::read(desk.directory.path().join("bin/target.json")).unwrap();
    let spec: serde_json::Value = serde_json::from_slice(&spec).unwrap();
    assert_eq!(spec["inherits"], serde_json::json!(["m5stamp-c3"]));
    let included = format!("INCLUDE {}\n", shape.display());
    let own = script.replace("INCLUDE targets/esp32c3.ld\n", &included);
    assert_ne!(own, script);
    fs::write(at.join("own.x"), own).unwrap();
    odd_shape(&at, "own.x", "odd.bin").check(0, &[]);
    let elf = fs::read(at.join("odd.elf")).unwrap();
    assert!(fs::read(at.join("odd.bin")).unwrap() == tinygos_rule(&elf, true));
    desk.run("layout show --target=esp32c3 odd.elf").check(0, &[]);
    desk.run("image verify odd.bin").check(0, &[]);
    for boot in ["rom", "idf"] {
        let words = format!(
            "run --elf odd.elf --boot={boot} --target=esp32c3 --port=sim:esp32c3 --expect=World! \
             --timeout=5s"
        );
        desk.run(&words).check(0, &["Expected output found"]);
    }

    // A program that needs no gap is linked as by TinyGo itself.
    let mut command = support::esplice(&repository());
    command.env("CARGO_TARGET_DIR", support::toolchain::firmware_target());
    command.env("SHAPE_SCRIPT", at.join("own.x"));
    command.args(["build", "--target", "esp32c3", "tests/firmware/tinygo-shape", "--output"]);
    finish(command.arg(at.join("even.bin"))).check(0, &[]);
    assert!(desk.read("even.bin") == tinygos_rule(self::shape(), true));
}

/// A directory with a Go package and a TinyGo of this version on its PATH.
struct Desk {
    directory: tempfile::TempDir,
    version: String,
}

const STAND_IN: &str = include_str!("support/tinygo");

impl Desk {
    fn new(version: &str) -> Desk {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        for name in ["bin", "hello"] {
            fs::create_dir(at.join(name)).unwrap();
        }
        fs::write(at.join("hello/main.go"), "package main\n").unwrap();
        fs::write(at.join("bin/shape.elf"), shape()).unwrap();
        let said = format!("tinygo version {version} linux/amd64 (using go version go1.22.6)\n");
        fs::write(at.join("bin/version"), said).unwrap();
        fs::write(at.join("bin/tinygo"), STAND_IN).unwrap();
        fs::set_permissions(at.join("bin/tinygo"), fs::Permissions::from_mode(0o755)).unwrap();
        Desk { directory, version: version.to_owned() }
    }

    /// Returns the directory where commands run: the package's.
    fn at(&self) -> PathBuf {
        self.directory.path().join("hello")
    }

    fn run(&self, words: &str) -> Said {
        self.run_words(&words.split(' ').collect::<Vec<_>>())
    }

    fn run_words(&self, words: &[&str]) -> Said {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut search = vec![self.directory.path().join("bin")];
        search.extend(std::env::split_paths(&path));
        let mut command = support::esplice(&self.at());
        command.env("PATH", std::env::join_paths(search).unwrap());
        finish(command.args(words))
    }

    /// Returns the arguments that TinyGo received: the directory, then each word, without the ELF's
    /// path.
    fn asked(&self) -> Vec<String> {
        let text = fs::read_to_string(self.directory.path().join("bin/asked")).unwrap();
        let mut words: Vec<String> = text.lines().map(str::to_owned).collect();
        let output = words.iter().position(|word| word.starts_with("-o=")).unwrap();
        assert!(words.remove(output).ends_with("/firmware.elf"));
        let here = fs::canonicalize(self.at()).unwrap();
        assert_eq!(fs::canonicalize(words.remove(0)).unwrap(), here, "{}", self.version);
        words
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.at().join(name)).unwrap()
    }
}

#[test]
fn build_drives_tinygo_and_makes_its_image() {
    let desk = Desk::new("0.33.0");
    let said = desk.run("build --target=esp32c3 --main=main.go --output=hello.bin");
    let said = said.check(0, &["main.go:1:1: a word of the compiler's", "# package hello"]);
    assert_eq!(said.out.lines().count(), 1, "only results are on stdout: {said:#?}");
    assert_eq!(desk.asked(), ["build", "-target=m5stamp-c3", "-tags=esplice esp32c3", "main.go"]);
    let made = ["hello.bin", "hello.elf", "hello.merged.bin", "hello.plan.json", "main.go"];
    assert_eq!(files(&desk.at()), made);
    assert!(desk.read("hello.elf") == shape());
    let image = desk.read("hello.bin");
    assert!(image == tinygos_rule(shape(), true));
    assert!(desk.read("hello.merged.bin") == image);
    let plan: serde_json::Value = serde_json::from_slice(&desk.read("hello.plan.json")).unwrap();
    assert_eq!(plan["boot"], "rom", "{plan:#}");
    assert_eq!(plan["writes"].as_array().map(Vec::len), Some(1), "{plan:#}");

    // The same from the ELF, and esptool accepts the image.
    desk.run("build --target=esp32c3 hello.elf --output=again.bin").check(0, &[]);
    assert!(desk.read("again.bin") == image);
    // The chip is derived from the ELF's addresses.
    let said = desk.run("build hello.elf --output=named.bin").check(0, &[]);
    assert!(said.out.contains("for ESP32-C3"), "{said:#?}");
    assert!(desk.read("named.bin") == image);
    judged_by_esptool(&desk.at().join("hello.bin"));

    // Later releases omit the hash; a package may also be a directory.
    let desk = Desk::new("0.42.0");
    desk.run("build --target=esp32c3 --output=hello.bin").check(0, &[]);
    assert_eq!(desk.asked().last().unwrap(), ".");
    assert!(desk.read("hello.bin") == tinygos_rule(shape(), false));
}

/// Implements TinyGo's rule independently: a segment for each section with bytes in memory, in
/// order of address, padded to words, followed by the checksum and the hash.
fn tinygos_rule(elf: &[u8], hash: bool) -> Vec<u8> {
    let word = |at: usize| u32::from_le_bytes(elf[at..at + 4].try_into().unwrap()) as usize;
    let half = |at: usize| u16::from_le_bytes(elf[at..at + 2].try_into().unwrap()) as usize;
    let (headers, count) = (word(32), half(48));
    let mut sections = Vec::new();
    for at in (0..count).map(|number| headers + number * 40) {
        let [kind, flags, addr, offset, len] = [4, 8, 12, 16, 20].map(|field| word(at + field));
        // SHT_PROGBITS and SHF_ALLOC.
        if kind == 1 && flags & 2 != 0 && len != 0 {
            let mut data = elf[offset..offset + len].to_vec();
            data.resize(len.next_multiple_of(4), 0);
            sections.push((addr as u32, data));
        }
    }
    sections.sort();
    // Mode dio, 2 MB at 80 MHz, entry, WP pin off, chip 5.
    let mut image = vec![0xe9, sections.len() as u8, 2, 0x1f];
    image.extend_from_slice(&elf[24..28]);
    image.extend_from_slice(&[0xee, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, u8::from(hash)]);
    let mut checksum = 0xef;
    for (addr, data) in sections {
        image.extend_from_slice(&addr.to_le_bytes());
        image.extend_from_slice(&(data.len() as u32).to_le_bytes());
        checksum = data.iter().fold(checksum, |sum, byte| sum ^ byte);
        image.extend_from_slice(&data);
    }
    image.resize(image.len() + 15 - image.len() % 16, 0);
    image.push(checksum);
    if hash {
        let sum = esplice_image::sha256(&image);
        image.extend_from_slice(&sum);
    }
    image
}

/// Checks that esptool reads the image and confirms its checksum and hash.
fn judged_by_esptool(image: &Path) {
    let output = esptool().args(["--chip", "esp32c3", "image-info"]).arg(image).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    for word in ["(valid)", "Validation hash"] {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
    assert!(!text.contains("invalid"), "{text}");
}

#[test]
fn settings_reach_tinygo_in_both_styles() {
    let settings = r#"
        [project]
        target = "esp32c3"
        [build]
        tags = ["fast"]
        tinygo-target = "xiao-esp32c3"
        opt = "2"
        gc = "leaking"
        scheduler = "tasks"
        serial = "uart"
        panic = "trap"
        stack-size = "4KB"
        link-args = ["--defsym=a=1", "-Map=my map"]
    "#;
    let flags = ["-opt=2", "-gc=leaking", "-scheduler=tasks", "-serial=uart", "-panic=trap"];
    for version in ["0.33.0", "0.41.1"] {
        let desk = Desk::new(version);
        fs::write(desk.at().join("esplice.toml"), settings).unwrap();
        desk.run("build --tags more,tags --output out.bin").check(0, &[]);
        let asked = desk.asked();
        let after =
            ["-stack-size=4KB", "-ldflags=-extldflags='--defsym=a=1 '\\''-Map=my map'\\'''"];
        let (target, after) = if version == "0.33.0" {
            let json = fs::read(desk.directory.path().join("bin/target.json")).unwrap();
            let spec: serde_json::Value = serde_json::from_slice(&json).unwrap();
            assert_eq!(spec["inherits"][0], "xiao-esp32c3");
            assert_eq!(spec["ldflags"], serde_json::json!(["--defsym=a=1", "-Map=my map"]));
            assert!(asked[1].starts_with("-target=/"), "{asked:#?}");
            (asked[1].as_str(), &after[..1])
        } else {
            ("-target=xiao-esp32c3", &after[..])
        };
        let head = ["build", target, "-tags=esplice esp32c3 more tags"];
        assert_eq!(asked, [&head[..], &flags[..], after, &["."]].concat(), "{version}");
    }
    let desk = Desk::new("0.33.0");
    fs::write(desk.at().join("esplice.toml"), "[build]\nstack-sise = \"4KB\"\n").unwrap();
    desk.run("build").check(2, &["unknown key of [build] \"stack-sise\"", "\"stack-size\"?"]);
}

#[test]
fn a_memory_layout_reaches_tinygo_as_a_target_of_its_own() {
    let desk = Desk::new("0.41.1");
    let bin = desk.directory.path().join("bin");
    let file = "[project]\ntarget = \"esp32c3\"\n[layout.stack]\ngoroutine = \"4K\"\n\
                [layout.heap]\nsize = \"96K\"\n[[layout.arena]]\nname = \"dma\"\nsize = \"16K\"\n";
    fs::write(desk.at().join("esplice.toml"), file).unwrap();
    desk.run("build").check(1, &["tinygo did not report the linker script of target m5stamp-c3"]);

    let about = r#"{"target": {"llvm-target": "riscv32", "linkerscript": "targets/esp32c3.ld"}}"#;
    fs::write(bin.join("info"), about).unwrap();
    // The stand-in's ELF does not have the layout, which is detected.
    desk.run("build").check(6, &["esplice.toml:7: the ELF has no __esplice_arena_dma_start"]);
    let spec: serde_json::Value =
        serde_json::from_slice(&fs::read(bin.join("target.json")).unwrap()).unwrap();
    assert_eq!(spec["inherits"], serde_json::json!(["m5stamp-c3"]));
    assert!(spec["linkerscript"].as_str().unwrap().ends_with("/esplice-layout.ld"));
    let script = fs::read_to_string(bin.join("script.ld")).unwrap();
    assert!(script.contains("INCLUDE targets/esp32c3.ld\n"), "{script}");
    assert!(script.contains("_heap_end = _heap_start + 98304;"), "{script}");
    assert!(desk.asked().contains(&"-stack-size=4KB".to_owned()), "{:?}", desk.asked());

    fs::write(desk.at().join("esplice.toml"), file.replace("96K", "400K")).unwrap();
    let words = "esplice.toml:6: the heap of 400K (409600 bytes) does not fit in dram";
    desk.run("build").check(6, &[words]);
    let base = file.replace("[layout.stack]", "[layout]\nbase = \"esp-hal\"\n[layout.stack]");
    fs::write(desk.at().join("esplice.toml"), base).unwrap();
    desk.run("build").check(6, &["esplice.toml:4: base \"esp-hal\" is not for a Go package"]);
}

#[test]
fn both_layouts_run() {
    let desk = Desk::new("0.33.0");
    let port = format!("--target=esp32c3 --port=sim:esp32c3 --expect={EXPECT} --timeout=5s");
    let port = port.replace("Hello, World!", "World!");
    for (words, told) in [
        ("run main.go", "Hash of data verified (app: "),
        ("run . --boot=rom", "bytes at 0x0)"),
        ("run . --boot=idf", "bytes at 0x10000)"),
        ("run --elf ../bin/shape.elf", "bytes at 0x0)"),
    ] {
        let said = desk.run(&format!("{words} {port}")).check(0, &[told, "Expected output found"]);
        assert!(said.out.ends_with("Hello, World!\r\n"), "{words}: {said:#?}");
        let bootloader = said.out.contains("2nd stage bootloader");
        assert_eq!(bootloader, words.contains("idf"), "{words}: {said:#?}");
    }
}

#[test]
fn an_adopted_image_is_an_app_like_any() {
    let desk = Desk::new("0.33.0");
    desk.run("build --target=esp32c3 --boot=idf --output=hello.bin").check(0, &[]);
    let image = desk.at().join("hello.bin");
    judged_by_esptool(&image);
    let said = desk.run("image info hello.bin").check(0, &[]);
    assert!(said.out.contains("kind        app image"), "{said:#?}");
    assert!(said.out.contains("project     hello"), "{said:#?}");
    let hash = esplice_image::sha256(shape());
    let descriptor = esplice_image::AppDescriptor::of_image(&fs::read(&image).unwrap()).unwrap();
    assert_eq!(descriptor.elf_sha256, hash);

    // Without its plan, the image goes to the app's partition.
    fs::remove_file(desk.at().join("hello.plan.json")).unwrap();
    let words = "run hello.bin --port=sim:esp32c3,flash=b.flash --expect=World! --timeout=5s";
    desk.run(words).check(0, &["bytes at 0x10000)", "Expected output found"]);
    desk.run("flash hello.bin --boot=rom --port=sim:esp32c3")
        .check(6, &["hello.bin is an app image, which the ROM does not boot"]);

    // In an OTA slot selected by otadata.
    let mut flash = desk.read("b.flash");
    let row = |name: &str, kind, subtype, offset, len| Partition {
        name: name.into(),
        kind,
        subtype,
        offset: FlashOffset(offset),
        len,
        flags: 0,
    };
    let table = PartitionTable {
        partitions: vec![
            row("otadata", 1, 0, 0xd000, 0x2000),
            row("ota_0", 0, 0x10, 0x1_0000, 0x10_0000),
            row("ota_1", 0, 0x11, 0x11_0000, 0x10_0000),
        ],
    };
    let table = table.to_bytes().unwrap();
    let app = fs::read(&image).unwrap();
    flash[0x8000..0x8000 + table.len()].copy_from_slice(&table);
    flash[0x1_0000..0x1_0000 + app.len()].fill(0xff);
    flash[0x11_0000..0x11_0000 + app.len()].copy_from_slice(&app);
    // Number 2 and its CRC, as esp_ota_set_boot_partition writes them.
    flash[0xd000..0xd004].copy_from_slice(&2_u32.to_le_bytes());
    flash[0xd01c..0xd020].copy_from_slice(&0x55f6_3774_u32.to_le_bytes());
    assert_eq!(esplice_image::booted_slot(&flash[0xd000..0xf000], 2), Some(1));
    fs::write(desk.at().join("ota.flash"), flash).unwrap();
    let said = desk.run("monitor --port=sim:esp32c3,flash=ota.flash --expect=World! --timeout=5s");
    let said = said.check(0, &["Expected output found"]);
    assert!(said.out.contains("Loaded app from partition at offset 0x110000"), "{said:#?}");
}

#[test]
fn an_image_for_the_rom_goes_to_the_boot_offset_only_when_asked() {
    let desk = Desk::new("0.33.0");
    desk.run("build --target=esp32c3 --output=hello.bin").check(0, &[]);
    let flash = "flash hello.bin --port=sim:esp32c3,flash=b.flash";
    desk.run(flash).check(0, &[]);
    let image = desk.read("hello.bin");
    assert!(desk.read("b.flash").starts_with(&image), "the plan decides the offset");

    fs::remove_file(desk.at().join("hello.plan.json")).unwrap();
    desk.run(flash).check(6, &["hello.bin has no app descriptor", "--boot rom"]);
    fs::remove_file(desk.at().join("b.flash")).unwrap();
    let said = desk.run(&format!("{flash} --boot=rom")).check(0, &[]);
    assert!(said.out.contains("bytes at 0x0)"), "{said:#?}");
    assert!(desk.read("b.flash").starts_with(&image));
}

#[test]
fn what_goes_wrong_is_told() {
    let desk = Desk::new("0.33.0");
    let build = "build --target=esp32c3 --main=main.go --output=out.bin";
    let mut command = support::esplice(&desk.at());
    command.env("PATH", "/nowhere").args(build.split(' '));
    finish(&mut command).check(
        4,
        &[
            "tinygo, the Go compiler for the chip, is not on the path",
            "hint: install TinyGo",
            "tinygo.org",
        ],
    );

    desk.run(&format!("{build} --tinygo-target=xiao-esp32-c3"))
        .check(2, &["TinyGo 0.33.0 has no target", "did you mean \"xiao-esp32c3\"?"]);
    desk.run("build --target=esp32c2 --output=out.bin").check(4, &["does not know the ESP32-C2"]);
    desk.run("build --target=esp32s3 --output=out.bin").check(4, &["esp32s3-generic", "newer"]);
    desk.run("build --output=out.bin").check(2, &[". does not specify its chip"]);
    desk.run("build none.go").check(3, &["cannot read none.go"]);
    desk.run(&format!("{build} --boot=bios")).check(2, &["bios", "idf, rom"]);

    let no_go = desk.directory.path().join("bin/no-go");
    fs::write(&no_go, "").unwrap();
    desk.run(build).check(4, &["tinygo cannot find go", "hint: install Go"]);
    fs::remove_file(no_go).unwrap();

    fs::write(desk.directory.path().join("bin/fails"), "").unwrap();
    desk.run(build)
        .check(5, &["a word of the compiler's", "tinygo could not build main (exit code 1)"]);
    fs::write(desk.directory.path().join("bin/version"), "Go 1.22\n").unwrap();
    desk.run(build).check(4, &["did not print its version but \"Go 1.22\""]);
    assert_eq!(files(&desk.at()), ["main.go"], "no files are left");

    let stripped = stripped(shape());
    fs::write(desk.at().join("stripped.elf"), stripped).unwrap();
    desk.run("build --target=esp32c3 --boot=idf stripped.elf --output=out.bin")
        .check(3, &["stripped.elf: ELF has no symbol _start", "hint: "]);
}

/// Returns the ELF without a symbol table: the table's type is changed to an unknown one.
fn stripped(elf: &[u8]) -> Vec<u8> {
    let word = |at: usize| u32::from_le_bytes(elf[at..at + 4].try_into().unwrap()) as usize;
    let count = u16::from_le_bytes([elf[48], elf[49]]) as usize;
    let mut bytes = elf.to_vec();
    for at in (0..count).map(|number| word(32) + number * 40) {
        // SHT_SYMTAB.
        if word(at + 4) == 2 {
            bytes[at + 4..at + 8].copy_from_slice(&0x6000_0000_u32.to_le_bytes());
        }
    }
    bytes
}

/// Sizes as users write them, in the file and as a flag, reach TinyGo in a form that it accepts.
#[test]
fn stack_sizes_have_tinygos_unit() {
    let desk = Desk::new("0.33.0");
    for (written, word) in
        [("4096", "4KB"), ("4K", "4KB"), ("4KB", "4KB"), ("4KiB", "4KB"), ("1000", "1000B")]
    {
        desk.run(&format!("build --target=esp32c3 --output=a.bin --stack-size {written}"))
            .check(0, &[]);
        assert!(desk.asked().contains(&format!("-stack-size={word}")), "{written}");
        let file = format!("[build]\nstack-size = \"{written}\"\n");
        fs::write(desk.at().join("esplice.toml"), file).unwrap();
        desk.run("build --target=esp32c3 --output=a.bin").check(0, &[]);
        assert!(desk.asked().contains(&format!("-stack-size={word}")), "{written}");
        fs::remove_file(desk.at().join("esplice.toml")).unwrap();
    }
    desk.run("build --target=esp32c3 --stack-size 4X").check(2, &["is not a size such as 4K"]);
}

#[test]
fn flags_of_gos_linker_reach_it() {
    let args = |flags: &'static str| ["build", "--target=esp32c3", "--output=a.bin", flags];
    for version in ["0.33.0", "0.41.1"] {
        let desk = Desk::new(version);
        for flags in ["--ldflags=-X main.version=1.2", "-ldflags=-X main.version=1.2"] {
            desk.run_words(&args(flags)).check(0, &[]);
            assert!(desk.asked().contains(&"-ldflags=-X main.version=1.2".to_owned()), "{version}");
        }
        let file = "[build]\nldflags = \"-X main.version=1.3\"\nlink-args = [\"-Map=m\"]\n";
        fs::write(desk.at().join("esplice.toml"), file).unwrap();
        desk.run("build --target=esp32c3 --output=a.bin").check(0, &[]);
        let all = match version {
            "0.33.0" => "-ldflags=-X main.version=1.3",
            _ => "-ldflags=-X main.version=1.3 -extldflags=-Map=m",
        };
        assert!(desk.asked().contains(&all.to_owned()), "{:?}", desk.asked());
        let ext = desk.run_words(&args("--ldflags=-extldflags=-Map=m"));
        match version {
            "0.33.0" => drop(ext.check(2, &["has no -extldflags", "link-args in [build]"])),
            _ => drop(ext.check(0, &[])),
        }
    }
}

#[test]
fn flags_that_mean_nothing_for_go_are_refused() {
    let desk = Desk::new("0.33.0");
    for (flag, hint) in [
        ("--features a", "hint: Go has build tags: --tags"),
        ("--bin a", "hint: give the directory of the Go package"),
        ("--release", "hint: TinyGo has levels: --opt"),
        ("--locked", "hint: leave --locked out"),
        ("--stable", "hint: leave --stable out"),
    ] {
        let name = flag.split(' ').next().unwrap();
        let told = format!("{name} is for cargo projects, and . is a Go package");
        desk.run(&format!("build --target=esp32c3 {flag}")).check(2, &[&told, hint]);
    }
    fs::write(desk.at().join("shape.elf"), shape()).unwrap();
    desk.run("build --target=esp32c3 --tags a shape.elf")
        .check(2, &["--tags is for Go packages, and shape.elf is already compiled"]);
}

#[test]
fn patterns_import_paths_and_single_files_are_answered() {
    let desk = Desk::new("0.33.0");
    desk.run("build ./...").check(3, &["firmware is one package", "./cmd/NAME"]);
    desk.run("build example.com/hello/cmd/fw").check(3, &["not its import path"]);
    fs::write(desk.at().join("go.mod"), "module example.com/hello\n\ngo 1.22\n").unwrap();
    fs::create_dir_all(desk.at().join("cmd/fw")).unwrap();
    desk.run("build example.com/hello/cmd/fw").check(3, &["here ./cmd/fw"]);

    fs::write(desk.at().join("app.go"), "package main\n").unwrap();
    fs::write(desk.directory.path().join("bin/fails"), "").unwrap();
    desk.run("build --target=esp32c3 --main main.go")
        .check(5, &["main.go was compiled without app.go: pass the directory"]);
    let said = desk.run("build --target=esp32c3 .").check(5, &[]);
    assert!(!said.err.contains("alone"), "{said:#?}");
}

#[test]
fn a_layout_is_checked_for_tinygo() {
    let desk = Desk::new("0.33.0");
    let file = "[project]\ntarget = \"esp32c3\"\n[layout.stack]\ngoroutine = \"4K\"\n\
                [layout.heap]\nsize = \"96K\"\n";
    fs::write(desk.at().join("esplice.toml"), file).unwrap();
    let said = desk.run("layout check --format json").check(0, &[]);
    assert_eq!(support::result(&said)["value"]["base"], "tinygo", "{said:#?}");
}

#[test]
#[ignore = "needs TinyGo, which scripts/setup does not install"]
fn a_real_tinygos_image_equals_ours() {
    let found = std::process::Command::new("tinygo").arg("version").output();
    let works = found.as_ref().is_ok_and(|output| output.status.success());
    assert!(works, "no tinygo on PATH: install it from https://tinygo.org ({found:?})");
    let directory = tempfile::tempdir().unwrap();
    let ours = directory.path().join("ours.bin");
    let mut command = support::esplice(&repository());
    command.args(["build", "examples/hello-go", "--tinygo-target=m5stamp-c3", "--output"]);
    finish(command.arg(&ours)).check(0, &[]);
    let theirs = directory.path().join("theirs.bin");
    let built = std::process::Command::new("tinygo")
        .args(["build", "-target=m5stamp-c3", "-tags=esplice esp32c3", "-serial=uart", "-o"])
        .arg(&theirs)
        .arg(".")
        .current_dir(repository().join("examples/hello-go"))
        .status();
    assert!(built.unwrap().success());
    assert!(fs::read(&ours).unwrap() == fs::read(&theirs).unwrap(), "the images differ");
    let mut command = support::esplice(&repository());
    command.args(["run", "examples/hello-go", "--port=sim:esp32c3", "--timeout=10s"]);
    finish(command.args(["--expect", EXPECT])).check(0, &["Expected output found"]);
}
