//! The board's clock and its relation to CPU cycles.

use std::time::Duration;

/// A time since power-on in units of 1/960 µs.
///
/// 960 MHz is a whole multiple of every clock that these chips derive from a 32 or 40 MHz crystal
/// or a 480 MHz PLL (80, 96, 160 and 240 MHz, 16 MHz, half the crystal), so that nothing is
/// rounded.
pub type Tick = u64;

/// Number of ticks per second.
pub const TICK_HZ: u64 = 960_000_000;

/// Frequency of RC_FAST_CLK, the chip's internal fast clock, in Hz (TRM 6.2.2).
pub const RC_FAST_HZ: u64 = 17_500_000;

/// Converts a duration to ticks, rounded up and saturating.
pub fn ticks(time: Duration) -> Tick {
    u64::try_from((time.as_nanos() * 24).div_ceil(25)).unwrap_or(Tick::MAX)
}

/// Converts ticks to a duration.
pub fn duration(ticks: Tick) -> Duration {
    let nanos = u128::from(ticks) * 25 / 24;
    Duration::new((nanos / 1_000_000_000) as u64, (nanos % 1_000_000_000) as u32)
}

/// Returns the length in ticks of `count` periods of a clock of `hz`.
pub fn periods(count: u64, hz: u64) -> Tick {
    u64::try_from(u128::from(count) * u128::from(TICK_HZ) / u128::from(hz.max(1)))
        .unwrap_or(Tick::MAX)
}

/// Returns how many periods of a clock of `hz` fit into `ticks`.
pub fn count_in(ticks: Tick, hz: u64) -> u64 {
    (u128::from(ticks) * u128::from(hz) / u128::from(TICK_HZ)) as u64
}

/// Clocks of devices that have a selection of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceClocks {
    /// Clocks of the UARTs, before their own dividers.
    pub serial: [u64; 2],
    /// Clocks of the timer groups' timers.
    pub timers: [u64; 2],
    /// Clocks of the timer groups' watchdogs.
    pub watchdogs: [u64; 2],
    /// Clocks of the I2C controllers.
    pub i2c: [u64; 2],
    /// Clock of the LED PWM controller.
    pub ledc: u64,
    /// Clock of the remote control peripheral.
    pub rmt: u64,
    /// Clock of the controllers of the flash chip.
    pub flash: u64,
}

/// The clocks of the chip.
#[derive(Debug, Clone)]
pub struct Clock {
    /// Clocks of devices, on chips where a device selects them.
    pub devices: Option<DeviceClocks>,
    /// The CPU's cycle counter; during a run, its value at the current access.
    pub cycle: u64,
    base_cycle: u64,
    base_tick: Tick,
    ticks_per_cycle: u64,
    apb_hz: u64,
    xtal_hz: u64,
}

impl Clock {
    /// Creates the clocks at power-on, with a crystal of `xtal_mhz` and the CPU at `cpu_mhz`.
    pub fn new(xtal_mhz: u32, cpu_mhz: u32) -> Self {
        let cpu_hz = u64::from(cpu_mhz.max(1)) * 1_000_000;
        Self {
            devices: None,
            cycle: 0,
            base_cycle: 0,
            base_tick: 0,
            ticks_per_cycle: TICK_HZ / cpu_hz,
            apb_hz: cpu_hz,
            xtal_hz: u64::from(xtal_mhz) * 1_000_000,
        }
    }

    /// Returns the current time.
    #[inline]
    pub fn now(&self) -> Tick {
        self.tick_at(self.cycle)
    }

    /// Returns the first cycle that starts at `tick` or later.
    pub fn cycle_at(&self, tick: Tick) -> u64 {
        let ticks = tick.saturating_sub(self.base_tick);
        self.base_cycle.saturating_add(ticks.div_ceil(self.ticks_per_cycle))
    }

    /// Returns the time at which the CPU's counter reaches `cycle`.
    pub fn tick_at(&self, cycle: u64) -> Tick {
        let cycles = cycle.saturating_sub(self.base_cycle);
        self.base_tick.saturating_add(cycles.saturating_mul(self.ticks_per_cycle))
    }

    /// Sets the clocks of the CPU and the peripheral bus, starting with the current cycle.
    pub fn set_speeds(&mut self, cpu_hz: u64, apb_hz: u64) {
        self.base_tick = self.now();
        self.base_cycle = self.cycle;
        self.ticks_per_cycle = (TICK_HZ / cpu_hz.clamp(1, TICK_HZ)).max(1);
        self.apb_hz = apb_hz;
    }

    /// Returns the frequency of the CPU clock.
    pub fn cpu_hz(&self) -> u64 {
        TICK_HZ / self.ticks_per_cycle
    }

    /// Returns the frequency of the peripheral bus clock.
    pub fn apb_hz(&self) -> u64 {
        self.apb_hz
    }

    /// Returns the frequency of the clock of the flash chip's controllers.
    pub fn flash_hz(&self) -> u64 {
        self.devices.map_or(self.apb_hz, |devices| devices.flash)
    }

    /// Returns the frequency of the crystal.
    pub fn xtal_hz(&self) -> u64 {
        self.xtal_hz
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_and_ticks_agree_over_a_change_of_speed() {
        let mut clock = Clock::new(40, 20);
        clock.cycle = 20_000; // 1 ms
        assert_eq!(duration(clock.now()), Duration::from_millis(1));
        clock.set_speeds(160_000_000, 80_000_000);
        assert_eq!(duration(clock.now()), Duration::from_millis(1));
        let cycle = clock.cycle_at(ticks(Duration::from_millis(2)));
        assert_eq!(cycle, 20_000 + 160_000);
        clock.cycle = cycle;
        assert_eq!(duration(clock.now()), Duration::from_millis(2));
    }

    #[test]
    fn periods_do_not_drift() {
        // 136 kHz does not divide the tick, so the error must stay below one period.
        assert_eq!(periods(136_000, 136_000), TICK_HZ);
        assert_eq!(count_in(TICK_HZ, 136_000), 136_000);
        assert_eq!(periods(u64::MAX, 1), Tick::MAX);
    }
}
