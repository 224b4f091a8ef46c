//! Bytes on pins: what UARTs send out through the pin matrix, to whoever is at the pin, and what comes in by it. A byte
//! that a UART sends on a pin from which another or the same one takes its input arrives there too.

use std::collections::{BTreeMap, VecDeque};

use super::{
    clock::Tick,
    device::{LINE_LIMIT, LineByte},
};

/// Pins and signals, and the bytes on their way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Serial {
    /// The signal that is put out on a pin.
    outputs: BTreeMap<u32, u32>,
    /// The pin that a signal comes from.
    inputs: BTreeMap<u32, u32>,
    /// For who is outside, by pin. Older ones are lost where nobody takes them.
    sent: BTreeMap<u32, VecDeque<LineByte>>,
    /// For the chip, by signal. What it does not take is lost where there is no more room.
    arriving: BTreeMap<u32, VecDeque<LineByte>>,
}

impl Serial {
    /// What a pin puts out.
    pub fn route_out(&mut self, pin: u32, signal: Option<u32>) {
        match signal {
            Some(signal) => drop(self.outputs.insert(pin, signal)),
            None => drop(self.outputs.remove(&pin)),
        }
    }

    /// Where a signal comes from. What was on its way by another pin is lost.
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

    /// Pins that a signal is put out on.
    fn pins_of(&self, signal: u32) -> Vec<u32> {
        self.outputs.iter().filter(|(_, of)| **of == signal).map(|(pin, _)| *pin).collect()
    }

    /// A UART sends a byte; `inputs` are the pins whose input buffers are on. Gives whether it arrives at the chip.
    pub fn send(&mut self, signal: u32, byte: LineByte, inputs: u32) -> bool {
        let mut arrives = false;
        for pin in self.pins_of(signal) {
            let sent = self.sent.entry(pin).or_default();
            if sent.len() >= LINE_LIMIT {
                sent.pop_front();
            }
            sent.push_back(byte);
            arrives |= self.bring(pin, byte, inputs);
        }
        arrives
    }

    /// Takes back the byte that a UART sent last, as it did not come to send it.
    pub fn unsend(&mut self, signal: u32, byte: LineByte) {
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

    /// A byte comes to a pin from outside, or from the chip itself. Gives whether a signal is taken from there.
    pub fn bring(&mut self, pin: u32, byte: LineByte, inputs: u32) -> bool {
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

    /// The next byte of a signal.
    pub fn next(&self, signal: u32) -> Option<LineByte> {
        self.arriving.get(&signal)?.front().copied()
    }

    /// Takes it.
    pub fn take(&mut self, signal: u32) {
        if let Some(arriving) = self.arriving.get_mut(&signal) {
            arriving.pop_front();
        }
    }

    /// When the last byte on its way to a pin's signals has arrived.
    pub fn busy_until(&self, pin: u32) -> Tick {
        let signals = self.inputs.iter().filter(|(_, from)| **from == pin);
        let last = signals.filter_map(|(signal, _)| self.arriving.get(signal)?.back());
        last.map(|byte| byte.done).max().unwrap_or(0)
    }

    /// What was sent out on a pin by `now`, one after the other.
    pub fn take_sent(&mut self, pin: u32, now: Tick) -> Option<LineByte> {
        self.sent.get_mut(&pin)?.pop_front_if(|byte| byte.done <= now)
    }
}
