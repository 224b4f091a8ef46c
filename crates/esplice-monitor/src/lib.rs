//! Reads what a board says: from bytes to boots, panics and expected text.
//!
//! - [`watch`] reads a [`Port`](esplice_protocol::Port), with the port's own time, until something
//!   is settled; [`Watcher`] is the same without a port, fed bytes by its owner.
//! - [`Expectation`] is the text waited for, matched on what is shown of the output; a [`Script`] is what is waited
//!   for, sent and done in order.
//! - [`TestReport`] is what tests on the board told of themselves, a line each.
//! - [`Filter`] chooses lines of a log by level and module.
//! - [`Symbols`] reads an ELF, and [`decode`] turns the addresses of a [`PanicReport`] into functions
//!   and lines, unwinding the stack where a dump shows it.
//! - [`DefmtTable`] reads the texts of a firmware's defmt log, [`BinaryLog`] those of ESP-IDF's binary
//!   log: their frames then are lines like all others. [`TraceReport`] has addresses that are printed
//!   outside of panics. [`CoreDump`] is what ESP-IDF writes over the UART when it crashes.
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
//! # Ok::<(), esplice_monitor::ExpectError>(())
//! ```
//!
//! For an editor or a web page the events are what counts:
//!
//! ```
//! use std::time::Duration;
//!
//! use esplice_monitor::{MonitorEvent, Watch, Watcher, decode};
//! use esplice_protocol::Moment;
//!
//! let mut watcher = Watcher::new(&Watch::default(), Moment::START);
//! let mut told = vec![];
//! let mut tell = |event: MonitorEvent<'_>| match event {
//!     MonitorEvent::Boot(banner) => told.push(banner.reset_reason.clone()),
//!     // With the firmware's ELF as `Symbols` the frames have functions and lines.
//!     MonitorEvent::Panic(report) => told.push(format!("{:#x}", decode(report, None)[0].addr)),
//!     _ => {}
//! };
//! let said = b"rst:0x1 (POWERON),boot:0xc (SPI_FAST_FLASH_BOOT)\n\
//!     abort() was called at PC 0x42001234 on core 0\n";
//! watcher.push(said, Moment::START, &mut tell);
//! watcher.tick(Moment::at(Duration::from_secs(1)), &mut tell);
//! assert_eq!(told, ["POWERON", "0x42001234"]);
//! ```

mod binlog;
mod boot;
mod boot_check;
mod by_code;
mod core_dump;
mod course;
mod decode;
mod defmt;
mod dump;
mod error;
mod escape;
mod expect;
mod filter;
mod garble;
mod instruction;
mod lines;
mod lost_return;
mod panic;
mod panic_collect;
mod panic_start;
mod prefix;
mod sanitise;
mod script;
mod shown;
mod stream_regex;
mod symbols;
mod test_run;
mod trace;
mod unwind;
mod watch;
mod watcher;

pub use binlog::{BinaryLog, BinaryLogError};
pub use boot::{BootBanner, BootError, BootErrorKind, BootLoop};
pub use boot_check::{BootCheck, OtherProgram};
pub use core_dump::{CoreDump, CoreDumpError, CoreDumpFormat, CoreTask};
pub use course::Action;
pub use decode::{Frame, decode, decode_core, decode_trace};
pub use defmt::{DefmtError, DefmtTable, LogFrame};
pub use error::MonitorError;
pub use escape::{EscapeError, unescape};
pub use expect::{ExpectError, Expectation};
pub use filter::{Filter, FilterError, Level, LogLine};
pub use panic::{
    AddressKind, BacktraceEnd, CodeAddress, OtherCore, PanicKind, PanicReport, SourceLocation,
};
pub use sanitise::{Backspace, Sanitiser, sanitise};
pub use script::{Script, ScriptError, ScriptErrorKind, Step};
pub use symbols::{Architecture, SymbolFrame, Symbols, SymbolsError};
pub use test_run::{
    MARK, TestCase, TestEvent, TestReport, TestResult, TestSelection, is_test_line,
};
pub use trace::{Addresses, TraceKind, TraceReport};
pub use unwind::{Caller, Registers};
pub use watch::{MonitorEvent, Outcome, Tests, Watch, watch};
pub use watcher::Watcher;
