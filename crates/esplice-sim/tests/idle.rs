//! Tests that skipping idle loops changes nothing else: runs the same loops with and without it.

use std::time::Duration;

use crate::{
    firmware::{Code, rom_image},
    mask_rom,
};
use esplice_sim::{Board, millis};

const UART: u32 = 0x6000_0000;
const TIMG0: u32 = 0x6001_f000;
const SYSTIMER: u32 = 0x6002_3000;
const INTMTX: u32 = 0x600c_2000;
const A0: u32 = 10;
const A1: u32 = 11;
const A3: u32 = 13;
const A4: u32 = 14;
const A5: u32 = 15;
const A6: u32 = 16;
const A7: u32 = 17;

/// Encodes `lw rd, offset(rs)`.
fn loads(rd: u32, rs: u32, offset: u32) -> u32 {
    0x2003 | rd << 7 | rs << 15 | offset << 20
}

/// Encodes `sw what, offset(rs)` with a small offset.
fn stores(what: u32, rs: u32, offset: u32) -> u32 {
    0x2023 | (offset & 31) << 7 | rs << 15 | what << 20
}

/// Encodes an operation with a constant, by its funct3.
fn immediate(funct3: u32, rd: u32, rs: u32, value: u32) -> u32 {
    0x13 | rd << 7 | funct3 << 12 | rs << 15 | (value & 0xfff) << 20
}

/// Encodes an operation on two registers, by its funct3 and further bits: 0x10_0000 for
/// multiplication and division, 0x2_0000 for subtraction.
fn register(funct: u32, rd: u32, rs1: u32, rs2: u32) -> u32 {
    let upper = match funct >> 16 {
        0x10 => 1 << 25,
        0x02 => 1 << 30,
        _ => 0,
    };
    0x33 | rd << 7 | (funct & 7) << 12 | rs1 << 15 | rs2 << 20 | upper
}

/// Encodes a backward branch by `by` bytes.
fn branch(funct3: u32, rs1: u32, rs2: u32, by: i32) -> u32 {
    let by = by as u32;
    let imm =
        (by >> 12 & 1) << 31 | (by >> 5 & 63) << 25 | (by >> 1 & 15) << 8 | (by >> 11 & 1) << 7;
    0x63 | funct3 << 12 | rs1 << 15 | rs2 << 20 | imm
}

/// Returns everything visible from outside a board: its bytes with their times, and its state.
fn seen(code: &Code, skip: bool, sent: &[u8]) -> (Vec<(Duration, u8)>, u64, u64, String) {
    seen_on(Board::new("esp32c3").unwrap(), code, skip, sent)
}

fn seen_on(
    mut board: Board,
    code: &Code,
    skip: bool,
    sent: &[u8],
) -> (Vec<(Duration, u8)>, u64, u64, String) {
    board.skip_idle(skip);
    board.load_flash(&rom_image(code)).unwrap();
    let mut bytes = Vec::new();
    let mut to_send = sent.iter();
    while board.now() < millis(400) {
        board.run_to(board.now() + millis(1), true).unwrap();
        while let Some(sent) = board.host_take_sent() {
            bytes.push((board.now(), sent.byte));
        }
        if board.now() > millis(100)
            && let Some(byte) = to_send.next()
        {
            board.send(&[*byte]);
        }
    }
    let rest = format!("{:?} {} {:?}", board.status(), board.resets(), board.unlisted_accesses());
    (bytes, board.cycles(), board.idle_cycles(), rest)
}

/// Prints a character.
fn say(code: Code, text: u8) -> Code {
    code.writes(&[(UART, text.into())])
}

/// Returns code that disables the watchdogs, so that only the loop itself ends it.
fn calm() -> Code {
    Code::new().flush().writes(&[
        (TIMG0 + 0x48, 0),
        (0x6000_80a8, 0x50d8_3aa1),
        (0x6000_8090, 0),
        (0x6000_80b0, 0x8f1d_312a),
        (0x6000_80ac, 1 << 31),
    ])
}

/// A repeating alarm of the system timer: 3,200,000 counts, 200 ms.
const ALARM: [(u32, u32); 3] = [
    (SYSTIMER + 0x34, 1 << 30 | 3_200_000),
    (SYSTIMER + 0x50, 1),
    (SYSTIMER, 1 << 30 | 1 << 24 | 1 << 31),
];

fn cases() -> Vec<(&'static str, Code, &'static [u8])> {
    let echo = calm()
        .load(A0, UART)
        .word(0x01c5_2583) // lw a1, 28(a0): STATUS
        .word(0x3ff5_f593) // andi a1, a1, 0x3ff
        .word(0xfe05_8ce3) // beqz a1, -8
        .word(0x0005_2583) // lw a1, 0(a0)
        .word(0x00b5_2023) // sw a1, 0(a0)
        .word(0xfedf_f06f); // j -20
    let poll = say(
        calm()
            .writes(&ALARM)
            .load(A0, SYSTIMER)
            .word(0x0685_2583) // lw a1, 0x68(a0): INT_RAW
            .word(0xfe05_8ee3), // beqz a1, -4
        b'!',
    )
    .wait();
    // The handler of interrupt 7 sets a word of RAM that the program waits for.
    let handler = 0x4038_0400_u32;
    let flag = 0x3fcd_0000;
    let interrupt = |code: Code| {
        code.writes(&ALARM)
            .writes(&[
                // At the vector: lui a2, flag; sw a2, 0(a2). mret with MPIE clear leaves interrupts
                // disabled.
                (handler + 28, 0x0200_006f), // j +32
                (handler + 60, flag | 12 << 7 | 0x37),
                (handler + 64, 0x00c6_2023),
                (handler + 68, 0x0800_0693), // li a3, 0x80
                (handler + 72, 0x3006_b073), // csrrc x0, mstatus, a3: MPIE
                (handler + 76, 0x3020_0073),
                (SYSTIMER + 0x64, 1),
                (INTMTX + 4 * 37, 7),
                (INTMTX + 0x114 + 4 * 7, 5),
                (INTMTX + 0x104, 1 << 7),
            ])
            .load(A0, handler)
            .word(0x3055_1073) // csrw mtvec, a0
            .word(0x3004_6073) // csrsi mstatus, 8
            .load(A0, flag)
    };
    let wait_flag = say(
        interrupt(calm())
            .word(0x0005_2583) // lw a1, 0(a0)
            .word(0xfe05_8ee3), // beqz a1, -4
        b'?',
    )
    .wait();
    // A loop with a call: the return address is stored on the stack and loaded again.
    let calling = say(
        interrupt(calm())
            .word(0x00c0_00ef) // jal ra, +12
            .word(0xfe05_8ee3) // beqz a1, -4
            .word(0x0140_006f) // j +20
            .word(0xfe11_2e23) // sw ra, -4(sp)
            .word(0x0005_2583) // lw a1, 0(a0)
            .word(0xffc1_2083) // lw ra, -4(sp)
            .word(0x0000_8067), // ret
        b'C',
    )
    .wait();
    // Polls the performance counter, where each cycle counts.
    let counter = say(
        calm()
            .load(A1, 3_000_000)
            .word(0x7e20_2573) // csrr a0, mpccr
            .word(0xfeb5_6ee3), // bltu a0, a1, -4
        b'P',
    )
    .wait();
    // As esp-hal does it: requests the time, waits for it, reads it until there was no carry in
    // between, and compares a part of it.
    let systimer = say(
        calm()
            .load(A0, SYSTIMER)
            .load(A3, 1 << 30)
            .load(A4, 350_000)
            .word(stores(A3, A0, 4))
            .word(loads(A1, A0, 4))
            .word(immediate(1, A1, A1, 2)) // slli: VALUE_VALID is the sign
            .word(branch(5, A1, 0, -8)) // bgez
            .word(loads(A5, A0, 0x44))
            .word(loads(A6, A0, 0x40))
            .word(loads(A7, A0, 0x44))
            .word(branch(1, A5, A7, -12)) // bne
            .word(immediate(5, A5, A5, 4)) // srli
            .word(immediate(1, A6, A6, 28)) // slli
            .word(register(6, A5, A5, A6)) // or
            .word(branch(6, A5, A4, -44)), // bltu
        b'S',
    )
    .wait();
    // Reads the timer of a group and how long ago it started.
    let group = say(
        calm()
            .writes(&[(TIMG0, 1 << 31 | 1 << 30 | 80 << 13)])
            .load(A0, TIMG0)
            .load(A4, 40_000)
            .word(stores(0, A0, 0x0c))
            .word(loads(A5, A0, 4))
            .word(stores(0, A0, 0x0c))
            .word(loads(A1, A0, 4))
            .word(register(0x2_0000, A1, A1, A5)) // sub
            .word(branch(6, A1, A4, -12)),
        b'T',
    )
    .wait();
    let rtc = say(
        calm()
            .load(A0, 0x6000_8000)
            .load(A3, 1 << 31)
            .load(A4, 40_000) // of 136 kHz
            .word(stores(A3, A0, 0x0c))
            .word(loads(A1, A0, 0x10))
            .word(branch(6, A1, A4, -8)),
        b'L',
    )
    .wait();
    // The remainder jumps back repeatedly.
    let remainder = say(
        calm()
            .load(A3, 3_000_017)
            .word(0x7e20_2573) // csrr a0, mpccr
            .word(register(0x10_0000 | 7, A0, A0, A3)) // remu
            .load(A4, 2_999_900)
            .word(branch(6, A0, A4, -16)),
        b'M',
    )
    .wait();
    // Reads an address without a device forever.
    let unlisted = say(calm(), b'u').load(A0, 0x6004_1000).word(0x0005_2583).word(0xffdf_f06f);
    // Random numbers, which differ each time.
    let random = say(
        calm()
            .load(A0, 0x6002_6000)
            .word(0x0b05_2583) // lw a1, 0xb0(a0)
            .word(0x00c5_d593) // srli a1, a1, 12
            .word(0xfe05_9ce3), // bnez a1, -8
        b'R',
    )
    .wait();
    vec![
        ("nothing", say(calm(), b'n').word(0x0000_006f), b""),
        ("echo", echo, b"hello"),
        ("alarm", poll, b""),
        ("flag", wait_flag, b""),
        ("calls", calling, b""),
        ("counter", counter, b""),
        ("systimer", systimer, b""),
        ("timer group", group, b""),
        ("RTC", rtc, b""),
        ("remainder", remainder, b""),
        ("unlisted", unlisted, b""),
        ("random", random, b""),
        ("wfi", say(calm(), b'w').wait(), b""),
        ("watchdog", say(Code::new().flush(), b'd').word(0x0000_006f), b""),
    ]
}

#[test]
fn skipping_changes_nothing_but_the_work() {
    for (name, code, sent) in cases() {
        let with = seen(&code, true, sent);
        let without = seen(&code, false, sent);
        assert_eq!(with.0, without.0, "{name}: output");
        assert_eq!(with.1, without.1, "{name}: cycles");
        assert_eq!(with.3, without.3, "{name}: state");
        let text: Vec<u8> = with.0.iter().map(|(_, byte)| *byte).collect();
        let ends: &[u8] = match name {
            "nothing" => b"n",
            "echo" => b"hello",
            "alarm" => b"!",
            "flag" => b"?",
            "calls" => b"C",
            "counter" => b"P",
            "systimer" => b"S",
            "timer group" => b"T",
            "RTC" => b"L",
            "remainder" => b"M",
            "unlisted" => b"u",
            "random" => b"R",
            "wfi" => b"w",
            _ => b"",
        };
        assert!(text.ends_with(ends), "{name}: {:?}", String::from_utf8_lossy(&text));
        let executed = |(_, cycles, idle, _): &(_, u64, u64, _)| cycles - idle;
        // Loops that can't be skipped are executed, the others hardly at all.
        let share = executed(&with) * 100 / executed(&without).max(1);
        match name {
            "random" | "wfi" => {}
            // Skipped only between two jumps.
            "remainder" => assert!(share < 60, "{name}: {share} % are executed"),
            _ => assert!(share < 20, "{name}: {share} % are executed"),
        }
    }
}

/// The ROM's own delay reads the CPU's counter in a loop.
#[test]
fn the_roms_delay_is_skipped() {
    let code = say(calm().load(A0, 150_000).load(A1, 0x4000_0050).word(0x0005_80e7), b'D').wait();
    let [with, without] = [true, false].map(|skip| {
        let board = Board::new("esp32c3").unwrap().with_rom(mask_rom::image());
        seen_on(board, &code, skip, b"")
    });
    assert_eq!((with.0.clone(), with.1, with.3), (without.0, without.1, without.3));
    assert!(with.0.ends_with(&[(with.0.last().unwrap().0, b'D')]));
    let (executed, all) = (with.1 - with.2, without.1 - without.2);
    assert!(executed < all / 5, "{executed} of {all} instructions are executed");
}

/// Random loops around a counter: various computations and various end conditions.
#[test]
fn skipping_loops_around_a_counter_changes_nothing() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: u32| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as u32 % below
    };
    let mut skipped = 0;
    for number in 0..30 {
        let mut code = calm().load(A0, SYSTIMER).load(A3, 1 << 30);
        for at in A4..=A7 {
            code = code.load(at, random(u32::MAX) >> random(32));
        }
        code = code.load(A6, 1 + random(4000));
        let mut len = 0;
        let mut put = |code: Code, word| {
            len += 4;
            code.word(word)
        };
        if random(2) == 0 {
            code = put(code, 0x7e20_25f3); // csrr a1, mpccr
        } else {
            code = put(code, stores(A3, A0, 4));
            code = put(code, loads(A1, A0, 0x44));
        }
        for _ in 0..random(5) {
            let other = A4 + random(4);
            let word = match random(16) {
                0..4 => immediate([0, 4, 6, 7][random(4) as usize], A1, A1, random(0x1000)),
                4..7 => immediate(5, A1, A1, random(12)),
                7 => immediate(1, A1, A1, random(12)),
                8 => register(0, A1, A1, other),
                9 => register(0x2_0000, A1, A1, other),
                10 => register(0x2_0000, A1, other, A1),
                11 => register(0x10_0000 | [0, 3][random(2) as usize], A1, A1, A6),
                12 => register(0x10_0000 | 5, A1, A1, A6),
                13 => register(0x10_0000 | 7, A1, A1, A6),
                14 => register([2, 3][random(2) as usize], A1, A1, other),
                _ => register([4, 6, 7][random(3) as usize], A1, A1, other),
            };
            code = put(code, word);
        }
        let kind = [0, 1, 4, 5, 6, 7][random(6) as usize];
        let back = branch(kind, A1, A4 + random(4), -len);
        // The final value's low byte is printed.
        let code = code.word(back).load(A0, UART).word(stores(A1, A0, 0)).wait();
        let [with, without] = [true, false].map(|skip| seen(&code, skip, b""));
        assert_eq!(with.0, without.0, "{number}: output");
        assert_eq!((with.1, &with.3), (without.1, &without.3), "{number}: cycles, state");
        skipped += usize::from(with.2 > without.2 + 1_000_000);
    }
    assert!(skipped > 5, "only {skipped} of the loops were skipped");
}
