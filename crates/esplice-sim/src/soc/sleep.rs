//! Light and deep sleep: what refuses it, what ends it, and with which cause (TRM, "Low-power Management"; register and
//! bit names of the RTC controller there, bits as in the crate esp32c3, `rtc_cntl`).
//!
//! Sources that are modelled: the main timer, pins, and a byte for UART 0 (light sleep).

use super::{clock::Tick, device::Fabric};

/// Which sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sleep {
    /// Clocks stop, everything is kept.
    Light,
    /// The digital part is off; only the RTC and its memory are kept.
    Deep,
}

/// Bits of the wake-up sources, in WAKEUP_ENA, SLEEP_REJECT_ENA and both causes (ESP-IDF, `soc/rtc.h`).
pub(super) mod source {
    pub const GPIO: u32 = 1 << 2;
    pub const TIMER: u32 = 1 << 3;
    pub const UART0: u32 = 1 << 6;
}

/// Pins that wake from deep sleep.
const RTC_PINS: u32 = 6;

/// Those of the RTC's pins that have the level GPIO_WAKEUP (0x110) asks for. Pin 0's fields are the highest of each kind.
pub(super) fn rtc_pins_awake(gpio_wakeup: u32, levels: u32) -> u32 {
    (0..RTC_PINS)
        .filter(|pin| {
            let enabled = gpio_wakeup >> (31 - pin) & 1 != 0;
            let high = levels >> pin & 1 != 0;
            // The types are those of GPIO interrupts; only levels wake.
            let kind = gpio_wakeup >> (23 - 3 * pin) & 7;
            enabled && if high { kind == 5 } else { kind == 4 }
        })
        .fold(0, |pins, pin| pins | 1 << pin)
}

/// The sources, of those in `enabled`, that ask for the CPU at present. `alarm` is when the main timer does.
pub(super) fn awake(
    enabled: u32,
    sleep: Sleep,
    alarm: Option<Tick>,
    gpio_wakeup: u32,
    fabric: &Fabric,
) -> u32 {
    let now = fabric.now();
    let pins = rtc_pins_awake(gpio_wakeup, fabric.pins.levels()) != 0
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
