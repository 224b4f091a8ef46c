//! Tests of whole commands and of the whole repository, in one program: each is linked with all of
//! esplice, and cargo runs one program after the other.
//!
//! Each file is a module; select one with `cargo test --workspace --test workspace MODULE::`.

#[path = "../crates/esplice-flash/tests/installed/mod.rs"]
mod installed;
#[path = "../crates/esplice-sim/tests/mask_rom/mod.rs"]
mod mask_rom;
#[allow(dead_code)] // The tests of esplice-link use the rest.
#[path = "../crates/esplice-link/tests/support/objects.rs"]
mod objects;
mod support;

mod arena_statics;
mod arenas;
mod bad_input;
mod board;
mod book;
mod cargo_shapes;
mod chips;
mod cli;
mod completions;
mod dependency_table;
mod diagnostics;
mod doctor;
mod documents;
mod environment;
mod espflash;
mod esptool;
mod esptool_hardware;
mod firmware_in_build_rs;
mod flash_commands;
#[cfg(target_os = "linux")]
mod gdb;
mod generated_module;
mod go;
mod hello;
mod host_program;
mod hostile_text;
mod idf;
mod image_flags;
mod inspect;
mod layout_check;
mod library;
mod linker;
mod logs;
mod merge;
mod missing_directories;
mod monitor;
mod new;
mod notices;
mod nvs;
mod ota;
mod other_words;
mod outputs;
mod panics;
mod partitions;
mod ports;
mod pty;
mod published_times;
mod remote;
mod said_plainly;
mod size;
mod splice;
mod stable;
mod stubs;
mod terminal;
mod tests_rust;
mod third_parties;
mod virtual_board;
mod windows;
