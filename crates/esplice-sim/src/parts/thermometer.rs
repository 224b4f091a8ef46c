//! Digital thermometers with a pointer register: TMP102 (Texas Instruments data sheet SBOS397) and
//! LM75B (NXP data sheet). A measurement is always up to date; the alert output is not connected.

use std::time::Duration;

use super::I2cPart;

/// A type of thermometer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ThermometerKind {
    /// 12 bits of 0.0625 °C, or 13 in extended mode.
    Tmp102,
    /// 11 bits of 0.125 °C.
    Lm75b,
}

/// TMP102, configuration: one-shot and shutdown in the first byte, extended mode in the second.
const EXTENDED: u16 = 1 << 4;
/// Bits of the configuration that can't be written: R1, R0 and AL.
const TMP102_FIXED: u16 = 0x6020;

/// A thermometer.
#[derive(Debug, Clone)]
pub struct Thermometer {
    kind: ThermometerKind,
    celsius: f64,
    pointer: u8,
    /// Configuration, and low and high limit.
    registers: [u16; 3],
    /// Bytes of the current transfer, without the pointer.
    position: usize,
    pointer_due: bool,
}

impl Thermometer {
    /// Returns a thermometer that measures `celsius` °C.
    pub fn new(kind: ThermometerKind, celsius: f64) -> Thermometer {
        // Reset values: SBOS397, tables 9 to 12 (75 and 80 °C); LM75B, sections 7.4.
        let registers = match kind {
            ThermometerKind::Tmp102 => [0x60a0, 0x4b00, 0x5000],
            ThermometerKind::Lm75b => [0, 0x4b00, 0x5000],
        };
        Thermometer { kind, celsius, pointer: 0, registers, position: 0, pointer_due: false }
    }

    /// Returns the temperature register.
    fn measured(&self) -> u16 {
        let (step, bits) = match self.kind {
            ThermometerKind::Tmp102 if self.registers[0] & EXTENDED != 0 => (0.0625, 13),
            ThermometerKind::Tmp102 => (0.0625, 12),
            ThermometerKind::Lm75b => (0.125, 11),
        };
        let most = (1_i32 << (bits - 1)) - 1;
        // A conversion from a float saturates, and NaN becomes 0.
        let counts = ((self.celsius / step).round() as i32).clamp(-most - 1, most);
        (counts << (16 - bits)) as u16
    }

    fn register(&self) -> u16 {
        match self.pointer {
            0 => self.measured(),
            // The LM75B's configuration is one byte.
            1 if self.kind == ThermometerKind::Lm75b => self.registers[0] << 8 | self.registers[0],
            pointer => self.registers.get(usize::from(pointer) - 1).copied().unwrap_or(0xffff),
        }
    }
}

impl I2cPart for Thermometer {
    fn start(&mut self, read: bool, _now: Duration) -> bool {
        self.position = 0;
        self.pointer_due = !read;
        true
    }

    fn write(&mut self, byte: u8, _now: Duration) -> bool {
        if std::mem::take(&mut self.pointer_due) {
            self.pointer = byte & 3;
            return true;
        }
        let tmp102 = self.kind == ThermometerKind::Tmp102;
        if let Some(register) =
            usize::from(self.pointer).checked_sub(1).and_then(|at| self.registers.get_mut(at))
        {
            let written = match (self.pointer, tmp102, self.position) {
                (1, false, _) => byte.into(),
                (_, _, 0) => *register & 0xff | u16::from(byte) << 8,
                (_, _, 1) => *register & 0xff00 | u16::from(byte),
                _ => *register,
            };
            *register = match (self.pointer, tmp102) {
                (1, true) => written & !TMP102_FIXED | *register & TMP102_FIXED,
                _ => written,
            };
        }
        self.position += 1;
        true
    }

    fn read(&mut self, _now: Duration) -> u8 {
        // Further reads repeat the register.
        let byte = if self.position.is_multiple_of(2) {
            (self.register() >> 8) as u8
        } else {
            self.register() as u8
        };
        self.position += 1;
        byte
    }

    fn set(&mut self, quantity: &str, value: f64) -> bool {
        let known = quantity == "temperature";
        if known {
            self.celsius = value;
        }
        known
    }

    fn boxed_clone(&self) -> Box<dyn I2cPart> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn read(part: &mut Thermometer, pointer: u8) -> u16 {
        assert!(part.start(false, NOW) && part.write(pointer, NOW) && part.start(true, NOW));
        let bytes = [part.read(NOW), part.read(NOW)];
        part.stop(NOW);
        u16::from_be_bytes(bytes)
    }

    /// The values are those of SBOS397, table 8, and of the LM75B's table 8.
    #[test]
    fn temperatures_are_those_of_the_data_sheets() {
        for (celsius, expected) in [
            (127.9375, 0x7ff0),
            (80.0, 0x5000),
            (25.0, 0x1900),
            (0.25, 0x0040),
            (-0.25, 0xffc0),
            (-25.0, 0xe700),
            (-55.0, 0xc900),
            (1e9, 0x7ff0),
            (f64::NAN, 0),
        ] {
            let mut part = Thermometer::new(ThermometerKind::Tmp102, celsius);
            assert_eq!(read(&mut part, 0), expected, "{celsius}");
        }
        for (celsius, expected) in
            [(127.0, 0x7f00), (25.125, 0x1920), (-0.125, 0xffe0), (-55.0, 0xc900)]
        {
            let mut part = Thermometer::new(ThermometerKind::Lm75b, celsius);
            assert_eq!(read(&mut part, 0), expected, "{celsius}");
        }
    }

    #[test]
    fn the_registers_of_a_tmp102_can_be_written() {
        let mut part = Thermometer::new(ThermometerKind::Tmp102, 150.0);
        assert_eq!([1, 2, 3].map(|at| read(&mut part, at)), [0x60a0, 0x4b00, 0x5000]);
        // SBOS397, table 9: 150 °C in extended mode.
        for byte in [1, 0xff, 0xb0] {
            if byte == 1 {
                assert!(part.start(false, NOW));
            }
            assert!(part.write(byte, NOW));
        }
        assert_eq!(read(&mut part, 1), 0xffb0 & !TMP102_FIXED | 0x6020 & 0x60a0);
        assert_eq!(read(&mut part, 0), 0x4b00);
        assert!(part.set("temperature", 0.5) && !part.set("humidity", 1.0));
        assert_eq!(read(&mut part, 0), 0x0040);
    }
}
