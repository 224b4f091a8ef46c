//! Tests of the UART.

use super::*;

/// Sets UART0 to 115200 baud from the crystal.
const RATE: [Do; 2] = [Store(UART + 0x78, 0x0370_0000), Store(UART + 0x14, 347 | 3 << 20)];

fn with_rate(moves: impl IntoIterator<Item = Do>) -> Vec<Do> {
    RATE.into_iter().chain(moves).collect()
}

#[test]
fn uart_bytes_take_their_time() {
    check(&with_rate([
        Store(UART, b'a'.into()),
        Store(UART, b'b'.into()),
        Store(UART, b'c'.into()),
        // One byte is in the shift register, two wait.
        Load(UART + 0x1c, 0x3ff << 16, 2 << 16),
        Load(UART + 0x6c, 0xf0, 0x10),
        Received(b""),
        Wait(87 * US),
        Received(b"a"),
        Load(UART + 0x1c, 0x3ff << 16, 1 << 16),
        Wait(MS),
        Received(b"bc"),
        Load(UART + 0x6c, 0xf0, 0),
        Load(UART + 0x04, 1 << 14, 1 << 14),
    ]));
}

#[test]
fn uart_fifo_is_128_deep_and_a_reset_empties_it() {
    let mut moves: Vec<Do> = (0..200).map(|byte| Store(UART, byte)).collect();
    moves.extend([Load(UART + 0x1c, 0x3ff << 16, 128 << 16), Wait(100 * US), Received(&[0])]);
    moves.extend([Reset(ResetReason::SoftwareCpu), Wait(87 * US), Received(&[1])]);
    moves.extend([Reset(ResetReason::SoftwareSystem), Wait(50 * MS), Received(&[])]);
    moves.push(Load(UART + 0x1c, 0x3ff << 16, 0));
    check(&with_rate(moves));
}

#[test]
fn uart_receives_and_interrupts() {
    let moves = route(21).into_iter().chain([
        Store(UART + 0x24, 2 | 1 << 21), // Interrupt at 2 bytes or after a pause.
        Store(UART + 0x0c, 1 | 1 << 8),
        Send(b"xyz"),
        Irq(0),
        Wait(180 * US),
        Irq(1 << 7),
        Load(UART + 0x1c, 0x3ff, 2),
        Load(UART, 0xff, b'x'.into()),
        Load(UART, 0xff, b'y'.into()),
        Store(UART + 0x10, 1),
        Irq(0),
        Wait(MS),
        // The pause after the third byte.
        Irq(1 << 7),
        Load(UART + 0x08, ALL, 1 << 8),
        Load(UART, 0xff, b'z'.into()),
    ]);
    check(&with_rate(moves));
}

#[test]
fn the_uart_is_silent_while_the_cable_is_at_usb() {
    check(&with_rate([
        Plug(Cable::Usb),
        Store(UART, b'a'.into()),
        Send(b"b"),
        Wait(MS),
        Received(b""),
        Load(UART + 0x1c, 0x3ff, 0),
        Load(USB, ALL, b'b'.into()),
    ]));
}
