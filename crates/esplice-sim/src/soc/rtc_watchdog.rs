//! The watchdog of the RTC or LP system and the super watchdog, whose registers are a part of
//! another device (TRM 13, which defines the register and bit names).

use super::{
    clock::{TICK_HZ, Tick},
    device::{Fabric, Registers, ResetReason, Scope},
    rtc::SLOW_HZ,
    watchdog::{Stage, WDT_KEY, Watchdog},
};

/// Registers and bits of a generation of chips.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// CONFIG0, followed by CONFIG1 to CONFIG4, the stages' times.
    pub config0: u32,
    pub feed: u32,
    pub protect: u32,
    pub swd_conf: u32,
    pub swd_protect: u32,
    /// Key that unlocks the super watchdog's register.
    pub swd_key: u32,
    /// Bits of the super watchdog's register.
    pub auto_feed: u32,
    pub disable: u32,
    pub swd_feed: u32,
    pub clear_flag: u32,
}

const RESET_FLAG: u32 = 1;
/// Pauses the watchdog in sleep.
const PAUSE_IN_SLP: u32 = 1 << 9;
const WDT_EN: u32 = 1 << 31;
const WDT_FLASHBOOT: u32 = 1 << 12;
const FEED: u32 = 1 << 31;

/// Timeout of the super watchdog. Its oscillator is analog and no figure is published. Boards with
/// blank flash are reset by timer group 0 first, so it must be longer than that one's 1.3 s.
const SWD_TIME: Tick = 2 * TICK_HZ;
/// Factor by which the eFuse WDT_DELAY_SEL extends stage 0 of the RTC watchdog: 2 if it is not
/// burnt (TRM 13.2.2.2).
const STAGE_0_FACTOR: u64 = 2;

/// Stage actions (TRM 13.2.2.2).
mod action {
    pub const INTERRUPT: u32 = 1;
    pub const CPU: u32 = 2;
    pub const CORE: u32 = 3;
    pub const RTC: u32 = 4;
    /// Value that flashers write to reset a chip out of its loader, which works (espflash 4.7.0,
    /// src/target/mod.rs, rtc_wdt_reset). The TRM does not define it.
    pub const RTC_UNDOCUMENTED: u32 = 5;
}

/// State of both watchdogs. Their registers are those of the device that contains them.
#[derive(Debug, Clone)]
pub(super) struct RtcWatchdogs {
    layout: Layout,
    watchdog: Watchdog,
    /// Time when the super watchdog was last fed.
    super_fed: Tick,
    super_reset: bool,
}

impl RtcWatchdogs {
    pub fn new(layout: Layout) -> Self {
        Self { layout, watchdog: Watchdog::new(), super_fed: 0, super_reset: false }
    }

    /// Returns the value of a register of the watchdogs, or `None` for another one's.
    pub fn read(&self, offset: u32, registers: &Registers) -> Option<u32> {
        let flag = u32::from(self.super_reset) * RESET_FLAG;
        (offset == self.layout.swd_conf).then(|| registers.get(offset) | flag)
    }

    /// Writes a register. Returns whether it is one of the watchdogs'.
    pub fn write(
        &mut self,
        offset: u32,
        value: u32,
        registers: &mut Registers,
        fabric: &Fabric,
    ) -> bool {
        let layout = self.layout;
        let unlocked = registers.get(layout.protect) == WDT_KEY;
        if (layout.config0..layout.config0 + 20).contains(&offset) {
            if unlocked {
                registers.set(offset, value);
                self.configure(registers, fabric);
            }
        } else if offset == layout.feed {
            if unlocked && value & FEED != 0 {
                self.watchdog.feed(fabric.now());
            }
        } else if offset == layout.swd_conf {
            self.super_write(value, registers, fabric);
        } else {
            return false;
        }
        true
    }

    fn configure(&mut self, registers: &Registers, fabric: &Fabric) {
        let conf = registers.get(self.layout.config0);
        let flash_boot = conf & WDT_FLASHBOOT != 0 && fabric.boots_from_flash();
        let stage = |index: u32| {
            let timeout = u64::from(registers.get(self.layout.config0 + 4 + 4 * index));
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
        self.watchdog.configure(enabled, stages, (SLOW_HZ, 1), fabric.now());
    }

    fn super_write(&mut self, value: u32, registers: &mut Registers, fabric: &Fabric) {
        let layout = self.layout;
        if registers.get(layout.swd_protect) != layout.swd_key {
            return;
        }
        let was_off = self.super_deadline(registers, fabric).is_none();
        let momentary = layout.swd_feed | layout.clear_flag | RESET_FLAG;
        registers.set(layout.swd_conf, value & !momentary);
        if value & layout.swd_feed != 0 || was_off {
            self.super_fed = fabric.now();
        }
        if value & layout.clear_flag != 0 {
            self.super_reset = false;
        }
    }

    fn super_deadline(&self, registers: &Registers, fabric: &Fabric) -> Option<Tick> {
        let conf = registers.get(self.layout.swd_conf);
        let off =
            !fabric.boots_from_flash() || conf & (self.layout.auto_feed | self.layout.disable) != 0;
        (!off).then_some(self.super_fed + SWD_TIME)
    }

    /// Returns whether the watchdog is paused while the chip sleeps.
    pub fn pauses(&self, registers: &Registers) -> bool {
        registers.get(self.layout.config0) & PAUSE_IN_SLP != 0
    }

    /// Returns when the next watchdog expires. In sleep the super watchdog is paused, and so is the
    /// other one if configured.
    pub fn deadline(&self, asleep: bool, registers: &Registers, fabric: &Fabric) -> Option<Tick> {
        let paused = asleep && self.pauses(registers);
        let watchdog = self.watchdog.deadline().filter(|_| !paused);
        let other = self.super_deadline(registers, fabric).filter(|_| !asleep);
        [watchdog, other].into_iter().flatten().min()
    }

    /// Performs the actions of the stages that have expired. Returns whether one is an interrupt.
    pub fn expire(&mut self, asleep: bool, registers: &Registers, fabric: &mut Fabric) -> bool {
        let now = fabric.now();
        let mut raised = false;
        if !(asleep && self.pauses(registers)) {
            for action in self.watchdog.expire(now) {
                match action {
                    action::INTERRUPT => raised = true,
                    action::CPU => fabric.request_reset(ResetReason::RtcWatchdogCpu),
                    action::CORE => fabric.request_reset(ResetReason::RtcWatchdogSystem),
                    action::RTC | action::RTC_UNDOCUMENTED => {
                        fabric.request_reset(ResetReason::RtcWatchdogRtc);
                    }
                    _ => {}
                }
            }
        }
        if !asleep && self.super_deadline(registers, fabric).is_some_and(|at| at <= now) {
            self.super_fed = now;
            self.super_reset = true;
            fabric.request_reset(ResetReason::SuperWatchdog);
        }
        raised
    }

    /// Accounts for a sleep of this length, which has just ended.
    pub fn woken(&mut self, slept: Tick) {
        self.super_fed = self.super_fed.saturating_add(slept);
    }

    /// Accounts for stopped clocks for `time`, up to now.
    pub fn skip_time(&mut self, time: Tick, registers: &Registers) {
        if self.pauses(registers) {
            self.watchdog.skip_time(time);
        }
    }

    /// Sets the watchdogs to their state after a reset. Every reset from which the ROM boots
    /// activates flash boot protection again.
    pub fn reset(&mut self, scope: Scope, registers: &mut Registers, fabric: &Fabric) {
        if scope == Scope::Chip {
            self.super_reset = false;
        }
        if scope >= Scope::Core {
            let layout = self.layout;
            for offset in [
                layout.config0,
                layout.config0 + 4,
                layout.protect,
                layout.swd_protect,
                layout.swd_conf,
            ] {
                registers.set(offset, registers.reset_value(offset));
            }
            self.super_fed = fabric.now();
            self.watchdog = Watchdog::new();
            self.configure(registers, fabric);
        }
    }
}
