//! Tests of this crate's public interface, in one program. Each file is a module.

mod support;

mod bad_elf;
mod bootloader;
mod chips;
mod csv_edit;
mod direct;
mod esptool;
mod formats;
mod idf_build;
mod inspect;
mod partition;
mod plan;
mod shapes;
mod spare;
mod tables;
mod tinygo;
mod xtensa;
