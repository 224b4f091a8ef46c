//! Tests of the NOR flash chip: the effect and duration of each operation, refused operations, and
//! that its file always has the same contents.

use std::{fs, path::Path, time::Duration};

use esplice_chip::{ChipDb, Flash};
use esplice_sim::{
    SimError,
    nor::{FILE_SIZES, Nor, NorError},
};
use proptest::prelude::*;

const MIB: u32 = 1 << 20;

fn timing() -> &'static Flash {
    &ChipDb::embedded().find("esp32c3").unwrap().sim.as_ref().unwrap().flash
}

#[derive(Debug, Clone)]
enum Op {
    Program(u32, Vec<u8>),
    Page(u32, Vec<u8>),
    Sector(u32),
    Block32(u32),
    Block64(u32),
    Chip,
}

impl Op {
    fn run(&self, nor: &mut Nor) -> Result<Duration, NorError> {
        match self {
            Op::Program(at, data) => nor.program(*at, data),
            Op::Page(at, data) => nor.program_page(*at, data),
            Op::Sector(at) => nor.erase_sector(*at),
            Op::Block32(at) => nor.erase_block32k(*at),
            Op::Block64(at) => nor.erase_block(*at),
            Op::Chip => nor.erase_chip(),
        }
    }
}

/// Runs `ops` on a blank chip with a file. Then the bytes at `at` must be `expected`, also in the
/// file, and the last operation must have taken `micros`.
#[track_caller]
fn check(ops: &[Op], at: u32, expected: &[u8], micros: f64) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("flash");
    let mut nor = Nor::open(&path, MIB, timing()).unwrap();
    let mut busy = Duration::ZERO;
    for op in ops {
        busy = op.run(&mut nor).unwrap();
    }
    assert_eq!(nor.read(at, expected.len() as u32).unwrap(), expected);
    assert_eq!(fs::read(&path).unwrap(), nor.bytes(), "the file differs");
    assert_eq!(busy.as_nanos() as f64, micros * 1000.0);
}

use Op::*;

#[test]
fn operations() {
    let seq: Vec<u8> = (0..=255).collect();
    // Program clears bits and never sets one.
    check(&[Program(0x10, vec![0xf0])], 0x0f, &[0xff, 0xf0, 0xff], 30.0);
    check(&[Program(0x10, vec![0xf0]), Program(0x10, vec![0x3c])], 0x10, &[0x30], 30.0);
    check(&[Program(0x10, vec![0x00]), Program(0x10, vec![0xff])], 0x10, &[0x00], 30.0);
    check(&[Program(0, vec![1, 2, 3])], 0, &[1, 2, 3, 0xff], 35.0);
    check(&[Program(0, vec![])], 0, &[0xff], 0.0);
    // A long program is split into pages, each charged for its first byte.
    check(&[Program(0xfe, vec![1, 2, 3])], 0xfe, &[1, 2, 3, 0xff], 30.0 + 2.5 + 30.0);
    check(&[Program(0, [&seq[..], &seq[..]].concat())], 0xff, &[0xff, 0x00, 0x01], 1335.0);
    // A page program wraps within its page, and only its last 256 bytes count.
    check(&[Page(0x1fe, vec![1, 2, 3])], 0x1fe, &[1, 2, 0xff], 35.0);
    check(&[Page(0x1fe, vec![1, 2, 3])], 0x100, &[3, 0xff], 35.0);
    check(&[Page(0x100, [&[9, 8][..], &seq[2..], &[7][..]].concat())], 0x100, &[7, 8, 2], 667.5);
    // An erase clears the whole unit that contains the offset, and nothing outside it.
    let dirty = Program(0xffff, vec![0; 0x1_0002]);
    check(&[dirty.clone(), Sector(0x1_0fff)], 0xfffe, &[0xff, 0, 0xff], 45_000.0);
    check(&[dirty.clone(), Sector(0x1_0000)], 0x1_0fff, &[0xff, 0], 45_000.0);
    check(&[dirty.clone(), Block32(0x1_7abc)], 0xffff, &[0, 0xff], 120_000.0);
    check(&[dirty.clone(), Block32(0x1_7abc)], 0x1_7fff, &[0xff, 0], 120_000.0);
    check(&[dirty.clone(), Block64(0x1_7abc)], 0x1_ffff, &[0xff, 0], 150_000.0);
    check(&[dirty.clone(), Block64(0x1_7abc)], 0xffff, &[0, 0xff], 150_000.0);
    check(&[dirty, Chip], 0xffff, &[0xff; 0x1_0002], 10_000_000.0);
    check(&[Program(MIB - 1, vec![5])], MIB - 1, &[5], 30.0);
}

#[test]
fn past_the_end_is_an_error_with_its_numbers() {
    for op in [
        Program(MIB, vec![0]),
        Program(MIB - 1, vec![0, 0]),
        Program(u32::MAX, vec![0; 600]),
        Page(MIB, vec![0]),
        Page(u32::MAX, vec![0]),
        Sector(MIB),
        Sector(u32::MAX),
        Block32(MIB),
        Block64(u32::MAX),
    ] {
        let mut nor = Nor::in_memory(MIB, timing());
        let told = op.run(&mut nor).expect_err("must be refused").to_string();
        assert!(told.contains("of 1048576 bytes"), "{told}");
        assert!(nor.bytes().iter().all(|byte| *byte == 0xff));
        assert_eq!(nor.generation(), 0);
    }
    let nor = Nor::in_memory(MIB, timing());
    assert!(nor.read(MIB - 1, 2).is_err());
    assert!(nor.read(u32::MAX, u32::MAX).is_err());
    assert_eq!(nor.read(MIB, 0).unwrap(), b"");
}

#[test]
fn the_second_opener_is_told_which_file_is_busy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.flash");
    let first = Nor::open(&path, MIB, timing()).unwrap();
    let second = Nor::open(&path, MIB, timing()).unwrap_err();
    assert!(matches!(&second, SimError::FlashBusy { path: busy } if *busy == path), "{second:?}");
    assert!(second.to_string().contains("board.flash"));
    drop(first);
    Nor::open(&path, MIB, timing()).unwrap();
}

#[test]
fn the_file_decides_the_size() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("flash");
    let default = timing().size();
    let nor = Nor::open(&path, default, timing()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), vec![0xff; default as usize]);
    assert_eq!(nor.jedec(), [0xef, 0x40, 0x16]);
    drop(nor);
    for (size, capacity) in FILE_SIZES.into_iter().zip(0x14..) {
        fs::write(&path, vec![0xa5; size as usize]).unwrap();
        let nor = Nor::open(&path, default, timing()).unwrap();
        assert_eq!((nor.size(), nor.jedec()), (size, [0xef, 0x40, capacity]));
    }
    // An empty file, as made by mktemp, is filled.
    fs::write(&path, b"").unwrap();
    assert_eq!(Nor::open(&path, default, timing()).unwrap().size(), default);
    for len in [1_u32, MIB - 1, MIB + 1, 3 * MIB, 32 * MIB] {
        let file = fs::File::create(&path).unwrap();
        file.set_len(len.into()).unwrap();
        drop(file);
        let error = Nor::open(&path, default, timing()).unwrap_err();
        assert!(error.to_string().contains(&format!("has {len} bytes")), "{error}");
        assert!(error.hint().unwrap().contains("1, 2, 4, 8 or 16 MiB"));
        assert_eq!(
            fs::metadata(&path).unwrap().len(),
            u64::from(len),
            "a refused file is unchanged"
        );
    }
}

#[test]
fn unusable_paths_are_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), b"").unwrap();
    for path in [dir.path().to_owned(), dir.path().join("file/below")] {
        let error = Nor::open(&path, MIB, timing()).unwrap_err();
        assert!(matches!(error, SimError::FlashFile { .. }), "{error:?}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
    if cfg!(target_os = "linux") {
        let error = Nor::open(Path::new("/dev/null"), MIB, timing()).unwrap_err();
        assert!(error.to_string().ends_with("is not a regular file"), "{error}");
    }
}

/// A flash is interrupted half-way. The next complete one must repair it.
#[test]
fn a_torn_write_is_repaired_by_a_second_one() {
    let image: Vec<u8> = (0..0x5000_u32).map(|i| (i * 7) as u8).collect();
    let write = |nor: &mut Nor| -> Result<(), NorError> {
        for sector in 0..5 {
            nor.erase_sector(sector * 0x1000)?;
        }
        nor.program(0, &image).map(drop)
    };
    for cut in [0, 1, 4, 5, 6, 20, 84] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("flash");
        let mut nor = Nor::open(&path, MIB, timing()).unwrap();
        nor.program(0, &[0x11; 0x5000]).unwrap();
        nor.cut_power_after(Some(cut));
        assert!(matches!(write(&mut nor), Err(NorError::NoPower)), "cut after {cut}");
        assert!(matches!(nor.erase_chip(), Err(NorError::NoPower)), "power stays away");
        drop(nor);
        let mut nor = Nor::open(&path, MIB, timing()).unwrap();
        assert_ne!(&nor.bytes()[..image.len()], image);
        write(&mut nor).unwrap();
        drop(nor);
        assert_eq!(fs::read(&path).unwrap()[..image.len()], image);
    }
}

fn any_op() -> impl Strategy<Value = Op> {
    let place = prop_oneof![0..MIB + 0x2000, any::<u32>()];
    let data = proptest::collection::vec(any::<u8>(), 0..700);
    prop_oneof![
        (place.clone(), data.clone()).prop_map(|(at, data)| Program(at, data)),
        (place.clone(), data).prop_map(|(at, data)| Page(at, data)),
        place.clone().prop_map(Sector),
        place.clone().prop_map(Block32),
        place.prop_map(Block64),
        Just(Chip),
    ]
}

proptest! {
    /// Nothing panics, a refused operation changes nothing, a program only clears bits, an erase
    /// leaves ones, and each change increases the generation.
    #[test]
    fn any_operations_keep_the_laws(ops in proptest::collection::vec(any_op(), 1..12)) {
        let mut nor = Nor::in_memory(MIB, timing());
        for op in ops {
            let (before, generation) = (nor.bytes().to_vec(), nor.generation());
            let done = op.run(&mut nor);
            let changed = before != nor.bytes();
            if done.is_err() { prop_assert!(!changed); }
            if changed { prop_assert!(nor.generation() > generation); }
            match op {
                Program(..) | Page(..) => {
                    prop_assert!(before.iter().zip(nor.bytes()).all(|(old, new)| new & !old == 0));
                }
                _ => prop_assert!(
                    before.iter().zip(nor.bytes()).all(|(old, new)| new == old || *new == 0xff)
                ),
            }
        }
    }
}
