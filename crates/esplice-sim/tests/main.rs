//! Tests of this crate's public interface, in one program. Each file is a module.

mod board;
#[path = "firmware/compile.rs"]
mod compile;
mod firmware;
mod mask_rom;

mod boots;
mod chips;
mod contents;
mod cpu;
mod crowded;
mod faults;
mod idle;
mod loader;
mod loader_rom;
mod names;
mod nor;
mod parts;
mod port;
mod robust;
mod rom;
mod serial_pins;
mod serve;
mod sleep;
mod slices;
mod trace;
mod uart_tcp;
mod usb;
