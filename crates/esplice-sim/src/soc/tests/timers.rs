//! Tests of clocks, timers and watchdogs.

use super::*;

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
        // A single alarm fires only once.
        Wait(MS),
        Irq(0),
        // A period of 100 µs.
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
        // Crystal divided by 40: microseconds.
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
        // Calibrator: 1024 periods of 136 kHz, counted in periods of 40 MHz.
        Store(TIMG0 + 0x68, 1 << 31 | 1024 << 16),
        Load(TIMG0 + 0x68, 1 << 15, 1 << 15),
        Load(TIMG0 + 0x6c, ALL, 301_176 << 7 | 1),
        // Flash boot protection: 26 million periods of 20 MHz.
        Wait(1290 * MS),
        ResetRequested(None),
        Wait(20 * MS),
        ResetRequested(Some(ResetReason::Timer0WatchdogSystem)),
    ]);
    check(&moves.collect::<Vec<_>>());
}

#[test]
fn watchdog_registers_can_be_locked() {
    check(&[
        // Locked: the write is lost.
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
        // RTC flash boot protection: 200000 periods of 136 kHz, twice.
        Wait(2940 * MS),
        ResetRequested(None),
        Wait(2 * MS),
        ResetRequested(Some(ResetReason::RtcWatchdogRtc)),
        Reset(ResetReason::RtcWatchdogRtc),
        Load(RTC + 0x38, 0x3f, 0x10),
        // Stage 0 interrupts and stage 1 resets; neither happens if fed in time.
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
        ResetRequested(None),
        Wait(MS),
        ResetRequested(Some(ResetReason::RtcWatchdogSystem)),
    ]);
}
