//! Pins: the GPIO controller with its interrupts and output matrix, and the pads of the I/O
//! multiplexer (TRM, "IO MUX and GPIO Matrix", which defines the register names; bits as in the
//! crate esp32c3, `gpio` and `io_mux`).
//!
//! A pin's level is set by the chip if it drives the pin, otherwise by the outside, otherwise by
//! the pad's pull-up. Without any of them it is low.

use esplice_chip::Peripheral;

use super::clock::Tick;
use super::device::{Device, Fabric, Registers, Scope};
use super::serial::Serial;
use std::collections::{BTreeMap, VecDeque};

const OUT: u32 = 0x04;
const ENABLE: u32 = 0x20;
const IN: u32 = 0x3c;
const STATUS: u32 = 0x44;
const PCPU_INT: u32 = 0x5c;
const PCPU_NMI_INT: u32 = 0x60;
const CPUSDIO_INT: u32 = 0x64;
const PIN0: u32 = 0x74;
const STATUS_NEXT: u32 = 0x14c;
const IN_SEL0: u32 = 0x154;
const OUT_SEL0: u32 = 0x554;
/// Most edges that are kept; the oldest are lost.
const MOST_EDGES: usize = 1 << 20;
/// Number of signals with an input selection.
const INPUTS: u32 = 128;
/// Registers that are followed by a set register and a clear register.
const SET_AND_CLEAR: [u32; 3] = [OUT, ENABLE, STATUS];

/// Fields of a pin's register.
mod pin {
    pub const OPEN_DRAIN: u32 = 1 << 2;
    pub const INT_TYPE: u32 = 7;
    pub const INT_TYPE_AT: u32 = 7;
    pub const WAKEUP: u32 = 1 << 10;
    pub const INT_ENA: u32 = 1 << 13;
    pub const NMI_ENA: u32 = 1 << 14;
}

/// Fields of a pin's output selection.
mod select {
    pub const SIGNAL: u32 = 0xff;
    /// Signal number that selects OUT and ENABLE.
    pub const GPIO: u32 = 0x80;
    pub const INVERT: u32 = 1 << 8;
    /// ENABLE controls the output instead of the device.
    pub const BY_ENABLE: u32 = 1 << 9;
    pub const INVERT_ENABLE: u32 = 1 << 10;
}

/// Fields of a signal's input selection.
#[derive(Debug, Clone, Copy)]
struct InputFields {
    pin: u32,
    /// The signal is routed through the matrix.
    by_matrix: u32,
}

/// The ESP32-C3's and ESP32-C2's.
const INPUT_V1: InputFields = InputFields { pin: 0x1f, by_matrix: 1 << 6 };
/// The ESP32-C6's and ESP32-H2's (crate esp32c6, `gpio::func_in_sel_cfg`).
const INPUT_V2: InputFields = InputFields { pin: 0x3f, by_matrix: 1 << 7 };

/// Fields of a pad's register.
mod pad {
    pub const PULL_DOWN: u32 = 1 << 7;
    pub const PULL_UP: u32 = 1 << 8;
    pub const INPUT: u32 = 1 << 9;
}

/// The pins as seen by devices and the host: bit n is pin n.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pins {
    /// Number of pins that the registers have room for.
    count: u32,
    /// Pins that the outside drives, and those it drives high.
    outside: u32,
    outside_high: u32,
    /// Pins that the chip drives, and those it drives high.
    driven: u32,
    driven_high: u32,
    pull_up: u32,
    input: u32,
    /// Pins that wake the chip from light sleep at a high or low level.
    wake_high: u32,
    wake_low: u32,
    /// Levels of devices' signals. Others have only an idle level, which is high.
    signals: BTreeMap<u32, bool>,
    /// Recorded pins, their last levels, and their edges.
    recorded: u32,
    last: u32,
    edges: VecDeque<(Tick, u32, bool)>,
    /// Bytes on the pins.
    pub serial: Serial,
    /// True if the GPIO controller must sample the levels again.
    pub changed: bool,
}

impl Pins {
    /// Creates this number of pins, at most 32.
    pub fn new(count: u32) -> Self {
        Self { count: count.min(32), ..Self::default() }
    }

    /// Returns the bits of all pins.
    fn all(&self) -> u32 {
        u32::MAX.checked_shr(32 - self.count).unwrap_or(0)
    }

    /// Returns the levels of all pins.
    pub fn levels(&self) -> u32 {
        let free = !self.driven;
        self.driven & self.driven_high
            | free & self.outside & self.outside_high
            | free & !self.outside & self.pull_up
    }

    /// Returns the pins whose input buffers are enabled.
    pub fn inputs(&self) -> u32 {
        self.input
    }

    /// Returns the pins that the chip drives.
    pub fn outputs(&self) -> u32 {
        self.driven
    }

    /// Sets the level of a device's signal.
    pub fn set_signal(&mut self, signal: u32, level: bool) {
        if self.signals.insert(signal, level) != Some(level) && self.serial.is_output(signal) {
            self.changed = true;
        }
    }

    /// Records the edges of a pin from now on.
    pub fn record(&mut self, pin: u32) {
        self.recorded |= 1_u32.checked_shl(pin).unwrap_or(0) & self.all();
        self.last = self.levels();
    }

    /// Removes and returns the recorded edges: time, pin, level.
    pub fn take_edges(&mut self) -> VecDeque<(Tick, u32, bool)> {
        std::mem::take(&mut self.edges)
    }

    /// Records edges since the last call.
    fn note(&mut self, now: Tick) {
        if self.recorded == 0 {
            return;
        }
        let levels = self.levels();
        let mut changed = (levels ^ self.last) & self.recorded;
        self.last = levels;
        while changed != 0 {
            let pin = changed.trailing_zeros();
            changed &= changed - 1;
            if self.edges.len() >= MOST_EDGES {
                self.edges.pop_front();
            }
            self.edges.push_back((now, pin, levels >> pin & 1 != 0));
        }
    }

    /// Returns whether the outside pulls a pin low.
    pub fn is_held_low(&self, pin: u32) -> bool {
        let bit = 1_u32.checked_shl(pin).unwrap_or(0);
        self.outside & !self.outside_high & bit != 0
    }

    /// Drives a pin to a level from outside, or releases it.
    pub fn drive(&mut self, pin: u32, level: Option<bool>) {
        let bit = 1_u32.checked_shl(pin).unwrap_or(0) & self.all();
        self.outside = if level.is_some() { self.outside | bit } else { self.outside & !bit };
        self.outside_high =
            if level == Some(true) { self.outside_high | bit } else { self.outside_high & !bit };
        self.changed = true;
    }

    /// Releases all pins when the GPIO controller loses power.
    pub fn power_down(&mut self) {
        self.driven = 0;
        self.changed = true;
    }

    /// Returns whether a pin has the level that wakes the chip from light sleep.
    pub fn wakes(&self) -> bool {
        self.levels() & self.wake_high | !self.levels() & self.wake_low != 0
    }
}

/// The GPIO controller.
#[derive(Debug, Clone)]
pub(crate) struct Gpio {
    registers: Registers,
    strap: u32,
    /// Number of pins that the registers have room for.
    count: u32,
    /// Input levels when they were last sampled.
    seen: u32,
    input: InputFields,
}

impl Gpio {
    /// Creates version 1 of the controller, for `count` pins. `strap` is the offset of the
    /// strapping register.
    pub fn v1(device: &Peripheral, strap: u32, count: u32) -> Self {
        Self::with(device, strap, count, INPUT_V1)
    }

    /// Creates version 2.
    pub fn v2(device: &Peripheral, strap: u32, count: u32) -> Self {
        Self::with(device, strap, count, INPUT_V2)
    }

    fn with(device: &Peripheral, strap: u32, count: u32, input: InputFields) -> Self {
        let (registers, count) = (Registers::of(device), count.min(32));
        let mut gpio = Self { registers, strap, count, seen: 0, input };
        gpio.clear();
        gpio
    }

    fn clear(&mut self) {
        self.registers.reset();
        for pin in 0..self.count {
            self.registers.set(OUT_SEL0 + 4 * pin, select::GPIO);
        }
    }

    fn pin(&self, pin: u32) -> u32 {
        self.registers.get(PIN0 + 4 * pin)
    }

    /// Returns the pins whose registers have any of these bits set.
    fn pins_with(&self, bits: u32) -> u32 {
        (0..self.count)
            .filter(|pin| self.pin(*pin) & bits != 0)
            .fold(0, |pins, pin| pins | 1 << pin)
    }

    /// Updates the driven pins from the registers.
    fn drive(&self, pins: &mut Pins) {
        let (out, enable) = (self.registers.get(OUT), self.registers.get(ENABLE));
        (pins.driven, pins.driven_high, pins.wake_high, pins.wake_low) = (0, 0, 0, 0);
        for number in 0..self.count {
            let bit = 1 << number;
            let chosen = self.registers.get(OUT_SEL0 + 4 * number);
            let own = chosen & select::SIGNAL == select::GPIO;
            // The bytes of serial lines are routed separately; their idle level is high.
            let signal = (!own).then_some(chosen & select::SIGNAL);
            pins.changed |= pins.serial.route_out(number, signal);
            let mut high = match signal {
                Some(signal) => pins.signals.get(&signal).copied().unwrap_or(true),
                None => out & bit != 0,
            };
            high ^= chosen & select::INVERT != 0;
            let mut on =
                if own || chosen & select::BY_ENABLE != 0 { enable & bit != 0 } else { true };
            on ^= chosen & select::INVERT_ENABLE != 0;
            // An open drain only pulls down.
            on &= !(high && self.pin(number) & pin::OPEN_DRAIN != 0);
            pins.driven |= if on { bit } else { 0 };
            pins.driven_high |= if high { bit } else { 0 };
            if self.pin(number) & pin::WAKEUP != 0 {
                match self.pin(number) >> pin::INT_TYPE_AT & pin::INT_TYPE {
                    4 => pins.wake_low |= bit,
                    5 => pins.wake_high |= bit,
                    _ => {}
                }
            }
        }
    }

    /// Brings pins and interrupts up to date.
    fn update(&mut self, fabric: &mut Fabric) {
        let now = fabric.now();
        self.drive(&mut fabric.pins);
        self.sense(&fabric.pins);
        fabric.pins.note(now);
    }

    /// Updates the pins from which the signals are taken.
    fn route_inputs(&self, pins: &mut Pins) {
        for signal in 0..INPUTS {
            let chosen = self.registers.get(IN_SEL0 + 4 * signal);
            let pin = (chosen & self.input.by_matrix != 0).then_some(chosen & self.input.pin);
            pins.serial.route_in(signal, pin.filter(|pin| *pin < self.count));
        }
    }

    /// Samples the inputs and raises the interrupts of pins with a selected edge or level.
    fn sense(&mut self, pins: &Pins) {
        let now = pins.levels() & pins.input & pins.all();
        let (rose, fell) = (now & !self.seen, self.seen & !now);
        self.seen = now;
        let mut raised = 0;
        for number in 0..self.count {
            let bit = 1 << number;
            raised |= bit
                & match self.pin(number) >> pin::INT_TYPE_AT & pin::INT_TYPE {
                    1 => rose,
                    2 => fell,
                    3 => rose | fell,
                    4 => !now & pins.input,
                    5 => now,
                    _ => 0,
                };
        }
        self.registers.set(STATUS, self.registers.get(STATUS) | raised);
    }
}

impl Device for Gpio {
    fn read(&mut self, offset: u32, fabric: &mut Fabric) -> u32 {
        match offset {
            _ if offset == self.strap => fabric.strap,
            IN => fabric.pins.levels() & fabric.pins.input & fabric.pins.all(),
            PCPU_INT => self.registers.get(STATUS) & self.pins_with(pin::INT_ENA),
            PCPU_NMI_INT => self.registers.get(STATUS) & self.pins_with(pin::NMI_ENA),
            CPUSDIO_INT => 0,
            STATUS_NEXT => self.registers.get(STATUS),
            _ => self.registers.get(offset),
        }
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        let register =
            SET_AND_CLEAR.into_iter().find(|at| matches!(offset.wrapping_sub(*at), 4 | 8));
        match register {
            Some(at) if offset - at == 4 => {
                self.registers.set(at, self.registers.get(at) | value & fabric.pins.all());
            }
            Some(at) => self.registers.set(at, self.registers.get(at) & !value),
            None if [self.strap, IN].contains(&offset) => {}
            None => self.registers.set(offset, value),
        }
        if (IN_SEL0..IN_SEL0 + 4 * INPUTS).contains(&offset) {
            self.route_inputs(&mut fabric.pins);
        }
        self.update(fabric);
    }

    fn lines(&self) -> u32 {
        let status = self.registers.get(STATUS);
        u32::from(status & self.pins_with(pin::INT_ENA) != 0)
            | u32::from(status & self.pins_with(pin::NMI_ENA) != 0) << 1
    }

    fn event(&mut self, fabric: &mut Fabric) {
        self.update(fabric);
    }

    fn senses_pins(&self) -> bool {
        true
    }

    fn steady_until(&self, _offset: u32, _fabric: &Fabric) -> Option<Tick> {
        Some(Tick::MAX)
    }

    fn reset(&mut self, scope: Scope, fabric: &mut Fabric) {
        if scope >= Scope::Core {
            self.clear();
            self.route_inputs(&mut fabric.pins);
            self.drive(&mut fabric.pins);
            self.seen = fabric.pins.levels() & fabric.pins.input & fabric.pins.all();
        }
    }
}

/// The I/O multiplexer: pads with their pulls and input buffers. Function selections are only
/// stored.
#[derive(Debug, Clone)]
pub(crate) struct IoMux {
    registers: Registers,
    reset: Box<[u32]>,
}

impl IoMux {
    const PAD0: u32 = 0x04;

    /// Creates the multiplexer. `reset` holds the reset value of each pad's register.
    pub fn new(device: &Peripheral, reset: &[u32]) -> Self {
        Self { registers: Registers::of(device), reset: reset.into() }
    }

    fn apply(&self, pins: &mut Pins) {
        (pins.pull_up, pins.input) = (0, 0);
        for (number, _) in (0..).zip(&self.reset) {
            let register = self.registers.get(Self::PAD0 + 4 * number);
            let up = register & pad::PULL_UP != 0 && register & pad::PULL_DOWN == 0;
            pins.pull_up |= u32::from(up) << number;
            pins.input |= u32::from(register & pad::INPUT != 0) << number;
        }
        pins.changed = true;
    }
}

impl Device for IoMux {
    fn read(&mut self, offset: u32, _fabric: &mut Fabric) -> u32 {
        self.registers.get(offset)
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        self.registers.set(offset, value);
        self.apply(&mut fabric.pins);
    }

    fn steady_until(&self, _offset: u32, _fabric: &Fabric) -> Option<Tick> {
        Some(Tick::MAX)
    }

    fn reset(&mut self, scope: Scope, fabric: &mut Fabric) {
        if scope >= Scope::Core {
            self.registers.reset();
            for (number, value) in (0..).zip(&self.reset) {
                self.registers.set(Self::PAD0 + 4 * number, *value);
            }
            self.apply(&mut fabric.pins);
        }
    }
}
