//! Tests esptool's flasher stub, uploaded and executed on the virtual board: first with the mask
//! ROM's own code, then with the board's built-in ROM functions.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{broken::Broken, installed, mask_rom};
use esplice_chip::{Chip, ChipDb, FlashOffset};
use esplice_flash::{
    ChipInfo, ErrorClass, FlashError, FlashEvent, FlashOptions, FlashReport, LoaderUse, Session,
    Strategy, StubSource, detect, flash, reset_to_run, start, with_board,
};
use esplice_image::{ResolvedPlan, Write, WriteKind};
use esplice_protocol::{Opcode, Port};
use esplice_sim::SimPort;

fn chip() -> &'static Arc<Chip> {
    ChipDb::embedded().find("esp32c3").unwrap()
}

/// Names of the virtual board, with the mask ROM's code and without.
fn boards(flash: &Path, time: &str) -> [String; 2] {
    let hooked = format!("sim:esp32c3,flash={},time={time}", flash.display());
    [format!("{hooked},rom={}", mask_rom::path().display()), hooked]
}

fn options() -> FlashOptions {
    FlashOptions::default()
        .target(Some(chip().clone()))
        .baud(Some(921_600))
        .stub(StubSource::only(installed::stub(2, "esp32c3")))
}

fn writes() -> Vec<Write> {
    let write = |name: &str, kind, offset, len: u32, factor: u32| Write {
        name: name.to_owned(),
        kind,
        offset: FlashOffset(offset),
        data: (0..len)
            .map(|n| ((n.wrapping_mul(n) >> 5).wrapping_mul(factor) >> 3) as u8)
            .collect(),
    };
    vec![
        write("bootloader", WriteKind::Bootloader, 0, 0x2801, 3),
        write("partition table", WriteKind::PartitionTable, 0x8000, 0xc00, 5),
        write("app", WriteKind::App, 0x1_0000, 0x1_2345, 7),
    ]
}

fn run<P: Port + ?Sized>(
    port: &mut P,
    options: &FlashOptions,
) -> (Result<FlashReport, FlashError>, Vec<FlashEvent>) {
    let mut events = Vec::new();
    let plan = |_: &_| Ok(ResolvedPlan::from(writes()));
    let result = flash(port, options, plan, &mut |event| events.push(event));
    (result, events)
}

#[track_caller]
fn check_flash(path: &Path, what: &str) {
    let flash = fs::read(path).unwrap();
    for write in writes() {
        let at = write.offset.0 as usize;
        let found = &flash[at..at + write.data.len()];
        assert!(found == write.data, "{what}: {} differs", write.name);
    }
}

#[test]
fn writes_and_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.flash");
    for time in ["none", "virtual"] {
        for name in boards(&path, time) {
            fs::write(&path, vec![0x5a; 4 << 20]).unwrap();
            let mut port = SimPort::open(&name).unwrap();
            let (result, events) = run(&mut port, &options());
            let report = result.unwrap_or_else(|e| panic!("{name}: {e}\n{events:#?}"));
            check_flash(&path, &name);
            let warned = events.iter().any(|e| matches!(e, FlashEvent::Warning { .. }));
            assert!(!warned, "{name}: {events:#?}");
            assert!(events.contains(&FlashEvent::Loader(LoaderUse::Uploaded)));
            println!("{name}: {:?}", report.statistics);
            assert!(reset_to_run(&mut port, 115_200).unwrap().is_some());
        }
    }
}

/// In a board that can't be reset the stub stays, and the next session finds and uses it again.
#[test]
fn a_stub_that_runs_already_is_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.flash");
    for name in boards(&path, "virtual") {
        let mut port = SimPort::open(&name).unwrap();
        detect(&mut port, &options(), &mut |_| {}).unwrap();
        let mut again = options();
        again.connect.strategies.clear();
        let (result, events) = run(&mut port, &again);
        result.unwrap_or_else(|e| panic!("{name}: {e}\n{events:#?}"));
        assert!(events.contains(&FlashEvent::Loader(LoaderUse::Resident)), "{events:#?}");
        check_flash(&path, &name);
    }
}

/// If another stub is requested, the running one is used, and this is reported.
#[test]
fn a_stub_of_another_kind_that_runs_already_serves() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.flash");
    let mut port = SimPort::open(&boards(&path, "virtual")[1]).unwrap();
    detect(&mut port, &options(), &mut |_| {}).unwrap();
    let mut again = options();
    again.connect.strategies.clear();
    again.stub = StubSource::only(installed::stub(1, "esp32c3"));
    let (result, events) = run(&mut port, &again);
    result.unwrap_or_else(|e| panic!("{e}\n{events:#?}"));
    assert!(events.contains(&FlashEvent::Loader(LoaderUse::Other)), "{events:#?}");
    check_flash(&path, "by the other stub");
}

/// Whatever the stub is doing, an interrupt ends the work within 300 ms, and the next flash repairs
/// the board.
#[test]
fn an_interrupt_ends_the_work_of_a_stub() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.flash");
    let name = &boards(&path, "virtual")[1];
    let before = vec![0x5a; 4 << 20];
    for opcode in [Opcode::MemData, Opcode::FlashDeflData, Opcode::SpiFlashMd5, Opcode::EraseFlash]
    {
        fs::write(&path, &before).unwrap();
        let flag = Arc::new(AtomicBool::new(false));
        let mut inner = SimPort::open(name).unwrap();
        inner.set_interrupt(Arc::clone(&flag));
        let mut port = Broken::new(inner, &[]);
        port.interrupts = Some((opcode, Arc::clone(&flag)));
        let error = if opcode == Opcode::EraseFlash {
            let erase = |session: &mut Session<'_, _>, info: &ChipInfo| {
                session.erase_flash(info.flash_size)
            };
            with_board(&mut port, &options(), &mut |_| {}, erase).unwrap_err()
        } else {
            run(&mut port, &options()).0.unwrap_err()
        };
        assert_eq!(error.class(), ErrorClass::Interrupted, "{opcode:?}: {error}");
        let took = port.now().since(port.interrupted_at.unwrap());
        assert!(took <= Duration::from_millis(300), "{opcode:?}: {took:?}");
        flag.store(false, Ordering::Relaxed);
        port.interrupts = None;
        let (result, events) = run(&mut port, &options());
        result.unwrap_or_else(|error| panic!("{opcode:?}: {error}\n{events:#?}"));
        drop(port);
        check_flash(&path, "after an interrupt");
    }
}

/// The chip's watchdog ends a stub that was left running, with the boot pin held low.
#[test]
fn a_stub_that_was_left_is_reset_by_the_watchdog() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.flash");
    for name in boards(&path, "virtual") {
        let mut port = Broken::new(SimPort::open(&name).unwrap(), &[]);
        detect(&mut port, &options(), &mut |_| {}).unwrap();
        port.lines = false;
        let mut tell = |_| {};
        let mut session = Session::new(&mut port, ChipDb::embedded(), Some(chip()), &mut tell);
        let mut connect = options().connect;
        connect.strategies = Strategy::parse("watchdog").unwrap();
        session.connect(&connect).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!session.loader().is_stub(), "{name}");
        assert_eq!(session.baud(), 115_200, "{name}");
    }
}

/// esptool's stubs of the first generation do the same work.
#[test]
fn stubs_of_the_first_generation_write_and_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.flash");
    let options = options().stub(StubSource::only(installed::stub(1, "esp32c3")));
    for name in boards(&path, "virtual") {
        fs::write(&path, vec![0x5a; 4 << 20]).unwrap();
        let mut port = SimPort::open(&name).unwrap();
        let (result, events) = run(&mut port, &options);
        result.unwrap_or_else(|e| panic!("{name}: {e}\n{events:#?}"));
        check_flash(&path, &name);
        let warned = events.iter().any(|e| matches!(e, FlashEvent::Warning { .. }));
        assert!(!warned, "{name}: {events:#?}");
        assert!(events.contains(&FlashEvent::Loader(LoaderUse::Uploaded)), "{events:#?}");
        let (from, len) = (0x1_0123, 0x8765);
        let mut read = Vec::new();
        with_board(&mut port, &options, &mut |_| {}, |session, _| {
            session.read_flash(FlashOffset(from), len, &mut |bytes| {
                read.extend_from_slice(bytes);
                Ok(())
            })
        })
        .unwrap_or_else(|error| panic!("{name}: {error}"));
        let held = fs::read(&path).unwrap();
        assert!(read == held[from as usize..(from + len) as usize], "{name}");
    }
}

#[test]
fn streams_and_erases() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.flash");
    let before: Vec<u8> = (0..4_u32 << 20).map(|n| (n.wrapping_mul(n) >> 11) as u8).collect();
    for name in boards(&path, "virtual") {
        fs::write(&path, &before).unwrap();
        let mut port = SimPort::open(&name).unwrap();
        let info = detect(&mut port, &options(), &mut |_| {}).unwrap();
        let mut tell = |_| {};
        let mut session = Session::new(&mut port, ChipDb::embedded(), Some(chip()), &mut tell);
        let mut plain = options().connect;
        plain.strategies.clear();
        session.connect(&plain).unwrap();
        assert!(session.loader().is_stub());
        let (from, len) = (0x1_0123, 0x1_8765);
        let mut read = Vec::new();
        let began = session.port().now();
        session
            .read_flash(FlashOffset(from), len, &mut |bytes| {
                read.extend_from_slice(bytes);
                Ok(())
            })
            .unwrap();
        let took = session.port().now().since(began);
        assert!(read == before[from as usize..(from + len) as usize], "{name}");
        println!("{name}: {len} bytes in {took:?} at {}", session.baud());
        session.erase_region(FlashOffset(0x2000), 0x3000).unwrap();
        let mut expected = before.clone();
        expected[0x2000..0x5000].fill(0xff);
        assert!(fs::read(&path).unwrap() == expected, "{name}: erased otherwise");
        session.erase_flash(info.flash_size).unwrap();
        assert!(fs::read(&path).unwrap().iter().all(|byte| *byte == 0xff), "{name}");
        assert!(port.now().since_start() > Duration::from_secs(1));
    }
}

/// A stub has no reset command: where the lines do not reach the board, its watchdog resets it.
/// The reset samples the boot pin, which is no longer held.
#[test]
fn a_stub_lets_the_watchdog_reset_without_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.flash");
    for name in boards(&path, "virtual") {
        let mut port = Broken::new(SimPort::open(&name).unwrap(), &[]);
        detect(&mut port, &options(), &mut |_| {}).unwrap();
        port.lines = false;
        let mut told = Vec::new();
        let since = start(&mut port, chip(), 115_200, &mut |event| told.push(event)).unwrap();
        assert!(since.is_some(), "{name}: {told:?}");
        let deadline = port.now() + Duration::from_secs(1);
        let mut heard = Vec::new();
        let mut buf = [0; 256];
        while let count @ 1.. = port.read(&mut buf, deadline).unwrap() {
            heard.extend_from_slice(&buf[..count]);
        }
        let heard = String::from_utf8_lossy(&heard);
        assert!(heard.contains("rst:0x10 (RTCWDT_RTC_RST)"), "{name}: {heard}");
        assert!(heard.contains("SPI_FAST_FLASH_BOOT"), "{name}: {heard}");
    }
}

/// The ROM loader has no such commands, so they are not sent to it.
#[test]
fn without_a_stub_such_commands_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.flash");
    let mut port = SimPort::open(&boards(&path, "none")[1]).unwrap();
    let options = options().stub(StubSource::none());
    detect(&mut port, &options, &mut |_| {}).unwrap();
    let mut tell = |_| {};
    let mut session = Session::new(&mut port, ChipDb::embedded(), Some(chip()), &mut tell);
    let error = session.erase_flash(4 << 20).unwrap_err();
    let message = "only a stub erases a whole flash chip, and the board runs the ROM loader";
    assert_eq!(error.to_string(), message);
}

/// Every stub of esptool fits into the RAM described by its chip's data.
#[test]
fn esptools_stubs_fit_their_chips() {
    let mut checked = 0;
    for path in [installed::files(1), installed::files(2)].concat() {
        let stub = esplice_flash::Stub::parse(&fs::read(&path).unwrap()).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let name = name.strip_suffix("-rev1").unwrap_or(&name);
        let Ok(chip) = ChipDb::embedded().find(name) else { continue };
        stub.check(chip).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        checked += 1;
    }
    assert!(checked >= 20, "{checked}");
}
