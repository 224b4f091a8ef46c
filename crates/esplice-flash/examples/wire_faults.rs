//! Runs sessions with a virtual board under random faults of line, flash chip and power. Whatever
//! happens, a reported success must be true.
//!
//! ```text
//! cargo run --release -p esplice-flash --example wire_faults -- \
//!     --plans 2000 --seed 1 [--stub FILE]
//! ```
//!
//! Prints how the sessions ended, and the seed of each one that reported a false success, which
//! `--seed N --plans 1` repeats. Exits with 1 if there were any.

mod trials;

use std::{collections::BTreeMap, time::Duration};

use esplice_sim::fault_plan::{Direction, FaultPlan, PlannedFault, TornBy, When, WireFault};
use trials::{Outcome, Random, Trials, Work, number, stub};

/// Maximum number of faults per session.
const MOST: u64 = 3;

fn main() {
    let (plans, first) = (number("--plans", 200), number("--seed", 1));
    let trials = Trials::new(stub());
    let clean: Vec<_> = Work::ALL
        .into_iter()
        .map(|work| {
            let trial = trials.run(work, &FaultPlan::default());
            assert_eq!(trial.outcome, Outcome::Done, "{work:?} without a fault");
            (work, trial.bytes, trial.operations)
        })
        .collect();
    std::panic::set_hook(Box::new(|_| {}));
    let mut counts: BTreeMap<String, BTreeMap<&str, u64>> = BTreeMap::new();
    let (mut wrong, mut panics, mut struck, mut strays) = (0, 0, 0, 0);
    for seed in first..first.saturating_add(plans) {
        let mut random = Random::new(seed);
        let (work, bytes, operations) = clean[random.below(clean.len() as u64) as usize];
        let faults = (0..=random.below(MOST)).map(|_| fault(&mut random, bytes, operations));
        let plan = FaultPlan { seed, faults: faults.collect() };
        let trial = trials.run(work, &plan);
        struck += u64::from(trial.struck > 0);
        let how = match &trial.outcome {
            Outcome::Done => "success",
            Outcome::Failed(_) => "error",
            Outcome::Wrong(what) => {
                wrong += 1;
                println!("seed {seed}: {work:?} reported success, but {what}: {plan:?}");
                "WRONG"
            }
            Outcome::Panicked(what) => {
                panics += 1;
                println!("seed {seed}: {work:?} panicked: {what}: {plan:?}");
                "PANIC"
            }
        };
        if trial.outcome == Outcome::Done && trial.strays > 0 {
            strays += 1;
            println!("seed {seed}: {work:?} changed {} bytes elsewhere: {plan:?}", trial.strays);
        }
        *counts.entry(format!("{work:?}")).or_default().entry(how).or_default() += 1;
    }
    for (work, counts) in &counts {
        println!("{work}: {counts:?}");
    }
    println!(
        "seeds {first} to {}: {plans} sessions, {struck} with a fault that struck, {wrong} wrong \
         successes, {panics} panics, {strays} that changed bytes elsewhere",
        first.saturating_add(plans).saturating_sub(1)
    );
    std::process::exit(i32::from(wrong > 0 || panics > 0));
}

/// Returns a fault somewhere in a session with these numbers of bytes and operations.
fn fault(random: &mut Random, (sent, received): (u64, u64), operations: u64) -> PlannedFault {
    let direction = if random.below(2) == 0 { Direction::ToBoard } else { Direction::ToHost };
    let len = if direction == Direction::ToBoard { sent } else { received };
    let byte = random.below(len + len / 4 + 1);
    let when = match random.below(4) {
        0 => When::OneIn(50 + random.below(5000) as u32),
        _ => When::Byte(byte),
    };
    let wire = |fault| PlannedFault::Wire { direction, when, fault };
    match random.below(16) {
        0..=3 => wire(WireFault::Flip(Some(random.below(8) as u8))),
        4 => wire(WireFault::Flip(None)),
        5..=7 => wire(WireFault::Drop),
        8 | 9 => wire(WireFault::Double),
        10 => wire(WireFault::Delay(Duration::from_micros(1 + random.below(2_000_000)))),
        11 => PlannedFault::WrongBaud {
            direction,
            byte,
            len: 1 + random.below(200),
            baud: [9600, 57_600, 115_200, 230_400, 460_800, 900_000][random.below(6) as usize],
        },
        12 => PlannedFault::Vanish {
            direction,
            byte,
            back_after: Duration::from_millis(random.below(500)),
        },
        13 => PlannedFault::Stuck {
            offset: random.below(0x1_6000) as u32,
            bit: random.below(8) as u8,
            level: random.below(2) == 0,
        },
        kind => PlannedFault::Tear {
            operation: random.below(operations + 1),
            done: Some(random.below(0x1000) as u32),
            by: match kind {
                14 => TornBy::Reset,
                _ => TornBy::PowerCut(Some(Duration::from_millis(random.below(1000)))),
            },
        },
    }
}
