//! Tests of this crate's public interface, in one program. Each file is a module.

mod alias;
mod esptool;
mod targets;
