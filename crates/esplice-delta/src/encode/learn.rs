//! Corrections of addresses that no copy moves, such as those of variables without initial values.

use std::{collections::BTreeMap, vec::Vec};

use crate::map::AddressMap;

use super::{align::Copy, body::Plan, references::Found};

/// A run of targets that need the same correction must be supported by this many references.
const SUPPORT: u32 = 3;

/// Returns the corrections that make most references right: the first address, and what is added to
/// it and those that follow.
pub(super) fn corrections(plan: &Plan, old: &[Found], new: &[Found]) -> Vec<(u32, i32)> {
    let mut slots: Vec<u64> = std::vec![0; plan.copies.len()];
    let mut map = AddressMap::new(&mut slots);
    for Copy { old, new, .. } in &plan.copies {
        let _ = map.push_operation(*old, *new);
    }
    map.sort();
    // How often each difference from the prediction occurs, by target.
    let mut votes: BTreeMap<u32, BTreeMap<i32, u32>> = BTreeMap::new();
    for copy in &plan.copies {
        let from = old.partition_point(|found| found.offset < copy.old);
        let inside = |found: &&Found| found.offset + found.len <= copy.old + copy.len;
        for found in old[from..].iter().take_while(inside) {
            let at = found.offset - copy.old + copy.new;
            let Ok(same) = new.binary_search_by_key(&at, |new| new.offset) else { continue };
            if new[same].form == found.form {
                let predicted = map.predict(found.target, &plan.old, &plan.new);
                let add = new[same].target.wrapping_sub(predicted) as i32;
                *votes.entry(found.target).or_default().entry(add).or_default() += 1;
            }
        }
    }
    let mut runs: Vec<Run> = Vec::new();
    for (first, adds) in votes {
        let Some((add, support)) = adds.into_iter().max_by_key(|(_, count)| *count) else {
            continue;
        };
        push(&mut runs, Run { first, add, support });
    }
    // A weak run joins the one before it, until none is left.
    loop {
        let count = runs.len();
        let mut kept: Vec<Run> = Vec::new();
        for run in runs {
            if run.support >= SUPPORT || kept.is_empty() {
                push(&mut kept, run);
            }
        }
        runs = kept;
        if runs.len() == count {
            break;
        }
    }
    let mut last = 0;
    runs.retain(|run| std::mem::replace(&mut last, run.add) != run.add);
    runs.into_iter().map(|run| (run.first, run.add)).collect()
}

struct Run {
    first: u32,
    add: i32,
    support: u32,
}

fn push(runs: &mut Vec<Run>, run: Run) {
    match runs.last_mut() {
        Some(last) if last.add == run.add => last.support += run.support,
        _ => runs.push(run),
    }
}
