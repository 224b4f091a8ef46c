//! The computation: CRC-32, sorting, branches and division, each fed by the previous one.
//!
//! Uses neither `std` nor the target: a host that includes this file computes the same checksum.

/// Bytes checksummed and walked in each iteration.
const BYTES: usize = 4096;
/// Words sorted in each iteration.
const WORDS: usize = 1024;

/// Runs `iterations` rounds and returns a checksum over all results.
pub fn run(iterations: u32) -> u32 {
    let table = crc_table();
    let mut bytes = [0u8; BYTES];
    let mut words = [0u32; WORDS];
    let mut state = 0x2545_f491;
    let mut checksum = 0u32;
    for round in 0..iterations {
        for byte in &mut bytes {
            *byte = next(&mut state) as u8;
        }
        for word in &mut words {
            *word = next(&mut state);
        }
        checksum = mix(checksum, crc32(&table, &bytes));
        checksum = mix(checksum, crc32_bitwise(&bytes[..BYTES / 8]));
        heap_sort(&mut words);
        checksum = mix(checksum, words[round as usize % WORDS]);
        checksum = mix(checksum, interpret(&bytes));
        checksum = mix(checksum, power_mod(words[0] | 1, words[WORDS - 1], 65_521));
        state ^= checksum | 1;
    }
    checksum
}

fn mix(checksum: u32, value: u32) -> u32 {
    checksum.rotate_left(5).wrapping_mul(0x9e37_79b1) ^ value
}

/// Computes a xorshift step. A state of zero would stay zero, so it is replaced.
fn next(state: &mut u32) -> u32 {
    let mut x = if *state == 0 { 1 } else { *state };
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    *state = x;
    x
}

/// Returns the table of the reflected polynomial 0x04C11DB7.
fn crc_table() -> [u32; 256] {
    let mut table = [0u32; 256];
    for (index, entry) in table.iter_mut().enumerate() {
        *entry = (0..8).fold(index as u32, |crc, _| crc_step(crc));
    }
    table
}

fn crc_step(crc: u32) -> u32 {
    if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 }
}

/// Computes CRC-32 by table: loads and shifts.
#[inline(never)]
fn crc32(table: &[u32; 256], bytes: &[u8]) -> u32 {
    !bytes
        .iter()
        .fold(!0u32, |crc, &byte| table[((crc ^ u32::from(byte)) & 0xff) as usize] ^ (crc >> 8))
}

/// Computes CRC-32 bit by bit: only arithmetic.
#[inline(never)]
fn crc32_bitwise(bytes: &[u8]) -> u32 {
    !bytes
        .iter()
        .fold(!0u32, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| crc_step(crc)))
}

/// Sorts by heapsort: scattered loads and stores, and unpredictable branches.
#[inline(never)]
fn heap_sort(words: &mut [u32]) {
    for start in (0..words.len() / 2).rev() {
        sift_down(words, start);
    }
    for end in (1..words.len()).rev() {
        words.swap(0, end);
        sift_down(&mut words[..end], 0);
    }
}

fn sift_down(words: &mut [u32], mut parent: usize) {
    loop {
        let mut child = 2 * parent + 1;
        if child >= words.len() {
            return;
        }
        if child + 1 < words.len() && words[child] < words[child + 1] {
            child += 1;
        }
        if words[parent] >= words[child] {
            return;
        }
        words.swap(parent, child);
        parent = child;
    }
}

/// Runs a small machine on random bytes: a jump table, calls and data-dependent branches.
#[inline(never)]
fn interpret(code: &[u8]) -> u32 {
    let mut registers = [1u32, 2, 3, 5, 7, 11, 13, 17];
    let mut at = 0;
    // Jumps go both ways, so steps are counted instead of positions.
    for _ in 0..code.len() {
        let op = code[at % code.len()];
        let to = usize::from(op >> 3) % 8;
        let from = registers[usize::from(op >> 5)];
        at += 1;
        match op & 15 {
            0 | 1 => registers[to] = registers[to].wrapping_add(from),
            2 => registers[to] ^= from,
            3 => registers[to] = registers[to].wrapping_mul(from | 1),
            4 => registers[to] = registers[to].rotate_right(from & 31),
            5 => registers[to] = registers[to].checked_div(from).unwrap_or(!0),
            6 => registers[to] = registers[to].wrapping_sub(from),
            7 if from & 1 == 0 => at += usize::from(op >> 4),
            8 if from > registers[to] => {
                at = at.wrapping_sub(usize::from(op >> 4)) % (2 * code.len())
            }
            9 => registers[to] = collatz(from & 0xff),
            10 => registers[to] = registers[to].wrapping_add(from.count_ones()),
            11 => registers[to] = !from,
            12 => registers[to] |= from >> 3,
            13 => registers[to] = registers[to].leading_zeros() ^ from,
            _ => registers[to] = registers[to].wrapping_add(u32::from(op)),
        }
    }
    registers.iter().fold(0, |sum, &value| mix(sum, value))
}

/// Counts the steps until one is reached.
#[inline(never)]
fn collatz(start: u32) -> u32 {
    let mut value = start.max(1);
    let mut steps = 0;
    while value != 1 {
        value = if value & 1 == 0 { value / 2 } else { 3 * value + 1 };
        steps += 1;
    }
    steps
}

/// Computes a series of multiplications and divisions.
#[inline(never)]
fn power_mod(base: u32, mut exponent: u32, modulus: u32) -> u32 {
    let mut base = base % modulus;
    let mut result = 1;
    while exponent != 0 {
        if exponent & 1 == 1 {
            result = result * base % modulus;
        }
        base = base * base % modulus;
        exponent >>= 1;
    }
    result
}
