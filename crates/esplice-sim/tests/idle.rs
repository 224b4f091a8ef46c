//! Waiting is skipped, and nothing else is different: the same loops with and without.

mod firmware;

use std::time::Duration;

use esplice_sim::{Board, millis};
use firmware::{Code, rom_image};

const UART: u32 = 0x6000_0000;
const TIMG0: u32 = 0x6001_f000;
const SYSTIMER: u32 = 0x6002_3000;
const INTMTX: u32 = 0x600c_2000;
const A0: u32 = 10;
const A1: u32 = 11;

/// What can be seen of a board from outside, byte by byte with its time.
fn seen(code: &Code, skip: bool, sent: &[u8]) -> (Vec<(Duration, u8)>, u64, u64, String) {
    let mut board = Board::new("esp32c3").unwrap();
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

/// Puts a character out.
fn say(code: Code, text: u8) -> Code {
    code.writes(&[(UART, text.into())])
}

/// No watchdog, so that only the loop's own end ends it.
fn calm() -> Code {
    Code::new().flush().writes(&[
        (TIMG0 + 0x48, 0),
        (0x6000_80a8, 0x50d8_3aa1),
        (0x6000_8090, 0),
        (0x6000_80b0, 0x8f1d_312a),
        (0x6000_80ac, 1 << 31),
    ])
}

/// An alarm of the system timer: 3,200,000 counts, 200 milliseconds, again and again.
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
                // At the vector: lui a2, flag; sw a2, 0(a2); csrci mstatus, 8 is not needed: mret with MPIE clear.
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
    // A loop that calls: the return address goes onto the stack and off it.
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
    // Polls the performance counter: each cycle counts.
    let counter = say(
        calm()
            .load(A1, 3_000_000)
            .word(0x7e20_2573) // csrr a0, mpccr
            .word(0xfeb5_6ee3), // bltu a0, a1, -4
        b'P',
    )
    .wait();
    // An address without a device, for ever.
    let unlisted = say(calm(), b'u').load(A0, 0x6004_0000).word(0x0005_2583).word(0xffdf_f06f);
    // Random numbers: not the same twice.
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
            "unlisted" => b"u",
            "random" => b"R",
            "wfi" => b"w",
            _ => b"",
        };
        assert!(text.ends_with(ends), "{name}: {:?}", String::from_utf8_lossy(&text));
        let executed = |(_, cycles, idle, _): &(_, u64, u64, _)| cycles - idle;
        // Those that can't be skipped are executed, the others hardly.
        let share = executed(&with) * 100 / executed(&without).max(1);
        match name {
            "counter" | "random" | "wfi" => {}
            _ => assert!(share < 20, "{name}: {share} % are executed"),
        }
    }
}
