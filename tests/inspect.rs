//! What `esplice sim` tells of its board: a trace, what it is at, and a summary at the end.
#![cfg(unix)]

mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
};

use nix::{sys::signal, unistd::Pid};
use support::{built_hello, finish};

#[test]
fn a_board_tells_what_it_does_and_what_it_did() {
    let directory = built_hello("Hello, World!\r\n");
    let mut flash = fs::read(directory.path().join("hello.merged.bin")).unwrap();
    flash.resize(4 << 20, 0xff);
    fs::write(directory.path().join("board.flash"), flash).unwrap();
    let mut program = Command::new(assert_cmd::cargo::cargo_bin!("esplice"))
        .args(["sim", "--chip", "esp32c3", "--flash", "board.flash", "--tcp", "127.0.0.1:0"])
        .args(["--elf", "hello.elf", "--trace", "calls,device", "--status", "1"])
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(program.stderr.take().unwrap());
    // Each of these in turn; the ROM is called by the bootloader.
    for wanted in
        [" call ", "rtc-cntl 0x60008", "the board ", "store ", "uart0 0x60000000 gets 0x48"]
    {
        let mut line = String::new();
        while !line.contains(wanted) {
            line.clear();
            assert_ne!(told.read_line(&mut line).unwrap(), 0, "no {wanted:?}");
        }
    }
    signal::kill(Pid::from_raw(program.id().cast_signed()), signal::Signal::SIGINT).unwrap();
    let mut rest = String::new();
    told.read_to_string(&mut rest).unwrap();
    assert_eq!(program.wait().unwrap().code(), Some(130));
    let status = rest.lines().rfind(|line| line.contains("the board ")).unwrap();
    for part in [" MIPS", " bytes out and 0 in", " flash operations of ", " resets"] {
        assert!(status.contains(part), "no {part:?} in {status}");
    }
}

#[test]
fn what_cant_be_told_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("no.elf"), "text").unwrap();
    for (flags, exit, words) in [
        (["--trace", "everything"], 2, "invalid value 'everything' for '--trace <WHAT>'"),
        (["--status", "0"], 2, "0 is not in 1..=86400"),
        (["--elf", "no.elf"], 3, "no.elf: no readable ELF"),
    ] {
        let mut command = support::esplice(directory.path());
        command.args(["sim", "--chip", "esp32c3", "--tcp", "127.0.0.1:0"]).args(flags);
        finish(&mut command).check(exit, &[words]);
    }
}
