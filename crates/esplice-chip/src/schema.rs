//! Chip data, resolved and ready to use.

use serde::Deserialize;

use crate::{
    Addr, ChipError, Crystal, Efuse, ImageParams, Loader, MemoryLayout, Region, Reset, Sim,
    SpiRegisters, Stub, UsbOtg, Watchdog, check, nearest, raw,
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
    /// Data for esplice's own flasher stub, if there is one for the chip.
    pub stub: Option<Stub>,
    /// eFuses.
    pub efuse: Efuse,
    /// Feature names for display.
    pub features: Features,
    /// Compilers and their flags.
    pub toolchain: Toolchain,
    /// The virtual board, if there is one.
    pub sim: Option<Sim>,
}

/// Chips are equal if they have the same name.
impl PartialEq for Chip {
    fn eq(&self, other: &Chip) -> bool {
        self.name == other.name
    }
}

impl Eq for Chip {}

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

    /// Returns the file of esplice's own flasher stub for the chip, if there is one.
    pub fn stub_file(&self) -> Option<&'static str> {
        self.stub.as_ref()?;
        esplice_targets::file(&format!("stubs/{}.json", self.name))
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
