//! Flashes ESP32-family chips over any [`esplice_protocol::Port`].
//!
//! A [`Session`] talks to a ROM loader: it connects, detects the chip, raises the baud rate, reads
//! and writes flash, verifies, and resets the board to run. [`flash_plan`] does all of this in one
//! call. The crate also opens ports: serial ones ([`open_serial`]) and those of other machines
//! ([`open_rfc2217`], [`open_tcp`]). The virtual board lives in another crate and implements the
//! same trait.
//!
//! Nothing is printed. Progress is reported to a callback as [`FlashEvent`]s. Errors have a class
//! ([`FlashError::class`]) and a hint ([`FlashError::hint`]). All times are read from the port's
//! clock.
//!
//! ```no_run
//! use std::sync::{Arc, atomic::AtomicBool};
//! # fn main() -> Result<(), esplice_flash::FlashError> {
//! let stop = Arc::new(AtomicBool::new(false));
//! let mut port = esplice_flash::open_serial("/dev/ttyUSB0", 115_200, stop)?;
//! let options = esplice_flash::FlashOptions::default().baud(Some(921_600));
//! let info = esplice_flash::detect(&mut port, &options, &mut |_| {})?;
//! assert_eq!(info.chip.name, "esp32c3");
//! esplice_flash::reset_to_run(&mut port, 115_200)?;
//! # Ok(())
//! # }
//! ```

mod banner;
mod baud;
mod choose;
mod clock;
mod connect;
mod deflate;
mod detect;
mod diff;
mod error;
mod event;
mod facts;
mod flash;
mod job;
mod loader;
mod memory;
mod own;
mod ram;
mod read;
mod read_slow;
mod registers;
mod reset;
mod rfc2217;
mod run;
mod serial;
mod session;
mod socket;
mod spi;
mod stub;
mod survey;
mod tcp;
mod upload;
mod write;

pub use choose::{ListedPort, PortDevices, PortMatch, UsbDevice, likely_ports, match_port};
pub use connect::ConnectOptions;
pub use error::{ErrorClass, FlashError};
pub use event::{ChipInfo, FlashEvent, LoaderUse, Security, StageState, Statistics};
pub use facts::TableHint;
pub use flash::{FlashOptions, FlashReport, detect, flash, flash_plan};
pub use loader::Loader;
pub use memory::FlashRange;
pub use reset::{EN_LOW, Strategy};
pub use rfc2217::{RFC2217_SCHEME, Rfc2217Port, open_rfc2217};
pub use run::{hold_in_reset, release, reset_to_download, reset_to_run, start};
pub use serial::{SerialPort, list_ports, open_serial};
pub use session::{Answer, Session};
pub use stub::{Stub, StubError, StubSection};
pub use survey::{Survey, survey, with_board};
pub use tcp::{TCP_SCHEMES, TcpPort, open_tcp};
pub use upload::StubSource;
