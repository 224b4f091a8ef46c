//! Parts that are connected to the board.

use super::Board;
use crate::parts::{Circuit, I2cPart, PartsError, Voltages};

impl Board {
    /// Connects a part to the bus of an I2C controller, at an address of 7 bits. The part is reached
    /// by whichever pins the firmware selects for the controller. `name` is for [`Board::set_part`].
    ///
    /// # Errors
    /// [`PartsError::NotOnChip`] if the chip has no such controller.
    pub fn attach_i2c(
        &mut self,
        bus: usize,
        address: u8,
        name: &str,
        part: impl I2cPart + 'static,
    ) -> Result<(), PartsError> {
        self.attach_boxed(bus, address, name, Box::new(part))
    }

    /// Connects the parts of a file.
    ///
    /// # Errors
    /// [`PartsError::NotOnChip`], and [`PartsError::Contents`] for a file that is not the contents
    /// of its part.
    pub fn attach_circuit(&mut self, circuit: &Circuit) -> Result<(), PartsError> {
        for built in circuit.build()? {
            self.attach_boxed(built.bus, built.address, built.name, built.part)?;
        }
        Ok(())
    }

    fn attach_boxed(
        &mut self,
        bus: usize,
        address: u8,
        name: &str,
        part: Box<dyn I2cPart>,
    ) -> Result<(), PartsError> {
        let buses = &mut self.soc.fabric.i2c;
        let count = buses.len();
        let bus = buses.get_mut(bus).ok_or_else(|| PartsError::NotOnChip {
            message: format!("part {name:?}: the chip has no I2C bus {bus}"),
            hint: match count {
                0 => "the virtual board of this chip has no I2C controller".into(),
                1 => "its only one is bus 0".into(),
                _ => format!("it has buses 0 to {}", count - 1),
            },
        })?;
        bus.attach(name, address, part);
        Ok(())
    }

    /// Sets what a part measures, such as `temperature` in °C. Returns `false` if there is no part
    /// with that name or if it does not measure that.
    pub fn set_part(&mut self, name: &str, quantity: &str, value: f64) -> bool {
        let mut buses = self.soc.fabric.i2c.iter_mut();
        buses.find_map(|bus| bus.named(name)).is_some_and(|part| part.set(quantity, value))
    }

    /// Sets the voltage at an analog input in mV. Without one, a pin has the voltage of its level.
    ///
    /// # Errors
    /// [`PartsError::NotOnChip`] if the pin is not an analog input.
    pub fn set_voltage(&mut self, pin: u32, millivolts: f64) -> Result<(), PartsError> {
        let adc = self.chip.sim.as_ref().and_then(|sim| sim.adc.as_ref());
        let pins: Vec<u32> = adc.iter().flat_map(|adc| &adc.channels).flatten().copied().collect();
        if !pins.contains(&pin) {
            let names: Vec<String> = pins.iter().map(u32::to_string).collect();
            return Err(PartsError::NotOnChip {
                message: format!("pin {pin} is not an analog input"),
                hint: match names.is_empty() {
                    true => "the virtual board of this chip has no converter".into(),
                    false => format!("analog inputs are pins {}", names.join(", ")),
                },
            });
        }
        self.soc.fabric.analog.set(pin, millivolts);
        Ok(())
    }

    /// Sets the noise at all analog inputs: its standard deviation in mV, and the seed of its
    /// sequence, which is the same in each run.
    pub fn set_voltage_noise(&mut self, millivolts: f64, seed: u64) {
        self.soc.fabric.analog.set_noise(millivolts, seed);
    }

    /// Sets the voltages and the noise of a file.
    ///
    /// # Errors
    /// [`PartsError::NotOnChip`].
    pub fn attach_voltages(&mut self, voltages: &Voltages) -> Result<(), PartsError> {
        for (pin, millivolts) in &voltages.inputs {
            self.set_voltage(*pin, *millivolts)?;
        }
        self.set_voltage_noise(voltages.noise_millivolts, voltages.seed);
        Ok(())
    }

    /// Returns the bytes that the part called `name` stores, if it is a memory.
    pub fn part_contents(&mut self, name: &str) -> Option<&[u8]> {
        let mut buses = self.soc.fabric.i2c.iter_mut();
        buses.find_map(|bus| bus.named(name))?.contents()
    }
}
