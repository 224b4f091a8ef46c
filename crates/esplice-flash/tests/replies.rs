//! Every single bit of every reply flipped, one a session: a loader's replies carry no checksum, and
//! still no fact that is reported may be wrong.

#[path = "../examples/trials/mod.rs"]
mod trials;

use esplice_flash::StubSource;
use esplice_sim::fault_plan::{Direction, FaultPlan, Planned, When, WireFault};
use trials::{Outcome, Trials, Work};

/// Flips each bit of what goes in `direction` while `work` is done, `step` bytes apart.
fn sweep(work: Work, direction: Direction, step: usize, least: usize) {
    let trials = Trials::new(StubSource::none());
    let clean = trials.run(work, &FaultPlan::default());
    assert_eq!(clean.outcome, Outcome::Done);
    let len = match direction {
        Direction::ToBoard => clean.bytes.0,
        Direction::ToHost => clean.bytes.1,
    };
    let (mut done, mut failed, mut wrong) = (0, 0, Vec::new());
    for byte in (0..len).step_by(step) {
        for bit in 0..8 {
            let fault = WireFault::Flip(Some(bit));
            let faults = vec![Planned::Wire { direction, when: When::Byte(byte), fault }];
            let trial = trials.run(work, &FaultPlan { seed: 1, faults });
            match trial.outcome {
                Outcome::Done => done += 1,
                Outcome::Failed(_) => failed += 1,
                outcome => wrong.push(format!("byte {byte} bit {bit}: {outcome:?}")),
            }
        }
    }
    println!("{work:?} {direction:?}: {len} bytes, {done} right, {failed} refused, {wrong:?}");
    assert!(wrong.is_empty(), "{work:?} {direction:?}: {wrong:#?}");
    assert!(done + failed >= least, "only {} sessions", done + failed);
    // A single flipped bit is put right, not reported.
    assert!(failed * 20 <= done, "{failed} of {} sessions failed", done + failed);
}

#[test]
fn what_a_board_is() {
    sweep(Work::Detect, Direction::ToHost, 1, 2000);
}

#[test]
fn hashes() {
    sweep(Work::Hash, Direction::ToHost, 1, 2000);
}

#[test]
fn verdicts() {
    sweep(Work::VerifyOther, Direction::ToHost, 2, 1000);
    sweep(Work::VerifySame, Direction::ToHost, 4, 500);
}

#[test]
fn unchanged_firmware() {
    sweep(Work::FlashAgain, Direction::ToHost, 2, 1000);
}

#[test]
fn requests() {
    sweep(Work::Detect, Direction::ToBoard, 1, 1000);
    sweep(Work::Hash, Direction::ToBoard, 1, 1000);
}
