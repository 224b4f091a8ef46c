//! Devices for which little more than registers that store values is needed.

use esplice_chip::Peripheral;

use super::clock::Tick;
use super::device::{Device, Fabric, Registers, ResetReason, Scope};

/// Registers that only store values.
#[derive(Clone)]
pub(crate) struct Storage {
    registers: Registers,
}

impl Storage {
    pub fn new(device: &Peripheral) -> Self {
        Self { registers: Registers::of(device) }
    }
}

impl Device for Storage {
    fn read(&mut self, offset: u32, _fabric: &mut Fabric) -> u32 {
        self.registers.get(offset)
    }

    fn write(&mut self, offset: u32, value: u32, _fabric: &mut Fabric) {
        self.registers.set(offset, value);
    }

    fn steady_until(&self, _offset: u32, _fabric: &Fabric) -> Option<Tick> {
        Some(Tick::MAX)
    }

    fn reset(&mut self, scope: Scope, _fabric: &mut Fabric) {
        if scope >= Scope::Core {
            self.registers.reset();
        }
    }
}

/// The I2C masters of the analog parts. Values written can be read back, and everything that
/// software waits for is always ready.
#[derive(Clone)]
pub(crate) struct AnalogI2c {
    registers: Registers,
    /// The register CONF0.
    conf0: u32,
}

impl AnalogI2c {
    /// Registers of the two masters: block in bits 7:0, its register in bits 15:8, the byte in bits
    /// 23:16; then WRITE, and BUSY in bit 25 (ROM: `rom_chip_i2c_readReg_org`,
    /// `rom_chip_i2c_writeReg`).
    const MASTERS: [u32; 2] = [0x00, 0x04];
    const WRITE: u32 = 1 << 24;
    const BUSY: u32 = 1 << 25;
    /// BBPLL calibration is done (ESP-IDF, soc/i2c_ana_mst_reg.h).
    const BBPLL_CAL_DONE: u32 = 1 << 24;

    /// Creates version 1, of the ESP32-C3.
    pub fn v1(device: &Peripheral) -> Self {
        Self::with(device, 0x40)
    }

    /// Creates version 2, of the ESP32-C6 and ESP32-H2 (their crates, `i2c_ana_mst`).
    pub fn v2(device: &Peripheral) -> Self {
        Self::with(device, 0x18)
    }

    fn with(device: &Peripheral, conf0: u32) -> Self {
        Self { registers: Registers::of(device), conf0 }
    }
}

impl Device for AnalogI2c {
    fn read(&mut self, offset: u32, _fabric: &mut Fabric) -> u32 {
        let value = self.registers.get(offset);
        if offset == self.conf0 { value | Self::BBPLL_CAL_DONE } else { value }
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        let mut value = value;
        if Self::MASTERS.contains(&offset) {
            let part = value as u16;
            if value & Self::WRITE != 0 {
                fabric.analog.registers.insert(part, (value >> 16) as u8);
            } else {
                let held = fabric.analog.registers.get(&part).copied().unwrap_or(0);
                value = value & !(0xff << 16) | u32::from(held) << 16;
            }
            value &= !Self::BUSY;
        }
        self.registers.set(offset, value);
    }

    fn steady_until(&self, _offset: u32, _fabric: &Fabric) -> Option<Tick> {
        Some(Tick::MAX)
    }

    fn reset(&mut self, scope: Scope, fabric: &mut Fabric) {
        if scope >= Scope::Core {
            self.registers.reset();
            fabric.analog.registers.clear();
        }
    }
}

/// APB_CTRL, including the register of the random number generator.
#[derive(Clone)]
pub(crate) struct ApbControl {
    registers: Registers,
}

impl ApbControl {
    /// RNG_DATA_REG (TRM 24.5).
    const RNG_DATA: u32 = 0xb0;

    pub fn new(device: &Peripheral) -> Self {
        Self { registers: Registers::of(device) }
    }
}

impl Device for ApbControl {
    fn read(&mut self, offset: u32, fabric: &mut Fabric) -> u32 {
        if offset == Self::RNG_DATA {
            return fabric.random.next();
        }
        self.registers.get(offset)
    }

    fn write(&mut self, offset: u32, value: u32, _fabric: &mut Fabric) {
        self.registers.set(offset, value);
    }

    fn steady_until(&self, offset: u32, _fabric: &Fabric) -> Option<Tick> {
        (offset != Self::RNG_DATA).then_some(Tick::MAX)
    }

    fn reset(&mut self, scope: Scope, fabric: &mut Fabric) {
        if scope >= Scope::Core {
            self.registers.reset();
        }
        if scope == Scope::Chip {
            fabric.random.restart();
        }
    }
}

/// LP_PERI, of which the register of the random number generator is used (crate esp32c6,
/// `lp_peri`).
#[derive(Clone)]
pub(crate) struct RandomSource {
    registers: Registers,
}

impl RandomSource {
    const RNG_DATA: u32 = 0x08;

    pub fn new(device: &Peripheral) -> Self {
        Self { registers: Registers::of(device) }
    }
}

impl Device for RandomSource {
    fn read(&mut self, offset: u32, fabric: &mut Fabric) -> u32 {
        if offset == Self::RNG_DATA {
            return fabric.random.next();
        }
        self.registers.get(offset)
    }

    fn write(&mut self, offset: u32, value: u32, _fabric: &mut Fabric) {
        self.registers.set(offset, value);
    }

    fn steady_until(&self, offset: u32, _fabric: &Fabric) -> Option<Tick> {
        (offset != Self::RNG_DATA).then_some(Tick::MAX)
    }

    fn reset(&mut self, scope: Scope, fabric: &mut Fabric) {
        if scope >= Scope::Core {
            self.registers.reset();
        }
        if scope == Scope::Chip {
            fabric.random.restart();
        }
    }
}

/// The debug assistant, which records pc at a reset if software has enabled that.
#[derive(Clone)]
pub(crate) struct DebugAssist {
    registers: Registers,
}

impl DebugAssist {
    const RCD_EN: u32 = 0x44;
    const RCD_PC: u32 = 0x48;

    pub fn new(device: &Peripheral) -> Self {
        Self { registers: Registers::of(device) }
    }
}

impl Device for DebugAssist {
    fn read(&mut self, offset: u32, fabric: &mut Fabric) -> u32 {
        if offset == Self::RCD_PC { fabric.saved_pc } else { self.registers.get(offset) }
    }

    fn write(&mut self, offset: u32, value: u32, _fabric: &mut Fabric) {
        self.registers.set(offset, value);
    }

    fn steady_until(&self, _offset: u32, _fabric: &Fabric) -> Option<Tick> {
        Some(Tick::MAX)
    }

    fn reset(&mut self, scope: Scope, fabric: &mut Fabric) {
        // The device loses power at power-on and in deep sleep.
        let lost = scope == Scope::Chip || fabric.reset_reason == ResetReason::DeepSleep;
        if self.registers.get(Self::RCD_EN) & 1 == 0 || lost {
            fabric.saved_pc = 0;
        }
        if scope >= Scope::Core {
            self.registers.reset();
        }
    }
}
