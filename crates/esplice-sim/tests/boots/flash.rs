//! Boots flash contents and compares the UART's output with the case's file in `expected/`.
//! `ESPLICE_BLESS=1` rewrites the files. The apps are a few instructions each, assembled here.

use std::time::Duration;

use esplice_sim::{Board, SimError, TimeMode, millis, secs};

use crate::{
    boots::bench::{Rom, bootloader, check, default_table, expected_output},
    firmware::{Code, app, direct, rom_image},
};

const SECOND: Duration = secs(1);
const MS: Duration = millis(1);

/// Runs until `stop` has been printed or the board's clock reaches `limit`.
fn run(board: &mut Board, stop: &str, limit: Duration) -> Result<String, SimError> {
    let mut text = Vec::new();
    let mut buf = [0; 256];
    while board.now() < limit {
        let result = board.run_to(limit, true);
        let taken = board.host_take(115_200, &mut buf);
        text.extend_from_slice(&buf[..taken]);
        if !stop.is_empty() && text.windows(stop.len()).any(|window| window == stop.as_bytes()) {
            break;
        }
        result?;
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

pub fn good_image(rom: &Rom) {
    let app = app(&Code::new().say("app runs\r\n"));
    let parts: &[(u32, &[u8])] =
        &[(0, &bootloader()), (0x8000, &default_table()), (0x1_0000, &app)];
    let text = run(&mut rom.board(parts), "app runs\r\n", SECOND).unwrap();
    check("good.txt", &text);
    let again = run(&mut rom.board(parts), "app runs\r\n", SECOND).unwrap();
    assert_eq!(text, again, "two boards with the same flash differ");
}

pub fn time_none_says_the_same_sooner(rom: &Rom) {
    let app = app(&Code::new().say("app runs\r\n"));
    let parts: &[(u32, &[u8])] =
        &[(0, &bootloader()), (0x8000, &default_table()), (0x1_0000, &app)];
    let mut fast = rom.timed_board(TimeMode::None, parts);
    let text = run(&mut fast, "app runs\r\n", SECOND).unwrap();
    let timed = run(&mut rom.board(parts), "app runs\r\n", SECOND).unwrap();
    // Everything is the same except the times in the log.
    let plain = |text: &str| {
        let lines = text.lines().map(|line| match line.split_once(") ") {
            Some((time, rest)) if time.starts_with("I (") => rest.to_owned(),
            _ => line.to_owned(),
        });
        lines.collect::<Vec<_>>()
    };
    assert_eq!(plain(&text), plain(&timed));
    assert!(fast.now() < 40 * MS, "{:?}", fast.now());
}

pub fn blank_flash(rom: &Rom) {
    // Runs to the watchdog's reset, which cuts off a line.
    let mut board = rom.board(&[]);
    let mut text = run(&mut board, "Saved PC", 2 * SECOND).unwrap();
    text += &run(&mut board, "\r\n", 2 * SECOND).unwrap();
    let (lines, rest) = text.split_once("invalid header: 0xffffffff\r\n").unwrap();
    let (looks, end) = rest.split_at(rest.find("ESP-ROM").unwrap());
    let count = looks.matches("invalid header: 0xffffffff\r\n").count();
    assert!(count > 500, "{count} lines");
    // The watchdog finds the ROM at the UART or at the flash chip. Real boards report the latter.
    let (end, saved) = end.split_at(end.find("Saved PC").unwrap());
    let places = ["Saved PC:0x4004d1f8\r\n", "Saved PC:0x4004c0dc\r\n"];
    assert!(places.contains(&saved), "{saved}");
    check("blank.txt", &format!("{lines}(… lines …)\n{end}"));
}

pub fn broken_images(rom: &Rom) {
    let loader = bootloader();
    let app = app(&Code::new().say("app runs\r\n"));
    let table = default_table();
    let flip = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    type Case<'a> = (&'a str, &'a [u8], &'a [u8], &'a [u8]);
    // Name, bootloader, partition table, app.
    let cases: &[Case] = &[
        ("app-checksum", &loader, &table, &flip(&app, 0x140)),
        ("app-hash", &loader, &table, &flip(&app, app.len() - 1)),
        ("app-magic", &loader, &table, &flip(&app, 0)),
        ("app-chip", &loader, &table, &flip(&app, 12)),
        ("app-missing", &loader, &table, &[]),
        ("table-md5", &loader, &flip(&table, 4), &app),
        ("table-missing", &loader, &[], &app),
        ("bootloader-checksum", &flip(&loader, 0x100), &table, &app),
        ("bootloader-hash", &flip(&loader, loader.len() - 1), &table, &app),
        ("bootloader-chip", &flip(&loader, 12), &table, &app),
        ("bootloader-address", &flip(&loader, 24), &table, &app),
    ];
    for (name, loader, table, app) in cases {
        let mut board = rom.board(&[(0, loader), (0x8000, table), (0x1_0000, app)]);
        // Run until the app runs or the board has been reset once.
        let mut text = run(&mut board, "app runs\r\n", 200 * MS).unwrap();
        if !text.contains("app runs") && board.resets() == 1 {
            text += &run(&mut board, "Saved PC", 4 * SECOND).unwrap();
            text += &run(&mut board, "\n", 5 * SECOND).unwrap();
        }
        let end = text.find("Saved PC").and_then(|at| text[at..].find('\n').map(|n| at + n + 1));
        check_within_a_millisecond(&format!("{name}.txt"), &text[..end.unwrap_or(text.len())]);
    }
}

pub fn images_without_a_second_stage(rom: &Rom) {
    let image = rom_image(&Code::new().flush().say("loaded by the ROM\r\n"));
    let text = run(&mut rom.board(&[(0, &image)]), "by the ROM\r\n", SECOND).unwrap();
    check("rom-image.txt", &text);
    let image = direct(&Code::new().flush().say("executed in place\r\n"));
    let text = run(&mut rom.board(&[(0, &image)]), "in place\r\n", SECOND).unwrap();
    check("direct.txt", &text);
}

/// Compares the output, allowing a difference of a millisecond: the charged cycles of ROM and
/// bootloader are slightly inexact, which may move a log time to the next millisecond.
#[track_caller]
fn check_within_a_millisecond(name: &str, text: &str) {
    let expected = expected_output(name);
    let time = |line: &str| -> Option<(u32, String)> {
        let (kind, rest) = line.split_once(" (")?;
        let (time, rest) = rest.split_once(") ")?;
        Some((time.parse().ok()?, format!("{kind} {rest}")))
    };
    let is_near = |one: &str, other: &str| match (time(one), time(other)) {
        (Some((one, words)), Some((other, same))) => one.abs_diff(other) <= 1 && words == same,
        _ => false,
    };
    let is_same = text.lines().count() == expected.lines().count()
        && text
            .lines()
            .zip(expected.lines())
            .all(|(one, other)| one == other || is_near(one, other));
    if !is_same {
        check(name, text);
    }
}

pub fn a_crash_before_the_app_has_vectors(rom: &Rom) {
    let image = rom_image(&Code::new().word(0xc000_1073)); // unimp
    let text = run(&mut rom.board(&[(0, &image)]), "Saved PC:0x40052b02\r\n", 4 * SECOND).unwrap();
    match rom {
        Rom::Hooked => check("crash.txt", &text),
        // Registers and stack contain values left by the ROM's code, so only their values differ.
        Rom::Executed => {
            assert_eq!(without_values(&text), without_values(&expected_output("crash.txt")))
        }
    }
}

/// Removes the values of the stack and of the registers that the exception has not set.
fn without_values(text: &str) -> String {
    let kept = ["PC ", "MSTATUS", "MCAUSE", "MTVAL", "INTLEVEL", "SP "];
    let mut out = String::new();
    for line in text.lines() {
        let mut words = line.split("  ").map(|word| match word.split_once(": 0x") {
            Some((name, _)) if !kept.iter().any(|kept| name.trim().starts_with(kept.trim())) => {
                name.to_owned()
            }
            _ => word.to_owned(),
        });
        out.extend(words.by_ref().map(|word| word + "  "));
        out.push('\n');
    }
    out
}

pub fn every_reset_has_its_reason(rom: &Rom) {
    const RTC: u32 = 0x6000_8000;
    const TIMG0: u32 = 0x6001_f000;
    const TIMG1: u32 = 0x6002_0000;
    const KEY: u32 = 0x50d8_3aa1;
    // Stage 0 after 1000 periods, with `action`; the other stages off.
    let timer = |base, action: u32| {
        vec![
            (base + 0x64, KEY),
            (base + 0x48, 0),
            (base + 0x50, 1000),
            (base + 0x48, 1 << 31 | action << 29),
        ]
    };
    let rtc = |action: u32| {
        vec![
            (RTC + 0xa8, KEY),
            (RTC + 0x90, 0),
            (RTC + 0x94, 10),
            (RTC + 0x90, 1 << 31 | action << 28),
        ]
    };
    for (writes, expected) in [
        (vec![(RTC, 1 << 31)], "rst:0x3 (RTC_SW_SYS_RST),boot:0xc (SPI_FAST_FLASH_BOOT)"),
        (vec![(RTC, 1 << 5)], "rst:0xc (RTC_SW_CPU_RST),boot:0xc (SPI_FAST_FLASH_BOOT)"),
        (timer(TIMG0, 3), "rst:0x7 (TG0WDT_SYS_RST),boot:0xc (SPI_FAST_FLASH_BOOT)"),
        (timer(TIMG0, 2), "rst:0xb (TG0WDT_CPU_RST),boot:0xc (SPI_FAST_FLASH_BOOT)"),
        (timer(TIMG1, 3), "rst:0x8 (TG1WDT_SYS_RST),boot:0xc (SPI_FAST_FLASH_BOOT)"),
        (timer(TIMG1, 2), "rst:0x11 (TG1WDT_CPU_RST),boot:0xc (SPI_FAST_FLASH_BOOT)"),
        (rtc(2), "rst:0xd (RTCWDT_CPU_RST),boot:0xc (SPI_FAST_FLASH_BOOT)"),
        (rtc(3), "rst:0x9 (RTCWDT_SYS_RST),boot:0xc (SPI_FAST_FLASH_BOOT)"),
        (rtc(4), "rst:0x10 (RTCWDT_RTC_RST),boot:0xc (SPI_FAST_FLASH_BOOT)"),
        (
            // Both other watchdogs are off; the super watchdog is unchanged.
            vec![(RTC + 0xa8, KEY), (RTC + 0x90, 0), (TIMG0 + 0x48, 0)],
            "rst:0x12 (SUPER_WDT_RST),boot:0xc (SPI_FAST_FLASH_BOOT)",
        ),
    ] {
        let image = rom_image(&Code::new().flush().writes(&writes).wait());
        let mut board = rom.board(&[(0, &image)]);
        let mut text = run(&mut board, "entry", SECOND).unwrap();
        text += &run(&mut board, "SPIWP", 5 * SECOND).unwrap();
        let line = text.lines().filter(|line| line.starts_with("rst:")).nth(1);
        assert_eq!(line, Some(expected), "{writes:x?}: {text}");
        assert_eq!(board.resets(), 2);
    }
}

pub fn stored_registers_outlive_resets_but_not_power(rom: &Rom) {
    // The app prints the byte in STORE0, stores a letter there and restarts.
    let code = Code::new().flush().copy(0x6000_8050, 0x6000_0000).flush();
    let code = code.writes(&[(0x6000_8050, u32::from(b'K')), (0x6000_8000, 1 << 31)]);
    let image = rom_image(&code.wait());
    let mut board = rom.board(&[(0, &image)]);
    let text = run(&mut board, "entry 0x40380000\r\nK", 100 * MS).unwrap();
    assert!(text.contains("entry 0x40380000\r\n\0ESP-ROM"), "{text:?}");
    assert!(text.ends_with('K'), "{text:?}");
    board.set_lines(false, true);
    let now = board.now();
    board.run_to(now + MS, false).unwrap();
    board.host_clear();
    board.set_lines(false, false);
    let text = run(&mut board, "RTC_SW_SYS_RST", now + 100 * MS).unwrap();
    assert!(text.contains("entry 0x40380000\r\n\0ESP-ROM"), "{text:?}");
}

pub fn straps_choose_the_loader(rom: &Rom) {
    let image = rom_image(&Code::new().flush().say("loaded by the ROM\r\n"));
    // DTR and RTS for the given milliseconds each, and whether the loader starts.
    type Case<'a> = (&'a [(bool, bool, u32)], bool);
    let cases: &[Case] = &[
        (&[(false, true, 100), (true, false, 50), (false, false, 0)], true),
        (&[(false, true, 100), (false, false, 50)], false),
        // Both lines change one after the other, while EN rises.
        (&[(false, true, 100), (true, true, 0), (true, false, 50), (false, false, 0)], true),
        (&[(true, true, 100), (false, true, 100), (true, true, 5), (true, false, 50)], false),
    ];
    for (settings, download) in cases {
        let mut board = rom.board(&[(0, &image)]);
        let mut text = run(&mut board, "by the ROM\r\n", SECOND).unwrap();
        text.clear();
        for &(dtr, rts, ms) in *settings {
            board.set_lines(dtr, rts);
            let until = board.now() + ms * MS;
            text += &run(&mut board, "", until).unwrap();
        }
        let until = board.now() + 100 * MS;
        text += &run(&mut board, "", until).unwrap();
        let name = if *download { "download.txt" } else { "rom-image.txt" };
        check(name, &text);
    }
}

pub fn the_loader_answers_at_the_host_s_rate(rom: &Rom) {
    let mut board = rom.board(&[]);
    board.set_lines(false, true);
    board.run_to(10 * MS, false).unwrap();
    board.set_lines(true, false);
    run(&mut board, "waiting for download\r\n", SECOND).unwrap();
    let mut sync = vec![0x00, 0x08, 36, 0, 0, 0, 0, 0, 0x07, 0x07, 0x12, 0x20];
    sync.extend([0x55; 32]);
    for baud in [115_200_u32, 230_400] {
        let mut board = rom.board(&[]);
        board.set_lines(false, true);
        board.run_to(10 * MS, false).unwrap();
        board.set_lines(true, false);
        run(&mut board, "waiting for download\r\n", SECOND).unwrap();
        // The executed ROM measures the rate on the first bytes and discards them.
        board.host_send(&[0x55; 40], baud);
        let until = board.now() + 20 * MS;
        board.run_to(until, false).unwrap();
        board.host_clear();
        let arrived = board.host_send(&esplice_protocol::slip::encode(&sync), baud);
        board.run_to(arrived + 20 * MS, false).unwrap();
        let mut buf = [0; 512];
        let len = board.host_take(baud, &mut buf);
        let replies = buf[..len].split(|byte| *byte == 0xc0).filter(|frame| !frame.is_empty());
        let replies: Vec<_> = replies.collect();
        assert_eq!(replies.len(), 8, "{:x?}", &buf[..len]);
        assert_eq!(replies[0][..4], [0x01, 0x08, 4, 0]);
    }
}

pub fn a_rom_function_that_is_not_modelled_is_named(rom: &Rom) {
    for (addr, expected) in [
        (
            0x4000_00d0_u32,
            "ROM function tdefl_compress_buffer at 0x400000d0 \
             is not modelled (called from 0x4038000c)",
        ),
        (
            0x4005_fffc,
            "ROM function without a name at 0x4005fffc is not modelled (called from 0x4038000c)",
        ),
    ] {
        let image = rom_image(&Code::new().call(addr).wait());
        let mut board = rom.board(&[(0, &image)]);
        let error = run(&mut board, "", SECOND).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert!(error.hint().is_some());
        // The error is returned again until the board is reset.
        assert!(board.run_to(2 * SECOND, false).is_err());
        board.set_lines(false, true);
        let now = board.now();
        board.run_to(now + MS, false).unwrap();
    }
}
