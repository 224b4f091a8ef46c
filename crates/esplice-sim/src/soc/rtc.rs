//! The RTC controller: main timer, RTC and super watchdogs, software resets, the reason of the last
//! reset, and registers that survive a reset (TRM 9 and 13, which define the register and bit
//! names). Reset values are from the vendor's SVD, through the crate esp32c3.

use std::ops::Range;

use super::{
    clock::{TICK_HZ, Tick, count_in, periods},
    device::{Device, Fabric, Registers, ResetReason, Scope},
    sleep::{self, Sleep},
    watchdog::{Stage, WDT_KEY, Watchdog},
};

const OPTIONS0: u32 = 0x00;
const SLP_TIMER0: u32 = 0x04;
const SLP_TIMER1: u32 = 0x08;
const TIME_UPDATE: u32 = 0x0c;
const TIME_LOW0: u32 = 0x10;
const TIME_HIGH0: u32 = 0x14;
const STATE0: u32 = 0x18;
const RESET_STATE: u32 = 0x38;
const WAKEUP_STATE: u32 = 0x3c;
const INT_ENA: u32 = 0x40;
const INT_RAW: u32 = 0x44;
const INT_ST: u32 = 0x48;
const INT_CLR: u32 = 0x4c;
const STORE0: u32 = 0x50;
const STORE3: u32 = 0x5c;
const SLP_REJECT_CONF: u32 = 0x68;
const DIG_PWC: u32 = 0x88;
pub(crate) const WDTCONFIG0: u32 = 0x90;
const WDTCONFIG4: u32 = 0xa0;
const WDTFEED: u32 = 0xa4;
pub(crate) const WDTWPROTECT: u32 = 0xa8;
const SWD_CONF: u32 = 0xac;
const SWD_WPROTECT: u32 = 0xb0;
const STORE4: u32 = 0xb8;
const STORE7: u32 = 0xc4;
const SLP_REJECT_CAUSE: u32 = 0xf0;
const SLP_WAKEUP_CAUSE: u32 = 0xf8;
const GPIO_WAKEUP: u32 = 0x110;

/// Key that unlocks the super watchdog's register (TRM 13.3.2).
const SWD_KEY: u32 = 0x8f1d_312a;

const SW_SYS_RST: u32 = 1 << 31;
const SW_PROCPU_RST: u32 = 1 << 5;
const TIME_UPDATE_BIT: u32 = 1 << 31;
const INT_SLP_WAKEUP: u32 = 1 << 0;
const INT_SLP_REJECT: u32 = 1 << 1;
const INT_WDT: u32 = 1 << 3;
const INT_MAIN_TIMER: u32 = 1 << 10;

/// STATE0: enters sleep; clears the cause of a rejection.
const SLEEP_EN: u32 = 1 << 31;
const SLP_REJECT_CAUSE_CLR: u32 = 1 << 1;
/// SLP_TIMER1: enables the alarm of the main timer.
const MAIN_TIMER_ALARM_EN: u32 = 1 << 16;
/// DIG_PWC: switches off the digital part in sleep.
const DG_WRAP_PD_EN: u32 = 1 << 31;
/// SLP_REJECT_CONF: enable rejection of deep and light sleep.
const DEEP_SLP_REJECT_EN: u32 = 1 << 31;
const LIGHT_SLP_REJECT_EN: u32 = 1 << 30;
/// GPIO_WAKEUP: pins that woke the chip; clears them.
const GPIO_WAKEUP_STATUS: u32 = 0x3f;
const GPIO_WAKEUP_STATUS_CLR: u32 = 1 << 6;
/// WDTCONFIG0: pauses the watchdog in sleep.
const WDT_PAUSE_IN_SLP: u32 = 1 << 9;

const WDT_EN: u32 = 1 << 31;
const WDT_FLASHBOOT: u32 = 1 << 12;

const SWD_AUTO_FEED: u32 = 1 << 31;
const SWD_DISABLE: u32 = 1 << 30;
const SWD_FEED: u32 = 1 << 29;
const SWD_FLAG_CLR: u32 = 1 << 28;
const SWD_RESET_FLAG: u32 = 1;

/// Frequency of RC_SLOW_CLK, the RTC's clock unless software selects another (TRM 6.2.2).
pub(super) const SLOW_HZ: u64 = 136_000;
/// Timeout of the super watchdog. Its oscillator is analog and no figure is published. Boards with
/// blank flash are reset by timer group 0 first, so it must be longer than that one's 1.3 s.
const SWD_TIME: Tick = 2 * TICK_HZ;
/// Factor by which the eFuse WDT_DELAY_SEL extends stage 0 of the RTC watchdog: 2 if it is not
/// burnt (TRM 13.2.2.2).
const STAGE_0_FACTOR: u64 = 2;

const RESET: &[(u32, u32)] = &[
    (OPTIONS0, 0x1c00_a000),
    (0x1c, 0x2814_0403),
    (0x20, 0x0100_0000),
    (0x24, 0x0a08_0a08),
    (0x28, 0x1020_0a08),
    (0x2c, 0x8000),
    (0x30, 0x0a08_0000),
    (0x34, 0x00c4_0000),
    (0x3c, 0x0006_0000),
    (0x60, 0x0006_6c80),
    (0x70, 0x1158_3218),
    (0x74, 0x0040_0000),
    (0x78, 0x0ab0_be0a),
    (0x7c, 0x0001_0800),
    (0x80, 0xa000_0000),
    (0x88, 0x0055_5010),
    (0x8c, 0xaa80_5080),
    (WDTCONFIG0, 0x0001_3214),
    (0x94, 200_000), // WDTCONFIG1 to 4, the stages' times (TRM 13.4)
    (0x98, 80_000),
    (0x9c, 0xfff),
    (0xa0, 0xfff),
    (SWD_CONF, 0x04b0_0000),
    (0xd8, 0x43ff_0010),
    (0xe8, 0x0ff0_0000),
    (0xfc, 0xc800),
    (0x108, 0xa0d0_0000),
    (0x10c, 0x07),
];

/// The RTC controller.
#[derive(Clone)]
pub(crate) struct RtcControl {
    registers: Registers,
    raw: u32,
    watchdog: Watchdog,
    /// Time when the super watchdog was last fed.
    super_fed: Tick,
    super_reset: bool,
    /// Time from which the main timer counts.
    timer_since: Tick,
    latched_time: u64,
    /// True if the alarm has fired since it was last set.
    alarm_over: bool,
    /// Current kind of sleep and its start.
    sleeping: Option<(Sleep, Tick)>,
}

impl RtcControl {
    pub fn new(len: u32) -> Self {
        Self {
            registers: Registers::new(len),
            raw: 0,
            watchdog: Watchdog::new(),
            super_fed: 0,
            super_reset: false,
            timer_since: 0,
            latched_time: 0,
            alarm_over: false,
            sleeping: None,
        }
    }

    fn configure_watchdog(&mut self, fabric: &Fabric) {
        let now = fabric.now();
        let conf = self.registers.get(WDTCONFIG0);
        let flash_boot = conf & WDT_FLASHBOOT != 0 && fabric.boots_from_flash();
        let stage = |index: u32| {
            let timeout = u64::from(self.registers.get(WDTCONFIG0 + 4 + 4 * index));
            Stage {
                timeout: if index == 0 { timeout * STAGE_0_FACTOR } else { timeout },
                // STG0 is in bits 30:28, the following stages below.
                action: conf >> (28 - 3 * index) & 7,
            }
        };
        let mut stages = [stage(0), stage(1), stage(2), stage(3)];
        if flash_boot {
            // Flash boot protection is active, and stage 0 resets the system with the RTC (TRM
            // 13.2.2.5).
            stages[0].action = action::RTC;
        }
        let enabled = conf & WDT_EN != 0 || flash_boot;
        self.watchdog.configure(enabled, stages, (SLOW_HZ, 1), now);
    }

    /// Returns when the main timer raises its alarm.
    fn alarm_at(&self) -> Option<Tick> {
        let high = self.registers.get(SLP_TIMER1);
        let count = u64::from(high & 0xffff) << 32 | u64::from(self.registers.get(SLP_TIMER0));
        let at = self.timer_since.saturating_add(periods(count, SLOW_HZ));
        (high & MAIN_TIMER_ALARM_EN != 0).then_some(at)
    }

    fn active_sources(&self, enabled: u32, sleep: Sleep, fabric: &Fabric) -> u32 {
        sleep::active_sources(
            enabled,
            sleep,
            self.alarm_at(),
            self.registers.get(GPIO_WAKEUP),
            fabric,
        )
    }

    /// Enters sleep unless an enabled source rejects it.
    fn fall_asleep(&mut self, fabric: &mut Fabric) {
        let deep = self.registers.get(DIG_PWC) & DG_WRAP_PD_EN != 0;
        let (kind, rejects) = match deep {
            true => (Sleep::Deep, DEEP_SLP_REJECT_EN),
            false => (Sleep::Light, LIGHT_SLP_REJECT_EN),
        };
        let conf = self.registers.get(SLP_REJECT_CONF);
        let causes = if conf & rejects != 0 {
            self.active_sources(conf >> 12 & 0x3_ffff, kind, fabric)
        } else {
            0
        };
        if causes != 0 {
            self.raw |= INT_SLP_REJECT;
            self.registers.set(SLP_REJECT_CAUSE, causes);
            return;
        }
        self.sleeping = Some((kind, fabric.now()));
        fabric.sleep = Some(kind);
        fabric.memory.request_yield();
    }

    /// Ends the sleep if an enabled wake-up source is active.
    fn wake(&mut self, fabric: &mut Fabric) {
        let Some((kind, since)) = self.sleeping else { return };
        let enabled = self.registers.get(WAKEUP_STATE) >> 15;
        let causes = self.active_sources(enabled, kind, fabric);
        if causes == 0 {
            return;
        }
        self.sleeping = None;
        fabric.sleep = None;
        self.raw |= INT_SLP_WAKEUP;
        self.registers.set(SLP_WAKEUP_CAUSE, causes);
        if causes & sleep::source::GPIO != 0 {
            let pins =
                sleep::waking_rtc_pins(self.registers.get(GPIO_WAKEUP), fabric.pins.levels());
            self.registers.set(GPIO_WAKEUP, self.registers.get(GPIO_WAKEUP) | pins);
        }
        let slept = fabric.now() - since;
        self.super_fed = self.super_fed.saturating_add(slept);
    }

    fn super_deadline(&self, fabric: &Fabric) -> Option<Tick> {
        let off = !fabric.boots_from_flash()
            || self.registers.get(SWD_CONF) & (SWD_AUTO_FEED | SWD_DISABLE) != 0;
        (!off).then_some(self.super_fed + SWD_TIME)
    }

    fn super_write(&mut self, value: u32, fabric: &Fabric) {
        let now = fabric.now();
        if self.registers.get(SWD_WPROTECT) != SWD_KEY {
            return;
        }
        let was_off = self.super_deadline(fabric).is_none();
        self.registers.set(SWD_CONF, value & !(SWD_FEED | SWD_FLAG_CLR | SWD_RESET_FLAG));
        if value & SWD_FEED != 0 || was_off {
            self.super_fed = now;
        }
        if value & SWD_FLAG_CLR != 0 {
            self.super_reset = false;
        }
    }
}

/// Stage actions (TRM 13.2.2.2).
mod action {
    /// Value that flashers write to reset a chip out of its loader, which works (espflash 4.7.0,
    /// src/target/mod.rs, rtc_wdt_reset). The TRM does not define it.
    pub const RTC_UNDOCUMENTED: u32 = 5;
    pub const INTERRUPT: u32 = 1;
    pub const CPU: u32 = 2;
    pub const CORE: u32 = 3;
    pub const RTC: u32 = 4;
}

impl Device for RtcControl {
    fn read(&mut self, offset: u32, fabric: &mut Fabric) -> u32 {
        match offset {
            TIME_LOW0 => self.latched_time as u32,
            TIME_HIGH0 => (self.latched_time >> 32) as u32 & 0xffff,
            RESET_STATE => self.registers.get(offset) & !0x3f | fabric.reset_reason as u32,
            INT_RAW => self.raw,
            INT_ST => self.raw & self.registers.get(INT_ENA),
            SWD_CONF => self.registers.get(SWD_CONF) | u32::from(self.super_reset),
            _ => self.registers.get(offset),
        }
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        let now = fabric.now();
        match offset {
            OPTIONS0 => {
                self.registers.set(offset, value & !(SW_SYS_RST | SW_PROCPU_RST));
                if value & SW_SYS_RST != 0 {
                    fabric.request_reset(ResetReason::SoftwareSystem);
                } else if value & SW_PROCPU_RST != 0 {
                    fabric.request_reset(ResetReason::SoftwareCpu);
                }
            }
            TIME_UPDATE => {
                if value & TIME_UPDATE_BIT != 0 {
                    self.latched_time = count_in(now - self.timer_since, SLOW_HZ);
                }
                self.registers.set(offset, value & !TIME_UPDATE_BIT);
            }
            SLP_TIMER0 | SLP_TIMER1 => {
                self.registers.set(offset, value);
                self.alarm_over = false;
            }
            STATE0 => {
                self.registers.set(offset, value & !(SLEEP_EN | SLP_REJECT_CAUSE_CLR));
                if value & SLP_REJECT_CAUSE_CLR != 0 {
                    self.registers.set(SLP_REJECT_CAUSE, 0);
                }
                if value & SLEEP_EN != 0 {
                    self.fall_asleep(fabric);
                }
            }
            SLP_REJECT_CAUSE | SLP_WAKEUP_CAUSE => {}
            GPIO_WAKEUP => {
                let clear = value & GPIO_WAKEUP_STATUS_CLR != 0;
                let status = self.registers.get(offset) & GPIO_WAKEUP_STATUS;
                let kept = if clear { 0 } else { status };
                let written = value & !(GPIO_WAKEUP_STATUS | GPIO_WAKEUP_STATUS_CLR);
                self.registers.set(offset, written | kept);
            }
            RESET_STATE => self.registers.set(offset, value & !0xfff),
            INT_CLR => self.raw &= !value,
            WDTCONFIG0..=WDTCONFIG4 => {
                if self.registers.get(WDTWPROTECT) == WDT_KEY {
                    self.registers.set(offset, value);
                    self.configure_watchdog(fabric);
                }
            }
            WDTFEED => {
                if self.registers.get(WDTWPROTECT) == WDT_KEY && value & 1 << 31 != 0 {
                    self.watchdog.feed(now);
                }
            }
            SWD_CONF => self.super_write(value, fabric),
            _ => self.registers.set(offset, value),
        }
    }

    fn lines(&self) -> u32 {
        u32::from(self.raw & self.registers.get(INT_ENA) != 0)
    }

    fn next_event(&self, fabric: &Fabric) -> Option<Tick> {
        let alarm = self.alarm_at().filter(|_| !self.alarm_over);
        let Some((kind, since)) = self.sleeping else {
            let deadlines = [self.watchdog.deadline(), self.super_deadline(fabric), alarm];
            return deadlines.into_iter().flatten().min();
        };
        // The super watchdog is paused in sleep, and so is the other one if configured.
        let paused = self.registers.get(WDTCONFIG0) & WDT_PAUSE_IN_SLP != 0;
        let watchdog = self.watchdog.deadline().filter(|_| !paused);
        let enabled = self.registers.get(WAKEUP_STATE) >> 15;
        let arrival = fabric.line.to_board.front().map(|byte| byte.done);
        let arrival =
            arrival.filter(|_| kind == Sleep::Light && enabled & sleep::source::UART0 != 0);
        // A source that is already active ends the sleep at once.
        let at_once = (self.active_sources(enabled, kind, fabric) != 0).then_some(since);
        [watchdog, alarm, arrival, at_once].into_iter().flatten().min()
    }

    fn event(&mut self, fabric: &mut Fabric) {
        let now = fabric.now();
        if !self.alarm_over && self.alarm_at().is_some_and(|at| at <= now) {
            self.alarm_over = true;
            self.raw |= INT_MAIN_TIMER;
        }
        if self.sleeping.is_some() {
            self.wake(fabric);
            let paused = self.registers.get(WDTCONFIG0) & WDT_PAUSE_IN_SLP != 0;
            if self.sleeping.is_some() && paused {
                return;
            }
        }
        for action in self.watchdog.expire(now) {
            match action {
                action::INTERRUPT => self.raw |= INT_WDT,
                action::CPU => fabric.request_reset(ResetReason::RtcWatchdogCpu),
                action::CORE => fabric.request_reset(ResetReason::RtcWatchdogSystem),
                action::RTC | action::RTC_UNDOCUMENTED => {
                    fabric.request_reset(ResetReason::RtcWatchdogRtc)
                }
                _ => {}
            }
        }
        if self.sleeping.is_none() && self.super_deadline(fabric).is_some_and(|at| at <= now) {
            self.super_fed = now;
            self.super_reset = true;
            fabric.request_reset(ResetReason::SuperWatchdog);
        }
    }

    fn skip_time(&mut self, time: Tick, _fabric: &mut Fabric) {
        if self.registers.get(WDTCONFIG0) & WDT_PAUSE_IN_SLP != 0 {
            self.watchdog.skip_time(time);
        }
    }

    fn steady_until(&self, _offset: u32, _fabric: &Fabric) -> Option<Tick> {
        Some(Tick::MAX)
    }

    fn latches(&self, offset: u32, value: u32) -> Option<Range<u32>> {
        let again = self.registers.get(TIME_UPDATE) == value & !TIME_UPDATE_BIT;
        let asks = offset == TIME_UPDATE && again && value & TIME_UPDATE_BIT != 0;
        asks.then_some(TIME_LOW0..TIME_HIGH0 + 4)
    }

    fn time_at(&self, offset: u32, at: Tick) -> Option<(u64, u32)> {
        let time = count_in(at.saturating_sub(self.timer_since), SLOW_HZ);
        match offset {
            TIME_LOW0 => Some((time, 0)),
            // The counter has 48 bits.
            TIME_HIGH0 => Some((time & ((1 << 48) - 1), 32)),
            _ => None,
        }
    }

    fn reset(&mut self, scope: Scope, fabric: &mut Fabric) {
        let now = fabric.now();
        self.sleeping = None;
        if scope >= Scope::System {
            let mut kept = Vec::new();
            if scope < Scope::Chip {
                kept.extend((STORE0..=STORE3).step_by(4).chain((STORE4..=STORE7).step_by(4)));
            }
            let kept: Vec<_> = kept.into_iter().map(|at| (at, self.registers.get(at))).collect();
            self.registers.reset(RESET);
            for (offset, value) in kept {
                self.registers.set(offset, value);
            }
            self.raw = 0;
            self.latched_time = 0;
            self.timer_since = now;
        }
        if scope == Scope::Chip {
            self.super_reset = false;
        }
        if scope >= Scope::Core {
            // Every reset from which the ROM boots activates flash boot protection again.
            self.registers.set(WDTCONFIG0, 0x0001_3214);
            self.registers.set(WDTCONFIG0 + 4, 200_000);
            self.registers.set(WDTWPROTECT, 0);
            self.registers.set(SWD_WPROTECT, 0);
            self.registers.set(SWD_CONF, 0x04b0_0000);
            self.super_fed = now;
            self.watchdog = Watchdog::new();
            self.configure_watchdog(fabric);
        }
    }
}
