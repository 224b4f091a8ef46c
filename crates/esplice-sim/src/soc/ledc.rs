//! The LED PWM controller (TRM, "LED PWM Controller", which defines the names; registers and bits as
//! in the crates esp32c3 and esp32c6, `ledc`). The fractional bits of a duty cycle and fades of
//! several segments are not modelled.

use esplice_chip::Peripheral;

use super::{
    clock::{RC_FAST_HZ, TICK_HZ, Tick},
    device::{Device, Fabric, Registers, Scope},
};

/// Registers of a channel: their distance, and their offsets.
const CHANNEL_LEN: u32 = 0x14;
const HPOINT: u32 = 0x04;
const DUTY: u32 = 0x08;
const CONF1: u32 = 0x0c;
const DUTY_R: u32 = 0x10;
const CHANNELS_END: u32 = CHANNEL_LEN * CHANNELS as u32;
/// Registers of the timers: each a configuration and a value.
const TIMER0: u32 = 0xa0;
const TIMERS_END: u32 = TIMER0 + 8 * TIMERS as u32;
const INT_RAW: u32 = 0xc0;
const INT_ST: u32 = 0xc4;
const INT_ENA: u32 = 0xc8;
const INT_CLR: u32 = 0xcc;
const CONF: u32 = 0xd0;
/// The first step of a fade, of version 2, for channel 0; the next is 16 bytes further.
const GAMMA_WR: u32 = 0x100;

const CHANNELS: usize = 6;
const TIMERS: usize = 4;
/// CONF0 of a channel.
mod conf0 {
    pub const TIMER_SEL: u32 = 3;
    pub const SIG_OUT_EN: u32 = 1 << 2;
    pub const IDLE_LV: u32 = 1 << 3;
    pub const PARA_UP: u32 = 1 << 4;
}
/// CONF1: begins to change the duty cycle.
const DUTY_START: u32 = 1 << 31;
/// Interrupts: timers' overflows from bit 0 on, ends of fades from bit 4 on.
const DUTY_CHNG_END_AT: usize = 4;

/// Positions of a timer's fields that differ between versions.
#[derive(Debug, Clone, Copy)]
struct Layout {
    duty_res: u32,
    clk_div_at: u32,
    pause: u32,
    rst: u32,
    para_up: u32,
    /// True if the clock is selected outside of the controller, and fades are in a memory.
    outer: bool,
}

/// The ESP32-C3's and ESP32-C2's.
const V1: Layout = Layout {
    duty_res: 0xf,
    clk_div_at: 4,
    pause: 1 << 22,
    rst: 1 << 23,
    para_up: 1 << 25,
    outer: false,
};

/// The ESP32-C6's and ESP32-H2's.
const V2: Layout = Layout {
    duty_res: 0x1f,
    clk_div_at: 5,
    pause: 1 << 23,
    rst: 1 << 24,
    para_up: 1 << 26,
    outer: true,
};

/// A timer: a counter that restarts at a power of two.
#[derive(Debug, Clone, Copy, Default)]
struct Timer {
    /// Number of bits.
    bits: u32,
    /// Divider of the clock in 256ths, or 0 if the timer does not count.
    divider: u32,
    hz: u64,
    /// Time at which it began to count from 0.
    start: Tick,
}

impl Timer {
    /// Returns the counts since the start.
    fn counts(&self, now: Tick) -> u64 {
        let ticks = u128::from(now.saturating_sub(self.start));
        let per = u128::from(self.divider) * u128::from(TICK_HZ);
        (ticks * 256 * u128::from(self.hz)).checked_div(per).unwrap_or(0) as u64
    }

    /// Returns the time at which that count is reached.
    fn time_of(&self, counts: u64) -> Option<Tick> {
        let ticks = u128::from(counts) * u128::from(self.divider) * u128::from(TICK_HZ);
        let per = 256 * u128::from(self.hz);
        if self.divider == 0 || per == 0 {
            return None;
        }
        u64::try_from(ticks.div_ceil(per)).ok()?.checked_add(self.start)
    }

    fn period(&self) -> u64 {
        1 << self.bits
    }
}

/// A change of the duty cycle.
#[derive(Debug, Clone, Copy)]
struct Fade {
    /// Steps that are left.
    steps: u32,
    /// Periods of a step, and those of the current one that are over.
    periods: u32,
    over: u32,
    scale: u32,
    rises: bool,
}

/// A channel as it is in effect.
#[derive(Debug, Clone, Copy, Default)]
struct Channel {
    timer: usize,
    on: bool,
    idle: bool,
    hpoint: u64,
    duty: u64,
    fade: Option<Fade>,
    /// True if new parameters take effect at the timer's next overflow.
    pending: bool,
    /// Overflows of the timer that were handled.
    periods: u64,
}

impl Channel {
    fn level(&self, timer: &Timer, now: Tick) -> bool {
        if !self.on {
            return self.idle;
        }
        if timer.divider == 0 {
            return false;
        }
        let count = timer.counts(now) & (timer.period() - 1);
        (self.hpoint..self.hpoint.saturating_add(self.duty)).contains(&count)
    }
}

/// The controller.
#[derive(Clone)]
pub(crate) struct Ledc {
    registers: Registers,
    layout: Layout,
    /// Signal of channel 0 in the pin matrix; the others follow.
    signal: Option<u32>,
    raw: u32,
    timers: [Timer; TIMERS],
    /// Overflows of each timer that raised an interrupt.
    overflows: [u64; TIMERS],
    channels: [Channel; CHANNELS],
}

impl Ledc {
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
            signal: device.signals.first().copied(),
            raw: 0,
            timers: [Timer::default(); TIMERS],
            overflows: [0; TIMERS],
            channels: [Channel::default(); CHANNELS],
        }
    }

    fn clock_hz(&self, fabric: &Fabric) -> u64 {
        if let Some(devices) = fabric.clock.devices.filter(|_| self.layout.outer) {
            return devices.ledc;
        }
        match self.registers.get(CONF) & 3 {
            1 => fabric.clock.apb_hz(),
            2 => RC_FAST_HZ,
            3 => fabric.clock.xtal_hz(),
            _ => 0,
        }
    }

    /// Makes a timer's configuration take effect.
    fn set_timer(&mut self, number: usize, fabric: &Fabric) {
        let conf = self.registers.get(TIMER0 + 8 * number as u32);
        let hz = self.clock_hz(fabric);
        let stopped = conf & (self.layout.pause | self.layout.rst) != 0 || hz == 0;
        // The clock can't be multiplied.
        let divider = (conf >> self.layout.clk_div_at & 0x3_ffff).max(256);
        let divider = if stopped { 0 } else { divider };
        let bits = (conf & self.layout.duty_res).min(20);
        if let Some(timer) = self.timers.get_mut(number)
            && (timer.bits, timer.divider, timer.hz) != (bits, divider, hz)
        {
            *timer = Timer { bits, divider, hz, start: fabric.now() };
            if let Some(overflows) = self.overflows.get_mut(number) {
                *overflows = 0;
            }
            for channel in self.channels.iter_mut().filter(|channel| channel.timer == number) {
                channel.periods = 0;
            }
        }
    }

    /// Makes a channel's parameters take effect.
    fn load(&mut self, number: usize, now: Tick) {
        let base = CHANNEL_LEN * number as u32;
        let get = |offset| self.registers.get(base + offset);
        let (conf0, hpoint, duty, conf1) = (get(0), get(HPOINT), get(DUTY), get(CONF1));
        let timer = (conf0 & conf0::TIMER_SEL) as usize;
        let periods = self.timers.get(timer).map_or(0, |timer| timer.counts(now) >> timer.bits);
        let fade = if self.layout.outer {
            let step = self.registers.get(GAMMA_WR + 0x10 * number as u32);
            Fade {
                steps: step >> 21 & 0x3ff,
                periods: step >> 1 & 0x3ff,
                over: 0,
                scale: step >> 11 & 0x3ff,
                rises: step & 1 != 0,
            }
        } else {
            Fade {
                steps: conf1 >> 20 & 0x3ff,
                periods: conf1 >> 10 & 0x3ff,
                over: 0,
                scale: conf1 & 0x3ff,
                rises: conf1 >> 30 & 1 != 0,
            }
        };
        let Some(channel) = self.channels.get_mut(number) else { return };
        let starts = conf1 & DUTY_START != 0;
        *channel = Channel {
            timer,
            on: conf0 & conf0::SIG_OUT_EN != 0,
            idle: conf0 & conf0::IDLE_LV != 0,
            hpoint: hpoint.into(),
            // Four fractional bits.
            duty: if starts { u64::from(duty >> 4) } else { channel.duty },
            fade: starts.then_some(fade),
            pending: false,
            periods,
        };
        let at = base + CONF1;
        self.registers.set(at, conf1 & !DUTY_START);
    }

    /// Handles a channel's overflows up to now.
    fn overflow(&mut self, number: usize, now: Tick) {
        let Some(channel) = self.channels.get_mut(number) else { return };
        let Some(timer) = self.timers.get(channel.timer) else { return };
        let periods = timer.counts(now) >> timer.bits;
        // Bounded by the steps of the fade.
        while channel.periods < periods {
            channel.periods += 1;
            let Some(fade) = &mut channel.fade else {
                channel.periods = periods;
                return;
            };
            fade.over += 1;
            if fade.over >= fade.periods {
                fade.over = 0;
                let scale = u64::from(fade.scale);
                channel.duty = match fade.rises {
                    true => channel.duty.saturating_add(scale).min(timer.period()),
                    false => channel.duty.saturating_sub(scale),
                };
                fade.steps = fade.steps.saturating_sub(1);
                if fade.steps == 0 {
                    channel.fade = None;
                    self.raw |= 1 << (DUTY_CHNG_END_AT + number);
                }
            }
        }
    }

    fn advance(&mut self, fabric: &mut Fabric) {
        let now = fabric.now();
        for number in 0..CHANNELS {
            let channel = self.channels[number];
            let due = self.timers.get(channel.timer).is_none_or(|timer| {
                timer.divider == 0 || timer.counts(now) >> timer.bits > channel.periods
            });
            if channel.pending && due {
                self.load(number, now);
            } else {
                self.overflow(number, now);
            }
        }
        for (number, timer) in self.timers.iter().enumerate() {
            let overflows = timer.counts(now) >> timer.bits;
            if overflows > self.overflows[number] {
                self.overflows[number] = overflows;
                self.raw |= 1 << number;
            }
        }
        self.drive(fabric);
    }

    /// Outputs the channels' levels.
    fn drive(&self, fabric: &mut Fabric) {
        let Some(first) = self.signal else { return };
        let now = fabric.now();
        for (channel, signal) in self.channels.iter().zip(first..) {
            let Some(timer) = self.timers.get(channel.timer) else { continue };
            fabric.pins.set_signal(signal, channel.level(timer, now));
        }
    }

    /// Returns the next time at which a channel changes.
    fn next_change(&self, number: usize, fabric: &Fabric) -> Option<Tick> {
        let channel = self.channels.get(number)?;
        let timer = self.timers.get(channel.timer)?;
        let signal = self.signal? + number as u32;
        let counts = timer.counts(fabric.now());
        let period = counts >> timer.bits << timer.bits;
        let overflow = timer.time_of(period + timer.period());
        if channel.pending || channel.fade.is_some() {
            // Sooner than needed at most by the edges before it.
            return self.next_edge(channel, timer, counts).into_iter().chain(overflow).min();
        }
        if channel.on && fabric.pins.serial.is_output(signal) {
            return self.next_edge(channel, timer, counts);
        }
        None
    }

    fn next_edge(&self, channel: &Channel, timer: &Timer, counts: u64) -> Option<Tick> {
        if !channel.on || channel.duty == 0 || channel.hpoint == 0 && channel.duty >= timer.period()
        {
            return None;
        }
        let start = counts >> timer.bits << timer.bits;
        let end = channel.hpoint.saturating_add(channel.duty).min(timer.period());
        let edges = [channel.hpoint, end, timer.period() + channel.hpoint];
        let next = edges.into_iter().map(|edge| start + edge).filter(|edge| *edge > counts).min();
        timer.time_of(next?)
    }
}

impl Device for Ledc {
    fn read(&mut self, offset: u32, fabric: &mut Fabric) -> u32 {
        match offset {
            INT_RAW | INT_ST => {
                self.advance(fabric);
                let mask = if offset == INT_RAW { u32::MAX } else { self.registers.get(INT_ENA) };
                self.raw & mask
            }
            0..CHANNELS_END if offset % CHANNEL_LEN == DUTY_R => {
                self.advance(fabric);
                let channel = self.channels.get((offset / CHANNEL_LEN) as usize);
                channel.map_or(0, |channel| (channel.duty << 4) as u32)
            }
            TIMER0..TIMERS_END if offset % 8 == 4 => {
                let timer = self.timers.get(((offset - TIMER0) / 8) as usize);
                timer.map_or(0, |timer| timer.counts(fabric.now()) & (timer.period() - 1)) as u32
            }
            _ => self.registers.get(offset),
        }
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        self.advance(fabric);
        match offset {
            INT_RAW | INT_ST => {}
            INT_CLR => self.raw &= !value,
            0..CHANNELS_END if offset.is_multiple_of(CHANNEL_LEN) => {
                let number = (offset / CHANNEL_LEN) as usize;
                self.registers.set(offset, value & !conf0::PARA_UP);
                if value & conf0::PARA_UP != 0 {
                    let channel = self.channels[number];
                    let runs = self.timers[channel.timer].divider != 0;
                    let same = (value & conf0::TIMER_SEL) as usize == channel.timer;
                    // What runs changes between two periods.
                    if channel.on && runs && same && value & conf0::SIG_OUT_EN != 0 {
                        self.channels[number].pending = true;
                        self.channels[number].periods = self.timers[channel.timer]
                            .counts(fabric.now())
                            >> self.timers[channel.timer].bits;
                    } else {
                        self.load(number, fabric.now());
                    }
                }
            }
            TIMER0..TIMERS_END if offset.is_multiple_of(8) => {
                self.registers.set(offset, value & !self.layout.para_up);
                let stops = value & (self.layout.pause | self.layout.rst) != 0;
                if value & self.layout.para_up != 0 || stops {
                    self.set_timer(((offset - TIMER0) / 8) as usize, fabric);
                }
            }
            _ => {
                self.registers.set(offset, value);
                if offset == CONF {
                    (0..TIMERS).for_each(|timer| self.set_timer(timer, fabric));
                }
            }
        }
        self.drive(fabric);
    }

    fn lines(&self) -> u32 {
        u32::from(self.raw & self.registers.get(INT_ENA) != 0)
    }

    fn next_event(&self, fabric: &Fabric) -> Option<Tick> {
        let channels = (0..CHANNELS).filter_map(|number| self.next_change(number, fabric));
        let wanted = self.registers.get(INT_ENA) & !self.raw;
        let timers = self.timers.iter().enumerate();
        let overflows = timers.filter(|(number, _)| wanted >> number & 1 != 0);
        let overflows = overflows.filter_map(|(number, timer)| {
            timer.time_of((self.overflows.get(number)? + 1) << timer.bits)
        });
        channels.chain(overflows).min()
    }

    fn event(&mut self, fabric: &mut Fabric) {
        self.advance(fabric);
    }

    fn clock_changed(&mut self, fabric: &mut Fabric) {
        (0..TIMERS).for_each(|timer| self.set_timer(timer, fabric));
        self.drive(fabric);
    }

    fn senses_pins(&self) -> bool {
        // It needs to know when an output is connected to a pin.
        true
    }

    fn steady_until(&self, offset: u32, _fabric: &Fabric) -> Option<Tick> {
        let changes = matches!(offset, INT_RAW | INT_ST)
            || (TIMER0..TIMERS_END).contains(&offset) && offset % 8 == 4
            || offset < CHANNELS_END && offset % CHANNEL_LEN == DUTY_R;
        (!changes).then_some(Tick::MAX)
    }

    fn reset(&mut self, scope: Scope, fabric: &mut Fabric) {
        if scope >= Scope::Core {
            self.registers.reset();
            self.raw = 0;
            self.timers = [Timer::default(); TIMERS];
            self.overflows = [0; TIMERS];
            self.channels = [Channel::default(); CHANNELS];
            self.drive(fabric);
        }
    }
}
