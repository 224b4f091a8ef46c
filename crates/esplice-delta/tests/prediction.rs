//! References are predicted: an insertion that moves everything costs next to nothing.

use esplice_delta::{Isa, PatchKind, apply, diff};

use crate::program::{Item, Machine, Program};

const FUNCTIONS: usize = 900;

fn isa(machine: Machine) -> Isa {
    match machine {
        Machine::RiscV => Isa::RiscV,
        Machine::Xtensa => Isa::Xtensa,
    }
}

/// Links both programs, and checks the size of the patch with prediction and how many times larger
/// it is without.
#[track_caller]
fn check(machine: Machine, old: &Program, new: &Program, most: usize, times: usize) {
    let (base, image) = (old.link(machine), new.link(machine));
    let patch = diff(&base, &image, isa(machine)).unwrap();
    assert_eq!(apply(&base, &patch.bytes).unwrap(), image);
    assert_eq!(patch.kind, PatchKind::Delta);
    let plain = diff(&base, &image, Isa::Unknown).unwrap().bytes.len();
    let len = patch.bytes.len();
    assert!(len <= most, "{machine:?}: {len} bytes, without prediction {plain}");
    assert!(len * times <= plain, "{machine:?}: {len} bytes, without prediction {plain}");
}

fn with(change: impl FnOnce(&mut Program)) -> (Program, Program) {
    let old = Program::drawn(FUNCTIONS);
    let mut new = old.clone();
    change(&mut new);
    (old, new)
}

const MACHINES: [Machine; 2] = [Machine::RiscV, Machine::Xtensa];

#[test]
fn code_that_moves_costs_nothing() {
    let (old, new) = with(|new| new.functions[3].insert(0, Item::Plain(77)));
    MACHINES.iter().for_each(|machine| check(*machine, &old, &new, 60, 3));
}

#[test]
fn a_new_function_in_the_middle_costs_itself() {
    let (old, new) = with(|new| {
        new.functions[400].extend([Item::Plain(1), Item::Call(5), Item::FarCall(6)]);
        new.functions[401].insert(2, Item::Plain(99));
    });
    MACHINES.iter().for_each(|machine| check(*machine, &old, &new, 110, 4));
}

/// Variables without initial values are in no segment: a correction of addresses moves them.
#[test]
fn variables_that_move_cost_one_correction() {
    let (old, new) = with(|new| new.variables[50] += 16);
    MACHINES.iter().for_each(|machine| check(*machine, &old, &new, 80, 4));
}

#[test]
fn functions_that_change_places_are_two_copies() {
    let (old, new) = with(|new| {
        // References follow the functions.
        let place = |n: usize| match n {
            100..200 => n + 300,
            200..500 => n - 100,
            other => other,
        };
        let mut functions = vec![Vec::new(); new.functions.len()];
        for (number, items) in new.functions.iter().enumerate() {
            let items = items.iter().map(|item| match *item {
                Item::Call(to) => Item::Call(place(to)),
                Item::FarCall(to) => Item::FarCall(place(to)),
                other => other,
            });
            functions[place(number)] = items.collect();
        }
        new.functions = functions;
        new.pointers.iter_mut().for_each(|to| *to = place(*to));
    });
    MACHINES.iter().for_each(|machine| check(*machine, &old, &new, 100, 4));
}

#[test]
fn each_form_of_a_reference_is_predicted() {
    type Make = fn(usize) -> Item;
    let forms: [(&str, Make); 6] = [
        ("call", |n| Item::Call(n * 7 % 300)),
        ("far call", |n| Item::FarCall(n * 7 % 300)),
        ("branch", |_| Item::Branch),
        ("compressed", |_| Item::Compressed),
        ("load", |n| Item::Load(n * 7 % 200)),
        ("store", |n| Item::Store(n * 7 % 200)),
    ];
    for (name, make) in forms {
        let mut old = Program::drawn(300);
        for (number, items) in old.functions.iter_mut().enumerate() {
            let filler = |n: usize| Item::Plain((number * 31 + n * 7) as u32 % 1000);
            *items = vec![filler(1), make(number), filler(2), make(number + 1)];
        }
        let mut new = old.clone();
        // Each twentieth function is longer, so that distances change everywhere.
        for items in new.functions.iter_mut().step_by(20) {
            items.insert(1, Item::Plain(5));
        }
        new.variables[20] += 8;
        for machine in MACHINES {
            let (base, image) = (old.link(machine), new.link(machine));
            let patch = diff(&base, &image, isa(machine)).unwrap();
            assert_eq!(apply(&base, &patch.bytes).unwrap(), image);
            // 15 insertions, and what they change in their functions.
            assert!(patch.bytes.len() <= 360, "{machine:?}, {name}: {} bytes", patch.bytes.len());
        }
    }
}
