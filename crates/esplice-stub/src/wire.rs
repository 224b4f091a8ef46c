//! Numbers of the stub's own commands, as both ends need them.
//!
//! A request or reply has the form of the loader's other commands. The data of each reply to one of
//! these ends with the CRC-32 of what precedes it, before the two status bytes.
//! All numbers are little-endian words of four bytes, unless said otherwise.
//!
//! | command | data of the request | data of the reply |
//! |---|---|---|
//! | [`INFO`] | – | [`VERSION`], block length, blocks in flight, window length, coders (a bit each), CPU clock in MHz, first and end of the RAM for programs |
//! | [`HASH`] | pairs of offset and length | for each sector the first [`HASH_LEN`] bytes of its SHA-256 |
//! | [`WRITE`] | coder, properties, compressed length, number of ranges, then the ranges | the same as [`DATA`]'s reply |
//! | [`DATA`] | sequence number, CRC-32 of the block XOR the number, a block | next block expected, blocks consumed, a bit for each later block that arrived, error |
//! | [`FINISH`] | – | sectors erased, blocks of 64 KiB erased, bytes programmed |
//! | [`READ`] | offset, length, frames in flight | frames, see below |
//! | [`BLANK`] | pairs of offset and length | a bit for each sector, 1 if it is not blank, lowest first |
//! | [`IDLE`] | milliseconds without a request until the chip resets; 0 waits for ever | – |
//! | [`CLOCKS`] | 1 raises the clocks, 0 restores them | CPU clock in MHz |
//!
//! A range of [`WRITE`] has offset, length, end of what may be erased, flags, and the SHA-256 of
//! its bytes: 48 bytes. The stream has the bytes of all ranges in their order. [`DATA`] is
//! answered at once, and again when blocks have been consumed.
//!
//! Frames of [`READ`] have the opcode, and data of offset, number of bytes, kind and CRC-32 of the
//! bytes, then the contents. The host answers with the same opcode and the number of frames it has
//! taken. A reply with a status ends the stream.

/// Version of these commands.
pub const VERSION: u32 = 1;

/// Describes the stub.
pub const INFO: u8 = 0xe0;
/// Hashes sectors.
pub const HASH: u8 = 0xe1;
/// Announces a write.
pub const WRITE: u8 = 0xe2;
/// A block of a write.
pub const DATA: u8 = 0xe3;
/// Waits until everything is written and verified.
pub const FINISH: u8 = 0xe4;
/// Reads flash, compressed.
pub const READ: u8 = 0xe5;
/// Finds blank sectors.
pub const BLANK: u8 = 0xe6;
/// Sets the time after which an idle stub resets the chip.
pub const IDLE: u8 = 0xe7;
/// Raises or restores the clocks.
pub const CLOCKS: u8 = 0xe8;

/// Bytes of a hash in [`HASH`]'s reply.
pub const HASH_LEN: usize = 8;
/// Bytes of a sector.
pub const SECTOR: u32 = 0x1000;
/// Bytes of a block of [`DATA`]; only the last one is shorter.
pub const BLOCK: usize = 2048;
/// Blocks that the stub buffers.
pub const BLOCKS: usize = 16;
/// Bytes of the window of both coders.
pub const WINDOW: usize = 0x1_0000;
/// Maximum number of ranges in one request.
pub const RANGES: usize = 64;
/// Bytes of a range of [`WRITE`].
pub const RANGE_LEN: usize = 48;
/// Bytes that precede the contents in a frame of [`READ`].
pub const READ_HEADER: usize = 16;
/// Bytes of flash in a frame of [`READ`], except for blank ones.
pub const READ_PIECE: usize = 0x2000;
/// Bytes before a piece that its compression may refer to.
pub const READ_HISTORY: usize = 0x8000;

/// Coders of [`WRITE`]: the bytes themselves.
pub const RAW: u32 = 0;
/// A zlib stream.
pub const ZLIB: u32 = 1;
/// A raw LZMA stream.
pub const LZMA: u32 = 2;
/// A raw LZMA stream of bytes that went through the RISC-V filter.
pub const LZMA_RISCV: u32 = 3;

/// All coders, a bit each.
pub const CODERS: u32 = 1 << RAW | 1 << ZLIB | 1 << LZMA | 1 << LZMA_RISCV;

/// Flag of a range: its first word is programmed last, once the rest is verified.
pub const HEAD_LAST: u32 = 1;

/// Kinds of frames of [`READ`]: the bytes themselves.
pub const KIND_RAW: u32 = 0;
/// A block of the LZ4 format.
pub const KIND_LZ4: u32 = 1;
/// All bytes are 0xFF; the checksum is that of the number of bytes.
pub const KIND_BLANK: u32 = 2;

/// Reasons in the first status byte of a failed command. Those below 0xD0 are esp-flasher-stub's
/// (version 1.1.0, src/commands.h).
pub mod reason {
    /// The length of the data is wrong.
    pub const LENGTH: u8 = 0xc0;
    /// The checksum of a block is wrong.
    pub const CHECKSUM: u8 = 0xc1;
    /// The command does not fit here.
    pub const INVALID: u8 = 0xc3;
    /// The flash chip does not accept writes.
    pub const PROTECTED: u8 = 0xc5;
    /// No write was announced.
    pub const NO_WRITE: u8 = 0xc6;
    /// The stream can't be decoded.
    pub const STREAM: u8 = 0xc7;
    /// The stream is shorter than announced.
    pub const SHORT: u8 = 0xc8;
    /// The stream is longer than announced.
    pub const LONG: u8 = 0xc9;
    /// The flash chip stays busy for longer than it may.
    pub const BUSY: u8 = 0xd0;
    /// An offset or address is outside what was announced, or outside the flash chip.
    pub const RANGE: u8 = 0xd1;
    /// The flash holds other bytes than were written.
    pub const VERIFY: u8 = 0xd2;
    /// A parameter is not valid.
    pub const PARAMETER: u8 = 0xd3;
    /// The command needs a part of the stub that was not uploaded.
    pub const PART: u8 = 0xd4;
    /// The command is unknown.
    pub const UNKNOWN: u8 = 0xff;
}
