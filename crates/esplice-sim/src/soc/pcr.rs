//! PCR, the power, clock and reset registers of newer chips: clocks of the CPU, the buses, the
//! flash controller, UARTs and timer groups (names and bits as in the crates esp32c6 and esp32h2,
//! `pcr`). Version 1 is the ESP32-C6's, version 2 the ESP32-H2's.

use esplice_chip::Peripheral;

use super::{
    clock::{DeviceClocks, RC_FAST_HZ, Tick},
    device::{Device, Fabric, Registers, Scope},
};

/// Registers and dividers that differ between the versions.
#[derive(Debug, Clone, Copy)]
struct Layout {
    /// Clock configuration of the UARTs, of which the second word selects source and divider.
    uarts: [u32; 2],
    /// Clock configuration of the I2C controllers, of which the second word selects source and
    /// divider.
    i2c: [u32; 2],
    /// Clock configurations of the LED PWM controller and of the remote control peripheral. For the
    /// former, 0 is the crystal on the ESP32-H2 (esp-hal's pull request 5941, measured).
    ledc: u32,
    rmt: u32,
    /// True if the remote control peripheral has no clock from the PLL, and its field one bit.
    rmt_slow: bool,
    mspi_clk: u32,
    /// Clock selection of the timer groups' timers; that of the watchdogs is in the next word.
    timers: [u32; 2],
    sysclk: u32,
    cpu_freq: u32,
    ahb_freq: u32,
    apb_freq: u32,
    /// Frequency of the PLL.
    pll_hz: u64,
    /// Second PLL, selected by 3, or 0 if there is none.
    flash_pll_hz: u64,
    /// Clock of UARTs and timers that is derived from the PLL.
    pll_device_hz: u64,
    /// True if dividers have separate fields for slow and fast clock sources, and fast ones are
    /// divided by `sysclk` first.
    split_dividers: bool,
    /// The register that makes the clocks of CPU and buses take effect, if they wait for that.
    update: Option<u32>,
}

/// Source: registers of the crate esp32c6, `pcr`; clocks of ESP-IDF, soc/esp32c6/clk_tree_defs.h.
const V1: Layout = Layout {
    uarts: [0x00, 0x0c],
    i2c: [0x20, 0x20],
    ledc: 0x38,
    rmt: 0x30,
    rmt_slow: false,
    mspi_clk: 0x1c,
    timers: [0x40, 0x4c],
    sysclk: 0x110,
    cpu_freq: 0x118,
    ahb_freq: 0x11c,
    apb_freq: 0x120,
    pll_hz: 480_000_000,
    flash_pll_hz: 0,
    pll_device_hz: 80_000_000,
    split_dividers: true,
    update: None,
};

/// Source: registers of the crate esp32h2, `pcr`; clocks of ESP-IDF, soc/esp32h2/clk_tree_defs.h.
const V2: Layout = Layout {
    uarts: [0x00, 0x0c],
    i2c: [0x20, 0x28],
    ledc: 0x40,
    rmt: 0x38,
    rmt_slow: true,
    mspi_clk: 0x1c,
    timers: [0x48, 0x54],
    sysclk: 0x10c,
    cpu_freq: 0x114,
    ahb_freq: 0x118,
    apb_freq: 0x11c,
    pll_hz: 96_000_000,
    flash_pll_hz: 64_000_000,
    pll_device_hz: 48_000_000,
    split_dividers: false,
    update: Some(0x148),
};

/// SOC_CLK_SEL values in SYSCLK_CONF.
mod source {
    pub const PLL: u32 = 1;
    pub const RC_FAST: u32 = 2;
    pub const FLASH_PLL: u32 = 3;
}

/// SYSCLK_CONF: position of CLK_XTAL_FREQ in MHz, which the hardware fills in.
const XTAL_FREQ_AT: u32 = 24;

/// The PCR.
#[derive(Clone)]
pub(crate) struct Pcr {
    registers: Registers,
    layout: Layout,
}

impl Pcr {
    /// Creates version 1.
    pub fn v1(device: &Peripheral) -> Self {
        Self { registers: Registers::of(device), layout: V1 }
    }

    /// Creates version 2.
    pub fn v2(device: &Peripheral) -> Self {
        Self { registers: Registers::of(device), layout: V2 }
    }

    /// Returns a divider in bits 7:0, or 15:8 for fast sources of the version that has both.
    fn divider(&self, offset: u32, fast: bool) -> u64 {
        let shift = if fast && self.layout.split_dividers { 8 } else { 0 };
        u64::from(self.registers.get(offset) >> shift & 0xff) + 1
    }

    /// Sets the clocks that the registers select.
    fn set_speeds(&self, fabric: &mut Fabric) {
        let layout = &self.layout;
        let xtal = fabric.clock.xtal_hz();
        let selected = self.registers.get(layout.sysclk) >> 16 & 3;
        let fast = selected == source::PLL;
        let hz = match selected {
            source::PLL => layout.pll_hz,
            source::RC_FAST => RC_FAST_HZ,
            source::FLASH_PLL if layout.flash_pll_hz != 0 => layout.flash_pll_hz,
            _ => xtal,
        };
        let root = if layout.split_dividers { hz / self.divider(layout.sysclk, fast) } else { hz };
        let cpu = root / self.divider(layout.cpu_freq, fast);
        let ahb = root / self.divider(layout.ahb_freq, fast);
        let apb_divider = u64::from(self.registers.get(layout.apb_freq) >> 8 & 0xff) + 1;
        let apb = ahb / apb_divider;
        let device_hz = |bits: u32| match bits >> 20 & 3 {
            1 => layout.pll_device_hz,
            2 => RC_FAST_HZ,
            _ => xtal,
        };
        let timer_hz = |bits: u32| match bits >> 20 & 3 {
            0 => xtal,
            1 => layout.pll_device_hz,
            _ => RC_FAST_HZ,
        };
        let mspi = match (layout.split_dividers, fast) {
            (true, true) => layout.pll_hz / self.divider(layout.mspi_clk, true),
            (true, false) => hz / self.divider(layout.mspi_clk, false),
            (false, _) => hz / self.divider(layout.mspi_clk, false),
        };
        let devices = DeviceClocks {
            serial: layout.uarts.map(|at| {
                let conf = self.registers.get(at + 4);
                device_hz(conf) / (u64::from(conf >> 12 & 0xff) + 1)
            }),
            i2c: layout.i2c.map(|at| {
                let conf = self.registers.get(at + 4);
                let source = if conf >> 20 & 1 == 0 { xtal } else { RC_FAST_HZ };
                source / (u64::from(conf >> 12 & 0xff) + 1)
            }),
            ledc: device_hz(self.registers.get(layout.ledc)),
            rmt: {
                let conf = self.registers.get(layout.rmt);
                let source = match (layout.rmt_slow, conf >> 20 & 1) {
                    (false, _) => device_hz(conf),
                    (true, 0) => xtal,
                    (true, _) => RC_FAST_HZ,
                };
                source / (u64::from(conf >> 12 & 0xff) + 1)
            },
            timers: layout.timers.map(|at| timer_hz(self.registers.get(at))),
            watchdogs: layout.timers.map(|at| timer_hz(self.registers.get(at + 4))),
            flash: mspi,
        };
        let clock = &mut fabric.clock;
        if (cpu, apb) != (clock.cpu_hz(), clock.apb_hz()) || clock.devices != Some(devices) {
            clock.set_speeds(cpu, apb);
            clock.devices = Some(devices);
            fabric.clock_changed = true;
        }
    }
}

impl Device for Pcr {
    fn read(&mut self, offset: u32, fabric: &mut Fabric) -> u32 {
        let value = self.registers.get(offset);
        if offset == self.layout.sysclk {
            let xtal = (fabric.clock.xtal_hz() / 1_000_000) as u32 & 0x7f;
            return value & !(0x7f << XTAL_FREQ_AT) | xtal << XTAL_FREQ_AT;
        }
        value
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        let layout = &self.layout;
        let update = layout.update == Some(offset);
        // BUS_CLOCK_UPDATE clears itself.
        self.registers.set(offset, if update { value & !1 } else { value });
        let bus = [layout.sysclk, layout.cpu_freq, layout.ahb_freq, layout.apb_freq];
        if layout.update.is_none() || !bus.contains(&offset) {
            self.set_speeds(fabric);
        }
    }

    fn steady_until(&self, _offset: u32, _fabric: &Fabric) -> Option<Tick> {
        Some(Tick::MAX)
    }

    fn reset(&mut self, scope: Scope, fabric: &mut Fabric) {
        if scope >= Scope::Core {
            self.registers.reset();
            self.set_speeds(fabric);
        }
    }
}
