//! Reset strategies that enter download mode, by the names used in chip data and by users.
//!
//! On the usual boards two transistors connect DTR and RTS to the chip (Espressif's "Boot Mode
//! Selection" page, Automatic Bootloader). RTS without DTR holds EN low, DTR without RTS holds the
//! boot strapping pin low, and both or neither hold nothing.

use std::{borrow::Cow, time::Duration};

use esplice_chip::{Chip, ChipDb, nearest};
use esplice_protocol::{Port, PortError};

use crate::{FlashError, session::MOST_DISCARDS};

/// Time for which EN is held low, unless a strategy needs more. On the usual boards EN has 10 kΩ
/// and 1 µF (Espressif's hardware design guidelines, Chip Power-up and Reset), which the transistor
/// discharges in far less than a millisecond. The slowest part is a USB bridge that handles the two
/// line changes in frames of 1 ms, or 16 ms at an FTDI's default latency timer.
pub const EN_LOW: Duration = Duration::from_millis(20);

/// Time for which the strategies that boards have long been designed for hold EN low.
const CLASSIC_EN_LOW: Duration = Duration::from_millis(100);

/// Time for which the classic strategy keeps the boot pin low after it releases EN. EN rises within
/// 10 ms, and the ROM then reads the strapping pins.
const CLASSIC_BOOT_LOW: Duration = Duration::from_millis(50);

/// The same for boards with a larger capacitor at EN.
const SLOW_BOOT_LOW: Duration = Duration::from_millis(550);

/// Time for which each state is held for the USB-Serial-JTAG, which samples the lines once per USB
/// transfer (espflash, connection/reset.rs, uses the same).
const USB_STEP: Duration = Duration::from_millis(100);

/// A way to enter download mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strategy {
    /// Name in chip data, or `custom` for custom steps.
    pub name: &'static str,
    steps: Cow<'static, [Step]>,
}

/// Name of a custom strategy; a colon and the steps follow it.
pub const CUSTOM: &str = "custom";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Lines {
        dtr: bool,
        rts: bool,
    },
    Dtr(bool),
    Rts(bool),
    Wait(Duration),
    /// Makes the running loader, ROM or stub, start the chip's watchdog, which resets it. Always
    /// the last step.
    Watchdog,
}

/// Maximum number of custom steps.
const MOST_STEPS: usize = 100;

/// Maximum length of a wait in custom steps.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

const fn lines(dtr: bool, rts: bool) -> Step {
    Step::Lines { dtr, rts }
}

const fn strategy(name: &'static str, steps: &'static [Step]) -> Strategy {
    Strategy { name, steps: Cow::Borrowed(steps) }
}

/// All strategies. `tight` ends with the boot pin still held: the flasher releases it as soon as
/// the loader has answered, instead of sleeping for a fixed time.
static STRATEGIES: &[Strategy] = &[
    strategy(
        "tight",
        &[
            // Via both asserted, so that no adapter pulls both EN and the boot pin low on the way.
            lines(false, false),
            lines(true, true),
            lines(false, true),
            Step::Wait(EN_LOW),
            lines(true, false),
        ],
    ),
    strategy(
        "classic",
        &[
            lines(false, true),
            Step::Wait(CLASSIC_EN_LOW),
            lines(true, false),
            Step::Wait(CLASSIC_BOOT_LOW),
            lines(false, false),
        ],
    ),
    strategy(
        "classic-slow",
        &[
            lines(false, true),
            Step::Wait(CLASSIC_EN_LOW),
            lines(true, false),
            Step::Wait(SLOW_BOOT_LOW),
            lines(false, false),
        ],
    ),
    strategy(
        // ESP32-C3 TRM, USB Serial/JTAG Controller: DTR arms download mode, RTS resets. The
        // order is that of espflash 4.7.0, connection/reset.rs.
        "usb-serial-jtag",
        &[
            lines(false, false),
            Step::Wait(USB_STEP),
            lines(true, false),
            Step::Wait(USB_STEP),
            lines(true, true),
            lines(false, true),
            Step::Wait(USB_STEP),
            lines(false, false),
        ],
    ),
    // For boards where no line reaches EN: the chip's own watchdog resets a loader that already
    // answers, such as a stub that was left running. That reset samples the strapping pins
    // (ESP32-C3 TRM, Chip Boot Control), so the boot pin is held low until the ROM loader has
    // answered. If DTR does not reach the pin, the user has to hold it.
    strategy("watchdog", &[lines(true, false), Step::Watchdog]),
    strategy("none", &[]),
];

impl Strategy {
    /// Returns the strategy called `name`.
    ///
    /// # Errors
    /// [`FlashError::UnknownReset`].
    pub fn find(name: &str) -> Result<Strategy, FlashError> {
        STRATEGIES
            .iter()
            .find(|strategy| strategy.name == name)
            .cloned()
            .ok_or_else(|| FlashError::UnknownReset { name: name.into() })
    }

    /// Parses strategies as users write them: names separated by commas, tried in turn, or
    /// `custom:` and steps separated by `|`. The steps are those of esptool's configuration file
    /// (its documentation, Configuration File, `custom_reset_sequence`): `D0`, `D1` for DTR, `R0`,
    /// `R1` for RTS, `U1,0` for both at once, `W0.1` to wait 0.1 seconds.
    ///
    /// # Errors
    /// [`FlashError::UnknownReset`], [`FlashError::ResetSteps`].
    pub fn parse(text: &str) -> Result<Vec<Strategy>, FlashError> {
        match text.split_once(':') {
            Some((CUSTOM, steps)) => Ok(vec![Strategy::custom(steps)?]),
            _ => text.split(',').map(|name| Strategy::find(name.trim())).collect(),
        }
    }

    fn custom(text: &str) -> Result<Strategy, FlashError> {
        let steps: Vec<&str> = text.split('|').map(str::trim).collect();
        let refused = |step: &str, why| FlashError::ResetSteps { step: step.to_owned(), why };
        if steps.len() > MOST_STEPS {
            return Err(refused(text.get(..20).unwrap_or(text), "more than 100 steps"));
        }
        let steps: Vec<Step> = steps
            .into_iter()
            .map(|step| parse_step(step).map_err(|why| refused(step, why)))
            .collect::<Result<_, _>>()?;
        Ok(Strategy { name: CUSTOM, steps: steps.into() })
    }

    /// Returns the names of all strategies.
    pub fn names() -> Vec<&'static str> {
        STRATEGIES.iter().map(|strategy| strategy.name).collect()
    }

    /// Returns the known name that is most similar to `name`.
    pub fn nearest(name: &str) -> Option<String> {
        nearest(name, &Strategy::names())
    }

    /// Returns the strategies for `chip`, or for each of `chips`, best first: those of the chip's
    /// own USB-Serial-JTAG if `usb` (vendor, product) is its ID, otherwise those of a UART bridge.
    ///
    /// # Errors
    /// [`FlashError::UnknownReset`] if chip data names a strategy that does not exist.
    pub fn for_chip(
        chip: Option<&Chip>,
        usb: Option<(u16, u16)>,
        chips: &ChipDb,
    ) -> Result<Vec<Strategy>, FlashError> {
        let chips: Vec<&Chip> = match chip {
            Some(chip) => vec![chip],
            None => chips.chips().map(|chip| &**chip).collect(),
        };
        let mut found: Vec<Strategy> = Vec::new();
        let is_own = |chip: &Chip| {
            let own_usb = chip.reset.usb_serial_jtag_id;
            own_usb.is_some_and(|id| usb == Some((id.vid, id.pid)))
        };
        // A chip's own USB port belongs to that chip only.
        let at_own = chips.iter().any(|chip| is_own(chip));
        for chip in chips.into_iter().filter(|chip| !at_own || is_own(chip)) {
            let names = if at_own { &chip.reset.usb_serial_jtag } else { &chip.reset.uart };
            for name in names {
                let strategy = Strategy::find(name)?;
                if !found.contains(&strategy) {
                    found.push(strategy);
                }
            }
        }
        Ok(found)
    }

    /// Performs the steps up to the point where the ROM loader may answer. Commands to a loader
    /// come after that and are left to the session.
    pub(crate) fn perform<P: Port + ?Sized>(&self, port: &mut P) -> Result<(), PortError> {
        let mut at = (false, false);
        for step in self.steps.iter() {
            let was_held = at.1;
            match *step {
                Step::Lines { dtr, rts } => at = (dtr, rts),
                Step::Dtr(dtr) => at.0 = dtr,
                Step::Rts(rts) => at.1 = rts,
                Step::Wait(time) => {
                    let until = port.now() + time;
                    port.wait_until(until)?;
                    continue;
                }
                Step::Watchdog => continue,
            }
            if was_held && !at.1 {
                discard_arrived(port);
            }
            port.set_lines(at.0, at.1)?;
        }
        Ok(())
    }

    /// Returns whether the strategy does nothing, because the board is already in download mode.
    pub(crate) fn is_none(&self) -> bool {
        self.steps.is_empty()
    }

    /// Returns whether the strategy sends commands to a running loader.
    pub(crate) fn asks_loader(&self) -> bool {
        self.steps.contains(&Step::Watchdog)
    }

    /// Returns whether the boot pin is still held after [`Strategy::perform`].
    pub(crate) fn holds_boot(&self) -> bool {
        let dtr = self.steps.iter().rev().find_map(|step| match step {
            Step::Lines { dtr, .. } | Step::Dtr(dtr) => Some(*dtr),
            _ => None,
        });
        dtr.unwrap_or(false)
    }
}

/// Discards what the board printed before it was held in reset, because only the boot that follows
/// shows its mode. Errors are ignored here: the next step on the port reports them.
fn discard_arrived<P: Port + ?Sized>(port: &mut P) {
    let mut buf = [0; 256];
    let now = port.now();
    for _ in 0..MOST_DISCARDS {
        if port.read(&mut buf, now).unwrap_or(0) == 0 {
            break;
        }
    }
}

fn parse_step(step: &str) -> Result<Step, &'static str> {
    let mut rest = step.chars();
    let kind = rest.next().ok_or("an empty step")?;
    let value = rest.as_str();
    let level = |text: &str| match text {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err("a line is 0 or 1"),
    };
    match kind {
        'D' => level(value).map(Step::Dtr),
        'R' => level(value).map(Step::Rts),
        'U' => {
            let (dtr, rts) = value.split_once(',').ok_or("U has two levels, as in U1,0")?;
            Ok(lines(level(dtr)?, level(rts)?))
        }
        'W' => {
            let time = value.parse().ok().and_then(|secs| Duration::try_from_secs_f64(secs).ok());
            let time = time.filter(|time| *time <= LONGEST_WAIT);
            time.map(Step::Wait).ok_or("a wait is 0 to 60 seconds, as in W0.1")
        }
        _ => Err("a step begins with D, R, U or W"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_read_as_they_are_documented() {
        let strategies = Strategy::parse("custom:D0|R1|W0.1|U1,0|W0.05|D0").unwrap();
        let wait = |millis| Step::Wait(Duration::from_millis(millis));
        let steps = [
            Step::Dtr(false),
            Step::Rts(true),
            wait(100),
            lines(true, false),
            wait(50),
            Step::Dtr(false),
        ];
        assert_eq!(strategies, [Strategy { name: "custom", steps: steps.to_vec().into() }]);
        assert!(!strategies[0].holds_boot());
        let names = |text| {
            let found = Strategy::parse(text).unwrap();
            found.iter().map(|strategy| strategy.name).collect::<Vec<_>>()
        };
        assert_eq!(names("tight, classic"), ["tight", "classic"]);
        assert_eq!(names("watchdog"), ["watchdog"]);
    }

    #[test]
    fn a_port_of_a_chips_own_has_that_chips_ways_alone() {
        let names = |usb| {
            let found = Strategy::for_chip(None, usb, ChipDb::embedded()).unwrap();
            found.iter().map(|strategy| strategy.name).collect::<Vec<_>>()
        };
        assert_eq!(names(Some((0x303a, 0x1001))), ["usb-serial-jtag"]);
        assert!(names(Some((0x10c4, 0xea60))).contains(&"tight"));
        assert_eq!(names(None), names(Some((0x10c4, 0xea60))));
    }

    #[test]
    fn what_is_no_strategy_is_refused() {
        let check = |text: &str, message: &str| {
            let error = Strategy::parse(text).unwrap_err();
            assert_eq!(error.to_string(), message);
            assert!(error.hint().is_some(), "{text}");
        };
        check("tigth", "unknown reset strategy \"tigth\"");
        check("", "unknown reset strategy \"\"");
        check("tight,", "unknown reset strategy \"\"");
        check("custom:", "reset step \"\": an empty step");
        check("custom:D0|X", "reset step \"X\": a step begins with D, R, U or W");
        check("custom:D2", "reset step \"D2\": a line is 0 or 1");
        check("custom:U1", "reset step \"U1\": U has two levels, as in U1,0");
        for wait in ["W", "W-1", "W61", "WNaN", "W1e99"] {
            let message = format!("reset step \"{wait}\": a wait is 0 to 60 seconds, as in W0.1");
            check(&format!("custom:{wait}"), &message);
        }
        check("custom:é", "reset step \"é\": a step begins with D, R, U or W");
    }
}
