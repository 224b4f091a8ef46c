//! A virtual board: a chip that boots and runs real firmware, with no hardware.
//!
//! [`Board`] is everything under power: the [`cpu`] that interprets instructions, the [`memory`],
//! the devices the chip data lists, the mask ROM (its functions are carried out by name, none of
//! its code is needed), the [`nor`] flash chip, and the serial line with its reset wires. What was
//! flashed is what boots: the ROM's loader checks and loads the second-stage bootloader, which is
//! executed, and so is the app it starts. In download mode the ROM's serial loader ([`download`])
//! answers instead. [`SimPort`] makes a board a port like any other.
//!
//! Everything is deterministic: the clock is the board's own, and nothing here asks the host's,
//! save a port in real time. What the board is flashed with and by whom is not known here.
//!
//! ```
//! use esplice_sim::{Board, TimeMode, nor::Nor};
//! use std::time::Duration;
//!
//! let chip = esplice_chip::find("esp32c3")?;
//! let timing = &chip.sim.as_ref().unwrap().flash;
//! let mut board = Board::new(chip, Nor::in_memory(timing.size(), timing), TimeMode::Virtual)?;
//! board.run_until(Duration::from_millis(100), false)?;
//! let mut text = vec![0; 1000];
//! let len = board.host_take(115_200, &mut text);
//! assert!(text[..len].starts_with(b"ESP-ROM:esp32c3-api1-20210207\r\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod board;
pub mod cpu;
pub mod download;
mod error;
pub mod faults;
pub mod memory;
pub mod nor;
pub mod port;
mod rom;
pub mod serve;
mod soc;
pub mod spec;

pub use board::{Board, Sent};
pub use error::SimError;
pub use port::SimPort;
pub use soc::Accesses;
pub use spec::TimeMode;
