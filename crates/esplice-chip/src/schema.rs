//! Chip data, resolved and ready to use.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    Addr, ChipError, Crystal, Efuse, FlashOffset, MemoryLayout, RegisterWrite, Watchdog, check,
    nearest, raw,
};

/// A chip.
#[derive(Debug, Clone)]
pub struct Chip {
    /// Name in commands and files, such as `esp32c3`.
    pub name: String,
    /// Name as the vendor writes it, such as `ESP32-C3`.
    pub display_name: String,
    /// `e_machine` of ELF files for this chip.
    pub elf_machine: u16,
    /// Instruction set, such as `rv32imc`.
    pub isa: String,
    /// Frequency of the usual crystal, in MHz.
    pub xtal_mhz: u32,
    /// Frequencies of other crystals that boards have, in MHz.
    pub other_xtal_mhz: Vec<u32>,
    /// How to detect the crystal; `None` if all boards have the same.
    pub crystal: Option<Crystal>,
    /// CPU frequency when the ROM starts, in MHz.
    pub boot_cpu_mhz: u32,
    /// Memory regions on the bus.
    pub regions: Vec<Region>,
    /// The parts of memory that a program's layout may use, if known.
    pub layout: Option<MemoryLayout>,
    /// Image parameters.
    pub image: ImageParams,
    /// The ROM loader.
    pub loader: Loader,
    /// The SPI controller that reaches the flash chip.
    pub spi: SpiRegisters,
    /// Reset sequences.
    pub reset: Reset,
    /// USB-OTG, if the ROM loader supports it.
    pub usb_otg: Option<UsbOtg>,
    /// Watchdogs.
    pub watchdog: Watchdog,
    /// eFuses.
    pub efuse: Efuse,
    /// Feature names for display.
    pub features: Features,
    /// Compilers and their flags.
    pub toolchain: Toolchain,
    /// The virtual board, if there is one.
    pub sim: Option<Sim>,
}

impl Chip {
    /// Parses `text`, the content of `file` (a name for messages), and runs all checks.
    ///
    /// # Errors
    /// [`ChipError::Parse`] for TOML that does not match the schema, [`ChipError::Check`] for a
    /// chip that contradicts itself.
    pub fn parse(file: &str, text: &str) -> Result<Chip, ChipError> {
        let raw: raw::File = parse_toml(file, text)?;
        let chip =
            raw.resolve().map_err(|message| ChipError::Check { file: file.into(), message })?;
        check::all(&chip).map_err(|message| ChipError::Check { file: file.into(), message })?;
        Ok(chip)
    }

    /// Finds the region that contains `addr`.
    pub fn region_at(&self, addr: Addr) -> Option<&Region> {
        self.regions.iter().find(|region| region.contains(addr))
    }

    /// Finds the region called `key`.
    pub fn region(&self, key: &str) -> Option<&Region> {
        self.regions.iter().find(|region| region.key == key)
    }
}

/// Parses `text`, the content of `file`, into a raw structure.
pub(crate) fn parse_toml<T: serde::de::DeserializeOwned>(
    file: &str,
    text: &str,
) -> Result<T, ChipError> {
    toml::from_str(text).map_err(|e| ChipError::Parse {
        file: file.into(),
        message: e.to_string().trim_end().to_owned(),
        nearest: nearest_expected(e.message()),
    })
}

/// Returns the expected name that is closest to the unknown one in a message such as "unknown field
/// `a`, expected one of `b`, `c`".
fn nearest_expected(message: &str) -> Option<String> {
    let mut names = message.strip_prefix("unknown ")?.split('`').skip(1).step_by(2);
    let name = names.next()?;
    nearest(name, &names.collect::<Vec<_>>())
}

/// A memory region on the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// Key in layouts and messages: `iram`, `dram`, `rtc-fast`, `irom`, `drom`, `rom`, …. Chips
    /// with a single bus have `sram` and `flash`, which hold both code and data.
    pub key: String,
    /// First address.
    pub addr: Addr,
    /// Length in bytes.
    pub len: u32,
    /// The allowed accesses.
    pub access: Access,
    /// The kind of memory.
    pub kind: RegionKind,
    /// The array that holds the bytes.
    pub backing: Backing,
}

impl Region {
    /// Returns whether `addr` lies in the region.
    pub fn contains(&self, addr: Addr) -> bool {
        addr.0.wrapping_sub(self.addr.0) < self.len
    }

    /// Returns the number of bytes from `addr` to the region's end, 0 if `addr` lies outside.
    pub fn bytes_after(&self, addr: Addr) -> u32 {
        self.len.saturating_sub(addr.0.wrapping_sub(self.addr.0))
    }
}

/// The accesses that a region allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Access {
    /// Loads.
    pub read: bool,
    /// Stores.
    pub write: bool,
    /// Instruction fetches.
    pub execute: bool,
}

impl TryFrom<String> for Access {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() || text.chars().any(|c| !"rwx".contains(c)) {
            return Err(format!("access {text:?} is not made of r, w and x"));
        }
        Ok(Access {
            read: text.contains('r'),
            write: text.contains('w'),
            execute: text.contains('x'),
        })
    }
}

/// The kind of memory in a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegionKind {
    /// Memory that the loader fills before the program starts.
    Ram,
    /// Flash, mapped page by page through the MMU.
    Flash,
    /// Mask ROM.
    Rom,
    /// External RAM with its own address window. No boot code fills it.
    Psram,
}

/// The array that holds a region's bytes. Two regions with the same array are aliases.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backing {
    /// Name of the array.
    pub name: String,
    /// Offset of the region's first byte in the array.
    pub offset: u32,
    /// Whether the region shows the array's words in reverse order: its first word is the last word
    /// of the `len` bytes at `offset`.
    #[serde(default)]
    pub reversed: bool,
}

/// Parameters of app and bootloader images.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ImageParams {
    /// Chip id in the image header.
    pub chip_id: u16,
    /// Whether a SHA-256 follows the checksum.
    pub append_sha256: bool,
    /// Whether the chip supports Secure Boot v1. All chips that append a SHA-256 support v2.
    #[serde(default)]
    pub secure_boot_v1: bool,
    /// MMU page sizes in bytes, the default first. An app descriptor may name another one.
    pub mmu_page_sizes: Vec<u32>,
    /// Minimum number of bytes that a flash segment must have in its last MMU page. With fewer,
    /// some bootloaders map one page too few. Images are padded with zeros.
    #[serde(default)]
    pub last_page_min: u32,
    /// How the ROM runs a program in place without an image header, if known.
    pub direct: Option<DirectBoot>,
    /// Maximum number of segments in an image.
    pub max_segments: usize,
    /// Flash offset where the ROM looks for the image to boot.
    #[serde(deserialize_with = "raw::flash_offset")]
    pub boot_offset: FlashOffset,
    /// Default flash offset of the partition table.
    #[serde(deserialize_with = "raw::flash_offset")]
    pub partition_table_offset: FlashOffset,
    /// Default flash mode of images, such as `dio`.
    pub default_flash_mode: String,
    /// Default flash frequency of images: a key of `flash_frequencies`.
    pub default_flash_freq: String,
    /// Default flash size of images: a key of `flash_sizes`.
    pub default_flash_size: String,
    /// The header's write-protect pin field.
    pub wp_pin: u8,
    /// Family ID in UF2 files.
    pub uf2_family: u32,
    /// Names of flash frequencies and their codes in the header (low nibble of byte 3).
    pub flash_frequencies: BTreeMap<String, u8>,
    /// Names of flash sizes and their codes in the header (high nibble of byte 3).
    pub flash_sizes: BTreeMap<String, u8>,
}

/// A program without an image header that the ROM maps and runs in place. The vendor calls this
/// direct boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DirectBoot {
    /// The first two words of flash.
    pub magic: u32,
    /// Offset in the executable flash window to which the ROM jumps, in bytes.
    pub entry_offset: u32,
}

impl ImageParams {
    /// Returns the name of the header's flash frequency code. If two frequencies share a code, as
    /// the ESP32-C6's 80m and 40m do, returns the default one.
    pub fn flash_freq_name(&self, code: u8) -> Option<&str> {
        let named = |name: &str| self.flash_frequencies.get(name) == Some(&code);
        if named(&self.default_flash_freq) {
            return Some(&self.default_flash_freq);
        }
        self.flash_frequencies.keys().map(String::as_str).find(|name| named(name))
    }

    /// Returns the flash size in bytes for the header's code.
    pub fn flash_size_bytes(&self, code: u8) -> Option<u32> {
        self.flash_sizes
            .iter()
            .find(|(_, c)| **c == code)
            .and_then(|(name, _)| crate::parse_size(name))
    }

    /// Returns the header's code and the name for a flash of `bytes`.
    pub fn flash_size_code(&self, bytes: u32) -> Option<(u8, &str)> {
        self.flash_sizes
            .iter()
            .find(|(name, _)| crate::parse_size(name) == Some(bytes))
            .map(|(name, code)| (*code, name.as_str()))
    }
}

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
    /// Whether FLASH_BEGIN has a fifth word that requests encryption.
    pub begin_has_encrypt_word: bool,
    /// Whether the loader has the FLASH_DEFL_* commands.
    pub deflate: bool,
    /// Whether the loader has GET_SECURITY_INFO.
    pub security_info: bool,
    /// Whether GET_SECURITY_INFO returns the chip ID of image headers, which identifies the chip.
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
    /// Whether an address shorter than 32 bits is stored in the high bits of ADDR.
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

/// The chip's features, for display.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Features {
    /// Features of every chip of this type.
    pub always: Vec<String>,
    /// Package names, indexed by the eFuse field `pkg-version`.
    pub packages: Vec<String>,
}

/// Names and flags of compilers.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Toolchain {
    /// Cargo's target triple.
    pub rust_target: String,
    /// Standard library crates to build if the target is not installed.
    pub rust_build_std: Vec<String>,
    /// Command that installs a compiler for the target, if neither rustup nor Debian has one.
    pub rust_install: Option<String>,
    /// Processor names that such a compiler lists and the upstream compiler doesn't.
    #[serde(default)]
    pub rust_processors: Vec<String>,
    /// The vendor's C compiler.
    pub c_compiler: String,
    /// C compiler flags for this chip.
    pub c_flags: Vec<String>,
    /// TinyGo settings, if TinyGo supports the chip.
    pub tinygo: Option<TinyGo>,
}

/// TinyGo settings for a chip.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TinyGo {
    /// Target names of boards that also work for the bare chip. The first one that the installed
    /// TinyGo knows is used.
    pub targets: Vec<String>,
    /// The symbol of the entry point that expects flash to be mapped already, as a second-stage
    /// bootloader leaves it. Without it, programs boot only from the ROM.
    pub start: Option<String>,
}

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
    /// Address range of the devices. Addresses in it without a device behave as storage.
    pub peripheral_space: Space,
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
    /// Whether mie and mip exist, and mie masks interrupts.
    pub interrupt_csrs: bool,
    /// Number of triggers in the debug unit.
    pub triggers: u32,
    /// Number of memory protection (PMP) entries.
    pub pmp_entries: u32,
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

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Space {
    /// First address.
    #[serde(deserialize_with = "raw::addr")]
    pub addr: Addr,
    /// Length in bytes.
    pub len: u32,
}

impl Space {
    /// Returns the first address after the range, saturating at `u32::MAX`.
    pub fn end(&self) -> u32 {
        self.addr.0.saturating_add(self.len)
    }
}

/// A device of the virtual board.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Peripheral {
    /// Name of the model in the simulator.
    pub model: String,
    /// Name of this device, such as `uart0`.
    pub name: String,
    /// First address.
    #[serde(deserialize_with = "raw::addr")]
    pub base: Addr,
    /// Length in bytes.
    pub len: u32,
    /// Interrupt sources, in the model's order.
    pub irq: Vec<u32>,
    /// Signal numbers in the pin matrix, in the model's order. A UART has one for the signal that
    /// it sends and receives.
    #[serde(default)]
    pub signals: Vec<u32>,
}
