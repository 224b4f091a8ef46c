//! ROM functions for integers from the compiler's run-time library (libgcc), except those in
//! `libc`: bit counting, comparison, division, and arithmetic that aborts on overflow.

use super::{Call, Flow, Hook, RA, Work};

pub(super) const HOOKS: &[(&str, Hook)] = &[
    ("__bswapdi2", |call| give64(call, |value| value.swap_bytes())),
    ("__negdi2", |call| give64(call, u64::wrapping_neg)),
    ("__clzdi2", |call| count64(call, |value| value.leading_zeros())),
    ("__ctzdi2", |call| count64(call, |value| value.trailing_zeros())),
    ("__popcountdi2", |call| count64(call, |value| value.count_ones())),
    ("__ffsdi2", |call| {
        count64(call, |value| if value == 0 { 0 } else { value.trailing_zeros() + 1 })
    }),
    // Number of bits below the sign that equal it.
    ("__clrsbdi2", |call| {
        count64(call, |value| (value ^ ((value as i64) >> 63) as u64).leading_zeros() - 1)
    }),
    ("__ffssi2", |call| {
        count32(call, |value| if value == 0 { 0 } else { value.trailing_zeros() + 1 })
    }),
    ("__clrsbsi2", |call| {
        count32(call, |value| (value ^ ((value as i32) >> 31) as u32).leading_zeros() - 1)
    }),
    ("__paritysi2", |call| count32(call, |value| value.count_ones() & 1)),
    // Returns 0, 1 or 2: below, equal, above.
    ("__cmpdi2", |call| {
        let order = (call.arg64(0) as i64).cmp(&(call.arg64(2) as i64));
        compared(call, order)
    }),
    ("__ucmpdi2", |call| {
        let order = call.arg64(0).cmp(&call.arg64(2));
        compared(call, order)
    }),
    ("__mulsi3", |call| {
        let (a, b) = (call.arg(0), call.arg(1));
        call.set_result(a.wrapping_mul(b));
        // One step for each bit of the second operand (ROM: `__mulsi3`).
        let steps = (32 - b.leading_zeros()).max(1);
        Flow::doing(Work::of("step", steps.into()).and("one", b.count_ones().into()))
    }),
    ("__udivsi3", |call| divide(call, false, |a, b| unsigned(a, b).0)),
    ("__umodsi3", |call| divide(call, false, |a, b| unsigned(a, b).1)),
    ("__divsi3", |call| {
        divide(call, true, |a, b| {
            let (quotient, _) = unsigned(a.cast_signed().unsigned_abs(), magnitude(b));
            let negative = (a.cast_signed() < 0) != (b.cast_signed() < 0);
            if negative { quotient.wrapping_neg() } else { quotient }
        })
    }),
    ("__modsi3", |call| {
        divide(call, true, |a, b| {
            let (_, rest) = unsigned(a.cast_signed().unsigned_abs(), magnitude(b));
            if a.cast_signed() < 0 { rest.wrapping_neg() } else { rest }
        })
    }),
    ("__udivmoddi4", |call| {
        let (quotient, rest) = super::libc::quotient(call.arg64(0), call.arg64(2));
        let place = call.arg(4);
        if place != 0 {
            call.store(place, rest as u32);
            call.store(place.wrapping_add(4), (rest >> 32) as u32);
        }
        call.set_result64(quotient);
        Flow::default()
    }),
    // Unsupported on this CPU; the ROM returns 0.
    ("__udiv_w_sdiv", |call| {
        call.set_result(0);
        Flow::default()
    }),
    ("__clear_cache", |_| Flow::default()),
    ("__gcc_bcmp", |call| {
        let (a, b, len) = (call.arg(0), call.arg(1), call.arg(2));
        super::libc::compare(call, a, b, len, false)
    }),
    ("__absvsi2", |call| checked32(call, |a, _| a.checked_abs())),
    ("__negvsi2", |call| checked32(call, |a, _| a.checked_neg())),
    ("__addvsi3", |call| checked32(call, i32::checked_add)),
    ("__subvsi3", |call| checked32(call, i32::checked_sub)),
    ("__mulvsi3", |call| checked32(call, i32::checked_mul)),
    ("__absvdi2", |call| checked64(call, |a, _| a.checked_abs())),
    ("__negvdi2", |call| checked64(call, |a, _| a.checked_neg())),
    ("__addvdi3", |call| checked64(call, i64::checked_add)),
    ("__subvdi3", |call| checked64(call, i64::checked_sub)),
    ("__mulvdi3", |call| checked64(call, i64::checked_mul)),
];

/// Offset of `abort` in the table of system calls (ROM: `abort`).
const ABORT: u32 = 0x14;

fn give64(call: &mut Call<'_>, operation: fn(u64) -> u64) -> Flow {
    let value = operation(call.arg64(0));
    call.set_result64(value);
    Flow::default()
}

fn count64(call: &mut Call<'_>, operation: fn(u64) -> u32) -> Flow {
    let value = operation(call.arg64(0));
    call.set_result(value);
    Flow::default()
}

fn count32(call: &mut Call<'_>, operation: fn(u32) -> u32) -> Flow {
    let value = operation(call.arg(0));
    call.set_result(value);
    Flow::default()
}

fn compared(call: &mut Call<'_>, order: std::cmp::Ordering) -> Flow {
    call.set_result((order as i32 + 1).cast_unsigned());
    Flow::default()
}

fn divide(call: &mut Call<'_>, signed: bool, operation: fn(u32, u32) -> u32) -> Flow {
    let (a, b) = (call.arg(0), call.arg(1));
    call.set_result(operation(a, b));
    let (a, b) = if signed { (magnitude(a), magnitude(b)) } else { (a, b) };
    Flow::doing(division(a, b))
}

/// Returns the work of a division (ROM: `__udivsi3`): the divisor is shifted up to the dividend and
/// then subtracted wherever it fits.
fn division(a: u32, b: u32) -> Work {
    if b == 0 {
        return Work::default();
    }
    let mut divisor = b;
    let mut shifts = 0;
    while divisor < a && divisor.cast_signed() > 0 {
        divisor <<= 1;
        shifts += 1;
    }
    Work::of("shift", shifts).and("one", (a / b).count_ones().into())
}

/// Returns quotient and remainder. Division by 0 yields all ones and the dividend, as on the CPU.
fn unsigned(a: u32, b: u32) -> (u32, u32) {
    (a.checked_div(b).unwrap_or(u32::MAX), a.checked_rem(b).unwrap_or(a))
}

fn magnitude(value: u32) -> u32 {
    value.cast_signed().unsigned_abs()
}

fn checked32(call: &mut Call<'_>, operation: fn(i32, i32) -> Option<i32>) -> Flow {
    match operation(call.arg(0).cast_signed(), call.arg(1).cast_signed()) {
        Some(value) => call.set_result(value.cast_unsigned()),
        None => abort(call),
    }
    Flow::default()
}

fn checked64(call: &mut Call<'_>, operation: fn(i64, i64) -> Option<i64>) -> Flow {
    match operation(call.arg64(0).cast_signed(), call.arg64(2).cast_signed()) {
        Some(value) => call.set_result64(value.cast_unsigned()),
        None => abort(call),
    }
    Flow::default()
}

/// Continues in the firmware's `abort`, which does not return.
fn abort(call: &mut Call<'_>) {
    let table = call.data("syscall_table_ptr").map_or(0, |at| call.load(at));
    call.cpu.x[RA] = call.load(table.wrapping_add(ABORT));
}
