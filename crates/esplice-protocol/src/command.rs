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

/// Seed of the checksum over the payload of a block.
pub const CHECKSUM_SEED: u8 = 0xef;

/// Bytes before the data of a request or reply.
pub const HEADER_LEN: usize = 8;

/// Bytes before the payload in the data of FLASH_DATA, MEM_DATA and FLASH_DEFL_DATA: length,
/// sequence number and two zero words.
pub const BLOCK_HEADER_LEN: usize = 16;

/// Bytes of data in every reply to READ_FLASH_SLOW.
pub const READ_FLASH_SLOW_LEN: usize = 64;

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
    // Those of esplice's own stub: crate esplice-stub, module wire.
    StubInfo = 0xe0,
    HashSectors = 0xe1,
    StreamBegin = 0xe2,
    StreamData = 0xe3,
    StreamFinish = 0xe4,
    StreamRead = 0xe5,
    BlankCheck = 0xe6,
    IdleTimeout = 0xe7,
    Clocks = 0xe8,
}

impl Opcode {
    /// All opcodes.
    pub const ALL: [Opcode; 31] = [
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
        Opcode::StubInfo,
        Opcode::HashSectors,
        Opcode::StreamBegin,
        Opcode::StreamData,
        Opcode::StreamFinish,
        Opcode::StreamRead,
        Opcode::BlankCheck,
        Opcode::IdleTimeout,
        Opcode::Clocks,
    ];

    /// Returns whether only flasher stubs know the command (esptool documentation, "Serial
    /// Protocol", Commands: supported by stub loader only).
    pub fn is_stub_only(self) -> bool {
        self as u8 >= Opcode::EraseFlash as u8
    }

    /// Returns whether only esplice's own stub knows the command.
    pub fn is_own(self) -> bool {
        self as u8 >= Opcode::StubInfo as u8
    }

    /// Returns the opcode of `byte`, if it is known.
    pub fn from_byte(byte: u8) -> Option<Opcode> {
        Opcode::ALL.into_iter().find(|op| *op as u8 == byte)
    }
}
