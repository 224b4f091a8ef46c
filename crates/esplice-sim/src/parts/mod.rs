//! Parts that are connected to a virtual board: devices on its I2C bus and voltages at its analog
//! inputs.
//!
//! A [`Circuit`] is read from a file, or parts are attached by [`Board::attach_i2c`]. The kinds of
//! parts that the file knows are in [`KINDS`].
//!
//! [`Board::attach_i2c`]: crate::Board::attach_i2c

mod circuit;
mod eeprom;
mod sht3x;
mod table;
mod thermometer;
mod voltages;

use std::{io, path::PathBuf, time::Duration};

pub use circuit::{Circuit, KINDS};
pub use eeprom::Eeprom;
pub use sht3x::Sht3x;
pub use table::PartsError;
pub use thermometer::{Thermometer, ThermometerKind};
pub use voltages::Voltages;

/// A device on an I2C bus. The bus calls it for each condition and byte that it sees. `now` is the
/// board's clock.
pub trait I2cPart: Send {
    /// Begins a transfer with this part, to read from it or to write to it. Returns whether the
    /// part acknowledges its address.
    fn start(&mut self, read: bool, now: Duration) -> bool;

    /// Takes a byte from the master. Returns whether the part acknowledges it.
    fn write(&mut self, byte: u8, now: Duration) -> bool;

    /// Returns the next byte for the master.
    fn read(&mut self, now: Duration) -> u8;

    /// Ends the transfer: the master has sent a stop condition.
    fn stop(&mut self, now: Duration) {
        let _ = now;
    }

    /// Sets what the part measures, such as `temperature` in °C. Returns whether the part measures
    /// it.
    fn set(&mut self, quantity: &str, value: f64) -> bool {
        let _ = (quantity, value);
        false
    }

    /// Returns the bytes that the part stores, if it is a memory.
    fn contents(&self) -> Option<&[u8]> {
        None
    }

    /// Returns and clears the first failure outside of the simulated circuit: a file that can't be
    /// written, with the system's error. The board stops then.
    fn take_failure(&mut self) -> Option<(PathBuf, io::Error)> {
        None
    }

    /// Returns a copy, for a copy of the board. It does not write to the original's file.
    fn boxed_clone(&self) -> Box<dyn I2cPart>;
}

impl Clone for Box<dyn I2cPart> {
    fn clone(&self) -> Self {
        (**self).boxed_clone()
    }
}

/// A part with its name and its place on a bus.
#[derive(Clone)]
struct Placed {
    name: String,
    address: u8,
    part: Box<dyn I2cPart>,
    /// True if the part takes part in the current transfer.
    active: bool,
}

/// The parts on one bus.
#[derive(Clone, Default)]
pub(crate) struct Bus {
    parts: Vec<Placed>,
}

impl Bus {
    /// Adds a part.
    pub fn attach(&mut self, name: &str, address: u8, part: Box<dyn I2cPart>) {
        self.parts.push(Placed { name: name.into(), address, part, active: false });
    }

    /// Returns the place of the part with that address.
    pub fn at(&self, address: u8) -> Option<usize> {
        self.parts.iter().position(|placed| placed.address == address)
    }

    /// Returns the part at a place, which takes part in the transfer from now on.
    pub fn part(&mut self, place: usize) -> Option<&mut dyn I2cPart> {
        let placed = self.parts.get_mut(place)?;
        placed.active = true;
        Some(placed.part.as_mut())
    }

    /// Returns the part called `name`.
    pub fn named(&mut self, name: &str) -> Option<&mut dyn I2cPart> {
        let placed = self.parts.iter_mut().find(|placed| placed.name == name)?;
        Some(placed.part.as_mut())
    }

    /// Ends the transfer of all parts that took part in it. Returns a failure of one of them.
    pub fn stop(&mut self, now: Duration) -> Option<PartsError> {
        let mut failure = None;
        for placed in self.parts.iter_mut().filter(|placed| placed.active) {
            placed.active = false;
            placed.part.stop(now);
            if let Some((path, source)) = placed.part.take_failure() {
                let part = placed.name.clone();
                failure = Some(PartsError::Contents { part, path, source });
            }
        }
        failure
    }
}
