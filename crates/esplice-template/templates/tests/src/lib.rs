//! Functions that are tested on the board, and a module that reports the results.

#![no_std]

pub mod board_tests;

/// Returns Fletcher's 16-bit checksum, modulo 255.
pub fn fletcher16(data: &[u8]) -> u16 {
    let (mut low, mut high) = (0_u16, 0_u16);
    for byte in data {
        low = (low + u16::from(*byte)) % 255;
        high = (high + low) % 255;
    }
    high << 8 | low
}

/// Returns the mean of `values`, rounded towards zero, or none if there are no values.
pub fn mean(values: &[i32]) -> Option<i32> {
    let sum: i64 = values.iter().map(|value| i64::from(*value)).sum();
    let len = i64::try_from(values.len()).ok()?;
    i32::try_from(sum.checked_div(len)?).ok()
}
