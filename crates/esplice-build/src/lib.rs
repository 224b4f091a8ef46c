//! Support for build scripts of ESP32 firmware, and of host programs that embed firmware.
//!
//! # Heap and arenas from `esplice.toml`
//!
//! Describe them in the project's `esplice.toml`:
//!
//! ```toml
//! [project]
//! target = "esp32c3"
//!
//! [layout.heap]
//! region = "dram"
//! size = "96K"
//!
//! [[layout.arena]]
//! name = "dma"
//! region = "dram"
//! size = "16K"
//! align = 64
//! ```
//!
//! and pass the layout to the linker in `build.rs`:
//!
//! ```no_run
//! fn main() -> Result<(), esplice_build::Error> {
//!     esplice_build::Layout::from_file("esplice.toml")?.emit()
//! }
//! ```
//!
//! A plain `cargo build` then links with the layout, on top of esp-hal's `linkall.x`. No linker
//! script is replaced, and changing the layout recompiles only the last crate. The layout is
//! checked before anything is compiled. Errors name the line and the numbers:
//!
//! ```text
//! esplice.toml:6: the heap of 400K (409600 bytes) does not fit in dram: 305K (312320 bytes) of
//! 313K (320512 bytes) are available
//! hint: the largest that fits is 305K (312320 bytes), next to the stack of 8K
//! ```
//!
//! The program can take the heap and each arena once:
//!
//! ```ignore
//! mod layout {
//!     include!(concat!(env!("OUT_DIR"), "/esplice_layout.rs"));
//! }
//!
//! use core::mem::MaybeUninit;
//!
//! let dma: &'static mut [MaybeUninit<u8>] = layout::dma().unwrap();
//! layout::add_heap_to_esp_alloc!(layout::heap());
//! ```
//!
//! On the host the same module uses statics for the memories and passes nothing to the linker, so
//! the program's logic can be tested without a board.
//!
//! The chip is the first of these that is set: [`Layout::chip`], the variable
//! `ESPLICE_PROJECT_TARGET` (`ESPLICE_TARGET` for short), the one enabled cargo feature of the
//! package named after a chip, `target` in `[project]` of the file. `esplice build` uses the same
//! features, including default ones. It enables the feature of the requested chip itself, so there
//! `target` of the file comes before a default feature. A chip or board that esplice does not know
//! is read from its own file, named by the variable `ESPLICE_PROJECT_TARGET_FILE` or by
//! `target-file` in `[project]`.
//!
//! # With `esplice build`
//!
//! `esplice build` passes the same files to the linker itself, with or without a build script, and
//! sets `ESPLICE_LAYOUT=injected`. [`Layout::emit`] then writes only its module. Both ways produce
//! the same ELF if `SOURCE_DATE_EPOCH` is the same; `esplice build` sets it.
//!
//! # Firmware in a host program
//!
//! [`Firmware`] builds a firmware project with the `esplice` program and returns the paths of its
//! app image, merged flash image, ELF and plan. [`firmware`] does so without options and returns
//! the app image:
//!
//! ```no_run
//! fn main() -> Result<(), esplice_build::Error> {
//!     let image = esplice_build::firmware("../fw")?;
//!     println!("cargo::rustc-env=FIRMWARE={}", image.display());
//!     Ok(())
//! }
//! ```
//!
//! ```ignore
//! static FIRMWARE: &[u8] = include_bytes!(env!("FIRMWARE"));
//! ```

mod cargo;
mod error;
mod firmware;
mod layout;
mod settings_file;
mod statics;
mod watch;

pub use error::Error;
pub use esplice_layout::{Base, LayoutError, Linker};
pub use firmware::{BuiltFirmware, Firmware, firmware};
pub use layout::{Arena, Heap, Layout, Section};
