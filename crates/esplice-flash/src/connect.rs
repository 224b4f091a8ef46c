//! Connects to a board in any state until its loader answers.

use std::time::Duration;

use derive_setters::Setters;
use esplice_chip::{Chip, ChipDb, RegisterWrite};
use esplice_protocol::{Opcode, Port, PortError};

use crate::{FlashError, FlashEvent, Session, baud, event::StageState, reset::Strategy};

/// Maximum time to wait for the ROM's messages after a reset. They take 15 ms at 115200 baud; a
/// chip whose log is turned off by an eFuse prints nothing.
const PROMPT_WAIT: Duration = Duration::from_millis(150);

/// Number of SYNCs sent after each reset.
const SYNCS: u32 = 10;

/// Options for connecting to a board.
#[derive(Debug, Clone, PartialEq, Eq, Setters)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// Reset strategies, used in turn. If empty, the board must already be in download mode.
    pub strategies: Vec<Strategy>,
    /// Number of attempts before giving up.
    pub attempts: u32,
}

impl ConnectOptions {
    /// Returns the strategies that chip data lists for `chip` (or for all of `chips`) and an
    /// adapter with these USB IDs (vendor, product), and seven attempts.
    ///
    /// # Errors
    /// [`FlashError::UnknownReset`] if chip data names an unknown strategy.
    pub fn for_port(
        chip: Option<&Chip>,
        usb: Option<(u16, u16)>,
        chips: &ChipDb,
    ) -> Result<ConnectOptions, FlashError> {
        let strategies = Strategy::for_chip(chip, usb, chips)?;
        Ok(ConnectOptions { strategies, ..ConnectOptions::default() })
    }
}

impl Default for ConnectOptions {
    /// Returns the strategies of all embedded chips for a UART bridge, and seven attempts.
    fn default() -> Self {
        let strategies = Strategy::for_chip(None, None, ChipDb::embedded()).unwrap_or_default();
        ConnectOptions { strategies, attempts: 7 }
    }
}

impl<P: Port + ?Sized> Session<'_, P> {
    /// Resets the board into download mode and waits until its loader answers. Over a port without
    /// lines, or without a strategy, the board must already be in download mode. As interrupted
    /// work may have left its loader at a raised baud rate, every other attempt is made at one of
    /// those.
    ///
    /// # Errors
    /// [`FlashError::NoAnswer`] if no attempt succeeded, and port errors.
    pub fn connect(&mut self, options: &ConnectOptions) -> Result<(), FlashError> {
        self.stage("connect", StageState::Started);
        let lines = self.port.caps().lines;
        let attempts = options.attempts.max(1);
        let mut running = false;
        for attempt in 0..attempts {
            self.report(FlashEvent::Connecting { attempt: attempt + 1, of: attempts });
            let turn = attempt as usize % options.strategies.len().max(1);
            let strategy = options
                .strategies
                .get(turn)
                .filter(|strategy| !strategy.is_none() && (lines || strategy.asks_loader()));
            let first = self.first_baud();
            let resets = strategy.is_some_and(|strategy| !strategy.asks_loader());
            let baud = if resets { first } else { rate_of(attempt, first) };
            if self.attempt(strategy, baud)? {
                self.reset_by = strategy.map(|strategy| strategy.name);
                self.stage("connect", StageState::Done);
                return Ok(());
            }
            running |= self.banner.is_running();
        }
        Err(FlashError::NoAnswer {
            port: self.port.name().to_owned(),
            tries: attempts,
            running,
            no_lines: !lines,
        })
    }

    fn attempt(&mut self, strategy: Option<&Strategy>, baud: u32) -> Result<bool, FlashError> {
        self.set_port_baud(baud)?;
        self.forget_input()?;
        self.banner.clear();
        match strategy.map(|strategy| self.reset(strategy)) {
            // A chip's own USB port disappears with its reset and comes back.
            Some(Err(FlashError::Port(PortError::Gone { .. }))) => self.port.reopen()?,
            // No loader answers, or it can't do this: make the next attempt.
            Some(Err(error)) if error.is_transient() => return Ok(false),
            Some(Err(error)) => return Err(error),
            Some(Ok(())) | None => {}
        }
        let mut answered = false;
        for sync in 0..SYNCS {
            // A board that reports a boot from flash will not answer.
            if self.banner.is_running() {
                break;
            }
            answered = self.sync(sync % 2 == 1)?;
            if answered {
                break;
            }
        }
        if strategy.is_some_and(|strategy| strategy.holds_boot()) {
            self.port.set_lines(false, false)?;
        }
        Ok(answered)
    }

    /// Resets the board and listens to its first messages.
    fn reset(&mut self, strategy: &Strategy) -> Result<(), FlashError> {
        if strategy.asks_loader() {
            let writes = self.watchdog_writes()?;
            strategy.perform(self.port)?;
            self.write_chip_regs(&writes)?;
            let first = self.first_baud();
            self.set_port_baud(first)?;
        } else {
            strategy.perform(self.port)?;
        }
        let deadline = self.port.now() + PROMPT_WAIT;
        self.listen(deadline)
    }

    /// Returns the register writes that let the watchdog reset the chip whose loader answers.
    fn watchdog_writes(&mut self) -> Result<Vec<RegisterWrite>, FlashError> {
        if !self.resync()? {
            return Err(FlashError::Timeout { command: Opcode::Sync, after: Duration::ZERO });
        }
        let (chip, _) = self.identify(None)?;
        chip.watchdog
            .reset()
            .ok_or_else(|| FlashError::NoWatchdog { chip: chip.display_name.clone() })
    }
}

/// Returns the baud rate at which to look for a loader that can't be reset: `first`, alternating
/// with one of the raised rates.
fn rate_of(attempt: u32, first: u32) -> u32 {
    let rungs = || baud::LADDER.into_iter().filter(|rung| *rung > first);
    match attempt % 2 {
        0 => first,
        _ => rungs().cycle().nth(attempt as usize / 2).unwrap_or(first),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn raised_rates_are_tried_in_turn() {
        let rates: Vec<u32> = (0..7).map(|attempt| super::rate_of(attempt, 115_200)).collect();
        assert_eq!(rates, [115_200, 921_600, 115_200, 460_800, 115_200, 230_400, 115_200]);
        assert_eq!(super::rate_of(1, 2_000_000), 2_000_000);
    }
}
