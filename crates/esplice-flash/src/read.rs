//! Operations that only stubs can do: stream flash, and erase without writing.

use std::time::Duration;

use esplice_chip::FlashOffset;
use esplice_protocol::{Opcode, Port, READ_FLASH_SLOW_LEN, Request};
use md5::{Digest as _, Md5};

use crate::{FlashError, Session, job::SECTOR, own::Part, write::erase_time};

/// Bytes of a frame of flash: the maximum that stubs send (esp-flasher-stub 1.1.0,
/// `s_read_flash_post_process`).
const PACKET: u32 = 0x1000;

/// Number of frames that a stub sends ahead of their acknowledgement. It is enough to keep the wire
/// busy at a round trip of 100 ms and 921600 baud, and small enough to drain a broken stream before
/// the next command.
const IN_FLIGHT: u32 = 4;

/// Bytes read by one READ_FLASH, all of which are read again after a failure.
const PIECE: u32 = 0x4_0000;

/// Time to wait for a frame of flash, in addition to the time on wire and port.
const FRAME: Duration = Duration::from_millis(1000);

/// Number of attempts to read a piece.
const ATTEMPTS: u32 = 4;

/// Maximum time per MiB to erase a whole chip (Winbond W25Q512JV datasheet, 9.6 AC
/// characteristics: 1000 s; W25Q32JV: 50 s).
const ERASE_CHIP_MIB: Duration = Duration::from_secs(16);

impl<P: Port + ?Sized> Session<'_, P> {
    /// Reads flash through a stub and passes it to `sink` in pieces, in order and each once. Every
    /// piece is checked against a hash that the device computed while reading. The flash must be
    /// attached.
    ///
    /// # Errors
    /// [`FlashError::NeedsStub`] without a stub, [`FlashError::Read`] if a piece never arrived
    /// intact, `sink`'s errors, and the errors of commands.
    pub fn read_flash(
        &mut self,
        offset: FlashOffset,
        len: u32,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), FlashError>,
    ) -> Result<(), FlashError> {
        self.needs_stub("reads flash at the rate of the wire")?;
        if self.is_own() {
            return self.read_own(offset, len, &mut |_, bytes| sink(bytes));
        }
        let mut done = 0;
        while done < len {
            let piece = (len - done).min(PIECE);
            let at = FlashOffset(offset.0.wrapping_add(done));
            let bytes = self.read_piece(at, piece)?;
            sink(&bytes)?;
            done += piece;
        }
        Ok(())
    }

    /// Erases whole sectors through a stub.
    ///
    /// # Errors
    /// [`FlashError::NeedsStub`] without a stub, and the errors of commands.
    pub fn erase_region(&mut self, offset: FlashOffset, len: u32) -> Result<(), FlashError> {
        self.needs_stub("erases without writing")?;
        self.need_part(Part::Writer)?;
        let request = Request::EraseRegion { offset: offset.0, len: len.next_multiple_of(SECTOR) };
        self.command_with_retry(&request, erase_time(offset.0, len)).map(|_| ())
    }

    /// Erases the whole flash chip of `size` bytes through a stub.
    ///
    /// # Errors
    /// [`FlashError::NeedsStub`] without a stub, and the errors of commands.
    pub fn erase_flash(&mut self, size: u32) -> Result<(), FlashError> {
        self.needs_stub("erases a whole flash chip")?;
        let time = ERASE_CHIP_MIB * size.div_ceil(1 << 20).max(1);
        self.command_with_retry(&Request::EraseFlash, time).map(|_| ())
    }

    /// Reads a small piece of flash twice, with any loader, for the facts that a plan needs.
    pub(crate) fn read_small(
        &mut self,
        offset: FlashOffset,
        len: usize,
    ) -> Result<Vec<u8>, FlashError> {
        if let Some(bytes) = self.take_ahead(offset, len) {
            return Ok(bytes);
        }
        if self.loader().is_stub() {
            // A hash checks the data, but not the request.
            return self.read_until_equal(Opcode::ReadFlash, |session| {
                session.read_piece(offset, len as u32)
            });
        }
        if len <= READ_FLASH_SLOW_LEN {
            self.read_ahead(&[offset, offset])?;
            if let Some(bytes) = self.take_ahead(offset, len) {
                return Ok(bytes);
            }
        }
        self.read_until_equal(Opcode::ReadFlashSlow, |session| session.read_slow(offset, len))
    }

    fn needs_stub(&self, what: &'static str) -> Result<(), FlashError> {
        if self.loader().is_stub() { Ok(()) } else { Err(FlashError::NeedsStub { what }) }
    }

    fn read_piece(&mut self, offset: FlashOffset, len: u32) -> Result<Vec<u8>, FlashError> {
        let mut attempt = 1;
        loop {
            let failure = match self.try_piece(offset, len) {
                Ok(Some(bytes)) => return Ok(bytes),
                Ok(None) => FlashError::Read { offset, len, attempts: attempt },
                Err(error) if error.is_transient() => error,
                Err(error) => return Err(error),
            };
            if attempt == ATTEMPTS {
                return Err(failure);
            }
            // A reply of another length, here the SYNC, stops a stream that is still running.
            if !self.resync()? {
                return Err(failure);
            }
            attempt += 1;
        }
    }

    /// Reads a piece once. Returns `None` if the received data does not match the device's hash.
    fn try_piece(&mut self, offset: FlashOffset, len: u32) -> Result<Option<Vec<u8>>, FlashError> {
        self.need_part(Part::Extras)?;
        let (offset, packet, in_flight) = (offset.0, PACKET, IN_FLIGHT);
        let request = Request::ReadFlash { offset, len, packet, in_flight };
        let timeout = FlashError::Timeout { command: Opcode::ReadFlash, after: FRAME };
        self.command(&request, FRAME)?;
        let mut bytes = Vec::new();
        while (bytes.len() as u32) < len {
            let wanted = (len - bytes.len() as u32).min(PACKET) as usize;
            // Each byte may be escaped.
            let deadline = self.port.now() + self.wire_time(2 * wanted) + FRAME;
            // Stubs of generation 2 send one frame ahead of its acknowledgement, whatever window
            // was requested. The acknowledgement does not confirm the data (the hash at the end
            // does), so it is sent as soon as the frame begins to arrive. The next frame then
            // follows without a round trip in between.
            if !self.wait_for_input(deadline)? {
                return Err(timeout);
            }
            self.send_frame(&((bytes.len() + wanted) as u32).to_le_bytes())?;
            let Some(frame) = self.receive_frame(deadline)? else { return Err(timeout) };
            if frame.len() != wanted {
                return Ok(None);
            }
            bytes.extend_from_slice(&frame);
        }
        let deadline = self.port.now() + self.wire_time(64) + FRAME;
        match self.receive_frame(deadline)? {
            Some(digest) => {
                Ok((hex::encode(&digest) == hex::encode(Md5::digest(&bytes))).then_some(bytes))
            }
            None => Err(timeout),
        }
    }
}
