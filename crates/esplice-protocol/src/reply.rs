//! Replies of a loader.

use crate::{
    request::{MalformedError, cut},
    wire::Writer,
};

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Opcode of the request that it answers.
    pub opcode: u8,
    /// Value of READ_REG; stale in other replies.
    pub value: u32,
    /// Data, including the status bytes at the end.
    pub data: Vec<u8>,
}

/// Status of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// 0 for success; 1 for a ROM's refusal; [`STUB_REASONS`] or above for a stub's reason.
    pub failed: u8,
    /// Reason of a ROM; stale after success.
    pub reason: u8,
}

/// The smallest reason code that stubs put into the first byte of a status (esptool documentation,
/// "Serial Protocol", Stub Loader Errors).
pub const STUB_REASONS: u8 = 0xc0;

impl Reply {
    /// Encodes the reply, before SLIP.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut frame = Writer::default();
        frame.bytes(&[0x01, self.opcode]);
        frame.bytes(&(self.data.len() as u16).to_le_bytes());
        frame.words(&[self.value]);
        frame.bytes(&self.data);
        frame.into_bytes()
    }

    /// Splits a frame (after SLIP).
    ///
    /// # Errors
    /// [`MalformedError`] if the header is invalid.
    pub fn from_frame(frame: &[u8]) -> Result<Reply, MalformedError> {
        let (opcode, value, data) = cut(frame, 0x01)?;
        Ok(Reply { opcode, value, data: data.to_vec() })
    }

    /// Splits the data from the status, which takes the last `status_len` bytes. Only byte 0 shows
    /// success: byte 1 is stale then.
    pub fn split_status(&self, status_len: usize) -> Option<(&[u8], Status)> {
        let at = self.data.len().checked_sub(status_len)?;
        let (data, status) = self.data.split_at(at);
        Some((data, Status { failed: *status.first()?, reason: *status.get(1)? }))
    }
}

impl Status {
    /// Returns whether the command succeeded.
    pub fn is_ok(self) -> bool {
        self.failed == 0
    }

    /// Returns the reason code: in a ROM's status it is the second byte, in a stub's the first.
    pub fn reason_code(self) -> u8 {
        if self.failed >= STUB_REASONS { self.failed } else { self.reason }
    }

    /// Returns whether the reason is a checksum mismatch.
    pub fn is_checksum(self) -> bool {
        matches!(self.reason_code(), 0x07 | 0xc1)
    }

    /// Returns the meaning of the reason code (esptool documentation, "Serial Protocol", ROM Loader
    /// Errors and Stub Loader Errors).
    pub fn meaning(self) -> &'static str {
        match self.reason_code() {
            0x05 => "message is invalid",
            0x06 => "failed to act on the message",
            0x07 => "checksum mismatch",
            0x08 => "flash write error",
            0x09 => "flash read error",
            0x0a => "flash read length error",
            0x0b => "deflate error",
            0xc0 => "wrong length of data",
            0xc1 => "checksum mismatch",
            0xc2 => "wrong block size",
            0xc3 => "invalid command",
            0xc4 => "the flash chip failed",
            0xc5 => "the flash chip could not be unlocked",
            0xc6 => "no transfer was started",
            0xc7 => "deflate error",
            0xc8 => "not enough data",
            0xc9 => "too much data",
            0xd0 => "the flash chip stays busy",
            0xd1 => "outside the announced range or the flash chip",
            0xd2 => "the flash holds other bytes than were written",
            0xd3 => "invalid parameter",
            0xd4 => "a part of the stub is missing",
            0xff => "command not implemented",
            _ => "unknown reason",
        }
    }
}
