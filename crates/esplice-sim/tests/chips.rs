//! Tests the boards of all chips that execute their mask ROM: the ROM's messages, and a boot
//! through ESP-IDF's second-stage bootloader to an app.

use std::time::Duration;

use crate::{
    firmware::{Code, app_of, direct, rom_image_of},
    mask_rom,
};
use std::sync::Arc;

use esplice_chip::{Chip, ChipDb};
use esplice_image::{FlashMode, FlashParams, PartitionTable};
use esplice_sim::{Board, Cable, TimeMode, nor::Nor};

/// A chip and what its ROM and bootloader print.
struct Case {
    chip: &'static str,
    banner: &'static str,
    boot: &'static str,
    download: &'static str,
    /// Lines that the bootloader prints, among others.
    bootloader: &'static [&'static str],
}

const CASES: [Case; 4] = [
    Case {
        chip: "esp32c2",
        banner: "ESP-ROM:esp8684-api2-20220127\r\nBuild:Jan 27 2022\r\n",
        boot: "rst:0x1 (POWERON),boot:0xc (SPI_FAST_FLASH_BOOT)\r\n",
        download: "rst:0x1 (POWERON),boot:0x4 (DOWNLOAD(UART0))\r\nwaiting for download\r\n",
        bootloader: &["boot: chip revision: v1.2", "SPI Speed      : 60MHz"],
    },
    Case {
        chip: "esp32c3",
        banner: "ESP-ROM:esp32c3-api1-20210207\r\nBuild:Feb  7 2021\r\n",
        boot: "rst:0x1 (POWERON),boot:0xc (SPI_FAST_FLASH_BOOT)\r\n",
        download: "rst:0x1 (POWERON),boot:0x4 (DOWNLOAD(USB/UART0/1))\r\nwaiting for download\r\n",
        bootloader: &["boot: chip revision: v0.4", "SPI Speed      : 80MHz"],
    },
    Case {
        chip: "esp32c6",
        banner: "ESP-ROM:esp32c6-20220919\r\nBuild:Sep 19 2022\r\n",
        boot: "rst:0x1 (POWERON),boot:0xc (SPI_FAST_FLASH_BOOT)\r\n",
        download: "rst:0x1 (POWERON),boot:0x4 (DOWNLOAD(USB/UART0/SDIO_FEI_FEO))\r\n\
                   waiting for download\r\n",
        bootloader: &["boot: chip revision: v0.2", "SPI Speed      : 80MHz"],
    },
    Case {
        chip: "esp32h2",
        banner: "ESP-ROM:esp32h2-20221101\r\nBuild:Nov  1 2022\r\n",
        boot: "rst:0x1 (POWERON),boot:0xc (SPI_FAST_FLASH_BOOT)\r\n",
        download: "rst:0x1 (POWERON),boot:0x4 (DOWNLOAD(USB/UART0))\r\n\
                   waiting for download\r\n",
        bootloader: &["boot: chip revision: v0.2", "SPI Speed      : 64MHz"],
    },
];

fn chip(case: &Case) -> &'static Arc<Chip> {
    ChipDb::embedded().find(case.chip).unwrap()
}

fn board(case: &Case, nor: Nor) -> Board {
    let board = Board::with_flash(chip(case), nor, TimeMode::Virtual).unwrap();
    board.with_rom(&mask_rom::image_of(case.chip))
}

fn blank(case: &Case) -> Nor {
    let timing = &chip(case).sim.as_ref().unwrap().flash;
    Nor::in_memory(timing.size(), timing)
}

/// Returns the usual flash: ESP-IDF's bootloader, its table, an app.
fn flash(case: &Case, app: &[u8]) -> Nor {
    let chip = chip(case);
    let freq = chip.image.default_flash_freq.clone();
    let params = FlashParams { mode: FlashMode::Dio, freq, size: 4 << 20 };
    let bootloader = esplice_image::second_stage(chip, &params).unwrap().bytes;
    let table = PartitionTable::esp_idf_default().to_bytes().unwrap();
    let mut nor = blank(case);
    for (offset, bytes) in [(0, bootloader.as_slice()), (0x8000, &table), (0x1_0000, app)] {
        nor.program(offset, bytes).unwrap();
    }
    nor
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn blank_flash_is_an_invalid_header() {
    for case in CASES {
        let mut board = board(&case, blank(&case));
        let said = text(&board.run_for(Duration::from_millis(30)).unwrap());
        let expected = format!("{}{}invalid header: 0xffffffff\r\n", case.banner, case.boot);
        assert!(said.starts_with(&expected), "{}: {said}", case.chip);
    }
}

#[test]
fn the_boot_pin_selects_the_loader() {
    for case in CASES {
        let mut board = board(&case, blank(&case));
        board.hold_boot_pin(true);
        let said = text(&board.run_for(Duration::from_millis(50)).unwrap());
        assert_eq!(said, format!("{}{}", case.banner, case.download), "{}", case.chip);
    }
}

#[test]
fn the_bootloader_starts_an_app() {
    for case in CASES {
        let code = Code::new().say("app runs\r\n");
        let mut board = board(&case, flash(&case, &app_of(chip(&case), &code)));
        let said = text(&board.run_until(b"app runs\r\n", Duration::from_millis(400)).unwrap());
        assert!(said.starts_with(case.banner), "{}: {said}", case.chip);
        for line in case.bootloader {
            assert!(said.contains(line), "{}: {said}", case.chip);
        }
        let end = "Loaded app from partition at offset 0x10000\r\napp runs\r\n";
        assert!(said.ends_with(end), "{}: {said}", case.chip);
    }
}

/// An image without a header, which the ROM maps and executes in place.
#[test]
fn an_image_without_a_header_is_executed_in_place() {
    for case in CASES {
        let mut nor = blank(&case);
        nor.program(0, &direct(&Code::new().say("in place\r\n"))).unwrap();
        let mut board = board(&case, nor);
        let said = text(&board.run_until(b"in place\r\n", Duration::from_millis(200)).unwrap());
        assert_eq!(said, format!("{}{}in place\r\n", case.banner, case.boot), "{}", case.chip);
    }
}

/// ROM and bootloader print on the chip's own USB.
#[test]
fn everything_is_printed_on_usb_too() {
    for case in CASES.iter().filter(|case| case.chip != "esp32c2") {
        let mut board = board(case, flash(case, &app_of(chip(case), &Code::new().wait())));
        board.plug(Cable::Usb);
        let end = b"Loaded app from partition at offset 0x10000\r\n";
        let said = text(&board.run_until(end, Duration::from_secs(1)).unwrap());
        assert!(
            said.starts_with(&format!("{}{}", case.banner, case.boot)),
            "{}: {said}",
            case.chip
        );
    }
}

/// Stages of the watchdogs: a key, the configuration off, the first stage's time, the action.
fn watchdog(protect: u32, config0: u32, stage: (u32, u32), action: u32) -> Vec<(u32, u32)> {
    vec![(protect, 0x50d8_3aa1), (config0, 0), stage, (config0, action)]
}

/// Stage 0 of a timer group's watchdog after 1000 periods.
fn timer(base: u32, action: u32) -> Vec<(u32, u32)> {
    watchdog(base + 0x64, base + 0x48, (base + 0x50, 1000), 1 << 31 | action << 29)
}

/// Stage 0 of the watchdog of the RTC or LP system after 10 periods. `feed` is the offset of its
/// register FEED, which is followed by the lock.
fn slow(config0: u32, feed: u32, action: u32) -> Vec<(u32, u32)> {
    watchdog(config0 + feed + 4, config0, (config0 + 4, 10), 1 << 31 | action << 28)
}

/// A sleep without end unless the timer wakes the chip, after 0.1 s at 136 kHz.
fn deep_sleep(chip: &str) -> Vec<(u32, u32)> {
    match chip {
        "esp32c2" => vec![
            (0x6000_8004, 13_600),
            (0x6000_8008, 1 << 16),
            (0x6000_8034, 1 << 3 << 15),
            (0x6000_807c, 1 << 31),
            (0x6000_8018, 1 << 31),
        ],
        _ => vec![
            (0x600b_0c00, 13_600),
            (0x600b_0c04, 1 << 31),
            (0x600b_0128, 1 << 4),
            (0x600b_0068, 1 << 31),
            (0x600b_0120, 1 << 31),
        ],
    }
}

type Reset = (Vec<(u32, u32)>, &'static str);

/// Writes that reset the chip, and how its ROM names the reason.
fn resets(chip: &str) -> Vec<Reset> {
    let (feed, timers) = match chip {
        "esp32c2" => {
            let rtc = |action| slow(0x6000_8084, 0x14, action);
            return vec![
                (vec![(0x6000_8000, 1 << 31)], "rst:0x3 (RTC_SW_SYS_RST)"),
                (vec![(0x6000_8000, 1 << 5)], "rst:0xc (RTC_SW_CPU_RST)"),
                (timer(0x6001_f000, 3), "rst:0x7 (TG0WDT_SYS_RST)"),
                (timer(0x6001_f000, 2), "rst:0xb (TG0WDT_CPU_RST)"),
                (rtc(2), "rst:0xd (RTCWDT_CPU_RST)"),
                (rtc(3), "rst:0x9 (RTCWDT_SYS_RST)"),
                (rtc(4), "rst:0x10 (RTCWDT_RTC_RST)"),
                (deep_sleep(chip), "rst:0x5 (DSLEEP)"),
            ];
        }
        "esp32c6" => (0x14, [0x6000_8000, 0x6000_9000]),
        _ => (0x18, [0x6000_9000, 0x6000_a000]),
    };
    let lp = |action| slow(0x600b_1c00, feed, action);
    vec![
        (vec![(0x600b_1034, 1 << 31)], "rst:0x3 (LP_SW_HPSYS)"),
        (vec![(0x600b_1038, 1 << 28)], "rst:0xc (SW_CPU)"),
        (timer(timers[0], 3), "rst:0x7 (TG0_WDT_HPSYS)"),
        (timer(timers[0], 2), "rst:0xb (TG0_WDT_CPU)"),
        (timer(timers[1], 3), "rst:0x8 (TG1_WDT_HPSYS)"),
        (timer(timers[1], 2), "rst:0x11 (TG1_WDT_CPU)"),
        (lp(2), "rst:0xd (LP_WDT_CPU)"),
        (lp(3), "rst:0x9 (LP_WDT_HPSYS)"),
        (lp(4), "rst:0x10 (LP_WDT_SYS)"),
        (deep_sleep(chip), "rst:0x5 (SLEEP_WAKEUP)"),
    ]
}

/// Returns where the ROM loads code, and the address of FSM_STATUS of UART 0.
fn places(chip: &str) -> (u32, u32) {
    match chip {
        "esp32c2" => (0x4038_0000, 0x6000_006c),
        _ => (0x4080_0000, 0x6000_0070),
    }
}

#[test]
fn every_reset_has_its_reason() {
    for case in CASES.iter().filter(|case| case.chip != "esp32c3") {
        let (at, fsm_status) = places(case.chip);
        for (writes, expected) in resets(case.chip) {
            let code = Code::new().flush_by(fsm_status).writes(&writes).wait();
            let mut nor = blank(case);
            nor.program(0, &rom_image_of(chip(case), at, &code)).unwrap();
            let mut board = board(case, nor);
            let mut said = board.run_until(b"entry", Duration::from_secs(1)).unwrap();
            said.extend(board.run_until(b"SPIWP", Duration::from_secs(1)).unwrap());
            let said = text(&said);
            let line = said.lines().filter(|line| line.starts_with("rst:")).nth(1);
            let expected = format!("{expected},boot:0xc (SPI_FAST_FLASH_BOOT)");
            assert_eq!(line, Some(expected.as_str()), "{}: {writes:x?}: {said}", case.chip);
            assert_eq!(board.resets(), 2, "{}: {expected}", case.chip);
        }
    }
}

/// Registers that survive resets, and the LP system's memory, in deep sleep: an app prints the byte
/// it stored before it slept.
#[test]
fn deep_sleep_keeps_what_it_should() {
    for case in CASES.iter().filter(|case| case.chip != "esp32c3") {
        let (at, fsm_status) = places(case.chip);
        // STORE0, RTC memory where the chip has one, and SRAM, which loses its contents.
        let (store, kept, lost) = match case.chip {
            "esp32c2" => (0x6000_8048, 0x6000_8048, 0x3fcb_0000),
            _ => (0x600b_1000, 0x5000_0100, 0x4080_8000),
        };
        let (here, fifo) = (|code: Code, from| code.copy(from, 0x6000_0000), 0x6000_0000);
        let code = Code::new().flush_by(fsm_status).writes(&[(fifo, u32::from(b'<'))]);
        let code = here(here(here(code, store), kept), lost).flush_by(fsm_status);
        let stored = [(store, b'S'), (kept, b'K'), (lost, b'L')];
        let code = code.writes(&stored.map(|(at, byte)| (at, u32::from(byte))));
        let code = code.writes(&deep_sleep(case.chip)).wait();
        let mut nor = blank(case);
        nor.program(0, &rom_image_of(chip(case), at, &code)).unwrap();
        let mut board = board(case, nor);
        board.run_until(b"<\0\0\0", Duration::from_secs(1)).unwrap();
        let end = if store == kept { &b"<KK\0"[..] } else { &b"<SK\0"[..] };
        let slept = board.run_until(end, Duration::from_secs(1)).unwrap();
        assert!(text(&slept).contains("rst:0x5 ("), "{}: {}", case.chip, text(&slept));
        assert!(board.now() > Duration::from_millis(100), "{}: {:?}", case.chip, board.now());
    }
}

/// Without the ROM such a board says what it needs.
#[test]
fn a_board_whose_rom_is_not_modelled_needs_it() {
    let mut board = Board::new("esp32c6").unwrap();
    let error = board.run_for(Duration::from_millis(10)).unwrap_err();
    assert!(
        error.to_string().contains("the virtual ESP32-C6 needs the chip's mask ROM"),
        "{error}"
    );
    assert!(error.hint().is_some_and(|hint| hint.contains("rom=FILE")));
    let error = esplice_sim::spec::Spec::parse("sim:esp32c6", ChipDb::embedded()).unwrap_err();
    assert_eq!(error.to_string(), "the virtual ESP32-C6 needs the chip's mask ROM");
    assert!(error.hint().is_some_and(|hint| hint.contains("rom=FILE")));
    esplice_sim::spec::Spec::parse("sim:esp32c6,rom=rom.elf", ChipDb::embedded()).unwrap();
}
