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
use esplice_chip::{Chip, FlashOffset};
use esplice_flash::{
    ChipInfo, ErrorClass, FlashError, FlashEvent, FlashOptions, FlashReport, LoaderUse, Session,
    Strategy, StubSource, detect, flash, reset_to_run, start, with_board,
};
use esplice_image::{ResolvedPlan, Write, WriteKind};
use esplice_protocol::{Opcode, Port};
use esplice_sim::SimPort;

fn chip() -> &'static Chip {
    esplice_chip::find("esp32c3").unwrap()
}

/// Names of the virtual board, with the mask ROM's code and without.
fn boards(flash: &Path, time: &str) -> [String; 2] {
    let hooked = format!("sim:esp32c3,flash={},time={time}", flash.display());
    [format!("{hooked},rom={}", mask_rom::path().display()), hooked]
}

fn options() -> FlashOptions {
    FlashOptions {
        target: Some(chip()),
        baud: Some(921_600),
        stub: StubSource::only(esplice_flash::Stub::parse(include_bytes!("../../../targets/stubs/esp32c3.json")).unwrap()),
        ..FlashOptions::default()
    }
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

