//! The board's pins, for external wires and instruments.

use std::time::Duration;

use super::{Board, SentByte};
use crate::soc::clock::duration;

/// A change of a pin's level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PinEdge {
    /// Time on the board's clock.
    pub at: Duration,
    /// Number of the pin.
    pub pin: u32,
    /// The new level.
    pub level: bool,
}

impl Board {
    /// Drives a pin from outside, as a button or another chip does, until [`Board::release_pin`].
    /// If the chip drives it as well, the chip wins. An invalid pin number is ignored.
    pub fn set_pin(&mut self, pin: u32, level: bool) {
        self.soc.drive_pin(pin, Some(level));
    }

    /// Stops driving a pin.
    pub fn release_pin(&mut self, pin: u32) {
        self.soc.drive_pin(pin, None);
    }

    /// Returns a pin's level: the level that the chip drives, else the one set here, else the
    /// pull-up's, else low.
    pub fn pin(&self, pin: u32) -> bool {
        self.soc.fabric.pins.levels().checked_shr(pin).unwrap_or(0) & 1 != 0
    }

    /// Returns the bytes that UARTs have sent on a pin by now, if the firmware routed a UART there
    /// by the pin matrix. A second serial cable would receive the same. The first UART's bytes also
    /// go to the host's line.
    pub fn take_serial(&mut self, pin: u32) -> Vec<SentByte> {
        let now = self.soc.fabric.now();
        let serial = &mut self.soc.fabric.pins.serial;
        let sent = std::iter::from_fn(|| serial.take_sent(pin, now));
        sent.map(|sent| SentByte { byte: sent.byte, baud: sent.baud }).collect()
    }

    /// Sends bytes into a pin at `baud`, for the UART whose input the firmware routed from there.
    /// Returns when the last one has arrived. They are lost if no UART is routed or the pad's input
    /// is off.
    pub fn send_serial(&mut self, pin: u32, bytes: &[u8], baud: u32) -> Duration {
        let mut done = self.soc.fabric.now();
        for byte in bytes {
            done = self.soc.send_to_pin(pin, *byte, baud.max(1));
        }
        duration(done.saturating_add(1))
    }

    /// Records the edges of a pin from now on, for [`Board::take_edges`]: from GPIO outputs, the
    /// LED PWM controller, the remote control peripheral, pulls and the outside. The bytes of UARTs
    /// and I2C transfers are not among them.
    pub fn record_pin(&mut self, pin: u32) {
        self.soc.fabric.pins.record(pin);
    }

    /// Returns the edges of the recorded pins since the last call, in order. A million of them are
    /// kept; older ones are lost.
    pub fn take_edges(&mut self) -> Vec<PinEdge> {
        let edges = self.soc.fabric.pins.take_edges();
        let edge = |(at, pin, level)| PinEdge { at: duration(at), pin, level };
        edges.into_iter().map(edge).collect()
    }

    /// Returns whether the chip drives a pin.
    pub fn pin_is_output(&self, pin: u32) -> bool {
        self.soc.fabric.pins.outputs().checked_shr(pin).unwrap_or(0) & 1 != 0
    }
}
