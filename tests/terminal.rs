//! Tests `esplice monitor` between a user and a board: keys, piped input, bytes of all kinds, and
//! ports that disappear and return. Both ends are ptys.
#![cfg(target_os = "linux")]

use std::{
    fs::{self, File},
    io::{Read, Write as _},
    os::{
        fd::OwnedFd,
        unix::{fs::symlink, process::ExitStatusExt as _},
    },
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::support::{self, pty};
use nix::{
    sys::{
        signal::{Signal, kill},
        termios::{ControlFlags, LocalFlags, SetArg, cfmakeraw, tcgetattr, tcsetattr},
    },
    unistd::{Pid, ttyname},
};

/// The board's end of a pty, and the name of the program's end.
struct Wire {
    board: File,
    slave: OwnedFd,
    name: String,
}

fn wire() -> Wire {
    let pty = pty::open();
    // A serial line that passes bytes unchanged.
    let mut mode = tcgetattr(&pty.slave).unwrap();
    cfmakeraw(&mut mode);
    tcsetattr(&pty.slave, SetArg::TCSANOW, &mode).unwrap();
    let name = ttyname(&pty.slave).unwrap().to_string_lossy().into_owned();
    Wire { board: pty.master.into(), slave: pty.slave, name }
}

impl Wire {
    /// Reads until the program has sent `text`.
    fn wait_for(&mut self, text: &str) {
        read_until(&mut self.board, text);
    }
}

fn read_until(file: &mut File, text: &str) -> String {
    read_until_of(file, text)
}

fn read_until_of(file: &mut impl Read, text: &str) -> String {
    let mut read = vec![];
    let mut byte = [0];
    while !read.ends_with(text.as_bytes()) {
        let count = file.read(&mut byte).unwrap_or(0);
        assert_eq!(count, 1, "no {text:?} in {:?}", String::from_utf8_lossy(&read));
        read.push(byte[0]);
    }
    String::from_utf8_lossy(&read).into_owned()
}

fn program(directory: &Path, port: &str, words: &str) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("esplice"));
    command.current_dir(directory).env("NO_COLOR", "1").args(["monitor", "--port", port]);
    command.args(words.split_whitespace());
    command
}

fn piped(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Reads until the program reports that it listens.
fn listens(child: &mut Child) {
    let mut err = vec![];
    let mut byte = [0];
    while !err.ends_with(b"the board keeps running\n") {
        let count = child.stderr.as_mut().unwrap().read(&mut byte).unwrap();
        assert_eq!(count, 1, "{}", String::from_utf8_lossy(&err));
        err.push(byte[0]);
    }
}

#[test]
fn all_bytes_are_logged_and_shown_raw_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let mut wire = wire();
    let all: Vec<u8> = (0..=255_u8).cycle().take(300_000).chain(*b"THE END").collect();
    let words = "--raw --log all.log --expect END";
    let mut child = piped(&mut program(directory.path(), &wire.name, words));
    listens(&mut child);
    let bytes = all.clone();
    let writer = std::thread::spawn(move || wire.board.write_all(&bytes).map(|()| wire));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stdout == all, "{} bytes are shown", output.stdout.len());
    assert!(fs::read(directory.path().join("all.log")).unwrap() == all);
}

#[test]
fn piped_input_goes_to_the_board_and_its_end_ends_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut wire = wire();
    let mut child = piped(&mut program(directory.path(), &wire.name, "--expect bye"));
    listens(&mut child);
    // Keys of a terminal are plain bytes here.
    child.stdin.take().unwrap().write_all(b"hello\r\x03\x1d\x14.").unwrap();
    wire.wait_for("hello\r\x03\x1d\x14.");
    wire.board.write_all(b"bye").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn a_script_talks_to_the_board() {
    let directory = tempfile::tempdir().unwrap();
    let script = "expect \"login: \"\nsend \"root\\r\"\nexpect /pass.*: /\nsend \"x\\x00\\r\"\nexpect \"ok\"\n";
    fs::write(directory.path().join("steps.txt"), script).unwrap();
    let mut wire = wire();
    let mut child =
        piped(&mut program(directory.path(), &wire.name, "--script steps.txt --timeout 60s"));
    listens(&mut child);
    wire.board.write_all(b"login: ").unwrap();
    wire.wait_for("root\r");
    wire.board.write_all(b"root\r\npassword: ").unwrap();
    wire.wait_for("x\0\r");
    wire.board.write_all(b"ok\r\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // A reset needs a reset line, which is checked before anything is done.
    fs::write(directory.path().join("steps.txt"), "\nreset\n").unwrap();
    let output = program(directory.path(), &wire.name, "--script steps.txt").output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains("steps.txt:2: ") && err.contains("no reset line"), "{err}");
}

#[test]
fn a_port_that_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("board");
    let (mut first, mut second) = (wire(), wire());
    symlink(&first.name, &link).unwrap();
    let link_name = link.to_string_lossy().into_owned();
    let mut child = piped(&mut program(directory.path(), &link_name, "--log all.log"));
    listens(&mut child);
    first.board.write_all(b"one\n").unwrap();
    let mut shown = [0; 4];
    child.stdout.as_mut().unwrap().read_exact(&mut shown).unwrap();
    fs::remove_file(&link).unwrap();
    drop(first);
    let mut err = vec![];
    let mut read = |child: &mut Child, text: &str| {
        let mut byte = [0];
        while !err.ends_with(text.as_bytes()) {
            let count = child.stderr.as_mut().unwrap().read(&mut byte).unwrap();
            assert_eq!(count, 1, "{}", String::from_utf8_lossy(&err));
            err.push(byte[0]);
        }
    };
    read(&mut child, "is gone after 4 bytes: waiting until it is back\n");
    symlink(&second.name, &link).unwrap();
    read(&mut child, "is back\n");
    second.board.write_all(b"two\n").unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut shown).unwrap();
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(fs::read(directory.path().join("all.log")).unwrap(), b"one\ntwo\n");
}

/// A terminal that the program has to itself.
struct Terminal {
    user: File,
    slave: OwnedFd,
    child: Child,
}

impl Terminal {
    fn open(directory: &Path, port: &str, words: &str) -> Terminal {
        let pty = pty::open();
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        let program = program(directory, port, words);
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(program.get_program()).args(program.get_args());
        command.current_dir(directory).env("NO_COLOR", "1");
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn();
        let child = child.expect("setsid is installed (util-linux)");
        Terminal { user: pty.master.into(), slave: pty.slave, child }
    }

    /// Reads until the screen shows `text`.
    fn shows(&mut self, text: &str) -> String {
        read_until(&mut self.user, text)
    }

    fn types(&mut self, bytes: &[u8]) {
        self.user.write_all(bytes).unwrap();
    }

    fn is_raw(&self) -> bool {
        let flags = tcgetattr(&self.slave).unwrap().local_flags;
        !flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG)
    }

    /// Waits for the end; the terminal must be restored.
    #[track_caller]
    fn ends(mut self, exit: i32) {
        assert_eq!(self.child.wait().unwrap().code(), Some(exit));
        let flags = tcgetattr(&self.slave).unwrap().local_flags;
        assert!(flags.contains(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG));
    }
}

#[test]
fn keys_of_a_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let mut wire = wire();
    let mut terminal = Terminal::open(directory.path(), &wire.name, "--filter warn");
    terminal.shows("Keys: Ctrl-] or Ctrl-C quits");
    assert!(terminal.is_raw());
    // Typed text goes to the board key by key, except for esplice's own keys.
    terminal.types(b"ls\r\x1b[A\x12");
    wire.wait_for("ls\r\x1b[A\x12");
    terminal.types(b"\x14c\x14\x14");
    wire.wait_for("\x03\x14");
    wire.board.write_all(b"I (1) a: hidden\nshown\n").unwrap();
    let shown = terminal.shows("shown\r\n");
    assert!(!shown.contains("hidden"), "{shown}");
    terminal.types(b"\x14f");
    terminal.shows("Filter off");
    terminal.types(b"\x14t");
    terminal.shows("Time stamps on");
    wire.board.write_all(b"I (1) a: here\n").unwrap();
    let shown = terminal.shows("I (1) a: here\r\n");
    assert!(shown.contains("] I (1)"), "{shown}");
    terminal.types(b"\x14r");
    terminal.shows("has no reset lines");
    terminal.types(b"\x142");
    terminal.shows("There is no port 2");
    terminal.types(b"\x1d");
    terminal.ends(0);
}

#[test]
fn the_terminal_is_given_back_however_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let mut wire = wire();
    let open = |words: &str| {
        let mut terminal = Terminal::open(directory.path(), &wire.name, words);
        terminal.shows("All other keys go to the board.\r\n");
        assert!(terminal.is_raw());
        terminal
    };
    let mut terminal = open("");
    terminal.types(b"\x03");
    terminal.ends(130);
    // While something is expected, quitting is not a success.
    let mut terminal = open("--expect never --timeout 600s");
    terminal.types(b"\x14q");
    terminal.ends(130);
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let terminal = open("");
        kill(Pid::from_raw(terminal.child.id() as i32), signal).unwrap();
        terminal.ends(130);
    }
    let terminal = open("--expect here");
    wire.board.write_all(b"here").unwrap();
    terminal.ends(0);
    let terminal = open("--expect never --timeout 1s");
    terminal.ends(20);
}

/// A program that is stopped, or ended as by Ctrl-\\, restores the terminal for the shell.
#[allow(clippy::disallowed_methods)] // Waits for a signal in the host's time.
#[test]
fn a_stopped_program_gives_the_terminal_back() {
    let directory = tempfile::tempdir().unwrap();
    let wire = wire();
    let mut terminal = Terminal::open(directory.path(), &wire.name, "");
    terminal.shows("All other keys go to the board.\r\n");
    assert!(terminal.is_raw());
    let pid = Pid::from_raw(terminal.child.id() as i32);
    let becomes = |what: &str, is_it: &dyn Fn() -> bool| {
        let waited = (0..1000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            is_it()
        });
        assert!(waited, "it does not become {what}");
    };
    let is_stopped = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit(')').next().unwrap().trim_start().starts_with('T')
    };
    kill(pid, Signal::SIGTSTP).unwrap();
    becomes("stopped", &is_stopped);
    assert!(!terminal.is_raw());
    kill(pid, Signal::SIGCONT).unwrap();
    becomes("raw again", &|| terminal.is_raw());
    kill(pid, Signal::SIGQUIT).unwrap();
    assert_eq!(terminal.child.wait().unwrap().signal(), Some(Signal::SIGQUIT as i32));
    assert!(!terminal.is_raw());
}

#[test]
fn keys_that_reset_a_board() {
    let directory = support::built_hello("Hello\r\n");
    let at = directory.path();
    support::run(at, "flash --port sim:esp32c3,flash=board.flash hello.bin").check(0, &[]);
    let mut terminal = Terminal::open(at, "sim:esp32c3,flash=board.flash", "");
    terminal.shows("Hello\r\r\n");
    terminal.types(b"\x14\x12");
    terminal.shows("Reset\r\n");
    terminal.shows("SPI_FAST_FLASH_BOOT");
    terminal.shows("Hello\r\r\n");
    terminal.types(b"\x14d");
    terminal.shows("Reset to download mode\r\n");
    terminal.shows("DOWNLOAD(USB/UART0/1)");
    terminal.types(b"\x1d");
    terminal.ends(0);
}

/// Where the system allows it, closing a port leaves its lines unchanged.
#[test]
fn a_board_that_is_not_reset_keeps_its_lines() {
    let directory = tempfile::tempdir().unwrap();
    for (words, hangs_up) in [("", true), ("--no-reset", false)] {
        let mut wire = wire();
        let mut mode = tcgetattr(&wire.slave).unwrap();
        mode.control_flags.insert(ControlFlags::HUPCL);
        tcsetattr(&wire.slave, SetArg::TCSANOW, &mode).unwrap();
        let words = format!("{words} --expect here");
        let child = piped(&mut program(directory.path(), &wire.name, &words));
        wire.board.write_all(b"here").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let flags = tcgetattr(&wire.slave).unwrap().control_flags;
        assert_eq!(flags.contains(ControlFlags::HUPCL), hangs_up, "{words}");
    }
}

#[test]
fn a_port_that_is_gone_holds_no_other_up() {
    let directory = tempfile::tempdir().unwrap();
    let (first, mut second) = (wire(), wire());
    let words = format!("--port {} --no-reset", second.name);
    let mut child = piped(&mut program(directory.path(), &first.name, &words));
    let mut out = child.stdout.take().unwrap();
    second.board.write_all(b"both are there\n").unwrap();
    read_until_of(&mut out, "2| both are there\n");
    drop(first);
    // The program waits for the port as long as necessary.
    read_until_of(child.stderr.as_mut().unwrap(), "waiting until it is back\n");
    for round in 0..3 {
        second.board.write_all(format!("round {round}\n").as_bytes()).unwrap();
        read_until_of(&mut out, &format!("2| round {round}\n"));
    }
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

/// A pager or a pipe after the program shares the terminal, so nothing is read from it.
#[test]
fn a_terminal_is_left_alone_where_output_goes_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let mut wire = wire();
    let terminal = pty::open();
    let before = tcgetattr(&terminal.slave).unwrap();
    let mut command = program(directory.path(), &wire.name, "--expect end");
    command.stdin(Stdio::from(terminal.slave.try_clone().unwrap())).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    listens(&mut child);
    // Once it shows output, it has checked the terminal.
    wire.board.write_all(b"text").unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 4]).unwrap();
    assert_eq!(tcgetattr(&terminal.slave).unwrap().local_flags, before.local_flags);
    wire.board.write_all(b"end").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
