//! Tests the selection of ports and the output of `esplice ports`, with a virtual board's pty that
//! `scripts/as-tty` turns into the serial port of a USB bridge.
#![cfg(target_os = "linux")]

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    process::{Command, Stdio},
};

use crate::support::{pty, repository, served::Board};

/// Runs `esplice` with the board's pty as the only USB port, and expects it to end with `exit`.
#[track_caller]
fn run(board: &Board, words: &str, exit: i32) -> String {
    let mut command = Command::new(repository().join("scripts/as-tty"));
    command.arg(&board.port).arg(assert_cmd::cargo::cargo_bin!("esplice"));
    command.args(words.split_whitespace());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ESPLICE") {
            command.env_remove(name);
        }
    }
    board.run_with_exit(&mut command, exit)
}

fn board() -> Board {
    Board::new(&["--pty", "board", "--download"])
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

#[test]
fn ports_are_listed_and_probed() {
    let board = board();
    let said = run(&board, "ports", 0);
    has(
        &said,
        &[
            "/dev/ttyUSB0  10c4:ea60  esplice virtual board  serial sim-1-1\n",
            "as on esp32-c3-devkitm-1",
        ],
    );
    let said = run(&board, "ports --probe --quiet", 0);
    has(&said, &["ESP32-C3 (revision v0.4), MAC 02:00:00:c3:00:01, 4096 KB of flash"]);
    let said = run(&board, "ports --probe --format json", 0);
    has(&said, &[r#""vid":4292}"#, r#""mac":"02:00:00:c3:00:01""#, r#""own_usb":false"#]);
    std::fs::write(board.path("esplice.toml"), "[ports.bench]\nport = \"10c4:ea60\"\n").unwrap();
    has(&run(&board, "list-ports", 0), &["bench  10c4:ea60, by esplice.toml\n"]);
}

#[test]
fn a_port_is_meant_by_what_it_is() {
    let board = board();
    std::fs::write(board.path("data"), "some data").unwrap();
    std::fs::write(board.path("esplice.toml"), "[ports.bench]\nport = \"10c4:ea60\"\n").unwrap();
    let flash = |port: &str| format!("flash --offset 0x10000 data {port}");
    let told = "Hash of data verified";
    has(&run(&board, &flash(""), 0), &["Port is /dev/ttyUSB0", told]);
    has(&run(&board, &flash("--port 10C4:EA60"), 0), &["Port is /dev/ttyUSB0", told]);
    has(&run(&board, &flash("--port ttyUSB0"), 0), &["Port is /dev/ttyUSB0", told]);
    has(&run(&board, &flash("--port 02-00-00-c3-00-01"), 0), &["Port is /dev/ttyUSB0", told]);
    has(&run(&board, &flash("--port bench"), 0), &["Port is /dev/ttyUSB0", told]);
    let said = run(&board, &flash("--port 02-00-00-c3-00-02"), 10);
    has(&said, &["no board has the MAC address", "/dev/ttyUSB0 has 02:00:00:c3:00:01"]);
    has(&run(&board, &flash("--port ttyUSB1"), 10), &["no port ttyUSB1", "did you mean ttyUSB0?"]);
    has(&run(&board, &flash("--port bnech"), 10), &["no port bnech", "did you mean bench?"]);
    has(
        &run(&board, &flash("--port 1a86:7523"), 10),
        &["no port 1a86:7523", "available ports: /dev/ttyUSB0"],
    );
}

/// If two boards are equally likely, a user selects one by its number; without a terminal, the
/// error explains how to choose.
#[test]
fn one_of_two_ports_is_asked_for_on_a_terminal() {
    let (first, second) = (board(), board());
    fs::write(first.path("data"), "some data").unwrap();
    let asked = || {
        let mut command = Command::new(repository().join("scripts/as-tty"));
        command.arg(&first.port).arg(assert_cmd::cargo::cargo_bin!("esplice"));
        command.args(["flash", "--offset", "0x10000", "data"]).current_dir(first.directory());
        command.env("AS_TTY_TWIN", second.path("board")).env("NO_COLOR", "1").env("TERM", "xterm");
        command
    };
    let said = first.run_with_exit(asked().stdin(Stdio::null()), 10);
    has(&said, &["2 USB serial ports found", "--port: /dev/ttyUSB0, /dev/ttyUSB1"]);

    let pty = pty::open();
    let end = || Stdio::from(pty.slave.try_clone().unwrap());
    let mut child = asked().stdin(end()).stdout(Stdio::null()).stderr(end()).spawn().unwrap();
    drop(pty.slave);
    let mut terminal = File::from(pty.master);
    let mut heard = Vec::new();
    for (asked, answer) in [("1 to 2:", "3\n"), ("1 to 2:", "2\n")] {
        heard.clear();
        while !String::from_utf8_lossy(&heard).contains(asked) {
            let mut byte = [0];
            terminal.read_exact(&mut byte).unwrap();
            heard.push(byte[0]);
        }
        terminal.write_all(answer.as_bytes()).unwrap();
    }
    // Reads output until the program ends and closes the terminal.
    let mut rest = [0; 256];
    while terminal.read(&mut rest).is_ok_and(|count| count > 0) {}
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(second.flash()[0x1_0000..].starts_with(b"some data"));
    assert!(!first.flash()[0x1_0000..].starts_with(b"some data"));
}

/// On a link that garbles bytes at the default rate, the next run starts at the rate that worked.
#[test]
fn the_rate_that_a_bad_link_bore_is_remembered() {
    let garbled = "[[fault]]\nkind = \"wrong-baud\"\ndirection = \"to-board\"\nbyte = 74\n\
                   len = 650\nbaud = 9600\n";
    let directory = tempfile::tempdir().unwrap();
    let faults = directory.path().join("garbled.toml");
    fs::write(&faults, garbled).unwrap();
    let faults = faults.to_string_lossy().into_owned();
    let board = Board::new(&["--pty", "board", "--download", "--faults", &faults]);
    fs::write(board.path("data"), "some data").unwrap();
    let flash = || {
        let mut command = Command::new(repository().join("scripts/as-tty"));
        command.arg(&board.port).arg(assert_cmd::cargo::cargo_bin!("esplice"));
        command.args(["flash", "--offset", "0x10000", "data", "--target", "esp32c3"]);
        command.args(["--stub", "none"]).env("XDG_CACHE_HOME", directory.path());
        board.run_with_exit(&mut command, 0)
    };
    has(&flash(), &["the link fails at 921600 baud", "Hash of data verified"]);
    let kept = fs::read_to_string(directory.path().join("esplice/baud-rates")).unwrap();
    let rate = kept.split(' ').next().unwrap();
    assert!(["460800", "230400", "115200"].contains(&rate), "{kept}");
    let said = flash();
    has(&said, &[&format!("Transfer at {rate} baud"), "Hash of data verified"]);
    assert!(!said.contains("the link fails"), "{said}");
}

#[test]
fn who_holds_a_port_is_told() {
    let board = board();
    let name = board.path("board").to_string_lossy().into_owned();
    let first = esplice_flash::open_serial(&name, 115_200, Default::default()).unwrap();
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("esplice"));
    command.args(["monitor", "--port", &board.port]);
    let said = board.run_with_exit(&mut command, 10);
    has(&said, &["is in use by another program", &format!("(process {})", std::process::id())]);
    drop(first);
}
