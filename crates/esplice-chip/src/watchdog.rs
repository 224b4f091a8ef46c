//! Watchdogs that run while a ROM loader waits, and what is written to stop them or to use them.
//!
//! The steps are the same on all chips; which registers they meet is data.

use serde::Deserialize;

use crate::{Addr, raw};

/// A chip's watchdogs.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Watchdog {
    /// Whether `rtc` can reset the chip out of its loader.
    pub resets_chip: bool,
    /// The one of the RTC, or of what stands in its place.
    pub rtc: Option<RtcWatchdog>,
    /// The super watchdog.
    #[serde(rename = "super")]
    pub superior: Option<SuperWatchdog>,
}

/// Registers of the RTC's watchdog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RtcWatchdog {
    /// WDTCONFIG0: on and off, and what each stage does.
    #[serde(deserialize_with = "raw::addr")]
    pub config0: Addr,
    /// WDTCONFIG1: ticks of the first stage.
    #[serde(deserialize_with = "raw::addr")]
    pub config1: Addr,
    /// WDTWPROTECT.
    #[serde(deserialize_with = "raw::addr")]
    pub protect: Addr,
    /// What opens it.
    pub key: u32,
}

/// Registers of the super watchdog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SuperWatchdog {
    /// SWD_CONF.
    #[serde(deserialize_with = "raw::addr")]
    pub config: Addr,
    /// Bit of it that makes the watchdog feed itself.
    pub auto_feed: u32,
    /// SWD_WPROTECT.
    #[serde(deserialize_with = "raw::addr")]
    pub protect: Addr,
    /// What opens it.
    pub key: u32,
}

/// A write to a register: of all its bits, or of those in `mask`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterWrite {
    /// The register.
    #[serde(deserialize_with = "raw::addr")]
    pub addr: Addr,
    /// The bits' new values.
    pub value: u32,
    /// The bits that change: all, where nothing is said.
    #[serde(default = "all_bits")]
    pub mask: u32,
}

fn all_bits() -> u32 {
    u32::MAX
}

/// WDTCONFIG0: enabled (bit 31), the first stage resets the system and the RTC (5 in bits 28 to
/// 30), the chip's reset enabled (bit 8), with its length below (espflash 4.7.0,
/// src/target/mod.rs, rtc_wdt_reset).
const RESET_SYSTEM: u32 = 1 << 31 | 5 << 28 | 1 << 8 | 1 << 2;

/// Ticks of the RTC's slow clock until that happens: some 15 ms (same function).
const RESET_TICKS: u32 = 2000;

impl Watchdog {
    /// What stops the watchdogs, in order: a loader that waits for its user must not be reset.
    pub fn stop(&self) -> Vec<RegisterWrite> {
        let mut writes = Vec::new();
        if let Some(rtc) = &self.rtc {
            writes.extend(opened(rtc.protect, rtc.key, &[whole(rtc.config0, 0)]));
        }
        if let Some(superior) = &self.superior {
            let bit = superior.auto_feed;
            let feed = RegisterWrite { addr: superior.config, value: bit, mask: bit };
            writes.extend(opened(superior.protect, superior.key, &[feed]));
        }
        writes
    }

    /// What makes the RTC's watchdog reset the chip in a moment, in order; `None` where it can't.
    pub fn reset(&self) -> Option<Vec<RegisterWrite>> {
        let rtc = self.rtc.as_ref().filter(|_| self.resets_chip)?;
        let steps = [whole(rtc.config1, RESET_TICKS), whole(rtc.config0, RESET_SYSTEM)];
        Some(opened(rtc.protect, rtc.key, &steps))
    }
}

fn whole(addr: Addr, value: u32) -> RegisterWrite {
    RegisterWrite { addr, value, mask: u32::MAX }
}

/// `steps` with the protection opened before and closed after.
fn opened(protect: Addr, key: u32, steps: &[RegisterWrite]) -> Vec<RegisterWrite> {
    let mut writes = vec![whole(protect, key)];
    writes.extend_from_slice(steps);
    writes.push(whole(protect, 0));
    writes
}
