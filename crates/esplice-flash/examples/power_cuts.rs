//! Cuts the power of a virtual board at random moments of a flash, or with `--each` once at each
//! operation of the flash chip. No success may be reported then, the flash must not hold half a
//! bootloader or table that would pass for a whole one, and the next flash must repair it.
//!
//! ```text
//! cargo run --release -p esplice-flash --example power_cuts -- --cuts 4000 --seed 1 [--stub FILE]
//! cargo run --release -p esplice-flash --example power_cuts -- --each [--stub FILE]
//! ```
//!
//! Prints counts, and the seed of each cut that broke a rule. Exits with 1 if there were any.

mod trials;

use esplice_image::{FlashPlan, WriteKind};
use esplice_sim::fault_plan::{FaultPlan, PlannedFault, TornBy};
use trials::{Outcome, Random, Trials, Work, number, stub};

fn main() {
    let each = std::env::args().any(|arg| arg == "--each");
    let trials = Trials::new(stub());
    let works = [Work::Flash, Work::FlashBlank];
    let operations = works.map(|work| trials.run(work, &FaultPlan::default()).operations);
    println!("flash operations without a cut: {works:?} {operations:?}");
    let (cuts, first) = match each {
        true => (operations.iter().sum(), 0),
        false => (number("--cuts", 200), number("--seed", 1)),
    };
    let (mut torn, mut twice, mut broken) = (0_u64, 0_u64, 0_u64);
    let (mut whole_bootloaders, mut whole_tables) = (0_u64, 0_u64);
    for seed in first..first.saturating_add(cuts) {
        let mut random = Random::new(seed);
        // With `--each`, the seed counts the operations of one flash and then of the other.
        let which = match each {
            true => usize::from(seed >= operations[0]),
            false => random.below(2) as usize,
        };
        let work = works[which];
        let mut operation = each.then(|| seed - operations[0] * which as u64);
        let mut fail = |what: &str| {
            broken += 1;
            println!("seed {seed}: {work:?}: {what}");
        };
        let mut cut = |random: &mut Random| FaultPlan {
            seed,
            faults: vec![PlannedFault::Tear {
                operation: operation.take().unwrap_or_else(|| random.below(operations[which])),
                done: Some(random.below(0x1001) as u32),
                by: TornBy::PowerCut(None),
            }],
        };
        let mut trial = trials.run(work, &cut(&mut random));
        match &trial.outcome {
            Outcome::Failed(_) => torn += 1,
            // The operation to be cut was not needed, or was the last.
            Outcome::Done => {}
            other => fail(&format!("{other:?}")),
        }
        // In every other session the second attempt is cut off, too.
        if random.below(2) == 0 {
            twice += 1;
            trial = trials.run_on(work, &cut(&mut random), &trial.flash);
            if let Outcome::Wrong(_) | Outcome::Panicked(_) = trial.outcome {
                fail(&format!("{:?}", trial.outcome));
            }
        }
        for (kind, start, whole) in [
            (WriteKind::Bootloader, &[0xe9][..], &mut whole_bootloaders),
            (WriteKind::PartitionTable, &[0xaa, 0x50][..], &mut whole_tables),
        ] {
            match state(&trial.flash, [&trials.old, &trials.new], kind, start) {
                State::Whole => *whole += 1,
                State::None => {}
                State::Half => fail(&format!("half of a {kind} is left")),
            }
        }
        let mended = trials.run_on(work, &FaultPlan::default(), &trial.flash);
        if mended.outcome != Outcome::Done {
            fail(&format!("the next flash does not repair it: {:?}", mended.outcome));
        }
    }
    println!(
        "seeds {first} to {}: {cuts} sessions, {torn} torn, {twice} cut twice, {whole_bootloaders} left \
         with a whole bootloader and {whole_tables} with a whole table, {broken} broken rules",
        first.saturating_add(cuts).saturating_sub(1)
    );
    std::process::exit(i32::from(broken > 0));
}

enum State {
    None,
    Half,
    Whole,
}

/// Returns the state of the part of that kind, which begins with `start`.
fn state(flash: &[u8], plans: [&FlashPlan; 2], kind: WriteKind, start: &[u8]) -> State {
    let parts = plans.map(|plan| plan.write(kind));
    let mut is_there = false;
    for write in parts.into_iter().flatten() {
        let at = write.offset.0 as usize;
        is_there |= flash[at..].starts_with(start);
        if flash[at..].starts_with(&write.data) {
            return State::Whole;
        }
    }
    if is_there { State::Half } else { State::None }
}
