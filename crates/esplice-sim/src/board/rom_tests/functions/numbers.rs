//! Tests of 64-bit integers, floating-point and complex numbers: edge cases, each combined with
//! each, and random operands.

use super::{Bench, NONE, ONE, OTHER, RAM, RETURN, ROUNDS, TWO};

const FLOATS: [u32; 30] = [
    0x0000_0000, // Zeros and denormals.
    0x8000_0000,
    0x0000_0001,
    0x8000_0001,
    0x007f_ffff,
    0x0040_0000,
    0x0080_0000, // The smallest normal number, and the next.
    0x8080_0001,
    0x3f80_0000, // 1, -1, 2, 0.5, 1.5, -0.75.
    0xbf80_0000,
    0x4000_0000,
    0x3f00_0000,
    0x3fc0_0000,
    0xbf40_0000,
    0x3f80_0001,
    0x3f7f_ffff,
    0x4b80_0000, // 2^24, 2^31 - 128, 2^31, -2^31, 2^32, -2^63 and 2^64.
    0x4eff_ffff,
    0x4f00_0000,
    0xcf00_0000,
    0x4f80_0000,
    0xdf00_0000,
    0x5f80_0000,
    0x7f7f_ffff, // The largest finite numbers.
    0xff7f_ffff,
    0x7f80_0000, // Infinities and NaNs.
    0xff80_0000,
    0x7fc0_0000,
    0xffc1_2345,
    0x7f80_0001,
];

const DOUBLES: [u64; 32] = [
    0x0000_0000_0000_0000,
    0x8000_0000_0000_0000,
    0x0000_0000_0000_0001,
    0x8000_0000_0000_0001,
    0x000f_ffff_ffff_ffff,
    0x0008_0000_0000_0000,
    0x0010_0000_0000_0000,
    0x8010_0000_0000_0001,
    0x3ff0_0000_0000_0000,
    0xbff0_0000_0000_0000,
    0x4000_0000_0000_0000,
    0x3fe0_0000_0000_0000,
    0x3ff8_0000_0000_0000,
    0xbfe8_0000_0000_0000,
    0x3ff0_0000_0000_0001,
    0x3fef_ffff_ffff_ffff,
    0x3690_0000_0000_0000, // Halfway to the smallest float, and halfway beyond the largest.
    0x47ef_ffff_f000_0000,
    0x4340_0000_0000_0000, // 2^53, and numbers at and near the limits of integers.
    0x41df_ffff_ffe0_0000,
    0x41e0_0000_0000_0000,
    0xc1e0_0000_0000_0000,
    0x41ef_ffff_ffff_ffff,
    0x43e0_0000_0000_0000,
    0xc3e0_0000_0000_0000,
    0x43f0_0000_0000_0000,
    0x7fef_ffff_ffff_ffff,
    0x7ff0_0000_0000_0000,
    0xfff0_0000_0000_0000,
    0x7ff8_0000_0000_0000,
    0xfff8_1234_5678_9abc,
    0x7ff0_0000_0000_0001,
];

const INTEGERS: [u64; 16] = [
    0,
    1,
    2,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x0020_0000_0000_0001,
    0x00ff_ffff_ffff_ffff,
    0x0100_0001_0000_0001,
    0x7fff_ffff_ffff_fc00,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_0000_0000,
    0xffff_ffff_8000_0000,
    0xffff_ffff_ffff_ffff,
];

const ARITHMETIC: [&str; 4] = ["add", "sub", "mul", "div"];
const COMPARISONS: [&str; 7] = ["eq", "ne", "ge", "gt", "le", "lt", "unord"];

pub(super) fn all(bench: &mut Bench) {
    bits(bench);
    division(bench);
    overflow(bench);
    floats(bench);
    doubles(bench);
    conversions(bench);
    powers(bench);
    complex(bench);
}

fn words(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

/// Returns the special integers and random ones.
fn integers(bench: &mut Bench) -> Vec<u64> {
    let random = (0..ROUNDS).map(|_| {
        let high = bench.random.number();
        u64::from(high) << 32 | u64::from(bench.random.word())
    });
    INTEGERS.into_iter().chain(random.collect::<Vec<_>>()).collect()
}

fn bits(bench: &mut Bench) {
    for value in integers(bench) {
        let [low, high] = words(value);
        for name in ["__bswapdi2", "__negdi2"] {
            bench.compute(name, &[low, high], TWO);
        }
        for name in ["__clrsbdi2", "__ffsdi2", "__popcountdi2"] {
            bench.compute(name, &[low, high], ONE);
        }
        if value != 0 {
            bench.compute("__clzdi2", &[low, high], ONE);
            bench.compute("__ctzdi2", &[low, high], ONE);
        }
        for name in ["__clrsbsi2", "__ffssi2", "__paritysi2"] {
            bench.compute(name, &[low], ONE);
        }
        for other in INTEGERS {
            let [c, d] = words(other);
            bench.compute("__cmpdi2", &[low, high, c, d], ONE);
            bench.compute("__ucmpdi2", &[low, high, c, d], ONE);
        }
    }
    bench.compute("__udiv_w_sdiv", &[1, 2, 3, 4], ONE);
    bench.compute("__clear_cache", &[RAM, RAM + 64], NONE);
    for len in [0, 1, 7, 64] {
        let same = bench.random.bytes(64);
        bench.put(RAM, &same);
        bench.put(OTHER, &same);
        bench.compute("__gcc_bcmp", &[RAM, OTHER, len], ONE);
        bench.put(OTHER + len / 2, &[0x80]);
        bench.compute("__gcc_bcmp", &[RAM, OTHER, len], ONE);
    }
}

fn division(bench: &mut Bench) {
    for value in integers(bench) {
        for other in INTEGERS {
            let ([a, b], [c, d]) = (words(value), words(other));
            for name in ["__udivsi3", "__umodsi3", "__divsi3", "__modsi3", "__mulsi3"] {
                bench.compute(name, &[a, c], ONE);
            }
            bench.compute("__udivmoddi4", &[a, b, c, d, 0], TWO);
        }
    }
    for value in INTEGERS {
        let [a, b] = words(value);
        bench.call("__udivmoddi4", &[a, b, 10, 0, OTHER], TWO);
    }
}

/// Tests functions that call the program's `abort` on overflow.
fn overflow(bench: &mut Bench) {
    // The program's table of system calls, with only this entry filled.
    let table = bench.hooked.table.data("syscall_table_ptr").unwrap();
    bench.words(table, &[OTHER]);
    bench.words(OTHER + 0x14, &[RETURN]);
    for value in integers(bench) {
        let [low, high] = words(value);
        let (narrow, wide) = (low.cast_signed(), value.cast_signed());
        for (name, result) in
            [("__absvsi2", narrow.checked_abs()), ("__negvsi2", narrow.checked_neg())]
        {
            bench.compute(name, &[low], if result.is_some() { ONE } else { NONE });
        }
        for (name, result) in [("__absvdi2", wide.checked_abs()), ("__negvdi2", wide.checked_neg())]
        {
            bench.compute(name, &[low, high], if result.is_some() { TWO } else { NONE });
        }
        for other in INTEGERS {
            let [c, d] = words(other);
            let (small, large) = (c.cast_signed(), other.cast_signed());
            for (name, result) in [
                ("__addvsi3", narrow.checked_add(small)),
                ("__subvsi3", narrow.checked_sub(small)),
                ("__mulvsi3", narrow.checked_mul(small)),
            ] {
                bench.compute(name, &[low, c], if result.is_some() { ONE } else { NONE });
            }
            for (name, result) in [
                ("__addvdi3", wide.checked_add(large)),
                ("__subvdi3", wide.checked_sub(large)),
                ("__mulvdi3", wide.checked_mul(large)),
            ] {
                let results = if result.is_some() { TWO } else { NONE };
                bench.compute(name, &[low, high, c, d], results);
            }
        }
    }
}

/// Returns any bits, or numbers of similar magnitude.
fn float(bench: &mut Bench) -> u32 {
    match bench.any(3) {
        0 => bench.random.word(),
        _ => bench.random.word() & 0x81ff_ffff | 0x3e00_0000,
    }
}

fn double(bench: &mut Bench) -> u64 {
    let (low, high) = (bench.random.word(), bench.random.word());
    let high = if bench.any(3) == 0 { high } else { high & 0x803f_ffff | 0x3fc0_0000 };
    u64::from(high) << 32 | u64::from(low)
}

fn floats(bench: &mut Bench) {
    let mut pairs: Vec<_> = FLOATS.into_iter().flat_map(|a| FLOATS.map(|b| (a, b))).collect();
    for _ in 0..20 * ROUNDS {
        pairs.push((float(bench), float(bench)));
    }
    for (a, b) in pairs {
        for name in ARITHMETIC {
            bench.compute(&format!("__{name}sf3"), &[a, b], ONE);
        }
        for name in COMPARISONS {
            bench.compute(&format!("__{name}sf2"), &[a, b], ONE);
        }
    }
}

fn doubles(bench: &mut Bench) {
    let mut pairs: Vec<_> = DOUBLES.into_iter().flat_map(|a| DOUBLES.map(|b| (a, b))).collect();
    for _ in 0..20 * ROUNDS {
        pairs.push((double(bench), double(bench)));
    }
    for (a, b) in pairs {
        let ([a, b], [c, d]) = (words(a), words(b));
        for name in ARITHMETIC {
            bench.compute(&format!("__{name}df3"), &[a, b, c, d], TWO);
        }
        for name in COMPARISONS {
            bench.compute(&format!("__{name}df2"), &[a, b, c, d], ONE);
        }
    }
}

fn conversions(bench: &mut Bench) {
    let random: Vec<u32> = (0..20 * ROUNDS).map(|_| float(bench)).collect();
    for value in FLOATS.into_iter().chain(random) {
        for name in ["__fixsfsi", "__fixunssfsi", "__negsf2"] {
            bench.compute(name, &[value], ONE);
        }
        for name in ["__fixsfdi", "__fixunssfdi", "__extendsfdf2"] {
            bench.compute(name, &[value], TWO);
        }
        // Numbers with an integer part.
        let large = value & 0x80ff_ffff | (127 + bench.any(70)) << 23;
        for name in ["__fixsfsi", "__fixunssfsi"] {
            bench.compute(name, &[large], ONE);
        }
        for name in ["__fixsfdi", "__fixunssfdi"] {
            bench.compute(name, &[large], TWO);
        }
    }
    let random: Vec<u64> = (0..20 * ROUNDS).map(|_| double(bench)).collect();
    for value in DOUBLES.into_iter().chain(random) {
        let [low, high] = words(value);
        for name in ["__fixdfsi", "__fixunsdfsi", "__truncdfsf2"] {
            bench.compute(name, &[low, high], ONE);
        }
        for name in ["__fixdfdi", "__negdf2"] {
            bench.compute(name, &[low, high], TWO);
        }
        let large = high & 0x800f_ffff | (1023 + bench.any(70)) << 20;
        for name in ["__fixdfsi", "__fixunsdfsi"] {
            bench.compute(name, &[low, large], ONE);
        }
        bench.compute("__fixdfdi", &[low, large], TWO);
        // Around the smallest and the largest float.
        for exponent in [1023 - 150, 1023 - 140, 1023 - 127, 1023 + 127] {
            let high = high & 0x800f_ffff | (exponent + bench.any(2)) << 20;
            bench.compute("__truncdfsf2", &[low, high], ONE);
        }
    }
    let random: Vec<u64> = (0..4 * ROUNDS).flat_map(|_| integers(bench)).collect();
    for value in random {
        let [low, high] = words(value);
        for name in ["__floatsisf", "__floatunsisf"] {
            bench.compute(name, &[low], ONE);
        }
        for name in ["__floatsidf", "__floatunsidf"] {
            bench.compute(name, &[low], TWO);
        }
        for name in ["__floatdisf", "__floatundisf"] {
            bench.compute(name, &[low, high], ONE);
        }
        for name in ["__floatdidf", "__floatundidf"] {
            bench.compute(name, &[low, high], TWO);
        }
    }
}

fn powers(bench: &mut Bench) {
    for _ in 0..ROUNDS {
        for exponent in [0, 1, 2, 3, 7, 10, 100, u32::MAX, u32::MAX - 4, 1 << 31] {
            let value = float(bench);
            bench.compute("__powisf2", &[value, exponent], ONE);
            let [low, high] = words(double(bench));
            bench.compute("__powidf2", &[low, high, exponent], TWO);
        }
    }
    for exponent in [0, 1, 5, u32::MAX] {
        for value in FLOATS {
            bench.compute("__powisf2", &[value, exponent], ONE);
        }
        for value in DOUBLES {
            let [low, high] = words(value);
            bench.compute("__powidf2", &[low, high, exponent], TWO);
        }
    }
}

fn complex(bench: &mut Bench) {
    for round in 0..40 * ROUNDS {
        let special = |bench: &mut Bench| round % 2 == 0 || bench.any(3) == 0;
        let parts = [(); 4].map(|()| match special(bench) {
            true => FLOATS[bench.any(FLOATS.len() as u32) as usize],
            false => float(bench),
        });
        bench.compute("__mulsc3", &parts, TWO);
        bench.compute("__divsc3", &parts, TWO);
        let parts = [(); 4].map(|()| match special(bench) {
            true => DOUBLES[bench.any(DOUBLES.len() as u32) as usize],
            false => double(bench),
        });
        let arguments: Vec<u32> =
            [OTHER].into_iter().chain(parts.into_iter().flat_map(words)).collect();
        for name in ["__muldc3", "__divdc3"] {
            bench.compute(name, &arguments, NONE);
            let results = [&mut bench.hooked, &mut bench.real].map(|board| {
                let mut bytes = [0; 16];
                board.soc.fabric.memory.read(OTHER, &mut bytes, &[]);
                bytes
            });
            if results[0] != results[1] {
                let [one, other] = results;
                bench.different.push(format!("{name}{parts:x?}: {one:x?} instead of {other:x?}"));
            }
        }
    }
}
