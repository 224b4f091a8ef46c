//! A faster link, and the way back when the cable does not bear it.

use std::time::Duration;

use esplice_chip::Chip;
use esplice_protocol::{Port, Request};

use crate::{ConnectOptions, FlashError, FlashEvent, Session, session::SHORT};

/// Rates to fall back to, each about half of the one before; every usual USB bridge has them.
pub(crate) const LADDER: [u32; 5] = [921_600, 460_800, 230_400, 115_200, 57_600];

/// Time after the reply within which the ROM has set its UART.
const SETTLE: Duration = Duration::from_millis(2);

impl<P: Port + ?Sized> Session<'_, P> {
    /// Brings the link to `baud`, or as near below as it bears; tells the rate if it changed. The
    /// board must be connected. Over a port that has no baud rate nothing happens.
    ///
    /// # Errors
    /// Those of [`Session::connect`], if the board can't be found again after a failure.
    pub fn raise_baud(
        &mut self,
        chip: &Chip,
        baud: u32,
        options: &ConnectOptions,
    ) -> Result<u32, FlashError> {
        let before = self.baud;
        let mut wanted = baud;
        while self.port.caps().baud && wanted != self.baud {
            if self.change_baud(chip, wanted)? {
                break;
            }
            let next = rung_below(wanted, self.first_baud());
            self.warn(format!("the link does not bear {wanted} baud, going on with {next}"));
            self.find_again(options)?;
            wanted = next;
        }
        let reached = self.baud;
        if reached != before {
            self.tell(FlashEvent::Baud(reached));
        }
        Ok(reached)
    }

    /// Finds the loader again, whatever rate it is at: as it was, at the first rate, or by reset.
    pub(crate) fn find_again(&mut self, options: &ConnectOptions) -> Result<(), FlashError> {
        if self.resync()? {
            return Ok(());
        }
        let first = self.first_baud();
        if self.baud != first {
            self.set_port_baud(first)?;
            if self.resync()? {
                return Ok(());
            }
        }
        self.connect(options)
    }

    /// True if the loader answers at the new rate. After a false the link is out of order.
    fn change_baud(&mut self, chip: &Chip, baud: u32) -> Result<bool, FlashError> {
        let before = self.baud;
        match self.command(&Request::ChangeBaudrate { new: baud, old: 0 }, SHORT) {
            Ok(_) => {}
            Err(error) if error.is_transient() => return Ok(false),
            Err(error) => return Err(error),
        }
        match self.set_port_baud(baud) {
            Ok(()) => {}
            // A rate that the adapter does not have: go back to one that it has.
            Err(FlashError::Port(esplice_protocol::PortError::Io { .. })) => {
                self.set_port_baud(before)?;
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        let settled = self.port.now() + SETTLE;
        self.port.wait_until(settled)?;
        self.forget_input()?;
        // A word that is known: so a link that garbles bytes is found out here.
        let probe = Request::ReadReg { addr: chip.loader.magic_addr.0 };
        match self.ask(&probe, SHORT) {
            Ok(answer) => Ok(chip.loader.magic_values.is_empty()
                || chip.loader.magic_values.contains(&answer.value)),
            Err(error) if error.is_transient() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The next rate of the ladder below `baud`, not below `least`.
pub(crate) fn rung_below(baud: u32, least: u32) -> u32 {
    LADDER.into_iter().find(|rung| *rung < baud).unwrap_or(least).max(least)
}

#[cfg(test)]
mod tests {
    #[test]
    fn rungs_go_down_to_the_first_rate() {
        for (from, to) in [(2_000_000, 921_600), (921_600, 460_800), (460_801, 460_800)] {
            assert_eq!(super::rung_below(from, 115_200), to);
        }
        for from in [230_400, 115_200, 57_600, 1] {
            assert_eq!(super::rung_below(from, 115_200), 115_200);
        }
    }
}
