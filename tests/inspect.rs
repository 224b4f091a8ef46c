//! Tests the inspection output of `esplice sim`: a trace, the board's state, and a summary at the
//! end.
#![cfg(unix)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
};

use crate::support::{self, built_hello, finish};
use nix::{sys::signal, unistd::Pid};

/// A headerless image executed in place: writes `H` to UART0, reads a register without a device,
/// makes a call, and loops.
const CODE: [u32; 9] = [
    0xaedb_041d,
    0xaedb_041d,
    0x6000_0537, // lui a0, 0x60000
    0x0480_0593, // li a1, 'H'
    0x00b5_2023, // sw a1, 0(a0)
    0x600d_0537, // lui a0, 0x600d0
    0x0005_2583, // lw a1, 0(a0)
    0x0080_00ef, // jal ra, +8
    0x0000_006f, // j 0
];
const RET: u32 = 0x0000_8067;

#[test]
fn a_board_tells_what_it_does_and_what_it_did() {
    let directory = built_hello("Hello, World!\r\n");
    let mut flash: Vec<u8> =
        CODE.into_iter().chain([RET]).flat_map(|word| word.to_le_bytes()).collect();
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
    // Each of these lines, in order.
    for wanted in [
        "store  0x42000010 uart0 0x60000000 gets 0x48",
        "load   0x42000018 no device 0x600d0000 gives 0x0",
        "call   0x42000024 from 0x4200001c",
        "return to 0x42000020",
        "the board runs at 0x42000020",
    ] {
        let mut line = String::new();
        while !line.contains(wanted) {
            line.clear();
            assert_ne!(told.read_line(&mut line).unwrap(), 0, "no {wanted:?}");
        }
    }
    signal::kill(Pid::from_raw(program.id().cast_signed()), signal::Signal::SIGINT).unwrap();
    let mut rest = String::new();
    told.read_to_string(&mut rest).unwrap();
    assert_eq!(program.wait().unwrap().code(), Some(0));
    let status = rest.lines().find(|line| line.contains(" MIPS")).unwrap();
    assert!(rest.contains("0x600d0000 read 1 times, written 0 times"), "{rest}");
    for part in [" MIPS", " bytes out and 0 in", " flash operations of ", " resets"] {
        assert!(status.contains(part), "no {part:?} in {status}");
    }
}

/// On a terminal, Enter prints the board's state; instructions are traced by address and bits.
#[cfg(target_os = "linux")]
#[test]
fn enter_asks_what_the_board_is_at() {
    use std::io::Write as _;

    let directory = tempfile::tempdir().unwrap();
    let mut flash: Vec<u8> =
        CODE.into_iter().chain([RET]).flat_map(|word| word.to_le_bytes()).collect();
    flash.resize(4 << 20, 0xff);
    fs::write(directory.path().join("board.flash"), flash).unwrap();
    let terminal = support::pty::open();
    let mut keyboard = fs::File::from(terminal.master);
    let mut program = Command::new(assert_cmd::cargo::cargo_bin!("esplice"))
        .args(["sim", "--chip", "esp32c3", "--flash", "board.flash", "--tcp", "127.0.0.1:0"])
        .args(["--trace", "insn"])
        .current_dir(directory.path())
        .stdin(terminal.slave)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(program.stderr.take().unwrap());
    let mut wait_for = |wanted: &str| {
        let mut line = String::new();
        while !line.contains(wanted) {
            line.clear();
            assert_ne!(told.read_line(&mut line).unwrap(), 0, "no {wanted:?}");
        }
        line
    };
    wait_for("insn   0x42000010 00b52023");
    wait_for("insn   0x42000024 00008067");
    // No state was printed yet, and each Enter prints one.
    for _ in 0..2 {
        keyboard.write_all(b"\n").unwrap();
        let line = wait_for(" MIPS");
        assert!(line.contains("the board runs at 0x42000020 at "), "{line}");
    }
    signal::kill(Pid::from_raw(program.id().cast_signed()), signal::Signal::SIGINT).unwrap();
    wait_for("1 register without a device was accessed");
    wait_for("0x600d0000 read 1 times, written 0 times");
    drop(told);
    assert_eq!(program.wait().unwrap().code(), Some(0));
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
