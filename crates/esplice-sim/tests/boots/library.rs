//! Guarantees of the library to its users' tests: reproducible runs, snapshots, informative errors.

use esplice_chip::ChipDb;
use esplice_sim::{Board, SimError, Snapshot, Status, millis, secs};

use crate::{
    boots::bench::whole_flash,
    firmware::{Code, rom_image},
};

/// A board's output, and its exact state afterwards.
#[derive(Debug, PartialEq)]
struct Run {
    said: Vec<u8>,
    cycles: u64,
    status: Status,
}

fn run(board: &mut Board, milliseconds: u64) -> Run {
    let said = board.run_for(millis(milliseconds)).unwrap();
    Run { said, cycles: board.cycles(), status: board.status() }
}

fn pins(seed: u64) -> Board {
    let mut board = Board::new("esp32c3").unwrap();
    board.set_seed(seed);
    board.load_flash(&whole_flash("pins")).unwrap();
    board
}

#[test]
fn one_seed_gives_one_run() {
    let runs = [1, 1, 2].map(|seed| {
        let mut board = pins(seed);
        board.run_until(b"ready\r\n", secs(1)).unwrap();
        board.send(b"hello\n");
        run(&mut board, 50)
    });
    assert_eq!(runs[0], runs[1]);
    let text = runs.each_ref().map(|run| String::from_utf8_lossy(&run.said).into_owned());
    assert!(text[0].starts_with("you said hello, I say "), "{text:?}");
    assert_ne!(text[0], text[2], "another seed produces the same numbers");
}

/// Whenever a snapshot is taken (in the ROM, in the bootloader, in the app with interrupts and a
/// busy scheduler), execution continues the same to the instruction.
#[test]
fn what_runs_on_from_a_snapshot_is_the_same() {
    let mut board = Board::new("esp32c3").unwrap();
    board.load_flash(&whole_flash("tasks")).unwrap();
    for milliseconds in [2, 5, 9, 30, 60, 61, 90, 100] {
        board.run_for(millis(milliseconds)).unwrap();
        let snapshot: Snapshot = board.snapshot();
        let first = run(&mut board, 40);
        // Run on later, on another board, and on the same board after a restore.
        board.run_for(millis(50)).unwrap();
        assert_eq!(run(&mut snapshot.board(), 40), first);
        board.restore(&snapshot).unwrap();
        assert_eq!(board.now(), snapshot.board().now());
        assert_eq!(run(&mut board, 40), first);
    }
}

#[test]
fn a_snapshot_has_the_flash_and_the_memory_of_then() {
    // Counts its starts in RTC memory; the flash is changed from outside.
    let code = Code::new().flush().copy(0x5000_0000, 0x6000_0000).flush();
    let code = code.writes(&[(0x5000_0000, u32::from(b'B'))]).wait();
    let mut board = Board::new("esp32c3").unwrap();
    board.load_flash(&rom_image(&code)).unwrap();
    board.run_until(b"entry 0x40380000\r\n\0", secs(1)).unwrap();
    let before = board.snapshot();
    board.run_for(millis(10)).unwrap();
    board.load_flash_at(0x10_0000, b"changed").unwrap();
    assert_eq!(&board.flash().bytes()[0x10_0000..0x10_0007], b"changed");
    board.restore(&before).unwrap();
    assert_eq!(board.flash().bytes()[0x10_0000], 0xff);
    assert_eq!(before.board().flash().bytes(), board.flash().bytes());
}

#[test]
fn a_flash_file_follows_the_snapshot() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("board.flash");
    let chip = ChipDb::embedded().find("esp32c3").unwrap();
    let timing = &chip.sim.as_ref().unwrap().flash;
    let nor = esplice_sim::nor::Nor::open(&path, 1 << 20, timing).unwrap();
    let mut board = Board::with_flash(chip, nor, Default::default()).unwrap();
    board.load_flash_at(0x1000, b"first").unwrap();
    let snapshot = board.snapshot();
    board.load_flash_at(0x1000, b"other").unwrap();
    assert_eq!(&std::fs::read(&path).unwrap()[0x1000..0x1005], b"other");
    // A copy does not change the file.
    snapshot.board().load_flash_at(0x1000, b"third").unwrap();
    assert_eq!(&std::fs::read(&path).unwrap()[0x1000..0x1005], b"other");
    board.restore(&snapshot).unwrap();
    assert_eq!(&std::fs::read(&path).unwrap()[0x1000..0x1005], b"first");
    // A board of another size is rejected.
    let other = Board::new("esp32c3").unwrap().snapshot();
    let error = board.restore(&other).unwrap_err().to_string();
    assert_eq!(
        error,
        "a snapshot of an ESP32-C3 with 4194304 bytes of flash \
         does not fit an ESP32-C3 with 1048576 bytes of flash"
    );
}

#[test]
fn errors_tell_what_was_printed_and_why_it_stopped() {
    let boot = "ESP-ROM:esp32c3-api1-20210207\r\n";
    let error = |code: Code| {
        let mut board = Board::new("esp32c3").unwrap();
        board.load_flash(&rom_image(&code)).unwrap();
        let error = board.run_until(b"ready\r\n", millis(100)).unwrap_err();
        match &error {
            SimError::NotSeen { printed, .. } | SimError::Stopped { printed, .. } => {
                assert!(printed.0.starts_with(boot.as_bytes()), "{printed}");
            }
            other => panic!("{other}"),
        }
        error.to_string()
    };
    let end = |len: u32| {
        format!("bytes, at the end \"{}\"", if len > 0 { "waits" } else { "entry 0x40380000" })
    };
    let waits = error(Code::new().flush().say("waits\r\n"));
    let expected = "\"ready\\r\\n\" did not come within 100 ms of the board's time: \
     the board waits for an interrupt at 0x40380";
    assert!(waits.starts_with(expected) && waits.ends_with(&end(1)), "{waits}");
    let spins = error(Code::new().flush().word(0x0000_006f));
    assert!(spins.contains(": the board runs at 0x40380010; it printed "), "{spins}");
    assert!(spins.ends_with(&end(0)), "{spins}");
    let lacks = error(Code::new().flush().call(0x4005_fffc));
    assert!(lacks.contains("\"ready\\r\\n\" did not come: ROM function without a name"), "{lacks}");
    assert!(lacks.ends_with(&end(0)), "{lacks}");

    let mut board = Board::new("esp32c3").unwrap();
    board.load_flash(&rom_image(&Code::new().flush().call(0x4005_fffc))).unwrap();
    let error = board.run_for(millis(100)).unwrap_err().to_string();
    assert!(error.starts_with("ROM function without a name at 0x4005fffc"), "{error}");

    let error = board.load_flash(&vec![0; (4 << 20) + 1]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "4194305 bytes at 0x0 do not fit into the board's flash of 4194304 bytes"
    );
    assert!(error.hint().is_some());
    assert!(board.load_flash_at(u32::MAX, &[0]).is_err());
    let error = Board::new("esp32c33").unwrap_err();
    assert!(error.to_string().contains("esp32c33"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("esp32c3")));
    let error = Board::new("esp32s3").unwrap_err();
    assert_eq!(error.to_string(), "there is no virtual ESP32-S3");
}

#[test]
fn the_reset_button_and_new_firmware_start_it_anew() {
    let mut board = Board::new("esp32c3").unwrap();
    board.load_flash(&rom_image(&Code::new().flush().say("one\r\n"))).unwrap();
    board.run_until(b"one\r\n", secs(1)).unwrap();
    board.press_reset();
    board.run_until(b"one\r\n", secs(1)).unwrap();
    assert_eq!(board.resets(), 2);
    board.load_flash(&rom_image(&Code::new().flush().say("two\r\n"))).unwrap();
    let said = board.run_until(b"two\r\n", secs(1)).unwrap();
    assert!(said.starts_with(b"ESP-ROM:"), "{}", String::from_utf8_lossy(&said));
}
