//! The analog-to-digital converters: single conversions (TRM, "On-Chip Sensor and Analog Signal
//! Processing", which defines the names; registers and bits as in the crate esp32c3, `apb_saradc`).
//! Continuous conversions by DMA are not modelled.

use std::collections::BTreeMap;

use esplice_chip::{Peripheral, SimAdc, SimAttenuation};

use super::{
    clock::{Tick, ticks},
    device::{Device, Fabric, Random, Registers, Scope},
};
use std::time::Duration;

const ONETIME_SAMPLE: u32 = 0x20;
/// Results of both units.
const DATA_STATUS: [u32; 2] = [0x2c, 0x30];
const INT_ENA: u32 = 0x40;
const INT_RAW: u32 = 0x44;
const INT_ST: u32 = 0x48;
const INT_CLR: u32 = 0x4c;

/// ONETIME_SAMPLE: start; the units' enable bits; attenuation and channel.
const START: u32 = 1 << 29;
const UNITS: [u32; 2] = [1 << 31, 1 << 30];
const ATTENUATION_AT: u32 = 23;
const CHANNEL_AT: u32 = 25;
/// Interrupts of the units' ends of conversion.
const DONE: [u32; 2] = [1 << 31, 1 << 30];

/// Time of a conversion: 100,000 in a second (ESP32-C3 Series Datasheet, ADC Characteristics).
const CONVERSION: Duration = Duration::from_micros(10);
/// Greatest code.
const MOST: u32 = 0xfff;
/// Supply voltage in mV, which a pin at the high level has.
const SUPPLY: f64 = 3300.0;
/// Block of the converters among the analog parts, and the registers of each unit's initial code
/// (esp-hal, `soc/esp32c3/regi2c.rs`).
const BLOCK: u16 = 0x69;
const INITIAL_CODE: [[u16; 2]; 2] = [[0, 1], [3, 4]];

/// Voltages and the registers of the analog parts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Analog {
    /// Registers by block and register. Unwritten ones hold 0.
    pub registers: BTreeMap<u16, u8>,
    /// Voltages in mV that were set at pins.
    voltages: BTreeMap<u32, f64>,
    /// Standard deviation of the noise in mV.
    noise: f64,
    random: Random,
}

impl Analog {
    /// Sets the voltage at a pin in mV.
    pub fn set(&mut self, pin: u32, millivolts: f64) {
        self.voltages.insert(pin, millivolts);
    }

    /// Sets the noise at all inputs and restarts it.
    pub fn set_noise(&mut self, millivolts: f64, seed: u64) {
        self.noise = millivolts;
        self.random.set_seed(seed);
    }

    /// Returns the noise of the next conversion in mV: the sum of twelve uniform numbers, which is
    /// nearly normal.
    fn next_noise(&mut self) -> f64 {
        if self.noise == 0.0 {
            return 0.0;
        }
        let sum: f64 = (0..12).map(|_| f64::from(self.random.next()) / 4_294_967_296.0).sum();
        (sum - 6.0) * self.noise
    }

    fn register(&self, register: u16) -> u8 {
        self.registers.get(&(register << 8 | BLOCK)).copied().unwrap_or(0)
    }
}

/// The converters.
#[derive(Clone)]
pub(crate) struct Adc {
    registers: Registers,
    data: SimAdc,
    raw: u32,
    results: [u32; 2],
    /// Conversions under way by unit, with their ends.
    until: [Option<Tick>; 2],
}

impl Adc {
    pub fn new(device: &Peripheral, data: &SimAdc) -> Self {
        Self {
            registers: Registers::of(device),
            data: data.clone(),
            raw: 0,
            results: [0; 2],
            until: [None; 2],
        }
    }

    /// Converts the voltage at the selected channel.
    fn convert(&self, unit: usize, fabric: &mut Fabric) -> u32 {
        let sample = self.registers.get(ONETIME_SAMPLE);
        let curve = self.data.attenuations.get((sample >> ATTENUATION_AT & 3) as usize);
        let Some(curve) = curve else { return 0 };
        let grounded = self.data.ground.get(unit).is_some_and(|(register, bit)| {
            fabric.analog.register((*register).into()) >> bit & 1 != 0
        });
        let channel = (sample >> CHANNEL_AT & 15) as usize;
        let pin = self.data.channels.get(unit).and_then(|pins| pins.get(channel));
        let millivolts = match pin {
            Some(pin) if !grounded => {
                let high = fabric.pins.levels().checked_shr(*pin).unwrap_or(0) & 1 != 0;
                let level = if high { SUPPLY } else { 0.0 };
                let set = fabric.analog.voltages.get(pin).copied();
                set.unwrap_or(level) + fabric.analog.next_noise()
            }
            _ => 0.0,
        };
        let [low, high] = INITIAL_CODE[unit.min(1)].map(|at| fabric.analog.register(at));
        let correction = i64::from(low) | i64::from(high & 15) << 8;
        let code = i64::from(code_of(curve, millivolts)) + i64::from(curve.init_code) - correction;
        code.clamp(0, MOST.into()) as u32
    }

    fn advance(&mut self, fabric: &mut Fabric) {
        let now = fabric.now();
        for (unit, done) in DONE.into_iter().enumerate() {
            if self.until[unit].take_if(|until| *until <= now).is_some() {
                self.results[unit] = self.convert(unit, fabric);
                self.raw |= done;
            }
        }
    }
}

/// Returns the voltage of a code in mV.
fn millivolts_of(curve: &SimAttenuation, code: f64) -> f64 {
    let line = code * f64::from(curve.millivolts) / f64::from(curve.code.max(1));
    line - curve.error.iter().rev().fold(0.0, |sum, factor| sum * line + factor)
}

/// Returns the code of a voltage: the one whose voltage is nearest.
fn code_of(curve: &SimAttenuation, millivolts: f64) -> u32 {
    let (mut low, mut high) = (0, MOST);
    while low < high {
        let middle = low.midpoint(high);
        // Halfway between this code and the next one.
        if millivolts_of(curve, f64::from(middle) + 0.5) < millivolts {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

impl Device for Adc {
    fn read(&mut self, offset: u32, _fabric: &mut Fabric) -> u32 {
        match offset {
            INT_RAW => self.raw,
            INT_ST => self.raw & self.registers.get(INT_ENA),
            _ if offset == DATA_STATUS[0] => self.results[0],
            _ if offset == DATA_STATUS[1] => self.results[1],
            _ => self.registers.get(offset),
        }
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        match offset {
            INT_CLR => self.raw &= !value,
            INT_RAW | INT_ST => {}
            _ if DATA_STATUS.contains(&offset) => {}
            ONETIME_SAMPLE => {
                let starts = value & !self.registers.get(offset) & START != 0;
                self.registers.set(offset, value);
                let end = fabric.now().saturating_add(ticks(CONVERSION));
                for (until, unit) in self.until.iter_mut().zip(UNITS) {
                    if starts && value & unit != 0 {
                        *until = Some(end);
                    }
                }
            }
            _ => self.registers.set(offset, value),
        }
    }

    fn lines(&self) -> u32 {
        u32::from(self.raw & self.registers.get(INT_ENA) != 0)
    }

    fn next_event(&self, _fabric: &Fabric) -> Option<Tick> {
        self.until.into_iter().flatten().min()
    }

    fn event(&mut self, fabric: &mut Fabric) {
        self.advance(fabric);
    }

    fn steady_until(&self, _offset: u32, _fabric: &Fabric) -> Option<Tick> {
        Some(Tick::MAX)
    }

    fn reset(&mut self, scope: Scope, _fabric: &mut Fabric) {
        if scope >= Scope::Core {
            self.registers.reset();
            (self.raw, self.results, self.until) = (0, [0; 2], [None; 2]);
        }
    }
}
