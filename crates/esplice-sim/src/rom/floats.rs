//! ROM functions for floating-point numbers, for which this CPU has no instructions: arithmetic,
//! comparisons and conversions of the compiler's run-time library (libgcc), for `float` and
//! `double`.
//!
//! Both follow IEEE 754 with rounding to nearest, as Rust does. A NaN result is always the
//! canonical NaN of RISC-V (unprivileged specification, "NaN Generation and Propagation"). The
//! tests compare each function with the ROM's own code.

use std::ops::{Add, Div, Mul, Sub};

use super::{Call, Flow, Hook, Work};

pub(super) const HOOKS: &[(&str, Hook)] = &[
    ("__addsf3", |call| binary::<f32>(call, Add::add)),
    ("__subsf3", |call| binary::<f32>(call, Sub::sub)),
    ("__mulsf3", |call| binary::<f32>(call, Mul::mul)),
    ("__divsf3", |call| binary::<f32>(call, Div::div)),
    ("__adddf3", |call| binary::<f64>(call, Add::add)),
    ("__subdf3", |call| binary::<f64>(call, Sub::sub)),
    ("__muldf3", |call| binary::<f64>(call, Mul::mul)),
    ("__divdf3", |call| binary::<f64>(call, Div::div)),
    ("__negsf2", |call| {
        let bits = call.arg(0);
        call.set_result(bits ^ 1 << 31);
        Flow::default()
    }),
    ("__negdf2", |call| {
        let bits = call.arg64(0);
        call.set_result64(bits ^ 1 << 63);
        Flow::default()
    }),
    ("__eqsf2", |call| compare::<f32>(call, 1, |order| i32::from(order != 0))),
    ("__nesf2", |call| compare::<f32>(call, 1, |order| i32::from(order != 0))),
    ("__gesf2", |call| compare::<f32>(call, -2, |order| order)),
    ("__gtsf2", |call| compare::<f32>(call, -2, |order| order)),
    ("__lesf2", |call| compare::<f32>(call, 2, |order| order)),
    ("__ltsf2", |call| compare::<f32>(call, 2, |order| order)),
    ("__unordsf2", |call| compare::<f32>(call, 1, |_| 0)),
    ("__eqdf2", |call| compare::<f64>(call, 1, |order| i32::from(order != 0))),
    ("__nedf2", |call| compare::<f64>(call, 1, |order| i32::from(order != 0))),
    ("__gedf2", |call| compare::<f64>(call, -2, |order| order)),
    ("__gtdf2", |call| compare::<f64>(call, -2, |order| order)),
    ("__ledf2", |call| compare::<f64>(call, 2, |order| order)),
    ("__ltdf2", |call| compare::<f64>(call, 2, |order| order)),
    ("__unorddf2", |call| compare::<f64>(call, 1, |_| 0)),
    // Widening keeps a NaN's payload and makes it quiet. Narrowing yields the canonical NaN.
    ("__extendsfdf2", |call| {
        let bits = call.arg(0);
        let value = f32::from_bits(bits);
        call.set_result64(if value.is_nan() { widened(bits) } else { f64::from(value).to_bits() });
        Flow::default()
    }),
    ("__truncdfsf2", |call| {
        let bits = call.arg64(0);
        let value = f64::from_bits(bits) as f32;
        call.set_result(value.quiet().to_bits());
        Flow::default()
    }),
    ("__fixsfsi", |call| to_integer::<f32>(call, i32::MIN.into(), i32::MAX.into())),
    ("__fixsfdi", |call| to_integer::<f32>(call, i64::MIN.into(), i64::MAX.into())),
    ("__fixunssfsi", |call| to_integer::<f32>(call, 0, u32::MAX.into())),
    ("__fixunssfdi", |call| to_integer::<f32>(call, 0, u64::MAX.into())),
    ("__fixdfsi", |call| to_integer::<f64>(call, i32::MIN.into(), i32::MAX.into())),
    ("__fixdfdi", |call| to_integer::<f64>(call, i64::MIN.into(), i64::MAX.into())),
    ("__fixunsdfsi", |call| to_integer::<f64>(call, 0, u32::MAX.into())),
    ("__floatsisf", |call| {
        let value = call.arg(0).cast_signed() as f32;
        given(call, value)
    }),
    ("__floatsidf", |call| {
        let value = f64::from(call.arg(0).cast_signed());
        given(call, value)
    }),
    ("__floatunsisf", |call| {
        let value = call.arg(0) as f32;
        given(call, value)
    }),
    ("__floatunsidf", |call| {
        let value = f64::from(call.arg(0));
        given(call, value)
    }),
    ("__floatdisf", |call| {
        let value = call.arg64(0).cast_signed() as f32;
        given(call, value)
    }),
    ("__floatdidf", |call| {
        let value = call.arg64(0).cast_signed() as f64;
        given(call, value)
    }),
    ("__floatundisf", |call| {
        let value = call.arg64(0) as f32;
        given(call, value)
    }),
    ("__floatundidf", |call| {
        let value = call.arg64(0) as f64;
        given(call, value)
    }),
    ("__powisf2", |call| power::<f32>(call)),
    ("__powidf2", |call| power::<f64>(call)),
];

/// A floating-point number passed in registers.
pub(super) trait Float:
    Copy
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
{
    /// Number of registers it takes.
    const WORDS: usize;
    const ZERO: Self;
    const ONE: Self;
    const INFINITY: Self;

    /// Takes argument `number` of this type, where the first such argument is in register `first`.
    fn take(call: &mut Call<'_>, first: usize, number: usize) -> Self;
    fn give(self, call: &mut Call<'_>);
    /// Returns the value, or the canonical NaN for any NaN.
    fn quiet(self) -> Self;
    fn is_nan(self) -> bool;
    fn is_negative(self) -> bool;
    fn abs(self) -> Self;
    fn copysign(self, sign: Self) -> Self;
    fn to_i128(self) -> i128;
}

macro_rules! float {
    ($float:ident, $words:literal, $nan:literal, $arg:ident, $give:ident) => {
        impl Float for $float {
            const WORDS: usize = $words;
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const INFINITY: Self = $float::INFINITY;

            fn take(call: &mut Call<'_>, first: usize, number: usize) -> Self {
                $float::from_bits(call.$arg(first + number * $words))
            }
            fn give(self, call: &mut Call<'_>) {
                call.$give(self.to_bits());
            }
            fn quiet(self) -> Self {
                if self.is_nan() { $float::from_bits($nan) } else { self }
            }
            fn is_nan(self) -> bool {
                $float::is_nan(self)
            }
            fn is_negative(self) -> bool {
                self.is_sign_negative()
            }
            fn abs(self) -> Self {
                $float::abs(self)
            }
            fn copysign(self, sign: Self) -> Self {
                $float::copysign(self, sign)
            }
            fn to_i128(self) -> i128 {
                self as i128
            }
        }
    };
}

float!(f32, 1, 0x7fc0_0000, arg, set_result);
float!(f64, 2, 0x7ff8_0000_0000_0000, arg64, set_result64);

fn given<F: Float>(call: &mut Call<'_>, value: F) -> Flow {
    value.give(call);
    Flow::default()
}

fn binary<F: Float>(call: &mut Call<'_>, operation: fn(F, F) -> F) -> Flow {
    let (a, b) = (F::take(call, 0, 0), F::take(call, 0, 1));
    given(call, operation(a, b).quiet())
}

/// Compares two numbers. `order` converts -1, 0 or 1 to the result; `unordered` is the result if
/// one is a NaN.
fn compare<F: Float>(call: &mut Call<'_>, unordered: i32, order: fn(i32) -> i32) -> Flow {
    let (a, b) = (F::take(call, 0, 0), F::take(call, 0, 1));
    let result = a.partial_cmp(&b).map_or(unordered, |ordering| order(ordering as i32));
    call.set_result(result.cast_unsigned());
    Flow::default()
}

/// Converts to an integer, rounding towards zero and saturating. A NaN counts as an infinity of its
/// sign.
fn to_integer<F: Float>(call: &mut Call<'_>, least: i128, most: i128) -> Flow {
    let value = F::take(call, 0, 0);
    let integer = match value.is_nan() {
        true if value.is_negative() => least,
        true => most,
        false => value.to_i128().clamp(least, most),
    };
    // All results fit into 64 bits, whose lower half is the 32-bit result.
    if most > u32::MAX.into() || least < i32::MIN.into() {
        call.set_result64(integer as u64);
    } else {
        call.set_result(integer as u32);
    }
    Flow::default()
}

/// Raises to a power by squaring and multiplying; a negative exponent inverts the result.
fn power<F: Float>(call: &mut Call<'_>) -> Flow {
    let mut base = F::take(call, 0, 0);
    let exponent = call.arg(F::WORDS).cast_signed();
    let mut rest = exponent.unsigned_abs();
    let mut result = if rest & 1 != 0 { base } else { F::ONE };
    let mut products = 0;
    while rest > 1 {
        rest >>= 1;
        base = base * base;
        products += 1;
        if rest & 1 != 0 {
            result = result * base;
            products += 1;
        }
    }
    let negative = exponent < 0;
    if negative {
        result = F::ONE / result;
    }
    // A value that was not computed with is returned unchanged.
    let value = if negative || products > 0 { result.quiet() } else { result };
    value.give(call);
    Flow::doing(Work::of("product", products).and("inverse", negative.into()))
}

/// Widens a 32-bit NaN to 64 bits.
fn widened(bits: u32) -> u64 {
    let sign = u64::from(bits >> 31) << 63;
    let fraction = u64::from(bits & 0x7f_ffff) << 29;
    sign | 0x7ff8_0000_0000_0000 | fraction
}
