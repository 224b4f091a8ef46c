//! A flasher stub for the RAM of ESP32-family chips with RISC-V cores, and the numbers of its own
//! commands.
//!
//! This library holds what needs no hardware: the decoders of the streams that the stub receives,
//! the compressor of what it sends, checksums, and [`wire`]. It allocates nothing and never panics.
//! The stub itself is the program of this package. It is built for each chip by one command (see
//! CONTRIBUTING.md); the result is in `targets/stubs/`.
//!
//! ```
//! use esplice_stub::{inflate::Inflate, stream::{Source, Window}};
//!
//! struct Bytes<'a>(&'a [u8]);
//! impl Source for Bytes<'_> {
//!     fn next(&mut self) -> u8 {
//!         let Some((first, rest)) = self.0.split_first() else { return 0 };
//!         self.0 = rest;
//!         *first
//!     }
//!     fn available(&self) -> usize { self.0.len() }
//!     fn is_complete(&self) -> bool { true }
//! }
//!
//! // A stored block with one byte.
//! let mut stream = Bytes(&[0x78, 0x01, 1, 1, 0, 0xfe, 0xff, 0x2a]);
//! let (mut inflate, mut window) = (Inflate::new(), Window::<1024>::new());
//! while inflate.step(&mut stream, &mut window).unwrap() {}
//! assert_eq!((window.position, window.at(0)), (1, 0x2a));
//! ```
#![no_std]

pub mod crc;
pub mod inflate;
pub mod lz4;
pub mod lzma;
pub mod md5;
pub mod riscv;
pub mod stream;
pub mod wire;
