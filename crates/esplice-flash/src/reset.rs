//! Ways into download mode, by the names that chip data gives them.
//!
//! On the usual boards two transistors join DTR and RTS to the chip (Espressif's "Boot Mode
//! Selection" page, Automatic Bootloader): RTS alone holds EN low, DTR alone holds the boot
//! strapping pin low, both or neither hold nothing.

use std::time::Duration;

use esplice_chip::{Chip, nearest};
use esplice_protocol::{Port, PortError};

use crate::FlashError;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strategy {
    /// Its name in chip data.
    pub name: &'static str,
    steps: &'static [Step],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Lines { dtr: bool, rts: bool },
    Wait(Duration),
}

const fn lines(dtr: bool, rts: bool) -> Step {
    Step::Lines { dtr, rts }
}

/// All strategies. `tight` ends with the boot pin still held: the flasher lets go of it as soon as
/// the loader has answered, instead of sleeping for a fixed time.
const STRATEGIES: &[Strategy] = &[
    Strategy {
        name: "tight",
        steps: &[
            // Through both, so that no adapter shows EN and boot pin low in between.
            lines(false, false),
            lines(true, true),
            lines(false, true),
            Step::Wait(EN_LOW),
            lines(true, false),
        ],
    },
    Strategy {
        name: "classic",
        steps: &[
            lines(false, true),
            Step::Wait(CLASSIC_EN_LOW),
            lines(true, false),
            Step::Wait(CLASSIC_BOOT_LOW),
            lines(false, false),
        ],
    },
    Strategy {
        name: "classic-slow",
        steps: &[
            lines(false, true),
            Step::Wait(CLASSIC_EN_LOW),
            lines(true, false),
            Step::Wait(SLOW_BOOT_LOW),
            lines(false, false),
        ],
    },
    Strategy {
        // ESP32-C3 TRM, USB Serial/JTAG Controller: DTR arms download mode, RTS resets. The
        // order is that of espflash 4.7.0, connection/reset.rs.
        name: "usb-serial-jtag",
        steps: &[
            lines(false, false),
            Step::Wait(USB_STEP),
            lines(true, false),
            Step::Wait(USB_STEP),
            lines(true, true),
            lines(false, true),
            Step::Wait(USB_STEP),
            lines(false, false),
        ],
    },
    Strategy { name: "none", steps: &[] },
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
            .copied()
            .ok_or_else(|| FlashError::UnknownReset { name: name.into() })
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
        for chip in chips {
            let own_usb = chip.reset.usb_serial_jtag_id;
            let is_own = own_usb.is_some_and(|id| usb == Some((id.vid, id.pid)));
            let names = if is_own { &chip.reset.usb_serial_jtag } else { &chip.reset.uart };
            for name in names {
                let strategy = Strategy::find(name)?;
                if !found.contains(&strategy) {
                    found.push(strategy);
                }
            }
        }
        Ok(found)
    }

    /// Performs it, up to the moment where the ROM loader may answer.
    pub(crate) fn perform<P: Port + ?Sized>(&self, port: &mut P) -> Result<(), PortError> {
        for step in self.steps {
            match *step {
                Step::Lines { dtr, rts } => port.set_lines(dtr, rts)?,
                Step::Wait(time) => {
                    let until = port.now() + time;
                    port.wait_until(until)?;
                }
            }
        }
        Ok(())
    }

    /// Whether it does nothing: the board is in download mode already.
    pub(crate) fn is_none(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether the boot pin is still held after [`Strategy::perform`].
    pub(crate) fn holds_boot(&self) -> bool {
        matches!(self.steps.last(), Some(Step::Lines { dtr: true, .. }))
    }
}
