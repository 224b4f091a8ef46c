//! Tests of the I2C controller, with parts on its bus.

use super::*;
use crate::parts::{Eeprom, Thermometer, ThermometerKind};

const I2C: u32 = 0x6001_3000;
const CTR: u32 = I2C + 0x04;
const SR: u32 = I2C + 0x08;
const TO: u32 = I2C + 0x0c;
const FIFO_CONF: u32 = I2C + 0x18;
const DATA: u32 = I2C + 0x1c;
const INT_RAW: u32 = I2C + 0x20;
const INT_CLR: u32 = I2C + 0x24;
const INT_ENA: u32 = I2C + 0x28;
const SOURCE: u32 = 29;
const SDA: u32 = 4;
const SCL: u32 = 5;

const START: u32 = 6 << 11;
const STOP: u32 = 2 << 11;
const END: u32 = 4 << 11;
/// Reads a byte and answers NACK.
const READ_LAST: u32 = 3 << 11 | 1 << 10 | 1;

const NACK: u32 = 1 << 10;
const COMPLETE: u32 = 1 << 7;
const END_DETECT: u32 = 1 << 3;
const TIME_OUT: u32 = 1 << 8;
const ERRORS: u32 = NACK | TIME_OUT | 1 << 13 | 1 << 14;

/// Writes `count` bytes and checks their acknowledgements.
fn write(count: u32) -> u32 {
    1 << 11 | 1 << 8 | count
}

/// Sets the bus to 100 kHz on pins 4 and 5.
fn set_up() -> Vec<Do> {
    let pin = |pin: u32, signal: u32| {
        [
            Store(GPIO + 0x74 + 4 * pin, 1 << 2),
            Store(GPIO + 0x554 + 4 * pin, signal),
            Store(GPIO + 0x154 + 4 * signal, 1 << 6 | pin),
            Store(IO_MUX + 4 + 4 * pin, 1 << 9 | 1 << 8),
        ]
    };
    let pins = pin(SCL, 53).into_iter().chain(pin(SDA, 54));
    // 400 periods of 40 MHz: low, high and the wait for it.
    pins.chain([
        Store(I2C, 199),
        Store(I2C + 0x38, 150 | 50 << 9),
        Store(CTR, 1 << 4),
        Store(INT_ENA, NACK | COMPLETE | END_DETECT),
    ])
    .collect()
}

/// Sends `bytes` and executes commands.
fn transfer(commands: &[u32], bytes: &[u8]) -> Vec<Do> {
    let reset = [Store(INT_CLR, ALL), Store(FIFO_CONF, 3 << 12), Store(FIFO_CONF, 0)];
    let commands = (0..8).map(|at| {
        let command = commands.get(at as usize).copied().unwrap_or(0);
        Store(I2C + 0x58 + 4 * at, command)
    });
    let bytes = bytes.iter().map(|byte| Store(DATA, u32::from(*byte)));
    let start = Store(CTR, 1 << 4 | 1 << 5);
    reset.into_iter().chain(commands).chain(bytes).chain([start]).collect()
}

fn board() -> Soc {
    let mut soc = soc();
    let bus = &mut soc.fabric.i2c[0];
    let thermometer = Thermometer::new(ThermometerKind::Tmp102, 25.0);
    bus.attach("thermometer", 0x48, Box::new(thermometer));
    bus.attach("memory", 0x50, Box::new(Eeprom::new("24c02").unwrap()));
    soc
}

#[track_caller]
fn check_bus(moves: impl IntoIterator<Item = Do>) {
    let mut soc = board();
    let moves: Vec<Do> = set_up().into_iter().chain(moves).collect();
    perform(&mut soc, &moves);
}

#[test]
fn a_register_is_read_at_the_rate_of_the_bus() {
    let commands = [START, write(2), START, write(1), 3 << 11 | 1, READ_LAST, STOP];
    let begins = transfer(&commands, &[0x48 << 1, 0, 0x48 << 1 | 1]);
    let routed = route(SOURCE).into_iter().chain(begins).chain([
        Load(SR, 1 << 4, 1 << 4),
        Irq(0),
        // Three conditions and five bytes of 10 µs a bit.
        Wait(10 * 48 * US - US),
        Load(INT_RAW, COMPLETE, 0),
        Load(SR, 0x3f << 8, 2 << 8),
        Wait(2 * US),
        Load(INT_RAW, COMPLETE | ERRORS, COMPLETE),
        Irq(1 << 7),
        Load(SR, 1 << 4, 0),
        // Each executed command is marked.
        Load(I2C + 0x58, 1 << 31, 1 << 31),
        Load(I2C + 0x70, 1 << 31, 1 << 31),
        Load(I2C + 0x74, ALL, 0),
        Load(DATA, ALL, 0x19),
        Load(DATA, ALL, 0x00),
        Store(INT_CLR, COMPLETE),
        Irq(0),
    ]);
    check_bus(routed);
}

#[test]
fn nobody_answers_at_another_address() {
    let begins = transfer(&[START, write(2), STOP], &[0x49 << 1, 0]);
    check_bus(begins.into_iter().chain([
        Wait(101 * US),
        Load(INT_RAW, NACK | COMPLETE, NACK | COMPLETE),
        Load(SR, 1 << 4, 0),
        // The second byte was not sent.
        Load(SR, 0x3f << 18, 1 << 18),
    ]));
    // Nor on pins that are not connected.
    let begins = transfer(&[START, write(2), STOP], &[0x48 << 1, 0]);
    let elsewhere = [Store(GPIO + 0x554 + 4 * SDA, 0x80)].into_iter().chain(begins);
    check_bus(elsewhere.chain([Wait(101 * US), Load(INT_RAW, NACK, NACK)]));
}

#[test]
fn a_transfer_goes_on_after_its_end_command() {
    let first = transfer(&[START, write(3), END], &[0x50 << 1, 4, 0xab]);
    let second = transfer(&[write(1), STOP], &[0xcd]);
    let third = transfer(&[START, write(2), STOP], &[0x50 << 1, 4]);
    let read = transfer(&[START, write(1), 3 << 11 | 1, READ_LAST, STOP], &[0x50 << 1 | 1]);
    let moves = first
        .into_iter()
        .chain([Wait(300 * US), Load(INT_RAW, END_DETECT | COMPLETE, END_DETECT)])
        .chain([Load(SR, 1 << 4, 1 << 4)])
        .chain(second)
        .chain([Wait(101 * US), Load(INT_RAW, END_DETECT | COMPLETE, COMPLETE)])
        // The EEPROM is busy for 5 ms.
        .chain(third.clone())
        .chain([Wait(300 * US), Load(INT_RAW, NACK, NACK), Wait(5 * MS)])
        .chain(third)
        .chain([Wait(300 * US), Load(INT_RAW, NACK, 0)])
        .chain(read)
        .chain([Wait(400 * US), Load(DATA, ALL, 0xab), Load(DATA, ALL, 0xcd)]);
    check_bus(moves);
}

#[test]
fn a_list_without_a_start_leads_nowhere() {
    check_bus(
        transfer(&[write(1), STOP], &[0x48 << 1])
            .into_iter()
            .chain([Wait(10 * MS), Load(INT_RAW, COMPLETE | ERRORS, 0)]),
    );
}

#[test]
fn the_master_waits_for_bytes_and_keeps_to_its_fifos() {
    let moves = transfer(&[START, write(2), STOP], &[0x48 << 1])
        .into_iter()
        .chain([Wait(5 * MS), Load(INT_RAW, COMPLETE | 1 << 6, 1 << 6), Store(DATA, 1)])
        .chain([Wait(101 * US), Load(INT_RAW, COMPLETE, COMPLETE)])
        .chain((0..33).map(|byte| Store(DATA, byte)))
        .chain([Load(SR, 0x3f << 18, 32 << 18), Load(INT_RAW, 1 << 11, 1 << 11)])
        .chain([Load(DATA, ALL, 0), Load(INT_RAW, 1 << 12, 1 << 12)]);
    check_bus(moves);
}

#[test]
fn a_wire_that_is_held_low_ends_in_a_timeout() {
    let begins = || transfer(&[START, write(2), STOP], &[0x48 << 1, 0]);
    // 2^14 periods of 40 MHz are 410 µs.
    let timeout = [Store(TO, 1 << 5 | 14)].into_iter().chain(begins()).chain([
        Wait(50 * US),
        Drive(SCL, Some(false)),
        Wait(400 * US),
        Load(INT_RAW, ERRORS, 0),
        Wait(150 * US),
        Load(INT_RAW, ERRORS, TIME_OUT),
        Load(SR, 1 << 4, 0),
        Drive(SCL, None),
    ]);
    check_bus(
        timeout.chain(begins()).chain([Wait(MS), Load(INT_RAW, COMPLETE | ERRORS, COMPLETE)]),
    );
    // The state machines have timeouts of their own, of 2^16 periods after a reset.
    check_bus([Drive(SDA, Some(false))].into_iter().chain(begins()).chain([
        Wait(1600 * US),
        Load(INT_RAW, ERRORS, 0),
        Wait(100 * US),
        Load(INT_RAW, ERRORS, 1 << 13),
    ]));
    // Released in time, it goes on.
    check_bus(begins().into_iter().chain([
        Wait(50 * US),
        Drive(SCL, Some(false)),
        Wait(500 * US),
        Drive(SCL, None),
        Wait(200 * US),
        Load(INT_RAW, COMPLETE | ERRORS, COMPLETE),
    ]));
}

#[test]
fn resets_and_pulses_release_the_bus() {
    let begins = || transfer(&[START, write(3), STOP], &[0x50 << 1, 4]);
    let moves = begins()
        .into_iter()
        .chain([Wait(MS), Store(CTR, 1 << 4 | 1 << 10), Load(SR, 1 << 4, 0)])
        .chain([Store(I2C + 0x80, 1 | 9 << 1), Wait(89 * US), Load(I2C + 0x80, 1, 1)])
        .chain([Wait(2 * US), Load(I2C + 0x80, 1, 0)])
        .chain(begins())
        .chain([Wait(MS), Reset(ResetReason::SoftwareSystem), Load(SR, ALL, 3 << 14 | 1)])
        .chain([Load(INT_RAW, ALL, 2)]);
    check_bus(moves);
}
