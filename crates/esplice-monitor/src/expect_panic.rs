//! Tests of firmware that is to panic.

use std::{cell::RefCell, time::Duration};

use esplice_protocol::Port;

use crate::{
    decode::{Frame, decode},
    error::MonitorError,
    panic::PanicReport,
    symbols::{Symbols, SymbolsError},
    watch::{MonitorEvent, Watch, watch_until},
    watcher::Watcher,
};

/// A panic with its decoded frames.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecodedPanic {
    /// The panic as the firmware printed it.
    pub report: PanicReport,
    /// The call chain, the failing function first.
    pub frames: Vec<Frame>,
}

impl DecodedPanic {
    /// Returns the names of the functions in the call chain, the failing one first. Frames without
    /// a name are left out.
    pub fn functions(&self) -> impl Iterator<Item = &str> {
        self.frames.iter().filter_map(|frame| frame.symbol.as_ref()?.function.as_deref())
    }
}

/// Reason why [`expect_panic`] returns no panic.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExpectPanicError {
    /// The ELF's symbols cannot be read.
    #[error(transparent)]
    Symbols(#[from] SymbolsError),
    /// The port failed.
    #[error(transparent)]
    Port(#[from] MonitorError),
    /// The firmware did not panic in time.
    #[error(
        "the firmware did not panic within {} ms; it printed {seen} bytes, at the end {:?}",
        within.as_millis(),
        last_lines.join("\n")
    )]
    NoPanic {
        /// The time limit.
        within: Duration,
        /// Number of bytes read.
        seen: u64,
        /// The last non-empty lines, oldest first, without escape sequences.
        last_lines: Vec<String>,
    },
}

impl ExpectPanicError {
    /// Returns a hint about how to fix the problem, if there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            ExpectPanicError::Port(error) => error.hint(),
            ExpectPanicError::Symbols(_) | ExpectPanicError::NoPanic { .. } => None,
        }
    }
}

/// Reads `port` until the firmware has panicked, and returns the first panic, decoded with the
/// firmware's `elf`. `within` is in the port's time.
///
/// ```no_run
/// use std::time::Duration;
///
/// # fn test(port: &mut dyn esplice_protocol::Port) -> Result<(), Box<dyn std::error::Error>> {
/// let elf = std::fs::read("firmware.elf")?;
/// let panic = esplice_monitor::expect_panic(port, &elf, Duration::from_secs(2))?;
/// assert!(panic.report.message.contains("index out of bounds"));
/// assert!(panic.functions().any(|name| name == "firmware::parse"));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`ExpectPanicError::NoPanic`], with the last lines that the firmware printed, if it does not
/// panic in time.
pub fn expect_panic(
    port: &mut dyn Port,
    elf: &[u8],
    within: Duration,
) -> Result<DecodedPanic, ExpectPanicError> {
    let symbols = Symbols::from_elf(elf)?;
    let watch = Watch { timeout: Some(within), ..Watch::default() };
    let mut watcher = Watcher::new(&watch, port.now());
    let first = RefCell::new(None);
    let mut events = |event: MonitorEvent<'_>| {
        if let MonitorEvent::Panic(report) = event {
            first.borrow_mut().get_or_insert_with(|| report.clone());
        }
    };
    let mut ended = || first.borrow().is_some();
    let outcome = watch_until(port, &mut watcher, &mut events, &mut ended);
    // A panic counts even if the port was lost after it.
    if let Some(report) = first.take() {
        let frames = decode(&report, Some(&symbols));
        return Ok(DecodedPanic { report, frames });
    }
    outcome?;
    let (seen, last_lines) = (watcher.seen(), watcher.last_lines());
    Err(ExpectPanicError::NoPanic { within, seen, last_lines })
}
