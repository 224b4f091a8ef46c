//! Tests of the second UART on pins: output where the firmware routed it, input from a pin, and its
//! own bytes received through one pin and through its loopback.

use crate::firmware::{Code, rom_image};
use esplice_sim::{Board, millis};

const UART0: u32 = 0x6000_0000;
const UART1: u32 = 0x6001_0000;
const GPIO: u32 = 0x6000_4000;
const IO_MUX: u32 = 0x6000_9000;
const SYSTEM: u32 = 0x600c_0000;
const BAUD: u32 = 115_200;
const OUT: u32 = 4;
pub const IN: u32 = 5;
/// Signals U1TXD and U1RXD.
const SIGNAL: u32 = 9;

/// Sets up the second UART at 115200 baud from the crystal, with its output on pin 4 and its input
/// from `pin`.
pub fn set_up(pin: u32) -> Code {
    Code::new().flush().writes(&[
        (SYSTEM + 0x10, u32::MAX),
        (UART1 + 0x78, 0x0370_0000),
        (UART1 + 0x14, 347 | 3 << 20),
        (GPIO + 0x554 + 4 * OUT, SIGNAL),
        (GPIO + 0x154 + 4 * SIGNAL, 1 << 6 | pin),
        // The pad's input buffer.
        (IO_MUX + 4 + 4 * pin, 1 << 9),
    ])
}

/// Passes bytes from the second UART to the first one, forever.
pub fn pass_on(code: Code) -> Code {
    code.load(10, UART1)
        .load(12, UART0)
        .word(0x01c5_2583) // lw a1, 28(a0): STATUS
        .word(0x3ff5_f593) // andi a1, a1, 0x3ff
        .word(0xfe05_8ce3) // beqz a1, -8
        .word(0x0005_2583) // lw a1, 0(a0)
        .word(0x00b6_2023) // sw a1, 0(a2)
        .word(0xfedf_f06f) // j -20
}

pub fn board(code: &Code) -> Board {
    let mut board = Board::new("esp32c3").unwrap();
    board.load_flash(&rom_image(code)).unwrap();
    board
}

pub fn say(code: Code, text: &[u8]) -> Code {
    text.iter().fold(code, |code, byte| code.writes(&[(UART1, u32::from(*byte))]))
}

#[track_caller]
fn hears(board: &mut Board, expected: &[u8]) {
    let said = board.run_for(millis(100)).unwrap();
    assert!(said.ends_with(expected), "{}", said.escape_ascii());
}

#[test]
fn what_it_sends_is_heard_on_its_pin_in_its_time() {
    let mut board = board(&say(set_up(IN), b"second").wait());
    board.run_until(b"entry", millis(200)).unwrap();
    board.run_for(millis(100)).unwrap();
    let sent = board.take_serial(OUT);
    assert_eq!(sent.iter().map(|sent| sent.byte).collect::<Vec<_>>(), b"second");
    assert!(sent.iter().all(|sent| sent.is_clean_at(BAUD)), "{sent:?}");
    assert!(board.take_serial(OUT).is_empty() && board.take_serial(IN).is_empty());
    assert!(board.pin(OUT) && board.pin_is_output(OUT), "a line at rest is high");
}

#[test]
fn it_takes_what_comes_to_its_pin() {
    let mut board = board(&pass_on(set_up(IN)));
    board.run_for(millis(100)).unwrap();
    board.send_serial(OUT, b"elsewhere", BAUD);
    let arrived = board.send_serial(IN, b"to the second", BAUD);
    let taken = arrived - board.now();
    assert!(taken > 13 * millis(1) * 10 / 116 && taken < millis(2), "{taken:?}");
    hears(&mut board, b"to the second");
    // At another rate it receives garbage.
    board.send_serial(IN, b"U", 2 * BAUD);
    let said = board.run_for(millis(20)).unwrap();
    assert!(said.len() == 1 && said != b"U", "{said:?}");
}

#[test]
fn its_own_bytes_come_back_by_one_pin_and_by_its_loopback() {
    hears(&mut board(&pass_on(say(set_up(OUT), b"round"))), b"round");
    let loopback = set_up(IN).writes(&[(UART1 + 0x20, 0x1000_001c | 1 << 14)]);
    hears(&mut board(&pass_on(say(loopback, b"inside"))), b"inside");
    // Without either nothing is received.
    hears(&mut board(&pass_on(say(set_up(IN), b"gone"))), b"entry 0x40380000\r\n");
}
