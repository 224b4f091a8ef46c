//! Tests the commands on a board's flash and RAM that need no firmware, on virtual boards. The
//! boards' flash files are compared with the expected content.

use std::{fs, path::Path};

use crate::support::{self, Said, result, run, served::Board};
use md5::{Digest as _, Md5};

/// Offset of the app in the default table.
const FACTORY: usize = 0x1_0000;
const FLASH_LEN: usize = 4 << 20;

fn md5_of(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns bytes with a long period.
fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

/// Creates a directory with `board.flash`, which contains a partition table and otherwise noise.
fn directory() -> (tempfile::TempDir, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    let mut flash = noise(FLASH_LEN, 7);
    let table = esplice_image::PartitionTable::esp_idf_default().to_bytes().unwrap();
    flash[..0x8000].fill(0xff);
    flash[0x8000..][..table.len()].copy_from_slice(&table);
    flash[0x20_0000..0x28_0000].fill(0xff);
    fs::write(directory.path().join("board.flash"), &flash).unwrap();
    (directory, flash)
}

/// Runs a command with the board of `directory` as the port; `stub` selects `--stub auto` instead
/// of the ROM loader.
fn at_board(directory: &Path, words: &str) -> Said {
    let (command, rest) = words.split_once(' ').unwrap_or((words, ""));
    run(directory, &format!("{command} --port sim:esp32c3,flash=board.flash --stub none {rest}"))
}

fn flash(directory: &Path) -> Vec<u8> {
    fs::read(directory.join("board.flash")).unwrap()
}

#[test]
fn flash_is_read_as_it_is() {
    let (directory, flash) = directory();
    let at = directory.path();
    let read = |words: &str, file: &str| {
        let said = at_board(at, words).check(0, &[]);
        assert!(said.out.contains(file), "{said:#?}");
        fs::read(at.join(file)).unwrap()
    };
    // Odd offset and odd length.
    assert!(read("read 0x12345 0x2003 part.bin", "part.bin") == flash[0x12345..][..0x2003]);
    assert!(read("read --partition phy_init phy.bin", "phy.bin") == flash[0xf000..0x1_0000]);
    assert!(read("read-flash 4190208 all end.bin", "end.bin") == flash[4_190_208..]);
    // HEX and UF2 files contain the offset.
    for name in ["part.hex", "part.uf2"] {
        read(&format!("read 0x12000 0x1800 {name}"), name);
        run(at, &format!("image split {name} --output {name}.parts")).check(0, &[]);
        at_board(at, &format!("verify {name}")).check(0, &[]);
    }
    let said = at_board(at, "hash 0x12344 0x2004");
    assert!(said.out.contains(&md5_of(&flash[0x12344..][..0x2004])), "{said:#?}");
    let said = at_board(at, "hash --all --format json").check(0, &[]);
    assert_eq!(result(&said)["value"]["md5"], md5_of(&flash));
}

#[test]
fn what_is_written_is_verified_and_what_differs_is_named() {
    let (directory, mut expected) = directory();
    let at = directory.path();
    let (one, two) = (noise(0x3001, 1), noise(0x1fff, 2));
    fs::write(at.join("one.bin"), &one).unwrap();
    fs::write(at.join("two.bin"), &two).unwrap();
    at_board(at, "write 0x210000 one.bin 0x220000 two.bin").check(0, &[]);
    at_board(at, "write-flash --partition phy_init two.bin")
        .check(6, &["8191 bytes is 4095 bytes too"]);
    at_board(at, "write-bin --partition factory two.bin").check(0, &[]);
    // The rest of the last written sector is blank.
    let mut put = |offset: usize, data: &[u8]| {
        expected[offset..][..data.len().next_multiple_of(0x1000)].fill(0xff);
        expected[offset..][..data.len()].copy_from_slice(data);
    };
    put(0x21_0000, &one);
    put(0x22_0000, &two);
    put(FACTORY, &two);
    assert!(flash(at) == expected);
    at_board(at, "verify 0x210000 one.bin 0x220000 two.bin").check(0, &[]);

    // Changes outside of the tool: two sectors in the middle, and the last byte.
    expected[0x21_1000] ^= 1;
    expected[0x21_2fff] ^= 1;
    expected[0x21_3000] ^= 1;
    fs::write(at.join("board.flash"), &expected).unwrap();
    let words = "verify 0x210000 one.bin 0x220000 two.bin";
    at_board(at, words).check(15, &["flash differs from one.bin: 8193 bytes at 0x211000"]);
    let said = at_board(at, &format!("{words} --format json")).check(15, &[]);
    let differences = &result(&said)["value"]["differences"];
    assert_eq!(differences[0]["offset"], 0x21_1000);
    assert_eq!(differences.as_array().unwrap().len(), 1);
    at_board(at, "write 0x210000 one.bin").check(0, &[]);
    at_board(at, words).check(0, &[]);
}

#[test]
fn erasing_leaves_ones_and_nothing_else() {
    let (directory, mut expected) = directory();
    let at = directory.path();
    at_board(at, "erase-region 0x12000 0x3000").check(0, &[]);
    expected[0x12000..0x15000].fill(0xff);
    at_board(at, "erase --partition nvs").check(0, &[]);
    expected[0x9000..0xf000].fill(0xff);
    assert!(flash(at) == expected);
    let said = at_board(at, "erase --partition nvs").check(0, &[]);
    assert!(said.out.contains("were blank already"), "{said:#?}");
    at_board(at, "erase").check(2, &["--all for the whole flash"]);
    at_board(at, "erase 0x12001 0x1000").check(6, &["does not begin at a flash sector"]);
    at_board(at, "erase 0x12000 0x1001").check(6, &["does not begin at a flash sector"]);
    assert!(flash(at) == expected);
    let said = at_board(at, "erase-flash --format json").check(0, &[]);
    // Half a MiB was blank, and blank pieces of 256 KiB are skipped.
    assert_eq!(result(&said)["value"]["sectors_erased"], 1024 - 128);
    assert!(flash(at).iter().all(|byte| *byte == 0xff));
}

#[test]
fn what_is_outside_the_flash_is_refused() {
    let (directory, expected) = directory();
    let at = directory.path();
    fs::write(at.join("data"), noise(0x1001, 3)).unwrap();
    for words in [
        "read 0x3ff000 0x1001 out.bin",
        "read 0x400000 all out.bin",
        "read 0xffffffff 1 out.bin",
        "hash 0x3ff000 0x1004",
        "erase 0x3ff000 0x2000",
        "write 0x3ff000 data",
        "verify 0x3ff000 data",
    ] {
        at_board(at, words).check(6, &["past the flash of 4194304 bytes"]);
    }
    at_board(at, "read --partition fatcory out.bin").check(6, &["no partition", "factory"]);
    at_board(at, "write 0x10800 data").check(6, &["does not begin at a flash sector"]);
    at_board(at, "write 0x10000 data 0x11000 data").check(6, &["after the start of data"]);
    assert!(flash(at) == expected);
    assert!(!at.join("out.bin").exists());
    at_board(at, "read 0x1000 out.bin").check(2, &["OFFSET LEN FILE"]);
}

#[test]
fn what_would_make_a_brick_is_refused() {
    let (directory, expected) = directory();
    let at = directory.path();
    fs::write(at.join("data"), noise(64, 3)).unwrap();
    for (fuse, state) in [
        ("secure-boot-en:1", "secure boot is on"),
        ("spi-boot-crypt-cnt:1", "flash encryption is on"),
        ("enable-security-download:1", "secure download mode is on"),
    ] {
        let port = format!("--port sim:esp32c3,flash=board.flash,efuse={fuse} --stub none");
        for words in ["write 0x10000 data", "erase --all", "erase --partition nvs"] {
            run(at, &format!("{words} {port}")).check(13, &[state, "hint: "]);
        }
        let told = run(at, &format!("detect {port}")).check(0, &[]);
        assert!(told.out.contains(" on"), "{told:#?}");
    }
    // In secure download mode, the ROM neither reads nor hashes, so a write could not be verified.
    let port = "--port sim:esp32c3,flash=board.flash,efuse=enable-security-download:1";
    for stub in ["none", "auto"] {
        for words in [
            "flash --offset 0x10000 data",
            "write 0x10000 data",
            "read 0 0x1000 out.bin",
            "verify 0x10000 data",
            "hash 0 0x1000",
            "erase 0x10000 0x1000",
        ] {
            let told = ["secure download mode is on", "neither reads", "hint: "];
            run(at, &format!("{words} {port} --stub {stub}")).check(13, &told);
        }
    }
    assert!(!at.join("out.bin").exists());
    assert!(flash(at) == expected);
    // An image of another chip.
    let mut image = noise(0x100, 4);
    image[..24].copy_from_slice(&[0; 24]);
    (image[0], image[1], image[12]) = (0xe9, 1, 9);
    fs::write(at.join("s3.bin"), image).unwrap();
    at_board(at, "write 0x0 s3.bin").check(12, &["s3.bin has chip id 9, esp32c3 has 5"]);
    assert!(flash(at) == expected);
}

/// A failed read leaves an existing file unchanged, and creates no other.
#[test]
fn half_a_read_loses_nothing() {
    let (directory, _) = directory();
    let at = directory.path();
    fs::write(at.join("out.bin"), "what was there").unwrap();
    let gone = "[[fault]]\nkind = \"vanish\"\ndirection = \"to-host\"\nbyte = 30000\n\
                back-after-ms = 3600000\n";
    fs::write(at.join("gone.toml"), gone).unwrap();
    let port = "--port sim:esp32c3,flash=board.flash,faults=gone.toml";
    run(at, &format!("read 0 0x40000 out.bin --stub none {port}")).check(24, &["is gone"]);
    assert_eq!(fs::read(at.join("out.bin")).unwrap(), b"what was there");
    let left: Vec<String> = support::files(at);
    assert_eq!(left, ["board.flash", "gone.toml", "out.bin"]);
    // Detected before the board is asked.
    fs::create_dir(at.join("folder")).unwrap();
    let said = at_board(at, "read 0 0x1000 folder").check(2, &["cannot write folder"]);
    assert!(!said.err.contains("Connecting"), "{said:#?}");
}

/// Makes a RAM program that prints `r` forever, faster than the line; instructions written by hand,
/// as in `support::elf`.
fn ram_image() -> Vec<u8> {
    let addr = 0x4038_0000_u32;
    let code: [u32; 7] = [
        0x6000_0537, // lui a0, 0x60000: UART0's FIFO (ESP32-C3 TRM, UART, Register Summary)
        0x0720_0593, // li a1, 'r'
        0x00b5_2023, // sw a1, 0(a0)
        0x0000_0013, // nop
        0x00b5_2023, // sw a1, 0(a0)
        0x0000_0013, // nop
        0xfedf_f06f, // j -20
    ];
    let code: Vec<u8> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut image = vec![0xe9, 1, 2, 0x2f];
    image.extend(addr.to_le_bytes());
    image.extend([0xee, 0, 0, 0, 5, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0]);
    image.extend(addr.to_le_bytes());
    image.extend((code.len() as u32).to_le_bytes());
    image.extend(&code);
    let checksum = code.iter().fold(0xef, |sum, byte| sum ^ byte);
    image.resize((image.len() + 1).next_multiple_of(16) - 1, 0);
    image.push(checksum);
    image
}

#[test]
fn programs_run_in_ram_and_boards_are_reset() {
    let board = Board::new(&["--rfc2217", "127.0.0.1:0"]);
    let at = board.directory();
    let run = |words: &str| run(at, &format!("{words} --port {}", board.port));
    fs::write(at.join("ram.bin"), ram_image()).unwrap();
    let said = run("load ram.bin").check(0, &[]);
    assert!(said.out.contains("28 bytes loaded into RAM"), "{said:#?}");
    run("monitor --no-reset --expect rrrrrrrr --timeout 5s").check(0, &[]);
    // Resets the board out of the program, and into download mode and back.
    run("reset").check(0, &["The board runs"]);
    run("reset --download").check(0, &["The board waits in download mode"]);
    let said = run("monitor --no-reset --timeout 300ms");
    assert!(!said.out.contains("rst:"), "{said:#?}");
    // An image for flash, and one for another chip.
    let built = support::built_hello("Hello\r\n");
    fs::copy(built.path().join("hello.bin"), at.join("hello.bin")).unwrap();
    run("load hello.bin").check(6, &["is outside the RAM of ESP32-C3"]);
    run("load ram.bin --target esp32c6").check(12, &["esp32c3", "esp32c6"]);
    fs::write(at.join("text"), "text").unwrap();
    run("load text").check(3, &["not an image"]);
}

/// A virtual board of a known board has that board's flash size, also in the flash chip's id.
#[test]
fn a_named_board_has_its_own_size_of_flash() {
    let (directory, _) = directory();
    let at = directory.path();
    for (size, kib, id) in [("8MB", 8192, 0x17), ("2MB", 2048, 0x15)] {
        let board = format!(
            "[board]\nname = \"my-board\"\ndisplay-name = \"My Board\"\nvendor = \"Me\"\n\
             url = \"https://example.com\"\nchip = \"esp32c3\"\nflash-size = \"{size}\"\n\
             [[usb]]\nkind = \"serial-jtag\"\n"
        );
        fs::write(at.join("my-board.toml"), board).unwrap();
        let words = format!("--target-file my-board.toml --port sim:my-board,flash={size}.flash");
        let said = run(at, &format!("detect {words}")).check(0, &[]);
        assert!(said.out.contains(&format!("{kib} KB, id ef 40 {id:02x}")), "{said:#?}");
        assert_eq!(fs::metadata(at.join(format!("{size}.flash"))).unwrap().len(), kib << 10);
        // Reading past the end is refused, and the last sector can be read.
        run(at, &format!("read {:#x} 0x1000 last.bin {words} --stub none", (kib << 10) - 0x1000))
            .check(0, &[]);
        run(at, &format!("read {:#x} 0x1000 behind.bin {words}", kib << 10)).check(6, &[]);
    }
    // An existing file keeps its length.
    for (port, size) in [("esp32c3,flash=8MB.flash", "8192 KB"), ("m5stamp-c3", "4096 KB")] {
        let said = run(at, &format!("detect --port sim:{port}")).check(0, &[]);
        assert!(said.out.contains(size), "{said:#?}");
    }
}

#[test]
fn a_board_tells_what_it_is() {
    let (directory, _) = directory();
    let at = directory.path();
    let said = at_board(at, "detect").check(0, &[]);
    for part in ["ESP32-C3 (revision v0.4)", "02:00:00:c3:00:01", "crystal   40 MHz", "4096 KB"] {
        assert!(said.out.contains(part), "no {part} in {said:#?}");
    }
    let said = at_board(at, "board-info --format json").check(0, &[]);
    let value = &result(&said)["value"];
    assert_eq!(
        (value["flash_size"].as_u64(), value["chip"].as_str()),
        (Some(4 << 20), Some("esp32c3"))
    );
    assert_eq!(value["security"]["secure_download"], false);
}
