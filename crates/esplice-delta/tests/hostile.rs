//! Patches that were damaged or made up.

use esplice_delta::{Applier, ApplyError, Io, Isa, apply, diff};
use proptest::prelude::*;

use crate::program::{Item, Machine, Program};

/// Length of a patch's start: magic number, and lengths and checksums of base and image.
const START: usize = 20;

fn example() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let old = Program::drawn(120);
    let mut new = old.clone();
    new.functions[9].insert(1, Item::Call(4));
    new.functions[50].extend([Item::Plain(123_456), Item::Load(7)]);
    new.variables[3] += 4;
    new.pointers[5] = 99;
    let (base, image) = (old.link(Machine::RiscV), new.link(Machine::RiscV));
    let patch = diff(&base, &image, Isa::RiscV).unwrap();
    (base, image, patch.bytes)
}

/// A slot that must not be overrun.
struct Slot<'a> {
    patch: &'a [u8],
    base: &'a [u8],
    written: usize,
    room: usize,
}

impl Io for Slot<'_> {
    type Error = ();

    fn read_patch(&mut self, into: &mut [u8]) -> Result<usize, ()> {
        let len = into.len().min(self.patch.len());
        into[..len].copy_from_slice(&self.patch[..len]);
        self.patch = &self.patch[len..];
        Ok(len)
    }

    fn read_base(&mut self, offset: u32, into: &mut [u8]) -> Result<(), ()> {
        let from = self.base.get(offset as usize..).and_then(|from| from.get(..into.len()));
        into.copy_from_slice(from.expect("a range inside the base"));
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ()> {
        self.written += bytes.len();
        assert!(self.written <= self.room, "written beyond the slot");
        Ok(())
    }
}

/// Applies a patch whose start is right, whatever follows.
fn try_body(base: &[u8], start: &[u8], body: &[u8], room: usize) -> Result<(), ApplyError<()>> {
    let patch = [start, body].concat();
    let mut slot = Slot { patch: &patch, base, written: 0, room };
    let mut slots = vec![0; 64];
    Applier::new().apply(&mut slot, &mut slots, room as u32).map(|_| ())
}

#[test]
fn each_damaged_byte_is_noticed() {
    let (base, image, patch) = example();
    assert_eq!(apply(&base, &patch).unwrap(), image);
    for at in 0..patch.len() {
        for bit in 0..8 {
            let mut damaged = patch.clone();
            damaged[at] ^= 1 << bit;
            let result = apply(&base, &damaged);
            assert!(result.is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn each_truncation_is_noticed() {
    let (base, _, patch) = example();
    for len in 0..patch.len() {
        assert!(apply(&base, &patch[..len]).is_err(), "{len} of {} bytes", patch.len());
    }
    assert_eq!(apply(&base, &patch[..START - 1]), Err(ApplyError::NotAPatch));
}

#[test]
fn another_base_is_refused_before_anything_is_written() {
    let (mut base, image, patch) = example();
    base[1000] ^= 1;
    assert_eq!(apply(&base, &patch), Err(ApplyError::WrongBase));
    let mut slot = Slot { patch: &patch, base: &base, written: 0, room: image.len() };
    let result = Applier::new().apply(&mut slot, &mut [0; 64], image.len() as u32);
    assert_eq!((result, slot.written), (Err(ApplyError::WrongBase), 0));
    assert_eq!(apply(&base[1..], &patch), Err(ApplyError::WrongBase));
}

#[test]
fn errors_name_the_fact() {
    let check = |error: ApplyError<&str>, text: &str| assert_eq!(error.to_string(), text);
    check(ApplyError::WrongBase, "the patch does not fit its base");
    check(
        ApplyError::TooLong { len: 5, room: 4 },
        "the image has 5 bytes, and there is room for 4",
    );
    check(ApplyError::Io("lost the connection"), "lost the connection");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn made_up_bodies_stay_inside(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let (base, image, patch) = once();
        let _ = try_body(base, &patch[..START], &body, image.len());
    }

    #[test]
    fn mutated_bodies_stay_inside(
        at in START..1000_usize,
        changed in prop::collection::vec(any::<u8>(), 1..6),
    ) {
        let (base, image, patch) = once();
        let mut body = patch[START..].to_vec();
        let at = (at - START) % body.len();
        let end = (at + changed.len()).min(body.len());
        body.splice(at..end, changed);
        let _ = try_body(base, &patch[..START], &body, image.len());
    }
}

fn once() -> &'static (Vec<u8>, Vec<u8>, Vec<u8>) {
    static EXAMPLE: std::sync::OnceLock<(Vec<u8>, Vec<u8>, Vec<u8>)> = std::sync::OnceLock::new();
    EXAMPLE.get_or_init(example)
}
