//! A board's whole state, kept and gone back to.

use super::Board;
use crate::{SimError, nor::NorError};
use std::sync::Arc;

/// A board's state at a moment: registers, memories, devices, flash, what is on the line, the clock.
/// What runs on from it does the same to the instruction each time.
#[derive(Debug, Clone)]
pub struct Snapshot(Board);

impl Snapshot {
    /// Another board, with a flash in memory, that goes on from this state.
    pub fn board(&self) -> Board {
        self.0.clone()
    }
}

impl Board {
    /// Keeps the board's state. It takes as much memory as the board does: its flash and some
    /// megabytes.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.clone())
    }

    /// Goes back to a state, which may be another board's. A file behind the flash gets the flash's
    /// contents of then.
    ///
    /// # Errors
    /// [`SimError::OtherBoard`] for the state of another chip or flash size, [`SimError::FlashFailed`]
    /// when the flash's file can't be written; the board is as it was, the file may be changed in part.
    pub fn restore(&mut self, snapshot: &Snapshot) -> Result<(), SimError> {
        let from = &snapshot.0;
        if !std::ptr::eq(from.chip, self.chip) || from.flash().size() != self.flash().size() {
            return Err(SimError::OtherBoard { state: from.kind(), board: self.kind() });
        }
        let nor = &mut self.soc.fabric.flash.nor;
        nor.become_like(from.flash()).map_err(|error| SimError::FlashFailed(Arc::new(error)))?;
        let mut restored = from.clone();
        std::mem::swap(&mut restored.soc.fabric.flash.nor, nor);
        *self = restored;
        Ok(())
    }

    fn kind(&self) -> String {
        format!("an {} with {} bytes of flash", self.chip.display_name, self.flash().size())
    }

    /// Puts `bytes` into the flash, past all that erasing and programming would ask for; what was
    /// decoded from there is given up.
    pub(super) fn put_into_flash(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorError> {
        let fabric = &mut self.soc.fabric;
        fabric.flash.nor.put(offset, bytes)?;
        fabric.memory.flash_changed(offset, bytes.len() as u32);
        Ok(())
    }
}
