//! What is known of a chip, resolved and ready to use.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    Addr, ChipError, Crystal, Efuse, FlashOffset, MemoryLayout, RegisterWrite, Watchdog, check,
    nearest, raw,
};

/// One chip.
#[derive(Debug, Clone)]
pub struct Chip {
    /// Name in commands and files: `esp32c3`.
    pub name: String,
    /// Name as the vendor writes it: `ESP32-C3`.
    pub display_name: String,
    /// `e_machine` of its ELFs.
    pub elf_machine: u16,
    /// Instruction set, such as `rv32imc`.
    pub isa: String,
    /// The main crystal, in MHz.
    pub xtal_mhz: u32,
    /// Other crystals that boards have, in MHz.
    pub other_xtal_mhz: Vec<u32>,
    /// How the loader lets one tell which it is; none where all boards have the same.
    pub crystal: Option<Crystal>,
    /// The CPU's clock when the ROM starts, in MHz.
    pub boot_cpu_mhz: u32,
    /// Memories on the bus.
    pub regions: Vec<Region>,
    /// What of them a program's layout may use, where that is known.
    pub layout: Option<MemoryLayout>,
    /// Parameters of images.
    pub image: ImageParams,
    /// The ROM loader.
    pub loader: Loader,
    /// The SPI controller that reaches the flash chip.
    pub spi: SpiRegisters,
    /// Ways to reset.
    pub reset: Reset,
    /// USB-OTG, where the ROM's loader speaks over it.
    pub usb_otg: Option<UsbOtg>,
    /// Watchdogs.
    pub watchdog: Watchdog,
    /// eFuses.
    pub efuse: Efuse,
    /// What it offers, for people.
    pub features: Features,
    /// Compilers.
    pub toolchain: Toolchain,
    /// The virtual board, where there is one.
    pub sim: Option<Sim>,
}

impl Chip {
    /// Parses `text`, the content of `file` (a name for messages), and runs all checks.
    ///
    /// # Errors
    /// [`ChipError::Parse`] for TOML that is not of the schema, [`ChipError::Check`] for a chip
    /// that contradicts itself.
    pub fn parse(file: &str, text: &str) -> Result<Chip, ChipError> {
        let raw: raw::File = parse_toml(file, text)?;
        let chip =
            raw.resolve().map_err(|message| ChipError::Check { file: file.into(), message })?;
        check::all(&chip).map_err(|message| ChipError::Check { file: file.into(), message })?;
        Ok(chip)
    }

    /// The region that holds `addr`.
    pub fn region_at(&self, addr: Addr) -> Option<&Region> {
        self.regions.iter().find(|region| region.contains(addr))
    }

    /// The region called `key`.
    pub fn region(&self, key: &str) -> Option<&Region> {
        self.regions.iter().find(|region| region.key == key)
    }
}

/// Reads `text`, the content of `file`, into a raw shape.
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

/// The known name nearest to the one that `message` refuses: "unknown field `a`, expected one of
/// `b`, `c`".
fn nearest_expected(message: &str) -> Option<String> {
    let mut names = message.strip_prefix("unknown ")?.split('`').skip(1).step_by(2);
    let name = names.next()?;
    nearest(name, &names.collect::<Vec<_>>())
}

/// A memory on the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// Key in layouts and messages: `iram`, `dram`, `rtc-fast`, `irom`, `drom`, `rom`, …; on chips
    /// with one bus `sram` and `flash`, which hold code and data.
    pub key: String,
    /// First address.
    pub addr: Addr,
    /// Length in bytes.
    pub len: u32,
    /// What may be done there.
    pub access: Access,
    /// What stands behind it.
    pub kind: RegionKind,
    /// The array the bytes are in.
    pub backing: Backing,
}

impl Region {
    /// Whether `addr` lies in it.
    pub fn contains(&self, addr: Addr) -> bool {
        addr.0.wrapping_sub(self.addr.0) < self.len
    }

    /// Bytes from `addr` to its end, 0 if `addr` lies outside.
    pub fn room_at(&self, addr: Addr) -> u32 {
        self.len.saturating_sub(addr.0.wrapping_sub(self.addr.0))
    }
}

/// What may be done in a region.
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

/// What stands behind a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegionKind {
    /// Memory that the loader fills before the program starts.
    Ram,
    /// Flash, mapped page by page through the MMU.
    Flash,
    /// Mask ROM.
    Rom,
    /// External RAM with a window of its own. No boot code fills it.
    Psram,
}

/// The array behind a region: two regions of one backing are aliases.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backing {
    /// Name of the array.
    pub name: String,
    /// The region's first byte in it.
    pub offset: u32,
    /// The region shows the array's words from last to first: its first word is the last of the
    /// `len` bytes at `offset`.
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
    /// Whether Secure Boot v1 is there; v2 is on all chips that append a SHA-256.
    #[serde(default)]
    pub secure_boot_v1: bool,
    /// MMU page sizes in bytes, the usual one first. An app descriptor may name another of them.
    pub mmu_page_sizes: Vec<u32>,
    /// Fewest bytes that a flash segment must have in its last MMU page. Bootloaders that map one page
    /// too few otherwise are the reason; images are filled up with zeros.
    #[serde(default)]
    pub last_page_min: u32,
    /// How the ROM runs a program in place, without a header, where that is known.
    pub direct: Option<DirectBoot>,
    /// Most segments an image may have.
    pub max_segments: usize,
    /// Where the ROM looks for the image it boots, in flash.
    #[serde(deserialize_with = "raw::flash_offset")]
    pub boot_offset: FlashOffset,
    /// Where the partition table stands by default, in flash.
    #[serde(deserialize_with = "raw::flash_offset")]
    pub partition_table_offset: FlashOffset,
    /// Flash mode of images by default: `dio`.
    pub default_flash_mode: String,
    /// Flash frequency of images by default: a key of `flash_frequencies`.
    pub default_flash_freq: String,
    /// Flash size of images by default: a key of `flash_sizes`.
    pub default_flash_size: String,
    /// The header's write-protect pin field.
    pub wp_pin: u8,
    /// Family id in UF2 files.
    pub uf2_family: u32,
    /// Flash frequency names and their codes in the header (low nibble of byte 3).
    pub flash_frequencies: BTreeMap<String, u8>,
    /// Flash size names and their codes in the header (high nibble of byte 3).
    pub flash_sizes: BTreeMap<String, u8>,
}

/// A program without header that the ROM maps and enters in place, what the vendor calls direct boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DirectBoot {
    /// The two first words of flash.
    pub magic: u32,
    /// Where the ROM jumps to: so many bytes into the window that flash is executed in.
    pub entry_offset: u32,
}

impl ImageParams {
    /// The name of the header's flash frequency code. Where two frequencies share a code, as the
    /// ESP32-C6's 80m and 40m do, the default one is meant.
    pub fn flash_freq_name(&self, code: u8) -> Option<&str> {
        let named = |name: &str| self.flash_frequencies.get(name) == Some(&code);
        if named(&self.default_flash_freq) {
            return Some(&self.default_flash_freq);
        }
        self.flash_frequencies.keys().map(String::as_str).find(|name| named(name))
    }

    /// Flash size in bytes for the header's code.
    pub fn flash_size_bytes(&self, code: u8) -> Option<u32> {
        self.flash_sizes
            .iter()
            .find(|(_, c)| **c == code)
            .and_then(|(name, _)| crate::parse_size(name))
    }

    /// The header's code, and the name, of a flash of `bytes`.
    pub fn flash_size_code(&self, bytes: u32) -> Option<(u8, &str)> {
        self.flash_sizes
            .iter()
            .find(|(name, _)| crate::parse_size(name) == Some(bytes))
            .map(|(name, code)| (*code, name.as_str()))
    }
}

/// What the ROM loader can do and insists on.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Loader {
    /// Baud rate that everything starts at.
    pub initial_baud: u32,
    /// Bytes of a FLASH_DATA or FLASH_DEFL_DATA block.
    pub rom_block: u32,
    /// Bytes of a MEM_DATA block.
    pub ram_block: u32,
    /// Bytes of flash that the ROM takes for granted until SPI_SET_PARAMS tells it.
    pub rom_flash_size: u32,
    /// Bytes of status after each reply of the ROM.
    pub status_len: usize,
    /// Replies to one SYNC.
    pub sync_replies: usize,
    /// FLASH_BEGIN has a fifth word that tells of encryption.
    pub begin_has_encrypt_word: bool,
    /// FLASH_DEFL_* are there.
    pub deflate: bool,
    /// GET_SECURITY_INFO is there.
    pub security_info: bool,
    /// GET_SECURITY_INFO tells the id that image headers carry, and so which chip it is.
    pub security_info_has_chip_id: bool,
    /// A word of ROM that differs from chip to chip.
    #[serde(default, deserialize_with = "raw::some_addr")]
    pub magic_addr: Option<Addr>,
    /// Its values on this chip's revisions.
    pub magic_values: Vec<u32>,
    /// What esptool calls the stub of early revisions, where they have one of their own.
    #[serde(default)]
    pub early_stub: Option<EarlyStub>,
    /// Bytes that the ROM keeps of what comes while it is at work, where that is known to be more than its
    /// UART's FIFO.
    #[serde(default)]
    pub receive_ring: Option<u32>,
    /// What lets loader and stub work faster than by the clocks that a reset leaves, and changes
    /// nothing of the UART; it holds until the next reset.
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
    /// The name of the stub for a chip called `chip`, of a revision (major, minor).
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
    /// Whether a short address stands in the high bits of ADDR.
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

/// Ways to reset, by name, best first.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Reset {
    /// Behind a UART bridge.
    pub uart: Vec<String>,
    /// Behind the chip's own USB-Serial-JTAG.
    #[serde(default)]
    pub usb_serial_jtag: Vec<String>,
    /// USB ids by which that port is known.
    pub usb_serial_jtag_id: Option<UsbId>,
}

/// USB vendor and product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsbId {
    /// Vendor.
    pub vid: u16,
    /// Product.
    pub pid: u16,
}

/// USB-OTG with the ROM's own USB stack.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct UsbOtg {
    /// Word of the ROM's data that tells which port its loader speaks over.
    #[serde(deserialize_with = "raw::addr")]
    pub uart_no_addr: Addr,
    /// Its value for USB-OTG.
    pub uart_no: u32,
    /// Most bytes of a MEM_DATA block over USB-OTG.
    pub ram_block: u32,
    /// USB ids of the ROM's port.
    pub id: Option<UsbId>,
}

/// What the chip offers, for people.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Features {
    /// On every one of them.
    pub always: Vec<String>,
    /// Package by the eFuse field `pkg-version`.
    pub packages: Vec<String>,
}

/// Names and flags of compilers.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Toolchain {
    /// Cargo's target triple.
    pub rust_target: String,
    /// Library crates to build where the target is not installed.
    pub rust_build_std: Vec<String>,
    /// What installs a compiler for the target where neither rustup nor Debian has one.
    pub rust_install: Option<String>,
    /// Processors of which such a compiler lists one, and upstream's none.
    #[serde(default)]
    pub rust_processors: Vec<String>,
    /// The vendor's C compiler.
    pub c_compiler: String,
    /// Its flags for this chip.
    pub c_flags: Vec<String>,
    /// TinyGo, where it knows the chip.
    pub tinygo: Option<TinyGo>,
}

/// How TinyGo makes firmware for a chip.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TinyGo {
    /// Its names of boards that do for the bare chip; the first that an installed TinyGo knows is
    /// taken.
    pub targets: Vec<String>,
    /// The symbol where its runtime starts with flash mapped already, as a second-stage bootloader
    /// leaves it; without one its programs only boot by the ROM.
    pub start: Option<String>,
}

/// The virtual board of this chip.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Sim {
    /// File of `targets/` with the addresses of ROM functions.
    pub rom_table: String,
    /// Chip revision burnt into it: major, minor.
    pub revision: (u8, u8),
    /// Version of its mask ROM, which GET_SECURITY_INFO tells.
    pub rom_eco_version: u32,
    /// MAC address burnt into it.
    pub mac: [u8; 6],
    /// Its CPU.
    pub cpu: SimCpu,
    /// Its flash chip.
    pub flash: Flash,
    /// What its eFuses protect of themselves.
    pub efuse: EfuseGuards,
    /// Value of the strapping register for a boot from flash.
    pub boot_strap: u32,
    /// Value of the strapping register for download mode.
    pub download_strap: u32,
    /// Numbers of the reset reasons at which the strapping pins are sampled; after others the register
    /// holds what it held.
    pub strap_resets: Vec<u8>,
    /// The strapping register.
    #[serde(deserialize_with = "raw::addr")]
    pub strap_addr: Addr,
    /// The I/O multiplexer's register of each pad after a reset, from pin 0 on.
    pub pads: Vec<u32>,
    /// Addresses of devices; where none is listed there is storage.
    pub peripheral_space: Space,
    /// Devices and where they are.
    #[serde(rename = "peripheral")]
    pub peripherals: Vec<Peripheral>,
}

/// What differs between the CPUs of virtual boards, beside the instruction set.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SimCpu {
    /// mvendorid.
    pub vendor_id: u32,
    /// marchid.
    pub arch_id: u32,
    /// mimpid.
    pub implementation_id: u32,
    /// mie and mip exist, and mie masks interrupts.
    pub interrupt_csrs: bool,
    /// Triggers of the debug unit.
    pub triggers: u32,
    /// Entries of memory protection (PMP).
    pub pmp_entries: u32,
}

/// Which fuses of block 0 forbid to burn or to read others.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EfuseGuards {
    /// Fields of block 0: the bit that forbids to burn them, their first bit, how many bits.
    pub fields: Vec<(u32, u32, u32)>,
    /// The bit that forbids to burn block 1; those of the next blocks follow.
    pub first_block: u32,
    /// The first block that can be hidden from software.
    pub first_secret: u32,
    /// The bit that hides it; those of the next blocks follow.
    pub read_guard: u32,
}

/// The virtual board's flash chip, with typical times; virtual time charges them.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Flash {
    /// JEDEC id: manufacturer, type, capacity (log2 of bytes).
    pub jedec: [u8; 3],
    /// Erase of 4 KiB, in microseconds.
    pub erase_4k_us: u32,
    /// Erase of 32 KiB, in microseconds.
    pub erase_32k_us: u32,
    /// Erase of 64 KiB, in microseconds.
    pub erase_64k_us: u32,
    /// Erase of the whole chip, in milliseconds.
    pub erase_chip_ms: u32,
    /// Program of the first byte of a page, in nanoseconds.
    pub program_first_byte_ns: u32,
    /// Program of each further byte of a page, in nanoseconds.
    pub program_next_byte_ns: u32,
    /// Write of a status register, in milliseconds.
    pub status_write_ms: u32,
    /// From the command that suspends an operation to its effect, in microseconds.
    pub suspend_us: u32,
    /// Reset by command, in microseconds.
    pub reset_us: u32,
    /// The id that no other chip has.
    pub unique_id: [u8; 8],
    /// The longest times that the data sheet allows.
    pub worst: WorstFlash,
}

/// The longest times of a flash chip; the same keys as the typical ones.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct WorstFlash {
    /// Erase of 4 KiB, in microseconds.
    pub erase_4k_us: u32,
    /// Erase of 32 KiB, in microseconds.
    pub erase_32k_us: u32,
    /// Erase of 64 KiB, in microseconds.
    pub erase_64k_us: u32,
    /// Erase of the whole chip, in milliseconds.
    pub erase_chip_ms: u32,
    /// Program of the first byte of a page, in nanoseconds.
    pub program_first_byte_ns: u32,
    /// Program of each further byte of a page, in nanoseconds.
    pub program_next_byte_ns: u32,
}

impl Flash {
    /// Size in bytes, from the JEDEC capacity.
    pub fn size(&self) -> u32 {
        1_u32.checked_shl(u32::from(self.jedec[2])).unwrap_or(0)
    }

    /// The chip at its slowest: the longest times in the place of the typical ones.
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
    /// One past the last address, or the last of all.
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
    /// This device's own name: `uart0`.
    pub name: String,
    /// First address.
    #[serde(deserialize_with = "raw::addr")]
    pub base: Addr,
    /// Length in bytes.
    pub len: u32,
    /// Interrupt sources, in the model's order.
    pub irq: Vec<u32>,
    /// The number of its signal in the pin matrix, in the model's order: of a UART that of what it sends and
    /// receives.
    #[serde(default)]
    pub signals: Vec<u32>,
}
