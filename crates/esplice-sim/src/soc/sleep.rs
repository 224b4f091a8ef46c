//! Light and deep sleep: rejection, wake-up and their causes (TRM, "Low-power Management", which
//! defines the register and bit names of the RTC controller; bits as in the crate esp32c3,
//! `rtc_cntl`).
//!
//! Modelled sources are the main timer, pins, and a byte for UART 0 (light sleep).

use super::{clock::Tick, device::Fabric};

/// The kind of sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sleep {
    /// Clocks stop, and all state is kept.
    Light,
    /// The digital part is off. Only the RTC and its memory are kept.
    Deep,
}

/// Bits of the wake-up sources in WAKEUP_ENA, SLEEP_REJECT_ENA and both causes (ESP-IDF,
/// `soc/rtc.h`).
pub(super) mod source {
    pub const GPIO: u32 = 1 << 2;
    pub const TIMER: u32 = 1 << 3;
    pub const UART0: u32 = 1 << 6;
}

/// Number of pins that can wake the chip from deep sleep.
const RTC_PINS: u32 = 6;

/// Returns the RTC pins that have the level selected in GPIO_WAKEUP (0x110). Pin 0 has the highest
/// field of each kind.
pub(super) fn waking_rtc_pins(gpio_wakeup: u32, levels: u32) -> u32 {
    (0..RTC_PINS)
        .filter(|pin| {
            let enabled = gpio_wakeup >> (31 - pin) & 1 != 0;
            let high = levels >> pin & 1 != 0;
            // The types are those of GPIO interrupts, but only levels wake the chip.
            let kind = gpio_wakeup >> (23 - 3 * pin) & 7;
            enabled && if high { kind == 5 } else { kind == 4 }
        })
        .fold(0, |pins, pin| pins | 1 << pin)
}

/// Returns the sources in `enabled` that are currently active. `alarm` is the time of the main
/// timer's alarm.
pub(super) fn active_sources(
    enabled: u32,
    sleep: Sleep,
    alarm: Option<Tick>,
    gpio_wakeup: u32,
    fabric: &Fabric,
) -> u32 {
    let now = fabric.now();
    let pins = waking_rtc_pins(gpio_wakeup, fabric.pins.levels()) != 0
        || sleep == Sleep::Light && fabric.pins.wakes();
    let heard =
        sleep == Sleep::Light && fabric.line.to_board.front().is_some_and(|b| b.done <= now);
    let mut sources = 0;
    if alarm.is_some_and(|at| at <= now) {
        sources |= source::TIMER;
    }
    if pins {
        sources |= source::GPIO;
    }
    if heard {
        sources |= source::UART0;
    }
    sources & enabled
}
