//! Tests of USB-Serial-JTAG.

use super::*;

#[test]
fn usb_packets_go_to_the_host_and_frames_are_counted() {
    check(&[
        Plug(Cable::Usb),
        Load(USB + 0x04, 7, 2),
        Load(USB + 0x08, 2, 0),
        Store(USB, b'h'.into()),
        Store(USB, b'i'.into()),
        Wait(2 * MS),
        // Nothing is sent before it is handed over.
        Received(b""),
        Load(USB + 0x24, ALL, 2),
        Load(USB + 0x08, 2, 2),
        Store(USB + 0x14, 2),
        Load(USB + 0x08, 2, 0),
        Store(USB + 0x04, 1),
        Load(USB + 0x04, 2, 0),
        // The endpoint accepts nothing in the meantime.
        Store(USB, b'!'.into()),
        Wait(10 * US),
        Received(b"hi"),
        Load(USB + 0x04, 2, 2),
        Load(USB + 0x08, 8, 8),
    ]);
}

#[test]
fn usb_endpoint_is_full_at_64_bytes() {
    let mut moves = vec![Plug(Cable::Usb)];
    moves.extend((0..64).map(|byte| Store(USB, byte)));
    moves.extend([Load(USB + 0x04, 2, 0), Store(USB, 99), Store(USB + 0x04, 1), Wait(MS)]);
    const ALL_64: [u8; 64] = {
        let mut bytes = [0; 64];
        let mut at = 0;
        while at < 64 {
            bytes[at] = at as u8;
            at += 1;
        }
        bytes
    };
    moves.extend([Received(&ALL_64), Load(USB + 0x04, 2, 2)]);
    check(&moves);
}

#[test]
fn usb_without_a_host_keeps_what_was_written() {
    check(&[
        Store(USB, b'x'.into()),
        Store(USB + 0x04, 1),
        Wait(5 * MS),
        Load(USB + 0x04, 2, 0),
        Load(USB + 0x08, 2, 0),
        // The host connects.
        Plug(Cable::Usb),
        Load(USB + 0x04, 2, 0),
        Wait(MS),
        Received(b"x"),
        Load(USB + 0x04, 2, 2),
    ]);
}

#[test]
fn usb_packets_come_from_the_host_with_interrupts() {
    let moves = route(26).into_iter().chain([
        Plug(Cable::Usb),
        Store(USB + 0x10, 1 << 2),
        Irq(0),
        Send(b"ok"),
        Wait(MS),
        Irq(1 << 7),
        Load(USB + 0x0c, ALL, 1 << 2),
        Load(USB + 0x04, 4, 4),
        Load(USB, ALL, b'o'.into()),
        Load(USB, ALL, b'k'.into()),
        Load(USB + 0x04, 4, 0),
        Store(USB + 0x14, 1 << 2),
        Irq(0),
        // Frames, and the end of a transmission.
        Store(USB + 0x10, 1 << 1),
        Store(USB + 0x14, 1 << 1),
        Irq(0),
        Wait(MS),
        Irq(1 << 7),
        Store(USB + 0x10, 1 << 3),
        Store(USB + 0x14, 1 << 3),
        Irq(0),
        Store(USB + 0x04, 1),
        Wait(100 * US),
        Irq(1 << 7),
    ]);
    check(&moves.collect::<Vec<_>>());
}
