//! The program for Windows, run by Wine: files, output and exit codes are those of the program for this
//! system, and a COM port leads to a virtual board.
#![cfg(target_os = "linux")]

mod wine;

use std::{fs, path::Path, sync::LazyLock};

use crate::support::{self, Said, files, finish, repository, result, served::Board};

/// Output of the example, as `--expect` takes it.
const EXPECT: &str = r"--expect=Hello, World!\r\n";

/// Runs the program for Windows with words that blanks separate.
fn run(directory: &Path, words: &str) -> Said {
    finish(wine::esplice(directory).args(words.split_whitespace()))
}

/// The same with the example's first words expected.
fn run_and_expect(directory: &Path, words: &str) -> Said {
    let mut command = wine::esplice(directory);
    finish(command.args(words.split_whitespace()).args([EXPECT, "--timeout=60s"]))
}

/// A directory with the example's ELF, `hello.elf`.
fn with_hello() -> tempfile::TempDir {
    static ELF: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("hello.bin");
        let mut command = support::esplice(&repository());
        command.env("CARGO_TARGET_DIR", support::toolchain::firmware_target());
        command.args(["build", "examples/hello-rust", "--target=esp32c3", "--output"]).arg(image);
        finish(&mut command).check(0, &[]);
        fs::read(directory.path().join("hello.elf")).unwrap()
    });
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("hello.elf"), &*ELF).unwrap();
    directory
}

#[test]
#[ignore = "needs the program for Windows and Wine: scripts/test-windows runs it"]
fn it_is_the_same_program() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    for words in [
        "--version",
        "--help",
        "chips esp32c3",
        "boards",
        "nonsense",
        "monitor --port sim:nonsense",
    ] {
        let (here, there) = (support::run(at, words), run(at, words));
        let [out, err] =
            [&there.out, &there.err].map(|text| text.replace("esplice.exe", "esplice"));
        assert_eq!((there.exit, out, err), (here.exit, here.out, here.err), "{words}");
    }
}

#[test]
#[ignore = "needs the program for Windows and Wine: scripts/test-windows runs it"]
fn build_writes_the_same_bytes() {
    let directory = with_hello();
    let at = directory.path();
    for flags in ["", "--image-only"] {
        let words = |out: &str| format!("build --elf hello.elf --output {out}/hello.bin {flags}");
        for out in ["here", "there"] {
            fs::create_dir_all(at.join(out)).unwrap();
        }
        let here = support::run(at, &words("here")).check(0, &[]);
        let there = run(at, &words("there")).check(0, &[]);
        assert_eq!(there.out.replace("there", "here"), here.out);
        let names = files(&at.join("here"));
        assert_eq!(files(&at.join("there")), names);
        assert_eq!(names.len(), if flags.is_empty() { 4 } else { 1 }, "{names:?}");
        for name in names {
            let [here, there] = ["here", "there"].map(|out| fs::read(at.join(out).join(&name)));
            assert!(here.unwrap() == there.unwrap(), "{name} {flags}");
        }
        fs::remove_dir_all(at.join("here")).unwrap();
        fs::remove_dir_all(at.join("there")).unwrap();
    }
}

#[test]
#[ignore = "needs the program for Windows and Wine: scripts/test-windows runs it"]
fn run_takes_a_virtual_board_to_its_first_words() {
    let directory = with_hello();
    let at = directory.path();
    let words = "run hello.elf --port sim:esp32c3,flash=board.flash";
    let said = run_and_expect(at, words).check(0, &["Hash of data verified", "output found"]);
    assert!(said.out.ends_with("Hello, World!\r\n"), "{said:#?}");
    // The program for this system boots what is in the flash file.
    let mut command = support::esplice(at);
    command.args(["monitor", "--port=sim:esp32c3,flash=board.flash", EXPECT, "--timeout=60s"]);
    finish(&mut command).check(0, &["output found"]);
}

#[test]
#[ignore = "needs the program for Windows and Wine: scripts/test-windows runs it"]
fn ports_lists_com_ports() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let bridge =
        "COM31  10c4:ea60  Silicon Labs CP210x USB to UART Bridge (COM31)  serial SIM0001\n";
    let said = run(at, "ports").check(0, &["--all lists them"]);
    assert!(said.out.starts_with(bridge) && !said.out.contains("COM32"), "{said:#?}");
    assert!(said.out.contains("\n    a UART bridge, as on esp32-c3-devkitm-1, "), "{said:#?}");
    let said = run(at, "ports --all").check(0, &[]);
    assert!(said.out.contains(bridge) && said.out.contains("COM32\n"), "{said:#?}");
    let said = run(at, "ports --format json").check(0, &[]);
    let port = &result(&said)["value"][0];
    assert_eq!(port["port"], wine::USB_PORT);
    assert_eq!(port["usb"]["vid"], 0x10c4);
    assert_eq!(port["usb"]["serial"], "SIM0001");
}

#[test]
#[ignore = "needs the program for Windows and Wine: scripts/test-windows runs it"]
fn a_board_at_a_com_port_is_flashed_and_heard() {
    let directory = with_hello();
    let at = directory.path();
    let link = wine::link(wine::USB_PORT);
    let board = Board::new(&["--pty", &link, "--download"]);
    // Without --port it is the one at USB.
    let said = run(at, "detect").check(0, &["Port is COM31", "COM31 has no reset line"]);
    assert!(said.out.contains("02:00:00:c3:00:01"), "{said:#?}");
    let said = run(at, "flash hello.elf --port COM31 --baud 921600");
    let said = said.check(0, &["Transfer at 921600 baud"]);
    assert!(said.out.contains("Hash of data verified (bootloader: "), "{said:#?}");
    let said = run(at, "read 0x8000 0xc00 table.bin --port com31").check(0, &[]);
    let flash = board.flash();
    assert!(fs::read(at.join("table.bin")).unwrap() == flash[0x8000..0x8c00], "{said:#?}");
    let words = "build --elf hello.elf --output hello.bin";
    support::run(at, words).check(0, &[]);
    assert!(flash.starts_with(&fs::read(at.join("hello.merged.bin")).unwrap()));
    board.interrupt();

    let _board = Board::with_flash(&["--pty", &link], Some(&flash));
    let said = run_and_expect(at, "monitor --port COM31").check(0, &["Expected output found"]);
    assert!(said.out.ends_with("Hello, World!\r\n"), "{said:#?}");
}

/// RFC 2217 carries the reset lines, which a pty does not.
#[test]
#[ignore = "needs the program for Windows and Wine: scripts/test-windows runs it"]
fn run_takes_a_board_of_another_machine_to_its_first_words() {
    let directory = with_hello();
    let board = Board::new(&["--rfc2217", "127.0.0.1:0"]);
    let words = format!("run hello.elf --baud 921600 --port {}", board.port);
    let said = run_and_expect(directory.path(), &words);
    let said = said.check(0, &["Transfer at 921600 baud", "Hash of data verified", "output found"]);
    assert!(said.out.ends_with("Hello, World!\r\n"), "{said:#?}");
}

#[test]
#[ignore = "needs the program for Windows and Wine: scripts/test-windows runs it"]
fn a_com_port_that_cannot_be_used() {
    let directory = with_hello();
    let at = directory.path();
    run(at, "flash hello.elf --port COM99").check(10, &["error: no port COM99", "hint: check"]);
    // The system knows the port, and its device is away.
    run(at, "flash hello.elf --port COM32").check(10, &["error: port COM32"]);
    // A board that is not in download mode answers nothing.
    let _board = Board::new(&["--pty", &wine::link(wine::PORT)]);
    let said = run(at, "flash hello.elf --port COM32");
    said.check(11, &["error: Failed to connect to COM32", "hint: "]);
}
