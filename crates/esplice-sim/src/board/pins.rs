//! The board's pins, as somebody with wires and a meter has them.

use std::time::Duration;

use super::{Board, Sent};
use crate::soc::clock::duration;

impl Board {
    /// Drives a pin from outside, as a button or another chip does, until [`Board::release_pin`]. Where
    /// the chip drives it as well, the chip wins. A number that no pin has is ignored.
    pub fn set_pin(&mut self, pin: u32, level: bool) {
        self.soc.drive_pin(pin, Some(level));
    }

    /// Lets go of a pin.
    pub fn release_pin(&mut self, pin: u32) {
        self.soc.drive_pin(pin, None);
    }

    /// A pin's level: what the chip drives, else what was set here, else its pull-up, else low.
    pub fn pin(&self, pin: u32) -> bool {
        self.soc.fabric.pins.levels().checked_shr(pin).unwrap_or(0) & 1 != 0
    }

    /// Bytes that UARTs have sent out on a pin by now, where the firmware has routed one there by the pin matrix: what
    /// a second serial cable would hear. Those of the first UART are also on the host's line.
    pub fn take_serial(&mut self, pin: u32) -> Vec<Sent> {
        let now = self.soc.fabric.now();
        let serial = &mut self.soc.fabric.pins.serial;
        let sent = std::iter::from_fn(|| serial.take_sent(pin, now));
        sent.map(|sent| Sent { byte: sent.byte, baud: sent.baud }).collect()
    }

    /// Sends bytes into a pin at `baud`, for the UART whose input the firmware takes from there; gives when the last is
    /// there. They are lost where none does, or the pad's input is off.
    pub fn send_serial(&mut self, pin: u32, bytes: &[u8], baud: u32) -> Duration {
        let mut done = self.soc.fabric.now();
        for byte in bytes {
            done = self.soc.bring_to_pin(pin, *byte, baud.max(1));
        }
        duration(done.saturating_add(1))
    }

    /// Whether the chip drives a pin.
    pub fn pin_is_output(&self, pin: u32) -> bool {
        self.soc.fabric.pins.outputs().checked_shr(pin).unwrap_or(0) & 1 != 0
    }
}
