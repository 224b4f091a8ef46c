//! LP_TIMER, the timer that runs while the chip sleeps, with two alarms (names and bits as in the
//! crate esp32c6, `lp_timer`). The first alarm wakes the chip.

use esplice_chip::Peripheral;
use std::ops::Range;

use super::{
    clock::{Tick, count_in, periods},
    device::{Device, Fabric, Registers, Scope},
    rtc::SLOW_HZ,
};

const TARGETS: [u32; 2] = [0x00, 0x08];
const UPDATE: u32 = 0x10;
const BUF0_LOW: u32 = 0x14;
const BUF1_HIGH: u32 = 0x20;
const INT_RAW: u32 = 0x28;
const INT_ST: u32 = 0x2c;
const INT_ENA: u32 = 0x30;
const INT_CLR: u32 = 0x34;
const LP_INT_RAW: u32 = 0x38;
const LP_INT_ST: u32 = 0x3c;
const LP_INT_ENA: u32 = 0x40;
const LP_INT_CLR: u32 = 0x44;

const TARGET_EN: u32 = 1 << 31;
const UPDATE_BIT: u32 = 1 << 28;
/// Interrupts of the alarms: SOC_WAKEUP of the main processor, MAIN_TIMER of the LP core.
const INT_ALARM: u32 = 1 << 31;
/// The counter has 48 bits.
const COUNTER: u64 = (1 << 48) - 1;

/// The timer.
#[derive(Clone)]
pub(crate) struct LpTimer {
    registers: Registers,
    /// Time from which it counts.
    since: Tick,
    /// The last two latched values.
    latched: [u64; 2],
    raw: [u32; 2],
    /// Alarms that have fired since they were set.
    over: [bool; 2],
}

impl LpTimer {
    pub fn new(device: &Peripheral) -> Self {
        Self {
            registers: Registers::of(device),
            since: 0,
            latched: [0; 2],
            raw: [0; 2],
            over: [false; 2],
        }
    }

    fn count_at(&self, now: Tick) -> u64 {
        count_in(now.saturating_sub(self.since), SLOW_HZ) & COUNTER
    }

    /// Returns when an alarm fires.
    fn alarm_at(&self, index: usize) -> Option<Tick> {
        let high = self.registers.get(TARGETS[index] + 4);
        let low = self.registers.get(TARGETS[index]);
        let count = u64::from(high & 0xffff) << 32 | u64::from(low);
        let at = self.since.saturating_add(periods(count, SLOW_HZ));
        (high & TARGET_EN != 0).then_some(at)
    }
}

impl Device for LpTimer {
    fn read(&mut self, offset: u32, _fabric: &mut Fabric) -> u32 {
        match offset {
            BUF0_LOW..=BUF1_HIGH => {
                let word = (offset - BUF0_LOW) / 4;
                let value = self.latched[(word / 2) as usize];
                (value >> (32 * (word % 2))) as u32
            }
            INT_RAW => self.raw[0],
            INT_ST => self.raw[0] & self.registers.get(INT_ENA),
            LP_INT_RAW => self.raw[1],
            LP_INT_ST => self.raw[1] & self.registers.get(LP_INT_ENA),
            _ => self.registers.get(offset),
        }
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        match offset {
            UPDATE => {
                if value & UPDATE_BIT != 0 {
                    self.latched = [self.count_at(fabric.now()), self.latched[0]];
                }
                self.registers.set(offset, value & !UPDATE_BIT);
                return;
            }
            INT_RAW | LP_INT_RAW => return,
            INT_CLR => self.raw[0] &= !value,
            LP_INT_CLR => self.raw[1] &= !value,
            _ => self.registers.set(offset, value),
        }
        for (index, target) in TARGETS.into_iter().enumerate() {
            if [target, target + 4].contains(&offset) {
                self.over[index] = false;
            }
        }
        fabric.wake_alarm = self.alarm_at(0);
    }

    fn lines(&self) -> u32 {
        u32::from(self.raw[0] & self.registers.get(INT_ENA) != 0)
    }

    fn next_event(&self, _fabric: &Fabric) -> Option<Tick> {
        let next = |index: usize| self.alarm_at(index).filter(|_| !self.over[index]);
        [next(0), next(1)].into_iter().flatten().min()
    }

    fn event(&mut self, fabric: &mut Fabric) {
        for index in 0..TARGETS.len() {
            if !self.over[index] && self.alarm_at(index).is_some_and(|at| at <= fabric.now()) {
                self.over[index] = true;
                self.raw[index] |= INT_ALARM;
            }
        }
    }

    fn keeps_awake(&self) -> bool {
        true
    }

    fn steady_until(&self, _offset: u32, _fabric: &Fabric) -> Option<Tick> {
        Some(Tick::MAX)
    }

    fn latches(&self, offset: u32, value: u32) -> Option<Range<u32>> {
        let again = self.registers.get(UPDATE) == value & !UPDATE_BIT;
        (offset == UPDATE && value & UPDATE_BIT != 0 && again).then_some(BUF0_LOW..BUF0_LOW + 8)
    }

    fn time_at(&self, offset: u32, at: Tick) -> Option<(u64, u32)> {
        match offset.checked_sub(BUF0_LOW)? {
            0 => Some((self.count_at(at), 0)),
            4 => Some((self.count_at(at), 32)),
            _ => None,
        }
    }

    fn reset(&mut self, scope: Scope, fabric: &mut Fabric) {
        if scope >= Scope::System {
            self.registers.reset();
            self.since = fabric.now();
            (self.latched, self.raw, self.over) = ([0; 2], [0; 2], [false; 2]);
            fabric.wake_alarm = None;
        }
    }
}
