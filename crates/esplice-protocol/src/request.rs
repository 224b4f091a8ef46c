//! Requests to a loader.

use crate::{
    command::{BLOCK_HEADER_LEN, Opcode, checksum},
    wire::{Reader, Writer},
};

/// Bytes of each register write in the data of WRITE_REG.
const REGISTER_WRITE_LEN: usize = 16;

/// The data of SYNC: 07 07 12 20 and 32 times 55, from which the ROM measures the baud rate.
pub const SYNC_DATA: [u8; 36] = {
    let mut data = [0x55; 36];
    data[0] = 0x07;
    data[1] = 0x07;
    data[2] = 0x12;
    data[3] = 0x20;
    data
};

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
        /// True to stay in the loader instead of resetting.
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
        /// True to stay in the loader instead of resetting.
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
        /// True to stay in the loader instead of jumping.
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
    /// Reads at most [`READ_FLASH_SLOW_LEN`](crate::READ_FLASH_SLOW_LEN) bytes of flash. The reply always has that many.
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
    /// A command of esplice's own stub ([`Opcode::is_own`]), whose data the crate `esplice-stub`
    /// describes.
    Own {
        /// The command.
        opcode: Opcode,
        /// The data.
        data: Vec<u8>,
    },
}

/// Reason why bytes are not a request or reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
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
            Request::Own { opcode, .. } => *opcode,
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
            Request::Own { data: own, .. } => data.bytes(own),
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
                Opcode::StubInfo
                | Opcode::HashSectors
                | Opcode::StreamBegin
                | Opcode::StreamData
                | Opcode::StreamFinish
                | Opcode::StreamRead
                | Opcode::BlankCheck
                | Opcode::IdleTimeout
                | Opcode::Clocks => Request::Own { opcode: op, data: data.rest().to_vec() },
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

/// Splits a frame into opcode, word and data.
pub(crate) fn cut(frame: &[u8], direction: u8) -> Result<(u8, u32, &[u8]), MalformedError> {
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
