//! The system timer: two counters at 16 MHz and three alarms (TRM 11, which defines the register
//! and bit names).

use esplice_chip::Peripheral;

use std::ops::Range;

use super::{
    clock::{TICK_HZ, Tick},
    device::{Device, Fabric, Registers, Scope},
};

const CONF: u32 = 0x00;
const UNIT0_OP: u32 = 0x04;
const UNIT1_OP: u32 = 0x08;
const UNIT0_LOAD_HI: u32 = 0x0c;
const TARGET0_HI: u32 = 0x1c;
const TARGET0_CONF: u32 = 0x34;
const UNIT0_VALUE_HI: u32 = 0x40;
const UNIT1_VALUE_LO: u32 = 0x4c;
const COMP0_LOAD: u32 = 0x50;
const COMP2_LOAD: u32 = 0x58;
const UNIT0_LOAD: u32 = 0x5c;
const UNIT1_LOAD: u32 = 0x60;
const INT_ENA: u32 = 0x64;
const INT_RAW: u32 = 0x68;
const INT_CLR: u32 = 0x6c;
const INT_ST: u32 = 0x70;

const OP_UPDATE: u32 = 1 << 30;
const OP_VALUE_VALID: u32 = 1 << 29;
const UNIT0_WORK_EN: u32 = 1 << 30;
const PERIOD_MODE: u32 = 1 << 30;
const UNIT_SEL: u32 = 1 << 31;
const PERIOD: u32 = (1 << 26) - 1;
/// The counters have 52 bits.
const COUNTER: u64 = (1 << 52) - 1;
/// Ticks per count. The clock is the crystal's times 2, divided by 5 (TRM 11.3).
const COUNT: Tick = TICK_HZ / 16_000_000;

#[derive(Debug, Clone, Copy, Default)]
struct Unit {
    running: bool,
    value: u64,
    since: Tick,
    latched: u64,
}

impl Unit {
    fn value_at(&self, now: Tick) -> u64 {
        let counted = if self.running { now.saturating_sub(self.since) / COUNT } else { 0 };
        self.value.wrapping_add(counted) & COUNTER
    }

    fn stop_at(&mut self, now: Tick) {
        self.value = self.value_at(now);
        // Keep the fraction of a count.
        self.since = if self.running { now - now.saturating_sub(self.since) % COUNT } else { now };
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Alarm {
    enabled: bool,
    /// True if the alarm was loaded or enabled since it last fired. A single alarm fires once.
    armed: bool,
    /// Unit value at which the alarm fires next.
    target: u64,
}

/// The system timer.
#[derive(Clone)]
pub(crate) struct SystemTimer {
    registers: Registers,
    units: [Unit; 2],
    alarms: [Alarm; 3],
    raw: u32,
}

impl SystemTimer {
    pub fn new(device: &Peripheral) -> Self {
        Self {
            registers: Registers::of(device),
            units: [Unit::default(); 2],
            alarms: [Alarm::default(); 3],
            raw: 0,
        }
    }

    fn target_conf(&self, alarm: usize) -> u32 {
        self.registers.get(TARGET0_CONF + 4 * alarm as u32)
    }

    fn unit_of(&self, alarm: usize) -> &Unit {
        &self.units[usize::from(self.target_conf(alarm) & UNIT_SEL != 0)]
    }

    fn fires_at(&self, alarm: usize) -> Option<Tick> {
        let state = self.alarms.get(alarm)?;
        let unit = self.unit_of(alarm);
        if !state.enabled || !state.armed || !unit.running {
            return None;
        }
        // A target in the past, up to half of the counter's range, fires immediately.
        let ahead = state.target.wrapping_sub(unit.value) & COUNTER;
        let ahead = if ahead > COUNTER / 2 { 0 } else { ahead };
        Some(unit.since.saturating_add(ahead.saturating_mul(COUNT)))
    }

    fn periodic(&self, alarm: usize) -> bool {
        self.target_conf(alarm) & PERIOD_MODE != 0
    }

    /// Loads the target or period, as requested in COMPx_LOAD.
    fn load_alarm(&mut self, alarm: usize, now: Tick) {
        let conf = self.target_conf(alarm);
        let target = if conf & PERIOD_MODE != 0 {
            self.unit_of(alarm).value_at(now).wrapping_add(u64::from(conf & PERIOD)) & COUNTER
        } else {
            let at = TARGET0_HI + 8 * alarm as u32;
            u64::from(self.registers.get(at) & 0xf_ffff) << 32
                | u64::from(self.registers.get(at + 4))
        };
        if let Some(state) = self.alarms.get_mut(alarm) {
            state.target = target;
            state.armed = true;
        }
    }

    fn configure(&mut self, now: Tick) {
        let conf = self.registers.get(CONF);
        for (index, unit) in self.units.iter_mut().enumerate() {
            let running = conf & UNIT0_WORK_EN >> index != 0;
            if running != unit.running {
                unit.stop_at(now);
                unit.running = running;
                unit.since = now;
            }
        }
        for (index, alarm) in self.alarms.iter_mut().enumerate() {
            // TARGET0_WORK_EN is bit 24, the following ones are below.
            let enabled = conf >> (24 - index) & 1 != 0;
            alarm.armed |= enabled && !alarm.enabled;
            alarm.enabled = enabled;
        }
    }
}

impl Device for SystemTimer {
    fn read(&mut self, offset: u32, fabric: &mut Fabric) -> u32 {
        // Alarms are raised even if they do not interrupt; only those that do are scheduled as
        // events.
        self.event(fabric);
        match offset {
            UNIT0_OP | UNIT1_OP => self.registers.get(offset) | OP_VALUE_VALID,
            UNIT0_VALUE_HI..=UNIT1_VALUE_LO => {
                let unit = &self.units[(offset >> 3 & 1) as usize];
                if offset & 4 == 0 { (unit.latched >> 32) as u32 } else { unit.latched as u32 }
            }
            INT_RAW => self.raw,
            INT_ST => self.raw & self.registers.get(INT_ENA),
            _ => self.registers.get(offset),
        }
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        let now = fabric.now();
        match offset {
            UNIT0_OP | UNIT1_OP => {
                if value & OP_UPDATE != 0 {
                    let unit = &mut self.units[usize::from(offset == UNIT1_OP)];
                    unit.latched = unit.value_at(now);
                }
                self.registers.set(offset, value & !(OP_UPDATE | OP_VALUE_VALID));
            }
            UNIT0_LOAD | UNIT1_LOAD => {
                let index = (offset - UNIT0_LOAD) / 4;
                let at = UNIT0_LOAD_HI + 8 * index;
                let value = u64::from(self.registers.get(at) & 0xf_ffff) << 32
                    | u64::from(self.registers.get(at + 4));
                let unit = &mut self.units[index as usize];
                unit.value = value;
                unit.since = now;
            }
            COMP0_LOAD..=COMP2_LOAD => self.load_alarm(((offset - COMP0_LOAD) / 4) as usize, now),
            INT_CLR => self.raw &= !value,
            _ => {
                self.registers.set(offset, value);
                if offset == CONF {
                    self.configure(now);
                }
            }
        }
    }

    fn lines(&self) -> u32 {
        self.raw & self.registers.get(INT_ENA)
    }

    fn next_event(&self, _fabric: &Fabric) -> Option<Tick> {
        let wanted = self.registers.get(INT_ENA);
        (0..self.alarms.len())
            .filter(|alarm| wanted >> alarm & 1 != 0)
            .filter_map(|alarm| self.fires_at(alarm))
            .min()
    }

    fn event(&mut self, fabric: &mut Fabric) {
        let now = fabric.now();
        for alarm in 0..self.alarms.len() {
            if self.fires_at(alarm).is_none_or(|at| at > now) {
                continue;
            }
            self.raw |= 1 << alarm;
            self.alarms[alarm].armed = self.periodic(alarm);
            if self.periodic(alarm) {
                let period = u64::from(self.target_conf(alarm) & PERIOD).max(1);
                let value = self.unit_of(alarm).value_at(now);
                let state = &mut self.alarms[alarm];
                // Keep to the schedule, however late this check is.
                let missed = (value.wrapping_sub(state.target) & COUNTER) / period;
                state.target = state.target.wrapping_add((missed + 1) * period) & COUNTER;
            }
        }
    }

    fn skip_time(&mut self, time: Tick, _fabric: &mut Fabric) {
        for unit in &mut self.units {
            unit.since = unit.since.saturating_add(time);
        }
    }

    fn steady_until(&self, offset: u32, fabric: &Fabric) -> Option<Tick> {
        match offset {
            // Alarms are raised even if they do not interrupt.
            INT_RAW | INT_ST => {
                let now = fabric.now();
                let fires = (0..self.alarms.len()).filter_map(|alarm| self.fires_at(alarm));
                Some(fires.filter(|at| *at > now).min().unwrap_or(Tick::MAX))
            }
            _ => Some(Tick::MAX),
        }
    }

    fn latches(&self, offset: u32, value: u32) -> Option<Range<u32>> {
        let unit = match offset {
            UNIT0_OP => 0,
            UNIT1_OP => 1,
            _ => return None,
        };
        let again = self.registers.get(offset) == value & !(OP_UPDATE | OP_VALUE_VALID);
        let first = UNIT0_VALUE_HI + 8 * unit;
        (again && value & OP_UPDATE != 0).then_some(first..first + 8)
    }

    fn time_at(&self, offset: u32, at: Tick) -> Option<(u64, u32)> {
        let unit = self.units.get((offset.checked_sub(UNIT0_VALUE_HI)? / 8) as usize)?;
        Some((unit.value_at(at), if offset & 4 == 0 { 32 } else { 0 }))
    }

    fn reset(&mut self, scope: Scope, fabric: &mut Fabric) {
        if scope >= Scope::Core {
            self.registers.reset();
            self.raw = 0;
            self.units = [Unit { since: fabric.now(), ..Unit::default() }; 2];
            self.alarms = [Alarm::default(); 3];
            self.configure(fabric.now());
        }
    }
}
