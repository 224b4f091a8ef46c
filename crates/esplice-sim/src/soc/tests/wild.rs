//! Random accesses to devices that firmware programs: none may panic or keep the simulator busy for
//! ever.

use super::*;
use crate::{
    parts::{Eeprom, Sht3x, Thermometer, ThermometerKind},
    soc::device::Random,
};

/// Models whose registers are written at random.
const MODELS: [&str; 10] =
    ["adc", "i2c", "i2c-fifo16", "i2c-v2", "ledc", "ledc-v2", "rmt", "rmt-v2", "uart", "uart-v2"];

#[test]
fn random_accesses_never_panic() {
    for chip in ["esp32c2", "esp32c3", "esp32c6", "esp32h2"] {
        let sim = ChipDb::embedded().find(chip).unwrap().sim.clone().unwrap();
        let devices = sim.peripherals.iter().filter(|device| MODELS.contains(&&*device.model));
        let bases: Vec<u32> = devices.map(|device| device.base.0).collect();
        assert!(bases.len() >= 4, "{chip}");
        let gpio = sim.peripherals.iter().find(|device| device.model.starts_with("gpio")).unwrap();
        let mut random = Random::default();
        for seed in 0..20 {
            random.set_seed(seed);
            let mut soc = soc_of(chip);
            soc.fabric.analog.set_noise(10.0, seed);
            let bus = &mut soc.fabric.i2c[0];
            let thermometer = Thermometer::new(ThermometerKind::Lm75b, 20.0);
            bus.attach("thermometer", 0x48, Box::new(thermometer));
            bus.attach("memory", 0x50, Box::new(Eeprom::new("24c512").unwrap()));
            bus.attach("sensor", 0x44, Box::new(Sht3x::new(20.0, 50.0)));
            for pin in 0..8 {
                soc.fabric.pins.record(pin);
            }
            for _ in 0..2000 {
                let [what, value, place] = [random.next(), random.next(), random.next()];
                let base = bases[(place >> 16) as usize % bases.len()];
                // Half of the accesses are to the first registers, where most control bits are.
                let offset = if place & 1 == 0 { place & 0xfc } else { place & 0x7fc };
                // Half of the values have few bits.
                let value = if what & 1 == 0 { value } else { 1 << (value % 32) | value >> 27 };
                match what >> 1 & 7 {
                    0..=4 => soc.store32(base + offset, value).unwrap(),
                    5 => drop(soc.load32(base + offset).unwrap()),
                    6 => soc.store32(gpio.base.0 + 0x554 + 4 * (place & 7), value & 0xff).unwrap(),
                    _ => wait(&mut soc, Duration::from_nanos((value & 0x3fff).into())),
                }
            }
            soc.reset(ResetReason::SoftwareSystem);
        }
    }
}
