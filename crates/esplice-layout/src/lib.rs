//! Turns memory layouts, a few lines of configuration for heap, arenas and stacks, into linker
//! scripts.
//!
//! A [`Spec`] is a layout as written in `esplice.toml` or in code; each value has its place.
//! [`Spec::settle`] checks it against a chip's memories and returns a [`Layout`], from which are
//! made:
//!
//! - [`inject`]: files and arguments for the linker, on top of esp-hal's scripts or for a program
//!   in RAM, for lld and for GNU ld;
//! - [`tinygo`]: a custom target for TinyGo;
//! - [`esp_idf`]: a CMake fragment for an ESP-IDF project;
//! - [`rust_module`]: a Rust module with the arenas and the heap.
//!
//! [`explain`] traces a linker's errors back to the lines that caused them. Everything here
//! converts text to text: other crates read and write files and inspect ELFs.
//!
//! ```
//! let file = "[layout.heap]\nregion = \"dram\"\nsize = \"96K\"\n";
//! let spec = esplice_layout::Spec::parse("esplice.toml", file)?.unwrap();
//! let layout = spec.settle(esplice_chip::ChipDb::embedded().find("esp32c3").unwrap())?;
//! let script = esplice_layout::inject(&layout, esplice_layout::Linker::Lld).script().to_owned();
//! assert!(script.contains("__esplice_heap_start"));
//!
//! let file = "[layout.heap]\nsize = \"400K\"\n";
//! let spec = esplice_layout::Spec::parse("esplice.toml", file)?.unwrap();
//! let error = spec.settle(esplice_chip::ChipDb::embedded().find("esp32c3").unwrap()).unwrap_err();
//! let expected = "esplice.toml:2: the heap of 400K (409600 bytes)";
//! assert!(error.to_string().starts_with(expected), "{error}");
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

/// Returns the name of the section for statics that are placed in the arena `name`.
pub fn arena_section(name: &str) -> String {
    format!(".esplice.arena.{name}")
}

/// Name of the section that holds the heap.
pub const HEAP_SECTION: &str = ".esplice.heap";
