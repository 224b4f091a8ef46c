//! For build scripts of ESP32 firmware, and of host programs that carry firmware.
//!
//! # Heap and arenas from `esplice.toml`
//!
//! Say where they lie in the project's `esplice.toml`:
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
//! and give it to the linker in `build.rs`:
//!
//! ```no_run
//! fn main() -> Result<(), esplice_build::Error> {
//!     esplice_build::Layout::from_file("esplice.toml")?.emit()
//! }
//! ```
//!
//! A plain `cargo build` then links with it, on top of esp-hal's `linkall.x`. Nobody's linker scripts
//! are replaced, and a change of the layout compiles the last crate alone anew. The layout is checked
//! before anything is compiled, and what is wrong with it is told with its line and with numbers:
//!
//! ```text
//! esplice.toml:6: the heap of 400K (409600 bytes) does not fit in dram: 305K (312320 bytes) of
//! 313K (320512 bytes) are available
//! hint: the largest that fits is 305K (312320 bytes), next to the stack of 8K
//! ```
//!
//! The program gets each arena, and the heap, once:
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
//! The same module can be had on the host, where statics stand in for the memories and the linker is
//! told nothing: tests of the program's logic need no board.
//!
//! The first of these names the chip: [`Layout::chip`], the variable `ESPLICE_PROJECT_TARGET`
//! (`ESPLICE_TARGET` for short), the one enabled cargo feature of the package that is named like a chip,
//! `target` in `[project]` of the file. `esplice build` goes by the same features, default ones too; as it
//! enables the feature of the chip that it is told, it takes `target` of the file before a default one. A chip or board that is not known is known from its own file,
//! which the variable `ESPLICE_PROJECT_TARGET_FILE` names or `target-file` in `[project]`.
//!
//! # With `esplice build`
//!
//! `esplice build` gives the linker the same files itself, whether or not there is a build script, and
//! says so with `ESPLICE_LAYOUT=injected`; [`Layout::emit`] then writes its module and nothing else.
//! The ELF is the same where `SOURCE_DATE_EPOCH` is, which `esplice build` sets.
//!
//! # Firmware inside of a host program
//!
//! [`Firmware`] builds a firmware project with the `esplice` program, and returns the paths of its
//! image, merged flash, ELF and plan; [`firmware`] does so without options and returns the image:
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
pub use layout::{Arena, Layout};
