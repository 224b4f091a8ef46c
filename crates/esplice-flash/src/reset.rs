//! Ways into download mode, by the names that chip data and users give them.
//!
//! On the usual boards two transistors join DTR and RTS to the chip (Espressif's "Boot Mode
//! Selection" page, Automatic Bootloader): RTS alone holds EN low, DTR alone holds the boot
//! strapping pin low, both or neither hold nothing.

use std::{borrow::Cow, time::Duration};

use esplice_chip::{Chip, nearest};
use esplice_protocol::{Port, PortError};

use crate::{FlashError, session::MOST_DISCARDS};

/// How long EN is held low where nothing asks for more. EN has 10 kΩ and 1 µF on the usual boards
/// (Espressif's hardware design guidelines, Chip Power-up and Reset), which the transistor empties
/// in far less than a millisecond; what takes longest is a USB bridge that handles the two line
/// changes in frames of 1 ms, or 16 ms at an FTDI's default latency timer.
pub const EN_LOW: Duration = Duration::from_millis(20);

/// How long EN is held low by the strategies that boards have been built against for years.
const CLASSIC_EN_LOW: Duration = Duration::from_millis(100);

/// How long the boot pin stays low after EN was let go, by the classic strategy: EN rises in 10 ms
/// and the ROM reads the strapping pins then.
const CLASSIC_BOOT_LOW: Duration = Duration::from_millis(50);

/// The same for boards with a larger capacitor at EN.
const SLOW_BOOT_LOW: Duration = Duration::from_millis(550);

/// How long each state is shown to the USB-Serial-JTAG, which looks at the lines once per USB
/// transfer (espflash, connection/reset.rs, uses the same).
const USB_STEP: Duration = Duration::from_millis(100);

/// A way into download mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strategy {
    /// Its name in chip data; [`CUSTOM`] for steps of the user's own.
    pub name: &'static str,
    steps: Cow<'static, [Step]>,
}

/// The name of steps of the user's own, before the colon.
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
    /// The loader that answers, ROM or stub, is told to let the chip's watchdog reset it: the last step.
    Watchdog,
}

/// Most steps of a user's own.
const MOST_STEPS: usize = 100;

/// Longest wait between two of them.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

const fn lines(dtr: bool, rts: bool) -> Step {
    Step::Lines { dtr, rts }
}

const fn strategy(name: &'static str, steps: &'static [Step]) -> Strategy {
    Strategy { name, steps: Cow::Borrowed(steps) }
}

/// All strategies. `tight` ends with the boot pin still held: the flasher lets go of it as soon as
/// the loader has answered, instead of sleeping for a fixed time.
static STRATEGIES: &[Strategy] = &[
    strategy(
        "tight",
        &[
            // Through both, so that no adapter shows EN and boot pin low in between.
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
    // Where no line reaches EN: a loader that already answers, such as a stub that was left running, is reset by
    // the chip's own watchdog. That reset samples the strapping pins (ESP32-C3 TRM, Chip Boot Control), so the boot
    // pin is held low until the ROM's loader has answered. Where DTR does not reach it, somebody has to hold it.
    strategy("watchdog", &[lines(true, false), Step::Watchdog]),
    strategy("none", &[]),
];

impl Strategy {
    /// The strategy called `name`.
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

    /// Strategies as users write them: names separated by commas, tried in turn, or `custom:` and steps
    /// separated by `|`. These are those of esptool's configuration file (its documentation, Configuration
    /// File, `custom_reset_sequence`): `D0`, `D1` for DTR, `R0`, `R1` for RTS, `U1,0` for both at once, `W0.1`
    /// to wait so many seconds.
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

    /// Names of all strategies.
    pub fn names() -> Vec<&'static str> {
        STRATEGIES.iter().map(|strategy| strategy.name).collect()
    }

    /// The known name that `name` most likely means.
    pub fn nearest(name: &str) -> Option<String> {
        nearest(name, &Strategy::names())
    }

    /// The strategies for `chip`, or for every known chip, best first: those of the chip's own
    /// USB-Serial-JTAG if `usb` (vendor, product) is its id, else those of a UART bridge.
    ///
    /// # Errors
    /// [`FlashError::UnknownReset`] if chip data names one that code does not have.
    pub fn for_chip(
        chip: Option<&Chip>,
        usb: Option<(u16, u16)>,
    ) -> Result<Vec<Strategy>, FlashError> {
        let chips: Vec<&Chip> = match chip {
            Some(chip) => vec![chip],
            None => esplice_chip::chips(),
        };
        let mut found: Vec<Strategy> = Vec::new();
        let is_own = |chip: &Chip| {
            let own_usb = chip.reset.usb_serial_jtag_id;
            own_usb.is_some_and(|id| usb == Some((id.vid, id.pid)))
        };
        // At a chip's own USB there is no other chip.
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

    /// Performs it, up to the moment where the ROM loader may answer; what is asked of a loader comes after
    /// that and is the session's to do.
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

    /// Whether it does nothing: the board is in download mode already.
    pub(crate) fn is_none(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether it asks a loader that answers already.
    pub(crate) fn asks_loader(&self) -> bool {
        self.steps.contains(&Step::Watchdog)
    }

    /// Whether the boot pin is still held after [`Strategy::perform`].
    pub(crate) fn holds_boot(&self) -> bool {
        let dtr = self.steps.iter().rev().find_map(|step| match step {
            Step::Lines { dtr, .. } | Step::Dtr(dtr) => Some(*dtr),
            _ => None,
        });
        dtr.unwrap_or(false)
    }
}

/// Throws away what a board printed before it was held in reset: only the boot that follows says which mode it is in.
/// A port that fails here fails at the next step, too, which reports it.
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
            let found = Strategy::for_chip(None, usb).unwrap();
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
