//! Traits of the loader in use.
//!
//! A ROM loader and a stub share their commands and differ in details. These details are here; no
//! other code distinguishes the two. Facts about stubs are from esptool's documentation ("Serial
//! Protocol") and Espressif's esp-flasher-stub 1.1.0, src/command_handler.c; those about ROMs are
//! chip data.

use esplice_chip::Chip;
use esplice_protocol::{FlashBegin, Request};

/// Traits that the ROM loaders of all known chips share, used until the chip is known: baud rate,
/// bytes of status, replies to one SYNC. A test compares them with every chip's data.
pub(crate) const ROM_BAUD: u32 = 115_200;
const ROM_STATUS_LEN: usize = 4;
const ROM_SYNC_REPLIES: usize = 8;
/// Bytes of a flash block and of a RAM block that every ROM accepts.
const ROM_BLOCK: u32 = 0x400;
const RAM_BLOCK: u32 = 0x1800;

/// Bytes of a stub's status.
pub(crate) const STUB_STATUS_LEN: usize = 2;
/// Number of replies of a stub to one SYNC, the same as for ROMs (`s_sync`).
const STUB_SYNC_REPLIES: usize = 8;
/// Bytes of a flash block that a stub accepts (`FRAME_BUFFER_SIZE`).
const STUB_BLOCK: u32 = 0x4000;
/// Bytes of the first blocks of a compressed write. A stub starts an erase with BEGIN and the next
/// one with each block (`s_conditional_erase_next`), and has nothing to program at first. Measured
/// on the virtual board at 921600 baud: 6 % faster than with whole blocks at 90 KB, 2 % at 570 KB.
const STUB_LEAD: [u32; 2] = [0x1000; 2];

/// The loader that answers: ROM or stub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loader {
    is_stub: bool,
    /// Bytes of status after each reply's data.
    pub(crate) status_len: usize,
    /// Number of replies to one SYNC.
    pub(crate) sync_replies: usize,
    /// Bytes of a block for flash.
    pub(crate) block_len: u32,
    /// Bytes of the first blocks of a compressed write, if they are shorter.
    pub(crate) lead: &'static [u32],
    /// Bytes of a block for RAM.
    pub(crate) ram_block: u32,
    /// True if blocks may be compressed.
    pub(crate) deflate: bool,
    /// True if BEGIN has the word that requests encryption.
    begin_has_encrypt_word: bool,
}

impl Loader {
    /// Returns the traits of `chip`'s ROM loader, or those that all known chips share.
    pub(crate) fn rom(chip: Option<&Chip>) -> Loader {
        let data = chip.map(|chip| &chip.loader);
        Loader {
            is_stub: false,
            status_len: data.map_or(ROM_STATUS_LEN, |data| data.status_len),
            sync_replies: data.map_or(ROM_SYNC_REPLIES, |data| data.sync_replies),
            block_len: data.map_or(ROM_BLOCK, |data| data.rom_block.max(1)),
            lead: &[],
            ram_block: data.map_or(RAM_BLOCK, |data| data.ram_block.max(1)),
            deflate: data.is_some_and(|data| data.deflate),
            begin_has_encrypt_word: data.is_some_and(|data| data.begin_has_encrypt_word),
        }
    }

    /// Returns the traits of a stub on `chip`.
    pub(crate) fn stub(chip: Option<&Chip>) -> Loader {
        Loader {
            is_stub: true,
            status_len: STUB_STATUS_LEN,
            sync_replies: STUB_SYNC_REPLIES,
            block_len: STUB_BLOCK,
            lead: &STUB_LEAD,
            ram_block: chip.map_or(RAM_BLOCK, |chip| chip.loader.ram_block.max(1)),
            deflate: true,
            begin_has_encrypt_word: false,
        }
    }

    /// Returns whether this is a stub in RAM and not the ROM. Only stubs can erase without writing
    /// ([`crate::Session::erase_region`]) and stream flash ([`crate::Session::read_flash`]).
    pub fn is_stub(&self) -> bool {
        self.is_stub
    }

    /// Returns whether the loader acknowledges a block before it writes it to flash. The next
    /// command then waits for the write, and is refused if the write failed.
    pub(crate) fn acknowledges_early(&self) -> bool {
        self.is_stub
    }

    /// Returns whether BEGIN returns after the whole erase; otherwise blocks arrive meanwhile.
    pub(crate) fn erases_at_begin(&self) -> bool {
        !self.is_stub
    }

    /// Returns the request that attaches the flash chip at its usual pins.
    pub(crate) fn attach(&self) -> Request {
        // A stub refuses more than one word.
        Request::SpiAttach { pins: 0, legacy: (!self.is_stub).then_some(0) }
    }

    /// Returns the request that changes the baud rate from `now` to `new`.
    pub(crate) fn change_baud(&self, new: u32, now: u32) -> Request {
        Request::ChangeBaudrate { new, old: if self.is_stub { now } else { 0 } }
    }

    /// Returns the request that announces `blocks` for `len` bytes of flash at `offset` and erases
    /// that range.
    pub(crate) fn begin(&self, offset: u32, len: u32, blocks: u32, deflate: bool) -> Request {
        let begin = FlashBegin {
            // A ROM requires whole blocks here (esptool documentation, "Serial Protocol",
            // FLASH_DEFL_BEGIN), which do not reach into another sector; a stub requires the
            // length.
            erase_len: if self.is_stub { len } else { len.next_multiple_of(self.block_len) },
            blocks,
            block_len: self.block_len,
            offset,
            encrypt: self.begin_has_encrypt_word.then_some(0),
        };
        if deflate { Request::FlashDeflBegin(begin) } else { Request::FlashBegin(begin) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_chips_share_what_is_taken_for_granted() {
        for chip in esplice_chip::ChipDb::embedded().chips() {
            let loader = &chip.loader;
            let traits = (loader.initial_baud, loader.status_len, loader.sync_replies);
            assert_eq!(traits, (ROM_BAUD, ROM_STATUS_LEN, ROM_SYNC_REPLIES), "{}", chip.name);
            // The length of its status distinguishes a stub from a ROM.
            assert_ne!(loader.status_len, STUB_STATUS_LEN, "{}", chip.name);
        }
    }
}
