//! An I2C controller as master: commands, FIFOs, interrupts and timeouts (TRM, "I2C Controller",
//! which defines the names; registers and bits as in the crate esp32c3, `i2c0`). Being a slave is
//! not modelled.
//!
//! Transfers are modelled by bytes, not by levels: while the bus is used its pins are at rest. The
//! bus exists if the firmware has routed both signals to pins. A wire that is held low from outside
//! stops it.

use std::{collections::VecDeque, sync::Arc};

use esplice_chip::Peripheral;

use super::{
    clock::{RC_FAST_HZ, Tick, duration, periods},
    device::{Device, Fabric, Registers, Scope},
};

const SCL_LOW_PERIOD: u32 = 0x00;
const CTR: u32 = 0x04;
const SR: u32 = 0x08;
const TO: u32 = 0x0c;
const FIFO_ST: u32 = 0x14;
const FIFO_CONF: u32 = 0x18;
const DATA: u32 = 0x1c;
const INT_RAW: u32 = 0x20;
const INT_CLR: u32 = 0x24;
const INT_ENA: u32 = 0x28;
const INT_ST: u32 = 0x2c;
const SCL_HIGH_PERIOD: u32 = 0x38;
const CLK_CONF: u32 = 0x54;
const COMD0: u32 = 0x58;
const COMMANDS: u32 = 8;
const SCL_ST_TIME_OUT: u32 = 0x78;
const SCL_MAIN_ST_TIME_OUT: u32 = 0x7c;
const SCL_SP_CONF: u32 = 0x80;

/// Bits of the interrupt registers.
mod int {
    pub const RXFIFO_WM: u32 = 1 << 0;
    pub const TXFIFO_WM: u32 = 1 << 1;
    pub const RXFIFO_OVF: u32 = 1 << 2;
    pub const END_DETECT: u32 = 1 << 3;
    pub const BYTE_TRANS_DONE: u32 = 1 << 4;
    pub const MST_TXFIFO_UDF: u32 = 1 << 6;
    pub const TRANS_COMPLETE: u32 = 1 << 7;
    pub const TIME_OUT: u32 = 1 << 8;
    pub const TRANS_START: u32 = 1 << 9;
    pub const NACK: u32 = 1 << 10;
    pub const TXFIFO_OVF: u32 = 1 << 11;
    pub const RXFIFO_UDF: u32 = 1 << 12;
    pub const SCL_ST_TO: u32 = 1 << 13;
    pub const SCL_MAIN_ST_TO: u32 = 1 << 14;
}

/// Bits of CTR that clear themselves.
mod ctr {
    pub const TRANS_START: u32 = 1 << 5;
    pub const FSM_RST: u32 = 1 << 10;
    pub const CONF_UPGATE: u32 = 1 << 11;
}

/// A command's fields and operations.
mod comd {
    pub const BYTE_NUM: u32 = 0xff;
    pub const ACK_CHECK_EN: u32 = 1 << 8;
    pub const ACK_EXP: u32 = 1 << 9;
    pub const OPCODE_AT: u32 = 11;
    pub const DONE: u32 = 1 << 31;

    pub const WRITE: u32 = 1;
    pub const STOP: u32 = 2;
    pub const READ: u32 = 3;
    pub const END: u32 = 4;
    pub const RSTART: u32 = 6;
}

/// SR: RESP_REC. The register's description says that it is 1 for NACK; esp-hal
/// (`i2c/master/low_level`, `check_errors`) relies on 1 after a transfer without error.
const RESP_REC: u32 = 1 << 0;
const BUS_BUSY: u32 = 1 << 4;
/// SCL_SP_CONF: sends pulses on SCL, and their number.
const SCL_RST_SLV_EN: u32 = 1 << 0;
const SCL_RST_SLV_NUM_AT: u32 = 1;
/// SCL periods of a byte with its acknowledgement.
const BITS: u64 = 9;

/// A transfer under way.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// Number of the command.
    command: u32,
    /// Bytes of it that are done.
    bytes: u32,
    /// End of the byte or condition on the bus, or `None` while the master waits.
    until: Option<Tick>,
    /// Start of the wait for a wire that is held low.
    stuck: Option<Tick>,
}

/// An I2C controller.
#[derive(Clone)]
pub(crate) struct I2c {
    registers: Registers,
    /// Number of this controller.
    number: usize,
    /// Bytes of each FIFO.
    depth: usize,
    /// True if source and divider of the clock are selected outside of the controller.
    outer_clock: bool,
    /// Signals SCL and SDA in the pin matrix.
    signals: Option<(u32, u32)>,
    raw: u32,
    sending: VecDeque<u8>,
    received: VecDeque<u8>,
    /// Bytes read from and written to the transmit FIFO, and from and to the receive FIFO.
    sent: u32,
    queued: u32,
    taken: u32,
    filled: u32,
    run: Option<Run>,
    /// True from a start condition to the stop condition.
    owns_bus: bool,
    /// True if the next byte is an address.
    addressing: bool,
    /// Part that answers, by its place in the bus.
    part: Option<usize>,
    /// False after a byte that was not acknowledged.
    acknowledged: bool,
    /// End of the pulses that release a part.
    pulses_until: Option<Tick>,
}

impl I2c {
    /// Creates the ESP32-C3's controller, with FIFOs of 32 bytes.
    pub fn v1(device: &Peripheral, number: usize) -> Self {
        Self::with(device, number, 32, false)
    }

    /// Creates the ESP32-C2's controller, with FIFOs of 16 bytes.
    pub fn v1_short(device: &Peripheral, number: usize) -> Self {
        Self::with(device, number, 16, false)
    }

    /// Creates the ESP32-C6's and ESP32-H2's controller, whose clock is selected in the PCR.
    pub fn v2(device: &Peripheral, number: usize) -> Self {
        Self::with(device, number, 32, true)
    }

    fn with(device: &Peripheral, number: usize, depth: usize, outer_clock: bool) -> Self {
        Self {
            registers: Registers::of(device),
            number,
            depth,
            outer_clock,
            signals: match *device.signals.as_slice() {
                [scl, sda, ..] => Some((scl, sda)),
                _ => None,
            },
            raw: 0,
            sending: VecDeque::new(),
            received: VecDeque::new(),
            sent: 0,
            queued: 0,
            taken: 0,
            filled: 0,
            run: None,
            owns_bus: false,
            addressing: false,
            part: None,
            acknowledged: true,
            pulses_until: None,
        }
    }

    /// Returns the clock that the timing registers count.
    fn clock_hz(&self, fabric: &Fabric) -> u64 {
        if let Some(devices) = fabric.clock.devices.filter(|_| self.outer_clock) {
            return devices.i2c.get(self.number).copied().unwrap_or(1);
        }
        let conf = self.registers.get(CLK_CONF);
        let source = if conf >> 20 & 1 == 0 { fabric.clock.xtal_hz() } else { RC_FAST_HZ };
        source / (u64::from(conf & 0xff) + 1)
    }

    /// Returns the time of a number of SCL periods.
    fn scl_time(&self, count: u64, fabric: &Fabric) -> Tick {
        let low = self.registers.get(SCL_LOW_PERIOD) & 0x1ff;
        let high = self.registers.get(SCL_HIGH_PERIOD);
        let period = u64::from(low) + 1 + u64::from(high & 0x1ff) + u64::from(high >> 9 & 0x7f);
        periods(count.saturating_mul(period), self.clock_hz(fabric))
    }

    /// Returns the time of 2 to the power of `exponent` clock periods.
    fn timeout(&self, exponent: u32, fabric: &Fabric) -> Tick {
        periods(1_u64.checked_shl(exponent).unwrap_or(u64::MAX), self.clock_hz(fabric))
    }

    /// Returns the timeouts of a bus that does not move: time and interrupt.
    fn timeouts(&self, fabric: &Fabric) -> [(Tick, u32); 3] {
        let to = self.registers.get(TO);
        let bus = if to >> 5 & 1 == 0 { Tick::MAX } else { self.timeout(to & 0x1f, fabric) };
        let fsm = |register: u32| self.timeout(self.registers.get(register) & 0x1f, fabric);
        [
            (bus, int::TIME_OUT),
            (fsm(SCL_ST_TIME_OUT), int::SCL_ST_TO),
            (fsm(SCL_MAIN_ST_TIME_OUT), int::SCL_MAIN_ST_TO),
        ]
    }

    /// Returns the pins of SCL and SDA, if the firmware has routed both.
    fn pins(&self, fabric: &Fabric) -> Option<(u32, u32)> {
        let (scl, sda) = self.signals?;
        let pins = &fabric.pins;
        let wire = |signal| pins.serial.wire(signal, pins.inputs());
        Some((wire(scl)?, wire(sda)?))
    }

    /// Returns whether a wire of the bus is held low from outside.
    fn is_stuck(&self, fabric: &Fabric) -> bool {
        self.pins(fabric)
            .is_some_and(|(scl, sda)| fabric.pins.is_held_low(scl) || fabric.pins.is_held_low(sda))
    }

    fn command(&self, number: u32) -> u32 {
        self.registers.get(COMD0 + 4 * number)
    }

    /// Begins a transfer with the first command.
    fn start(&mut self, fabric: &mut Fabric) {
        self.raw |= int::TRANS_START;
        self.acknowledged = true;
        let begins = self.command(0) >> comd::OPCODE_AT & 7 == comd::RSTART;
        // Without the bus, a list that does not begin with a start condition leads nowhere
        // (esp-hal, `reset_fsm`).
        if begins || self.owns_bus {
            self.run = Some(Run { command: 0, bytes: 0, until: None, stuck: None });
            self.begin(fabric);
        }
    }

    /// Begins the next byte or condition of the current command, and completes commands that need
    /// no time on the bus.
    fn begin(&mut self, fabric: &mut Fabric) {
        while let Some(run) = self.run {
            if run.command >= COMMANDS {
                self.run = None;
                return;
            }
            let command = self.command(run.command);
            let bytes = command & comd::BYTE_NUM;
            let wait = match command >> comd::OPCODE_AT & 7 {
                comd::RSTART | comd::STOP => self.scl_time(1, fabric),
                comd::WRITE | comd::READ if run.bytes >= bytes => {
                    self.complete(run);
                    continue;
                }
                comd::WRITE if self.sending.is_empty() => {
                    // SCL stays low until there is a byte.
                    self.raw |= int::MST_TXFIFO_UDF;
                    self.run = Some(Run { until: None, ..run });
                    return;
                }
                comd::WRITE | comd::READ => self.scl_time(BITS, fabric),
                comd::END => {
                    self.complete(run);
                    self.run = None;
                    self.raw |= int::END_DETECT;
                    return;
                }
                _ => {
                    self.run = None;
                    return;
                }
            };
            let now = fabric.now();
            self.run = Some(match self.is_stuck(fabric) {
                true => Run { until: None, stuck: Some(run.stuck.unwrap_or(now)), ..run },
                false => Run { until: Some(now.saturating_add(wait)), stuck: None, ..run },
            });
            return;
        }
    }

    /// Marks the command as done and goes to the next one.
    fn complete(&mut self, run: Run) {
        let at = COMD0 + 4 * run.command;
        self.registers.set(at, self.registers.get(at) | comd::DONE);
        self.run = Some(Run { command: run.command + 1, bytes: 0, until: None, stuck: None });
    }

    /// Performs what was on the bus up to now.
    fn finish(&mut self, run: Run, fabric: &mut Fabric) {
        let command = self.command(run.command);
        match command >> comd::OPCODE_AT & 7 {
            comd::RSTART => {
                (self.owns_bus, self.addressing, self.part) = (true, true, None);
                self.complete(run);
            }
            comd::STOP => {
                self.complete(run);
                self.release_bus(fabric);
                return;
            }
            comd::WRITE => {
                let Some(byte) = self.sending.pop_front() else { return };
                self.sent = self.sent.wrapping_add(1);
                self.raw |= int::BYTE_TRANS_DONE;
                self.acknowledged = self.pass_to_part(byte, fabric);
                let expected = command & comd::ACK_EXP == 0;
                if command & comd::ACK_CHECK_EN != 0 && self.acknowledged != expected {
                    // The master ends the transfer with a stop condition (TRM, I2C Controller,
                    // command registers, ack_check_en).
                    self.raw |= int::NACK;
                    self.release_bus(fabric);
                    return;
                }
                self.run = Some(Run { bytes: run.bytes + 1, until: None, ..run });
            }
            _ => {
                self.raw |= int::BYTE_TRANS_DONE;
                let byte = self.read_from_part(fabric);
                if self.received.len() < self.depth {
                    self.received.push_back(byte);
                    self.filled = self.filled.wrapping_add(1);
                } else {
                    self.raw |= int::RXFIFO_OVF;
                }
                self.run = Some(Run { bytes: run.bytes + 1, until: None, ..run });
            }
        }
        self.begin(fabric);
    }

    /// Sends a byte to the bus. Returns whether it is acknowledged.
    fn pass_to_part(&mut self, byte: u8, fabric: &mut Fabric) -> bool {
        let now = duration(fabric.now());
        let wired = self.pins(fabric).is_some();
        let Some(bus) = fabric.i2c.get_mut(self.number).filter(|_| wired) else { return false };
        if std::mem::take(&mut self.addressing) {
            let part = bus.at(byte >> 1);
            self.part = part
                .filter(|part| bus.part(*part).is_some_and(|part| part.start(byte & 1 != 0, now)));
            return self.part.is_some();
        }
        let part = self.part.and_then(|part| bus.part(part));
        part.is_some_and(|part| part.write(byte, now))
    }

    /// Reads a byte from the bus; its wire is high if nobody drives it.
    fn read_from_part(&mut self, fabric: &mut Fabric) -> u8 {
        let now = duration(fabric.now());
        let bus = fabric.i2c.get_mut(self.number);
        let part = self.part.and_then(|part| bus?.part(part));
        part.map_or(0xff, |part| part.read(now))
    }

    /// Sends a stop condition.
    fn release_bus(&mut self, fabric: &mut Fabric) {
        let now = duration(fabric.now());
        self.run = None;
        if self.owns_bus {
            self.raw |= int::TRANS_COMPLETE;
        }
        (self.owns_bus, self.addressing, self.part) = (false, false, None);
        let bus = fabric.i2c.get_mut(self.number);
        if let Some(failure) = bus.and_then(|bus| bus.stop(now)) {
            fabric.part_failure.get_or_insert(Arc::new(failure));
            fabric.memory.request_yield();
        }
    }

    /// Raises the FIFOs' interrupts.
    fn watch_fifos(&mut self) {
        let conf = self.registers.get(FIFO_CONF);
        if self.received.len() > (conf & 0x1f) as usize {
            self.raw |= int::RXFIFO_WM;
        }
        if self.sending.len() < (conf >> 5 & 0x1f) as usize {
            self.raw |= int::TXFIFO_WM;
        }
    }

    /// Returns the time and the interrupt at which a stuck bus is given up.
    fn gives_up(&self, fabric: &Fabric) -> Option<(Tick, u32)> {
        let since = self.run?.stuck?;
        let (wait, interrupt) = self.timeouts(fabric).into_iter().min()?;
        Some((since.saturating_add(wait), interrupt))
    }

    fn advance(&mut self, fabric: &mut Fabric) {
        let now = fabric.now();
        if self.pulses_until.is_some_and(|until| until <= now) {
            self.pulses_until = None;
            let conf = self.registers.get(SCL_SP_CONF);
            self.registers.set(SCL_SP_CONF, conf & !SCL_RST_SLV_EN);
        }
        if let Some(run) = self.run {
            if run.until.is_some_and(|until| until <= now) {
                self.finish(run, fabric);
            } else if run.stuck.is_some() && !self.is_stuck(fabric) {
                self.begin(fabric);
            } else if let Some((at, interrupt)) = self.gives_up(fabric)
                && at <= now
            {
                self.raw |= interrupt;
                (self.run, self.owns_bus, self.part) = (None, false, None);
            }
        }
        self.watch_fifos();
    }

    fn clear(&mut self) {
        self.run = None;
        (self.owns_bus, self.addressing, self.part) = (false, false, None);
        self.pulses_until = None;
    }
}

impl Device for I2c {
    fn read(&mut self, offset: u32, _fabric: &mut Fabric) -> u32 {
        match offset {
            SR => {
                let busy = if self.owns_bus || self.run.is_some() { BUS_BUSY } else { 0 };
                let answered = if self.acknowledged { RESP_REC } else { 0 };
                let (received, sending) = (self.received.len() as u32, self.sending.len() as u32);
                self.registers.reset_value(SR)
                    | answered
                    | busy
                    | (received & 0x3f) << 8
                    | (sending & 0x3f) << 18
            }
            FIFO_ST => {
                let at = |count: u32| count & 0x1f;
                at(self.taken) | at(self.filled) << 5 | at(self.sent) << 10 | at(self.queued) << 15
            }
            DATA => match self.received.pop_front() {
                Some(byte) => {
                    self.taken = self.taken.wrapping_add(1);
                    byte.into()
                }
                None => {
                    self.raw |= int::RXFIFO_UDF;
                    0
                }
            },
            INT_RAW => self.raw,
            INT_ST => self.raw & self.registers.get(INT_ENA),
            _ => self.registers.get(offset),
        }
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        match offset {
            CTR => {
                let once = ctr::TRANS_START | ctr::FSM_RST | ctr::CONF_UPGATE;
                self.registers.set(CTR, value & !once);
                if value & ctr::FSM_RST != 0 {
                    self.clear();
                }
                if value & ctr::TRANS_START != 0 {
                    self.start(fabric);
                }
            }
            DATA => {
                if self.sending.len() < self.depth {
                    self.sending.push_back(value as u8);
                    self.queued = self.queued.wrapping_add(1);
                } else {
                    self.raw |= int::TXFIFO_OVF;
                }
                if self.run.is_some_and(|run| run.until.is_none() && run.stuck.is_none()) {
                    self.begin(fabric);
                }
            }
            FIFO_CONF => {
                if value >> 12 & 1 != 0 {
                    self.received.clear();
                    (self.taken, self.filled) = (0, 0);
                }
                if value >> 13 & 1 != 0 {
                    self.sending.clear();
                    (self.sent, self.queued) = (0, 0);
                }
                self.registers.set(offset, value);
            }
            INT_CLR => self.raw &= !value,
            SR | FIFO_ST | INT_RAW | INT_ST => {}
            SCL_SP_CONF => {
                self.registers.set(offset, value);
                self.pulses_until = (value & SCL_RST_SLV_EN != 0).then(|| {
                    let pulses = u64::from(value >> SCL_RST_SLV_NUM_AT & 0x1f);
                    fabric.now().saturating_add(self.scl_time(pulses, fabric))
                });
            }
            _ => self.registers.set(offset, value),
        }
        self.watch_fifos();
    }

    fn lines(&self) -> u32 {
        u32::from(self.raw & self.registers.get(INT_ENA) != 0)
    }

    fn next_event(&self, fabric: &Fabric) -> Option<Tick> {
        let step = self.run.and_then(|run| run.until);
        let gives_up = self.gives_up(fabric).map(|(at, _)| at);
        [step, gives_up, self.pulses_until].into_iter().flatten().min()
    }

    fn event(&mut self, fabric: &mut Fabric) {
        self.advance(fabric);
    }

    fn senses_pins(&self) -> bool {
        true
    }

    fn steady_until(&self, offset: u32, _fabric: &Fabric) -> Option<Tick> {
        // Everything else changes by events.
        (offset != DATA).then_some(Tick::MAX)
    }

    fn reset(&mut self, scope: Scope, fabric: &mut Fabric) {
        if scope >= Scope::Core {
            if self.owns_bus {
                self.release_bus(fabric);
            }
            self.clear();
            self.sending.clear();
            self.received.clear();
            (self.sent, self.queued, self.taken, self.filled) = (0, 0, 0, 0);
            self.acknowledged = true;
            self.registers.reset();
            self.raw = self.registers.reset_value(INT_RAW);
        }
    }
}
