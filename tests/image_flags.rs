//! Compares image options of `build` with esptool's; boards; programs executed in place.

use std::{fs, path::Path, process::Command};

use crate::support::{elf, files, run};

/// Makes the image of `hello.elf` with esptool and these arguments.
fn esptools_image(directory: &Path, words: &str) -> Vec<u8> {
    let esptool = std::env::var_os("ESPLICE_ESPTOOL").unwrap_or("esptool".into());
    let output = Command::new(esptool)
        .args(["--chip", "esp32c3", "elf2image", "-o", "esptool.bin"])
        .args(words.split_whitespace())
        .arg("hello.elf")
        .current_dir(directory)
        .output()
        .expect("esptool can be started: install it, or name it in ESPLICE_ESPTOOL");
    assert!(output.status.success(), "{output:?}");
    fs::read(directory.join("esptool.bin")).unwrap()
}

fn hello() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("hello.elf"), elf::hello("Hello\r\n").to_bytes()).unwrap();
    directory
}

#[test]
fn each_flag_says_what_esptools_says() {
    let directory = hello();
    let at = directory.path();
    let usual = "--flash-mode dio --flash-freq 80m --flash-size 4MB";
    for (ours, theirs) in [
        ("", usual.to_owned()),
        ("--min-rev 0.3 --max-rev 1.99", format!("{usual} --min-rev-full 3 --max-rev-full 199")),
        ("--secure-pad v2", format!("{usual} --secure-pad-v2")),
        ("--image-source segments", format!("{usual} --use-segments")),
        ("--image-source sections --mmu-page-size 64K", usual.to_owned()),
        // The board has a flash of 8 MB.
        (
            "--flash-mode qio --flash-freq 20m --flash-size 16MB",
            "--flash-mode qio --flash-freq 20m --flash-size 16MB".into(),
        ),
    ] {
        let words =
            format!("build --target esp32c3 --elf hello.elf --image-only --output a.bin {ours}");
        run(at, &words).check(0, &[]);
        assert!(fs::read(at.join("a.bin")).unwrap() == esptools_image(at, &theirs), "{ours}");
    }
    // The same in the settings file.
    fs::write(at.join("esplice.toml"), "[image]\nmin-rev = \"0.3\"\nmax-rev = \"1.99\"\n").unwrap();
    run(at, "build --target esp32c3 --elf hello.elf --image-only --output b.bin").check(0, &[]);
    let theirs = esptools_image(at, &format!("{usual} --min-rev-full 3 --max-rev-full 199"));
    assert!(fs::read(at.join("b.bin")).unwrap() == theirs);
}

#[test]
fn what_a_flag_cannot_say_is_refused() {
    let directory = hello();
    let check = |words: &str, exit: i32, said: &[&str]| {
        let words = format!("build --target esp32c3 --elf hello.elf --output a.bin {words}");
        run(directory.path(), &words).check(exit, said);
        assert_eq!(files(directory.path()), ["hello.elf"]);
    };
    check("--min-rev 3", 2, &["\"3\" is not a chip revision such as 1.3"]);
    check("--max-rev 1.100", 2, &["is not a chip revision"]);
    check("--max-rev 656.0", 2, &["is not a chip revision"]);
    check("--secure-pad v3", 2, &["\"v3\" is neither v1 nor v2"]);
    check("--image-source headers", 2, &["is not one of auto, sections, segments"]);
    check(
        "--mmu-page-size 16K",
        2,
        &["ESP32-C3 has no MMU pages of 16384 bytes", "hint: known are 65536"],
    );
    check("--secure-pad v1", 2, &["ESP32-C3 has no Secure Boot v1", "hint: it has Secure Boot v2"]);
    check("--boot direct", 3, &["begins with", "must begin with 0xaedb041d twice"]);
    check("--boot indirect", 2, &["indirect"]);
}

#[test]
fn a_board_settles_the_flash() {
    let directory = hello();
    let at = directory.path();
    let words = "build --target m5stamp-c3 --elf hello.elf --image-only --output a.bin";
    run(at, words).check(0, &[]);
    // Code 2 is 4 MB, code 4 is 16 MB.
    assert_eq!(fs::read(at.join("a.bin")).unwrap()[3], 0x2f);
    let own = "[board]\nname = \"big\"\ndisplay-name = \"Big\"\nvendor = \"me\"\nurl = \"\"\n\
               chip = \"esp32c3\"\nflash-size = \"16MB\"\nflash-freq = \"20m\"\n\
               [[usb]]\nkind = \"bridge\"\nbridge = \"CH340\"\n";
    fs::write(at.join("big.toml"), own).unwrap();
    run(at, "build --target-file big.toml --elf hello.elf --image-only --output a.bin")
        .check(0, &[]);
    assert_eq!(fs::read(at.join("a.bin")).unwrap()[3], 0x42);
    let said = run(at, "build --target-file bog.toml --elf hello.elf --output b.bin");
    said.check(3, &["cannot read bog.toml"]);
    fs::write(at.join("big.toml"), own.replace("chip =", "chop =")).unwrap();
    let said = run(at, "build --target-file big.toml --elf hello.elf --output b.bin");
    said.check(
        3,
        &["big.toml: ", "unknown field `chop`", "line 6", "hint: did you mean \"chip\"?"],
    );
    let said = run(at, "build --target m5stamp-c4 --elf hello.elf --output b.bin");
    said.check(2, &["unknown chip or board \"m5stamp-c4\"", "hint: did you mean \"m5stamp-c3\"?"]);
}

/// A program without header: built, described by its plan, and written to the start of flash.
#[test]
fn a_program_in_place_goes_to_the_start_of_flash() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let mut elf = elf::hello("Hello\r\n");
    let mut code = 0xaedb_041d_u32.to_le_bytes().repeat(2);
    code.extend(b"\x6f\x00\x00\x00"); // j .
    elf.entry = 0x4200_0008;
    elf.sections.truncate(1);
    elf.sections[0].addr = 0x4200_0000;
    elf.sections[0].data = code.clone();
    fs::write(at.join("place.elf"), elf.to_bytes()).unwrap();
    run(at, "build --boot direct --target esp32c3 --elf place.elf --output place.bin")
        .check(0, &[]);
    assert_eq!(fs::read(at.join("place.bin")).unwrap(), code);
    assert!(fs::read_to_string(at.join("place.plan.json")).unwrap().contains("\"direct\""));

    run(at, "flash place.bin --port sim:esp32c3,flash=board.flash").check(0, &[]);
    let flash = fs::read(at.join("board.flash")).unwrap();
    assert_eq!(flash[..code.len()], code);
    assert!(flash[0x1000..].iter().all(|byte| *byte == 0xff));

    // Without its plan, only the user knows the format.
    fs::remove_file(at.join("place.plan.json")).unwrap();
    let said = run(at, "flash place.bin --port sim:esp32c3,flash=other.flash");
    said.check(6, &["place.bin runs in place and has no header", "hint: give --boot direct"]);
    let words =
        "flash place.bin --boot direct --target esp32c3 --port sim:esp32c3,flash=other.flash";
    run(at, words).check(0, &[]);
    assert_eq!(fs::read(at.join("other.flash")).unwrap()[..code.len()], code);
}
