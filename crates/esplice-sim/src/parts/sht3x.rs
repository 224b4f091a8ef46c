//! SHT3x, a sensor of temperature and humidity (Sensirion data sheet SHT3x-DIS): single
//! measurements, with and without clock stretching, status, serial number and soft reset. Periodic
//! measurements are not modelled. A master that reads too early gets no acknowledgement; the
//! commands with clock stretching make it wait on silicon, and here they answer at once.

use std::time::Duration;

use super::I2cPart;

/// A measurement's commands: with its time, the maximum of table 4, for high, medium and low
/// repeatability, and whether the clock is stretched (table 8).
const MEASURE: [(u16, u64, bool); 6] = [
    (0x2c06, 15_000, true),
    (0x2c0d, 6_000, true),
    (0x2c10, 4_000, true),
    (0x2400, 15_000, false),
    (0x240b, 6_000, false),
    (0x2416, 4_000, false),
];
const STATUS: u16 = 0xf32d;
const SOFT_RESET: u16 = 0x30a2;
const SERIAL_NUMBER: u16 = 0x3780;

/// An SHT3x.
#[derive(Debug, Clone)]
pub struct Sht3x {
    celsius: f64,
    humidity: f64,
    /// Command received so far.
    command: u16,
    bytes: usize,
    answer: Vec<u8>,
    position: usize,
    /// Time at which the answer is ready.
    ready: Duration,
}

impl Sht3x {
    /// Returns a sensor that measures this temperature in °C and this relative humidity in percent.
    pub fn new(celsius: f64, humidity: f64) -> Sht3x {
        Sht3x {
            celsius,
            humidity,
            command: 0,
            bytes: 0,
            answer: Vec::new(),
            position: 0,
            ready: Duration::ZERO,
        }
    }

    /// Executes a command.
    fn execute(&mut self, now: Duration) -> bool {
        (self.answer, self.position, self.ready) = (Vec::new(), 0, now);
        if let Some((_, micros, stretched)) =
            MEASURE.into_iter().find(|(command, ..)| *command == self.command)
        {
            // Data sheet, section 4.13.
            let temperature = word((self.celsius + 45.0) / 175.0);
            self.answer = with_checksums(&[temperature, word(self.humidity / 100.0)]);
            if !stretched {
                self.ready = now.saturating_add(Duration::from_micros(micros));
            }
            return true;
        }
        match self.command {
            STATUS => self.answer = with_checksums(&[0]),
            SERIAL_NUMBER => self.answer = with_checksums(&[0x0123, 0x4567]),
            SOFT_RESET => {}
            _ => return false,
        }
        true
    }
}

/// Returns a part of the full scale as 16 bits.
fn word(part: f64) -> u16 {
    // A conversion from a float saturates.
    (part * 65535.0).round() as u16
}

/// Returns the words with their checksums (data sheet, section 4.12).
fn with_checksums(words: &[u16]) -> Vec<u8> {
    let bytes = words.iter().map(|word| word.to_be_bytes());
    bytes.flat_map(|[high, low]| [high, low, checksum([high, low])]).collect()
}

fn checksum(bytes: [u8; 2]) -> u8 {
    bytes.into_iter().fold(0xff, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc, _| crc << 1 ^ if crc & 0x80 != 0 { 0x31 } else { 0 })
    })
}

impl I2cPart for Sht3x {
    fn start(&mut self, read: bool, now: Duration) -> bool {
        self.bytes = 0;
        !read || !self.answer.is_empty() && now >= self.ready
    }

    fn write(&mut self, byte: u8, now: Duration) -> bool {
        self.command = self.command << 8 | u16::from(byte);
        self.bytes += 1;
        match self.bytes {
            1 => true,
            2 => self.execute(now),
            _ => false,
        }
    }

    fn read(&mut self, _now: Duration) -> u8 {
        let byte = self.answer.get(self.position).copied().unwrap_or(0xff);
        self.position += 1;
        byte
    }

    fn stop(&mut self, _now: Duration) {
        if self.position > 0 {
            (self.answer, self.position) = (Vec::new(), 0);
        }
    }

    fn set(&mut self, quantity: &str, value: f64) -> bool {
        match quantity {
            "temperature" => self.celsius = value,
            "humidity" => self.humidity = value,
            _ => return false,
        }
        true
    }

    fn boxed_clone(&self) -> Box<dyn I2cPart> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(part: &mut Sht3x, command: u16, now: Duration) -> bool {
        let [high, low] = command.to_be_bytes();
        let taken = part.start(false, now) && part.write(high, now) && part.write(low, now);
        part.stop(now);
        taken
    }

    #[test]
    fn a_measurement_takes_its_time_and_has_checksums() {
        // Data sheet, section 4.12: the checksum of 0xbeef is 0x92.
        assert_eq!(checksum([0xbe, 0xef]), 0x92);
        let mut part = Sht3x::new(25.0, 50.0);
        let now = Duration::from_secs(1);
        assert!(!part.start(true, now), "there is no measurement yet");
        assert!(send(&mut part, 0x2400, now));
        assert!(!part.start(true, now + Duration::from_micros(14_999)));
        let later = now + Duration::from_millis(15);
        assert!(part.start(true, later));
        let bytes: Vec<u8> = (0..7).map(|_| part.read(later)).collect();
        part.stop(later);
        assert_eq!(bytes[..2], 26214_u16.to_be_bytes());
        assert_eq!(bytes[3..5], 32768_u16.to_be_bytes());
        assert_eq!(bytes[2], checksum([bytes[0], bytes[1]]));
        assert_eq!(bytes[6], 0xff);
        assert!(!part.start(true, later), "it was read already");
        assert!(part.set("humidity", 200.0) && send(&mut part, 0x2c06, later));
        assert!(part.start(true, later));
        assert_eq!((0..5).map(|_| part.read(later)).nth(4), Some(0xff));
        assert!(!send(&mut part, 0x1234, later));
    }
}
