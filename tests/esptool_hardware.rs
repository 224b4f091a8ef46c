//! Repeats esptool's pre-release tests for real boards on a virtual one in virtual time, in which a
//! client that waits in silence must not wait forever. Runs with hooked ROM functions and with the
//! mask ROM.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use crate::{
    mask_rom,
    support::served::{Board, FLASH_LEN, esptool, peer},
};

const FAST: &str = "--baud 921600";

/// The connection of boards. pyserial waits 50 ms for each acknowledgement of RFC 2217, several
/// times per command.
const TCP: [&str; 2] = ["--tcp", "127.0.0.1:0"];
const RFC2217: [&str; 2] = ["--rfc2217", "127.0.0.1:0"];

/// Returns a board with hooked ROM functions, and one with the mask ROM.
fn boards(flags: &[&str]) -> [Board; 2] {
    let served = [&["--time", "virtual"][..], flags].concat();
    let rom = mask_rom::path().to_string_lossy().into_owned();
    [Board::new(&served), Board::new(&[&served[..], &["--rom", &rom]].concat())]
}

/// Returns boards that wait in download mode, reached over TCP.
fn waiting() -> [Board; 2] {
    boards(&[&TCP[..], &["--download"]].concat())
}

/// Runs esptool with these arguments; its output must contain the given texts.
#[track_caller]
fn run(board: &Board, words: &str, told: &[&str]) -> String {
    let mut command = esptool();
    command.args(["--chip", "esp32c3", "--port", &board.port]).args(words.split_whitespace());
    board.run(&mut command, told)
}

/// Returns incompressible bytes.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

#[track_caller]
fn holds(board: &Board, offset: usize, bytes: &[u8]) {
    assert!(board.flash()[offset..offset + bytes.len()] == *bytes, "the flash differs");
}

/// Writes 1 MiB with few distinct bytes: little crosses the wire, and the chip erases and hashes in
/// silence.
#[test]
fn a_mebibyte_that_packs_well() {
    for board in waiting() {
        let image = vec![0x5a; 1 << 20];
        fs::write(board.path("image.bin"), &image).unwrap();
        run(&board, &format!("{FAST} write-flash 0 image.bin"), &["Hash of data verified"]);
        holds(&board, 0, &image);
        run(&board, &format!("{FAST} verify-flash 0 image.bin"), &["Verification successful"]);
    }
}

#[test]
fn a_large_image_with_and_without_a_stub() {
    for board in waiting() {
        let image = noise(300_000);
        fs::write(board.path("image.bin"), &image).unwrap();
        for flags in ["--no-stub", ""] {
            let words = format!("{FAST} {flags} write-flash -u 0x280000 image.bin");
            run(&board, &words, &["Hash of data verified"]);
            holds(&board, 0x28_0000, &image);
            run(&board, "erase-region 0x280000 0x50000", &["erased successfully"]);
            assert!(board.flash() == vec![0xff; FLASH_LEN], "the flash is not erased");
        }
    }
}

/// The reset by the RTC watchdog samples the boot pin, which nobody holds, so the board leaves
/// download mode. The watchdog fires after 15 ms, so esptool's commands use TCP, and the lines of
/// RFC 2217 enter download mode.
#[test]
fn a_reset_by_the_watchdog() {
    for board in boards(&[TCP, RFC2217].concat()) {
        let esplice = |words: &[&str], told: &[&str]| {
            let mut command = Command::new(assert_cmd::cargo::cargo_bin!("esplice"));
            board.run(command.args(words), told)
        };
        esplice(&["detect", "--stay", "--port", &board.ports[1]], &["ESP32-C3"]);
        let words = "--before no-reset --after watchdog-reset erase-region 0 0x4000";
        run(&board, words, &["Hard resetting with a watchdog..."]);
        let monitor = ["monitor", "--port", &board.port, "--no-reset", "--timeout", "20s"];
        esplice(&[&monitor[..], &["--expect", "invalid header: 0xffffffff"]].concat(), &[]);
    }
}

/// Without memory protection, an unmapped address can be read and written, too.
#[test]
fn memory_that_is_there_and_that_is_not() {
    for board in waiting() {
        for flags in ["--no-stub", ""] {
            let does = |words: &str, told: &[&str]| run(&board, &format!("{flags} {words}"), told);
            does("read-mem 0x400C0000", &["0x400c0000 = 0x00000000"]);
            does("write-mem 0x400C0000 0xabad1dea 0x0000ffff", &["Wrote 0xabad1dea"]);
            does("write-mem 0x50000000 0xabad1dea 0xffffffff", &["Wrote 0xabad1dea"]);
            does("dump-mem 0x50000000 128 out.bin", &["Dumped 128 bytes"]);
            assert_eq!(fs::read(board.path("out.bin")).unwrap().len(), 128);
        }
    }
}

/// Makes a RAM program that prints "ram!" on UART 0.
fn ram_image() -> Vec<u8> {
    const ENTRY: u32 = 0x4038_0000;
    let mut code = vec![0x6000_0537_u32]; // lui a0, 0x60000
    for byte in b"ram!\r\n" {
        code.push(0x0000_0593 | u32::from(*byte) << 20); // li a1, byte
        code.push(0x00b5_2023); // sw a1, 0(a0)
    }
    code.push(0x0000_006f); // j .
    let code: Vec<u8> = code.into_iter().flat_map(u32::to_le_bytes).collect();
    // ESP-IDF's image format: header, extended header for chip 5, one segment, checksum.
    let mut image = vec![0xe9, 1, 2, 0x20];
    image.extend(ENTRY.to_le_bytes());
    image.extend([0xee, 0, 0, 0, 5, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0]);
    image.extend(ENTRY.to_le_bytes());
    image.extend((code.len() as u32).to_le_bytes());
    image.extend(&code);
    image.resize(image.len() | 15, 0);
    image.push(code.iter().fold(0xef, |sum, byte| sum ^ byte));
    image
}

#[test]
fn a_program_in_ram() {
    for board in waiting() {
        fs::write(board.path("ram.bin"), ram_image()).unwrap();
        let words = "--no-stub load-ram ram.bin";
        run(&board, words, &["executing at 0x40380000"]);
    }
}

/// esptool's server in front of a board. Its reset needs a port with a file descriptor, unless a
/// setting lists the steps.
struct Relay {
    program: Child,
    port: String,
}

impl Relay {
    fn new(board: &Board) -> Relay {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = "[esptool]\ncustom_reset_sequence = D0|R1|W0.1|R0\n";
        fs::write(board.path("esptool.cfg"), settings).unwrap();
        let mut program = Command::new(beside_esptool("esp_rfc2217_server"))
            .args(["-p", &free.to_string(), &board.port])
            .current_dir(board.directory())
            .env("PYTHONUNBUFFERED", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(program.stdout.take().unwrap()).lines();
        let mut heard = String::new();
        while let Some(line) = said.next() {
            heard += &line.unwrap();
            if heard.contains("TCP/IP port") {
                // The program keeps printing, and a closed pipe would end it.
                thread::spawn(move || said.for_each(drop));
                return Relay {
                    program,
                    port: format!("rfc2217://127.0.0.1:{free}?ign_set_control"),
                };
            }
        }
        let output = program.wait_with_output().unwrap();
        panic!("{heard}{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // An error does not matter: the test is over.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// A pyserial client with flow control connects, receives from the board, and sees its lines ready.
const CLIENT: &str = "
import sys, time, serial
port = serial.serial_for_url(sys.argv[1], baudrate=115200, timeout=10, do_not_open=True)
if len(sys.argv) > 2:
    setattr(port, sys.argv[2], True)
port.open()
assert port.cts and port.dsr and not port.ri, (port.cts, port.dsr, port.ri)
port.dtr = False
port.rts = True
time.sleep(0.1)
port.rts = False
heard = port.read_until(b'invalid header')
assert heard.endswith(b'invalid header'), heard
";

fn client_hears(board: &Board, words: &[&str]) {
    fs::write(board.path("client.py"), CLIENT).unwrap();
    let mut python = Command::new(beside_esptool("python3"));
    board.run(python.arg("client.py").args(words), &[]);
}

#[test]
fn pyserials_flow_control() {
    for board in boards(&RFC2217) {
        for flow in ["rtscts", "xonxoff"] {
            client_hears(&board, &[&board.port, flow]);
        }
    }
}

/// esptool's server polls the modem lines once a second, and requests flow control like pyserial.
#[test]
fn a_board_behind_esptools_server() {
    for board in boards(&RFC2217) {
        let relay = Relay::new(&board);
        client_hears(&board, &[&relay.port]);
    }
}

/// Returns the path of the program called `name` in esptool's directory.
fn beside_esptool(name: &str) -> PathBuf {
    let esptool = peer("ESPLICE_ESPTOOL", "esptool", "version", "pip install esptool==5.6.0");
    let found = if esptool.components().count() > 1 {
        esptool
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let places = std::env::split_paths(&path).map(|place| place.join(&esptool));
        places.into_iter().find(|place| place.exists()).expect("it has just been run")
    };
    found.parent().unwrap_or(Path::new("")).join(name)
}
