//! LP_WDT: the watchdog of the LP system and the super watchdog (names and bits as in the crates
//! esp32c6 and esp32h2, `lp_wdt`). Version 2 has one more register, CONFIG5, before FEED.

use esplice_chip::Peripheral;

use super::{
    clock::Tick,
    device::{Device, Fabric, Registers, Scope},
    rtc_watchdog::{Layout, RtcWatchdogs},
    watchdog::WDT_KEY,
};

const V1: Layout = Layout {
    config0: 0x00,
    feed: 0x14,
    protect: 0x18,
    swd_conf: 0x1c,
    swd_protect: 0x20,
    swd_key: WDT_KEY,
    auto_feed: 1 << 18,
    disable: 1 << 30,
    swd_feed: 1 << 31,
    clear_flag: 1 << 19,
};
const V2: Layout = Layout { feed: 0x18, protect: 0x1c, swd_conf: 0x20, swd_protect: 0x24, ..V1 };

const INT_WDT: u32 = 1 << 31;

/// The watchdogs.
#[derive(Clone)]
pub(crate) struct LpWatchdogs {
    registers: Registers,
    watchdogs: RtcWatchdogs,
    /// The register INT_RAW, which INT_ST, INT_ENA and INT_CLR follow.
    int_raw: u32,
    raw: u32,
}

impl LpWatchdogs {
    /// Creates version 1.
    pub fn v1(device: &Peripheral) -> Self {
        Self::with(device, V1)
    }

    /// Creates version 2.
    pub fn v2(device: &Peripheral) -> Self {
        Self::with(device, V2)
    }

    fn with(device: &Peripheral, layout: Layout) -> Self {
        Self {
            registers: Registers::of(device),
            watchdogs: RtcWatchdogs::new(layout),
            int_raw: layout.swd_protect + 4,
            raw: 0,
        }
    }
}

impl Device for LpWatchdogs {
    fn read(&mut self, offset: u32, _fabric: &mut Fabric) -> u32 {
        match offset.wrapping_sub(self.int_raw) {
            0 => self.raw,
            4 => self.raw & self.registers.get(self.int_raw + 8),
            _ => {
                let watchdog = self.watchdogs.read(offset, &self.registers);
                watchdog.unwrap_or_else(|| self.registers.get(offset))
            }
        }
    }

    fn write(&mut self, offset: u32, value: u32, fabric: &mut Fabric) {
        if self.watchdogs.write(offset, value, &mut self.registers, fabric) {
            return;
        }
        match offset.wrapping_sub(self.int_raw) {
            0 | 4 => {}
            12 => self.raw &= !value,
            _ => self.registers.set(offset, value),
        }
    }

    fn lines(&self) -> u32 {
        u32::from(self.raw & self.registers.get(self.int_raw + 8) != 0)
    }

    fn next_event(&self, fabric: &Fabric) -> Option<Tick> {
        self.watchdogs.deadline(fabric.sleep.is_some(), &self.registers, fabric)
    }

    fn event(&mut self, fabric: &mut Fabric) {
        if self.watchdogs.expire(fabric.sleep.is_some(), &self.registers, fabric) {
            self.raw |= INT_WDT;
        }
    }

    fn keeps_awake(&self) -> bool {
        true
    }

    fn skip_time(&mut self, time: Tick, _fabric: &mut Fabric) {
        self.watchdogs.woken(time);
        self.watchdogs.skip_time(time, &self.registers);
    }

    fn steady_until(&self, _offset: u32, _fabric: &Fabric) -> Option<Tick> {
        Some(Tick::MAX)
    }

    fn reset(&mut self, scope: Scope, fabric: &mut Fabric) {
        if scope >= Scope::System {
            self.registers.reset();
            self.raw = 0;
        }
        self.watchdogs.reset(scope, &mut self.registers, fabric);
    }
}
