//! Bytes on pins: output of UARTs through the pin matrix to the outside, and input from outside. A
//! byte that a UART sends on a pin also arrives at every UART, including itself, that takes its
//! input there.

use std::collections::{BTreeMap, VecDeque};

use super::{
    clock::Tick,
    device::{LINE_LIMIT, LineByte},
};

/// Routing between pins and signals, and the bytes on their way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Serial {
    /// Signal that is output on each pin.
    outputs: BTreeMap<u32, u32>,
    /// Pin from which each signal is taken.
    inputs: BTreeMap<u32, u32>,
    /// Bytes for the outside, by pin. The oldest are lost if nobody takes them.
    sent: BTreeMap<u32, VecDeque<LineByte>>,
    /// Bytes for the chip, by signal. New ones are lost if there is no more room.
    arriving: BTreeMap<u32, VecDeque<LineByte>>,
    /// Bytes for the cables that follow a signal to whichever pin it is on, and the time up to
    /// which the cable's other direction is occupied.
    cables: BTreeMap<u32, (VecDeque<LineByte>, Tick)>,
}

impl Serial {
    /// Sets or clears the signal output on a pin. Returns whether it was another before.
    pub fn route_out(&mut self, pin: u32, signal: Option<u32>) -> bool {
        let before = match signal {
            Some(signal) => self.outputs.insert(pin, signal),
            None => self.outputs.remove(&pin),
        };
        before != signal
    }

    /// Returns whether a signal is output on a pin.
    pub fn is_output(&self, signal: u32) -> bool {
        self.outputs.values().any(|of| *of == signal)
    }

    /// Sets or clears the pin of an input signal. Bytes on their way from another pin are lost.
    pub fn route_in(&mut self, signal: u32, pin: Option<u32>) {
        if self.inputs.get(&signal).copied() == pin {
            return;
        }
        self.arriving.remove(&signal);
        match pin {
            Some(pin) => drop(self.inputs.insert(signal, pin)),
            None => drop(self.inputs.remove(&signal)),
        }
    }

    /// Returns the pins on which a signal is output.
    fn pins_of(&self, signal: u32) -> Vec<u32> {
        self.outputs.iter().filter(|(_, of)| **of == signal).map(|(pin, _)| *pin).collect()
    }

    /// Sends a byte from a UART. `inputs` are the pins whose input buffers are enabled. Returns
    /// whether the byte arrives at the chip.
    pub fn send(&mut self, signal: u32, byte: LineByte, inputs: u32) -> bool {
        let mut arrives = false;
        let pins = self.pins_of(signal);
        if let Some((sent, _)) = self.cables.get_mut(&signal).filter(|_| !pins.is_empty()) {
            push_limited(sent, byte);
        }
        for pin in pins {
            push_limited(self.sent.entry(pin).or_default(), byte);
            arrives |= self.deliver(pin, byte, inputs);
        }
        arrives
    }

    /// Takes back the last byte of a UART that was never actually sent.
    pub fn cancel(&mut self, signal: u32, byte: LineByte) {
        if let Some((sent, _)) = self.cables.get_mut(&signal) {
            sent.pop_back_if(|last| *last == byte);
        }
        for pin in self.pins_of(signal) {
            if let Some(sent) = self.sent.get_mut(&pin) {
                sent.pop_back_if(|last| *last == byte);
            }
            for (to, _) in self.inputs.iter().filter(|(_, from)| **from == pin) {
                if let Some(arriving) = self.arriving.get_mut(to) {
                    arriving.pop_back_if(|last| *last == byte);
                }
            }
        }
    }

    /// Brings a byte to a pin, from outside or from the chip. Returns whether a signal is taken
    /// from there.
    pub fn deliver(&mut self, pin: u32, byte: LineByte, inputs: u32) -> bool {
        if inputs >> pin.min(31) & 1 == 0 {
            return false;
        }
        let mut arrives = false;
        for (signal, _) in self.inputs.iter().filter(|(_, from)| **from == pin) {
            let arriving = self.arriving.entry(*signal).or_default();
            if arriving.len() < LINE_LIMIT {
                arriving.push_back(byte);
                arrives = true;
            }
        }
        arrives
    }

    /// Connects a cable to a signal: it receives what is output on the signal's pins, and what it
    /// sends arrives at the pin that the signal is taken from.
    pub fn attach(&mut self, signal: u32) {
        self.cables.entry(signal).or_default();
    }

    /// Removes and returns the next byte that was sent on a signal's cable by `now`.
    pub fn take_from_cable(&mut self, signal: u32, now: Tick) -> Option<LineByte> {
        self.cables.get_mut(&signal)?.0.pop_front_if(|byte| byte.done <= now)
    }

    /// Sends a byte into a signal's cable. The cable is occupied until the byte has arrived.
    /// Returns whether a UART takes it: bytes to a pin that is not routed are lost.
    pub fn send_by_cable(&mut self, signal: u32, byte: LineByte, inputs: u32) -> bool {
        if let Some((_, busy)) = self.cables.get_mut(&signal) {
            *busy = byte.done;
        }
        match self.input_pin(signal, inputs) {
            Some(pin) => self.deliver(pin, byte, inputs),
            None => false,
        }
    }

    /// Returns when the last byte in a signal's cable to the chip arrives.
    pub fn cable_busy_until(&self, signal: u32) -> Tick {
        self.cables.get(&signal).map_or(0, |(_, busy)| *busy)
    }

    /// Returns the pin from which a signal is taken, if its input buffer is enabled.
    pub fn input_pin(&self, signal: u32, inputs: u32) -> Option<u32> {
        self.inputs.get(&signal).copied().filter(|pin| inputs >> (*pin).min(31) & 1 != 0)
    }

    /// Returns the pin that a signal is both output on and taken from.
    pub fn wire(&self, signal: u32, inputs: u32) -> Option<u32> {
        let pin = self.input_pin(signal, inputs)?;
        (self.outputs.get(&pin) == Some(&signal)).then_some(pin)
    }

    /// Returns the number of bytes that have not been received yet.
    pub fn waiting(&self, signal: u32) -> usize {
        self.arriving.get(&signal).map_or(0, VecDeque::len)
    }

    /// Returns the next byte of a signal without removing it.
    pub fn next(&self, signal: u32) -> Option<LineByte> {
        self.arriving.get(&signal)?.front().copied()
    }

    /// Removes the next byte of a signal.
    pub fn take(&mut self, signal: u32) {
        if let Some(arriving) = self.arriving.get_mut(&signal) {
            arriving.pop_front();
        }
    }

    /// Returns when the last byte on its way to a pin's signals arrives.
    pub fn busy_until(&self, pin: u32) -> Tick {
        let signals = self.inputs.iter().filter(|(_, from)| **from == pin);
        let last = signals.filter_map(|(signal, _)| self.arriving.get(signal)?.back());
        last.map(|byte| byte.done).max().unwrap_or(0)
    }

    /// Removes and returns the next byte that was sent on a pin by `now`.
    pub fn take_sent(&mut self, pin: u32, now: Tick) -> Option<LineByte> {
        self.sent.get_mut(&pin)?.pop_front_if(|byte| byte.done <= now)
    }
}

/// Appends a byte, and drops the oldest one if there are too many.
fn push_limited(sent: &mut VecDeque<LineByte>, byte: LineByte) {
    if sent.len() >= LINE_LIMIT {
        sent.pop_front();
    }
    sent.push_back(byte);
}
