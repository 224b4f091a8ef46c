//! A UART with FIFOs of 128 bytes, timed transmission and interrupts (TRM 25, which defines the
//! register and bit names).

use esplice_chip::Peripheral;

use super::{
    autobaud::Autobaud,
    clock::{RC_FAST_HZ, Tick, periods},
    device::{Cable, Device, Fabric, LineByte, Registers, Scope},
};
use std::collections::VecDeque;

const FIFO: u32 = 0x00;
const INT_RAW: u32 = 0x04;
const INT_ST: u32 = 0x08;
const INT_ENA: u32 = 0x0c;
const INT_CLR: u32 = 0x10;
pub(crate) const CLKDIV: u32 = 0x14;
pub(crate) const STATUS: u32 = 0x1c;
const CONF0: u32 = 0x20;
const CONF1: u32 = 0x24;
pub(crate) const CLK_CONF: u32 = 0x78;

/// Size of each FIFO in bytes.
pub(crate) const DEPTH: usize = 128;
/// CPU cycles between two bytes if the line takes no time and the ROM's own code receives them. The
/// ROM's interrupt handler takes bytes as long as there are any, and its 2 KiB buffer overflows if
/// the rest of its code, some 70 instructions per byte, does not keep up.
const PACE: u64 = 256;
/// Start bit, eight data bits, stop bit.
const BITS: u64 = 10;

/// Bits of the interrupt registers.
mod int {
    pub const RXFIFO_FULL: u32 = 1 << 0;
    pub const TXFIFO_EMPTY: u32 = 1 << 1;
    pub const FRM_ERR: u32 = 1 << 3;
    pub const RXFIFO_OVF: u32 = 1 << 4;
    pub const RXFIFO_TOUT: u32 = 1 << 8;
    pub const TX_DONE: u32 = 1 << 14;
}

/// Registers and bits that differ between versions.
#[derive(Debug, Clone, Copy)]
struct Layout {
    lowpulse: u32,
    highpulse: u32,
    rxd_cnt: u32,
    fsm_status: u32,
    /// CONF0: measures the baud rate of the input.
    autobaud_en: u32,
    /// CONF0: loops transmitted bytes back to the receiver.
    loopback: u32,
    rxfifo_rst: u32,
    txfifo_rst: u32,
    /// CONF1: position and bits of the threshold of TXFIFO_EMPTY; that of RXFIFO_FULL is at 0.
    threshold_at: u32,
    threshold: u32,
    /// Register and bit that enable the receive timeout.
    timeout_en: (u32, u32),
    /// Register and position of its length in bits.
    timeout: (u32, u32),
    /// Register and bit REG_UPDATE.
    update: (u32, u32),
    /// True if source and divider of the clock are selected outside of the UART.
    outer_clock: bool,
}

/// The ESP32-C3's and ESP32-C2's UART.
const V1: Layout = Layout {
    lowpulse: 0x28,
    highpulse: 0x2c,
    rxd_cnt: 0x30,
    fsm_status: 0x6c,
    autobaud_en: 1 << 27,
    loopback: 1 << 14,
    rxfifo_rst: 1 << 17,
    txfifo_rst: 1 << 18,
    threshold_at: 9,
    threshold: 0x1ff,
    timeout_en: (CONF1, 1 << 21),
    timeout: (0x60, 16),
    update: (0x80, 1 << 31),
    outer_clock: false,
};

/// The ESP32-C6's and ESP32-H2's UART (registers and bits of the crate esp32c6, `uart0`).
const V2: Layout = Layout {
    lowpulse: 0x7c,
    highpulse: 0x80,
    rxd_cnt: 0x84,
    fsm_status: 0x70,
    autobaud_en: 1 << 19,
    loopback: 1 << 12,
    rxfifo_rst: 1 << 22,
    txfifo_rst: 1 << 23,
    threshold_at: 8,
    threshold: 0xff,
    timeout_en: (0x64, 1 << 0),
    timeout: (0x64, 2),
    update: (0x98, 1 << 0),
    outer_clock: true,
};

/// Idle level of the line and the modem lines in STATUS: all high.
const STATUS_IDLE: u32 = 1 << 31 | 1 << 15 | 1 << 14 | 1 << 13;

/// A byte in the transmitter: in the FIFO before `start`, in the shift register until `done`.
#[derive(Debug, Clone, Copy)]
struct Sending {
    start: Tick,
    done: Tick,
    byte: u8,
}

/// Returns the value of CLKDIV for a divider in sixteenths.
pub(crate) fn clkdiv(sixteenths: u32) -> u32 {
    sixteenths >> 4 | (sixteenths & 15) << 20
}

/// A UART.
#[derive(Clone)]
pub(crate) struct Uart {
    registers: Registers,
    layout: Layout,
    /// Number of this UART.
    number: usize,
    raw: u32,
    sending: VecDeque<Sending>,
    received: VecDeque<u8>,
    last_received: Option<Tick>,
    /// Time before which no byte is taken if the line takes no time.
    paced: Tick,
    autobaud: Autobaud,
    baud: u32,
    /// True if the host's cable can be connected to this UART.
    console: bool,
    /// Number of its signals in the pin matrix.
    signal: Option<u32>,
    /// Bytes looped back from its own transmitter.
    looped: VecDeque<LineByte>,
}

impl Uart {
    /// Creates version 1. `number` counts the UARTs; the host's cable goes to the first one.
    pub fn v1(device: &Peripheral, number: usize) -> Self {
        Self::with(device, number, V1)
    }

    /// Creates version 2.
    pub fn v2(device: &Peripheral, number: usize) -> Self {
        Self::with(device, number, V2)
    }

    fn with(device: &Peripheral, number: usize, layout: Layout) -> Self {
        Self {
            registers: Registers::of(device),
            layout,
            number,
            raw: 0,
            sending: VecDeque::new(),
            received: VecDeque::new(),
            last_received: None,
            paced: 0,
            autobaud: Autobaud::new(),
            baud: 1,
            console: number == 0,
            signal: device.signals.first().copied(),
            looped: VecDeque::new(),
        }
    }

    /// Returns whether the host is connected.
    fn connected(&self, fabric: &Fabric) -> bool {
        self.console && fabric.cable == Cable::Uart
    }

    /// Returns the clock, divided by SCLK_DIV_NUM.
    fn clock(&self, fabric: &Fabric) -> u64 {
        if let Some(devices) = fabric.clock.devices.filter(|_| self.layout.outer_clock) {
            return devices.serial.get(self.number).copied().unwrap_or(0);
        }
        let conf = self.registers.get(CLK_CONF);
        let source = match conf >> 20 & 3 {
            1 => fabric.clock.apb_hz(),
            2 => RC_FAST_HZ,
            _ => fabric.clock.xtal_hz(),
        };
        source / (u64::from(conf >> 12 & 0xff) + 1)
    }

    /// Returns the baud rate set by the clock and its dividers.
    fn rate(&self, fabric: &Fabric) -> u32 {
        let divider = self.registers.get(CLKDIV);
        // In sixteenths: integer part and CLKDIV_FRAG.
        let sixteenths = u64::from(divider & 0xfff) * 16 + u64::from(divider >> 20 & 0xf);
        (self.clock(fabric) * 16 / sixteenths.max(1)).clamp(1, u64::from(u32::MAX)) as u32
    }

    fn byte_time(&self, fabric: &Fabric) -> Tick {
        if fabric.timed { periods(BITS, u64::from(self.baud)) } else { 0 }
    }

    /// Returns the number of bytes still waiting in the transmit FIFO.
    fn waiting(&self, now: Tick) -> usize {
        // Firmware polls this, and only few bytes at the front, usually one, have started.
        self.sending.len() - self.sending.iter().take_while(|byte| byte.start <= now).count()
    }

    fn send(&mut self, byte: u8, fabric: &mut Fabric) {
        let now = fabric.now();
        if self.waiting(now) >= DEPTH {
            return; // The FIFO is full: the byte is lost.
        }
        let start = self.sending.back().map_or(now, |last| last.done.max(now));
        let done = start + self.byte_time(fabric);
        self.sending.push_back(Sending { start, done, byte });
        let byte = LineByte { done, byte, baud: self.baud };
        if self.registers.get(CONF0) & self.layout.loopback != 0 {
            self.looped.push_back(byte);
        }
        if let Some(signal) = self.signal {
            let inputs = fabric.pins.inputs();
            fabric.pins.changed |= fabric.pins.serial.send(signal, byte, inputs);
        }
        if self.connected(fabric) {
            fabric.line.send_to_host(byte);
            if fabric.watch_output && fabric.line.to_host.len() == 1 {
                fabric.memory.request_yield();
            }
        }
    }

    /// Takes back the bytes that have not started; if `cut`, all bytes that are not complete.
    fn cancel(&mut self, cut: bool, fabric: &mut Fabric) -> Vec<u8> {
        let now = fabric.now();
        let stays = |byte: &Sending| if cut { byte.done <= now } else { byte.start <= now };
        let keep = self.sending.partition_point(stays);
        let rest: Vec<Sending> = self.sending.drain(keep..).collect();
        for byte in rest.iter().rev() {
            let byte = LineByte { done: byte.done, byte: byte.byte, baud: self.baud };
            if self.looped.back() == Some(&byte) {
                self.looped.pop_back();
            }
            if let Some(signal) = self.signal {
                fabric.pins.serial.cancel(signal, byte);
            }
        }
        if self.connected(fabric) {
            for _ in &rest {
                if fabric.line.to_host.back().is_some_and(|byte| byte.done > now) {
                    fabric.line.to_host.pop_back();
                    fabric.line.sent = fabric.line.sent.saturating_sub(1);
                }
            }
        }
        rest.iter().map(|byte| byte.byte).collect()
    }

    fn set_rate(&mut self, fabric: &mut Fabric) {
        let rate = self.rate(fabric);
        if rate != self.baud {
            let rest = self.cancel(false, fabric);
            self.baud = rate;
            for byte in rest {
                self.send(byte, fabric);
            }
        }
    }

    /// Brings the FIFOs and raw interrupts up to date.
    fn advance(&mut self, fabric: &mut Fabric) {
        let now = fabric.now();
        while let Some(byte) = self.arriving(fabric)
            && self.taken_at(&byte) <= now
            && self.has_room(fabric)
        {
            self.take_arrived(fabric);
            if !fabric.timed && fabric.rom_executed {
                self.paced = self.taken_at(&byte) + periods(PACE, fabric.clock.cpu_hz());
            }
            if self.registers.get(CONF0) & self.layout.autobaud_en != 0 {
                let clock = self.clock(fabric);
                self.autobaud.measure(&byte, clock);
            }
            let (value, clean) = byte.received_at(self.baud);
            if !clean {
                self.raw |= int::FRM_ERR;
            }
            if self.received.len() < DEPTH {
                self.received.push_back(value);
            } else {
                self.raw |= int::RXFIFO_OVF;
            }
            self.last_received = Some(byte.done);
        }
        if self.received.len() >= self.full_threshold() {
            self.raw |= int::RXFIFO_FULL;
        }
        if self.timeout_at(fabric).is_some_and(|at| at <= now) {
            self.raw |= int::RXFIFO_TOUT;
            self.last_received = None;
        }
        while self.sending.pop_front_if(|byte| byte.done <= now).is_some() {
            if self.sending.is_empty() {
                self.raw |= int::TX_DONE;
            }
        }
        if self.waiting(now) < self.empty_threshold() {
            self.raw |= int::TXFIFO_EMPTY;
        }
    }

    /// Returns the next byte to receive: from the transmitter itself, from the host, or from a pin.
    fn arriving(&self, fabric: &Fabric) -> Option<LineByte> {
        if self.registers.get(CONF0) & self.layout.loopback != 0 {
            self.looped.front().copied()
        } else if self.connected(fabric) {
            fabric.line.to_board.front().copied()
        } else {
            fabric.pins.serial.next(self.signal?)
        }
    }

    /// Removes the byte that `arriving` returned.
    fn take_arrived(&mut self, fabric: &mut Fabric) {
        if self.registers.get(CONF0) & self.layout.loopback != 0 {
            self.looped.pop_front();
        } else if self.connected(fabric) {
            fabric.line.to_board.pop_front();
            fabric.line.received += 1;
        } else if let Some(signal) = self.signal {
            fabric.pins.serial.take(signal);
        }
    }

    /// Returns when a byte from the line can be taken.
    fn taken_at(&self, byte: &LineByte) -> Tick {
        byte.done.max(self.paced)
    }

    /// Returns whether the FIFO takes an arrived byte. If the line takes no time, bytes wait for
    /// room in the FIFO; otherwise only the first bytes of a frame that arrives at once would be
    /// kept.
    fn has_room(&self, fabric: &Fabric) -> bool {
        !(fabric.rom_listens && self.console) && (fabric.timed || self.received.len() < DEPTH)
    }

    fn full_threshold(&self) -> usize {
        (self.registers.get(CONF1) & self.layout.threshold) as usize
    }

    fn empty_threshold(&self) -> usize {
        (self.registers.get(CONF1) >> self.layout.threshold_at & self.layout.threshold) as usize
    }

    /// Returns when the receive timeout expires.
    fn timeout_at(&self, fabric: &Fabric) -> Option<Tick> {
        let (register, bit) = self.layout.timeout_en;
        if self.registers.get(register) & bit == 0 || self.received.is_empty() {
            return None;
        }
        let (register, position) = self.layout.timeout;
        let bits = u64::from(self.registers.get(register) >> position & 0x3ff);
        let wait = if fabric.timed { periods(bits, u64::from(self.baud)) } else { 0 };
        self.last_received.map(|at| at.saturating_add(wait))
    }
}

impl Device for Uart {
    fn read(&mut self, offset: u32, fabric: &mut Fabric) -> u32 {
        self.advance(fabric);
        match offset {
            FIFO => u32::from(self.received.pop_front().unwrap_or(0)),
            INT_RAW => self.raw,
            INT_ST => self.raw & self.registers.get(INT_ENA),
            STATUS => {
                let waiting = self.waiting(fabric.now()) as u32;
                STATUS_IDLE | waiting << 16 | self.received.len() as u32
            }
            // ST_UTX_OUT: 0 while the transmitter is idle.
            _ if offset == self.layout.fsm_status => {
                if self.sending.is_empty() {
                    0
                } else {
                    1 << 4
                }
            }
            _ if offset == self.layout.lowpulse => self.autobaud.low,
            _ if offset == self.layout.highpulse => self.autobaud.high,
            _ if offset == self.layout.rxd_cnt => self.autobaud.edges,
            _ => self.registers.get(offset),
        }
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        self.advance(fabric);
        match offset {
            FIFO => self.send(value as u8, fabric),
            INT_RAW => self.raw = value,
            INT_CLR => self.raw &= !value,
            CONF0 => {
                let begins = value & !self.registers.get(CONF0) & self.layout.autobaud_en != 0;
                if begins {
                    self.autobaud = Autobaud::new();
                }
                self.registers.set(CONF0, value);
            }
            // REG_UPDATE clears itself once the registers are synchronised.
            _ if offset == self.layout.update.0 => {
                self.registers.set(offset, value & !self.layout.update.1);
            }
            _ => self.registers.set(offset, value),
        }
        match offset {
            CLKDIV | CLK_CONF => self.set_rate(fabric),
            CONF0 => {
                if value & self.layout.loopback == 0 {
                    self.looped.clear();
                }
                if value & self.layout.rxfifo_rst != 0 {
                    self.received.clear();
                    self.last_received = None;
                }
                if value & self.layout.txfifo_rst != 0 {
                    self.cancel(false, fabric);
                }
            }
            _ => {}
        }
        // Conditions that still hold raise their interrupts again.
        self.advance(fabric);
    }

    fn lines(&self) -> u32 {
        u32::from(self.raw & self.registers.get(INT_ENA) != 0)
    }

    fn next_event(&self, fabric: &Fabric) -> Option<Tick> {
        let wanted = self.registers.get(INT_ENA) & !self.raw;
        let mut next = None;
        let mut sooner = |at: Option<Tick>| {
            if let Some(at) = at {
                next = Some(next.map_or(at, |next: Tick| next.min(at)));
            }
        };
        const RECEIVE: u32 = int::RXFIFO_FULL | int::RXFIFO_OVF | int::RXFIFO_TOUT | int::FRM_ERR;
        if wanted & RECEIVE != 0 && self.has_room(fabric) {
            sooner(self.arriving(fabric).map(|byte| self.taken_at(&byte)));
        }
        if wanted & int::RXFIFO_TOUT != 0 {
            sooner(self.timeout_at(fabric));
        }
        if wanted & int::TX_DONE != 0 {
            sooner(self.sending.back().map(|byte| byte.done));
        }
        if wanted & int::TXFIFO_EMPTY != 0
            && let Some(left) = self.empty_threshold().checked_sub(1)
            && let Some(index) = self.sending.len().checked_sub(left + 1)
        {
            sooner(self.sending.get(index).map(|byte| byte.start));
        }
        next
    }

    fn event(&mut self, fabric: &mut Fabric) {
        self.advance(fabric);
    }

    fn baud(&self, fabric: &Fabric) -> Option<u32> {
        Some(self.rate(fabric))
    }

    fn clock_changed(&mut self, fabric: &mut Fabric) {
        self.set_rate(fabric);
    }

    fn senses_pins(&self) -> bool {
        true
    }

    fn steady_until(&self, offset: u32, fabric: &Fabric) -> Option<Tick> {
        if offset == FIFO {
            return None;
        }
        let now = fabric.now();
        let sending = self.sending.iter().flat_map(|byte| [byte.start, byte.done]);
        let arrival = self.arriving(fabric).map(|byte| self.taken_at(&byte));
        let arrival = arrival.filter(|_| self.has_room(fabric));
        let changes = sending.chain(arrival).chain(self.timeout_at(fabric));
        Some(changes.filter(|at| *at > now).min().unwrap_or(Tick::MAX))
    }

    fn reset(&mut self, scope: Scope, fabric: &mut Fabric) {
        if scope >= Scope::Core {
            self.advance(fabric);
            self.cancel(true, fabric);
            self.sending.clear();
            self.looped.clear();
            self.received.clear();
            self.last_received = None;
            self.raw = 0;
            self.autobaud = Autobaud::new();
            self.registers.reset();
            self.baud = self.rate(fabric);
        }
    }
}
