//! Services for ESP32 firmware: arenas and buffers, channels that pass buffers on without a copy,
//! and the blocks of a memory layout.
//!
//! Nothing here allocates or needs an operating system. Each service is a feature, and all are on by
//! default; what a program does not use is not linked.
//!
//! | module | feature | has |
//! |--------|---------|-----|
//! | [`arena`] | `arena` | [`Arena`](arena::Arena), an allocator for memory that is never freed |
//! | [`pool`] | `arena` | [`Pool`](pool::Pool), equal buffers that return when they are dropped |
//! | [`crash`] | `crash` | [`install`](crash::install) and [`record`](crash::record), for a panic to be reported after the reset |
//! | [`splice`] | `splice` | [`SpliceChan`](splice::SpliceChan), a channel for buffers and other values |
//!
//! # From an arena to another task
//!
//! A memory layout (`[layout]` in `esplice.toml`) reserves arenas. A pool divides one into buffers,
//! and a channel passes them on: the bytes stay where they are, and a buffer returns to its pool when
//! the last owner drops it.
//!
//! ```
//! use core::mem::MaybeUninit;
//! use esplice_rt::{arena::Arena, pool::Buf, splice::SpliceChan};
//!
//! static CHAN: SpliceChan<Buf, 4> = SpliceChan::new();
//!
//! # let dma = || Some(Box::leak(Box::new([MaybeUninit::<u8>::uninit(); 4096])));
//! // In firmware the generated module has a function for each arena: layout::dma().
//! let mut arena = Arena::new(dma().unwrap());
//! let pool = arena.pool(256, 64, 8)?;
//! let (mut sender, mut receiver) = CHAN.split().unwrap();
//!
//! let mut buffer = pool.take().unwrap();
//! buffer.fill_from(b"hello");
//! let at = buffer.as_ptr();
//! sender.try_send(buffer).unwrap();
//!
//! let received = receiver.try_recv().unwrap();
//! assert_eq!(&received[..], b"hello");
//! assert_eq!(received.as_ptr(), at);
//! assert_eq!(pool.available(), 7);
//! drop(received);
//! assert_eq!(pool.available(), 8);
//! # Ok::<(), esplice_rt::arena::ArenaFull>(())
//! ```
//!
//! # Crates that forbid unsafe code
//!
//! The module that `esplice-build` writes contains unsafe code, so a crate with
//! `#![forbid(unsafe_code)]` cannot include it. With `Layout::safe_module` in `build.rs` the module
//! calls macros of this crate instead, and the unsafe code belongs to this crate:
//!
//! ```ignore
//! // build.rs
//! fn main() -> Result<(), esplice_build::Error> {
//!     esplice_build::Layout::from_file("esplice.toml")?.safe_module().emit()
//! }
//! ```
//!
//! These macros trust the symbol names passed to them. No other use of them is supported.

#![no_std]

#[cfg(test)]
extern crate std;

mod layout;
#[cfg(any(feature = "arena", feature = "splice"))]
mod sync;

#[cfg(feature = "arena")]
pub mod arena;
#[cfg(feature = "crash")]
pub mod crash;
#[cfg(feature = "arena")]
pub mod pool;
#[cfg(feature = "splice")]
pub mod splice;

#[doc(hidden)]
pub use layout::Once;
