//! Requests to the ROM loader and their replies, in both directions.
//!
//! A request is one SLIP frame (esptool documentation, "Serial Protocol", Low Level Protocol):
//!
//! | bytes | request | reply |
//! |---|---|---|
//! | 0 | 0x00 | 0x01 |
//! | 1 | opcode | opcode |
//! | 2–3 | length of the data, little-endian | the same |
//! | 4–7 | checksum of the data, where the command has one | value, for READ_REG |
//! | 8– | data | data, then the status bytes |

use crate::wire::{Reader, Writer};

/// Seed of the checksum over the payload of a block.
pub const CHECKSUM_SEED: u8 = 0xef;

/// Bytes before the data of a request or reply.
pub const HEADER_LEN: usize = 8;

/// Bytes before the payload in the data of FLASH_DATA, MEM_DATA and FLASH_DEFL_DATA: length,
/// sequence number and two zero words.
pub const BLOCK_HEADER_LEN: usize = 16;

/// Bytes of each register write in the data of WRITE_REG.
const REGISTER_WRITE_LEN: usize = 16;

/// Bytes of data in every reply to READ_FLASH_SLOW.
pub const READ_FLASH_SLOW_LEN: usize = 64;

/// The data of SYNC: 07 07 12 20 and 32 times 55, from which the ROM measures the baud rate.
pub const SYNC_DATA: [u8; 36] = {
    let mut data = [0x55; 36];
    data[0] = 0x07;
    data[1] = 0x07;
    data[2] = 0x12;
    data[3] = 0x20;
    data
};

/// Returns the checksum of a block: XOR of its bytes with [`CHECKSUM_SEED`].
pub fn checksum(data: &[u8]) -> u8 {
    data.iter().fold(CHECKSUM_SEED, |sum, byte| sum ^ byte)
}

/// Opcodes of the loader's commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // These are the established names.
pub enum Opcode {
    FlashBegin = 0x02,
    FlashData = 0x03,
    FlashEnd = 0x04,
    MemBegin = 0x05,
    MemEnd = 0x06,
    MemData = 0x07,
    Sync = 0x08,
    WriteReg = 0x09,
    ReadReg = 0x0a,
    SpiSetParams = 0x0b,
    SpiAttach = 0x0d,
    ReadFlashSlow = 0x0e,
    ChangeBaudrate = 0x0f,
    FlashDeflBegin = 0x10,
    FlashDeflData = 0x11,
    FlashDeflEnd = 0x12,
    SpiFlashMd5 = 0x13,
    GetSecurityInfo = 0x14,
    EraseFlash = 0xd0,
    EraseRegion = 0xd1,
    ReadFlash = 0xd2,
    RunUserCode = 0xd3,
}

impl Opcode {
    /// All opcodes.
    pub const ALL: [Opcode; 22] = [
        Opcode::FlashBegin,
        Opcode::FlashData,
        Opcode::FlashEnd,
        Opcode::MemBegin,
        Opcode::MemEnd,
        Opcode::MemData,
        Opcode::Sync,
        Opcode::WriteReg,
        Opcode::ReadReg,
        Opcode::SpiSetParams,
        Opcode::SpiAttach,
        Opcode::ReadFlashSlow,
        Opcode::ChangeBaudrate,
        Opcode::FlashDeflBegin,
        Opcode::FlashDeflData,
        Opcode::FlashDeflEnd,
        Opcode::SpiFlashMd5,
        Opcode::GetSecurityInfo,
        Opcode::EraseFlash,
        Opcode::EraseRegion,
        Opcode::ReadFlash,
        Opcode::RunUserCode,
    ];

    /// Returns whether only flasher stubs know the command (esptool documentation, "Serial
    /// Protocol", Commands: supported by stub loader only).
    pub fn is_stub_only(self) -> bool {
        self as u8 >= Opcode::EraseFlash as u8
    }

    /// Returns the opcode of `byte`, if it is known.
    pub fn from_byte(byte: u8) -> Option<Opcode> {
        Opcode::ALL.into_iter().find(|op| *op as u8 == byte)
    }
}

/// Parameters of FLASH_BEGIN and FLASH_DEFL_BEGIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlashBegin {
    /// Bytes to erase; for FLASH_DEFL_BEGIN the uncompressed length.
    pub erase_len: u32,
    /// Number of blocks that will follow.
    pub blocks: u32,
    /// Bytes of a block.
    pub block_len: u32,
    /// Offset in flash.
    pub offset: u32,
    /// The fifth word (encrypt), if the loader has it.
    pub encrypt: Option<u32>,
}

/// One register write of WRITE_REG. Bits outside `mask` keep their value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegisterWrite {
    /// Address on the bus.
    pub addr: u32,
    /// Value to write.
    pub value: u32,
    /// Mask of the bits to write.
    pub mask: u32,
    /// Wait before the write, in microseconds, on ROM loaders and stubs.
    pub delay_us: u32,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Announces raw blocks and erases their range.
    FlashBegin(FlashBegin),
    /// A raw block.
    FlashData {
        /// Number of the block, from 0.
        sequence: u32,
        /// The block.
        data: Vec<u8>,
    },
    /// Ends raw blocks.
    FlashEnd {
        /// Whether to stay in the loader instead of resetting.
        stay: bool,
    },
    /// Announces compressed blocks and erases their range.
    FlashDeflBegin(FlashBegin),
    /// A compressed block.
    FlashDeflData {
        /// Number of the block, from 0.
        sequence: u32,
        /// The block: a part of one zlib stream.
        data: Vec<u8>,
    },
    /// Ends compressed blocks.
    FlashDeflEnd {
        /// Whether to stay in the loader instead of resetting.
        stay: bool,
    },
    /// Announces blocks for RAM.
    MemBegin {
        /// Total length in bytes.
        len: u32,
        /// Number of blocks that will follow.
        blocks: u32,
        /// Bytes of a block.
        block_len: u32,
        /// Address on the bus.
        addr: u32,
    },
    /// A block for RAM.
    MemData {
        /// Number of the block, from 0.
        sequence: u32,
        /// The block.
        data: Vec<u8>,
    },
    /// Ends blocks for RAM.
    MemEnd {
        /// Whether to stay in the loader instead of jumping.
        stay: bool,
        /// Address to jump to.
        entry: u32,
    },
    /// Starts a conversation and lets the ROM measure the baud rate.
    Sync,
    /// Writes a register.
    WriteReg {
        /// Address on the bus.
        addr: u32,
        /// Value to write.
        value: u32,
        /// Mask of the bits to write.
        mask: u32,
        /// Wait before the write, in microseconds.
        delay_us: u32,
    },
    /// Writes several registers, in order. ROM loaders and stubs accept as many as the data holds.
    WriteRegs(Vec<RegisterWrite>),
    /// Reads a register.
    ReadReg {
        /// Address on the bus.
        addr: u32,
    },
    /// Sets the parameters of the flash chip.
    SpiSetParams {
        /// Size of the chip in bytes.
        total: u32,
        /// Bytes of a block erase.
        block: u32,
        /// Bytes of a sector erase.
        sector: u32,
        /// Bytes of a page program.
        page: u32,
        /// Mask of the relevant bits in the status register.
        status_mask: u32,
    },
    /// Attaches the flash chip.
    SpiAttach {
        /// Pins, 0 for the usual ones.
        pins: u32,
        /// The second word, which ROM loaders have and stubs refuse.
        legacy: Option<u32>,
    },
    /// Reads at most [`READ_FLASH_SLOW_LEN`] bytes of flash. The reply always has that many.
    ReadFlashSlow {
        /// Offset in flash.
        offset: u32,
        /// Length in bytes.
        len: u32,
    },
    /// Changes the baud rate after the reply.
    ChangeBaudrate {
        /// The new rate.
        new: u32,
        /// The current rate, which a stub needs; the ROM loader requires 0.
        old: u32,
    },
    /// Requests the MD5 of a flash range.
    SpiFlashMd5 {
        /// Offset in flash.
        offset: u32,
        /// Length in bytes.
        len: u32,
    },
    /// Requests the security state.
    GetSecurityInfo,
    /// Erases the whole flash. Stubs only.
    EraseFlash,
    /// Erases whole sectors. Stubs only.
    EraseRegion {
        /// Offset in flash, at the start of a sector.
        offset: u32,
        /// Length in bytes, a multiple of the sector size.
        len: u32,
    },
    /// Streams a flash range. Stubs only. After the reply come frames of raw data, each of which is
    /// answered by a frame of four bytes with the total received so far, and then one with the MD5.
    ReadFlash {
        /// Offset in flash.
        offset: u32,
        /// Length in bytes.
        len: u32,
        /// Bytes of a frame.
        packet: u32,
        /// Maximum number of unacknowledged frames.
        in_flight: u32,
    },
    /// Starts the program in flash, without a reply. Stubs only.
    RunUserCode,
}

/// Reason why bytes are not a request or reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedError {
    /// Fewer bytes than a header.
    #[error("frame of {0} bytes is shorter than a header")]
    Short(usize),
    /// The first byte is not the one for the direction.
    #[error("frame starts with 0x{0:02x}")]
    Direction(u8),
    /// The opcode is not known.
    #[error("unknown opcode 0x{0:02x}")]
    Opcode(u8),
    /// The length in the header does not match the frame.
    #[error("frame header says {said} bytes of data, but {has} follow")]
    Length {
        /// Length in the header.
        said: usize,
        /// Length in the frame.
        has: usize,
    },
    /// The data does not have the shape that the command requires.
    #[error("{has} bytes of data are wrong for opcode 0x{opcode:02x}")]
    Data {
        /// The opcode.
        opcode: u8,
        /// Bytes of data.
        has: usize,
    },
}

impl Request {
    /// Returns the opcode of the request.
    pub fn opcode(&self) -> Opcode {
        match self {
            Request::FlashBegin(_) => Opcode::FlashBegin,
            Request::FlashData { .. } => Opcode::FlashData,
            Request::FlashEnd { .. } => Opcode::FlashEnd,
            Request::FlashDeflBegin(_) => Opcode::FlashDeflBegin,
            Request::FlashDeflData { .. } => Opcode::FlashDeflData,
            Request::FlashDeflEnd { .. } => Opcode::FlashDeflEnd,
            Request::MemBegin { .. } => Opcode::MemBegin,
            Request::MemData { .. } => Opcode::MemData,
            Request::MemEnd { .. } => Opcode::MemEnd,
            Request::Sync => Opcode::Sync,
            Request::WriteReg { .. } | Request::WriteRegs(_) => Opcode::WriteReg,
            Request::ReadReg { .. } => Opcode::ReadReg,
            Request::SpiSetParams { .. } => Opcode::SpiSetParams,
            Request::SpiAttach { .. } => Opcode::SpiAttach,
            Request::ReadFlashSlow { .. } => Opcode::ReadFlashSlow,
            Request::ChangeBaudrate { .. } => Opcode::ChangeBaudrate,
            Request::SpiFlashMd5 { .. } => Opcode::SpiFlashMd5,
            Request::GetSecurityInfo => Opcode::GetSecurityInfo,
            Request::EraseFlash => Opcode::EraseFlash,
            Request::EraseRegion { .. } => Opcode::EraseRegion,
            Request::ReadFlash { .. } => Opcode::ReadFlash,
            Request::RunUserCode => Opcode::RunUserCode,
        }
    }

    /// Encodes the request, before SLIP.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut data = Writer::default();
        let mut sum = 0;
        match self {
            Request::FlashBegin(begin) | Request::FlashDeflBegin(begin) => {
                data.words(&[begin.erase_len, begin.blocks, begin.block_len, begin.offset]);
                if let Some(encrypt) = begin.encrypt {
                    data.words(&[encrypt]);
                }
            }
            Request::FlashData { sequence, data: block }
            | Request::FlashDeflData { sequence, data: block }
            | Request::MemData { sequence, data: block } => {
                data.words(&[block.len() as u32, *sequence, 0, 0]);
                data.bytes(block);
                sum = u32::from(checksum(block));
            }
            Request::FlashEnd { stay } | Request::FlashDeflEnd { stay } => {
                data.words(&[u32::from(*stay)]);
            }
            Request::MemBegin { len, blocks, block_len, addr } => {
                data.words(&[*len, *blocks, *block_len, *addr]);
            }
            Request::MemEnd { stay, entry } => data.words(&[u32::from(*stay), *entry]),
            Request::Sync => data.bytes(&SYNC_DATA),
            Request::WriteReg { addr, value, mask, delay_us } => {
                data.words(&[*addr, *value, *mask, *delay_us]);
            }
            Request::WriteRegs(writes) => {
                for write in writes {
                    data.words(&[write.addr, write.value, write.mask, write.delay_us]);
                }
            }
            Request::ReadReg { addr } => data.words(&[*addr]),
            Request::SpiSetParams { total, block, sector, page, status_mask } => {
                data.words(&[0, *total, *block, *sector, *page, *status_mask]);
            }
            Request::SpiAttach { pins, legacy } => {
                data.words(&[*pins]);
                if let Some(legacy) = legacy {
                    data.words(&[*legacy]);
                }
            }
            Request::ReadFlashSlow { offset, len } => data.words(&[*offset, *len]),
            Request::ChangeBaudrate { new, old } => data.words(&[*new, *old]),
            Request::SpiFlashMd5 { offset, len } => data.words(&[*offset, *len, 0, 0]),
            Request::EraseRegion { offset, len } => data.words(&[*offset, *len]),
            Request::ReadFlash { offset, len, packet, in_flight } => {
                data.words(&[*offset, *len, *packet, *in_flight]);
            }
            Request::GetSecurityInfo | Request::EraseFlash | Request::RunUserCode => {}
        }
        let data = data.into_bytes();
        let mut frame = Writer::default();
        frame.bytes(&[0x00, self.opcode() as u8]);
        frame.bytes(&(data.len() as u16).to_le_bytes());
        frame.words(&[sum]);
        frame.bytes(&data);
        frame.into_bytes()
    }

    /// Decodes a request whose header was already read, as a loader on the device does. Checks the
    /// shape of the data but not the checksum: see [`RawRequest::has_valid_checksum`].
    ///
    /// # Errors
    /// [`MalformedError`] if opcode or shape is unknown.
    pub fn from_raw(raw: &RawRequest<'_>) -> Result<Request, MalformedError> {
        let op = Opcode::from_byte(raw.opcode).ok_or(MalformedError::Opcode(raw.opcode))?;
        let malformed = MalformedError::Data { opcode: raw.opcode, has: raw.data.len() };
        let mut data = Reader::new(raw.data);
        let request = (|| {
            Some(match op {
                Opcode::FlashBegin | Opcode::FlashDeflBegin => {
                    let begin = FlashBegin {
                        erase_len: data.word()?,
                        blocks: data.word()?,
                        block_len: data.word()?,
                        offset: data.word()?,
                        encrypt: data.word(),
                    };
                    if op == Opcode::FlashBegin {
                        Request::FlashBegin(begin)
                    } else {
                        Request::FlashDeflBegin(begin)
                    }
                }
                Opcode::FlashData | Opcode::FlashDeflData | Opcode::MemData => {
                    let len = data.word()? as usize;
                    let sequence = data.word()?;
                    data.word()?;
                    data.word()?;
                    let block = data.rest();
                    if block.len() != len {
                        return None;
                    }
                    let block = block.to_vec();
                    match op {
                        Opcode::FlashData => Request::FlashData { sequence, data: block },
                        Opcode::FlashDeflData => Request::FlashDeflData { sequence, data: block },
                        _ => Request::MemData { sequence, data: block },
                    }
                }
                Opcode::FlashEnd => Request::FlashEnd { stay: data.word()? != 0 },
                Opcode::FlashDeflEnd => Request::FlashDeflEnd { stay: data.word()? != 0 },
                Opcode::MemBegin => Request::MemBegin {
                    len: data.word()?,
                    blocks: data.word()?,
                    block_len: data.word()?,
                    addr: data.word()?,
                },
                Opcode::MemEnd => Request::MemEnd { stay: data.word()? != 0, entry: data.word()? },
                Opcode::Sync => {
                    if data.rest() != SYNC_DATA {
                        return None;
                    }
                    Request::Sync
                }
                Opcode::WriteReg => {
                    let mut writes = Vec::new();
                    for _ in 0..(raw.data.len() / REGISTER_WRITE_LEN).max(1) {
                        writes.push(RegisterWrite {
                            addr: data.word()?,
                            value: data.word()?,
                            mask: data.word()?,
                            delay_us: data.word()?,
                        });
                    }
                    match *writes.as_slice() {
                        [RegisterWrite { addr, value, mask, delay_us }] => {
                            Request::WriteReg { addr, value, mask, delay_us }
                        }
                        _ => Request::WriteRegs(writes),
                    }
                }
                Opcode::ReadReg => Request::ReadReg { addr: data.word()? },
                Opcode::SpiSetParams => {
                    data.word()?;
                    Request::SpiSetParams {
                        total: data.word()?,
                        block: data.word()?,
                        sector: data.word()?,
                        page: data.word()?,
                        status_mask: data.word()?,
                    }
                }
                Opcode::SpiAttach => Request::SpiAttach { pins: data.word()?, legacy: data.word() },
                Opcode::ReadFlashSlow => {
                    Request::ReadFlashSlow { offset: data.word()?, len: data.word()? }
                }
                Opcode::ChangeBaudrate => {
                    Request::ChangeBaudrate { new: data.word()?, old: data.word()? }
                }
                Opcode::SpiFlashMd5 => {
                    let (offset, len) = (data.word()?, data.word()?);
                    data.word()?;
                    data.word()?;
                    Request::SpiFlashMd5 { offset, len }
                }
                Opcode::GetSecurityInfo => Request::GetSecurityInfo,
                Opcode::EraseFlash => Request::EraseFlash,
                Opcode::EraseRegion => {
                    Request::EraseRegion { offset: data.word()?, len: data.word()? }
                }
                Opcode::ReadFlash => Request::ReadFlash {
                    offset: data.word()?,
                    len: data.word()?,
                    packet: data.word()?,
                    in_flight: data.word()?,
                },
                Opcode::RunUserCode => Request::RunUserCode,
            })
        })()
        .ok_or(malformed)?;
        if data.rest().is_empty() { Ok(request) } else { Err(malformed) }
    }
}

/// The parts of a request's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawRequest<'a> {
    /// The opcode byte, known or not.
    pub opcode: u8,
    /// The checksum word.
    pub checksum: u32,
    /// The data.
    pub data: &'a [u8],
}

impl<'a> RawRequest<'a> {
    /// Splits a frame (after SLIP).
    ///
    /// # Errors
    /// [`MalformedError`] if the header is invalid.
    pub fn from_frame(frame: &'a [u8]) -> Result<RawRequest<'a>, MalformedError> {
        let (opcode, checksum, data) = cut(frame, 0x00)?;
        Ok(RawRequest { opcode, checksum, data })
    }

    /// Returns whether the checksum matches the payload of a block command.
    pub fn has_valid_checksum(&self) -> bool {
        self.data
            .get(BLOCK_HEADER_LEN..)
            .is_some_and(|payload| u32::from(checksum(payload)) == self.checksum & 0xff)
    }
}

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
            0xff => "command not implemented",
            _ => "unknown reason",
        }
    }
}

fn cut(frame: &[u8], direction: u8) -> Result<(u8, u32, &[u8]), MalformedError> {
    let mut reader = Reader::new(frame);
    let short = MalformedError::Short(frame.len());
    let first = reader.byte().ok_or(short)?;
    let opcode = reader.byte().ok_or(short)?;
    let said = usize::from(reader.half().ok_or(short)?);
    let word = reader.word().ok_or(short)?;
    if first != direction {
        return Err(MalformedError::Direction(first));
    }
    let data = reader.rest();
    if data.len() != said {
        return Err(MalformedError::Length { said, has: data.len() });
    }
    Ok((opcode, word, data))
}
