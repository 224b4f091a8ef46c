//! A virtual board: a chip that boots and runs real firmware, with no hardware.
//!
//! [`Board`] models everything that has power: the [`cpu`] that interprets instructions, the
//! [`memory`], the devices that the chip data lists, the mask ROM, the [`nor`] flash chip, and the
//! serial line with its reset wires. ROM functions are modelled by name, so no ROM code is needed.
//! Alternatively, a [`RomImage`] is executed. The board boots what was flashed: the ROM's loader
//! checks and loads the second-stage bootloader, which is executed and starts the app. In download
//! mode the ROM's serial loader ([`download`]) answers instead. [`SimPort`] makes a board a port
//! like any other; a [`SharedBoard`] reaches its pins and memory while the port is in use.
//!
//! Everything is deterministic: the board has its own clock, and only a port in real time reads the
//! host's clock. The crate does not know what the board is flashed with or by which tool.
//!
//! ```
//! use esplice_sim::{Board, secs};
//!
//! let mut board = Board::new("esp32c3")?;
//! board.load_flash(&[0xff; 4096])?; // Or a whole flash image, as `esplice build` makes it.
//! let printed = board.run_until(b"invalid header: 0xffffffff\r\n", secs(2))?;
//! assert!(printed.starts_with(b"ESP-ROM:esp32c3-api1-20210207\r\n"));
//! # Ok::<(), esplice_sim::SimError>(())
//! ```

// Tests inside the crate share files with the integration tests.
#[cfg(test)]
extern crate self as esplice_sim;

mod board;
pub mod cpu;
pub mod download;
pub mod efuse;
mod error;
pub mod fault_plan;
pub mod faults;
pub mod memory;
pub mod nor;
mod page_table;
pub mod parts;
pub mod port;
mod rom;
pub mod serve;
mod shared;
mod soc;
pub mod spec;
pub mod uart_tcp;

pub use board::{
    Access, Board, Bridge, Checkpoint, Counters, DebugStop, PinEdge, PortLoss, Position, RomNames,
    SentByte, Snapshot, Status, Stops, TraceEvent, TraceKinds, TraceSink, Traced, Watchpoint,
};
pub use error::{Printed, SimError};
pub use port::SimPort;
pub use rom::RomImage;
pub use shared::SharedBoard;
pub use soc::{Accesses, Cable, ResetReason};
pub use spec::TimeMode;

/// Returns a duration of `seconds` on the board's clock.
pub const fn secs(seconds: u64) -> std::time::Duration {
    std::time::Duration::from_secs(seconds)
}

/// Returns a duration of `milliseconds` on the board's clock.
pub const fn millis(milliseconds: u64) -> std::time::Duration {
    std::time::Duration::from_millis(milliseconds)
}
