//! Any pair of images makes a patch that is applied to the same bytes.

use std::time::Instant;

use esplice_delta::{Applier, ApplyError, Info, Io, Isa, MAX_OPERATIONS, PatchKind, apply, diff};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::program::{Item, Machine, Program};

const ISAS: [Isa; 3] = [Isa::Unknown, Isa::RiscV, Isa::Xtensa];

#[track_caller]
fn check(base: &[u8], image: &[u8], isa: Isa) -> usize {
    let patch = diff(base, image, isa).unwrap();
    assert!(patch.operations <= MAX_OPERATIONS);
    assert_eq!(patch.bytes, diff(base, image, isa).unwrap().bytes, "patches are reproducible");
    let info = Info::parse(&patch.bytes).unwrap();
    assert_eq!(info.image_len as usize, image.len());
    // A whole image needs no base, and fits any.
    let needed = if info.base_len == 0 { &[][..] } else { base };
    assert!(apply(needed, &patch.bytes).unwrap() == image);
    patch.bytes.len()
}

/// Edits of an image: place, bytes removed, and bytes inserted.
fn edits() -> impl Strategy<Value = Vec<(usize, usize, Vec<u8>)>> {
    let edit = (any::<usize>(), 0..40_usize, prop::collection::vec(any::<u8>(), 0..40));
    prop::collection::vec(edit, 0..12)
}

fn edited(image: &[u8], edits: &[(usize, usize, Vec<u8>)]) -> Vec<u8> {
    let mut image = image.to_vec();
    for (at, removed, inserted) in edits {
        let at = at % (image.len() + 1);
        let end = (at + removed).min(image.len());
        image.splice(at..end, inserted.iter().copied());
    }
    image
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn edited_bytes_come_back(
        base in prop::collection::vec(any::<u8>(), 0..3000),
        edits in edits(),
    ) {
        let image = edited(&base, &edits);
        for isa in ISAS {
            check(&base, &image, isa);
        }
    }

    #[test]
    fn unrelated_bytes_come_back(
        base in prop::collection::vec(0..4_u8, 0..600),
        image in prop::collection::vec(0..4_u8, 0..600),
    ) {
        for isa in ISAS {
            check(&base, &image, isa);
        }
    }

    /// Instructions are copied from any place to any place, also where they are cut in two.
    #[test]
    fn edited_programs_come_back(edits in edits(), functions in 1..60_usize) {
        for (machine, isa) in [(Machine::RiscV, Isa::RiscV), (Machine::Xtensa, Isa::Xtensa)] {
            let base = Program::drawn(functions).link(machine);
            // The headers of the segments stay readable, so that references are looked for.
            let image = [&base[..32], &edited(&base[32..], &edits)].concat();
            check(&base, &image, isa);
        }
    }

    #[test]
    fn code_of_random_bytes_comes_back(
        code in prop::collection::vec(any::<u8>(), 4..2000),
        edits in edits(),
    ) {
        // Enough returns to be taken for code.
        let code: Vec<u8> = code.chunks(40).flat_map(|c| [c, &[0x82, 0x80, 0x1d, 0xf0]].concat()).collect();
        let image = |code: &[u8]| {
            let mut image = vec![0xe9, 1];
            image.resize(24, 0);
            image.extend(0x4200_0020_u32.to_le_bytes());
            image.extend((code.len() as u32).to_le_bytes());
            image.extend(code);
            image
        };
        for isa in ISAS {
            check(&image(&code), &image(&edited(&code, &edits)), isa);
        }
    }
}

#[test]
fn empty_and_equal_images_come_back() {
    let image = Program::drawn(100).link(Machine::RiscV);
    for isa in ISAS {
        check(&[], &[], isa);
        check(&image, &[], isa);
        check(&[], &image, isa);
        assert!(check(&image, &image, isa) < 60);
    }
}

#[test]
fn an_appended_hash_is_computed() {
    let with_hash = |mut image: Vec<u8>| {
        let hash = Sha256::digest(&image);
        image.extend_from_slice(&hash);
        image
    };
    let base = Program::drawn(200);
    let mut image = base.clone();
    image.functions[9].insert(0, Item::Plain(3));
    let [base, image] = [base, image].map(|program| program.link(Machine::RiscV));
    let without = check(&base, &image, Isa::RiscV);
    let with = check(&with_hash(base), &with_hash(image), Isa::RiscV);
    assert!(with <= without + 8, "{with} {without}");
}

/// More than 60 % of the image: the image itself is better.
#[test]
fn unrelated_images_become_whole_ones() {
    let base = vec![0xaa; 4000];
    let mut seed = 1_u32;
    let image: Vec<u8> = (0..4000)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        })
        .collect();
    let patch = diff(&base, &image, Isa::Unknown).unwrap();
    assert_eq!((patch.kind, patch.operations), (PatchKind::Whole, 0));
    assert_eq!(Info::parse(&patch.bytes).unwrap().base_len, 0);
    assert_eq!(apply(&[], &patch.bytes).unwrap(), image);
    assert_eq!(apply(&base, &patch.bytes).unwrap(), image, "the base does not matter");
}

/// Thousands of changes: the operations stay below the limit.
#[test]
fn operations_are_limited() {
    let mut seed = 5_u32;
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) as u8
    };
    let base: Vec<u8> = (0..300_000).map(|_| next()).collect();
    // Pieces of 40 bytes in reverse order: each needs an operation.
    let image: Vec<u8> = base.chunks(40).rev().flatten().copied().collect();
    let patch = diff(&base, &image, Isa::Unknown).unwrap();
    assert!(patch.operations <= MAX_OPERATIONS, "{}", patch.operations);
    assert_eq!(patch.kind, PatchKind::Delta);
    assert_eq!(apply(&base, &patch.bytes).unwrap(), image);
    check(&base, &image, Isa::Unknown);
}

/// Repetitive images are where naive matching takes quadratic time.
#[test]
#[expect(clippy::disallowed_methods, reason = "the encoder's own time on the host")]
fn repetitive_images_take_seconds() {
    let start = Instant::now();
    let base = vec![0xff; 1_500_000];
    let mut image = base.clone();
    for at in (0..image.len()).step_by(10_007) {
        image[at] = at as u8;
    }
    for (from, to) in [(&base, &image), (&image, &base)] {
        let patch = diff(from, to, Isa::RiscV).unwrap();
        assert!(patch.bytes.len() < 2000, "{}", patch.bytes.len());
    }
    let pattern: Vec<u8> = (0..1_500_000_u32).map(|n| (n % 252) as u8).collect();
    let shifted: Vec<u8> = (0..1_500_000_u32).map(|n| (n % 255) as u8).collect();
    diff(&pattern, &shifted, Isa::RiscV).unwrap();
    let seconds = start.elapsed().as_secs();
    assert!(seconds < 30, "three pairs of 1.5 MB took {seconds} s");
}

/// A device that counts.
struct Device<'a> {
    patch: &'a [u8],
    /// Bytes of the patch that arrive at once.
    piece: usize,
    base: &'a [u8],
    written: Vec<u8>,
}

impl Io for Device<'_> {
    type Error = &'static str;

    fn read_patch(&mut self, into: &mut [u8]) -> Result<usize, Self::Error> {
        let len = self.piece.min(into.len()).min(self.patch.len());
        into[..len].copy_from_slice(&self.patch[..len]);
        self.patch = &self.patch[len..];
        Ok(len)
    }

    fn read_base(&mut self, offset: u32, into: &mut [u8]) -> Result<(), Self::Error> {
        let from = offset as usize;
        into.copy_from_slice(self.base.get(from..from + into.len()).ok_or("beyond the base")?);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
        self.written.extend_from_slice(bytes);
        Ok(())
    }
}

#[test]
fn a_device_needs_little_memory() {
    assert!(size_of::<Applier>() + 512 <= 12 * 1024, "{} bytes", size_of::<Applier>());
    let base = Program::drawn(300).link(Machine::RiscV);
    let mut image = base.clone();
    image.splice(900..900, *b"four");
    image.splice(5000..5004, []);
    let patch = diff(&base, &image, Isa::RiscV).unwrap();
    let mut slots = vec![0; patch.operations];
    let mut applier = Applier::new();
    let room = image.len() as u32;
    for piece in [1, 7, 1000] {
        let mut device = Device { patch: &patch.bytes, piece, base: &base, written: Vec::new() };
        applier.apply(&mut device, &mut slots, room).unwrap();
        assert_eq!(device.written, image);
    }
    let mut refused = |slots: &mut [u64], room: u32| {
        let mut device = Device { patch: &patch.bytes, piece: 9, base: &base, written: Vec::new() };
        let error = applier.apply(&mut device, slots, room).unwrap_err();
        assert_eq!(device.written, b"");
        error
    };
    let len = image.len() as u32;
    assert_eq!(refused(&mut slots, len - 1), ApplyError::TooLong { len, room: len - 1 });
    let (count, room) = (patch.operations as u32, patch.operations as u32 - 1);
    let few = &mut slots[1..];
    assert_eq!(refused(few, len), ApplyError::TooManyOperations { count, room });
}
