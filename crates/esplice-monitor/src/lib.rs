//! Reads what a board says: from bytes to boots, panics and expected text.
//!
//! - [`watch`] reads a [`Port`](esplice_protocol::Port), with the port's own time, until something
//!   is settled; [`Watcher`] is the same without a port, fed bytes by its owner.
//! - [`Expectation`] is the text waited for, matched on the raw bytes.
//! - [`Sanitiser`] makes a board's output harmless for a terminal.
//!
//! It resets nothing, prints nothing and owns no terminal: what it finds goes to a callback as
//! [`MonitorEvent`]s and comes back as an [`Outcome`]. Addresses of a panic stay numbers.
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
mod error;
mod escape;
mod expect;
mod garble;
mod lines;
mod panic;
mod sanitise;
mod watch;
mod watcher;

pub use boot::{BootBanner, BootLoop};
pub use error::MonitorError;
pub use escape::{EscapeError, unescape};
pub use expect::Expectation;
pub use panic::{PanicKind, PanicReport, SourceLocation};
pub use sanitise::{Sanitiser, sanitise};
pub use watch::{MonitorEvent, Outcome, Watch, watch};
pub use watcher::Watcher;
