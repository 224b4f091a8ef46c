//! Reads a board's output: from bytes to boots, panics and expected text.
//!
//! - [`watch`] reads a [`Port`](esplice_protocol::Port), using the port's clock, until the outcome
//!   is known. [`Watcher`] does the same without a port; its owner feeds it bytes.
//! - [`Expectation`] is text to wait for, matched against the output as shown. [`Script`] is a
//!   sequence of texts to wait for, bytes to send and other steps.
//! - [`TestReport`] holds the results that tests on the board printed, one line each.
//! - [`Filter`] selects log lines by level and module.
//! - [`Symbols`] reads an ELF, and [`decode`] turns the addresses of a [`PanicReport`] into
//!   functions and lines. If the report has a stack dump, it unwinds the stack. [`expect_panic`]
//!   does both, for tests of firmware that is to panic.
//! - [`DefmtTable`] reads the texts of a firmware's defmt log, and [`BinaryLog`] those of ESP-IDF's
//!   binary log. Their frames then appear as ordinary lines. [`TraceReport`] holds addresses
//!   printed outside of panics. [`CoreDump`] is the dump that ESP-IDF writes to the UART when it
//!   crashes.
//! - [`Sanitiser`] makes a board's output safe for a terminal.
//!
//! This crate does not reset boards, print, read files or own a terminal. It passes findings to a
//! callback as [`MonitorEvent`]s and returns an [`Outcome`].
//!
//! ```
//! use esplice_monitor::{Expectation, Outcome, Watch, Watcher};
//! use esplice_protocol::Moment;
//!
//! let expect = vec![Expectation::parse(r"Hello, World!\r\n")?];
//! let watch = Watch::default().expect(expect);
//! let mut watcher = Watcher::new(&watch, Moment::START);
//! assert!(watcher.push(b"boot\r\nHello, W", Moment::START, &mut |_| {}).is_none());
//! let outcome = watcher.push(b"orld!\r\n", Moment::START, &mut |_| {});
//! assert!(matches!(outcome, Some(Outcome::Matched { offset: 6, .. })));
//! # Ok::<(), esplice_monitor::ExpectError>(())
//! ```
//!
//! An editor or a web page would mainly use the events:
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
mod decode;
mod defmt;
mod dump;
mod error;
mod escape;
mod expect;
mod expect_panic;
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
mod script_runner;
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
pub use decode::{Frame, decode, decode_core, decode_trace};
pub use defmt::{DefmtError, DefmtTable, LogFrame};
pub use error::MonitorError;
pub use escape::{EscapeError, unescape};
pub use expect::{ExpectError, Expectation};
pub use expect_panic::{DecodedPanic, ExpectPanicError, expect_panic};
pub use filter::{Filter, FilterError, Level, LogLine};
pub use panic::{
    AddressKind, BacktraceEnd, CodeAddress, OtherCore, PanicKind, PanicReport, SourceLocation,
};
pub use sanitise::{Backspace, Sanitiser, sanitise};
pub use script::{Script, ScriptError, ScriptErrorKind, Step};
pub use script_runner::Action;
pub use symbols::{Architecture, Symbol, SymbolFrame, Symbols, SymbolsError, readable_name};
pub use test_run::{
    MARK, TestCase, TestEvent, TestReport, TestResult, TestSelection, is_test_line,
};
pub use trace::{Addresses, TraceKind, TraceReport};
pub use unwind::{Caller, Registers};
pub use watch::{MonitorEvent, Outcome, Tests, Watch, watch, watch_until};
pub use watcher::Watcher;
