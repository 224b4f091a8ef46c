//! Images and flash plans of ESP32-family chips.
//!
//! A flash plan ([`FlashPlan`]) is the ordered list of named writes that put a firmware into flash.
//! Plans are made and checked without a device; [`resolve`] completes one once the device's facts
//! are known. [`build_image`] makes app images from ELF files. [`inspect`] reads any image and
//! reports its defects. [`merge()`] and [`split`] assemble and take apart the content of a flash,
//! [`unpack`] reads it from Intel HEX and UF2, and [`unxz`] decompresses a file. All functions take
//! bytes and return values; the caller opens files and ports.
//!
//! ```
//! use esplice_image::PartitionTable;
//!
//! let table = PartitionTable::esp_idf_default();
//! let bytes = table.to_bytes()?;
//! assert_eq!(PartitionTable::from_bytes(&bytes)?, table);
//! # Ok::<(), esplice_image::TableError>(())
//! ```

mod app;
mod assemble;
mod boot_image;
#[cfg(feature = "bootloaders")]
mod bootloader;
mod byte_runs;
mod content;
mod csv_edit;
mod csv_error;
mod descriptor;
mod device;
mod direct;
mod elf;
mod error;
mod format_error;
mod header;
mod idf_build;
mod inspect;
mod intel_hex;
mod layout;
mod linked_for;
mod merge;
mod metadata;
mod name_error;
mod otadata;
mod partition;
mod partition_check;
mod partition_csv;
mod pieces;
mod plan;
mod plan_error;
mod plan_json;
mod report;
mod resolve;
mod rom;
mod soundness;
mod spare;
mod split;
mod table_error;
mod table_text;
mod uf2;
mod unpack;
#[cfg(feature = "xz")]
mod xz;

pub use app::{
    AppImage, ImageOptions, ImageSegment, ImageSource, ImageWarning, SecurePad, build_image,
};
pub use assemble::{PlanParts, TableChoice, check_bootloader, make_direct_plan, make_plan};
pub use boot_image::{BootHead, BootImage};
#[cfg(feature = "bootloaders")]
pub use bootloader::{Bootloader, BootloaderError, second_stage, second_stage_for};
pub use content::Content;
pub use csv_edit::{CsvColumn, CsvEditError};
pub use csv_error::{CsvError, CsvFault};
pub use descriptor::AppDescriptor;
pub use device::{DeviceFacts, FoundTable, TableSearch};
pub use direct::{DirectImage, build_direct_image};
pub use error::{ImageError, NamedRange};
pub use format_error::{FormatError, Uf2Fault};
pub use header::{Extent, FlashMode, HeaderError, ImageHeader, SegmentHeader, patch_flash};
pub use idf_build::{IdfBuildError, IdfDescription, IdfFile, IdfFlashSettings, IdfPlan};
pub use inspect::{inspect, inspect_writes};
pub use intel_hex::{from_intel_hex, to_intel_hex};
pub use linked_for::rom_program_chip;
pub use merge::{LARGEST_FLASH, merge, merged};
pub use metadata::elf_chip_name;
pub use name_error::NameError;
pub use otadata::{OtaEntry, booted_slot};
pub use partition::{Partition, PartitionTable};
pub use partition_csv::CsvOptions;
pub use plan::{BootLayout, CustomParts, FlashParams, FlashPlan, Write, WriteKind};
pub use plan_error::PlanError;
pub use plan_json::FileRef;
pub use report::{Defect, ImageInfo, ImageKind, ImageReport, Part, PartBody};
pub use resolve::{ExpectedBoot, PlanNote, ResolveOptions, ResolvedPlan, resolve};
pub use rom::{RomOptions, build_app_of_rom_program, build_rom_image, is_rom_program};
pub use spare::{ElfUse, spare_ranges};
pub use split::split;
pub use table_error::TableError;
pub use uf2::{Uf2, Uf2Options, Uf2Reader, from_uf2, to_uf2};
pub use unpack::{Unpacked, unpack};
#[cfg(feature = "xz")]
pub use xz::unxz;

/// Returns the SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).into()
}
