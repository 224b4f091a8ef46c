//! Tests of the LED PWM controller and the remote control peripheral, whose outputs are edges of a
//! pin.

use super::*;
use crate::soc::clock::duration;

const LEDC: u32 = 0x6001_9000;
const RMT: u32 = 0x6001_6000;
const OUT: u32 = 8;

/// Runs moves with pin 8 as the output of `signal`, and returns its edges in ns and their levels.
fn edges(signal: u32, moves: &[Do]) -> Vec<(u128, bool)> {
    let mut soc = soc();
    soc.fabric.pins.record(OUT);
    let start = soc.fabric.now();
    let mut all = vec![Store(GPIO + 0x554 + 4 * OUT, signal)];
    all.extend_from_slice(moves);
    perform(&mut soc, &all);
    let edges = soc.fabric.pins.take_edges();
    let edges = edges.into_iter().filter(|(_, pin, _)| *pin == OUT);
    edges.map(|(at, _, level)| (duration(at - start).as_nanos(), level)).collect()
}

/// Sets timer 0 to periods of `1 << bits` counts of the 40 MHz crystal divided by `divider`.
fn timer(bits: u32, divider: u32) -> [Do; 2] {
    [Store(LEDC + 0xd0, 3), Store(LEDC + 0xa0, bits | divider << 12 | 1 << 25)]
}

/// Sets channel 0 to `hpoint` and `duty`, with a fade of CONF1.
fn channel(hpoint: u32, duty: u32, conf1: u32) -> [Do; 4] {
    [
        Store(LEDC + 0x04, hpoint),
        Store(LEDC + 0x08, duty << 4),
        Store(LEDC + 0x0c, 1 << 31 | conf1),
        Store(LEDC, 1 << 2 | 1 << 4),
    ]
}

/// A step of a fade without a change.
const STILL: u32 = 1 << 30 | 1 << 20 | 1 << 10;

#[test]
fn pwm_is_a_pulse_in_each_period() {
    // 256 counts of 100 ns.
    let set: Vec<Do> = timer(8, 4).into_iter().chain(channel(16, 64, STILL)).collect();
    let found = edges(45, &[&set[..], &[Wait(76 * US)]].concat());
    let expected = [0, 25_600, 51_200]
        .into_iter()
        .flat_map(|start| [(start + 1_600, true), (start + 8_000, false)]);
    assert_eq!(found, expected.collect::<Vec<_>>());
    // A constant output has no edges except the first.
    let full: Vec<Do> = timer(8, 4).into_iter().chain(channel(0, 256, STILL)).collect();
    assert_eq!(edges(45, &[&full[..], &[Wait(MS)]].concat()), [(0, true)]);
    // Off, it has the idle level.
    let off = [&set[..], &[Wait(30 * US), Store(LEDC, 1 << 4), Wait(MS)]].concat();
    assert_eq!(edges(45, &off).last(), Some(&(30_000, false)));
}

#[test]
fn a_new_duty_cycle_begins_with_the_next_period() {
    let mut moves: Vec<Do> = timer(8, 4).into_iter().chain(channel(0, 64, STILL)).collect();
    moves.push(Wait(3 * US));
    moves.extend(channel(0, 128, STILL));
    moves.push(Wait(50 * US));
    let found = edges(45, &moves);
    let expected = [(0, true), (6_400, false), (25_600, true), (38_400, false), (51_200, true)];
    assert_eq!(found, expected);
}

#[test]
fn a_fade_changes_the_duty_cycle_and_ends_with_an_interrupt() {
    // Three steps of two periods, each 10 counts more.
    let fade = 1 << 30 | 3 << 20 | 2 << 10 | 10;
    let mut moves: Vec<Do> = timer(8, 4).into_iter().chain(channel(0, 10, fade)).collect();
    moves.extend(route(23));
    moves.extend([
        Store(LEDC + 0xc8, 1 << 4),
        Load(LEDC + 0x10, ALL, 10 << 4),
        Wait(60 * US),
        Load(LEDC + 0x10, ALL, 20 << 4),
        Irq(0),
        Wait(100 * US),
        Irq(1 << 7),
        Load(LEDC + 0x10, ALL, 40 << 4),
        Load(LEDC + 0xc4, ALL, 1 << 4),
        Store(LEDC + 0xcc, 1 << 4),
        Irq(0),
    ]);
    let found = edges(45, &moves);
    let widths: Vec<u128> = found.chunks_exact(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert_eq!(widths, [1000, 1000, 2000, 2000, 3000, 3000, 4000]);
}

#[test]
fn a_timer_raises_an_interrupt_when_it_overflows() {
    let mut moves: Vec<Do> = route(23).into();
    moves.extend(timer(8, 4));
    moves.extend([
        Store(LEDC + 0xc8, 1),
        Wait(25 * US),
        Irq(0),
        Load(LEDC + 0xa4, ALL, 250),
        Wait(US),
        Irq(1 << 7),
        Store(LEDC + 0xcc, 1),
        Irq(0),
        // Paused, it does not count.
        Store(LEDC + 0xa0, 8 | 4 << 12 | 1 << 22),
        Wait(MS),
        Irq(0),
    ]);
    check(&moves);
}

/// Two pulses in a word.
fn pulses(first: (bool, u32), second: (bool, u32)) -> u32 {
    let half = |(level, length): (bool, u32)| u32::from(level) << 15 | length;
    half(first) | half(second) << 16
}

/// Sets the clock to 1 MHz and stores words in channel 0's memory.
fn program(words: &[u32]) -> Vec<Do> {
    let words = (0..).zip(words).map(|(at, word)| Store(RMT + 0x400 + 4 * at, *word));
    [Store(RMT + 0x68, 3 << 24 | 1 << 26 | 1)].into_iter().chain(words).collect()
}

const DIVIDER: u32 = 40 << 8;
const BLOCK: u32 = 1 << 16;
const START: u32 = 1 | 1 << 1;

#[test]
fn pulses_are_sent_once() {
    let mut moves = program(&[
        pulses((true, 10), (false, 5)),
        pulses((true, 3), (false, 2)),
        pulses((true, 1), (false, 0)),
    ]);
    moves.extend(route(28));
    moves.extend([
        Store(RMT + 0x40, 1),
        Store(RMT + 0x10, DIVIDER | BLOCK | 1 << 6 | START),
        Wait(20 * US),
        Irq(0),
        Load(RMT + 0x38, ALL, 0),
        Wait(2 * US),
        Load(RMT + 0x38, ALL, 1),
        Irq(1 << 7),
        Store(RMT + 0x44, 1),
        Irq(0),
        Wait(MS),
    ]);
    let expected = [(0, true), (10, false), (15, true), (18, false), (20, true), (21, false)];
    assert_eq!(edges(51, &moves), expected.map(|(at, level)| (at * 1000, level)));
}

#[test]
fn a_transmission_wraps_in_its_memory_and_announces_that() {
    let word = pulses((true, 1), (false, 1));
    let mut moves = program(&[word; 48]);
    let run = DIVIDER | BLOCK | 1 << 4;
    moves.extend([
        Store(RMT + 0x58, 24),
        Store(RMT + 0x10, run | START),
        Wait(46 * US),
        Load(RMT + 0x38, ALL, 0),
        Wait(2 * US),
        Load(RMT + 0x38, ALL, 1 << 8),
        Load(RMT + 0x28, 0x1ff, 24),
        Wait(60 * US),
        // It reads the first half again; the end is there now.
        Store(RMT + 0x400 + 4 * 20, 0),
        Wait(60 * US),
        Load(RMT + 0x38, 1 << 4 | 1, 1),
    ]);
    // The first round of 48 words, and 20 words of the second.
    assert_eq!(edges(51, &moves).len(), 2 * 68);
    // Without wrapping, the end of the memory is an error.
    let mut moves = program(&[word; 48]);
    moves.extend([
        Store(RMT + 0x10, DIVIDER | BLOCK | START),
        Wait(MS),
        Load(RMT + 0x38, 1 << 4 | 1, 1 << 4),
    ]);
    check(&moves);
}

#[test]
fn a_loop_repeats_until_it_is_stopped() {
    let mut moves = program(&[pulses((true, 4), (false, 6)), 0]);
    moves.extend([
        Store(RMT + 0x58, 0x80 | 3 << 9 | 1 << 19),
        Store(RMT + 0x10, DIVIDER | BLOCK | 1 << 3 | 1 << 6 | START),
        Wait(29 * US),
        Load(RMT + 0x38, 1 << 12 | 1, 0),
        Wait(2 * US),
        Load(RMT + 0x38, 1 << 12 | 1, 1 << 12),
        Store(RMT + 0x10, DIVIDER | BLOCK | 1 << 6 | 1 << 7),
        Load(RMT + 0x38, 1, 1),
        Wait(MS),
    ]);
    let found = edges(51, &moves);
    assert_eq!(found.len(), 8, "{found:?}");
    // A list without pulses does not hang the simulator.
    check(&[Store(RMT + 0x10, DIVIDER | BLOCK | 1 << 3 | START), Wait(MS), Load(RMT + 0x38, 1, 1)]);
}
