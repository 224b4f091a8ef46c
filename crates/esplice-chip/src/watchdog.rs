//! Watchdogs that run while a ROM loader waits, and the register writes that stop or use them.
//!
//! The steps are the same on all chips; the registers are data.

use serde::Deserialize;

use crate::{Addr, raw};

/// A chip's watchdogs.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Watchdog {
    /// True if `rtc` can reset the chip while its loader runs.
    pub resets_chip: bool,
    /// The RTC watchdog, or the one that replaces it.
    pub rtc: Option<RtcWatchdog>,
    /// The super watchdog.
    #[serde(rename = "super")]
    pub superior: Option<SuperWatchdog>,
}

/// Registers of the RTC's watchdog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RtcWatchdog {
    /// WDTCONFIG0: enable bits and the action of each stage.
    #[serde(deserialize_with = "raw::addr")]
    pub config0: Addr,
    /// WDTCONFIG1: ticks of the first stage.
    #[serde(deserialize_with = "raw::addr")]
    pub config1: Addr,
    /// WDTWPROTECT.
    #[serde(deserialize_with = "raw::addr")]
    pub protect: Addr,
    /// The value that unlocks the write protection.
    pub key: u32,
}

/// Registers of the super watchdog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SuperWatchdog {
    /// SWD_CONF.
    #[serde(deserialize_with = "raw::addr")]
    pub config: Addr,
    /// The bit that makes the watchdog feed itself.
    pub auto_feed: u32,
    /// SWD_WPROTECT.
    #[serde(deserialize_with = "raw::addr")]
    pub protect: Addr,
    /// The value that unlocks the write protection.
    pub key: u32,
}

/// A write to a register, to all of its bits or only to those in `mask`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterWrite {
    /// The register.
    #[serde(deserialize_with = "raw::addr")]
    pub addr: Addr,
    /// The bits' new values.
    pub value: u32,
    /// The bits to change; all by default.
    #[serde(default = "all_bits")]
    pub mask: u32,
}

fn all_bits() -> u32 {
    u32::MAX
}

/// WDTCONFIG0: enabled (bit 31), first stage resets system and RTC (5 in bits 28 to 30), chip reset
/// enabled (bit 8) with its length in the bits below (espflash 4.7.0, src/target/mod.rs,
/// rtc_wdt_reset).
const RESET_SYSTEM: u32 = 1 << 31 | 5 << 28 | 1 << 8 | 1 << 2;

/// Ticks of the RTC's slow clock before the reset: about 15 ms (same function).
const RESET_TICKS: u32 = 2000;

impl Watchdog {
    /// Returns the writes that stop the watchdogs, in order. Otherwise they would reset a waiting
    /// loader.
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

    /// Returns the writes that make the RTC watchdog reset the chip soon, in order; `None` if it
    /// can't.
    pub fn reset(&self) -> Option<Vec<RegisterWrite>> {
        self.reset_writes().filter(|_| self.resets_chip)
    }

    /// Returns the writes of [`Watchdog::reset`] for a program on the chip, which can use the
    /// watchdog even where the ROM loader's commands can't.
    pub fn reset_writes(&self) -> Option<Vec<RegisterWrite>> {
        let rtc = self.rtc.as_ref()?;
        let steps = [whole(rtc.config1, RESET_TICKS), whole(rtc.config0, RESET_SYSTEM)];
        Some(opened(rtc.protect, rtc.key, &steps))
    }
}

fn whole(addr: Addr, value: u32) -> RegisterWrite {
    RegisterWrite { addr, value, mask: u32::MAX }
}

/// Returns `steps` enclosed in writes that unlock and lock the protection.
fn opened(protect: Addr, key: u32, steps: &[RegisterWrite]) -> Vec<RegisterWrite> {
    let mut writes = vec![whole(protect, key)];
    writes.extend_from_slice(steps);
    writes.push(whole(protect, 0));
    writes
}
