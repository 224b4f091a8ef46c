//! The board's pins, as somebody with wires and a meter has them.

use super::Board;

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

    /// Whether the chip drives a pin.
    pub fn pin_is_output(&self, pin: u32) -> bool {
        self.soc.fabric.pins.outputs().checked_shr(pin).unwrap_or(0) & 1 != 0
    }
}
