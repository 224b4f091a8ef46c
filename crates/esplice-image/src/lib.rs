//! Images and flash plans of ESP32-family chips.
//!
//! A flash plan ([`FlashPlan`]) is the ordered list of named writes that puts a firmware into
//! flash. It is made and checked without a device; [`resolve`] ends it once the device's facts are
//! known. App images are made of ELFs by [`build_image`]; [`inspect`] reads any image and says what
//! is wrong with it. Everything takes bytes and gives values: files and ports are the caller's.
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
#[cfg(feature = "bootloaders")]
mod bootloader;
mod content;
mod descriptor;
mod elf;
mod error;
mod header;
mod inspect;
mod layout;
mod merge;
mod metadata;
mod otadata;
mod partition;
mod plan;
mod plan_error;
mod plan_json;
mod report;
mod resolve;
mod table_error;

pub use app::{AppImage, ImageOptions, ImageSegment, ImageSource, ImageWarning, build_image};
pub use assemble::{PlanParts, make_plan};
#[cfg(feature = "bootloaders")]
pub use bootloader::{Bootloader, BootloaderError, second_stage};
pub use content::Content;
pub use descriptor::AppDescriptor;
pub use error::ImageError;
pub use header::{Extent, FlashMode, HeaderError, ImageHeader, SegmentHeader, patch_flash};
pub use inspect::inspect;
pub use merge::merged;
pub use metadata::elf_chip_name;
pub use otadata::{OtaEntry, booted_slot};
pub use partition::{Partition, PartitionTable};
pub use plan::{BootLayout, FlashParams, FlashPlan, PlannedWrite, WriteKind};
pub use plan_error::PlanError;
pub use plan_json::FileRef;
pub use report::{Defect, ImageInfo, ImageKind, ImageReport, Part, PartBody};
pub use resolve::{DeviceFacts, ResolveOptions, ResolvedPlan, Write, resolve};
pub use table_error::TableError;

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).into()
}
