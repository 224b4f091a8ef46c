//! A board in somebody's own test: firmware in, text out and in, as a person at a desk has it.

use std::time::Duration;

use super::{Board, State, line::EN_RISE};
use crate::{Printed, SimError, nor::NorError, soc::ResetReason};
use std::sync::Arc;

impl Board {
    /// Replaces all of the flash by `image`, the contents from offset 0 on (`*.merged.bin`, as
    /// `esplice build` and `esptool merge-bin` make it), with the rest erased; then switches the board
    /// off and on.
    ///
    /// # Errors
    /// [`SimError::FlashTooSmall`], [`SimError::FlashFailed`] when the flash's file can't be written.
    pub fn load_flash(&mut self, image: &[u8]) -> Result<(), SimError> {
        let mut whole = vec![0xff; self.flash().size() as usize];
        self.check_fits(0, image)?;
        if let Some(place) = whole.get_mut(..image.len()) {
            place.copy_from_slice(image);
        }
        self.put_into_flash(0, &whole).map_err(failed)?;
        self.switch_off_and_on();
        Ok(())
    }

    /// Puts `bytes` into the flash at `offset` and leaves the rest of it, and what runs, as it is.
    ///
    /// # Errors
    /// As [`Board::load_flash`].
    pub fn load_flash_at(&mut self, offset: u32, bytes: &[u8]) -> Result<(), SimError> {
        self.check_fits(offset, bytes)?;
        self.put_into_flash(offset, bytes).map_err(failed)
    }

    fn check_fits(&self, offset: u32, bytes: &[u8]) -> Result<(), SimError> {
        let (len, size) = (bytes.len(), self.flash().size());
        match (offset as usize).checked_add(len) {
            Some(end) if end <= size as usize => Ok(()),
            _ => Err(SimError::FlashTooSmall { offset, len, size }),
        }
    }

    /// Runs until the board has printed `expected` where the host's cable is: on UART0, at whatever
    /// rate, unless [`Board::plug`] put it elsewhere. Gives all that it printed up to there, and leaves
    /// what comes behind. `within` is the board's own time, so that
    /// the outcome is the same on each host.
    ///
    /// # Errors
    /// [`SimError::NotSeen`] when the time is over, [`SimError::Stopped`] when the board can't go on;
    /// both hold what was printed until then.
    pub fn run_until(&mut self, expected: &[u8], within: Duration) -> Result<Vec<u8>, SimError> {
        let deadline = self.now().saturating_add(within);
        let mut printed = Vec::new();
        loop {
            if printed.ends_with(expected) {
                return Ok(printed);
            }
            if let Some(sent) = self.host_take_sent() {
                printed.push(sent.byte);
                continue;
            }
            let expected = || Printed(expected.to_vec());
            if self.now() >= deadline {
                let status = self.status();
                let printed = Printed(printed);
                return Err(SimError::NotSeen { expected: expected(), within, status, printed });
            }
            if let Err(source) = self.run_to(deadline, true) {
                let (source, printed) = (Box::new(source), Printed(printed));
                return Err(SimError::Stopped { expected: expected(), source, printed });
            }
        }
    }

    /// Runs for `time` on the board's clock and gives what it printed where the cable is.
    ///
    /// # Errors
    /// [`SimError::Stopped`] when the board can't go on.
    pub fn run_for(&mut self, time: Duration) -> Result<Vec<u8>, SimError> {
        let deadline = self.now().saturating_add(time);
        let ran = self.run_to(deadline, false);
        let mut printed = Vec::new();
        while let Some(sent) = self.host_take_sent() {
            printed.push(sent.byte);
        }
        match ran {
            Ok(()) => Ok(printed),
            Err(source) => Err(SimError::Stopped {
                expected: Printed(Vec::new()),
                source: Box::new(source),
                printed: Printed(printed),
            }),
        }
    }

    /// Puts bytes on the cable, at the rate that UART0 is set to; gives the moment when the last
    /// has arrived.
    pub fn send(&mut self, bytes: &[u8]) -> Duration {
        let baud = self.baud();
        self.host_send(bytes, baud)
    }

    /// Gives the random number generator another seed; it is 0 at first. All else that a board does is
    /// settled by its flash and what comes from outside, so that one seed gives one run.
    pub fn set_seed(&mut self, seed: u64) {
        self.soc.fabric.random.set_seed(seed);
    }

    /// Presses and releases the reset button: EN falls and rises.
    pub fn press_reset(&mut self) {
        if self.lines.en_low() {
            return;
        }
        self.soc.reset(ResetReason::PowerOn);
        let rise = if self.soc.fabric.timed { crate::soc::clock::ticks(EN_RISE) } else { 0 };
        self.state = State::Rising(self.soc.fabric.now() + rise);
    }

    /// Power off and on. A board that has not run yet is left as it is.
    fn switch_off_and_on(&mut self) {
        if self.resets > 0 {
            self.press_reset();
        }
    }
}

fn failed(error: NorError) -> SimError {
    SimError::FlashFailed(Arc::new(error))
}
