//! Raises the baud rate, and falls back if the cable does not support it.

use std::time::Duration;

use esplice_chip::{Addr, Chip};
use esplice_protocol::{Port, Request};

use crate::{ConnectOptions, FlashError, FlashEvent, Session, session::SHORT};

/// Rates to fall back to, each about half of the one before. Every common USB bridge supports them.
pub(crate) const LADDER: [u32; 5] = [921_600, 460_800, 230_400, 115_200, 57_600];

/// Time after the reply within which the ROM has set its UART.
const SETTLE: Duration = Duration::from_millis(2);

impl<P: Port + ?Sized> Session<'_, P> {
    /// Sets the link to `baud`, or to the nearest lower rate that works. Reports the rate if it
    /// changed. The board must be connected. Does nothing over a port without a baud rate.
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
            let next = next_lower_baud(wanted, self.first_baud());
            self.warn(format!("the link fails at {wanted} baud, falling back to {next}"));
            self.find_again(options)?;
            wanted = next;
        }
        let reached = self.baud;
        if reached != before {
            self.report(FlashEvent::Baud(reached));
        }
        Ok(reached)
    }

    /// Finds the loader again: at the current rate, at the first rate, or by a reset. Returns true
    /// if its state was lost, because the board has reset or had to be reset.
    pub(crate) fn find_again(&mut self, options: &ConnectOptions) -> Result<bool, FlashError> {
        let was_stub = self.loader().is_stub();
        if self.resync()? {
            return Ok(was_stub && !self.loader().is_stub());
        }
        let first = self.first_baud();
        if self.baud != first {
            self.set_port_baud(first)?;
            if self.resync()? {
                return Ok(true);
            }
        }
        self.connect(options)?;
        Ok(true)
    }

    /// Changes the rate to one that has worked.
    ///
    /// # Errors
    /// The errors of commands.
    pub(crate) fn switch_baud(&mut self, baud: u32) -> Result<(), FlashError> {
        let before = self.baud;
        self.command(&self.loader().change_baud(baud, before), SHORT)?;
        self.set_port_baud(baud)?;
        let settled = self.port.now() + SETTLE;
        self.port.wait_until(settled)?;
        self.forget_input()
    }

    /// Changes the rate. Returns true if the loader answers at the new one. After false the link
    /// must be restored.
    fn change_baud(&mut self, chip: &Chip, baud: u32) -> Result<bool, FlashError> {
        let before = self.baud;
        let (probe, known) = self.known_word(chip)?;
        let asked = self.rate_to_ask(chip, baud)?;
        match self.command(&self.loader().change_baud(asked, before), SHORT) {
            Ok(_) => {}
            Err(error) if error.is_transient() => return Ok(false),
            Err(error) => return Err(error),
        }
        match self.set_port_baud(baud) {
            Ok(()) => {}
            // The adapter does not support the rate: go back to the previous one.
            Err(FlashError::Port(esplice_protocol::PortError::Io { .. })) => {
                self.set_port_baud(before)?;
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        let settled = self.port.now() + SETTLE;
        self.port.wait_until(settled)?;
        self.forget_input()?;
        // A link that garbles bytes is detected here.
        match self.command_with_retry(&Request::ReadReg { addr: probe.0 }, SHORT) {
            Ok(answer) => Ok(known.contains(&answer.value)),
            Err(error) if error.is_transient() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns the rate to request from the loader so that it runs at `baud`. A ROM may assume
    /// another crystal than the board has.
    fn rate_to_ask(&mut self, chip: &Chip, baud: u32) -> Result<u32, FlashError> {
        let crystal = chip.crystal.as_ref().filter(|_| !self.loader().is_stub());
        let Some((crystal, assumed)) = crystal.and_then(|c| Some((c, c.assumed?))) else {
            return Ok(baud);
        };
        let divider = self.read_reg(crystal.divider.addr.0)?;
        let xtal_mhz = chip.crystal_from_divider(self.baud, divider);
        let word = match assumed.addr() {
            Some(addr) => self.read_reg(addr.0)?,
            None => 0,
        };
        Ok(match assumed.mhz(word) {
            // The register has no usable value: assume the chip's usual crystal.
            0 => baud,
            counted => chip.loader_baud(baud, xtal_mhz, counted),
        })
    }

    /// Returns the address of a word of the chip, and its possible values: the magic word of its
    /// ROM, or else the first word of its MAC address, as it reads now.
    fn known_word(&mut self, chip: &Chip) -> Result<(Addr, Vec<u32>), FlashError> {
        if let (Some(addr), [_, ..]) = (chip.loader.magic_addr, &chip.loader.magic_values[..]) {
            return Ok((addr, chip.loader.magic_values.clone()));
        }
        let mac = chip.efuse.field("mac").and_then(|field| field.addrs().first().copied());
        // Every chip has the field: a check in esplice-chip requires it.
        let addr = mac.unwrap_or(chip.spi.base);
        Ok((addr, vec![self.efuse_word(addr)?]))
    }
}

/// Returns the next rate of the ladder below `baud`, but at least `least`.
pub(crate) fn next_lower_baud(baud: u32, least: u32) -> u32 {
    LADDER.into_iter().find(|rung| *rung < baud).unwrap_or(least).max(least)
}

#[cfg(test)]
mod tests {
    #[test]
    fn rungs_go_down_to_the_first_rate() {
        for (from, to) in [(2_000_000, 921_600), (921_600, 460_800), (460_801, 460_800)] {
            assert_eq!(super::next_lower_baud(from, 115_200), to);
        }
        for from in [230_400, 115_200, 57_600, 1] {
            assert_eq!(super::next_lower_baud(from, 115_200), 115_200);
        }
    }
}
