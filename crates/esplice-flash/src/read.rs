//! What only stubs can do: stream flash, and erase without writing.

use std::time::Duration;

use esplice_chip::FlashOffset;
use esplice_protocol::{Opcode, Port, READ_FLASH_SLOW_LEN, Request};
use md5::{Digest as _, Md5};

use crate::{
    FlashError, Session,
    job::{SECTOR, hex},
    write::erase_time,
};

/// Bytes of a frame of flash: the most that stubs send (esp-flasher-stub 1.1.0,
/// `s_read_flash_post_process`).
const PACKET: u32 = 0x1000;

/// Frames that a stub sends ahead of their acknowledgement: enough for the wire never to wait at a
/// round trip of 100 ms and 921600 baud, and few enough for a broken stream to be drained before the
/// loader is asked again.
const IN_FLIGHT: u32 = 4;

/// Bytes of one READ_FLASH: what is sent again when something went wrong in it.
const PIECE: u32 = 0x4_0000;

/// Time until a frame of flash comes, on top of wire and port.
const FRAME: Duration = Duration::from_millis(1000);

/// How often a piece is asked for.
const ATTEMPTS: u32 = 4;

/// Longest erase of a whole chip of the largest size (Winbond W25Q512JV datasheet, 9.6 AC
/// characteristics: 1000 s; W25Q32JV: 50 s).
const ERASE_CHIP_MIB: Duration = Duration::from_secs(16);

impl<P: Port + ?Sized> Session<'_, P> {
    /// Reads flash through a stub and gives it to `sink` piece by piece, in order and each once;
    /// every piece has been checked against a hash that the device computed while it read. The
    /// flash must be attached.
    ///
    /// # Errors
    /// [`FlashError::NeedsStub`] without a stub, [`FlashError::Read`] when a piece never came as the
    /// device has it, `sink`'s errors, and what commands bring.
    pub fn read_flash(
        &mut self,
        offset: FlashOffset,
        len: u32,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), FlashError>,
    ) -> Result<(), FlashError> {
        self.needs_stub("reads flash at the rate of the wire")?;
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
    /// [`FlashError::NeedsStub`] without a stub, and what commands bring.
    pub fn erase_region(&mut self, offset: FlashOffset, len: u32) -> Result<(), FlashError> {
        self.needs_stub("erases without writing")?;
        let request = Request::EraseRegion { offset: offset.0, len: len.next_multiple_of(SECTOR) };
        self.ask(&request, erase_time(offset.0, len)).map(|_| ())
    }

    /// Erases all of a flash chip of `size` bytes through a stub.
    ///
    /// # Errors
    /// [`FlashError::NeedsStub`] without a stub, and what commands bring.
    pub fn erase_flash(&mut self, size: u32) -> Result<(), FlashError> {
        self.needs_stub("erases a whole flash chip")?;
        let time = ERASE_CHIP_MIB * size.div_ceil(1 << 20).max(1);
        self.ask(&Request::EraseFlash, time).map(|_| ())
    }

    /// Reads a small piece of flash twice, whichever loader it is: for what a plan must know.
    pub(crate) fn read_small(
        &mut self,
        offset: FlashOffset,
        len: usize,
    ) -> Result<Vec<u8>, FlashError> {
        if let Some(bytes) = self.take_ahead(offset, len) {
            return Ok(bytes);
        }
        if self.loader().is_stub() {
            // What comes is checked by a hash, but the request is not.
            return self
                .agreed(Opcode::ReadFlash, |session| session.read_piece(offset, len as u32));
        }
        if len <= READ_FLASH_SLOW_LEN {
            self.read_ahead(&[offset, offset])?;
            if let Some(bytes) = self.take_ahead(offset, len) {
                return Ok(bytes);
            }
        }
        self.agreed(Opcode::ReadFlashSlow, |session| session.read_slow(offset, len))
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
            // A stream that still runs is broken off by an answer of another length: the SYNC.
            if !self.resync()? {
                return Err(failure);
            }
            attempt += 1;
        }
    }

    /// `None` if what came is not what the device has read.
    fn try_piece(&mut self, offset: FlashOffset, len: u32) -> Result<Option<Vec<u8>>, FlashError> {
        let (offset, packet, in_flight) = (offset.0, PACKET, IN_FLIGHT);
        let request = Request::ReadFlash { offset, len, packet, in_flight };
        let timeout = FlashError::Timeout { command: Opcode::ReadFlash, after: FRAME };
        self.command(&request, FRAME)?;
        let mut bytes = Vec::new();
        while (bytes.len() as u32) < len {
            let wanted = (len - bytes.len() as u32).min(PACKET) as usize;
            // Each byte may be escaped.
            let deadline = self.port.now() + self.wire_time(2 * wanted) + FRAME;
            // Stubs of generation 2 send one frame ahead of its acknowledgement, whatever they are told. It is
            // no word of what came, which the hash at the end is, so it goes as soon as the frame begins to
            // come: then the next one follows without a round trip in between.
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
            Some(digest) => Ok((hex(&digest) == hex(&Md5::digest(&bytes))).then_some(bytes)),
            None => Err(timeout),
        }
    }
}
