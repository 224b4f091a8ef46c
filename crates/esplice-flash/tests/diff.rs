//! Checks that only sectors that differ are written, on the virtual board, whose flash is altered
//! between the runs.

use std::{fs, path::Path, sync::Arc};

use crate::installed;
use esplice_chip::{Chip, ChipDb, FlashOffset};
use esplice_flash::{FlashEvent, FlashOptions, Statistics, StubSource, flash};
use esplice_image::{ResolvedPlan, Write, WriteKind};
use esplice_sim::SimPort;

const SECTOR: usize = 0x1000;
const APP: usize = 0x1_0000;
/// Not a whole number of sectors.
const APP_LEN: usize = 21 * SECTOR + 0x345;

fn chip() -> &'static Arc<Chip> {
    ChipDb::embedded().find("esp32c3").unwrap()
}

fn writes() -> Vec<Write> {
    let text = |seed: u32, len: usize| -> Vec<u8> {
        let mut state = seed;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8 & 0x3f
        };
        (0..len).map(next).collect()
    };
    let write = |name: &str, kind, offset: usize, data| Write {
        name: name.to_owned(),
        kind,
        offset: FlashOffset(offset as u32),
        data,
    };
    vec![
        write("bootloader", WriteKind::Bootloader, 0, text(1, 0x3210)),
        write("app", WriteKind::App, APP, text(2, APP_LEN)),
    ]
}

struct Bench {
    path: std::path::PathBuf,
    stub: StubSource,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new(stub: StubSource) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("board.flash");
        fs::write(&path, vec![0x5a; 4 << 20]).unwrap();
        Bench { path, stub, _dir: dir }
    }

    /// Flashes, checks the result, and returns the statistics.
    fn flash(&self, full: bool) -> Statistics {
        let spec = format!("sim:esp32c3,flash={},time=virtual", self.path.display());
        let mut port = SimPort::open(&spec).unwrap();
        let options = FlashOptions::default()
            .target(Some(chip().clone()))
            .baud(Some(921_600))
            .stub(self.stub.clone())
            .full(full);
        let mut verified = 0;
        let mut tell =
            |event| verified += usize::from(matches!(event, FlashEvent::Verified { .. }));
        let plan = |_: &_| Ok(ResolvedPlan::from(writes()));
        let report = flash(&mut port, &options, plan, &mut tell).unwrap();
        assert_eq!(verified, 2);
        drop(port);
        check(&self.path);
        report.statistics
    }

    /// Flips a bit at each of these places without the flasher.
    fn alter(&self, places: &[usize]) {
        let mut flash = fs::read(&self.path).unwrap();
        for place in places {
            flash[*place] ^= 0x08;
        }
        fs::write(&self.path, flash).unwrap();
    }
}

#[track_caller]
fn check(path: &Path) {
    let flash = fs::read(path).unwrap();
    for write in writes() {
        let at = write.offset.0 as usize;
        assert!(flash[at..at + write.data.len()] == write.data, "{} differs", write.name);
    }
}

#[test]
fn only_the_sectors_that_differ_are_written() {
    for stub in [StubSource::none(), StubSource::only(installed::stub(2, "esp32c3"))] {
        let bench = Bench::new(stub);
        let all = 4 + 22;
        assert_eq!(bench.flash(false).sectors_written, all);
        let again = bench.flash(false);
        assert_eq!((again.sectors_written, again.sectors_total), (0, all));
        let sector = |n: usize| APP + n * SECTOR + n;
        for (altered, written) in [
            (vec![sector(9)], 1),
            (vec![sector(0)], 1),
            // The last byte of the app, in its last sector.
            (vec![APP + APP_LEN - 1], 1),
            // A byte after the app.
            (vec![APP + APP_LEN + 3], 0),
            (vec![sector(3), sector(4), sector(17)], 3),
            (vec![sector(0), sector(11), sector(21)], 3),
            // A change in the bootloader's body also rewrites its header.
            (vec![0x2005], 2),
            (vec![0x0005, 0x3205], 2),
        ] {
            bench.alter(&altered);
            assert_eq!(bench.flash(false).sectors_written, written, "{altered:x?}");
        }
        assert_eq!(bench.flash(true).sectors_written, all);
    }
}

/// Blank flash is not erased, which saves the time of the erases.
#[test]
fn a_blank_flash_needs_no_erase() {
    for stub in [StubSource::none(), StubSource::only(installed::stub(2, "esp32c3"))] {
        let bench = Bench::new(stub);
        let dirty = bench.flash(false).time;
        fs::write(&bench.path, vec![0xff; 4 << 20]).unwrap();
        let blank = bench.flash(false).time;
        // 64 KiB at once and ten sectors: 0.15 + 10 × 0.045 s, less the hashes. A stub hides nearly
        // all of it behind the wire, and its checks use time on the SPI bus.
        let least = if bench.stub.is_some() { 0 } else { 300 };
        let saved = dirty.saturating_sub(blank).as_millis();
        assert!(saved > least, "{:?}: {dirty:?} dirty, {blank:?} blank", bench.stub);
    }
}

/// Whatever was altered, the result is right.
#[test]
fn any_alteration_is_mended() {
    let bench = Bench::new(StubSource::none());
    bench.flash(false);
    let mut state = 7_u32;
    let mut next = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    for _ in 0..12 {
        let count = 1 + next(9);
        let places: Vec<usize> = (0..count).map(|_| APP + next(APP_LEN)).collect();
        bench.alter(&places);
        let mut sectors: Vec<usize> = places.iter().map(|place| place / SECTOR).collect();
        sectors.sort();
        sectors.dedup();
        let written = bench.flash(false).sectors_written as usize;
        assert!(written >= sectors.len().min(1) && written <= 22, "{places:x?}: {written}");
    }
}
