//! Tests of light and deep sleep by firmware that writes the RTC controller's registers: wake-up,
//! continuation, and retained memory.

use std::time::Duration;

use crate::{
    firmware::{Code, rom_image},
    mask_rom,
};
use esplice_sim::{Board, ResetReason, Status, millis};

const UART: u32 = 0x6000_0000;
const RTC: u32 = 0x6000_8000;
const SLP_TIMER0: u32 = RTC + 0x04;
const SLP_TIMER1: u32 = RTC + 0x08;
const STATE0: u32 = RTC + 0x18;
const WAKEUP_STATE: u32 = RTC + 0x3c;
const SLP_REJECT_CONF: u32 = RTC + 0x68;
const DIG_PWC: u32 = RTC + 0x88;
const SLP_REJECT_CAUSE: u32 = RTC + 0xf0;
const SLP_WAKEUP_CAUSE: u32 = RTC + 0xf8;
const GPIO_WAKEUP: u32 = RTC + 0x110;
const RTC_RAM: u32 = 0x5000_0000;
const SRAM: u32 = 0x3fcd_0000;
const SYSTIMER: u32 = 0x6002_3000;

const DEEP: (u32, u32) = (DIG_PWC, 1 << 31);
const GO: (u32, u32) = (STATE0, 1 << 31);
const GPIO: u32 = 1 << 2;
const TIMER: u32 = 1 << 3;

/// Alarm of the main timer after power-on: 0.1 s at 136 kHz.
const ALARM: [(u32, u32); 2] = [(SLP_TIMER0, 13_600), (SLP_TIMER1, 1 << 16)];

fn board(code: &Code) -> Board {
    let mut board = Board::new("esp32c3").unwrap();
    board.load_flash(&rom_image(code)).unwrap();
    board
}

/// Prints a register's low byte plus 0x40 as a character.
fn told(code: Code, register: u32) -> Code {
    // lw a1, 0(a0); addi a1, a1, 0x40; sw a1, 0(a2)
    code.load(10, register).load(12, UART).word(0x0005_2583).word(0x0405_8593).word(0x00b6_2023)
}

fn wake_by(sources: u32) -> (u32, u32) {
    (WAKEUP_STATE, sources << 15)
}

#[test]
fn light_sleep_goes_on_where_it_was_and_the_cpus_clocks_stood_still() {
    // The system timer is read before and after. Time counted during sleep would show in its upper
    // bits.
    let timer =
        |code: Code, to| code.writes(&[(SYSTIMER + 0x04, 1 << 30)]).copy(SYSTIMER + 0x44, to);
    let code = timer(Code::new().flush().writes(&ALARM).writes(&[wake_by(TIMER)]), SRAM);
    let code = timer(code.writes(&[GO]), SRAM + 4);
    // Their difference in units of 2^14 counts, about a millisecond.
    let code = code
        .load(10, SRAM)
        .word(0x0005_2583) // lw a1, 0(a0)
        .word(0x0045_2603) // lw a2, 4(a0)
        .word(0x40b6_05b3) // sub a1, a2, a1
        .word(0x00e5_d593) // srli a1, a1, 14
        .word(0x0405_8593)
        .load(12, UART)
        .word(0x00b6_2023);
    let mut board = board(&told(told(code, SLP_WAKEUP_CAUSE), RTC + 0x44).wait());
    board.run_for(millis(60)).unwrap();
    assert_eq!(board.status(), Status::Sleeping);
    let printed = board.run_until(b"@HA", millis(100)).unwrap();
    assert_eq!(printed, b"@HA");
    let woke = board.now();
    assert!((millis(99)..millis(106)).contains(&woke), "{woke:?}");
}

#[test]
fn deep_sleep_ends_in_a_reset_that_keeps_the_rtcs_memory_alone() {
    // Counts in RTC memory; the SRAM word is 0 each time.
    let code = told(told(Code::new().flush(), RTC_RAM), SRAM)
        .flush()
        .load(10, RTC_RAM)
        .word(0x0005_2583)
        .word(0x0015_8593) // addi a1, a1, 1
        .word(0x00b5_2023)
        .writes(&[(SRAM, 5), wake_by(TIMER), DEEP])
        .writes(&ALARM)
        .writes(&[GO])
        .wait();
    let mut board = board(&code);
    let printed = board.run_until(b"@@", millis(80)).unwrap();
    assert!(!printed.windows(6).any(|text| text == b"DSLEEP"));
    let printed = board.run_until(b"A@", millis(200)).unwrap();
    let text = String::from_utf8(printed).unwrap();
    assert!(text.contains("rst:0x5 (DSLEEP),boot:0xc (SPI_FAST_FLASH_BOOT)"), "{text}");
    assert!(!text.contains("Saved PC"), "{text}");
    assert_eq!(board.resets(), 2);
    // The alarm has passed, so the board sleeps no more.
    board.run_until(b"B@", millis(200)).unwrap();
    // Power-off clears the memory.
    board.press_reset();
    board.run_until(b"@@", millis(80)).unwrap();
}

/// A wake stub in RTC memory that increments a counter there, prints, and returns to the ROM.
const STUB: u32 = RTC_RAM + 0x100;
const STUB_CODE: [u32; 8] = [
    0x5000_0537, // lui a0, 0x50000
    0x0005_2583, // lw a1, 0(a0)
    0x0015_8593, // addi a1, a1, 1
    0x00b5_2023, // sw a1, 0(a0)
    0x6000_0537, // lui a0, 0x60000
    0x0530_0593, // li a1, 'S'
    0x00b5_2023, // sw a1, 0(a0)
    0x0000_8067, // ret
];
const STORE6: u32 = RTC + 0xc0;
const STORE7: u32 = RTC + 0xc4;
const SET_RTC_MEMORY_CRC: u32 = 0x4000_0034;

/// Returns firmware that prints the counter and sleeps with that stub set up; `spoil` is written
/// last.
fn with_stub(spoil: &[(u32, u32)]) -> Code {
    let stub: Vec<(u32, u32)> = (STUB..).step_by(4).zip(STUB_CODE).collect();
    told(Code::new().flush(), RTC_RAM)
        .flush()
        .writes(&stub)
        .writes(&[(STORE6, STUB)])
        .call(SET_RTC_MEMORY_CRC)
        .writes(spoil)
        .writes(&[(GPIO_WAKEUP, 1 << 29 | 5 << 17), wake_by(GPIO), DEEP, GO]) // pin 2, high
        .wait()
}

/// The mask ROM runs a stub if its checksum matches, and then clears it. The modelled and the
/// executed ROM do the same.
#[test]
fn a_wake_stub_runs_before_the_boot() {
    for (name, spoil, ran) in [
        ("good", &[][..], true),
        ("another checksum", &[(STORE7, 0x1234_5678)][..], false),
        ("other memory", &[(RTC_RAM + 0x1ff0, 1)][..], false),
        ("none", &[(STORE6, 0)][..], false),
    ] {
        let said = [false, true].map(|executed| {
            let mut board = board(&with_stub(spoil));
            if executed {
                board = board.with_rom(mask_rom::image());
            }
            let mut said = board.run_for(millis(60)).unwrap();
            assert_eq!(board.status(), Status::Sleeping, "{name}");
            board.set_pin(2, true);
            said.extend(board.run_for(millis(5)).unwrap());
            board.set_pin(2, false);
            said.extend(board.run_for(millis(60)).unwrap());
            assert_eq!(board.status(), Status::Sleeping, "{name}");
            // The stub is set up for one sleep only; a reset of another kind does not run it.
            board.reset_as(ResetReason::SoftwareSystem);
            said.extend(board.run_for(millis(60)).unwrap());
            String::from_utf8(said).unwrap()
        });
        assert_eq!(said[0], said[1], "{name}");
        let told: Vec<&str> = said[0].split("rst:0x").skip(1).collect();
        let [first, woken, reset] = told[..] else { panic!("{name}: {told:?}") };
        assert!(first.contains("entry 0x40380000\r\n@"), "{name}: {first}");
        let counter = if ran { 'A' } else { '@' };
        assert_eq!(woken.contains("SPI_FAST_FLASH_BOOT)\r\nSSPIWP"), ran, "{name}: {woken}");
        assert!(woken.contains(&format!("entry 0x40380000\r\n{counter}")), "{name}: {woken}");
        assert!(reset.contains(&format!("entry 0x40380000\r\n{counter}")), "{name}: {reset}");
    }
}

/// An invalid stub ends in the ROM's report. Unspecified registers at the call may differ in the
/// ROM.
#[test]
fn a_wild_wake_stub_is_reported() {
    let said = [false, true].map(|executed| {
        let mut board = board(&with_stub(&[(STORE6, 0x1000_0000)]));
        if executed {
            board = board.with_rom(mask_rom::image());
        }
        board.run_for(millis(60)).unwrap();
        board.set_pin(2, true);
        let said = String::from_utf8(board.run_for(millis(150)).unwrap()).unwrap();
        let leftover =
            |line: &str| ["TP", "S0", "A2", "A6", "S4", "S8", "T3"].contains(&&line[..2]);
        let kept = said.lines().filter(|line| line.len() < 2 || !leftover(line));
        kept.collect::<Vec<_>>().join("\n")
    });
    assert!(said[0].contains("PC      : 0x10000000  RA      : 0x40047e98  SP      : 0x3fcde700"));
    assert!(said[0].contains("Illegal instruction"), "{}", said[0]);
    assert_eq!(said[0], said[1]);
}

#[test]
fn pins_wake() {
    let deep = [(GPIO_WAKEUP, 1 << 29 | 5 << 17), wake_by(GPIO), DEEP, GO]; // pin 2, high
    let light = [
        (0x6000_4074 + 4 * 9, 1 << 10 | 4 << 7), // pin 9, low
        wake_by(GPIO),
        GO,
    ];
    for (writes, pin, level, cause) in
        [(&deep[..], 2, true, b"rst:0x5".as_slice()), (&light[..], 9, false, b"D")]
    {
        let code = Code::new().flush().writes(writes);
        let mut board = board(&told(code, SLP_WAKEUP_CAUSE).wait());
        board.set_pin(pin, !level);
        board.run_for(Duration::from_secs(20)).unwrap();
        assert_eq!(board.status(), Status::Sleeping, "pin {pin}");
        board.set_pin(pin, level);
        board.run_until(cause, millis(40)).unwrap();
    }
}

#[test]
fn a_byte_wakes_from_light_sleep() {
    let code = Code::new().flush().writes(&[wake_by(1 << 6), GO]);
    let mut board = board(&told(code, SLP_WAKEUP_CAUSE).wait());
    board.run_for(millis(200)).unwrap();
    assert_eq!(board.status(), Status::Sleeping);
    board.send(b"!");
    // 0x40 for the cause, and 0x40.
    let printed = board.run_until(b"\x80", millis(10)).unwrap();
    assert_eq!(printed, b"\x80");
}

/// If a wake-up source is already active, sleep is refused where that is enabled; otherwise it ends
/// at once.
#[test]
fn sleep_can_be_refused() {
    let pin = (GPIO_WAKEUP, 1 << 31 | 4 << 23); // pin 0, low, as it is
    for (conf, raw, reject) in [(1 << 30 | GPIO << 12, b'B', b'D'), (GPIO << 12, b'A', b'@')] {
        let writes = [pin, wake_by(GPIO), (SLP_REJECT_CONF, conf), GO];
        let code = told(Code::new().flush().writes(&writes), RTC + 0x44);
        let mut board = board(&told(code, SLP_REJECT_CAUSE).wait());
        board.run_until(&[raw, reject], millis(80)).unwrap();
    }
}

/// The RTC watchdog keeps running in sleep unless configured otherwise.
#[test]
fn the_watchdog_watches_a_sleep() {
    let watchdog = |pause: u32| {
        [
            (RTC + 0xa8, 0x50d8_3aa1),
            (RTC + 0x94, 3400), // 50 ms, doubled for stage 0
            (RTC + 0x90, 1 << 31 | 4 << 28 | pause << 9), // resets the RTC
        ]
    };
    for (pause, expected) in [(0, true), (1, false)] {
        let code = Code::new().flush().writes(&watchdog(pause)).writes(&[wake_by(GPIO), GO]).wait();
        let mut board = board(&code);
        let printed = board.run_for(millis(150)).unwrap();
        let text = String::from_utf8(printed).unwrap();
        assert_eq!(text.contains("rst:0x10 (RTCWDT_RTC_RST)"), expected, "pause {pause}: {text}");
    }
}

/// Reset reasons that firmware can't cause, and the ROM's output for them.
#[test]
fn resets_from_outside_have_their_reasons() {
    for (reason, said) in [
        (ResetReason::BrownOut, "rst:0xf (BROWNOUT_RST)"),
        (ResetReason::ClockGlitch, "rst:0x13 (GLITCH_RTC_RST)"),
        (ResetReason::EfuseError, "rst:0x14 (EFUSE_RST)"),
        (ResetReason::UsbUart, "rst:0x15 (USB_UART_CHIP_RESET)"),
        (ResetReason::UsbJtag, "rst:0x16 (USB_JTAG_CHIP_RESET)"),
        (ResetReason::PowerGlitch, "rst:0x17 (POWER_GLITCH_RESET)"),
    ] {
        let mut board = board(&Code::new().wait());
        board.run_for(millis(60)).unwrap();
        board.reset_as(reason);
        let printed = String::from_utf8(board.run_for(millis(60)).unwrap()).unwrap();
        assert!(printed.contains(said), "{reason:?}: {printed}");
    }
}
