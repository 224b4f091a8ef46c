//! The firmware crate's channel on the chip: an interrupt at each instruction of a round that sends
//! and receives.

use std::time::Duration;

use super::bench::{Rom, after_boot, compiled_app};

/// A clock of the CPU at 160 MHz, rounded down: no instruction is left out.
const CLOCK: Duration = Duration::from_nanos(6);
/// Time until the handler has cleared the interrupt.
const CLEARED: Duration = Duration::from_micros(6);
/// Clocks to interrupt at, several rounds of the program's loop.
const CLOCKS: u32 = 1_000;

#[test]
fn an_interrupt_at_any_instruction_loses_and_damages_nothing() {
    let mut board = Rom::Hooked.with_app(&compiled_app("splice"));
    board.run_until(b"ready\r\n", Duration::from_secs(2)).unwrap();
    board.run_for(Duration::from_micros(200)).unwrap();
    let snapshot = board.snapshot();
    let start = board.now();
    for clock in 0..CLOCKS {
        let mut board = snapshot.board();
        board.run_to(start + CLOCK * clock, false).unwrap();
        // The second interrupt comes at another distance each time, when the first is cleared.
        board.set_pin(4, true);
        let mut said = board.run_for(CLEARED + CLOCK * (clock % 997)).unwrap();
        for (level, last) in [(false, &b"back 1\r\n"[..]), (true, b"back 2\r\n")] {
            board.set_pin(4, level);
            said.extend(board.run_until(last, Duration::from_millis(20)).unwrap_or_else(|error| {
                panic!("after {clock} clocks: {error}");
            }));
        }
        let said = String::from_utf8_lossy(&said);
        assert_eq!(said, "back 0\r\nback 1\r\nback 2\r\n", "after {clock} clocks");
    }
}

/// Sending and receiving a buffer costs no more than the channels that others use.
#[test]
fn passing_a_buffer_costs_little() {
    let mut board = Rom::Hooked.with_app(&compiled_app("splice"));
    let said = board.run_until(b"ready\r\n", Duration::from_secs(2)).unwrap();
    let said = after_boot(&said);
    println!("{said}");
    let nanos = |name: &str| -> u64 {
        let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let line = line.unwrap_or_else(|| panic!("{name} was not measured: {said}"));
        line.strip_suffix(" ns").and_then(|nanos| nanos.parse().ok()).unwrap()
    };
    let ours = nanos("SpliceChan");
    assert!(ours > 0 && ours <= nanos("embassy_sync::zerocopy_channel"), "{said}");
    // A copy of 1 KiB takes at least a clock for each of its words.
    assert!(nanos("heapless::spsc, two copies") > ours + 2 * 256 * 6, "{said}");
}
