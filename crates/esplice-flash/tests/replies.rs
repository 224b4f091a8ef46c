//! Flips bits of replies and requests, one per session. Neither carries a checksum, but no reported
//! fact may be wrong.

use crate::trials::{Outcome, Trials, Work};
use esplice_flash::StubSource;
use esplice_sim::fault_plan::{Direction, FaultPlan, PlannedFault, When, WireFault};

/// Flips a bit of the traffic in `direction` while `work` is done, one of `one_in` bits per
/// session.
fn sweep(work: Work, direction: Direction, one_in: u64) {
    let trials = Trials::new(StubSource::none());
    let clean = trials.run(work, &FaultPlan::default());
    assert_eq!(clean.outcome, Outcome::Done);
    let len = match direction {
        Direction::ToBoard => clean.bytes.0,
        Direction::ToHost => clean.bytes.1,
    };
    let (mut done, mut failed, mut wrong) = (0, 0, Vec::new());
    for place in (0..len * 8).step_by(one_in as usize) {
        let (byte, bit) = (place / 8, (place % 8) as u8);
        let fault = WireFault::Flip(Some(bit));
        let faults = vec![PlannedFault::Wire { direction, when: When::Byte(byte), fault }];
        let trial = trials.run(work, &FaultPlan { seed: 1, faults });
        match trial.outcome {
            Outcome::Done => done += 1,
            Outcome::Failed(_) => failed += 1,
            outcome => wrong.push(format!("byte {byte} bit {bit}: {outcome:?}")),
        }
    }
    println!("{work:?} {direction:?}: {len} bytes, {done} right, {failed} refused, {wrong:?}");
    assert!(wrong.is_empty(), "{work:?} {direction:?}: {wrong:#?}");
    assert!(done + failed >= len * 8 / one_in, "only {} sessions", done + failed);
    // A single flipped bit is corrected and not reported.
    assert!(failed * 10 <= done, "{failed} of {} sessions failed", done + failed);
}

/// All operations that report facts, each way. Primes, so that every bit of a byte is covered.
const SWEEPS: [(Work, Direction, u64); 7] = [
    (Work::Detect, Direction::ToHost, 61),
    (Work::Hash, Direction::ToHost, 61),
    (Work::VerifyOther, Direction::ToHost, 127),
    (Work::VerifySame, Direction::ToHost, 251),
    (Work::FlashAgain, Direction::ToHost, 251),
    (Work::Detect, Direction::ToBoard, 127),
    (Work::Hash, Direction::ToBoard, 127),
];

#[test]
fn no_flipped_bit_makes_a_wrong_fact() {
    std::thread::scope(|scope| {
        for (work, direction, one_in) in SWEEPS {
            scope.spawn(move || sweep(work, direction, one_in));
        }
    });
}

#[test]
#[ignore = "takes minutes: every bit of every reply and request"]
fn no_bit_at_all_makes_a_wrong_fact() {
    std::thread::scope(|scope| {
        for (work, direction, _) in SWEEPS {
            scope.spawn(move || sweep(work, direction, 1));
        }
    });
}
