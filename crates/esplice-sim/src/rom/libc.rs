//! ROM functions of the C library and the compiler's run-time library.

use super::{Call, Flow, Hook, MOST_BYTES, Work};

pub(super) const HOOKS: &[(&str, Hook)] = &[
    ("memset", |call| {
        let (to, value, len) = (call.arg(0), call.arg(1) as u8, call.arg(2));
        fill(call, to, value, len)
    }),
    ("bzero", |call| {
        let (to, len) = (call.arg(0), call.arg(1));
        fill(call, to, 0, len)
    }),
    ("memcpy", copy),
    // Copies backwards if it would overwrite bytes that it has yet to read.
    ("memmove", |call| {
        let (to, from, len) = (call.arg(0), call.arg(1), call.arg(2));
        let backward = from < to && to < from.saturating_add(len);
        let bytes = copy_bytes(call);
        Flow::of(bytes).slowly(backward)
    }),
    ("memcmp", |call| {
        let (a, b, len) = (call.arg(0), call.arg(1), call.arg(2));
        compare(call, a, b, len, false)
    }),
    ("strcmp", |call| {
        let (a, b) = (call.arg(0), call.arg(1));
        compare(call, a, b, MOST_BYTES, true)
    }),
    ("strncmp", |call| {
        let (a, b, len) = (call.arg(0), call.arg(1), call.arg(2));
        compare(call, a, b, len, true)
    }),
    ("strlen", |call| {
        let text = call.arg(0);
        let len = call.text(text, MOST_BYTES).len();
        call.set_result(len as u32);
        Flow::of(len as u64).slowly(text & 3 != 0)
    }),
    ("strnlen", |call| {
        let (text, most) = (call.arg(0), call.arg(1));
        let len = call.text(text, most.min(MOST_BYTES)).len();
        call.set_result(len as u32);
        Flow::of(len as u64).slowly(text & 3 != 0)
    }),
    ("strcpy", |call| {
        let (to, from) = (call.arg(0), call.arg(1));
        let mut text = call.text(from, MOST_BYTES);
        text.push(0);
        call.store_bytes(to, &text);
        Flow::of(text.len() as u64).slowly((to | from) & 3 != 0)
    }),
    ("strncpy", |call| {
        let (to, from, len) = (call.arg(0), call.arg(1), call.arg(2).min(MOST_BYTES));
        let mut text = call.text(from, len);
        // The NUL is copied like the other bytes.
        let copied = (text.len() as u64 + 1).min(len.into());
        text.resize(len as usize, 0);
        call.store_bytes(to, &text);
        Flow::doing(Work::units(copied).and("padded", u64::from(len) - copied))
    }),
    ("strlcpy", |call| {
        let (to, from, size) = (call.arg(0), call.arg(1), call.arg(2));
        let text = call.text(from, MOST_BYTES);
        let mut copied = 0;
        if let Some(room) = size.checked_sub(1) {
            let mut kept = text[..text.len().min(room as usize)].to_vec();
            copied = kept.len();
            kept.push(0);
            call.store_bytes(to, &kept);
        }
        call.set_result(text.len() as u32);
        // The rest of the text is still scanned for its end.
        Flow::doing(Work::units(copied as u64).and("skipped", (text.len() - copied) as u64))
    }),
    ("memchr", |call| {
        let (addr, byte, len) = (call.arg(0), call.arg(1) as u8, call.arg(2));
        let found = call.bytes(addr, len).iter().position(|b| *b == byte);
        call.set_result(found.map_or(0, |at| addr.wrapping_add(at as u32)));
        Flow::of(found.unwrap_or(len as usize) as u64).slowly(addr & 3 != 0)
    }),
    ("abs", |call| {
        let value = (call.arg(0) as i32).unsigned_abs();
        call.set_result(value);
        Flow::after(4)
    }),
    ("__udivdi3", |call| divide(call, |a, b| quotient(a, b).0)),
    ("__umoddi3", |call| divide(call, |a, b| quotient(a, b).1)),
    // The signed ones wrap in their only overflow.
    ("__divdi3", |call| {
        divide(call, |a, b| {
            let (quotient, _) = quotient((a as i64).unsigned_abs(), (b as i64).unsigned_abs());
            if ((a ^ b) as i64) < 0 { quotient.wrapping_neg() } else { quotient }
        })
    }),
    ("__moddi3", |call| {
        divide(call, |a, b| {
            let (_, rest) = quotient((a as i64).unsigned_abs(), (b as i64).unsigned_abs());
            if (a as i64) < 0 { rest.wrapping_neg() } else { rest }
        })
    }),
    ("__muldi3", |call| {
        let value = call.arg64(0).wrapping_mul(call.arg64(2));
        // One step per bit of the second operand's low word (ROM: `__muldi3`).
        let steps = 32 - call.arg(2).leading_zeros();
        let work = Work::of("step", steps.max(1).into())
            .and("one", call.arg(2).count_ones().into())
            .and("high", u64::from(call.arg(1) != 0) + u64::from(call.arg(3) != 0));
        call.set_result64(value);
        Flow::doing(work)
    }),
    ("__ashldi3", |call| shift(call, |value, by| value.checked_shl(by).unwrap_or(0))),
    ("__lshrdi3", |call| shift(call, |value, by| value.checked_shr(by).unwrap_or(0))),
    ("__ashrdi3", |call| shift(call, |value, by| ((value as i64) >> by.min(63)) as u64)),
    ("__clzsi2", |call| {
        let value = call.arg(0).leading_zeros();
        call.set_result(value);
        Flow::after(20)
    }),
    ("__ctzsi2", |call| {
        let value = call.arg(0).trailing_zeros();
        call.set_result(value);
        Flow::after(20)
    }),
    ("__popcountsi2", |call| {
        let value = call.arg(0).count_ones();
        call.set_result(value);
        Flow::after(20)
    }),
    ("__bswapsi2", |call| {
        let value = call.arg(0).swap_bytes();
        call.set_result(value);
        Flow::after(10)
    }),
];

/// Returns quotient and remainder. For a division by 0 the compiler's library (libgcc,
/// `__udivmoddi4`) divides 1 by 0 with the CPU's instruction, uses the resulting ones as divisor,
/// and reduces the dividend's high word by it once.
pub(super) fn quotient(a: u64, b: u64) -> (u64, u64) {
    match b {
        0 => {
            let a = a.wrapping_add(1 << 32);
            let divisor = u64::from(u32::MAX);
            (1 << 32 | (a / divisor) & divisor, a % divisor)
        }
        b => (a / b, a % b),
    }
}

fn fill(call: &mut Call<'_>, to: u32, value: u8, len: u32) -> Flow {
    let len = len.min(MOST_BYTES);
    for i in 0..len {
        call.store_byte(to.wrapping_add(i), value);
    }
    Flow::of(len.into())
}

fn copy(call: &mut Call<'_>) -> Flow {
    let (to, from) = (call.arg(0), call.arg(1));
    let mut work = Work::default();
    work.add_copy(to, from, copy_bytes(call));
    Flow::doing(work)
}

/// Copies the bytes and returns their number.
fn copy_bytes(call: &mut Call<'_>) -> u64 {
    let (to, from, len) = (call.arg(0), call.arg(1), call.arg(2));
    let bytes = call.bytes(from, len);
    call.store_bytes(to, &bytes);
    bytes.len() as u64
}

/// Compares bytes and returns the difference of the first ones that differ. Strings also end at a
/// NUL.
pub(super) fn compare(call: &mut Call<'_>, a: u32, b: u32, len: u32, strings: bool) -> Flow {
    let mut difference = 0_i32;
    let mut done = 0;
    while done < len.min(MOST_BYTES) && difference == 0 {
        let byte = call.load_byte(a.wrapping_add(done));
        difference = i32::from(byte) - i32::from(call.load_byte(b.wrapping_add(done)));
        done += 1;
        if strings && byte == 0 {
            break;
        }
    }
    call.set_result(difference as u32);
    Flow::of(done.into()).slowly((a | b) & 3 != 0)
}

fn divide(call: &mut Call<'_>, operation: fn(u64, u64) -> u64) -> Flow {
    let value = operation(call.arg64(0), call.arg64(2));
    call.set_result64(value);
    Flow::after(60)
}

fn shift(call: &mut Call<'_>, operation: fn(u64, u32) -> u64) -> Flow {
    let by = call.arg(2);
    let value = operation(call.arg64(0), by);
    call.set_result64(value);
    Flow::after(10)
}
