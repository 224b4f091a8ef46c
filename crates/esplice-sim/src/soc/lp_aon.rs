//! The always-on registers of chips with an LP system: LP_AON with the registers that survive a
//! reset and the software resets, and LP_CLKRST with the reason of the last reset (names and bits
//! as in the crate esp32c6, `lp_aon` and `lp_clkrst`).

use esplice_chip::Peripheral;

use super::{
    clock::Tick,
    device::{Device, Fabric, Registers, ResetReason, Scope},
};

/// STORE0 to STORE9.
const STORES: std::ops::Range<u32> = 0x00..0x28;
const SYS_CFG: u32 = 0x34;
const CPUCORE0_CFG: u32 = 0x38;
const HPSYS_SW_RESET: u32 = 1 << 31;
const CPU_SW_RESET: u32 = 1 << 28;

/// LP_AON.
#[derive(Clone)]
pub(crate) struct LpAon {
    registers: Registers,
}

impl LpAon {
    pub fn new(device: &Peripheral) -> Self {
        Self { registers: Registers::of(device) }
    }
}

impl Device for LpAon {
    fn read(&mut self, offset: u32, _fabric: &mut Fabric) -> u32 {
        self.registers.get(offset)
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        let (trigger, reason) = match offset {
            SYS_CFG => (HPSYS_SW_RESET, ResetReason::SoftwareSystem),
            CPUCORE0_CFG => (CPU_SW_RESET, ResetReason::SoftwareCpu),
            _ => (0, ResetReason::PowerOn),
        };
        if value & trigger != 0 {
            fabric.request_reset(reason);
        }
        self.registers.set(offset, value & !trigger);
    }

    fn steady_until(&self, _offset: u32, _fabric: &Fabric) -> Option<Tick> {
        Some(Tick::MAX)
    }

    fn reset(&mut self, scope: Scope, _fabric: &mut Fabric) {
        if scope < Scope::System {
            return;
        }
        let stored: Vec<u32> = STORES.step_by(4).map(|at| self.registers.get(at)).collect();
        self.registers.reset();
        if scope < Scope::Chip {
            for (at, value) in STORES.step_by(4).zip(stored) {
                self.registers.set(at, value);
            }
        }
    }
}

const RESET_CAUSE: u32 = 0x10;
const CAUSE: u32 = 0x1f;

/// LP_CLKRST.
#[derive(Clone)]
pub(crate) struct LpClockReset {
    registers: Registers,
}

impl LpClockReset {
    pub fn new(device: &Peripheral) -> Self {
        Self { registers: Registers::of(device) }
    }
}

impl Device for LpClockReset {
    fn read(&mut self, offset: u32, fabric: &mut Fabric) -> u32 {
        let value = self.registers.get(offset);
        match offset {
            RESET_CAUSE => value & !CAUSE | fabric.reset_reason as u32,
            _ => value,
        }
    }

    fn write(&mut self, offset: u32, value: u32, _fabric: &mut Fabric) {
        self.registers.set(offset, value);
    }

    fn steady_until(&self, _offset: u32, _fabric: &Fabric) -> Option<Tick> {
        Some(Tick::MAX)
    }

    fn reset(&mut self, scope: Scope, _fabric: &mut Fabric) {
        if scope >= Scope::System {
            self.registers.reset();
        }
    }
}
