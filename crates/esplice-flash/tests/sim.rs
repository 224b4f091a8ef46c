//! Tests with the virtual board, which the flasher only sees through `Port`: in process, and over a
//! pty.

use std::{fs, path::Path, sync::Arc, time::Duration};

use crate::plan;
use esplice_chip::{Chip, ChipDb, FlashOffset};
use esplice_flash::{
    ErrorClass, FlashError, FlashEvent, FlashOptions, FlashReport, Strategy, detect, flash,
    flash_plan, reset_to_run,
};
use esplice_image::{
    FlashPlan, PartitionTable, PlanError, ResolveOptions, ResolvedPlan, Write, WriteKind,
};
use esplice_protocol::{Port, PortError};
use esplice_sim::{
    SimPort,
    faults::{Fault, FaultyPort},
    nor::Nor,
};

fn chip() -> &'static Arc<Chip> {
    ChipDb::embedded().find("esp32c3").unwrap()
}

fn board(path: &Path, time: &str) -> SimPort {
    SimPort::open(&format!("sim:esp32c3,flash={},time={time}", path.display())).unwrap()
}

fn options() -> FlashOptions {
    FlashOptions::default().target(Some(chip().clone())).baud(Some(921_600))
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

fn run<P: Port>(port: &mut P) -> (Result<FlashReport, FlashError>, Vec<FlashEvent>) {
    let mut events = Vec::new();
    let plan = |_: &_| Ok(ResolvedPlan::from(writes()));
    let result = flash(port, &options(), plan, &mut |event| events.push(event));
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

/// Reads until `text` has arrived, for a second of the port's time.
fn hears(port: &mut dyn Port, text: &str) -> bool {
    let deadline = port.now() + Duration::from_secs(1);
    let mut heard = Vec::new();
    let mut buf = [0; 256];
    loop {
        match port.read(&mut buf, deadline).unwrap() {
            0 => return false,
            count => heard.extend_from_slice(&buf[..count]),
        }
        if String::from_utf8_lossy(&heard).contains(text) {
            return true;
        }
    }
}

#[test]
fn flashes_and_runs() {
    for time in ["none", "virtual"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("board.flash");
        let mut port = board(&path, time);
        let (result, events) = run(&mut port);
        let report = result.unwrap();
        check_flash(&path, "good link");
        assert!(!events.iter().any(|event| matches!(event, FlashEvent::Warning { .. })));
        assert!(events.contains(&FlashEvent::Baud(921_600)));
        let sim = chip().sim.as_ref().unwrap();
        assert_eq!(report.chip.mac, sim.mac);
        assert_eq!(report.chip.revision, sim.revision);
        assert_eq!(report.chip.flash_id, sim.flash.jedec);
        // The board's messages after the reset are complete from the first byte on.
        assert!(reset_to_run(&mut port, 115_200).unwrap().is_some());
        assert!(hears(&mut port, "ESP-ROM:"));
    }
}

/// Custom steps bring a board into download mode like the named ones; steps without a reset do not.
#[test]
fn steps_of_ones_own_reset() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.flash");
    let mut options = options();
    for (steps, comes) in [
        ("custom:D0|R1|W0.1|D1|R0|W0.05|D0", true),
        ("custom:U0,1|W0.02|U1,0", true),
        ("custom:W0.01", false),
        ("none", false),
        ("none,classic", true),
    ] {
        options.connect.strategies = Strategy::parse(steps).unwrap();
        let mut port = board(&path, "virtual");
        let found = detect(&mut port, &options, &mut |_| {});
        assert_eq!(found.is_ok(), comes, "{steps}: {found:?}");
        let error = found.err().map(|error| error.class());
        assert_eq!(error, (!comes).then_some(ErrorClass::NoAnswer), "{steps}");
    }
}

#[test]
fn detects_without_a_target() {
    let dir = tempfile::tempdir().unwrap();
    let mut port = board(&dir.path().join("board.flash"), "virtual");
    let info = detect(&mut port, &FlashOptions::default(), &mut |_| {}).unwrap();
    assert_eq!(info.chip.name, "esp32c3");
    assert_eq!(info.flash_size, 4 << 20);
}

/// Loses or flips a byte of the session, at places all over its length.
#[test]
fn one_fault_is_mended() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.flash");
    let mut clean = FaultyPort::new(board(&path, "none"), []);
    run(&mut clean).0.unwrap();
    let (sent, received) = clean.counts();
    drop(clean);
    let mut faults = Vec::new();
    for part in 0..12 {
        let tx = sent * part / 12 + part;
        let rx = received * part / 12 + part;
        faults.extend([
            Fault::DropTx(tx),
            Fault::FlipTx(tx, (part % 8) as u8),
            Fault::DropRx(rx),
            Fault::FlipRx(rx, (part % 8) as u8),
            Fault::DoubleRx(rx),
        ]);
    }
    faults.extend([
        Fault::NoiseBeforeReply(b"boot: noise\r\n".to_vec()),
        Fault::NoiseBeforeReply(vec![0xc0, 0xdb, 0x00, 0xc0]),
    ]);
    for fault in faults {
        fs::remove_file(&path).unwrap();
        let mut port = FaultyPort::new(board(&path, "none"), [fault.clone()]);
        let (result, events) = run(&mut port);
        if let Err(error) = result {
            panic!("{fault:?}: {error}\n{events:#?}");
        }
        check_flash(&path, &format!("{fault:?}"));
    }
}

#[test]
fn a_port_that_vanishes_half_way_is_lost_and_the_next_flash_repairs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.flash");
    for sent in [100, 5_000, 20_000, 40_000] {
        // Data left by the previous run would not be written again.
        fs::write(&path, vec![0x5a; 4 << 20]).unwrap();
        let mut port = FaultyPort::new(board(&path, "none"), [Fault::GoneAfterTx(sent)]);
        let error = run(&mut port).0.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Lost, "{error}");
        assert!(matches!(error, FlashError::Port(PortError::Gone { .. })));
        drop(port);
        run(&mut board(&path, "none")).0.unwrap();
        check_flash(&path, "repaired");
    }
}

/// Cuts the power in the middle of an erase or a program. The next flash, which checks the device's
/// contents before it decides what to write, must not take a torn bootloader for a complete one.
#[test]
fn what_a_power_cut_tore_is_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let plan = plan::plan();
    let spec =
        |name: &str| format!("sim:esp32c3,flash={},time=none", dir.path().join(name).display());
    let flash = |port: &mut SimPort| {
        flash_plan(port, &plan, &ResolveOptions::default(), &options(), &mut |_| {})
    };
    flash(&mut SimPort::open(&spec("whole")).unwrap()).unwrap();
    let whole = fs::read(dir.path().join("whole")).unwrap();
    let mut cut = 0;
    for operations in (1..).step_by(37) {
        let name = format!("torn-{operations}");
        let mut port =
            SimPort::open_with(&spec(&name), |nor| nor.cut_power_after(Some(operations))).unwrap();
        match flash(&mut port) {
            Ok(_) => break,
            Err(error) => assert_eq!(error.class(), ErrorClass::Lost, "{error}"),
        }
        drop(port);
        flash(&mut SimPort::open(&spec(&name)).unwrap()).unwrap();
        let mended = fs::read(dir.path().join(&name)).unwrap();
        for write in &plan.writes {
            let at = write.offset.0 as usize;
            let place = at..at + write.data.len();
            assert!(mended[place.clone()] == whole[place], "{} after {operations}", write.name);
        }
        fs::remove_file(dir.path().join(&name)).unwrap();
        cut += 1;
    }
    assert!(cut > 10, "{cut}");
}

/// Writes a longer table under the existing bootloader and cuts the power at any of its operations.
/// The result is the new table or none, which the next flash writes, and never the beginning of
/// one.
#[test]
fn a_torn_table_is_none_under_an_old_bootloader() {
    let dir = tempfile::tempdir().unwrap();
    let old = plan::plan();
    let mut new = plan::plan();
    let mut table = PartitionTable::esp_idf_default();
    let mut more = table.partitions[0].clone();
    more.kind = 0x40;
    for number in 0..8 {
        more.name = format!("data{number}");
        (more.offset, more.len) = (FlashOffset(0x20_0000 + 0x1_0000 * number), 0x1_0000);
        table.partitions.push(more.clone());
    }
    new.writes[1].data = table.to_bytes().unwrap();
    let spec =
        |name: &str| format!("sim:esp32c3,flash={},time=none", dir.path().join(name).display());
    let flash = |port: &mut SimPort, plan: &FlashPlan, with_bootloader| {
        let resolve = ResolveOptions::default().with_bootloader(with_bootloader);
        flash_plan(port, plan, &resolve, &options(), &mut |_| {})
    };
    flash(&mut SimPort::open(&spec("old")).unwrap(), &old, true).unwrap();
    let before = fs::read(dir.path().join("old")).unwrap();
    let (mut cut, mut none) = (0, 0);
    for operations in 1.. {
        let path = dir.path().join("torn");
        fs::write(&path, &before).unwrap();
        let cut_off = |nor: &mut Nor| nor.cut_power_after(Some(operations));
        let mut port = SimPort::open_with(&spec("torn"), cut_off).unwrap();
        let done = flash(&mut port, &new, true).is_ok();
        drop(port);
        if done {
            break;
        }
        none += usize::from(fs::read(&path).unwrap()[0x8000..0x8002] != [0xaa, 0x50]);
        // A valid table is kept. One that was half erased is refused unless it is to be written.
        let again = flash(&mut SimPort::open(&spec("torn")).unwrap(), &new, false);
        if let Err(error) = again {
            assert!(matches!(error, FlashError::Plan(PlanError::DeviceTable { .. })), "{error}");
            flash(&mut SimPort::open(&spec("torn")).unwrap(), &new, true).unwrap();
        }
        let mended = fs::read(&path).unwrap();
        assert!(mended[0x8000..][..0xc00] == new.writes[1].data, "after {operations}");
        cut += 1;
    }
    assert!(cut > 10 && none > 5, "{cut} {none}");
}

#[test]
fn a_board_that_falls_silent_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.flash");
    for (received, class) in [(0, ErrorClass::NoAnswer), (1500, ErrorClass::Transfer)] {
        let fault = Fault::SilentAfterRx(received);
        let mut port = FaultyPort::new(board(&path, "none"), [fault]);
        let error = run(&mut port).0.unwrap_err();
        let classes = [class, ErrorClass::NoAnswer];
        assert!(classes.contains(&error.class()), "{error}");
    }
}

#[cfg(unix)]
mod pty {
    use std::{
        io::{Read as _, Write as _},
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
    };

    use super::*;
    use serialport::{SerialPort as _, TTYPort};

    /// Carries bytes on the board's side of a pty until `stop` is set.
    fn pump(port: &mut SimPort, master: &mut TTYPort, stop: &AtomicBool) {
        let mut buf = [0; 4096];
        while !stop.load(Ordering::Relaxed) {
            let wrote = master.read(&mut buf).unwrap_or(0);
            port.write(&buf[..wrote]).unwrap();
            let until = port.now() + Duration::from_millis(1);
            let count = port.read(&mut buf, until).unwrap();
            master.write_all(&buf[..count]).unwrap();
        }
    }

    #[test]
    fn flashes_over_a_pty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("board.flash");
        let (mut master, slave) = TTYPort::pair().unwrap();
        master.set_timeout(Duration::from_millis(1)).unwrap();
        let name = slave.name().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        std::thread::scope(|scope| {
            let (path, pumping) = (path.clone(), Arc::clone(&stop));
            scope.spawn(move || {
                let mut port = board(&path, "none");
                // Enter download mode as a user does by hand.
                port.set_lines(false, true).unwrap();
                port.set_lines(true, false).unwrap();
                let up = port.now() + Duration::from_millis(50);
                port.wait_until(up).unwrap();
                port.set_lines(false, false).unwrap();
                pump(&mut port, &mut master, &pumping);
            });
            let interrupt = Arc::new(AtomicBool::new(false));
            let mut port = esplice_flash::open_serial(&name, 115_200, interrupt).unwrap();
            let mut options = options();
            // The board's end of a pty does not see the rate that this end is set to.
            options.baud = None;
            let plan = |_: &_| Ok(ResolvedPlan::from(writes()));
            let result = flash(&mut port, &options, plan, &mut |_| {});
            // Without lines the loader is requested to reset. The board's messages are then
            // complete.
            let started = esplice_flash::start(&mut port, chip(), 115_200, &mut |_| {});
            let heard = hears(&mut port, "ESP-ROM:");
            stop.store(true, Ordering::Relaxed);
            result.unwrap();
            assert!(started.unwrap().is_some());
            assert!(heard);
        });
        check_flash(&path, "pty");
    }
}
