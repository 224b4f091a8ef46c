//! The transmitters of the remote control peripheral (TRM, "Remote Control Peripheral", which
//! defines the names; registers and bits as in the crate esp32c3, `rmt`). The carrier and receivers
//! are not modelled: a pulse with a carrier is output as its envelope.

use esplice_chip::Peripheral;

use super::{
    clock::{RC_FAST_HZ, TICK_HZ, Tick},
    device::{Device, Fabric, Registers, Scope},
};

/// Transmitters.
const CHANNELS: usize = 2;
/// All channels: the transmitters, then the receivers.
const ALL_CHANNELS: u32 = 4;
const CONF0: u32 = 0x10;
const CONF0_END: u32 = CONF0 + 4 * CHANNELS as u32;
const STATUS: u32 = 0x28;
const STATUS_END: u32 = STATUS + 4 * CHANNELS as u32;
const INT_RAW: u32 = 0x38;
const INT_ST: u32 = 0x3c;
const INT_ENA: u32 = 0x40;
const INT_CLR: u32 = 0x44;
const TX_LIM: u32 = 0x58;
const TX_LIM_END: u32 = TX_LIM + 4 * CHANNELS as u32;
const SYS_CONF: u32 = 0x68;
const RAM: u32 = 0x400;
/// Words of a channel's block of the memory.
const BLOCK: u32 = 48;

/// Fields of CONF0.
mod conf0 {
    pub const TX_START: u32 = 1 << 0;
    pub const MEM_RD_RST: u32 = 1 << 1;
    pub const APB_MEM_RST: u32 = 1 << 2;
    pub const TX_CONTI_MODE: u32 = 1 << 3;
    pub const MEM_TX_WRAP_EN: u32 = 1 << 4;
    pub const IDLE_OUT_LV: u32 = 1 << 5;
    pub const IDLE_OUT_EN: u32 = 1 << 6;
    pub const TX_STOP: u32 = 1 << 7;
    pub const DIV_CNT_AT: u32 = 8;
    pub const MEM_SIZE_AT: u32 = 16;
    pub const CONF_UPDATE: u32 = 1 << 24;
    /// Bits that clear themselves.
    pub const ONCE: u32 = TX_START | MEM_RD_RST | APB_MEM_RST | TX_STOP | CONF_UPDATE | 1 << 23;
}

/// Positions of channel 0's interrupts.
mod int {
    pub const TX_END: u32 = 0;
    pub const ERR: u32 = 4;
    pub const TX_THR_EVENT: u32 = 8;
    pub const TX_LOOP: u32 = 12;
}

/// Fields of TX_LIM. The last one is missing on the ESP32-C3.
const LIM: u32 = 0x1ff;
const LOOP_NUM_AT: u32 = 9;
const LOOP_CNT_EN: u32 = 1 << 19;
const LOOP_COUNT_RESET: u32 = 1 << 20;
const LOOP_STOP_EN: u32 = 1 << 21;

/// A transmission.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// Start of the transmission or of its current clock.
    start: Tick,
    /// Clock periods since then, up to the end of the current pulse.
    periods: u64,
    /// Frequency of the clock, before the channel's divider.
    hz: u64,
    divider: u32,
    until: Tick,
}

/// A transmitter.
#[derive(Debug, Clone, Copy, Default)]
struct Channel {
    run: Option<Run>,
    /// Position in its memory, in pulses of half a word.
    position: u32,
    /// Words sent since the last threshold event.
    words: u32,
    loops: u32,
    level: bool,
}

/// The peripheral.
#[derive(Clone)]
pub(crate) struct Rmt {
    registers: Registers,
    /// Signal of channel 0's output in the pin matrix; the next follows.
    signal: Option<u32>,
    /// True if the clock is selected outside of the peripheral.
    outer_clock: bool,
    raw: u32,
    channels: [Channel; CHANNELS],
}

impl Rmt {
    /// Creates the ESP32-C3's.
    pub fn v1(device: &Peripheral) -> Self {
        Self::with(device, false)
    }

    /// Creates the ESP32-C6's and ESP32-H2's, whose clock is selected in the PCR.
    pub fn v2(device: &Peripheral) -> Self {
        Self::with(device, true)
    }

    fn with(device: &Peripheral, outer_clock: bool) -> Self {
        Self {
            registers: Registers::of(device),
            signal: device.signals.first().copied(),
            outer_clock,
            raw: 0,
            channels: [Channel::default(); CHANNELS],
        }
    }

    /// Returns the clock of the channels.
    fn clock_hz(&self, fabric: &Fabric) -> u64 {
        if let Some(devices) = fabric.clock.devices.filter(|_| self.outer_clock) {
            return devices.rmt;
        }
        let conf = self.registers.get(SYS_CONF);
        let source = match conf >> 24 & 3 {
            1 => fabric.clock.apb_hz(),
            2 => RC_FAST_HZ,
            3 => fabric.clock.xtal_hz(),
            _ => 0,
        };
        source / (u64::from(conf >> 4 & 0xff) + 1)
    }

    fn conf0(&self, number: usize) -> u32 {
        self.registers.get(CONF0 + 4 * number as u32)
    }

    /// Returns the divider of a channel. A field of 0 means 256.
    fn divider(&self, number: usize) -> u32 {
        match self.conf0(number) >> conf0::DIV_CNT_AT & 0xff {
            0 => 256,
            divider => divider,
        }
    }

    /// Begins a transmission.
    fn start(&mut self, number: usize, fabric: &mut Fabric) {
        let (hz, divider, now) = (self.clock_hz(fabric), self.divider(number), fabric.now());
        if let Some(channel) = self.channels.get_mut(number).filter(|_| hz > 0) {
            channel.run = Some(Run { start: now, periods: 0, hz, divider, until: now });
            (channel.words, channel.loops) = (0, 0);
            self.next_pulse(number);
        }
    }

    /// Ends a transmission and outputs the level at rest.
    fn end(&mut self, number: usize, interrupt: u32) {
        let conf0 = self.conf0(number);
        let Some(channel) = self.channels.get_mut(number) else { return };
        channel.run = None;
        // Without the setting, the level of the end marker stays.
        if conf0 & conf0::IDLE_OUT_EN != 0 {
            channel.level = conf0 & conf0::IDLE_OUT_LV != 0;
        }
        self.raw |= 1 << (interrupt + number as u32);
    }

    /// Outputs the next pulse.
    fn next_pulse(&mut self, number: usize) {
        let conf0 = self.conf0(number);
        let lim = self.registers.get(TX_LIM + 4 * number as u32);
        let blocks = (conf0 >> conf0::MEM_SIZE_AT & 7).max(1);
        let words = (blocks.min(ALL_CHANNELS - number as u32)) * BLOCK;
        let Some(mut channel) = self.channels.get(number).copied() else { return };
        let Some(mut run) = channel.run else { return };
        // A loop without pulses ends the transmission instead of lasting for ever.
        let mut empty = false;
        loop {
            if channel.position >= 2 * words {
                if conf0 & conf0::MEM_TX_WRAP_EN == 0 {
                    self.channels[number] = channel;
                    self.end(number, int::ERR);
                    return;
                }
                channel.position = 0;
            }
            let at = RAM + 4 * (BLOCK * number as u32 + channel.position / 2);
            let pulse = self.registers.get(at) >> (16 * (channel.position % 2)) & 0xffff;
            let (level, length) = (pulse >> 15 != 0, pulse & 0x7fff);
            if length == 0 {
                let repeats = conf0 & conf0::TX_CONTI_MODE != 0 && !empty;
                channel.loops += 1;
                let counts = lim & LOOP_CNT_EN != 0;
                let over = counts && channel.loops >= (lim >> LOOP_NUM_AT & 0x3ff);
                if repeats && over {
                    channel.loops = 0;
                    self.raw |= 1 << (int::TX_LOOP + number as u32);
                }
                let stops = over && lim & LOOP_STOP_EN != 0;
                if repeats && !stops {
                    (channel.position, empty) = (0, true);
                    continue;
                }
                channel.level = level;
                self.channels[number] = channel;
                self.end(number, int::TX_END);
                return;
            }
            channel.position += 1;
            if channel.position.is_multiple_of(2) {
                channel.words += 1;
                if channel.words == lim & LIM {
                    channel.words = 0;
                    self.raw |= 1 << (int::TX_THR_EVENT + number as u32);
                }
            }
            channel.level = level;
            run.periods += u64::from(length);
            let ticks = u128::from(run.periods) * u128::from(run.divider) * u128::from(TICK_HZ);
            let ticks = u64::try_from(ticks.div_ceil(u128::from(run.hz.max(1))));
            run.until = run.start.saturating_add(ticks.unwrap_or(u64::MAX));
            channel.run = Some(run);
            self.channels[number] = channel;
            return;
        }
    }

    fn advance(&mut self, fabric: &mut Fabric) {
        let now = fabric.now();
        for number in 0..CHANNELS {
            if self.channels[number].run.is_some_and(|run| run.until <= now) {
                self.next_pulse(number);
            }
        }
        self.drive(fabric);
    }

    /// Outputs the channels' levels.
    fn drive(&self, fabric: &mut Fabric) {
        let Some(first) = self.signal else { return };
        for (channel, signal) in self.channels.iter().zip(first..) {
            fabric.pins.set_signal(signal, channel.level);
        }
    }
}

impl Device for Rmt {
    fn read(&mut self, offset: u32, _fabric: &mut Fabric) -> u32 {
        match offset {
            INT_RAW => self.raw,
            INT_ST => self.raw & self.registers.get(INT_ENA),
            STATUS..STATUS_END => {
                let number = ((offset - STATUS) / 4) as usize;
                // MEM_RADDR_EX: the word of the memory that is read.
                let channel = self.channels.get(number);
                channel.map_or(0, |channel| BLOCK * number as u32 + channel.position / 2)
            }
            _ => self.registers.get(offset),
        }
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        self.advance(fabric);
        match offset {
            INT_RAW | INT_ST => {}
            INT_CLR => self.raw &= !value,
            CONF0..CONF0_END => {
                let number = ((offset - CONF0) / 4) as usize;
                self.registers.set(offset, value & !conf0::ONCE);
                if value & conf0::MEM_RD_RST != 0 {
                    self.channels[number].position = 0;
                }
                if value & conf0::TX_STOP != 0 && self.channels[number].run.is_some() {
                    self.end(number, int::TX_END);
                }
                if value & conf0::TX_START != 0 {
                    self.start(number, fabric);
                }
                if value & conf0::CONF_UPDATE != 0 && self.channels[number].run.is_none() {
                    // The level at rest takes effect.
                    if value & conf0::IDLE_OUT_EN != 0 {
                        self.channels[number].level = value & conf0::IDLE_OUT_LV != 0;
                    }
                }
            }
            TX_LIM..TX_LIM_END => {
                if value & LOOP_COUNT_RESET != 0 {
                    self.channels[((offset - TX_LIM) / 4) as usize].loops = 0;
                }
                self.registers.set(offset, value & !LOOP_COUNT_RESET);
            }
            _ => self.registers.set(offset, value),
        }
        self.drive(fabric);
    }

    fn lines(&self) -> u32 {
        u32::from(self.raw & self.registers.get(INT_ENA) != 0)
    }

    fn next_event(&self, _fabric: &Fabric) -> Option<Tick> {
        self.channels.iter().filter_map(|channel| Some(channel.run?.until)).min()
    }

    fn event(&mut self, fabric: &mut Fabric) {
        self.advance(fabric);
    }

    fn steady_until(&self, _offset: u32, _fabric: &Fabric) -> Option<Tick> {
        Some(Tick::MAX)
    }

    fn reset(&mut self, scope: Scope, fabric: &mut Fabric) {
        if scope >= Scope::Core {
            self.registers.reset();
            self.raw = 0;
            self.channels = [Channel::default(); CHANNELS];
            self.drive(fabric);
        }
    }
}
