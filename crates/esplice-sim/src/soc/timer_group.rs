//! A timer group: one timer, the main watchdog and the clock calibrator (TRM 12 and 13, which
//! define the register and bit names).

use esplice_chip::Peripheral;

use std::ops::Range;

use super::{
    clock::{RC_FAST_HZ, Tick, count_in, periods},
    device::{Device, Fabric, Registers, ResetReason, Scope},
    rtc::SLOW_HZ,
    watchdog::{Stage, WDT_KEY, Watchdog},
};

const T0CONFIG: u32 = 0x00;
const T0LO: u32 = 0x04;
const T0HI: u32 = 0x08;
const T0UPDATE: u32 = 0x0c;
const T0ALARMLO: u32 = 0x10;
const T0ALARMHI: u32 = 0x14;
const T0LOADLO: u32 = 0x18;
const T0LOADHI: u32 = 0x1c;
const T0LOAD: u32 = 0x20;
pub(crate) const WDTCONFIG0: u32 = 0x48;
const WDTCONFIG1: u32 = 0x4c;
const WDTCONFIG5: u32 = 0x5c;
const WDTFEED: u32 = 0x60;
pub(crate) const WDTWPROTECT: u32 = 0x64;
const RTCCALICFG: u32 = 0x68;
const RTCCALICFG1: u32 = 0x6c;
const INT_ENA: u32 = 0x70;
const INT_RAW: u32 = 0x74;
const INT_ST: u32 = 0x78;
const INT_CLR: u32 = 0x7c;
const RTCCALICFG2: u32 = 0x80;

/// T0CONFIG bits.
mod t0 {
    pub const EN: u32 = 1 << 31;
    pub const INCREASE: u32 = 1 << 30;
    pub const AUTORELOAD: u32 = 1 << 29;
    pub const ALARM_EN: u32 = 1 << 10;
    pub const USE_XTAL: u32 = 1 << 9;
}

const WDT_EN: u32 = 1 << 31;
const WDT_USE_XTAL: u32 = 1 << 21;
const WDT_FLASHBOOT: u32 = 1 << 14;
const INT_T0: u32 = 1;
const INT_WDT: u32 = 2;
const CALI_START: u32 = 1 << 31;
const CALI_RDY: u32 = 1 << 15;
const CALI_DATA_VALID: u32 = 1;
/// The counter has 54 bits.
const COUNTER: u64 = (1 << 54) - 1;

/// A timer group.
#[derive(Clone)]
pub(crate) struct TimerGroup {
    registers: Registers,
    raw: u32,
    watchdog: Watchdog,
    /// CPU reset and system reset by this group's watchdog.
    resets: [ResetReason; 2],
    /// True if this is group 0, the only one with flash boot protection.
    first: bool,
    timer: Timer,
}

/// The general-purpose timer, which had `value` at `since`.
#[derive(Debug, Clone, Default)]
struct Timer {
    value: u64,
    since: Tick,
    hz: u64,
    divider: u64,
    running: bool,
    up: bool,
    latched: u64,
}

impl Timer {
    fn value_at(&self, now: Tick) -> u64 {
        if !self.running {
            return self.value;
        }
        let counted = count_in(now.saturating_sub(self.since), self.hz) / self.divider.max(1);
        let value = if self.up {
            self.value.wrapping_add(counted)
        } else {
            self.value.wrapping_sub(counted)
        };
        value & COUNTER
    }

    fn reach(&self, alarm: u64) -> Option<Tick> {
        if !self.running {
            return None;
        }
        let ahead =
            if self.up { alarm.checked_sub(self.value) } else { self.value.checked_sub(alarm) };
        let ahead = ahead.unwrap_or(0).saturating_mul(self.divider.max(1));
        // One tick longer, so that the value is definitely reached.
        Some(
            self.since.saturating_add(periods(ahead, self.hz)).saturating_add(u64::from(ahead > 0)),
        )
    }
}

impl TimerGroup {
    /// Creates the timer group with this number.
    pub fn new(device: &Peripheral, number: usize) -> Self {
        let resets = match number {
            0 => [ResetReason::Timer0WatchdogCpu, ResetReason::Timer0WatchdogSystem],
            _ => [ResetReason::Timer1WatchdogCpu, ResetReason::Timer1WatchdogSystem],
        };
        Self {
            registers: Registers::of(device),
            raw: 0,
            watchdog: Watchdog::new(),
            resets,
            first: number == 0,
            timer: Timer::default(),
        }
    }

    fn configure_watchdog(&mut self, fabric: &Fabric) {
        let conf = self.registers.get(WDTCONFIG0);
        let flash_boot = conf & WDT_FLASHBOOT != 0 && self.first && fabric.boots_from_flash();
        let stage = |index: u32| Stage {
            timeout: u64::from(self.registers.get(WDTCONFIG1 + 4 + 4 * index)),
            // STG0 is in bits 30:29, the following stages below.
            action: conf >> (29 - 2 * index) & 3,
        };
        let mut stages = [stage(0), stage(1), stage(2), stage(3)];
        if flash_boot {
            // Flash boot protection is active, and stage 0 resets the system (TRM 13.2.2.5).
            stages[0].action = action::SYSTEM;
        }
        let hz = match fabric.clock.devices {
            Some(devices) => devices.watchdogs[usize::from(!self.first)],
            None if conf & WDT_USE_XTAL != 0 => fabric.clock.xtal_hz(),
            None => fabric.clock.apb_hz(),
        };
        let prescaler = u64::from(self.registers.get(WDTCONFIG1) >> 16);
        let enabled = conf & WDT_EN != 0 || flash_boot;
        self.watchdog.configure(enabled, stages, (hz, prescaler), fabric.now());
    }

    fn configure_timer(&mut self, fabric: &Fabric) {
        let now = fabric.now();
        self.timer.value = self.timer.value_at(now);
        self.timer.since = now;
        let conf = self.registers.get(T0CONFIG);
        self.timer.running = conf & t0::EN != 0;
        self.timer.up = conf & t0::INCREASE != 0;
        self.timer.hz = match fabric.clock.devices {
            Some(devices) => devices.timers[usize::from(!self.first)],
            None if conf & t0::USE_XTAL != 0 => fabric.clock.xtal_hz(),
            None => fabric.clock.apb_hz(),
        };
        // 0 means 65536 (TRM 12.2.1).
        self.timer.divider = match u64::from(conf >> 13 & 0xffff) {
            0 => 0x1_0000,
            divider => divider,
        };
    }

    fn pair(&self, low: u32, high: u32) -> u64 {
        (u64::from(self.registers.get(high)) << 32 | u64::from(self.registers.get(low))) & COUNTER
    }

    fn alarm_at(&self) -> Option<Tick> {
        if self.registers.get(T0CONFIG) & t0::ALARM_EN == 0 {
            return None;
        }
        self.timer.reach(self.pair(T0ALARMLO, T0ALARMHI))
    }

    /// Returns how many crystal clock periods the selected number of slow clock periods takes.
    fn calibration(&self, fabric: &Fabric) -> u32 {
        let conf = self.registers.get(RTCCALICFG);
        let periods = u64::from(conf >> 16 & 0x7fff);
        let hz = match conf >> 13 & 3 {
            0 => SLOW_HZ,
            1 => RC_FAST_HZ / 256, // RC_FAST_DIV_CLK (TRM 6.2.2)
            _ => 32_768,
        };
        (periods * fabric.clock.xtal_hz() / hz) as u32
    }
}

/// Stage actions (TRM 13.2.2.2).
mod action {
    pub const INTERRUPT: u32 = 1;
    pub const CPU: u32 = 2;
    pub const SYSTEM: u32 = 3;
}

impl Device for TimerGroup {
    fn read(&mut self, offset: u32, fabric: &mut Fabric) -> u32 {
        match offset {
            T0LO => self.timer.latched as u32,
            T0HI => (self.timer.latched >> 32) as u32,
            INT_RAW => self.raw,
            INT_ST => self.raw & self.registers.get(INT_ENA),
            // A calibration is ready immediately, which skips some milliseconds of polling.
            RTCCALICFG => self.registers.get(offset) | CALI_RDY,
            RTCCALICFG1 => self.calibration(fabric) << 7 | CALI_DATA_VALID,
            RTCCALICFG2 => self.registers.get(offset) & !1,
            _ => self.registers.get(offset),
        }
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        let now = fabric.now();
        match offset {
            T0CONFIG => {
                self.registers.set(offset, value);
                self.configure_timer(fabric);
            }
            T0UPDATE => self.timer.latched = self.timer.value_at(now),
            T0LOAD => {
                self.timer.value = self.pair(T0LOADLO, T0LOADHI);
                self.timer.since = now;
            }
            WDTCONFIG0..=WDTCONFIG5 => {
                if self.registers.get(WDTWPROTECT) == WDT_KEY {
                    self.registers.set(offset, value);
                    self.configure_watchdog(fabric);
                }
            }
            WDTFEED => {
                if self.registers.get(WDTWPROTECT) == WDT_KEY {
                    self.watchdog.feed(now);
                }
            }
            RTCCALICFG => self.registers.set(offset, value & !(CALI_START | CALI_RDY)),
            INT_CLR => self.raw &= !value,
            _ => self.registers.set(offset, value),
        }
    }

    fn lines(&self) -> u32 {
        self.raw & self.registers.get(INT_ENA)
    }

    fn next_event(&self, _fabric: &Fabric) -> Option<Tick> {
        [self.watchdog.deadline(), self.alarm_at()].into_iter().flatten().min()
    }

    fn event(&mut self, fabric: &mut Fabric) {
        let now = fabric.now();
        for action in self.watchdog.expire(now) {
            match action {
                action::INTERRUPT => self.raw |= INT_WDT,
                action::CPU => fabric.request_reset(self.resets[0]),
                action::SYSTEM => fabric.request_reset(self.resets[1]),
                _ => {}
            }
        }
        if self.alarm_at().is_some_and(|at| at <= now) {
            self.raw |= INT_T0;
            // The alarm disables itself (TRM 12.2.3).
            let conf = self.registers.get(T0CONFIG);
            self.registers.set(T0CONFIG, conf & !t0::ALARM_EN);
            if conf & t0::AUTORELOAD != 0 {
                self.timer.value = self.pair(T0LOADLO, T0LOADHI);
                self.timer.since = now;
            }
        }
    }

    fn clock_changed(&mut self, fabric: &mut Fabric) {
        self.configure_watchdog(fabric);
        self.configure_timer(fabric);
    }

    fn skip_time(&mut self, time: Tick, _fabric: &mut Fabric) {
        self.timer.since = self.timer.since.saturating_add(time);
        self.watchdog.skip_time(time);
    }

    fn steady_until(&self, _offset: u32, _fabric: &Fabric) -> Option<Tick> {
        Some(Tick::MAX)
    }

    fn latches(&self, offset: u32, _value: u32) -> Option<Range<u32>> {
        (offset == T0UPDATE).then_some(T0LO..T0HI + 4)
    }

    fn time_at(&self, offset: u32, at: Tick) -> Option<(u64, u32)> {
        match offset {
            T0LO => Some((self.timer.value_at(at), 0)),
            T0HI => Some((self.timer.value_at(at), 32)),
            _ => None,
        }
    }

    fn reset(&mut self, scope: Scope, fabric: &mut Fabric) {
        if scope >= Scope::Core {
            self.registers.reset();
            self.raw = 0;
            self.watchdog = Watchdog::new();
            self.timer = Timer { since: fabric.now(), ..Timer::default() };
            self.configure_timer(fabric);
            self.configure_watchdog(fabric);
        }
    }
}
