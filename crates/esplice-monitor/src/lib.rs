//! Reads what a board says: from bytes to boots, panics and expected text.
//!
//! - [`watch`] reads a [`Port`](esplice_protocol::Port), with the port's own time, until something
//!   is settled; [`Watcher`] is the same without a port, fed bytes by its owner.
//! - [`Expectation`] is the text waited for, matched on the raw bytes.
//! - [`Symbols`] reads an ELF, and [`decode`] turns the addresses of a [`PanicReport`] into functions
//!   and lines, unwinding the stack where a dump shows it.
//! - [`Sanitiser`] makes a board's output harmless for a terminal.
//!
//! It resets nothing, prints nothing, reads no files and owns no terminal: what it finds goes to a
//! callback as [`MonitorEvent`]s and comes back as an [`Outcome`].
//!
//! ```
//! use esplice_monitor::{Expectation, Outcome, Watch, Watcher};
//! use esplice_protocol::Moment;
//!
//! let watch = Watch { expect: vec![Expectation::parse(r"Hello, World!\r\n")?], ..Watch::default() };
//! let mut watcher = Watcher::new(&watch, Moment::START);
//! assert!(watcher.push(b"boot\r\nHello, W", Moment::START, &mut |_| {}).is_none());
//! let outcome = watcher.push(b"orld!\r\n", Moment::START, &mut |_| {});
//! assert!(matches!(outcome, Some(Outcome::Matched { offset: 6, .. })));
//! # Ok::<(), esplice_monitor::EscapeError>(())
//! ```

mod boot;
mod decode;
mod dump;
mod error;
mod escape;
mod expect;
mod garble;
mod lines;
mod panic;
mod sanitise;
mod symbols;
mod unwind;
mod watch;
mod watcher;

pub use boot::{BootBanner, BootLoop};
pub use decode::{Frame, decode};
pub use error::MonitorError;
pub use escape::{EscapeError, unescape};
pub use expect::Expectation;
pub use panic::{AddressKind, CodeAddress, PanicKind, PanicReport, SourceLocation};
pub use sanitise::{Sanitiser, sanitise};
pub use symbols::{SymbolFrame, Symbols, SymbolsError};
pub use unwind::{Caller, Registers};
pub use watch::{MonitorEvent, Outcome, Watch, watch};
pub use watcher::Watcher;
