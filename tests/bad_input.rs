//! Invalid input is refused with its own exit code and a fact, and leaves no files.

use std::{fs, path::Path};

use crate::support::{self, elf, esplice, files, finish, run};

/// Checks that `build --elf` of an ELF changed by `change` fails, and creates no output.
#[track_caller]
fn check_elf(change: impl FnOnce(&mut elf::Elf), exit: i32, words: &[&str]) {
    let mut elf = elf::hello("Hello\r\n");
    change(&mut elf);
    check_bytes(&elf.to_bytes(), exit, words);
}

#[track_caller]
fn check_bytes(bytes: &[u8], exit: i32, words: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    fs::write(at.join("app.elf"), bytes).unwrap();
    run(at, "build --target esp32c3 --elf app.elf --output out.bin").check(exit, words);
    assert_eq!(files(at), ["app.elf"]);
    assert_eq!(fs::read(at.join("app.elf")).unwrap(), bytes);
}

#[test]
fn what_is_no_elf() {
    check_bytes(b"", 3, &["error: app.elf is "]);
    check_bytes(b"notes, not a program\n", 3, &["error: app.elf is ", "text"]);
    check_bytes(b"\x7fELF", 3, &["error: app.elf: "]);
    check_bytes(b"PK\x03\x04", 3, &["error: app.elf is "]);
}

#[test]
fn an_elf_for_another_machine() {
    check_elf(
        |elf| elf.machine = 94,
        3,
        &["error: app.elf: ", "Xtensa", "ESP32-C3", "RISC-V", "hint: "],
    );
    check_elf(|elf| elf.machine = 62, 3, &["x86-64", "ESP32-C3"]);
}

#[test]
fn a_segment_outside_every_region() {
    check_elf(
        |elf| elf.sections[1].addr = 0x1000_0000,
        3,
        &["error: app.elf: .text at 0x10000000", "outside every memory region", "hint: "],
    );
}

#[test]
fn a_segment_past_its_region() {
    check_elf(
        |elf| {
            elf.sections[1].addr = 0x403d_ff00;
            elf.sections[1].data = vec![0; 0x200];
        },
        3,
        &[".text at 0x403dff00", "256 bytes past region iram"],
    );
}

#[test]
fn an_image_too_large_for_its_partition() {
    check_elf(
        |elf| elf.sections[1].data.resize(0x40_0000, 0x13),
        6,
        &["error: ", "too large for partition factory (4128768 bytes)", "hint: "],
    );
}

#[test]
fn every_truncation_of_an_elf() {
    let elf = elf::hello("Hello\r\n").to_bytes();
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    for len in (1..elf.len()).step_by(31) {
        fs::write(at.join("app.elf"), &elf[..len]).unwrap();
        let said = run(at, "build --target esp32c3 --elf app.elf --output out.bin");
        said.check(3, &["error: app.elf"]);
        assert_eq!(files(at), ["app.elf"]);
    }
}

/// Checks that the command is refused before the port is opened: no port has that name.
#[track_caller]
fn check_image(at: &Path, words: &[&str]) {
    run(at, "flash --port /dev/esplice-has-no-such-port bad.bin").check(3, words);
    run(at, "image info bad.bin").check(3, words);
}

#[test]
fn truncated_and_changed_images() {
    let directory = support::built_hello("Hello\r\n");
    let at = directory.path();
    let image = fs::read(at.join("hello.bin")).unwrap();

    for len in [1, 23, 24, 25, 100, 1000, image.len() - 33, image.len() - 1] {
        fs::write(at.join("bad.bin"), &image[..len]).unwrap();
        check_image(at, &["error: bad.bin: "]);
    }
    // A changed first byte makes it another kind of file; the last 32 bytes are the hash.
    for place in [1, 0x40, 0x400, image.len() / 2, image.len() - 33, image.len() - 1] {
        let mut bad = image.clone();
        bad[place] ^= 0x10;
        fs::write(at.join("bad.bin"), bad).unwrap();
        check_image(at, &["error: bad.bin: "]);
    }
}

#[test]
fn an_image_for_another_chip() {
    let directory = support::built_hello("Hello\r\n");
    let at = directory.path();
    let mut image = fs::read(at.join("hello.bin")).unwrap();
    // The ids of the ESP32-S3 and of no chip, in byte 12 of the header.
    for (id, words) in [(9, "ESP32-S3"), (99, "99")] {
        image[12] = id;
        let hash_at = image.len() - 32;
        let hash = esplice_image::sha256(&image[..hash_at]);
        image[hash_at..].copy_from_slice(&hash);
        fs::write(at.join("other.bin"), &image).unwrap();
        let said = run(at, "flash --target esp32c3 --port /dev/esplice-has-no-such-port other.bin");
        said.check(12, &["error: other.bin: ", words]);
    }
}

#[test]
fn what_the_flash_cannot_hold() {
    let directory = support::built_hello("Hello\r\n");
    let at = directory.path();
    let build = "build --target esp32c3 --elf hello.elf --output new.bin --flash-size";
    let said = run(at, &format!("{build} 32M"));
    said.check(2, &["--flash-size: ESP32-C3 has no flash of 32M (33554432 bytes)", "1MB, 2MB, 4"]);
    assert!(files(at).iter().all(|name| !name.starts_with("new")));
    // The built-in table is as long as the flash.
    run(at, &format!("{build} 1MB")).check(0, &[]);

    // Detected before the port is opened.
    let flash = "flash hello.bin --port /dev/esplice-has-no-such-port --offset";
    run(at, &format!("{flash} 0x10001")).check(6, &["0x10001", "a multiple of 0x1000"]);
    // Detected by facts of the board.
    run(at, "flash hello.bin --port sim:esp32c3 --offset 0x3ff000")
        .check(6, &["bytes past the flash of 4194304 bytes"]);
    fs::write(at.join("small.flash"), vec![0xff; 1 << 20]).unwrap();
    fs::write(at.join("table.csv"), "factory,app,factory,0x10000,1M\n").unwrap();
    run(at, "flash hello.bin --port sim:esp32c3,flash=small.flash --partition-table table.csv")
        .check(6, &["partition factory ends at 0x110000, the flash at 0x100000"]);
    assert!(fs::read(at.join("small.flash")).unwrap().iter().all(|byte| *byte == 0xff));
    run(at, "flash hello.bin --port sim:esp32c3,flash=small.flash").check(0, &[]);
}

#[test]
fn what_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    run(at, "build --elf none.elf").check(3, &["error: cannot read none.elf: "]);
    run(at, "image info none.bin").check(3, &["error: cannot read none.bin: "]);
    #[cfg(unix)]
    {
        nix::unistd::mkfifo(&at.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        run(at, "image info pipe")
            .check(3, &["cannot read pipe: it is a pipe that nothing writes"]);
        run(at, "flash --port /dev/null --offset 0 --target esp32c3 pipe").check(3, &["pipe"]);
        fs::remove_file(at.join("pipe")).unwrap();
        fs::write(at.join("x.bin"), "x").unwrap();
        run(at, "flash --port /dev/null --offset 0 --target esp32c3 x.bin")
            .check(2, &["port /dev/null is not a serial port", "hint: ", "/dev/ttyUSB0"]);
        fs::remove_file(at.join("x.bin")).unwrap();
    }
    run(at, "build").check(3, &["error: . has neither Cargo.toml nor .go files", "hint: "]);
    run(at, "config nowhere").check(3, &["error: nowhere is not a directory"]);
}

#[test]
fn the_input_is_never_an_output() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let elf = elf::hello("Hello\r\n").to_bytes();
    fs::write(at.join("hello.bin"), &elf).unwrap();
    let words = "build --target esp32c3 --elf hello.bin --output hello.bin";
    run(at, words).check(2, &["error: hello.bin is the input", "hint: "]);
    run(at, "build --target esp32c3 hello.bin").check(2, &["error: hello.bin is the input"]);
    assert_eq!(files(at), ["hello.bin"]);
    assert_eq!(fs::read(at.join("hello.bin")).unwrap(), elf);
}

#[test]
fn image_only_writes_the_image_and_nothing_else() {
    let directory = support::built_hello("Hello\r\n");
    let at = directory.path();
    let words = "build --target esp32c3 --elf hello.elf --output alone.bin --image-only";
    run(at, words).check(0, &[]);
    let mut expected = ["alone.bin", "hello.bin", "hello.elf", "hello.merged.bin"].to_vec();
    expected.push("hello.plan.json");
    assert_eq!(files(at), expected);
    assert_eq!(fs::read(at.join("alone.bin")).unwrap(), fs::read(at.join("hello.bin")).unwrap());
}

#[test]
fn outputs_that_stood_there_stay_when_the_command_fails() {
    let directory = support::built_hello("Hello\r\n");
    let at = directory.path();
    let before: Vec<Vec<u8>> =
        files(at).iter().map(|name| fs::read(at.join(name)).unwrap()).collect();
    fs::write(at.join("app.elf"), "not an ELF").unwrap();
    run(at, "build --target esp32c3 --elf app.elf --output hello.bin").check(3, &[]);
    fs::remove_file(at.join("app.elf")).unwrap();
    let after: Vec<Vec<u8>> =
        files(at).iter().map(|name| fs::read(at.join(name)).unwrap()).collect();
    assert_eq!(before, after);
}

/// A limit on file size simulates a full disk: the same system call fails half-way.
#[cfg(unix)]
#[test]
fn a_disk_that_is_full() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    fs::write(at.join("app.elf"), elf::hello("Hello\r\n").to_bytes()).unwrap();
    let program = assert_cmd::cargo::cargo_bin!("esplice");
    let script = format!(
        "trap '' XFSZ; ulimit -f 8; exec '{}' build --target esp32c3 --elf app.elf --output out.bin",
        program.display()
    );
    let mut command = assert_cmd::Command::new("sh");
    let said = finish(command.current_dir(at).args(["-c", &script]));
    said.check(1, &["error: cannot write out.bin: "]);
    assert_eq!(files(at), ["app.elf"]);
}

#[test]
fn no_toolchain() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    fs::write(at.join("Cargo.toml"), "[package]\nname = \"a\"\nedition = \"2024\"\n").unwrap();
    fs::create_dir(at.join("src")).unwrap();
    fs::write(at.join("src/main.rs"), "").unwrap();
    let mut command = esplice(at);
    command.env("PATH", "").args(["build", "--target", "esp32c3", "--output", "out.bin"]);
    finish(&mut command).check(4, &["error: no ", "riscv32imc-unknown-none-elf", "hint: "]);
    assert_eq!(files(at), ["Cargo.toml", "src"]);
}

#[test]
fn no_target() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    fs::write(at.join("app.elf"), elf::hello("Hello\r\n").to_bytes()).unwrap();
    run(at, "build app.elf").check(2, &["error: app.elf does not specify its chip", "--target"]);
    run(at, "build --target esp32cc3 app.elf").check(2, &["did you mean \"esp32c3\"?"]);
}
