//! Tests whole commands against the virtual board, and against invalid ports.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, ChildStdout, Stdio},
};

use crate::support::{self, built_hello, elf, finish, run};
use serde_json::Value;

const HELLO: &str = "Hello, World!\r\n";

#[test]
fn flash_and_monitor_in_steps() {
    let directory = built_hello(HELLO);
    let at = directory.path();
    let said = run(at, "flash --port=sim:esp32c3,flash=board.flash --baud=921600 hello.bin");
    let said = said.check(0, &["921600"]);
    assert!(said.out.contains("Chip is ESP32-C3"), "{said:#?}");
    assert!(said.out.contains("Hash of data verified"), "{said:#?}");

    let mut monitor = support::esplice(at);
    monitor.args(["monitor", "--port=sim:esp32c3,flash=board.flash", "--timeout", "5s"]);
    monitor.args(["--expect", r"Hello, World!\r\n"]);
    let said = finish(&mut monitor).check(0, &["Expected output found"]);
    assert!(said.out.contains("ESP-ROM:"), "{said:#?}");
    assert!(said.out.ends_with(HELLO), "{said:#?}");
}

#[test]
fn run_is_all_of_it() {
    let directory = built_hello(HELLO);
    let at = directory.path();
    for what in ["hello.elf", "hello.bin"] {
        let mut command = support::esplice(at);
        command.args(["run", "--target", "esp32c3", what, "--port", "sim:esp32c3"]);
        command.args(["--expect", r"Hello, World!\r\n"]);
        let words = ["Chip is ESP32-C3", "Hash of data verified", "Expected output found"];
        let said = finish(&mut command).check(0, &words);
        assert!(said.out.ends_with(HELLO), "{said:#?}");
    }
}

/// Runs `hello` with `--expect` and a timeout, and returns the result.
fn expect(at: &Path, expected: &str) -> support::Said {
    let mut command = support::esplice(at);
    command.args(["run", "--port", "sim:esp32c3", "--timeout", "2s", "--expect", expected]);
    finish(command.arg("hello.bin"))
}

#[test]
fn what_comes_instead_of_the_expected() {
    let directory = built_hello(HELLO);
    let said = expect(directory.path(), "Goodbye");
    said.check(
        20,
        &["error: expected output \"Goodbye\" did not appear within 2s", "Hello, World!"],
    );

    let directory = built_hello("panicked at src/main.rs:7:5:\r\nboom\r\n\r\nBacktrace:\r\n\r\n");
    let said = expect(directory.path(), "Goodbye");
    said.check(21, &["error: the firmware panicked: boom at src/main.rs:7:5"]);

    let said = expect(directory.path(), r"\q");
    said.check(2, &["error: expected text: unknown escape", "hint: "]);
}

#[test]
fn panics_are_decoded_only_with_the_right_elf() {
    let panic = "panicked at src/main.rs:7:5:\r\nboom\r\n\r\nBacktrace:\r\n\r\n0x42000000\r\n";
    let directory = built_hello(panic);
    let said = expect(directory.path(), "Goodbye");
    said.check(21, &["warning: no address of the panic lies in the code of the ELF"]);

    // Code without symbols and lines is shown as a number.
    let directory = built_hello(&panic.replace("0x42000000", "0x42010404"));
    let said = expect(directory.path(), "Goodbye").check(21, &["boom at src/main.rs:7:5"]);
    assert!(!said.err.contains("Backtrace, ") && !said.err.contains("warning"), "{said:#?}");

    let guru =
        "Guru Meditation Error: Core  0\r\nELF file SHA256: 0123456789abcdef\r\nRebooting...";
    let directory = built_hello(guru);
    // Right after flashing, a panic of another ELF means that another app runs.
    let said = expect(directory.path(), "Goodbye");
    said.check(15, &["error: the written firmware does not run", "ELF SHA-256 0123456789abcdef"]);
    run(directory.path(), "flash --port sim:esp32c3,flash=board.flash hello.bin");
    let watched = "monitor --port sim:esp32c3,flash=board.flash --elf hello.elf --expect Goodbye";
    run(directory.path(), &format!("{watched} --timeout 2s"))
        .check(21, &["warning: the firmware was built from another ELF", "0123456789abcdef"]);

    let monitor = "monitor --port sim:esp32c3 --elf";
    run(directory.path(), &format!("{monitor} hello.bin"))
        .check(3, &["hello.bin: no readable ELF"]);
    run(directory.path(), &format!("{monitor} none.elf")).check(3, &["cannot read none.elf"]);
}

#[test]
fn an_offset_takes_a_file_as_it_is_and_an_elf_as_its_image() {
    let directory = built_hello(HELLO);
    let at = directory.path();
    let port = "--port sim:esp32c3,flash=board.flash";
    run(at, &format!("flash {port} --offset 0 hello.merged.bin")).check(0, &[]);
    let merged = fs::read(at.join("hello.merged.bin")).unwrap();
    assert!(fs::read(at.join("board.flash")).unwrap().starts_with(&merged));

    run(at, &format!("flash {port} --target esp32c3 --offset 0x20000 hello.elf")).check(0, &[]);
    let image = fs::read(at.join("hello.bin")).unwrap();
    assert!(fs::read(at.join("board.flash")).unwrap()[0x2_0000..].starts_with(&image));
}

#[test]
fn what_must_not_come() {
    let directory = built_hello("self-test: E7\r\nGoodbye\r\n");
    let rejecting = |text: &str| {
        let mut command = support::esplice(directory.path());
        command.args(["run", "--port=sim:esp32c3", "--expect=Goodbye", "--reject=never"]);
        finish(command.args(["--reject", text, "hello.bin"]))
    };
    let words = ["error: rejected output \"test: E\" appeared", "hint: ", "\"self-test: E\""];
    rejecting("test: E").check(25, &words);
    rejecting(r"E8").check(0, &["Expected output found"]);
    rejecting(r"\q").check(2, &["error: rejected text: unknown escape", "hint: "]);
}

/// The board prints at the ROM's rate, which a monitor at another rate cannot decode.
#[test]
fn the_monitors_baud_rate_is_that_of_run_and_monitor() {
    let directory = built_hello(HELLO);
    let at = directory.path();
    run(at, "flash --port sim:esp32c3,flash=board.flash hello.bin").check(0, &[]);
    for command in ["run hello.bin", "monitor"] {
        let words = format!("{command} --port sim:esp32c3,flash=board.flash --monitor-baud");
        let rest = "--expect Hello --timeout 2s";
        run(at, &format!("{words} 115200 {rest}")).check(0, &[]);
        run(at, &format!("{words} 9600 {rest}")).check(23, &["are not text", "--monitor-baud"]);
    }
}

#[test]
fn an_empty_board_loops() {
    let directory = tempfile::tempdir().unwrap();
    let words = "monitor --port sim:esp32c3,flash=empty.flash --expect Hello --timeout 5s";
    run(directory.path(), words).check(22, &["error: the board reset", "invalid header"]);
}

#[test]
fn ports_that_are_none() {
    let directory = built_hello(HELLO);
    let at = directory.path();
    let check = |port: &str, exit: i32, words: &[&str]| {
        run(at, &format!("flash --port {port} hello.bin")).check(exit, words);
    };
    check("/dev/esplice-has-no-such-port", 10, &["error: no port /dev/esplice", "hint: "]);
    check("hello.bin", 2, &["error: port hello.bin is not a serial port", "hint: "]);
    // Port 1 is reserved for the system, and nobody listens there.
    check("tcp://127.0.0.1:1", 10, &["cannot connect to 127.0.0.1:1", "hint: nothing listens"]);
    check("rfc2217://127.0.0.1:1", 10, &["cannot connect to 127.0.0.1:1", "hint: nothing listens"]);
    check("rfc2217://no-such-host.invalid:1", 10, &["unknown host no-such-host.invalid"]);
    check("tcp://localhost", 2, &["the port number is missing"]);
    check("sim:esp32cc3", 2, &["error: ", "esp32cc3"]);
    check("sim:esp32c3,flahs=x", 2, &["error: ", "flahs"]);
}

#[test]
fn a_virtual_board_that_is_in_use() {
    let directory = built_hello(HELLO);
    let at = directory.path();
    run(at, "flash --port sim:esp32c3,flash=board.flash hello.bin").check(0, &[]);
    let file = fs::File::open(at.join("board.flash")).unwrap();
    file.try_lock().unwrap();
    let said = run(at, "flash --port sim:esp32c3,flash=board.flash hello.bin");
    said.check(10, &["error: ", "in use", "hint: "]);
}

/// Starts to flash slowly (in real time, at a low rate). Returns when a part of the app has been
/// written, with the rest of the output still to come.
#[cfg(unix)]
fn half_flashed(at: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin!("esplice"))
        .current_dir(at)
        .args(["flash", "--format", "json", "--baud", "115200"])
        .args(["--port", "sim:esp32c3,flash=board.flash,time=real", "hello.bin"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let half = said.by_ref().lines().map(Result::unwrap).any(|line| {
        let event: Value = serde_json::from_str(&line).unwrap();
        event["event"] == "progress"
            && event["stage"] == "app"
            && event["done"].as_u64() < event["total"].as_u64()
    });
    if !half {
        panic!("it ended before it was half done: {}", child.wait().unwrap());
    }
    (child, said)
}

/// Makes firmware with incompressible text, so that its transfer takes a while.
#[cfg(unix)]
fn slow_hello() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut elf = elf::hello(HELLO);
    let mut state = 1_u32;
    let noise = std::iter::repeat_with(|| {
        // Numerical Recipes' linear congruential generator.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    elf.sections[1].data.extend(noise.take(40_000));
    fs::write(directory.path().join("hello.elf"), elf.to_bytes()).unwrap();
    let words = "build --target esp32c3 --elf hello.elf --output hello.bin";
    run(directory.path(), words).check(0, &[]);
    directory
}

#[cfg(unix)]
#[track_caller]
fn repaired_by_the_next(at: &Path) {
    run(at, "flash --port sim:esp32c3,flash=board.flash hello.bin").check(0, &[]);
    let words = "monitor --port sim:esp32c3,flash=board.flash --expect Hello --timeout 5s";
    run(at, words).check(0, &[]);
}

#[cfg(unix)]
#[test]
fn a_flash_that_was_killed_is_repaired_by_the_next() {
    let directory = slow_hello();
    let (mut child, _lines) = half_flashed(directory.path());
    child.kill().unwrap();
    child.wait().unwrap();
    repaired_by_the_next(directory.path());
}

#[cfg(unix)]
#[test]
fn a_flash_that_was_interrupted_says_so_and_is_repaired() {
    use nix::{sys::signal, unistd::Pid};

    let directory = slow_hello();
    let (mut child, lines) = half_flashed(directory.path());
    signal::kill(Pid::from_raw(child.id() as i32), signal::Signal::SIGINT).unwrap();
    let rest: Vec<String> = lines.lines().map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:#?}");
    let last: Value = serde_json::from_str(rest.last().unwrap()).unwrap();
    assert_eq!(last["event"], "summary");
    assert_eq!((&last["ok"], &last["exit"]), (&false.into(), &130.into()));
    let told = rest.iter().any(|line| line.contains("the board waits in download mode"));
    assert!(told, "the state of the board is not reported: {rest:#?}");
    repaired_by_the_next(directory.path());
}

/// Compares the events of a whole run, without those that depend on timing and compression:
/// progress steps, all output but the last line, and the summary's numbers. `BLESS=1` rewrites
/// them.
#[test]
fn events() {
    let directory = built_hello(HELLO);
    let mut command = support::esplice(directory.path());
    command.args(["run", "hello.bin", "--port", "sim:esp32c3", "--format", "json"]);
    let said = finish(command.args(["--expect", r"World!\r\n"])).check(0, &[]);
    let events: Vec<Value> =
        said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();

    let is_kept = |(at, event): &(usize, &Value)| match event["event"].as_str() {
        Some("progress") => event["done"] == event["total"],
        Some("output") => events[at + 1]["event"] != "output",
        _ => true,
    };
    let mut told = String::new();
    for (_, event) in events.iter().enumerate().filter(is_kept) {
        let mut event = event.clone();
        for (name, value) in event.as_object_mut().unwrap() {
            let varies = [
                "bytes_sent",
                "bytes_received",
                "frames",
                "seconds",
                "host_seconds",
                "sectors_written",
                "hash",
            ];
            if varies.contains(&name.as_str()) && !value.is_null() {
                assert_ne!(value.as_f64(), Some(0.0), "{name}");
                *value = "varies".into();
            }
        }
        told.push_str(&format!("{event}\n"));
    }
    let golden = support::repository().join("tests/events.jsonl");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&golden, &told).unwrap();
    }
    assert_eq!(told, fs::read_to_string(&golden).unwrap(), "BLESS=1 writes {golden:?} anew");
}

#[test]
fn images_that_are_no_apps_are_refused_with_the_place_they_could_have_meant() {
    let directory = built_hello(HELLO);
    let at = directory.path();
    let merged = fs::read(at.join("hello.merged.bin")).unwrap();
    fs::write(at.join("boot.bin"), &merged[..0x5050]).unwrap();
    let check = |file: &str, words: &[&str]| {
        run(at, &format!("flash --port /dev/esplice-has-no-such-port {file}")).check(6, words);
    };
    check("hello.merged.bin", &["hello.merged.bin is a merged image", "--offset 0x0"]);
    check("boot.bin", &["boot.bin is a bootloader", "--offset 0x0"]);

    // With an explicit offset, the whole flash works as well as its parts.
    let port = "--port sim:esp32c3,flash=board.flash";
    run(at, &format!("flash {port} --offset 0x0 hello.merged.bin")).check(0, &[]);
    run(at, &format!("monitor {port} --expect Hello")).check(0, &[]);
    assert_eq!(fs::read(at.join("board.flash")).unwrap()[..merged.len()], merged);
}

#[test]
fn a_plan_that_does_not_belong_to_its_image_is_refused() {
    let directory = built_hello(HELLO);
    let at = directory.path();
    let plan = fs::read_to_string(at.join("hello.plan.json")).unwrap();
    let flash = "flash --port sim:esp32c3,flash=board.flash hello.bin";
    let refused = |word: &str| {
        let words = ["hello.plan.json does not belong to hello.bin: ", word, "hint: build again"];
        run(at, flash).check(6, &words);
        // The message appears with -q and in JSON.
        run(at, &format!("-q {flash}")).check(6, &words);
        assert!(!at.join("board.flash").exists());
    };
    let merged = fs::read(at.join("hello.merged.bin")).unwrap();
    fs::write(at.join("hello.merged.bin"), "changed").unwrap();
    refused("has 7 bytes");
    fs::remove_file(at.join("hello.merged.bin")).unwrap();
    refused("hello.merged.bin");
    // Leaves the directory through a link.
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("merged"), &merged).unwrap();
    #[cfg(unix)]
    {
        let link = at.join("hello.merged.bin");
        std::os::unix::fs::symlink(elsewhere.path().join("merged"), &link).unwrap();
        refused("leaves the project through a symlink");
        fs::remove_file(link).unwrap();
    }
    fs::write(at.join("hello.merged.bin"), &merged).unwrap();
    for (text, word) in [("{", "EOF"), ("[]", "plan"), (&"x".repeat(2 << 20), "more than 1048576")]
    {
        fs::write(at.join("hello.plan.json"), text).unwrap();
        refused(word);
    }
    // The image of another build.
    fs::write(at.join("hello.plan.json"), plan).unwrap();
    let image = fs::read(at.join("hello.bin")).unwrap();
    run(at, "build --target esp32c3 --elf hello.elf --min-rev 0.3 --image-only -o hello.bin")
        .check(0, &[]);
    refused("SHA-256 of app is ");
    fs::write(at.join("hello.bin"), image).unwrap();
    assert!(run(at, flash).check(0, &[]).out.contains("Hash of data verified"));
}

#[test]
fn the_boards_own_table_decides() {
    let directory = built_hello(HELLO);
    let at = directory.path();
    let flash = "flash --port sim:esp32c3,flash=board.flash hello.bin";
    let count = |said: support::Said| said.out.matches("Hash of data verified").count();
    assert_eq!(count(run(at, flash).check(0, &[])), 3);
    // Bootloader and table are on the board now.
    assert_eq!(count(run(at, flash).check(0, &[])), 1);
    assert_eq!(count(run(at, &format!("{flash} --with-bootloader")).check(0, &[])), 3);
    run(at, &format!("{flash} --partition nvs")).check(6, &["partition nvs is of type data"]);
    run(at, &format!("{flash} --partition factroy")).check(6, &["did you mean \"factory\"?"]);
}

/// A reader that closes the pipe ends the watch, which is not an error.
#[test]
fn output_that_nobody_reads_any_more() {
    let directory = built_hello(HELLO);
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin!("esplice"))
        .current_dir(directory.path())
        .args(["monitor", "--port", "sim:esp32c3,flash=empty.flash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The ROM reports empty flash again and again.
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    let read = said.read_line(&mut line);
    drop(said);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(read.is_ok() && line.starts_with("ESP-ROM:"), "{line}");
}

/// A board with planned faults: each fault is reported, whether the write survives it or not.
#[test]
fn a_board_that_fails() {
    let directory = built_hello(HELLO);
    let at = directory.path();
    for (fault, exit, words) in [
        (
            "kind='flip'\ndirection='to-board'\nbyte=2000\nbit=1",
            0,
            "byte 2000 to the board with bit 1",
        ),
        ("kind='reset'\noperation=1", 0, "torn by a reset after 2048 bytes"),
        ("kind='vanish'\ndirection='to-board'\nbyte=2000", 24, "the port is gone"),
        ("kind='power-cut'\noperation=1", 24, "torn by a power cut after 2048 bytes"),
        ("kind='drp'", 3, "did you mean \"drop\"?"),
    ] {
        fs::write(at.join("faults.toml"), format!("[[fault]]\n{fault}\n")).unwrap();
        // The first operation of a ROM loader is an erase, even though the flash is blank.
        let said =
            run(at, "flash --full --stub none --port sim:esp32c3,faults=faults.toml hello.bin");
        said.check(exit, &[words]);
    }
}
