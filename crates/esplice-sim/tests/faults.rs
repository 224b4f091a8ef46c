//! Tests of planned faults on boards, on ports, and on served boards.

use std::{fs, io::Write as _, net::TcpStream, time::Duration};

use esplice_chip::ChipDb;
use esplice_protocol::{Port as _, PortError, slip};
use esplice_sim::{
    Board, SimPort, TimeMode,
    fault_plan::FaultPlan,
    nor::{Nor, NorError},
    serve::{Server, ServerEvent, Wire},
};

const SYNC: &[u8] = b"\xc0\x00\x08\x04\x00\x00\x00\x00\x00\x07\x07\x12\x20\xc0";
const BAUD: u32 = 115_200;

/// Returns a board in download mode with that fault plan.
fn board(plan: &str) -> Board {
    let chip = ChipDb::embedded().find("esp32c3").unwrap();
    let nor = Nor::in_memory(1 << 20, &chip.sim.as_ref().unwrap().flash);
    let mut board = Board::with_flash(chip, nor, TimeMode::Virtual).unwrap();
    board.hold_boot_pin(true);
    board.set_faults(&FaultPlan::parse(plan).unwrap()).unwrap();
    board
}

/// Returns everything the board prints in `millis` ms, as received by the host.
fn hear(board: &mut Board, millis: u64) -> Vec<u8> {
    let until = board.now() + Duration::from_millis(millis);
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    while board.now() < until {
        board.run_to(until, true).unwrap();
        let len = board.host_take(BAUD, &mut piece);
        all.extend_from_slice(&piece[..len]);
    }
    all
}

/// Returns banner and answer to a SYNC under the plan, and the log.
fn dialogue(plan: &str) -> (Vec<u8>, Vec<u8>, Vec<String>) {
    let mut board = board(plan);
    let banner = hear(&mut board, 100);
    board.host_send(SYNC, BAUD);
    let answer = hear(&mut board, 200);
    let told = board.take_fault_events().into_iter().map(|struck| struck.what).collect();
    (banner, answer, told)
}

#[test]
fn bytes_on_the_line() {
    let (banner, answer, told) = dialogue("");
    assert!(told.is_empty() && answer.len() == 8 * 14, "{told:?} {answer:02x?}");
    let fault = |kind: &str, direction: &str, more: &str| {
        format!("[[fault]]\nkind = '{kind}'\ndirection = '{direction}'\n{more}\n")
    };
    let whole = [banner.as_slice(), &answer].concat();
    // Towards the host: byte 5, in the banner.
    let at = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut expected = whole.clone();
        change(&mut expected);
        expected
    };
    for (text, expected, word) in [
        (fault("drop", "to-host", "byte = 5"), at(&|all| _ = all.remove(5)), "lost"),
        (fault("double", "to-host", "byte = 5"), at(&|all| all.insert(5, all[5])), "doubled"),
        (fault("flip", "to-host", "byte = 5\nbit = 3"), at(&|all| all[5] ^= 8), "bit 3 flipped"),
        (fault("delay", "to-host", "byte = 5\ndelay-us = 700"), whole.clone(), "delayed by 700 us"),
    ] {
        let (banner, answer, told) = dialogue(&text);
        assert_eq!([banner, answer].concat(), expected, "{text}");
        assert!(told.len() == 1 && told[0].starts_with("byte 5 to the host"), "{told:?}");
        assert!(told[0].contains(word), "{told:?}");
    }
    // Towards the board: a broken SYNC is not answered, a delayed one is.
    for (text, answered) in [
        (fault("drop", "to-board", "byte = 2"), false),
        (fault("flip", "to-board", "byte = 2\nbit = 0"), false),
        (fault("double", "to-board", "byte = 1"), false),
        (fault("delay", "to-board", "byte = 2\ndelay-us = 3000"), true),
        (fault("drop", "to-board", "byte = 99"), true),
    ] {
        let (_, answer, told) = dialogue(&text);
        assert_eq!(answer.len() == 8 * 14, answered, "{text}: {answer:02x?}");
        assert_eq!(told.len(), usize::from(!text.contains("99")), "{text}: {told:?}");
    }
    // The host's rate is measured at the first SYNC, so the second one has the wrong rate.
    let mut board = board(&fault("wrong-baud", "to-board", "byte = 14\nlen = 14\nbaud = 9600"));
    hear(&mut board, 100);
    for answered in [true, false, true] {
        board.host_send(SYNC, BAUD);
        assert_eq!(hear(&mut board, 200).len(), if answered { 8 * 14 } else { 0 });
    }
    // The output is garbage, but most of it arrives.
    let (banner, _, _) =
        dialogue(&fault("wrong-baud", "to-host", "byte = 0\nlen = 50\nbaud = 9600"));
    assert!(!banner.starts_with(&whole[..10]) && banner.len() >= whole.len() - answer.len());
}

#[test]
fn chance_is_the_seed_s() {
    let plan = |seed: u32| {
        format!("seed = {seed}\n[[fault]]\nkind = 'flip'\ndirection = 'to-host'\none-in = 20\n")
    };
    let (one, again, other) = (dialogue(&plan(1)), dialogue(&plan(1)), dialogue(&plan(2)));
    assert!(one.2.len() > 3, "{:?}", one.2);
    assert_eq!(one, again);
    assert_ne!(one.2, other.2);
}

fn request(opcode: u8, words: &[u32], payload: &[u8]) -> Vec<u8> {
    let data =
        [words.iter().flat_map(|word| word.to_le_bytes()).collect(), payload.to_vec()].concat();
    let sum = payload.iter().fold(0xef, |sum, byte| sum ^ byte);
    let mut frame = vec![0, opcode];
    frame.extend((data.len() as u16).to_le_bytes());
    frame.extend([sum, 0, 0, 0]);
    frame.extend(data);
    slip::encode(&frame)
}

/// Writes a block of zeros to the flash with the ROM's loader. Operation 0 is the erase; each
/// further one programs 32 bytes.
fn write_block(board: &mut Board) -> Vec<u8> {
    hear(board, 100);
    for request in [
        SYNC.to_vec(),
        request(0x0d, &[0, 0], &[]), // SPI_ATTACH
        request(0x02, &[0x400, 1, 0x400, 0x1000, 0], &[]),
        request(0x03, &[0x400, 0, 0, 0], &[0; 0x400]),
    ] {
        board.host_send(&request, BAUD);
        hear(board, 300);
    }
    board.flash().read(0x1000, 0x1000).unwrap().to_vec()
}

#[test]
fn flash_operations_are_torn() {
    for (more, zeros) in [("operation = 3", 2 * 32 + 16), ("operation = 3\ndone = 5", 2 * 32 + 5)] {
        let mut board = board(&format!("[[fault]]\nkind = 'reset'\n{more}"));
        let resets = board.resets();
        let flash = write_block(&mut board);
        assert_eq!(flash.iter().filter(|byte| **byte == 0).count(), zeros, "{more}");
        assert!(flash[..zeros].iter().all(|byte| *byte == 0));
        assert_eq!(board.resets(), resets + 2, "power-on and the fault");
        let told = board.take_fault_events();
        assert!(told[0].what.contains("flash operation 3 (32 bytes at 0x1040) torn by a reset"));
        // It waits in download mode again, and the next write succeeds.
        assert_eq!(write_block(&mut board)[..0x400], [0; 0x400]);
    }
}

#[test]
fn an_erase_is_half_done() {
    let mut board = board("[[fault]]\nkind = 'power-cut'\noperation = 0\nback-after-ms = 50");
    board.load_flash_at(0x1000, &[0; 0x1000]).unwrap();
    let flash = write_block(&mut board);
    assert_eq!(flash, [vec![0xff; 0x800], vec![0; 0x800]].concat());
    assert!(board.take_port_loss().is_some());
}

#[test]
fn bits_are_stuck() {
    let mut board = board(
        "[[fault]]\nkind = 'stuck-bit'\noffset = 0x1000\nbit = 0\nlevel = 1\n\
         [[fault]]\nkind = 'stuck-bit'\noffset = 0x1401\nbit = 7\nlevel = 0",
    );
    let flash = write_block(&mut board);
    assert_eq!((flash[0], flash[1], flash[0x401], flash[0x400]), (1, 0, 0x7f, 0xff));
    let told: Vec<String> =
        board.take_fault_events().into_iter().map(|struck| struck.what).collect();
    assert!(told.iter().any(|what| what == "bit 0 at 0x1000 of the flash stays 1"), "{told:?}");
    let plan =
        FaultPlan::parse("[[fault]]\nkind = 'stuck-bit'\noffset = 0x100000\nbit = 0\nlevel = 1");
    let error = board.set_faults(&plan.unwrap()).unwrap_err();
    assert!(matches!(error, NorError::OutOfRange { .. }), "{error}");
}

/// Returns a port as the command line opens it, with the plan in a file.
fn port(plan: &str) -> (SimPort, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("faults.toml");
    fs::write(&file, plan).unwrap();
    let port = SimPort::open(&format!("sim:esp32c3,faults={}", file.display())).unwrap();
    (port, directory)
}

fn wait(port: &mut SimPort, millis: u64) -> Result<(), PortError> {
    let until = port.now() + Duration::from_millis(millis);
    port.wait_until(until)
}

#[test]
fn a_port_goes_and_comes_back() {
    let (mut port, _directory) =
        port("[[fault]]\nkind = 'vanish'\ndirection = 'to-board'\nbyte = 20\nback-after-ms = 70");
    wait(&mut port, 5).unwrap();
    port.write(&[0; 20]).unwrap();
    let gone = port.write(&[0; 20]).unwrap_err();
    assert!(matches!(gone, PortError::Gone { .. }), "{gone:?}");
    assert!(matches!(wait(&mut port, 1), Err(PortError::Gone { .. })));
    let before = port.now();
    port.reopen().unwrap();
    let away = port.now().since_start() - before.since_start();
    assert_eq!(away, Duration::from_millis(70));
    port.write(&[0; 40]).unwrap();
    wait(&mut port, 5).unwrap();
    let log = port.fault_log().take();
    assert_eq!(log.len(), 1, "{log:?}");
    assert_eq!(
        log[0].to_string(),
        "fault at 0.005000 s: byte 20 to the board not sent: the port is gone"
    );
}

#[test]
fn a_plan_that_is_none_is_told_with_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("faults.toml");
    for (text, message) in [
        (Some("[[fault]]\nkind = 'drp'"), "did you mean \"drop\"?"),
        (Some("[[fault]]\nkind = 'stuck-bit'\noffset = 0x400000\nbit = 0\nlevel = 0"), "0x400000"),
        (None, "fault file"),
    ] {
        let _ = text.map_or_else(|| fs::remove_file(&file), |text| fs::write(&file, text));
        let error = SimPort::open(&format!("sim:esp32c3,faults={}", file.display()));
        let error = error.map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn who_is_served_is_hung_up() {
    let plan = "[[fault]]\nkind = 'vanish'\ndirection = 'to-board'\nbyte = 14\nback-after-ms = 30";
    let mut server = Server::new(board(plan), TimeMode::Virtual);
    let at = server.listen(Wire::Tcp, "127.0.0.1:0").unwrap();
    let mut told = Vec::new();
    let mut turns = |server: &mut Server, count: usize| {
        let mut here = Vec::new();
        (0..count).for_each(|_| server.turn(&mut |happened| here.push(happened)));
        let left = here.iter().filter(|happened| matches!(happened, ServerEvent::Left)).count();
        told.extend(here);
        left
    };
    let mut client = TcpStream::connect(at).unwrap();
    client.write_all(SYNC).unwrap();
    assert_eq!(turns(&mut server, 100), 0);
    client.write_all(SYNC).unwrap();
    assert_eq!(turns(&mut server, 20), 1);
    // The port is back after a while, for the next client.
    turns(&mut server, 300);
    let mut next = TcpStream::connect(at).unwrap();
    next.write_all(SYNC).unwrap();
    assert_eq!(turns(&mut server, 100), 0);
    assert!(told.iter().any(|told| matches!(told, ServerEvent::Fault(_))), "{told:?}");
}
