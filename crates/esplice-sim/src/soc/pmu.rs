//! The PMU: light and deep sleep with rejection, wake-up and their causes (names and bits as in the
//! crates esp32c6 and esp32h2, `pmu`). Power and clock settings are only stored. In version 2 the
//! interrupt registers are one word further.
//!
//! Modelled sources are the timer of the LP system, pins (light sleep), and a byte for UART 0
//! (light sleep).

use esplice_chip::Peripheral;

use super::{
    clock::Tick,
    device::{Device, Fabric, Registers, Scope},
    sleep::Sleep,
};

const HP_SLEEP_DIG_POWER: u32 = 0x68;
const SLP_WAKEUP_CNTL0: u32 = 0x120;
const SLP_WAKEUP_CNTL1: u32 = 0x124;
const SLP_WAKEUP_CNTL2: u32 = 0x128;
const SLP_WAKEUP_CNTL4: u32 = 0x130;
const SLP_WAKEUP_STATUS0: u32 = 0x140;
const SLP_WAKEUP_STATUS1: u32 = 0x144;

/// HP_SLEEP_DIG_POWER: switches off the digital part in sleep.
const PD_TOP_PD_EN: u32 = 1 << 31;
const SLEEP_REQ: u32 = 1 << 31;
const REJECT_EN: u32 = 1 << 31;
const REJECT_CAUSE_CLR: u32 = 1 << 31;
const INT_SLEEP_REJECT: u32 = 1 << 30;
const INT_WAKEUP: u32 = 1 << 31;

/// Wake-up sources (ESP-IDF, soc/esp32c6/pmu_icg_mapping.h and hal/esp32c6 `PMU_*_WAKEUP_EN`; HAL
/// src/rtc_cntl/sleep/wakeup.rs).
mod source {
    pub const GPIO: u32 = 1 << 2;
    pub const TIMER: u32 = 1 << 4;
    pub const UART0: u32 = 1 << 6;
}

/// The power management unit.
#[derive(Clone)]
pub(crate) struct Pmu {
    registers: Registers,
    /// The register INT_RAW, which INT_ST, INT_ENA and INT_CLR follow.
    int_raw: u32,
    raw: u32,
    /// Current kind of sleep and its start.
    sleeping: Option<(Sleep, Tick)>,
}

impl Pmu {
    /// Creates version 1.
    pub fn v1(device: &Peripheral) -> Self {
        Self::with(device, 0x15c)
    }

    /// Creates version 2.
    pub fn v2(device: &Peripheral) -> Self {
        Self::with(device, 0x160)
    }

    fn with(device: &Peripheral, int_raw: u32) -> Self {
        Self { registers: Registers::of(device), int_raw, raw: 0, sleeping: None }
    }

    /// Returns the sources that are currently active.
    fn active_sources(kind: Sleep, fabric: &Fabric) -> u32 {
        let now = fabric.now();
        let light = kind == Sleep::Light;
        let heard = fabric.line.to_board.front().is_some_and(|byte| byte.done <= now);
        let mut sources = 0;
        if fabric.wake_alarm.is_some_and(|at| at <= now) {
            sources |= source::TIMER;
        }
        if light && fabric.pins.wakes() {
            sources |= source::GPIO;
        }
        if light && heard {
            sources |= source::UART0;
        }
        sources
    }

    /// Enters sleep unless an enabled source rejects it.
    fn fall_asleep(&mut self, fabric: &mut Fabric) {
        let deep = self.registers.get(HP_SLEEP_DIG_POWER) & PD_TOP_PD_EN != 0;
        let kind = if deep { Sleep::Deep } else { Sleep::Light };
        let reject = self.registers.get(SLP_WAKEUP_CNTL1);
        let enabled = if reject & REJECT_EN != 0 { reject & !REJECT_EN } else { 0 };
        let causes = Self::active_sources(kind, fabric) & enabled;
        if causes != 0 {
            self.raw |= INT_SLEEP_REJECT;
            self.registers.set(SLP_WAKEUP_STATUS1, causes);
            return;
        }
        self.sleeping = Some((kind, fabric.now()));
        fabric.sleep = Some(kind);
        fabric.memory.request_yield();
    }
}

impl Device for Pmu {
    fn read(&mut self, offset: u32, _fabric: &mut Fabric) -> u32 {
        match offset.wrapping_sub(self.int_raw) {
            0 => self.raw,
            4 => self.raw & self.registers.get(self.int_raw + 8),
            _ => self.registers.get(offset),
        }
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        match offset {
            SLP_WAKEUP_CNTL0 => {
                self.registers.set(offset, value & !SLEEP_REQ);
                if value & SLEEP_REQ != 0 {
                    self.fall_asleep(fabric);
                }
                return;
            }
            SLP_WAKEUP_CNTL4 => {
                self.registers.set(offset, value & !REJECT_CAUSE_CLR);
                if value & REJECT_CAUSE_CLR != 0 {
                    self.registers.set(SLP_WAKEUP_STATUS1, 0);
                }
                return;
            }
            SLP_WAKEUP_STATUS0 | SLP_WAKEUP_STATUS1 => return,
            _ => {}
        }
        match offset.wrapping_sub(self.int_raw) {
            0 | 4 => {}
            12 => self.raw &= !value,
            _ => self.registers.set(offset, value),
        }
    }

    fn lines(&self) -> u32 {
        u32::from(self.raw & self.registers.get(self.int_raw + 8) != 0)
    }

    fn next_event(&self, fabric: &Fabric) -> Option<Tick> {
        let (kind, since) = self.sleeping?;
        let enabled = self.registers.get(SLP_WAKEUP_CNTL2);
        let alarm = fabric.wake_alarm.filter(|_| enabled & source::TIMER != 0);
        let arrival = fabric.line.to_board.front().map(|byte| byte.done);
        let arrival = arrival.filter(|_| kind == Sleep::Light && enabled & source::UART0 != 0);
        // A source that is already active ends the sleep at once.
        let at_once = (Self::active_sources(kind, fabric) & enabled != 0).then_some(since);
        [alarm, arrival, at_once].into_iter().flatten().min()
    }

    /// Ends the sleep if an enabled wake-up source is active.
    fn event(&mut self, fabric: &mut Fabric) {
        let Some((kind, _)) = self.sleeping else { return };
        let enabled = self.registers.get(SLP_WAKEUP_CNTL2);
        let causes = Self::active_sources(kind, fabric) & enabled;
        if causes == 0 {
            return;
        }
        self.sleeping = None;
        fabric.sleep = None;
        self.raw |= INT_WAKEUP;
        self.registers.set(SLP_WAKEUP_STATUS0, causes);
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

    fn reset(&mut self, scope: Scope, _fabric: &mut Fabric) {
        self.sleeping = None;
        if scope >= Scope::System {
            self.registers.reset();
            self.raw = 0;
        }
    }
}
