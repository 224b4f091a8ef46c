//! Breaks every frame of a flash session with a stub on the virtual board, esplice's own and esptool's, from its upload
//! on, in both directions and in every way. `flashing.rs` covers the frames before that, and
//! sessions with only the ROM loader.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use crate::{
    broken::{Broken, FAULTS, Way},
    installed,
};
use esplice_chip::{Chip, ChipDb, FlashOffset};
use esplice_flash::{
    ErrorClass, FlashError, FlashEvent, FlashOptions, FlashReport, LoaderUse, Stub, StubSource,
    flash,
};
use esplice_image::{ResolvedPlan, Write, WriteKind};
use esplice_protocol::{Opcode, Port};
use esplice_sim::SimPort;

fn chip() -> &'static Arc<Chip> {
    ChipDb::embedded().find("esp32c3").unwrap()
}

/// A bootloader of one sector and an app of several, for which a stub needs two blocks.
fn writes() -> Vec<Write> {
    let noise = |seed: u32, len: usize| -> Vec<u8> {
        let mut state = seed;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..len).map(next).collect()
    };
    let write = |name: &str, kind, offset, data| Write {
        name: name.to_owned(),
        kind,
        offset: FlashOffset(offset),
        data,
    };
    vec![
        write("bootloader", WriteKind::Bootloader, 0, noise(1, 0x700)),
        write("app", WriteKind::App, 0x1_0000, noise(2, 0x4700)),
    ]
}

fn options(stub: &StubSource) -> FlashOptions {
    FlashOptions::default().target(Some(chip().clone())).baud(Some(921_600)).stub(stub.clone())
}

fn run(
    port: &mut dyn Port,
    options: &FlashOptions,
) -> (Result<FlashReport, FlashError>, Vec<FlashEvent>) {
    let mut events = Vec::new();
    let plan = |_: &_| Ok(ResolvedPlan::from(writes()));
    let result = flash(port, options, plan, &mut |event| events.push(event));
    (result, events)
}

fn spec(path: &Path) -> String {
    format!("sim:esp32c3,flash={},time=none", path.display())
}

fn board(path: &Path, before: &[u8]) -> SimPort {
    fs::write(path, before).unwrap();
    SimPort::open(&spec(path)).unwrap()
}

#[track_caller]
fn check_flash(path: &Path, what: &str) {
    let found = fs::read(path).unwrap();
    for write in writes() {
        let at = write.offset.0 as usize;
        let held = found[at..at + write.data.len()] == write.data;
        assert!(held, "{what}: success over wrong contents of {}", write.name);
    }
}

fn check(stub: &StubSource, way: Way, least: usize) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.flash");
    let before = vec![0x5a; 4 << 20];
    let options = options(stub);
    let mut clean = Broken::new(board(&path, &before), &[]);
    let (result, events) = run(&mut clean, &options);
    result.unwrap();
    assert!(events.contains(&FlashEvent::Loader(LoaderUse::Uploaded)), "{events:#?}");
    let (first, frames) = (clean.before_upload.unwrap()[way as usize], clean.frames[way as usize]);
    drop(clean);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for fault in FAULTS {
        for number in first..frames {
            let mut port = Broken::new(board(&path, &before), &[(way, number, fault)]);
            let (result, events) = run(&mut port, &options);
            drop(port);
            let what = format!("{way:?} frame {number} {fault:?}");
            if let Err(error) = result {
                panic!("{what}: {error}\n{events:#?}");
            }
            check_flash(&path, &what);
            let told = events.iter().any(|event| matches!(event, FlashEvent::Warning { .. }));
            *counts.entry(if told { "mended and told" } else { "mended silently" }).or_default() +=
                1;
        }
    }
    let runs: usize = counts.values().sum();
    println!("{way:?}, {} frames × {} faults: {counts:?}", frames - first, FAULTS.len());
    assert!(runs >= least, "only {runs} runs");
}

fn stub() -> StubSource {
    StubSource::only(installed::stub(2, "esp32c3"))
}

fn own_stub() -> StubSource {
    StubSource::only(Stub::own(chip()).unwrap())
}

#[test]
fn requests_with_esptools_stub() {
    check(&stub(), Way::ToBoard, 90);
}

#[test]
fn replies_with_esptools_stub() {
    check(&stub(), Way::ToHost, 90);
}

#[test]
fn requests_with_our_stub() {
    check(&own_stub(), Way::ToBoard, 90);
}

#[test]
fn replies_with_our_stub() {
    check(&own_stub(), Way::ToHost, 90);
}

/// One restart is recovered; a board that resets again and again is reported.
#[test]
fn a_board_that_resets_twice_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.flash");
    let deflated = Opcode::FlashDeflData;
    let cases =
        [(stub(), deflated), (StubSource::none(), deflated), (own_stub(), Opcode::StreamData)];
    for (stub, command) in cases {
        let mut port = Broken::new(board(&path, &[0x5a; 4 << 20]), &[]);
        port.resets_at = Some(command);
        let (result, events) = run(&mut port, &options(&stub));
        let error = result.unwrap_err();
        assert!(matches!(error, FlashError::Restarts { times: 2, .. }), "{error}: {events:#?}");
        assert_eq!(error.class(), ErrorClass::Transfer);
        assert!(error.hint().unwrap().contains("power"));
        // The next flash repairs the board.
        drop(port);
        let mut port = SimPort::open(&spec(&path)).unwrap();
        run(&mut port, &options(&stub)).0.unwrap();
        drop(port);
        check_flash(&path, "repaired");
    }
}
