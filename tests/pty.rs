//! Tests whole commands over a serial port of the system: a pty with a simulated other end.
#![cfg(unix)]

use std::{
    fs::{self, Permissions},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use crate::support::{self, Said, built_hello, finish, run};
use esplice_protocol::{Opcode, Port as _, RawRequest, Reply, SecurityInfo, slip};
use esplice_sim::SimPort;
use nix::unistd::ttyname;
use serialport::{SerialPort as _, TTYPort};

/// Opens a pty: the master, and the slave, which keeps it alive, with its name.
fn pty() -> (TTYPort, TTYPort, String) {
    let (mut master, slave) = TTYPort::pair().unwrap();
    master.set_timeout(Duration::from_millis(1)).unwrap();
    let name = slave.name().unwrap();
    (master, slave, name)
}

/// Runs a command with `behind` at the other end. `behind` is called with bytes as they arrive, or
/// without any at least every millisecond, and its answers are sent.
fn with_board(
    at: &Path,
    words: &str,
    mut behind: impl FnMut(&[u8], u32) -> Vec<u8> + Send,
) -> Said {
    let (mut master, _slave, name) = pty();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut buf = [0; 4096];
            while !over.load(Ordering::Relaxed) {
                let count = master.read(&mut buf).unwrap_or(0);
                // The master sees the baud rate that the other end has set.
                let baud = master.baud_rate().unwrap();
                master.write_all(&behind(&buf[..count], baud)).unwrap();
            }
        });
        let said = run(at, &words.replace("PORT", &name));
        over.store(true, Ordering::Relaxed);
        said
    })
}

/// Sets DTR and RTS to each of `lines` in turn, as if the board's buttons were pressed.
fn press(board: &mut SimPort, lines: &[(bool, bool)]) {
    for (dtr, rts) in lines {
        board.set_lines(*dtr, *rts).unwrap();
        let later = board.now() + Duration::from_millis(50);
        board.wait_until(later).unwrap();
    }
}

#[test]
fn the_virtual_board_behind_a_pty() {
    let directory = built_hello("Hello, World!\r\n");
    let mut board = SimPort::open("sim:esp32c3").unwrap();
    // A pty has no DTR and RTS: the user holds BOOT and presses RESET, …
    press(&mut board, &[(false, true), (true, false), (false, false)]);
    board.clear_input().unwrap();
    let mut line = Vec::new();
    let behind = move |bytes: &[u8], baud: u32| {
        board.set_baud(baud).unwrap();
        board.write(bytes).unwrap();
        let mut buf = [0; 4096];
        let soon = board.now() + Duration::from_millis(1);
        let count = board.read(&mut buf, soon).unwrap();
        line.extend_from_slice(&buf[..count]);
        if line.ends_with(b"waiting for download\r\n") {
            line.clear();
            // … and presses it once more, because a software reset does not sample the pins.
            press(&mut board, &[(false, true), (false, false)]);
        }
        buf[..count].to_vec()
    };
    // An ELF without a target: the chip is detected at the board, which is then flashed. This port
    // uses the host's clock, and the host may be busy.
    let words = "run hello.elf --port PORT --expect World!\\r\\n --timeout 120s";
    let said = with_board(directory.path(), words, behind);
    let said =
        said.check(0, &["Detecting the chip at", "Chip is ESP32-C3", "Hash of data verified"]);
    assert!(said.out.ends_with("Hello, World!\r\n"), "{said:#?}");
    assert_eq!(said.err.matches("Chip is").count(), 1, "{said:#?}");
}

/// Simulates a board in download mode with BOOT held, so that each reset enters download mode
/// again, with its log or with the log disabled.
fn board_held_in_download_mode(says: bool) -> impl FnMut(&[u8], u32) -> Vec<u8> {
    let mut board = SimPort::open("sim:esp32c3").unwrap();
    press(&mut board, &[(false, true), (true, false)]);
    board.clear_input().unwrap();
    let mut in_frame = false;
    move |bytes: &[u8], baud: u32| {
        board.set_baud(baud).unwrap();
        board.write(bytes).unwrap();
        let mut buf = [0; 4096];
        let soon = board.now() + Duration::from_millis(1);
        let count = board.read(&mut buf, soon).unwrap();
        // The loader sends frames; the log is the bytes between them.
        let passes = |byte: &u8| {
            in_frame ^= *byte == slip::END;
            says || in_frame || *byte == slip::END
        };
        buf[..count].iter().copied().filter(passes).collect()
    }
}

#[test]
fn a_board_whose_boot_button_is_held_runs_nothing() {
    let directory = built_hello("Hello\r\n");
    let at = directory.path();
    let words = "flash hello.bin --port PORT";
    let waits = "warning: the board waits in download mode";
    let said = with_board(at, words, board_held_in_download_mode(true));
    let said = said.check(0, &[waits, "release its BOOT button"]);
    assert!(!said.err.contains("The board runs"), "{said:#?}");

    let silent = "warning: the board printed nothing in 500ms";
    let said = with_board(at, words, board_held_in_download_mode(false));
    let said = said.check(0, &[silent, "release its BOOT button"]);
    assert!(!said.err.contains("The board runs"), "{said:#?}");

    let words = "run hello.bin --port PORT --expect Hello --timeout 1s";
    let said = with_board(at, words, board_held_in_download_mode(true));
    said.check(20, &[waits, "release its BOOT button"]);
}

/// Simulates a loader that answers SYNC and reports chip `id`.
fn loader_of(id: u32) -> impl FnMut(&[u8], u32) -> Vec<u8> {
    let mut decoder = slip::Decoder::new(1024);
    move |bytes, _| {
        let mut answer = Vec::new();
        for byte in bytes {
            let slip::Decoded::Frame(frame) = decoder.push(*byte) else { continue };
            let Ok(request) = RawRequest::from_frame(&frame) else { continue };
            let (count, mut data) = match Opcode::from_byte(request.opcode) {
                Some(Opcode::Sync) => (8, vec![]),
                Some(Opcode::GetSecurityInfo) => {
                    let (chip_id, api_version) = (Some(id), Some(0));
                    let info = SecurityInfo { chip_id, api_version, ..SecurityInfo::default() };
                    (1, info.to_bytes())
                }
                _ => continue,
            };
            data.extend([0; 4]); // The ROM's status: done.
            let reply = Reply { opcode: request.opcode, value: 0, data };
            answer.extend(slip::encode(&reply.to_bytes()).repeat(count));
        }
        answer
    }
}

#[test]
fn a_board_with_another_chip() {
    let directory = built_hello("Hello\r\n");
    // The ids of the ESP32-S3, and of no chip.
    for (id, error) in [
        (9, "error: the board is esp32s3, the target is esp32c3"),
        (999, "error: unknown chip: its ID is 999"),
    ] {
        let said = with_board(directory.path(), "flash hello.bin --port PORT", loader_of(id));
        said.check(12, &[error, "hint: "]);
    }
}

#[test]
fn a_board_that_answers_nothing() {
    let directory = built_hello("Hello\r\n");
    let said = with_board(directory.path(), "flash hello.bin --port PORT", |_, _| vec![]);
    said.check(11, &["error: Failed to connect to /dev/pts/", " tries", "hint: "]);
}

#[test]
fn a_board_that_runs_and_is_not_reset() {
    let directory = tempfile::tempdir().unwrap();
    let words = "monitor --port PORT --expect tick --timeout 120s";
    let said = with_board(directory.path(), words, |_, _| b"tick\r\n".to_vec());
    let said = said.check(0, &["has no reset line: the board keeps running"]);
    assert!(said.out.starts_with("tick\r\n"), "{said:#?}");
}

#[test]
fn a_board_at_another_baud_rate() {
    let directory = tempfile::tempdir().unwrap();
    let mut noise = (0..=255_u8).cycle().map(|byte| byte.wrapping_mul(59) | 0x80);
    let behind = |_: &[u8], _| noise.by_ref().take(16).collect();
    let words = "monitor --port PORT --expect tick --timeout 1s";
    let said = with_board(directory.path(), words, behind);
    said.check(23, &["bytes received are not text", "hint: ", "--monitor-baud"]);
}

#[test]
fn a_port_that_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let pty = support::pty::open();
    let name = ttyname(&pty.slave).unwrap();
    let mut master = fs::File::from(pty.master);
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin!("esplice"))
        .current_dir(directory.path())
        .args(["monitor", "--expect=never", "--timeout=600s", "--port"])
        .arg(name)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Once it reads, the other end is closed.
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    let waited = said.read_line(&mut line);
    let written = master.write_all(b"tick\r\n");
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let read = out.read_line(&mut String::new());
    drop(master);
    let mut rest = String::new();
    let told = said.read_to_string(&mut rest);
    assert_eq!(child.wait().unwrap().code(), Some(24), "{line}{rest}");
    assert!(waited.is_ok() && written.is_ok() && read.is_ok() && told.is_ok());
    assert!(rest.contains("is gone after 6 bytes"), "{rest}");
}

#[test]
fn a_port_that_is_busy() {
    let directory = built_hello("Hello\r\n");
    let (_master, slave, name) = pty();
    drop(slave);
    let _held = serialport::new(&name, 115_200).exclusive(true).open().unwrap();
    let said = run(directory.path(), &format!("flash --port {name} hello.bin"));
    said.check(10, &["error: port /dev/pts/", "in use", "hint: "]);
}

#[test]
fn a_port_that_may_not_be_opened() {
    let directory = built_hello("Hello\r\n");
    let at = directory.path();
    let (_master, _slave, name) = pty();
    let set_mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
    set_mode(Path::new(&name), 0).unwrap();

    // Root may open everything, so root runs a copy as another user.
    let program = at.join("esplice");
    fs::copy(assert_cmd::cargo::cargo_bin!("esplice"), &program).unwrap();
    set_mode(at, 0o755).unwrap();
    let mut command = std::process::Command::new(&program);
    if fs::metadata(&program).unwrap().uid() == 0 {
        command.uid(65_534).gid(65_534); // nobody
    }
    command.current_dir(at).args(["flash", "--port", &name, "hello.bin"]);
    let said = finish(&mut assert_cmd::Command::from_std(command));
    said.check(10, &["error: no permission to open port /dev/pts/", "hint: ", "group"]);
}
