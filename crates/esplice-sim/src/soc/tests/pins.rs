//! Tests of pins: levels and interrupts.

use super::*;

/// For each interrupt type, a sequence of levels and whether the status is set after each.
#[test]
fn pins_interrupt_at_edges_and_levels() {
    let cases: [(u32, [bool; 5]); 6] = [
        (0, [false, false, false, false, false]),
        (1, [false, true, false, true, false]),
        (2, [false, false, true, false, true]),
        (3, [false, true, true, true, true]),
        (4, [true, false, true, false, true]),
        (5, [false, true, false, true, false]),
    ];
    for (kind, expected) in cases {
        let mut moves: Vec<Do> = route(16).into();
        moves.extend([
            Store(IO_MUX + 4 + 4 * 5, 1 << 9),
            Drive(5, Some(false)),
            Store(GPIO + 0x74 + 4 * 5, kind << 7 | 1 << 13),
        ]);
        for (level, raised) in [false, true, false, true, false].into_iter().zip(expected) {
            moves.push(Drive(5, Some(level)));
            if kind > 3 {
                // An interrupt raised by a level stays until it is cleared.
                moves.push(Store(GPIO + 0x4c, 1 << 5));
            }
            moves.extend([
                Load(GPIO + 0x3c, 1 << 5, u32::from(level) << 5),
                Load(GPIO + 0x44, ALL, u32::from(raised) << 5),
                Load(GPIO + 0x5c, ALL, u32::from(raised) << 5),
                Load(GPIO + 0x60, ALL, 0),
                Irq(if raised { 1 << 7 } else { 0 }),
                Store(GPIO + 0x4c, 1 << 5),
                // A persistent level raises it again, an edge does not.
                Load(GPIO + 0x44, ALL, if kind > 3 { u32::from(raised) << 5 } else { 0 }),
            ]);
        }
        check(&moves);
    }
}

#[test]
fn levels_come_from_the_chip_then_the_outside_then_the_pull() {
    let level = |level: u32| Load(GPIO + 0x3c, 1 << 4, level << 4);
    check(&[
        // A pad without a pull, with its input enabled.
        Store(IO_MUX + 4 + 4 * 4, 1 << 9),
        level(0),
        Store(IO_MUX + 4 + 4 * 4, 1 << 9 | 1 << 8),
        level(1),
        Drive(4, Some(false)),
        level(0),
        Store(GPIO + 0x08, 1 << 4),
        Store(GPIO + 0x24, 1 << 4),
        level(1),
        // Open drain.
        Store(GPIO + 0x74 + 4 * 4, 1 << 2),
        level(0),
        Drive(4, None),
        level(1),
        Store(GPIO + 0x0c, 1 << 4),
        level(0),
        // The output inverted, with a device's idle signal.
        Store(GPIO + 0x74 + 4 * 4, 0),
        Store(GPIO + 0x554 + 4 * 4, 0x80 | 1 << 8),
        level(1),
        Store(GPIO + 0x554 + 4 * 4, 6 | 1 << 8),
        level(0),
        // The input buffer disabled.
        Store(GPIO + 0x554 + 4 * 4, 6),
        level(1),
        Store(IO_MUX + 4 + 4 * 4, 0),
        level(0),
        // Pins that do not exist.
        Drive(26, Some(true)),
        Drive(1000, Some(true)),
        // A reset releases everything except what the outside drives.
        Drive(4, Some(true)),
        Reset(ResetReason::SoftwareSystem),
        level(1),
        Load(GPIO + 0x20, ALL, 0),
        Load(GPIO + 0x44, ALL, 0),
    ]);
}
