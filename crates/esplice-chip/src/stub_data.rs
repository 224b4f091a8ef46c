//! Data of a chip that esplice's own flasher stub needs.

use serde::Deserialize;

use crate::{Addr, RegisterWrite, raw};

/// Memory and registers of the stub.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Stub {
    /// Address of the stub's code.
    #[serde(deserialize_with = "raw::addr")]
    pub code: Addr,
    /// Address of the same memory on the data bus.
    #[serde(deserialize_with = "raw::addr")]
    pub data: Addr,
    /// Bytes that the stub uses there.
    pub ram: u32,
    /// Bytes after these that a program loaded through the stub may use.
    pub program_ram: u32,
    /// The CPU's clock in MHz after the writes in `clocks`.
    pub cpu_mhz: u32,
    /// Register writes that raise the clocks of CPU and flash bus, in order. The stub restores the
    /// registers when it ends.
    #[serde(default)]
    pub clocks: Vec<RegisterWrite>,
    /// First register of UART 0.
    #[serde(deserialize_with = "raw::addr")]
    pub uart: Addr,
    /// The UART's REG_UPDATE, if changes take effect only after a write to it.
    #[serde(default, deserialize_with = "raw::some_addr")]
    pub uart_update: Option<Addr>,
    /// First register of USB-Serial-JTAG, if the chip has it.
    #[serde(default, deserialize_with = "raw::some_addr")]
    pub usb_serial_jtag: Option<Addr>,
    /// First register of the system timer.
    #[serde(deserialize_with = "raw::addr")]
    pub systimer: Addr,
    /// First register of the SHA accelerator.
    #[serde(deserialize_with = "raw::addr")]
    pub sha: Addr,
    /// Register writes that turn the accelerator on.
    pub sha_on: Vec<RegisterWrite>,
    /// The ROM's function that attaches the flash chip: pins, and 0.
    #[serde(deserialize_with = "raw::addr")]
    pub rom_spi_attach: Addr,
}
