//! The stub: a program for a chip's RAM that writes, reads, hashes and erases its flash chip.
//!
//! The stub speaks the loader's protocol as esptool's stub does, and the commands of
//! [`esplice_stub::wire`]. It runs without interrupts: everything that may take long calls
//! `Link::poll`, which moves bytes between the serial lines and buffers. Writing is a pipeline
//! whose stages each do a little at a time: received blocks, decoder, filter, flash chip. While the
//! flash chip erases or programs, the others go on.
#![cfg_attr(target_os = "none", no_std)]
#![cfg_attr(target_os = "none", no_main)]
// Registers, and memory that is shared between the stages.
#![allow(unsafe_code)]

#[cfg(target_os = "none")]
mod chip;
#[cfg(target_os = "none")]
mod commands;
#[cfg(target_os = "none")]
mod erase;
#[cfg(target_os = "none")]
mod flash;
#[cfg(target_os = "none")]
mod hash;
#[cfg(target_os = "none")]
mod link;
#[cfg(target_os = "none")]
mod memory;
#[cfg(target_os = "none")]
mod parts;
#[cfg(target_os = "none")]
mod read;
#[cfg(target_os = "none")]
mod start;
#[cfg(target_os = "none")]
mod usual;
#[cfg(target_os = "none")]
mod write;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("esplice-stub runs on a chip: see CONTRIBUTING.md for how to build it");
    std::process::exit(2);
}
