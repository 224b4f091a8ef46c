//! The RTC controller: main timer, RTC and super watchdogs, software resets, the reason of the last
//! reset, and registers that survive a reset (TRM 9 and 13, which define the register and bit
//! names).

use esplice_chip::Peripheral;

use std::ops::Range;

use super::{
    clock::{Tick, count_in, periods},
    device::{Device, Fabric, Registers, ResetReason, Scope},
    rtc_watchdog::{self, RtcWatchdogs},
    sleep::{self, Sleep},
};

const OPTIONS0: u32 = 0x00;
const SLP_TIMER0: u32 = 0x04;
const SLP_TIMER1: u32 = 0x08;
const TIME_UPDATE: u32 = 0x0c;
const TIME_LOW0: u32 = 0x10;
const TIME_HIGH0: u32 = 0x14;
const STATE0: u32 = 0x18;
pub(crate) const WDTCONFIG0: u32 = 0x90;
pub(crate) const WDTWPROTECT: u32 = 0xa8;

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
/// Frequency of RC_SLOW_CLK, the RTC's clock unless software selects another (TRM 6.2.2).
pub(super) const SLOW_HZ: u64 = 136_000;
/// Registers that differ between versions.
#[derive(Debug, Clone, Copy)]
struct Layout {
    reset_state: u32,
    wakeup_state: u32,
    /// INT_ENA, followed by INT_RAW, INT_ST and INT_CLR.
    int_ena: u32,
    /// STORE0 to STORE3, and STORE4 to STORE7.
    stores: [u32; 2],
    slp_reject_conf: u32,
    dig_pwc: u32,
    slp_reject_cause: u32,
    slp_wakeup_cause: u32,
    gpio_wakeup: u32,
    watchdogs: rtc_watchdog::Layout,
}

/// The ESP32-C3's RTC controller.
const V1: Layout = Layout {
    reset_state: 0x38,
    wakeup_state: 0x3c,
    int_ena: 0x40,
    stores: [0x50, 0xb8],
    slp_reject_conf: 0x68,
    dig_pwc: 0x88,
    slp_reject_cause: 0xf0,
    slp_wakeup_cause: 0xf8,
    gpio_wakeup: 0x110,
    watchdogs: rtc_watchdog::Layout {
        config0: WDTCONFIG0,
        feed: 0xa4,
        protect: WDTWPROTECT,
        swd_conf: 0xac,
        swd_protect: 0xb0,
        swd_key: 0x8f1d_312a, // TRM 13.3.2
        auto_feed: 1 << 31,
        disable: 1 << 30,
        swd_feed: 1 << 29,
        clear_flag: 1 << 28,
    },
};

/// The ESP32-C2's RTC controller (crate esp32c2, `rtc_cntl`).
const V2: Layout = Layout {
    reset_state: 0x30,
    wakeup_state: 0x34,
    int_ena: 0x38,
    stores: [0x48, 0xac],
    slp_reject_conf: 0x60,
    dig_pwc: 0x7c,
    slp_reject_cause: 0xdc,
    slp_wakeup_cause: 0xe4,
    gpio_wakeup: 0xfc,
    watchdogs: rtc_watchdog::Layout {
        config0: 0x84,
        feed: 0x98,
        protect: 0x9c,
        swd_conf: 0xa0,
        swd_protect: 0xa4,
        ..V1.watchdogs
    },
};

/// The RTC controller.
#[derive(Clone)]
pub(crate) struct RtcControl {
    registers: Registers,
    layout: Layout,
    raw: u32,
    watchdogs: RtcWatchdogs,
    /// Time from which the main timer counts.
    timer_since: Tick,
    latched_time: u64,
    /// True if the alarm has fired since it was last set.
    alarm_over: bool,
    /// Current kind of sleep and its start.
    sleeping: Option<(Sleep, Tick)>,
}

impl RtcControl {
    /// Creates version 1.
    pub fn v1(device: &Peripheral) -> Self {
        Self::with(device, V1)
    }

    /// Creates version 2.
    pub fn v2(device: &Peripheral) -> Self {
        Self::with(device, V2)
    }

    fn with(device: &Peripheral, layout: Layout) -> Self {
        Self {
            registers: Registers::of(device),
            layout,
            raw: 0,
            watchdogs: RtcWatchdogs::new(layout.watchdogs),
            timer_since: 0,
            latched_time: 0,
            alarm_over: false,
            sleeping: None,
        }
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
            self.registers.get(self.layout.gpio_wakeup),
            fabric,
        )
    }

    /// Enters sleep unless an enabled source rejects it.
    fn fall_asleep(&mut self, fabric: &mut Fabric) {
        let deep = self.registers.get(self.layout.dig_pwc) & DG_WRAP_PD_EN != 0;
        let (kind, rejects) = match deep {
            true => (Sleep::Deep, DEEP_SLP_REJECT_EN),
            false => (Sleep::Light, LIGHT_SLP_REJECT_EN),
        };
        let conf = self.registers.get(self.layout.slp_reject_conf);
        let causes = if conf & rejects != 0 {
            self.active_sources(conf >> 12 & 0x3_ffff, kind, fabric)
        } else {
            0
        };
        if causes != 0 {
            self.raw |= INT_SLP_REJECT;
            self.registers.set(self.layout.slp_reject_cause, causes);
            return;
        }
        self.sleeping = Some((kind, fabric.now()));
        fabric.sleep = Some(kind);
        fabric.memory.request_yield();
    }

    /// Ends the sleep if an enabled wake-up source is active.
    fn wake(&mut self, fabric: &mut Fabric) {
        let Some((kind, since)) = self.sleeping else { return };
        let enabled = self.registers.get(self.layout.wakeup_state) >> 15;
        let causes = self.active_sources(enabled, kind, fabric);
        if causes == 0 {
            return;
        }
        self.sleeping = None;
        fabric.sleep = None;
        self.raw |= INT_SLP_WAKEUP;
        self.registers.set(self.layout.slp_wakeup_cause, causes);
        if causes & sleep::source::GPIO != 0 {
            let pins = sleep::waking_rtc_pins(
                self.registers.get(self.layout.gpio_wakeup),
                fabric.pins.levels(),
            );
            self.registers
                .set(self.layout.gpio_wakeup, self.registers.get(self.layout.gpio_wakeup) | pins);
        }
        let slept = fabric.now() - since;
        self.watchdogs.woken(slept);
    }
}

impl Device for RtcControl {
    fn read(&mut self, offset: u32, fabric: &mut Fabric) -> u32 {
        let layout = self.layout;
        match offset {
            TIME_LOW0 => self.latched_time as u32,
            TIME_HIGH0 => (self.latched_time >> 32) as u32 & 0xffff,
            _ if offset == layout.reset_state => {
                self.registers.get(offset) & !0x3f | fabric.reset_reason as u32
            }
            _ if offset == layout.int_ena + 4 => self.raw,
            _ if offset == layout.int_ena + 8 => self.raw & self.registers.get(layout.int_ena),
            _ => {
                let watchdog = self.watchdogs.read(offset, &self.registers);
                watchdog.unwrap_or_else(|| self.registers.get(offset))
            }
        }
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        let (now, layout) = (fabric.now(), self.layout);
        if self.watchdogs.write(offset, value, &mut self.registers, fabric) {
            return;
        }
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
                    self.registers.set(self.layout.slp_reject_cause, 0);
                }
                if value & SLEEP_EN != 0 {
                    self.fall_asleep(fabric);
                }
            }
            _ if [layout.slp_reject_cause, layout.slp_wakeup_cause].contains(&offset) => {}
            _ if offset == layout.gpio_wakeup => {
                let clear = value & GPIO_WAKEUP_STATUS_CLR != 0;
                let status = self.registers.get(offset) & GPIO_WAKEUP_STATUS;
                let kept = if clear { 0 } else { status };
                let written = value & !(GPIO_WAKEUP_STATUS | GPIO_WAKEUP_STATUS_CLR);
                self.registers.set(offset, written | kept);
            }
            _ if offset == layout.reset_state => self.registers.set(offset, value & !0xfff),
            _ if offset == layout.int_ena + 12 => self.raw &= !value,
            _ => self.registers.set(offset, value),
        }
    }

    fn lines(&self) -> u32 {
        u32::from(self.raw & self.registers.get(self.layout.int_ena) != 0)
    }

    fn next_event(&self, fabric: &Fabric) -> Option<Tick> {
        let alarm = self.alarm_at().filter(|_| !self.alarm_over);
        let Some((kind, since)) = self.sleeping else {
            let watchdog = self.watchdogs.deadline(false, &self.registers, fabric);
            return [watchdog, alarm].into_iter().flatten().min();
        };
        let watchdog = self.watchdogs.deadline(true, &self.registers, fabric);
        let enabled = self.registers.get(self.layout.wakeup_state) >> 15;
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
        self.wake(fabric);
        let asleep = self.sleeping.is_some();
        if self.watchdogs.expire(asleep, &self.registers, fabric) {
            self.raw |= INT_WDT;
        }
    }

    fn skip_time(&mut self, time: Tick, _fabric: &mut Fabric) {
        self.watchdogs.skip_time(time, &self.registers);
    }

    fn senses_pins(&self) -> bool {
        true
    }

    fn keeps_awake(&self) -> bool {
        true
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
                let stores = self.layout.stores.into_iter();
                kept.extend(stores.flat_map(|first| (first..first + 16).step_by(4)));
            }
            let kept: Vec<_> = kept.into_iter().map(|at| (at, self.registers.get(at))).collect();
            self.registers.reset();
            for (offset, value) in kept {
                self.registers.set(offset, value);
            }
            self.raw = 0;
            self.latched_time = 0;
            self.timer_since = now;
        }
        self.watchdogs.reset(scope, &mut self.registers, fabric);
    }
}
