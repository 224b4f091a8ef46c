//! A board in somebody's own test: firmware in, text out and in, as a person at a desk has it.

use std::time::Duration;

use esplice_chip::{Addr, Chip, RegionKind};

use super::{Board, State, line::EN_RISE};
use crate::{Printed, SimError, nor::NorError, soc::ResetReason};
use std::sync::Arc;

/// What `image` is where it cannot be the contents of a flash that the chip boots from.
fn other_contents(image: &[u8], chip: &Chip) -> Option<&'static str> {
    // System V ABI, ELF header; the UF2 specification; Intel's format begins with `:` and a record.
    let is_hex = image.first() == Some(&b':')
        && image.get(1..9).is_some_and(|start| start.iter().all(u8::is_ascii_hexdigit));
    match image {
        [0x7f, b'E', b'L', b'F', ..] => Some("an ELF"),
        [b'U', b'F', b'2', b'\n', ..] => Some("a UF2 file"),
        _ if is_hex => Some("an Intel HEX file"),
        _ => is_bare_app(image, chip).then_some("an app image alone"),
    }
}

/// Whether an image begins with the descriptor of an app, at an address where flash is mapped. The ROM
/// loads no such image: a bootloader does (ESP-IDF, esp_app_format.h and esp_app_desc.h).
fn is_bare_app(image: &[u8], chip: &Chip) -> bool {
    const IMAGE_MAGIC: u8 = 0xe9;
    const HEADER: usize = 24;
    const SEGMENT_HEADER: usize = 8;
    const DESCRIPTOR_MAGIC: u32 = 0xabcd_5432;
    let word = |at: usize| {
        let bytes = image.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_le_bytes)
    };
    let region = word(HEADER).and_then(|addr| chip.region_at(Addr(addr)));
    image.first() == Some(&IMAGE_MAGIC)
        && word(HEADER + SEGMENT_HEADER) == Some(DESCRIPTOR_MAGIC)
        && region.is_some_and(|region| region.kind == RegionKind::Flash)
}

impl Board {
    /// Replaces all of the flash by `image`, the contents from offset 0 on (`*.merged.bin`, as
    /// `esplice build` and `esptool merge-bin` make it), with the rest erased; then switches the board
    /// off and on.
    ///
    /// # Errors
    /// [`SimError::NotFlashContents`] for an ELF, a bare app image, UF2 or Intel HEX,
    /// [`SimError::FlashTooSmall`], [`SimError::FlashFailed`] when the flash's file can't be written.
    pub fn load_flash(&mut self, image: &[u8]) -> Result<(), SimError> {
        if let Some(what) = other_contents(image, self.chip) {
            return Err(SimError::NotFlashContents { what });
        }
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
