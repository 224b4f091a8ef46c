//! The reply to GET_SECURITY_INFO.

use crate::wire::{Reader, Writer};

/// The chip's security state as reported by the ROM (esptool documentation, "Serial Protocol",
/// Get Security Info): flags, counters of eFuse bits, key purposes, and on newer ROMs the chip's
/// ID and the ROM's API version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SecurityInfo {
    /// Flags as the ROM reports them: bit 0 is secure boot, bit 2 secure download mode, and so on.
    pub flags: u32,
    /// SPI_BOOT_CRYPT_CNT: flash encryption is on if an odd number of its bits is set.
    pub flash_crypt_cnt: u8,
    /// Purposes of the seven key blocks.
    pub key_purposes: [u8; 7],
    /// The chip ID, as in image headers.
    pub chip_id: Option<u32>,
    /// Version of the ROM's API.
    pub api_version: Option<u32>,
}

impl SecurityInfo {
    /// Bit of `flags`: secure boot is on.
    pub const SECURE_BOOT: u32 = 1 << 0;
    /// Bit of `flags`: download mode refuses most commands.
    pub const SECURE_DOWNLOAD: u32 = 1 << 2;

    /// Length of the longest form in bytes, without status.
    pub const LONGEST: usize = 20;

    /// Encodes the data of the reply, without status.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.words(&[self.flags]);
        out.bytes(&[self.flash_crypt_cnt]);
        out.bytes(&self.key_purposes);
        if let (Some(chip), Some(api)) = (self.chip_id, self.api_version) {
            out.words(&[chip, api]);
        }
        out.into_bytes()
    }

    /// Decodes the data of a reply, which is 12 or 20 bytes long.
    pub fn from_bytes(bytes: &[u8]) -> Option<SecurityInfo> {
        let mut data = Reader::new(bytes);
        let flags = data.word()?;
        let flash_crypt_cnt = data.byte()?;
        let mut key_purposes = [0; 7];
        for purpose in &mut key_purposes {
            *purpose = data.byte()?;
        }
        let (chip_id, api_version) = match bytes.len() {
            12 => (None, None),
            20 => (Some(data.word()?), Some(data.word()?)),
            _ => return None,
        };
        Some(SecurityInfo { flags, flash_crypt_cnt, key_purposes, chip_id, api_version })
    }
}
