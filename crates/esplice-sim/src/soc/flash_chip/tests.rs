//! Tests of the flash chip, command by command.

use super::*;

fn chip() -> FlashChip {
    let sim = esplice_chip::ChipDb::embedded().find("esp32c3").unwrap().sim.as_ref().unwrap();
    FlashChip::new(Nor::in_memory(sim.flash.size(), &sim.flash), true)
}

#[test]
fn commands_answer_as_the_data_sheet_says() {
    let mut chip = chip();
    for (opcode, addr, read, expected) in [
        (0x9f, 0, 3, vec![0xef, 0x40, 0x16]),
        (0x9f, 0, 4, vec![0xef, 0x40, 0x16, 0xef]),
        (0xab, 0, 1, vec![0x15]),
        (0x05, 0, 2, vec![0, 0]),
        (0x5a, 0, 4, b"SFDP".to_vec()),
        (0x5a, 0x84, 4, vec![0xff, 0xff, 0xff, 0x01]),
        (0x03, 0x3f_ffff, 2, vec![0xff, 0xff]),
        (0xee, 0, 1, vec![0xff]),
    ] {
        assert_eq!(chip.command(opcode, addr, &[], read, 0), expected, "{opcode:#04x}");
    }
}

/// Microseconds to wait, a command's opcode, address and data, and the expected answer.
type Move<'a> = (u64, u8, u32, &'a [u8], &'a [u8]);

#[track_caller]
fn row(moves: &[Move<'_>]) -> FlashChip {
    let mut chip = chip();
    let mut now = 0;
    for (number, (wait, opcode, addr, out, expected)) in moves.iter().enumerate() {
        now += ticks(Duration::from_micros(*wait));
        let got = chip.command(*opcode, *addr, out, expected.len(), now);
        assert_eq!(got, *expected, "move {number}: {opcode:#04x}");
    }
    chip
}

const WREN: Move<'static> = (0, 0x06, 0, &[], &[]);

#[test]
fn protected_ranges_take_no_program_and_no_erase() {
    row(&[
        WREN,
        // Protects the upper 64 KiB, with quad enable in the same command.
        (0, 0x01, 0, &[1 << 2, 2], &[]),
        (10_001, 0x05, 0, &[], &[1 << 2]),
        (0, 0x35, 0, &[], &[2]),
        WREN,
        (0, 0x02, 0x3f_0000, &[0], &[]),
        (0, 0x05, 0, &[], &[1 << 2 | 2]),
        (0, 0x02, 0x3e_ffff, &[0], &[]),
        (5000, 0x03, 0x3e_ffff, &[], &[0, 0xff]),
        // Neither the whole chip nor a block that overlaps the range.
        WREN,
        (0, 0xc7, 0, &[], &[]),
        (0, 0x05, 0, &[], &[1 << 2 | 2]),
        (0, 0x03, 0x3e_ffff, &[], &[0]),
        (0, 0xd8, 0x3e_0000, &[], &[]),
        (0, 0x05, 0, &[], &[1 << 2 | 1]),
    ]);
}

#[test]
fn status_registers_keep_what_they_may_over_power_and_reset() {
    let mut chip = row(&[
        // Nothing is written without the latch.
        (0, 0x01, 0, &[0xfc], &[]),
        (0, 0x05, 0, &[], &[0]),
        WREN,
        (0, 0x31, 0, &[0xff], &[]),
        (10_001, 0x35, 0, &[], &[0x42]),
        WREN,
        (0, 0x11, 0, &[0xff], &[]),
        (10_001, 0x15, 0, &[], &[0x64]),
        // A volatile write takes effect immediately.
        (0, 0x50, 0, &[], &[]),
        (0, 0x01, 0, &[7 << 2], &[]),
        (0, 0x05, 0, &[], &[7 << 2]),
        // A single byte does not change the second register.
        (0, 0x35, 0, &[], &[0x42]),
        // Ignored unless 66h was the previous command.
        (0, 0x66, 0, &[], &[]),
        (0, 0x05, 0, &[], &[7 << 2]),
        (0, 0x99, 0, &[], &[]),
        (0, 0x05, 0, &[], &[7 << 2]),
        (0, 0x66, 0, &[], &[]),
        (0, 0x99, 0, &[], &[]),
        (0, 0x05, 0, &[], &[1]),
        (31, 0x05, 0, &[], &[0]),
        (0, 0x35, 0, &[], &[0x42]),
    ]);
    chip.power_cycle();
    assert_eq!(chip.command(0x35, 0, &[], 1, 0), [0x42]);
}

#[test]
fn an_erase_is_suspended_and_goes_on() {
    row(&[
        WREN,
        (0, 0x20, 0x1000, &[], &[]),
        // Half-way: reads and programs work elsewhere, but not in the erased range.
        (20_000, 0x03, 0, &[], &[0xff]),
        (0, 0x75, 0, &[], &[]),
        (0, 0x05, 0, &[], &[1]),
        (20, 0x05, 0, &[], &[0]),
        (0, 0x35, 0, &[], &[0x80]),
        (100_000, 0x9f, 0, &[], &[0xef]),
        WREN,
        (0, 0x20, 0x5000, &[], &[]),
        (0, 0x05, 0, &[], &[2]),
        (0, 0x02, 0x1000, &[0x12], &[]),
        (0, 0x05, 0, &[], &[2]),
        (0, 0x02, 0x3000, &[0x34], &[]),
        (0, 0x05, 0, &[], &[1]),
        (1000, 0x03, 0x3000, &[], &[0x34]),
        (0, 0x7a, 0, &[], &[]),
        (0, 0x35, 0, &[], &[0]),
        // 25 ms are left.
        (24_990, 0x05, 0, &[], &[1]),
        (20, 0x05, 0, &[], &[0]),
        // Nothing to suspend or resume.
        (0, 0x75, 0, &[], &[]),
        (0, 0x7a, 0, &[], &[]),
        (0, 0x35, 0, &[], &[0]),
        // An erase of the whole chip can't be suspended.
        WREN,
        (0, 0xc7, 0, &[], &[]),
        (0, 0x75, 0, &[], &[]),
        (0, 0x35, 0, &[], &[0]),
        (0, 0x05, 0, &[], &[1]),
    ]);
}

#[test]
fn powered_down_chip_accepts_only_release() {
    row(&[
        (0, 0xb9, 0, &[], &[]),
        (0, 0x9f, 0, &[], &[0xff, 0xff]),
        WREN,
        (0, 0x05, 0, &[], &[0xff]),
        (0, 0xab, 0, &[], &[0x15]),
        (0, 0x05, 0, &[], &[0]),
        (0, 0x9f, 0, &[], &[0xef]),
        (0, 0x4b, 0, &[], &[0xd1, 0, 0, 0xc3, 0, 0, 0, 1]),
    ]);
}

#[test]
fn erases_are_of_their_lengths_and_programs_wrap_in_the_page() {
    for (opcode, len, ms) in [(0x20, 0x1000, 45), (0x52, 0x8000, 120), (0xd8, 0x1_0000, 150)] {
        let mut chip = chip();
        for at in [len - 1, len, 2 * len - 1, 2 * len] {
            chip.command(0x06, 0, &[], 0, 0);
            chip.command(0x02, at, &[0], 0, 0);
            chip.running = None;
        }
        chip.command(0x06, 0, &[], 0, 0);
        chip.command(opcode, len + 77, &[], 0, 0);
        assert_eq!(chip.busy_until(), ticks(Duration::from_millis(ms)), "{opcode:#04x}");
        assert_eq!(chip.read(len - 1, 2), [0, 0xff], "{opcode:#04x}");
        assert_eq!(chip.read(2 * len - 1, 2), [0xff, 0], "{opcode:#04x}");
    }
    row(&[
        WREN,
        (0, 0x02, 0x10fe, &[1, 2, 3, 4], &[]),
        (5000, 0x03, 0x10fe, &[], &[1, 2, 0xff]),
        (0, 0x03, 0x1000, &[], &[3, 4, 0xff]),
    ]);
}

#[test]
fn without_time_the_chip_is_never_busy() {
    let mut chip = FlashChip { timed: false, ..chip() };
    for opcode in [0xd8, 0x20, 0x02, 0x01] {
        chip.command(0x06, 0, &[], 0, 7);
        chip.command(opcode, 0, &[0], 0, 7);
        assert_eq!((chip.status_1(7), chip.busy_until()), (0, 0), "{opcode:#04x}");
    }
}

#[test]
fn writes_need_the_latch_and_take_time() {
    let mut chip = chip();
    chip.command(0x02, 0x1000, &[0x12], 0, 0);
    assert_eq!(chip.read(0x1000, 1), [0xff]);
    chip.command(0x06, 0, &[], 0, 0);
    assert_eq!(chip.status_1(0), WRITE_ENABLED);
    chip.command(0x02, 0x1000, &[0x12], 0, 0);
    assert_eq!(chip.read(0x1000, 1), [0x12]);
    assert_eq!(chip.status_1(0), BUSY);
    // The chip is busy and ignores the erase.
    chip.command(0x06, 0, &[], 0, 0);
    chip.command(0x20, 0x1000, &[], 0, 0);
    assert_eq!(chip.read(0x1000, 1), [0x12]);
    let later = chip.busy_until();
    assert_eq!(chip.status_1(later), 0);
    chip.command(0x06, 0, &[], 0, later);
    chip.command(0x20, 0x1fff, &[], 0, later);
    assert_eq!(chip.read(0x1000, 1), [0xff]);
    assert_eq!(chip.busy_until() - later, ticks(Duration::from_micros(45_000)));
}
