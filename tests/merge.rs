//! Compares merged files with esptool's, byte by byte, using the options that esptool's users know,
//! and tests `split` on them.

use esplice_chip::ChipDb;
use std::{fs, path::Path, process::Command};

use crate::support::{self, finish, run, served::esptool};

/// Writes the input files: odd lengths, a valid image, one in HEX.
fn inputs(at: &Path) {
    let noise = |seed: u32, len: usize| -> Vec<u8> {
        let next = |state: &mut u32| {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Some((*state >> 24) as u8)
        };
        std::iter::repeat_n((), len).scan(seed, |state, ()| next(state)).collect()
    };
    for (name, len) in
        [("a.bin", 771), ("b.bin", 700), ("c.bin", 4096), ("d.bin", 3), ("e.bin", 16)]
    {
        fs::write(at.join(name), noise(len as u32, len)).unwrap();
    }
    fs::write(at.join("big.bin"), noise(9, 0x1_8001)).unwrap();
    let hello = support::built_hello("Hello\r\n");
    for (from, to) in [("hello.bin", "app.bin"), ("hello.merged.bin", "whole.bin")] {
        fs::copy(hello.path().join(from), at.join(to)).unwrap();
    }
    let hex = ":020000040001F9\n:04100000DEADBEEFB4\n:022010000102CB\n:00000001FF\n";
    fs::write(at.join("x.hex"), hex).unwrap();
}

/// Arguments for both programs.
const CASES: &[&str] = &[
    // Raw.
    "0x0 a.bin",
    "0x0 a.bin 0x1000 b.bin",
    "0x1000 b.bin 0x0 a.bin",
    "0x10 a.bin 0x1314 b.bin",
    "0x0 c.bin 0x1000 d.bin 0x2004 a.bin",
    "4096 a.bin 0x8000 d.bin 65536 big.bin",
    "--target-offset 0x1000 0x1000 a.bin 0x2000 b.bin",
    "-t 0x1000 0x2000 b.bin",
    "--pad-to-size 256KB 0x0 a.bin",
    "--pad-to-size 256KB -t 0x1000 0x1000 a.bin 0x9000 b.bin",
    "--pad-to-size 1MB 0x0 a.bin 0x10000 big.bin",
    "--pad-to-size 256KB 0x40000 a.bin",
    "0x0 x.hex",
    "0x0 a.bin 0x0 x.hex 0x20000 b.bin",
    // The image at the boot offset, and one at another offset.
    "--flash-mode qio --flash-freq 40m --flash-size 8MB 0x0 app.bin",
    "--flash-mode dout 0x0 app.bin 0x30000 app.bin",
    "--flash-size 16MB 0x10000 app.bin",
    "--flash-freq 20m 0x0 app.bin",
    "--flash-mode keep --flash-freq keep --flash-size 2MB 0x0 whole.bin",
    "--flash-mode qout 0x0 a.bin 0x1000 app.bin",
    // Intel HEX.
    "--format hex 0x0 a.bin",
    "--format hex 0x0 a.bin 0x1000 b.bin",
    "--format hex 0xfff8 a.bin",
    "--format hex 0xfff3 a.bin 0x20000 d.bin",
    "--format hex 0x1008 e.bin 0x2019 a.bin 0x331d d.bin",
    "--format hex 0x0 c.bin 0x1000 b.bin",
    "--format hex 0xfff0 e.bin",
    "--format hex 0xfff1 e.bin",
    "--format hex 0x0 big.bin 0x400000 d.bin",
    "--format hex -t 0x1000 0x1000 a.bin",
    "--format hex 0x0 x.hex 0x0 b.bin",
    "--format hex --flash-size 8MB 0x0 app.bin",
    // UF2.
    "--format uf2 0x0 a.bin",
    "--format uf2 0x0 a.bin 0x1000 b.bin",
    "--format uf2 0x0 c.bin 0x1000 b.bin",
    "--format uf2 0x1000 e.bin 0x0 d.bin 0x10000 big.bin",
    "--format uf2 --chunk-size 256 0x0 a.bin 0x1000 b.bin",
    "--format uf2 --chunk-size 4 0x0 b.bin",
    "--format uf2 --chunk-size 452 0x0 c.bin",
    "--format uf2 --md5-disable 0x0 a.bin 0x1000 b.bin",
    "--format uf2 --md5-disable --chunk-size 476 0x0 a.bin",
    "--format uf2 --md5-disable --chunk-size 100 0x0 a.bin",
    "--format uf2 -t 0x1000 --pad-to-size 4MB 0x1000 a.bin",
    "--format uf2 0x0 x.hex",
    "--format uf2 --flash-mode qio 0x0 app.bin",
];

fn both(at: &Path, chip: &str, words: &str) -> (Vec<u8>, Vec<u8>) {
    let words = format!("merge-bin --output OUT {words}");
    let made = |name: &str, command: &mut Command, words: &str| {
        let words = words.replace("OUT", name);
        let output = command.args(words.split(' ')).current_dir(at).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{name}, {words}: {}", String::from_utf8_lossy(&said));
        let file = at.join(name);
        let bytes = fs::read(&file).unwrap();
        fs::remove_file(file).unwrap();
        bytes
    };
    let theirs = made("theirs", esptool().args(["--chip", chip]), &words);
    let ours = made(
        "ours",
        &mut Command::new(assert_cmd::cargo::cargo_bin!("esplice")),
        &format!("{words} --chip {chip}"),
    );
    (ours, theirs)
}

#[test]
fn merged_files_equal_esptools() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    inputs(at);
    // The UF2 families of all chips.
    let of_chips = ChipDb::embedded().chips().map(|chip| chip.name.as_str());
    let of_chips = of_chips.map(|chip| (chip, "--format uf2 0x0 a.bin 0x10000 b.bin"));
    let cases = CASES.iter().map(|words| ("esp32c3", *words)).chain(of_chips);
    let mut compared = 0;
    for (chip, words) in cases {
        let (ours, theirs) = both(at, chip, words);
        let place = ours.iter().zip(&theirs).position(|(a, b)| a != b);
        assert_eq!(place, None, "{chip}, {words}: first difference");
        assert_eq!(ours.len(), theirs.len(), "{chip}, {words}");
        compared += 1;
    }
    assert!(compared >= CASES.len() + 5, "only {compared} files were compared");
}

/// `split` returns the parts of a merged file, from each format.
#[test]
fn split_is_the_way_back() {
    let directory = support::built_hello("Hello\r\n");
    let at = directory.path();
    let whole = fs::read(at.join("hello.merged.bin")).unwrap();
    let app = fs::read(at.join("hello.bin")).unwrap();
    for kind in ["raw", "hex", "uf2"] {
        let words =
            format!("image merge --as {kind} --target esp32c3 -o m.{kind} 0 hello.merged.bin");
        run(at, &words).check(0, &[]);
        let said = run(at, &format!("image split m.{kind} --output {kind}")).check(0, &[]);
        let names = ["bootloader.bin", "factory.bin", "partition-table.bin"];
        assert_eq!(support::files(&at.join(kind)), names, "{said:#?}");
        assert_eq!(fs::read(at.join(kind).join("factory.bin")).unwrap(), app, "{kind}");
        let words = format!(
            "image merge -o back.bin 0x0 {kind}/bootloader.bin 0x8000 {kind}/partition-table.bin \
             0x10000 {kind}/factory.bin"
        );
        run(at, &words).check(0, &[]);
        assert!(fs::read(at.join("back.bin")).unwrap() == whole, "{kind}");
        let said = run(at, &format!("image verify m.{kind} back.bin")).check(0, &[]);
        assert_eq!(said.out, format!("m.{kind}: sound\nback.bin: sound\n"));
        let said = run(at, &format!("image info m.{kind}")).check(0, &[]);
        assert!(said.out.contains("app in factory at 0x10000"), "{said:#?}");
    }
    let said =
        run(at, "image split hello.bin").check(3, &["hello.bin has no partition table", "hint"]);
    assert!(said.out.is_empty());
}

/// Without a table, each range of a HEX file is a part.
#[test]
fn stretches_without_a_table_are_parts() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    inputs(at);
    let said = run(at, "--format json image split x.hex").check(0, &[]);
    let result = support::result(&said);
    assert_eq!(result["value"][1]["offset"], 0x1_2010);
    assert_eq!(fs::read(at.join("x/0x11000.bin")).unwrap(), [0xde, 0xad, 0xbe, 0xef]);
    assert_eq!(fs::read(at.join("x/0x12010.bin")).unwrap(), [1, 2]);
}

#[test]
fn what_is_refused_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    inputs(at);
    let before = support::files(at);
    let check = |words: &str, exit: i32, said: &[&str]| {
        run(at, &format!("image merge -o out.bin {words}")).check(exit, said);
        assert_eq!(support::files(at), before, "{words}");
    };
    check("0x0 a.bin 0x100 b.bin", 6, &["a.bin ends at 0x303, after the start of b.bin at 0x100"]);
    check("a.bin", 2, &["a.bin has no offset of its own", "0x10000 a.bin"]);
    check("0x0 a.bin 0x1000", 2, &["no file follows offset 0x1000"]);
    check("0x1000 x.hex", 2, &["x.hex contains its own offsets", "leave 0x1000 out"]);
    check("-t 0x2000 0x1000 a.bin", 6, &["a.bin at 0x1000 is before the image's offset 0x2000"]);
    check("0x7ffff00 b.bin", 6, &["b.bin of 700 bytes at 0x7ffff00", "past the flash"]);
    check("--as uf2 0x0 a.bin", 2, &["no file specifies its chip", "--target"]);
    check("--as uf2 --chip esp32c3 --chunk-size 6 0 a.bin", 2, &["6 bytes", "from 4 to 452"]);
    check("--as uf2 --chip esp32c3 --chunk-size 0 0 a.bin", 2, &["0 bytes", "from 4 to 452"]);
    check("--flash-freq 81m --chip esp32c3 0 a.bin", 2, &["--flash-freq", "81m", "known are"]);
    check("0x0 none.bin", 3, &["cannot read none.bin"]);
    run(at, "image merge -o a.bin 0x0 a.bin").check(2, &["a.bin is an input and the output"]);
}

/// Each defect of a file is reported with its place.
#[test]
fn broken_files_are_told_with_their_place() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    inputs(at);
    run(at, "image merge --as uf2 --chip esp32c3 -o good.uf2 0 b.bin").check(0, &[]);
    let good = fs::read(at.join("good.uf2")).unwrap();
    let mut turned = good.clone();
    turned[600] ^= 1;
    let packed = xz(&good);
    let mut damaged = packed.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    let cases: [(&str, &[u8], &[&str]); 9] = [
        ("a.hex", b":0410000001020304E2\n:04100400010203zzDE\n", &["line 2: ", "'z' in column 16"]),
        ("b.hex", b":0410000001020304E3\n", &["line 1: checksum is E3, expected E2"]),
        (
            "c.hex",
            b":0410000001020304E2\n",
            &["ends in line 1 without an end record", ":00000001FF"],
        ),
        (
            "d.hex",
            b":0410000001020304E2\n\n:02100300AABB86\n:00000001FF\n",
            &["line 3", "lines from 1"],
        ),
        ("e.uf2", &good[..700], &["block at byte 0x200: it has 188 bytes, a block has 512"]),
        (
            "f.uf2",
            &good[..512],
            &["at byte 0x200: the file ends here, and block 1 of 2 is missing"],
        ),
        ("g.uf2", &turned, &["block at byte 0x200: MD5 of 248 bytes at 0x1c4 is "]),
        ("h.xz", &packed[..packed.len() - 9], &["h.xz: xz file at byte ", "it is cut off"]),
        ("i.xz", &damaged, &["i.xz: xz file at byte ", "damaged"]),
    ];
    for (name, bytes, said) in cases {
        fs::write(at.join(name), bytes).unwrap();
        let said: Vec<&str> = [&[name], said].concat();
        for command in ["image info", "image verify", "image split", "image merge -o out.bin"] {
            run(at, &format!("{command} {name}")).check(3, &said);
        }
        fs::remove_file(at.join(name)).unwrap();
        assert!(!at.join("out.bin").exists());
    }
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut encoder = liblzma::read::XzEncoder::new(bytes, 6);
    std::io::Read::read_to_end(&mut encoder, &mut packed).unwrap();
    packed
}

/// A packed file works wherever the plain one does.
#[test]
fn xz_files_are_read_as_what_they_hold() {
    let directory = support::built_hello("Hello\r\n");
    let at = directory.path();
    let image = fs::read(at.join("hello.bin")).unwrap();
    for name in ["hello.elf", "hello.bin", "hello.merged.bin"] {
        fs::write(at.join(format!("{name}.xz")), xz(&fs::read(at.join(name)).unwrap())).unwrap();
    }
    fs::create_dir(at.join("new")).unwrap();
    let at_new = at.join("new");
    run(&at_new, "build --target esp32c3 ../hello.elf.xz").check(0, &[]);
    assert!(fs::read(at_new.join("hello.bin")).unwrap() == image);
    run(at, "build --target esp32c3 --elf hello.elf.xz -o again.bin --image-only").check(0, &[]);
    assert!(fs::read(at.join("again.bin")).unwrap() == image);
    for name in ["hello.bin.xz", "hello.merged.bin.xz"] {
        run(at, &format!("image verify {name}")).check(0, &[]);
        run(at, &format!("image info {name}")).check(0, &[]);
    }
    run(at, "image split hello.merged.bin.xz -o parts").check(0, &[]);
    assert!(fs::read(at.join("parts/factory.bin")).unwrap() == image);
    for (name, more) in [("hello.bin.xz", ""), ("hello.elf.xz", "--target esp32c3")] {
        let mut command = support::esplice(at);
        command.args(["run", name, "--port", "sim:esp32c3", "--expect", r"Hello\r\n"]);
        finish(command.args(more.split_whitespace())).check(0, &["Expected output found"]);
    }
    run(at, "flash --port sim:esp32c3,flash=b.flash --offset 0x20000 hello.bin.xz").check(0, &[]);
    let flash = fs::read(at.join("b.flash")).unwrap();
    assert!(flash[0x2_0000..].starts_with(&image));
}

/// A file of megabytes of zeros compresses to nearly nothing; its unpacked size is limited.
#[test]
fn an_xz_file_does_not_unpack_without_end() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let stream = xz(&vec![0; 32 << 20]);
    fs::write(at.join("bomb.xz"), stream.repeat(9)).unwrap();
    run(at, "image info bomb.xz")
        .check(3, &["bomb.xz: xz file unpacks to more than 268435456 bytes"]);
}

/// Options that users of esptool and espflash type.
#[test]
fn other_tools_words_work() {
    let directory = support::built_hello("Hello\r\n");
    let at = directory.path();
    let image = fs::read(at.join("hello.bin")).unwrap();
    let build = "--target esp32c3 --flash-mode dio --flash-freq 80m --flash-size 4MB";
    run(at, &format!("elf2image {build} --output a.bin hello.elf")).check(0, &[]);
    run(at, "save-image --chip esp32c3 hello.elf b.bin").check(0, &[]);
    run(at, "save-image --chip esp32c3 --output c.bin hello.elf").check(0, &[]);
    for name in ["a.bin", "b.bin", "c.bin"] {
        assert!(fs::read(at.join(name)).unwrap() == image, "{name}");
    }
    run(at, "image-info hello.bin").check(0, &[]);
    let words = "0x0 hello.merged.bin 0x200000 a.bin";
    run(at, &format!("merge-bin --fill-flash-size 4MB -o m.bin {words}")).check(0, &[]);
    assert_eq!(fs::read(at.join("m.bin")).unwrap().len(), 4 << 20);
    run(at, "save-image --chip esp32c3 --output c.bin hello.elf d.bin").check(2, &["--output"]);
}

/// HEX and UF2 files are written to their own offsets, checked like any other file.
#[test]
fn files_with_offsets_are_flashed_where_they_say() {
    let directory = support::built_hello("Hello\r\n");
    let at = directory.path();
    let whole = fs::read(at.join("hello.merged.bin")).unwrap();
    for name in ["m.hex", "m.uf2"] {
        run(at, &format!("image merge -o {name} 0x0 hello.merged.bin 0x200000 hello.plan.json"))
            .check(0, &[]);
        let words = format!("run {name} --port sim:esp32c3,flash=b.flash --timeout 5s");
        run(at, &format!("{words} --expect Hello")).check(0, &["Expected output found"]);
        let flash = fs::read(at.join("b.flash")).unwrap();
        assert!(flash.starts_with(&whole), "{name}");
        let plan = fs::read(at.join("hello.plan.json")).unwrap();
        assert!(flash[0x20_0000..].starts_with(&plan), "{name}");
        fs::remove_file(at.join("b.flash")).unwrap();
    }
    let flash = "flash --port sim:esp32c3,flash=b.flash";
    run(at, &format!("{flash} --target esp32c6 m.uf2"))
        .check(12, &["m.uf2: the image is for ESP32-C3, the target is ESP32-C6"]);
    run(at, &format!("{flash} --offset 0x1000 m.hex"))
        .check(2, &["m.hex: an Intel HEX file contains its own offsets"]);
    run(at, &format!("{flash} --partition factory m.hex")).check(2, &["contains its own"]);
    run(at, "build --elf m.hex --target esp32c3").check(3, &["is not an ELF, but an Intel HEX"]);
    run(at, "build m.uf2 --target esp32c3").check(2, &["m.uf2 is already an image"]);

    run(at, "image merge -o odd.hex 0x1010 hello.plan.json").check(0, &[]);
    run(at, &format!("{flash} odd.hex"))
        .check(6, &["odd.hex: bytes at 0x1010 begin inside of a flash sector"]);
    run(at, "image merge -o high.hex 0x800000 hello.plan.json").check(0, &[]);
    run(at, &format!("{flash} high.hex")).check(6, &["high.hex at 0x800000"]);
    let mut torn = fs::read(at.join("hello.bin")).unwrap();
    torn[0x100] ^= 1;
    fs::write(at.join("torn.bin"), torn).unwrap();
    run(at, "image merge -o torn.hex 0x10000 torn.bin").check(0, &[]);
    run(at, &format!("{flash} torn.hex")).check(3, &["torn.hex: "]);
    assert!(!at.join("b.flash").exists() || fs::read(at.join("b.flash")).unwrap()[0] == 0xff);
}

/// A missing directory is created and reported once; a failed command creates none.
#[test]
fn a_missing_directory_is_made_and_told() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    fs::write(at.join("a.bin"), [1, 2, 3]).unwrap();
    let merge = "image merge --chip esp32c3";
    let said = run(at, &format!("{merge} -o out/of/a.bin 0 a.bin")).check(0, &[]);
    assert_eq!(said.err.matches("Created the directory out/of\n").count(), 1, "{said:#?}");
    let said = run(at, &format!("{merge} -o out/of/b.bin 0 a.bin")).check(0, &[]);
    assert!(!said.err.contains("directory"), "{said:#?}");
    run(at, "read 0x10000000 0x1000 new/a.bin --port sim:esp32c3 --stub none").check(6, &[]);
    assert_eq!(support::files(at), ["a.bin", "out"]);
}

/// More parts than a program may have open files are written one by one, and only if confirmed.
#[test]
fn thousands_of_parts_are_asked_about() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let mut hex = String::from("\n\n");
    for number in 0..1500_u32 {
        let place = number * 4;
        let sum = 0_u8.wrapping_sub((1 + (place >> 8) + (place & 0xff) + 0x55) as u8);
        hex.push_str(&format!(":01{place:04X}0055{sum:02X}\n"));
    }
    hex.push_str(":00000001FF\n");
    fs::write(at.join("many.hex"), hex).unwrap();
    run(at, "image split many.hex").check(
        2,
        &["many.hex has 1500 parts, and many would receive as many files", "hint: give --yes"],
    );
    assert!(!at.join("many").exists());
    run(at, "image split many.hex --yes").check(0, &[]);
    assert_eq!(fs::read_dir(at.join("many")).unwrap().count(), 1500);
    assert_eq!(fs::read(at.join("many/0x176c.bin")).unwrap(), [0x55]);
}
