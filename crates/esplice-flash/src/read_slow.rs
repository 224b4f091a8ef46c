//! Small reads of flash through the ROM loader, 64 bytes at a time.

use std::time::Duration;

use esplice_chip::FlashOffset;
use esplice_protocol::{Opcode, Port, READ_FLASH_SLOW_LEN, Request};

use crate::{FlashError, Session};

/// Time for one read of flash.
const READ: Duration = Duration::from_millis(500);

impl<P: Port + ?Sized> Session<'_, P> {
    /// Reads flash, 64 bytes per round trip. This is meant for small amounts, and is the only way
    /// without a stub. The flash must be attached.
    ///
    /// # Errors
    /// The errors of commands.
    pub fn read_slow(&mut self, offset: FlashOffset, len: usize) -> Result<Vec<u8>, FlashError> {
        let mut bytes = Vec::new();
        while bytes.len() < len {
            let piece = (len - bytes.len()).min(READ_FLASH_SLOW_LEN);
            let at = offset.0.wrapping_add(bytes.len() as u32);
            let request = Request::ReadFlashSlow { offset: at, len: piece as u32 };
            let answer = self.command_with_retry(&request, READ)?;
            let read = answer.data.get(..piece).ok_or(FlashError::Malformed {
                command: Opcode::ReadFlashSlow,
                has: answer.data.len(),
            })?;
            bytes.extend_from_slice(read);
        }
        Ok(bytes)
    }
}
