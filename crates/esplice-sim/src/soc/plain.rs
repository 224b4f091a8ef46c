//! Devices for which little more than registers that store values is needed. Reset values are from
//! the vendor's SVD, through the crate esp32c3.

use std::collections::BTreeMap;

use super::clock::Tick;
use super::device::{Device, Fabric, Registers, ResetReason, Scope};

/// Registers that only store values.
#[derive(Clone)]
pub(crate) struct Storage {
    registers: Registers,
    reset: &'static [(u32, u32)],
}

impl Storage {
    pub fn new(len: u32, reset: &'static [(u32, u32)]) -> Self {
        Self { registers: Registers::new(len), reset }
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
            self.registers.reset(self.reset);
        }
    }
}

/// The I2C masters of the analog parts. Values written can be read back, and everything that
/// software waits for is always ready.
#[derive(Clone)]
pub(crate) struct AnalogI2c {
    registers: Registers,
    /// Registers of the analog parts by block and register. Unwritten ones hold 0.
    parts: BTreeMap<u16, u8>,
}

impl AnalogI2c {
    /// Registers of the two masters: block in bits 7:0, its register in bits 15:8, the byte in bits
    /// 23:16; then WRITE, and BUSY in bit 25 (ROM: `rom_chip_i2c_readReg_org`,
    /// `rom_chip_i2c_writeReg`).
    const MASTERS: [u32; 2] = [0x00, 0x04];
    const WRITE: u32 = 1 << 24;
    const BUSY: u32 = 1 << 25;
    const CONF0: u32 = 0x40;
    /// BBPLL calibration is done (ESP-IDF, soc/i2c_ana_mst_reg.h).
    const BBPLL_CAL_DONE: u32 = 1 << 24;

    pub fn new(len: u32) -> Self {
        Self { registers: Registers::new(len), parts: BTreeMap::new() }
    }
}

impl Device for AnalogI2c {
    fn read(&mut self, offset: u32, _fabric: &mut Fabric) -> u32 {
        let value = self.registers.get(offset);
        if offset == Self::CONF0 { value | Self::BBPLL_CAL_DONE } else { value }
    }

    fn write(&mut self, offset: u32, value: u32, _fabric: &mut Fabric) {
        let mut value = value;
        if Self::MASTERS.contains(&offset) {
            let part = value as u16;
            if value & Self::WRITE != 0 {
                self.parts.insert(part, (value >> 16) as u8);
            } else {
                let held = self.parts.get(&part).copied().unwrap_or(0);
                value = value & !(0xff << 16) | u32::from(held) << 16;
            }
            value &= !Self::BUSY;
        }
        self.registers.set(offset, value);
    }

    fn steady_until(&self, _offset: u32, _fabric: &Fabric) -> Option<Tick> {
        Some(Tick::MAX)
    }

    fn reset(&mut self, scope: Scope, _fabric: &mut Fabric) {
        if scope >= Scope::Core {
            self.registers.reset(&[]);
            self.parts.clear();
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
    const RESET: &'static [(u32, u32)] = &[
        (0x00, 0x01),
        (0x04, 0x0001_0727),
        (0x08, 0x07ff),
        (0x14, 0xfffc_e030),
        (0x28, 0x03),
        (0x48, 0x0400),
        (0x9c, 0x15),
        (0xa4, 0x3f),
        (0xac, 0x3f),
        (0xb4, 0x6480),
    ];

    pub fn new(len: u32) -> Self {
        Self { registers: Registers::new(len) }
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
            self.registers.reset(Self::RESET);
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

    pub fn new(len: u32) -> Self {
        Self { registers: Registers::new(len) }
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
            self.registers.reset(&[(0x70, 0x80)]);
        }
    }
}
