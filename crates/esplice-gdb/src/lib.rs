//! A GDB remote server for virtual boards.
//!
//! A [`Server`] listens for debuggers and runs the board of a [`Debugger`] as they ask. It offers
//! all registers and CSRs, memory with a memory map, any number of breakpoints in RAM and flash,
//! watchpoints, single and range steps, `load` into flash, monitor commands, and reverse execution.
//!
//! Breakpoints and watchpoints are those of the simulator: no code changes, and the chip's own
//! triggers stay with the firmware. Reverse execution returns to a checkpoint and runs the board
//! again, with the same input at the same time ([`history`]), so it is exact to the instruction.
//!
//! This crate opens no board and prints nothing. It does not know ELFs: writing firmware into the
//! flash is the caller's part ([`Loader`]).
//!
//! ```
//! use std::{net::SocketAddr, sync::atomic::AtomicBool};
//!
//! use esplice_gdb::{Debugger, Server};
//! use esplice_sim::{Board, SharedBoard};
//!
//! let board = SharedBoard::new(Board::new("esp32c3")?);
//! let mut debugger = Debugger::new(board, None);
//! let mut server = Server::listen(SocketAddr::from(([127, 0, 0, 1], 0)))?;
//! println!("target remote {}", server.addr());
//! // Serves debuggers until the flag is set.
//! server.serve(&mut debugger, &AtomicBool::new(true), &mut |_event| {})?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arch;
mod debugger;
mod description;
mod error;
pub mod history;
mod loading;
mod monitor;
mod server;
mod target;

pub use debugger::{Debugger, Stop};
pub use error::GdbError;
pub use loading::{LoadError, Loaded, Loader, Segment};
pub use server::{Server, ServerEvent, answer};
