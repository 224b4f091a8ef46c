//! System registers: clock selection and software interrupts (TRM 6 and 15; names there).
//! Values after a reset: the vendor's SVD, through the crate esp32c3.

use super::{
    clock::{RC_FAST_HZ, Tick},
    device::{Device, Fabric, Registers, Scope},
};

const CPU_PER_CONF: u32 = 0x08;
const FROM_CPU_0: u32 = 0x28;
const SYSCLK_CONF: u32 = 0x58;

/// Software interrupts.
const FROM_CPU: u32 = 4;

const RESET: &[(u32, u32)] = &[
    (0x04, 0xc0),
    (CPU_PER_CONF, 0x0c),
    (0x0c, 0x01),
    (0x10, 0xf9c1_e06f),
    (0x14, 0x0200),
    (0x1c, 0x01fe),
    (0x20, 0xff),
    (0x24, 0x0200_1001),
    (0x38, 0x01),
    (0x3c, 0x01),
    (0x40, 0x05),
    (0x48, 0x7ff0_0000),
    (0x54, 0x01),
    (SYSCLK_CONF, 0x01),
    (0x5c, 0x03),
    (0x60, 0x03),
];

/// The system registers.
#[derive(Clone)]
pub(crate) struct System {
    registers: Registers,
}

impl System {
    pub fn new(len: u32) -> Self {
        Self { registers: Registers::new(len) }
    }

    /// Clocks of CPU and bus that the registers choose (TRM 6.2.4, tables 6-2 to 6-4).
    fn set_speeds(&self, fabric: &mut Fabric) {
        let clock = self.registers.get(SYSCLK_CONF);
        let divider = u64::from(clock & 0x3ff) + 1;
        let (cpu, apb) = match clock >> 10 & 3 {
            1 => match self.registers.get(CPU_PER_CONF) & 3 {
                0 => (80_000_000, 80_000_000),
                _ => (160_000_000, 80_000_000),
            },
            2 => (RC_FAST_HZ / divider, RC_FAST_HZ / divider),
            _ => (fabric.clock.xtal_hz() / divider, fabric.clock.xtal_hz() / divider),
        };
        if (cpu, apb) != (fabric.clock.cpu_hz(), fabric.clock.apb_hz()) {
            fabric.clock.set_speeds(cpu, apb);
            fabric.clock_changed = true;
        }
    }
}

impl Device for System {
    fn read(&mut self, offset: u32, fabric: &mut Fabric) -> u32 {
        let value = self.registers.get(offset);
        match offset {
            // CLK_XTAL_FREQ, which the hardware fills in.
            SYSCLK_CONF => {
                value & !(0x7f << 12) | ((fabric.clock.xtal_hz() / 1_000_000) as u32 & 0x7f) << 12
            }
            _ => value,
        }
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        self.registers.set(offset, value);
        if matches!(offset, SYSCLK_CONF | CPU_PER_CONF) {
            self.set_speeds(fabric);
        }
    }

    fn lines(&self) -> u32 {
        (0..FROM_CPU)
            .map(|index| (self.registers.get(FROM_CPU_0 + 4 * index) & 1) << index)
            .fold(0, |lines, line| lines | line)
    }

    fn steady_until(&self, _offset: u32, _fabric: &Fabric) -> Option<Tick> {
        Some(Tick::MAX)
    }

    fn reset(&mut self, scope: Scope, fabric: &mut Fabric) {
        if scope >= Scope::Core {
            self.registers.reset(RESET);
            self.set_speeds(fabric);
        }
    }
}
