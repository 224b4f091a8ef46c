//! ROM functions that multiply and divide complex numbers, from the compiler's run-time library
//! (libgcc).
//!
//! Infinities and NaNs are handled as in C (ISO C, annex G.5.1). A division scales by the larger
//! part of the divisor (Smith, "Algorithm 116: Complex division", 1962).

use super::{Call, Flow, Hook, floats::Float};

pub(super) const HOOKS: &[(&str, Hook)] = &[
    ("__mulsc3", |call| float(call, multiply)),
    ("__divsc3", |call| float(call, divide)),
    ("__muldc3", |call| double(call, multiply)),
    ("__divdc3", |call| double(call, divide)),
];

/// Real and imaginary part.
type Pair<F> = (F, F);

/// Calls `operation` on floats; two floats are returned in two registers.
fn float(call: &mut Call<'_>, operation: fn(Pair<f32>, Pair<f32>) -> Pair<f32>) -> Flow {
    let [a, b, c, d] = [0, 1, 2, 3].map(|number| f32::take(call, 0, number));
    let (real, imaginary) = operation((a, b), (c, d));
    call.set_result64(
        u64::from(real.quiet().to_bits()) | u64::from(imaginary.quiet().to_bits()) << 32,
    );
    Flow::default()
}

/// Calls `operation` on doubles. Two doubles are returned in memory whose address precedes all
/// other arguments (RISC-V calling convention, "Integer Calling Convention").
fn double(call: &mut Call<'_>, operation: fn(Pair<f64>, Pair<f64>) -> Pair<f64>) -> Flow {
    let [a, b, c, d] = [0, 1, 2, 3].map(|number| f64::take(call, 1, number));
    let (real, imaginary) = operation((a, b), (c, d));
    let place = call.arg(0);
    for (offset, part) in [(0, real), (8, imaginary)] {
        call.store_bytes(place.wrapping_add(offset), &part.quiet().to_bits().to_le_bytes());
    }
    Flow::default()
}

fn is_infinite<F: Float>(value: F) -> bool {
    value.abs() == F::INFINITY
}

fn is_finite<F: Float>(value: F) -> bool {
    value.abs() < F::INFINITY
}

/// Returns 1 for an infinity, else 0, with the value's sign.
fn boxed<F: Float>(value: F) -> F {
    let size = if is_infinite(value) { F::ONE } else { F::ZERO };
    size.copysign(value)
}

/// Returns 0 with the value's sign for a NaN, else the value.
fn nan_as_zero<F: Float>(value: F) -> F {
    if value.is_nan() { F::ZERO.copysign(value) } else { value }
}

fn multiply<F: Float>((mut a, mut b): Pair<F>, (mut c, mut d): Pair<F>) -> Pair<F> {
    let (ac, bd, ad, bc) = (a * c, b * d, a * d, b * c);
    let product = (ac - bd, ad + bc);
    if !product.0.is_nan() || !product.1.is_nan() {
        return product;
    }
    let mut again = false;
    if is_infinite(a) || is_infinite(b) {
        (a, b) = (boxed(a), boxed(b));
        (c, d) = (nan_as_zero(c), nan_as_zero(d));
        again = true;
    }
    if is_infinite(c) || is_infinite(d) {
        (c, d) = (boxed(c), boxed(d));
        (a, b) = (nan_as_zero(a), nan_as_zero(b));
        again = true;
    }
    if !again && [ac, bd, ad, bc].into_iter().any(is_infinite) {
        (a, b) = (nan_as_zero(a), nan_as_zero(b));
        (c, d) = (nan_as_zero(c), nan_as_zero(d));
        again = true;
    }
    match again {
        true => (F::INFINITY * (a * c - b * d), F::INFINITY * (a * d + b * c)),
        false => product,
    }
}

fn divide<F: Float>((a, b): Pair<F>, (c, d): Pair<F>) -> Pair<F> {
    let quotient = if c.abs() < d.abs() {
        let ratio = c / d;
        let scale = c * ratio + d;
        ((a * ratio + b) / scale, (b * ratio - a) / scale)
    } else {
        let ratio = d / c;
        let scale = d * ratio + c;
        ((b * ratio + a) / scale, (b - a * ratio) / scale)
    };
    if !quotient.0.is_nan() || !quotient.1.is_nan() {
        return quotient;
    }
    if c == F::ZERO && d == F::ZERO && (!a.is_nan() || !b.is_nan()) {
        let infinity = F::INFINITY.copysign(c);
        return (infinity * a, infinity * b);
    }
    if (is_infinite(a) || is_infinite(b)) && is_finite(c) && is_finite(d) {
        let (a, b) = (boxed(a), boxed(b));
        return (F::INFINITY * (a * c + b * d), F::INFINITY * (b * c - a * d));
    }
    if (is_infinite(c) || is_infinite(d)) && is_finite(a) && is_finite(b) {
        let (c, d) = (boxed(c), boxed(d));
        return (F::ZERO * (a * c + b * d), F::ZERO * (b * c - a * d));
    }
    quotient
}
