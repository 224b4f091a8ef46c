//! Facts about a chip that a virtual board needs.

use serde::Deserialize;

use crate::{Addr, Peripheral, Space, raw};

/// The virtual board of this chip.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Sim {
    /// File in `targets/` with the addresses of ROM functions.
    pub rom_table: String,
    /// Chip revision in the eFuses: major, minor.
    pub revision: (u8, u8),
    /// Version of the mask ROM, as reported by GET_SECURITY_INFO.
    pub rom_eco_version: u32,
    /// MAC address in the eFuses.
    pub mac: [u8; 6],
    /// The CPU.
    pub cpu: SimCpu,
    /// The flash chip.
    pub flash: Flash,
    /// The eFuses' write and read protection.
    pub efuse: EfuseGuards,
    /// Value of the strapping register for a boot from flash.
    pub boot_strap: u32,
    /// Value of the strapping register for download mode.
    pub download_strap: u32,
    /// Numbers of the reset reasons at which the strapping pins are sampled. Other resets leave the
    /// register unchanged.
    pub strap_resets: Vec<u8>,
    /// The strapping register.
    #[serde(deserialize_with = "raw::addr")]
    pub strap_addr: Addr,
    /// Reset value of each pad's I/O multiplexer register, starting with pin 0.
    pub pads: Vec<u32>,
    /// Address ranges of the devices. Addresses in them without a device behave as storage.
    pub peripheral_spaces: Vec<Space>,
    /// Number of interrupt sources.
    pub interrupt_sources: u32,
    /// Number of pins that the GPIO registers have room for.
    pub pins: u32,
    /// The analog-to-digital converters, if they are modelled.
    #[serde(default)]
    pub adc: Option<SimAdc>,
    /// The devices and their addresses.
    #[serde(rename = "peripheral")]
    pub peripherals: Vec<Peripheral>,
}

/// Differences between the CPUs of virtual boards, apart from the instruction set.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SimCpu {
    /// mvendorid.
    pub vendor_id: u32,
    /// marchid.
    pub arch_id: u32,
    /// mimpid.
    pub implementation_id: u32,
    /// True if mie and mip exist, and mie masks interrupts.
    pub interrupt_csrs: bool,
    /// Number of triggers in the debug unit.
    pub triggers: u32,
    /// Number of memory protection (PMP) entries.
    pub pmp_entries: u32,
    /// Ranges of control and status registers that are only stored: first, last.
    #[serde(default)]
    pub stored_csrs: Vec<(u32, u32)>,
}

/// The analog-to-digital converters of a virtual board.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SimAdc {
    /// Pins of each unit's channels, starting with channel 0.
    pub channels: Vec<Vec<u32>>,
    /// Register and bit of the analog part that connect each unit to ground.
    pub ground: Vec<(u8, u8)>,
    /// The converters' curve for each attenuation, starting with 0 dB.
    #[serde(rename = "attenuation")]
    pub attenuations: Vec<SimAttenuation>,
    /// Calibration in the eFuses, which describes these curves: fields and values.
    pub calibration: Vec<(String, u64)>,
}

/// A converter's curve for one attenuation. A code is first a voltage by the line through zero and
/// the reference point; the true voltage is less by an error, a polynomial of that voltage.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SimAttenuation {
    /// Code at 0 mV without the correction by the initial code.
    pub init_code: u32,
    /// The reference point's voltage in mV.
    pub millivolts: u32,
    /// The reference point's code.
    pub code: u32,
    /// Coefficients of the error in mV, beginning with the constant one.
    pub error: Vec<f64>,
}

/// The eFuse bits of block 0 that protect others from being burnt or read.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EfuseGuards {
    /// Fields of block 0: the bit that write-protects the field, the field's first bit, its number
    /// of bits.
    pub fields: Vec<(u32, u32, u32)>,
    /// The bit that write-protects block 1; those of the following blocks come next.
    pub first_block: u32,
    /// The first block that can be read-protected.
    pub first_secret: u32,
    /// The bit that read-protects it; those of the following blocks come next.
    pub read_guard: u32,
}

/// The virtual board's flash chip, with its typical times. They count in virtual time.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Flash {
    /// JEDEC ID: manufacturer, type, capacity (log2 of bytes).
    pub jedec: [u8; 3],
    /// Time to erase 4 KiB, in microseconds.
    pub erase_4k_us: u32,
    /// Time to erase 32 KiB, in microseconds.
    pub erase_32k_us: u32,
    /// Time to erase 64 KiB, in microseconds.
    pub erase_64k_us: u32,
    /// Time to erase the whole chip, in milliseconds.
    pub erase_chip_ms: u32,
    /// Time to program the first byte of a page, in nanoseconds.
    pub program_first_byte_ns: u32,
    /// Time to program each further byte of a page, in nanoseconds.
    pub program_next_byte_ns: u32,
    /// Time to write a status register, in milliseconds.
    pub status_write_ms: u32,
    /// Time from the suspend command until the operation is suspended, in microseconds.
    pub suspend_us: u32,
    /// Time of a reset by command, in microseconds.
    pub reset_us: u32,
    /// Unique ID of the flash chip.
    pub unique_id: [u8; 8],
    /// The longest times that the data sheet allows.
    pub worst: WorstFlash,
}

/// The longest times of a flash chip, with the same keys as the typical ones.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct WorstFlash {
    /// Time to erase 4 KiB, in microseconds.
    pub erase_4k_us: u32,
    /// Time to erase 32 KiB, in microseconds.
    pub erase_32k_us: u32,
    /// Time to erase 64 KiB, in microseconds.
    pub erase_64k_us: u32,
    /// Time to erase the whole chip, in milliseconds.
    pub erase_chip_ms: u32,
    /// Time to program the first byte of a page, in nanoseconds.
    pub program_first_byte_ns: u32,
    /// Time to program each further byte of a page, in nanoseconds.
    pub program_next_byte_ns: u32,
}

impl Flash {
    /// Returns the size in bytes, from the JEDEC capacity.
    pub fn size(&self) -> u32 {
        1_u32.checked_shl(u32::from(self.jedec[2])).unwrap_or(0)
    }

    /// Returns the flash chip with its longest times instead of the typical ones.
    pub fn at_worst(&self) -> Flash {
        let worst = &self.worst;
        Flash {
            erase_4k_us: worst.erase_4k_us,
            erase_32k_us: worst.erase_32k_us,
            erase_64k_us: worst.erase_64k_us,
            erase_chip_ms: worst.erase_chip_ms,
            program_first_byte_ns: worst.program_first_byte_ns,
            program_next_byte_ns: worst.program_next_byte_ns,
            ..self.clone()
        }
    }
}
