//! Memory layouts: heap, arenas and stacks as a few lines of configuration, to linker scripts.
//!
//! A [`Spec`] is what somebody wrote, in `esplice.toml` or in code, each value with its place.
//! [`Spec::settle`] checks it against a chip's memories and gives a [`Layout`], from which come:
//!
//! - [`inject`]: files and arguments for the linker, on top of esp-hal's scripts or for a program in
//!   RAM, for lld and for GNU ld;
//! - [`tinygo`]: a target of one's own for TinyGo;
//! - [`esp_idf`]: a CMake fragment for an ESP-IDF project;
//! - [`rust_module`]: the arenas and the heap as Rust sees them.
//!
//! [`explain`] traces what a linker says back to the line that caused it. Everything here is text to
//! text: files are read and written, and ELFs looked into, by others.
//!
//! ```
//! let file = "[layout.heap]\nregion = \"dram\"\nsize = \"96K\"\n";
//! let spec = esplice_layout::Spec::parse("esplice.toml", file)?.unwrap();
//! let layout = spec.settle(esplice_chip::find("esp32c3").unwrap())?;
//! let script = esplice_layout::inject(&layout, esplice_layout::Linker::Lld).script().to_owned();
//! assert!(script.contains("__esplice_heap_start"));
//!
//! let file = "[layout.heap]\nsize = \"400K\"\n";
//! let spec = esplice_layout::Spec::parse("esplice.toml", file)?.unwrap();
//! let error = spec.settle(esplice_chip::find("esp32c3").unwrap()).unwrap_err();
//! assert!(error.to_string().starts_with("esplice.toml:2: the heap of 400K (409600 bytes)"), "{error}");
//! # Ok::<(), esplice_layout::LayoutError>(())
//! ```

mod amount;
mod error;
mod explain;
mod inject;
mod layout;
mod module;
mod read;
mod region;
mod script;
mod seed;
mod settle;
mod spec;

pub use amount::{Amount, Size};
pub use error::{Cause, LayoutError, Place};
pub use explain::{explain, initialised_message, missing_script};
pub use inject::{File, Injection, inject};
pub use layout::{Arena, Contents, Extent, Heap, Layout, Reserved, Section};
pub use module::{MODULE_FILE, ModuleOptions, rust_module};
pub use read::{project_target, project_target_file};
pub use region::Room;
pub use script::esp_idf::esp_idf;
pub use script::tinygo::{TINYGO_APART, TINYGO_DUMMY, TinyGoFiles, tinygo, tinygo_apart};
pub use spec::{
    ArenaSpec, At, Base, HeapSpec, Linker, ReserveSpec, SectionSpec, Spec, StableSpec, StackSpec,
};

/// The section that statics meant for the arena `name` are put in.
pub fn arena_section(name: &str) -> String {
    format!(".esplice.arena.{name}")
}

/// The section that holds the heap.
pub const HEAP_SECTION: &str = ".esplice.heap";
