//! Snapshots of a board's whole state.

use super::Board;
use crate::{SimError, nor::NorError};
use std::sync::Arc;

/// A board's state at a moment: registers, memories, devices, flash, bytes on the line, the clock.
/// Every run from a snapshot is the same to the instruction.
#[derive(Debug, Clone)]
pub struct Snapshot(Board);

impl Snapshot {
    /// Returns another board, with its flash in memory, that continues from this state.
    pub fn board(&self) -> Board {
        self.0.clone()
    }
}

impl Board {
    /// Returns a snapshot of the board's state. It takes as much memory as the board: its flash and
    /// some megabytes.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.clone())
    }

    /// Restores a state, possibly another board's. A flash file gets the flash contents of the
    /// snapshot.
    ///
    /// # Errors
    /// [`SimError::SnapshotMismatch`] for a snapshot of another chip or flash size,
    /// [`SimError::FlashFailed`] if the flash file can't be written. Then the board is unchanged,
    /// but the file may be changed in part.
    pub fn restore(&mut self, snapshot: &Snapshot) -> Result<(), SimError> {
        let from = &snapshot.0;
        if !Arc::ptr_eq(&from.chip, &self.chip) || from.flash().size() != self.flash().size() {
            return Err(SimError::SnapshotMismatch { state: from.kind(), board: self.kind() });
        }
        let nor = &mut self.soc.fabric.flash.nor;
        nor.copy_from(from.flash()).map_err(|error| SimError::FlashFailed(Arc::new(error)))?;
        let mut restored = from.clone();
        std::mem::swap(&mut restored.soc.fabric.flash.nor, nor);
        *self = restored;
        Ok(())
    }

    fn kind(&self) -> String {
        format!("an {} with {} bytes of flash", self.chip.display_name, self.flash().size())
    }

    /// Writes `bytes` directly to the flash, without erasing and programming. Decoded code of that
    /// range is discarded.
    pub(super) fn put_into_flash(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorError> {
        let fabric = &mut self.soc.fabric;
        fabric.flash.nor.put(offset, bytes)?;
        fabric.memory.flash_changed(offset, bytes.len() as u32);
        Ok(())
    }
}
