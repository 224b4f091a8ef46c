//! Devices by their registers: each case is a row of stores, expected loads and times between.

use std::time::Duration;

use super::{Cable, ResetReason, Soc, clock::ticks};
use crate::{cpu::Bus, nor::Nor};

/// One move of a case.
#[derive(Clone)]
enum Do {
    Store(u32, u32),
    /// Address, mask, value.
    Load(u32, u32, u32),
    Wait(Duration),
    /// Bytes that have arrived at the host.
    Heard(&'static [u8]),
    Send(&'static [u8]),
    /// CPU interrupts given to the CPU.
    Irq(u32),
    Reset(ResetReason),
    /// Where the host's cable goes.
    Plug(Cable),
    /// The outside drives a pin, or lets go of it.
    Drive(u32, Option<bool>),
    /// A reset that a device asked for.
    Asked(Option<ResetReason>),
}
use Do::{Asked, Drive, Heard, Irq, Load, Plug, Reset, Send, Store, Wait};

const MS: Duration = Duration::from_millis(1);
const US: Duration = Duration::from_micros(1);
const NS: Duration = Duration::from_nanos(1);
const ALL: u32 = u32::MAX;
const UART: u32 = 0x6000_0000;
const SPI1: u32 = 0x6000_2000;
const GPIO: u32 = 0x6000_4000;
const IO_MUX: u32 = 0x6000_9000;
const RTC: u32 = 0x6000_8000;
const EFUSE: u32 = 0x6000_8800;
const TIMG0: u32 = 0x6001_f000;
const SYSTIMER: u32 = 0x6002_3000;
const SYSTEM: u32 = 0x600c_0000;
const SHA: u32 = 0x6003_b000;
const DMA: u32 = 0x6003_f000;
const USB: u32 = 0x6004_3000;
const INTMTX: u32 = 0x600c_2000;
const MMU: u32 = 0x600c_5000;
const WDT_KEY: u32 = 0x50d8_3aa1;

fn soc() -> Soc {
    let chip = esplice_chip::find("esp32c3").unwrap();
    let sim = chip.sim.as_ref().unwrap();
    let mut nor = Nor::in_memory(sim.flash.size(), &sim.flash);
    nor.program(0x1_0000, b"page one").unwrap();
    let mut soc = Soc::new(chip, sim, nor, true).unwrap();
    soc.reset(ResetReason::PowerOn);
    soc
}

fn wait(soc: &mut Soc, time: Duration) {
    let end = soc.fabric.now() + ticks(time);
    loop {
        let next = soc.run_events().min(end);
        soc.fabric.clock.cycle = soc.fabric.clock.cycle_at(next);
        if next == end {
            soc.run_events();
            return;
        }
    }
}

#[track_caller]
fn check(moves: &[Do]) {
    let mut soc = soc();
    for (number, step) in moves.iter().enumerate() {
        match step {
            Store(addr, value) => soc.store32(*addr, *value).unwrap(),
            Load(addr, mask, value) => {
                let got = soc.load32(*addr).unwrap() & mask;
                assert_eq!(got, *value, "move {number}: {addr:#010x} reads {got:#x}");
            }
            Wait(time) => wait(&mut soc, *time),
            Heard(bytes) => {
                let now = soc.fabric.now();
                let line = &mut soc.fabric.line.to_host;
                let count = line.partition_point(|byte| byte.done <= now);
                let got: Vec<u8> = line.drain(..count).map(|byte| byte.byte).collect();
                assert_eq!(got, *bytes, "move {number}");
            }
            Send(bytes) => {
                let time = super::clock::periods(10, 115_200);
                let mut done = soc.fabric.now();
                for byte in *bytes {
                    done += time;
                    let byte = super::LineByte { done, byte: *byte, baud: 115_200 };
                    soc.fabric.line.to_board.push_back(byte);
                }
                soc.refresh_all();
            }
            Irq(expected) => assert_eq!(soc.take_irq(), *expected, "move {number}"),
            Drive(pin, level) => soc.drive_pin(*pin, *level),
            Reset(reason) => soc.reset(*reason),
            Plug(cable) => {
                soc.fabric.cable = *cable;
                soc.refresh_all();
            }
            Asked(expected) => {
                assert_eq!(soc.fabric.reset_request.take(), *expected, "move {number}");
            }
        }
    }
}

/// UART0 from the crystal at 115200 baud.
const RATE: [Do; 2] = [Store(UART + 0x78, 0x0370_0000), Store(UART + 0x14, 347 | 3 << 20)];

fn with_rate(moves: impl IntoIterator<Item = Do>) -> Vec<Do> {
    RATE.into_iter().chain(moves).collect()
}

/// Routes a source to CPU interrupt 7 with priority 1.
fn route(source: u32) -> [Do; 3] {
    [Store(INTMTX + 4 * source, 7), Store(INTMTX + 0x114 + 4 * 7, 1), Store(INTMTX + 0x104, 1 << 7)]
}

#[test]
fn uart_bytes_take_their_time() {
    check(&with_rate([
        Store(UART, b'a'.into()),
        Store(UART, b'b'.into()),
        Store(UART, b'c'.into()),
        // One in the shift register, two wait.
        Load(UART + 0x1c, 0x3ff << 16, 2 << 16),
        Load(UART + 0x6c, 0xf0, 0x10),
        Heard(b""),
        Wait(87 * US),
        Heard(b"a"),
        Load(UART + 0x1c, 0x3ff << 16, 1 << 16),
        Wait(MS),
        Heard(b"bc"),
        Load(UART + 0x6c, 0xf0, 0),
        Load(UART + 0x04, 1 << 14, 1 << 14),
    ]));
}

#[test]
fn uart_fifo_is_128_deep_and_a_reset_empties_it() {
    let mut moves: Vec<Do> = (0..200).map(|byte| Store(UART, byte)).collect();
    moves.extend([Load(UART + 0x1c, 0x3ff << 16, 128 << 16), Wait(100 * US), Heard(&[0])]);
    moves.extend([Reset(ResetReason::SoftwareCpu), Wait(87 * US), Heard(&[1])]);
    moves.extend([Reset(ResetReason::SoftwareSystem), Wait(50 * MS), Heard(&[])]);
    moves.push(Load(UART + 0x1c, 0x3ff << 16, 0));
    check(&with_rate(moves));
}

#[test]
fn uart_receives_and_interrupts() {
    let moves = route(21).into_iter().chain([
        Store(UART + 0x24, 2 | 1 << 21), // Interrupt at 2 bytes, or at a pause.
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
        // The pause behind the third.
        Irq(1 << 7),
        Load(UART + 0x08, ALL, 1 << 8),
        Load(UART, 0xff, b'z'.into()),
    ]);
    check(&with_rate(moves));
}

#[test]
fn spi_commands_and_transactions() {
    check(&[
        // JEDEC id as a user transaction: opcode 9Fh, 24 bits in: 32 clocks of 5 MHz, a quarter of the crystal's half.
        Store(SPI1 + 0x18, 1 << 31 | 1 << 28),
        Store(SPI1 + 0x20, 7 << 28 | 0x9f),
        Store(SPI1 + 0x28, 23),
        Store(SPI1, 1 << 18),
        Wait(NS * 6300),
        Load(SPI1, 1 << 18, 1 << 18),
        Wait(NS * 100),
        Load(SPI1, ALL, 0),
        Load(SPI1 + 0x58, ALL, 0x16_40ef),
        // And as a command.
        Store(SPI1 + 0x58, 0),
        Store(SPI1, 1 << 28),
        Load(SPI1 + 0x58, 0xff_ffff, 0x16_40ef),
        // Read 8 bytes of flash on four lines, six dummy cycles, no divider: 8 + 6 + 6 + 16 clocks behind the 32.
        Store(SPI1 + 0x14, 1 << 31),
        Store(SPI1 + 0x08, 1 << 24 | 1 << 13),
        Store(SPI1 + 0x18, 1 << 31 | 1 << 29),
        Store(SPI1 + 0x1c, 23 << 26 | 5),
        Store(SPI1 + 0x04, 0x1_0000),
        Store(SPI1 + 0x28, 63),
        Store(SPI1, 1 << 31),
        Load(SPI1 + 0x58, ALL, u32::from_le_bytes(*b"page")),
        Load(SPI1 + 0x5c, ALL, u32::from_le_bytes(*b" one")),
        Wait(NS * 8150),
        Load(SPI1, 1 << 31, 1 << 31),
        Wait(NS * 100),
        Load(SPI1, ALL, 0),
        Store(SPI1 + 0x18, 1 << 31),
        // Erase takes the latch, and 45 ms from the end of its command.
        Store(SPI1, 1 << 24),
        Store(SPI1, 1 << 27),
        Load(SPI1 + 0x2c, 3, 0),
        Store(SPI1, 1 << 30),
        Store(SPI1, 1 << 24),
        Store(SPI1, 1 << 27),
        Load(SPI1 + 0x2c, 3, 1),
        Wait(46 * MS),
        Store(SPI1, 1 << 27),
        Load(SPI1 + 0x2c, 3, 0),
        // Program 4 bytes.
        Store(SPI1 + 0x04, 0x1_0004 | 4 << 24),
        Store(SPI1 + 0x58, 0x1234_5678),
        Store(SPI1, 1 << 30),
        Store(SPI1, 1 << 25),
        Wait(MS),
        Store(SPI1 + 0x04, 0x1_0000),
        Store(SPI1, 1 << 31),
        Load(SPI1 + 0x58, ALL, ALL),
        Load(SPI1 + 0x5c, ALL, 0x1234_5678),
    ]);
}

#[test]
fn mmu_entries_show_flash_in_both_windows() {
    check(&[
        Load(0x3c00_0000, ALL, 0),
        Store(MMU, 1),
        Load(0x3c00_0000, ALL, u32::from_le_bytes(*b"page")),
        Load(0x4200_0004, ALL, u32::from_le_bytes(*b" one")),
        // Stores there are dropped.
        Store(0x3c00_0000, 0),
        Load(0x3c00_0000, ALL, u32::from_le_bytes(*b"page")),
        Store(MMU, 1 << 8),
        Load(0x3c00_0000, ALL, 0),
    ]);
}

#[test]
fn gpio_efuse_and_unlisted_registers() {
    check(&[
        Load(GPIO + 0x38, ALL, 0xc),
        Store(GPIO + 0x08, 0b110),
        Store(GPIO + 0x0c, 0b010),
        Load(GPIO + 0x04, ALL, 0b100),
        Store(GPIO + 0x24, 0b100),
        Load(GPIO + 0x3c, 0b111, 0b100),
        // The MAC, and revision 0.4.
        Load(EFUSE + 0x44, ALL, 0x00c3_0001),
        Load(EFUSE + 0x48, 0xffff, 0x0200),
        Load(EFUSE + 0x50, 7 << 18, 4 << 18),
        Store(EFUSE + 0x44, 0),
        Load(EFUSE + 0x44, ALL, 0x00c3_0001),
        // No device: storage.
        Store(0x6004_0000, 0x1234),
        Load(0x6004_0000, ALL, 0x1234),
    ]);
    let mut soc = soc();
    assert!(soc.load32(0x7000_0000).is_err());
    assert!(soc.store32(0x600e_0000, 1).is_err());
    soc.load32(0x6004_0004).unwrap();
    let (addr, accesses) = soc.unlisted().next().unwrap();
    assert_eq!((addr, accesses.reads, accesses.writes), (0x6004_0004, 1, 0));
}

#[test]
fn clocks_follow_the_system_registers() {
    let mut soc = soc();
    for (conf, select, cpu, apb) in [
        (1, 0, 20, 20),
        (0, 0, 40, 40),
        (1 << 10, 0, 80, 80),
        (1 << 10, 1, 160, 80),
        (3, 0, 10, 10),
    ] {
        soc.store32(SYSTEM + 0x08, select).unwrap();
        soc.store32(SYSTEM + 0x58, conf).unwrap();
        let clock = &soc.fabric.clock;
        assert_eq!((clock.cpu_hz(), clock.apb_hz()), (cpu * 1_000_000, apb * 1_000_000));
        assert_eq!(soc.load32(SYSTEM + 0x58).unwrap() >> 12 & 0x7f, 40);
    }
}

#[test]
fn systimer_counts_and_alarms() {
    let moves = route(37).into_iter().chain([
        Wait(MS),
        Store(SYSTIMER + 0x04, 1 << 30),
        Load(SYSTIMER + 0x04, 1 << 29, 1 << 29),
        Load(SYSTIMER + 0x40, ALL, 0),
        Load(SYSTIMER + 0x44, ALL, 16_000),
        // Alarm 0 at 32000, once.
        Store(SYSTIMER + 0x20, 32_000),
        Store(SYSTIMER + 0x50, 1),
        Store(SYSTIMER + 0x64, 1),
        Store(SYSTIMER, 0x4600_0000 | 1 << 24),
        Wait(999 * US),
        Irq(0),
        Wait(2 * US),
        Irq(1 << 7),
        Store(SYSTIMER + 0x6c, 1),
        // Once is once.
        Wait(MS),
        Irq(0),
        // Every 100 µs.
        Store(SYSTIMER, 0x4600_0000),
        Store(SYSTIMER + 0x34, 1 << 30 | 1600),
        Store(SYSTIMER + 0x50, 1),
        Store(SYSTIMER, 0x4600_0000 | 1 << 24),
        Wait(101 * US),
        Irq(1 << 7),
        Store(SYSTIMER + 0x6c, 1),
        Irq(0),
        Wait(100 * US),
        Irq(1 << 7),
    ]);
    check(&moves.collect::<Vec<_>>());
}

#[test]
fn timer_group_counts_alarms_and_watches() {
    let moves = route(32).into_iter().chain([
        // From the crystal, divided by 40: microseconds.
        Store(TIMG0, 1 << 31 | 1 << 30 | 40 << 13 | 1 << 10 | 1 << 9),
        Store(TIMG0 + 0x10, 500),
        Store(TIMG0 + 0x70, 1),
        Store(TIMG0 + 0x20, 1),
        Wait(300 * US),
        Store(TIMG0 + 0x0c, 1 << 31),
        Load(TIMG0 + 0x04, ALL, 300),
        Irq(0),
        Wait(201 * US),
        Irq(1 << 7),
        Store(TIMG0 + 0x7c, 1),
        Irq(0),
        // The calibrator: 1024 periods of 136 kHz, in periods of 40 MHz.
        Store(TIMG0 + 0x68, 1 << 31 | 1024 << 16),
        Load(TIMG0 + 0x68, 1 << 15, 1 << 15),
        Load(TIMG0 + 0x6c, ALL, 301_176 << 7 | 1),
        // Flash boot protection: 26 million periods of 20 MHz.
        Wait(1290 * MS),
        Asked(None),
        Wait(20 * MS),
        Asked(Some(ResetReason::Timer0WatchdogSystem)),
    ]);
    check(&moves.collect::<Vec<_>>());
}

#[test]
fn watchdogs_heed_their_locks() {
    check(&[
        // Closed: nothing changes, the write is lost.
        Store(TIMG0 + 0x64, 0),
        Store(TIMG0 + 0x48, 0),
        Load(TIMG0 + 0x48, ALL, 0x0004_c000),
        Store(TIMG0 + 0x64, WDT_KEY),
        Store(TIMG0 + 0x48, 0),
        Load(TIMG0 + 0x48, ALL, 0),
        // The super watchdog feeds itself.
        Store(RTC + 0xac, 1 << 31),
        Load(RTC + 0xac, 1 << 31, 0),
        Store(RTC + 0xb0, 0x8f1d_312a),
        Store(RTC + 0xac, 1 << 31),
        Load(RTC + 0xac, 1 << 31, 1 << 31),
        // The RTC's flash boot protection: 200000 periods of 136 kHz, twice.
        Wait(2940 * MS),
        Asked(None),
        Wait(2 * MS),
        Asked(Some(ResetReason::RtcWatchdogRtc)),
        Reset(ResetReason::RtcWatchdogRtc),
        Load(RTC + 0x38, 0x3f, 0x10),
        // Stage 0 interrupts, stage 1 resets; fed in time, neither.
        Store(RTC + 0xa8, WDT_KEY),
        Store(RTC + 0x90, 0),
        Store(RTC + 0x94, 136),
        Store(RTC + 0x98, 136),
        Store(RTC + 0x90, 1 << 31 | 1 << 28 | 3 << 25),
        Wait(MS),
        Store(RTC + 0xa4, 1 << 31),
        Wait(MS),
        Load(RTC + 0x44, 1 << 3, 0),
        Wait(MS + 10 * US),
        Load(RTC + 0x44, 1 << 3, 1 << 3),
        Asked(None),
        Wait(MS),
        Asked(Some(ResetReason::RtcWatchdogSystem)),
    ]);
}

#[test]
fn the_rtc_keeps_its_registers_over_lesser_resets() {
    check(&[
        Store(RTC + 0x50, 1),
        Store(RTC + 0xc4, 2),
        Store(RTC + 0x70, 3),
        Reset(ResetReason::SoftwareSystem),
        Load(RTC + 0x70, ALL, 3),
        Reset(ResetReason::SuperWatchdog),
        Load(RTC + 0x50, ALL, 1),
        Load(RTC + 0xc4, ALL, 2),
        Load(RTC + 0x70, ALL, 0x1158_3218),
        Load(RTC + 0x38, 0x3f, 0x12),
        Reset(ResetReason::PowerOn),
        Load(RTC + 0x50, ALL, 0),
        Store(RTC, 1 << 31),
        Asked(Some(ResetReason::SoftwareSystem)),
        Store(RTC, 1 << 5),
        Asked(Some(ResetReason::SoftwareCpu)),
    ]);
}

#[test]
fn software_interrupts_reach_the_cpu() {
    let moves = route(51).into_iter().chain([
        Irq(0),
        Store(SYSTEM + 0x2c, 1),
        Irq(1 << 7),
        Store(INTMTX + 0x194, 2),
        Irq(0),
        Store(INTMTX + 0x194, 1),
        Store(SYSTEM + 0x2c, 0),
        Irq(0),
    ]);
    check(&moves.collect::<Vec<_>>());
}

#[test]
fn chip_data_that_no_board_can_be_made_from() {
    let chip = esplice_chip::find("esp32c3").unwrap();
    let sim = chip.sim.as_ref().unwrap();
    for (change, expected) in [
        (("model", 0), "device uart0 has the unknown model \"vacuum-tube\""),
        (("base", 0x7000_0000), "device uart0 can't be placed at 0x70000000 with 0x1000 bytes"),
        (("base", 0x6000_0100), "device uart0 can't be placed at 0x60000100 with 0x1000 bytes"),
        (("base", 0x6000_2000), "device spi1 can't be placed at 0x60002000 with 0x1000 bytes"),
        (("without", 4), "the ROM needs a device rtc-cntl, which the chip's data do not list"),
        (("base", 0x0), "device uart0 can't be placed at 0x00000000 with 0x1000 bytes"),
    ] {
        let mut broken = sim.clone();
        match change {
            ("model", _) => broken.peripherals[0].model = "vacuum-tube".into(),
            ("without", number) => drop(broken.peripherals.remove(number as usize)),
            (_, base) => broken.peripherals[0].base = esplice_chip::Addr(base),
        }
        let nor = Nor::in_memory(sim.flash.size(), &sim.flash);
        // Leaked: boards are made of chip data that lives for ever.
        let error = Soc::new(chip, Box::leak(Box::new(broken)), nor, true).err().unwrap();
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn usb_packets_go_to_the_host_and_frames_are_counted() {
    check(&[
        Plug(Cable::Usb),
        Load(USB + 0x04, 7, 2),
        Load(USB + 0x08, 2, 0),
        Store(USB, b'h'.into()),
        Store(USB, b'i'.into()),
        Wait(2 * MS),
        // Nothing goes before it is handed over.
        Heard(b""),
        Load(USB + 0x24, ALL, 2),
        Load(USB + 0x08, 2, 2),
        Store(USB + 0x14, 2),
        Load(USB + 0x08, 2, 0),
        Store(USB + 0x04, 1),
        Load(USB + 0x04, 2, 0),
        // The endpoint takes nothing meanwhile.
        Store(USB, b'!'.into()),
        Wait(10 * US),
        Heard(b"hi"),
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
    moves.extend([Heard(&ALL_64), Load(USB + 0x04, 2, 2)]);
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
        // The host comes.
        Plug(Cable::Usb),
        Load(USB + 0x04, 2, 0),
        Wait(MS),
        Heard(b"x"),
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
        // Frames, and the end of sending.
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

#[test]
fn the_uart_is_silent_while_the_cable_is_at_usb() {
    check(&with_rate([
        Plug(Cable::Usb),
        Store(UART, b'a'.into()),
        Send(b"b"),
        Wait(MS),
        Heard(b""),
        Load(UART + 0x1c, 0x3ff, 0),
        Load(USB, ALL, b'b'.into()),
    ]));
}

/// What a pin's register makes of levels: type of the interrupt, row of levels, whether status is set after each.
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
                // What a level raised stays until it is cleared.
                moves.push(Store(GPIO + 0x4c, 1 << 5));
            }
            moves.extend([
                Load(GPIO + 0x3c, 1 << 5, u32::from(level) << 5),
                Load(GPIO + 0x44, ALL, u32::from(raised) << 5),
                Load(GPIO + 0x5c, ALL, u32::from(raised) << 5),
                Load(GPIO + 0x60, ALL, 0),
                Irq(if raised { 1 << 7 } else { 0 }),
                Store(GPIO + 0x4c, 1 << 5),
                // A level that stays raises it again, an edge does not.
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
        // A pad without pull, with its input on.
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
        // The output inverted, and a device's signal at rest.
        Store(GPIO + 0x74 + 4 * 4, 0),
        Store(GPIO + 0x554 + 4 * 4, 0x80 | 1 << 8),
        level(1),
        Store(GPIO + 0x554 + 4 * 4, 6 | 1 << 8),
        level(0),
        // The input buffer off.
        Store(GPIO + 0x554 + 4 * 4, 6),
        level(1),
        Store(IO_MUX + 4 + 4 * 4, 0),
        level(0),
        // Pins that there are not.
        Drive(26, Some(true)),
        Drive(1000, Some(true)),
        // A reset lets go of everything but the outside.
        Drive(4, Some(true)),
        Reset(ResetReason::SoftwareSystem),
        level(1),
        Load(GPIO + 0x20, ALL, 0),
        Load(GPIO + 0x44, ALL, 0),
    ]);
}

/// Burns the program registers' words into a block, and has all blocks read again.
fn burn(block: u32, words: &[u32]) -> Vec<Do> {
    let mut moves: Vec<Do> = (0..11)
        .map(|at| Store(EFUSE + 4 * at, words.get(at as usize).copied().unwrap_or(0)))
        .collect();
    moves.extend([
        Store(EFUSE + 0x1cc, 0x5a5a),
        Store(EFUSE + 0x1d4, 2 | block << 2),
        Load(EFUSE + 0x1d4, 3, 0),
        Load(EFUSE + 0x1d8, 2, 2),
        Store(EFUSE + 0x1cc, 0x5aa5),
        Store(EFUSE + 0x1d4, 1),
        Load(EFUSE + 0x1d8, 1, 1),
    ]);
    moves
}

#[test]
fn fuses_burn_one_way_and_outlive_resets() {
    let mut moves = burn(3, &[0b0101]);
    moves.push(Load(EFUSE + 0x7c, ALL, 0b0101));
    moves.extend(burn(3, &[0b0011]));
    moves.extend([
        Load(EFUSE + 0x7c, ALL, 0b0111),
        Reset(ResetReason::PowerOn),
        Load(EFUSE + 0x7c, ALL, 0b0111),
        // The wrong key: nothing is burnt.
        Store(EFUSE, 0xff00),
        Store(EFUSE + 0x1cc, 0x5aa5),
        Store(EFUSE + 0x1d4, 2 | 3 << 2),
        Store(EFUSE + 0x1d4, 1),
        Load(EFUSE + 0x7c, ALL, 0b0111),
        // Burnt, but not read yet.
        Store(EFUSE + 0x1cc, 0x5a5a),
        Store(EFUSE + 0x1d4, 2 | 3 << 2),
        Load(EFUSE + 0x7c, ALL, 0b0111),
        // A block there is not.
        Store(EFUSE + 0x1d4, 2 | 15 << 2),
    ]);
    check(&moves);
}

#[test]
fn fuses_protect_fuses() {
    // WR_DIS of the crypt counter, of the user's block and of key 0's purpose.
    let mut moves = burn(0, &[1 << 4 | 1 << 22 | 1 << 8]);
    moves.extend(burn(0, &[0, 0, 7 << 18 | 0xf << 24 | 0xf << 28]));
    moves.push(Load(EFUSE + 0x34, ALL, 0xf << 28));
    moves.extend(burn(3, &[1]));
    moves.push(Load(EFUSE + 0x7c, ALL, 0));
    // A key that is hidden afterwards.
    moves.extend(burn(4, &[0x1234_5678]));
    moves.push(Load(EFUSE + 0x9c, ALL, 0x1234_5678));
    moves.extend(burn(0, &[0, 1]));
    moves.extend([Load(EFUSE + 0x30, 0x7f, 1), Load(EFUSE + 0x9c, ALL, 0)]);
    moves.extend(burn(5, &[0x55]));
    moves.push(Load(EFUSE + 0xbc, ALL, 0x55));
    check(&moves);
}

#[test]
fn check_bytes_that_do_not_fit_are_reported() {
    let data: Vec<u32> = (0..8).map(|at| 0x0302_0100 + at * 0x0404_0404).collect();
    let fitting = [160, 76, 71, 13, 63, 252, 178, 3, 218, 233, 244, 19_u8];
    let checks = fitting.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap()));
    let whole: Vec<u32> = data.iter().copied().chain(checks).collect();
    let mut moves = vec![Load(EFUSE + 0x1c0, ALL, 0)];
    moves.extend(burn(4, &whole));
    moves.extend([Load(EFUSE + 0x1c0, ALL, 0), Load(EFUSE + 0x9c, ALL, 0x0302_0100)]);
    // A second time, with other data: the check bytes are of neither.
    moves.extend(burn(4, &[8]));
    moves.push(Load(EFUSE + 0x1c0, ALL, 0xf << 12));
    moves.extend(burn(10, &data));
    moves.push(Load(EFUSE + 0x1c4, ALL, 0xf << 4));
    check(&moves);
}

/// The block that FIPS 180-4's example "abc" is padded to, put into RAM as three descriptors' buffers.
fn abc_in_ram() -> Vec<Do> {
    let mut block = [0_u8; 64];
    block[..4].copy_from_slice(b"abc\x80");
    block[63] = 24;
    let mut moves = Vec::new();
    for (at, word) in (0_u32..).zip(block.chunks(4)) {
        let word = u32::from_le_bytes(word.try_into().unwrap());
        moves.push(Store(0x3fc9_0000 + 4 * at, word));
    }
    for (number, start, len, eof) in [(0, 0, 3, 0), (1, 3, 29, 0), (2, 32, 32, 1 << 30)] {
        let at = 0x3fc8_0000 + 12 * number;
        moves.extend([
            Store(at, 1 << 31 | eof | len << 12 | len),
            Store(at + 4, 0x3fc9_0000 + start),
            Store(at + 8, if eof == 0 { at + 12 } else { 0 }),
        ]);
    }
    moves
}

#[test]
fn sha_takes_its_blocks_by_dma_in_either_order() {
    let start_dma = [
        Store(DMA + 0xd0 + 4, 1 << 12), // OUT_CONF1: look at the owner
        Store(DMA + 0xd0, 1 << 2),      // OUT_CONF0: write back
        Store(DMA + 0x100, 7),
        Store(DMA + 0xe0, 1 << 21 | 0x8_0000),
    ];
    let start_sha =
        [Store(SHA, 2), Store(SHA + 0x28, 1), Store(SHA + 0x0c, 1), Store(SHA + 0x1c, 1)];
    for dma_first in [true, false] {
        let mut moves = abc_in_ram();
        moves.extend(route(49));
        let (start_dma, start_sha) = (start_dma.clone(), start_sha.clone());
        if dma_first {
            moves.extend(start_dma);
            moves.extend(start_sha);
        } else {
            moves.extend(start_sha);
            moves.extend([Load(SHA + 0x18, 1, 1), Irq(0)]);
            moves.extend(start_dma);
        }
        moves.extend([
            Load(SHA + 0x18, 1, 0),
            Load(SHA + 0x40, ALL, 0xba78_16bf_u32.swap_bytes()),
            Load(SHA + 0x5c, ALL, 0xf200_15ad_u32.swap_bytes()),
            Irq(1 << 7),
            Store(SHA + 0x24, 1),
            Irq(0),
            // Descriptors are given back; the last one's address.
            Load(0x3fc8_0000, 1 << 31, 0),
            Load(DMA, 1 << 3 | 1 << 4 | 1 << 8, 1 << 3 | 1 << 4 | 1 << 8),
            Load(DMA + 0xe8, ALL, 0x3fc8_0018),
            Load(DMA + 0xe0, 1 << 23, 1 << 23),
        ]);
        check(&moves);
    }
}

#[test]
fn dma_copies_memory_and_refuses_what_is_not_its_own() {
    let mut moves = abc_in_ram();
    moves.extend(route(45));
    moves.extend([
        Store(DMA + 0x18, 1 << 1), // channel 1: interrupt at the end of receiving
        Store(0x3fc8_0100, 1 << 31 | 40),
        Store(0x3fc8_0104, 0x3fc9_1000),
        Store(0x3fc8_0108, 0x3fc8_010c),
        Store(0x3fc8_010c, 1 << 31 | 40),
        Store(0x3fc8_0110, 0x3fc9_1028),
        Store(0x3fc8_0114, 0),
        Store(DMA + 0x130, 1 << 4),
        Store(DMA + 0x1a0, 1 << 21 | 0x8_0000),
        Irq(0),
        Store(DMA + 0x140, 1 << 22 | 0x8_0100),
        Irq(1 << 7),
        Load(0x3fc9_1000, ALL, u32::from_le_bytes(*b"abc\x80")),
        Load(0x3fc9_103c, ALL, 24 << 24),
        // 64 bytes over two descriptors of 40.
        Load(0x3fc8_0100, ALL, 40 << 12 | 40),
        Load(0x3fc8_010c, ALL, 1 << 30 | 24 << 12 | 40),
        Store(DMA + 0x1c, ALL),
        Irq(0),
        // A descriptor that is the CPU's.
        Store(0x3fc8_0000, 3 << 12 | 3),
        Store(DMA + 0x194, 1 << 12),
        Store(DMA + 0x140, 1 << 22 | 0x8_0100),
        Store(DMA + 0x1a0, 1 << 21 | 0x8_0000),
        Load(DMA + 0x10, 1 << 6, 1 << 6),
        // One that is nowhere.
        Store(DMA + 0x1a0, 1 << 21),
        Load(DMA + 0x10, 1 << 6, 1 << 6),
        // A circle ends.
        Store(DMA + 0x194, 0),
        Store(0x3fc8_0008, 0x3fc8_0000),
        Store(DMA + 0x1a0, 1 << 21 | 0x8_0000),
    ]);
    check(&moves);
}
