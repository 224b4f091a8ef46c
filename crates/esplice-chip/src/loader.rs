//! A chip's loader, and its ways into download mode.

use serde::Deserialize;

use crate::{Addr, RegisterWrite, raw};

/// Properties of the ROM loader.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Loader {
    /// Baud rate at which every connection starts.
    pub initial_baud: u32,
    /// Size of a FLASH_DATA or FLASH_DEFL_DATA block in bytes.
    pub rom_block: u32,
    /// Size of a MEM_DATA block in bytes.
    pub ram_block: u32,
    /// Flash size in bytes that the ROM assumes until SPI_SET_PARAMS sets it.
    pub rom_flash_size: u32,
    /// Number of status bytes after each reply of the ROM.
    pub status_len: usize,
    /// Number of replies to one SYNC.
    pub sync_replies: usize,
    /// True if FLASH_BEGIN has a fifth word that requests encryption.
    pub begin_has_encrypt_word: bool,
    /// True if the loader has the FLASH_DEFL_* commands.
    pub deflate: bool,
    /// True if the loader has GET_SECURITY_INFO.
    pub security_info: bool,
    /// True if GET_SECURITY_INFO returns the chip ID of image headers, which identifies the chip.
    pub security_info_has_chip_id: bool,
    /// Address of a ROM word that differs between chips.
    #[serde(default, deserialize_with = "raw::some_addr")]
    pub magic_addr: Option<Addr>,
    /// The values of that word on this chip's revisions.
    pub magic_values: Vec<u32>,
    /// The stub that esptool uses for early revisions, if they need a different one.
    #[serde(default)]
    pub early_stub: Option<EarlyStub>,
    /// Number of received bytes that the ROM buffers while it is busy, if known to be more than its
    /// UART's FIFO.
    #[serde(default)]
    pub receive_ring: Option<u32>,
    /// Register writes that raise the clocks, so that loader and stub work faster than with the
    /// clocks after a reset. They do not affect the UART. They last until the next reset.
    #[serde(default)]
    pub fast_clocks: Vec<RegisterWrite>,
}

/// A stub for early revisions of a chip.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStub {
    /// The stub's name.
    pub name: String,
    /// The first revision (major, minor) that is not early.
    pub below: (u8, u8),
}

impl Loader {
    /// Returns the name of the stub for the chip `chip` of a given revision (major, minor).
    pub fn stub_name<'a>(&'a self, chip: &'a str, revision: (u8, u8)) -> &'a str {
        match &self.early_stub {
            Some(early) if revision < early.below => &early.name,
            _ => chip,
        }
    }
}

/// Registers of the SPI controller that reaches the flash chip, as offsets from `base`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SpiRegisters {
    /// First address of the controller.
    #[serde(deserialize_with = "raw::addr")]
    pub base: Addr,
    /// CMD.
    pub cmd: u32,
    /// ADDR.
    pub addr: u32,
    /// True if an address shorter than 32 bits is stored in the high bits of ADDR.
    #[serde(default)]
    pub addr_high: bool,
    /// USER.
    pub usr: u32,
    /// USER1.
    pub usr1: u32,
    /// USER2.
    pub usr2: u32,
    /// MOSI_DLEN.
    pub mosi_dlen: u32,
    /// MISO_DLEN.
    pub miso_dlen: u32,
    /// W0, the first word of the data buffer.
    pub w0: u32,
}

/// Names of reset sequences, best first.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Reset {
    /// Over a UART bridge.
    pub uart: Vec<String>,
    /// Over the chip's own USB-Serial-JTAG.
    #[serde(default)]
    pub usb_serial_jtag: Vec<String>,
    /// USB IDs of the USB-Serial-JTAG port.
    pub usb_serial_jtag_id: Option<UsbId>,
}

/// USB vendor and product ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsbId {
    /// Vendor ID.
    pub vid: u16,
    /// Product ID.
    pub pid: u16,
}

/// USB-OTG, driven by the ROM's USB stack.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct UsbOtg {
    /// Address of the word in the ROM's data that holds the port used by the loader.
    #[serde(deserialize_with = "raw::addr")]
    pub uart_no_addr: Addr,
    /// Value of that word for USB-OTG.
    pub uart_no: u32,
    /// Maximum size of a MEM_DATA block over USB-OTG, in bytes.
    pub ram_block: u32,
    /// USB IDs of the ROM's port.
    pub id: Option<UsbId>,
}
