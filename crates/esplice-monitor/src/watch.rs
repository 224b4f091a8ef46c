//! Watches a port until the outcome is known.

use std::{sync::Arc, time::Duration};

use derive_setters::Setters;
use esplice_protocol::{Moment, Port, PortError};

use crate::{
    binlog::BinaryLog,
    boot::{BootBanner, BootError, BootLoop},
    boot_check::{BootCheck, OtherProgram},
    core_dump::{CoreDump, CoreDumpError},
    defmt::{DefmtTable, LogFrame},
    error::MonitorError,
    expect::Expectation,
    panic::PanicReport,
    script::Step,
    test_run::{TestEvent, TestReport, TestSelection},
    trace::{Addresses, TraceReport},
    watcher::Watcher,
};

/// Maximum duration of a single read, in the port's time. A port that is asked to stop reports it
/// on the next read.
const SLICE: Duration = Duration::from_millis(50);

/// Maximum number of reads at the timeout, for bytes that have arrived but were not read yet.
const LAST_READS: usize = 16;

/// The options of a watch.
#[derive(Debug, Clone, Setters)]
#[non_exhaustive]
pub struct Watch {
    /// Texts that must appear in this order. If there are any, the watch ends with the last one, or
    /// with a panic or a boot loop. If there are none, panics and boot loops are only reported.
    pub expect: Vec<Expectation>,
    /// Steps after the expected texts. The watch then ends with the last step. The port's owner
    /// performs what [`Watcher::action`] returns.
    pub script: Vec<Step>,
    /// Texts that must not appear. The first one ends the watch in any case.
    pub reject: Vec<Expectation>,
    /// The handling of tests on the board ([`TestReport`]).
    pub tests: Tests,
    /// Time limit in the port's time. `None` means no limit.
    pub timeout: Option<Duration>,
    /// Start of the time limit, such as the release of reset. `None` means the time of the call.
    pub since: Option<Moment>,
    /// Number of expected reset banners: 1 if the caller has just reset the board, 0 if not.
    pub expected_resets: u32,
    /// Number of further resets that make a boot loop.
    pub loop_resets: u32,
    /// True if resets by the firmware are intended: they never make a boot loop and never end a
    /// test.
    pub allow_resets: bool,
    /// The tests that count, of those that the board runs.
    pub selection: TestSelection,
    /// The program that the board should boot. If the watch waits for something, another program
    /// ends it.
    pub boots: BootCheck,
    /// The texts of the firmware's defmt log, if it has one. Expected text is then also searched in
    /// the messages of frames, and offsets count bytes of the decoded text.
    pub defmt: Option<Arc<DefmtTable>>,
    /// The texts of ESP-IDF's binary log, if the firmware uses it. Its packets are then ordinary
    /// lines of text.
    pub binary_log: Option<Arc<BinaryLog>>,
    /// The selection of addresses outside of panics to report.
    pub addresses: Addresses,
}

impl Default for Watch {
    /// Expects nothing, without a timeout, after one reset. Three more resets make a loop.
    fn default() -> Self {
        Watch {
            expect: vec![],
            script: vec![],
            reject: vec![],
            tests: Tests::Ignored,
            timeout: None,
            since: None,
            expected_resets: 1,
            loop_resets: 3,
            allow_resets: false,
            selection: TestSelection::default(),
            boots: BootCheck::default(),
            defmt: None,
            binary_log: None,
            addresses: Addresses::Reports,
        }
    }
}

/// The handling of tests on the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tests {
    /// Their lines are ordinary text.
    #[default]
    Ignored,
    /// If the board reports tests, the watch ends with the last one, with a panic or with a boot
    /// loop.
    IfReported {
        /// Maximum time without a line about tests, once they have begun.
        within: Duration,
    },
    /// The board must report tests, and the watch ends in the same way.
    Required {
        /// Maximum time without a line about tests.
        within: Duration,
    },
}

/// An event during a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MonitorEvent<'a> {
    /// Bytes as received. Every byte read is reported once and in order. A [`Watcher`] does not
    /// send this event, as its owner has the bytes.
    Output(&'a [u8]),
    /// The same bytes as decoded for people: defmt frames become lines of text. Bytes that may
    /// belong to a frame are sent once it is complete.
    Text(&'a [u8]),
    /// A message received as a defmt frame. Its line is also sent as [`MonitorEvent::Text`].
    Log(&'a LogFrame),
    /// The first name that the mask ROM prints for itself, such as `esp32c3-api1-20210207`. It is
    /// also part of the ROM and its ELF.
    Rom(&'a str),
    /// The ROM's banner after a reset.
    Boot(&'a BootBanner),
    /// A complete core dump.
    CoreDump(&'a CoreDump),
    /// A core dump that cannot be read.
    CoreDumpBroken(&'a CoreDumpError),
    /// The ROM starts an image at this address.
    Entry(u32),
    /// The ROM or the second-stage bootloader cannot start the firmware.
    BootError(&'a BootError),
    /// The program counter at which a watchdog reset the chip, as printed by the ROM.
    SavedPc(u32),
    /// The start of the SHA-256 in hex of the ELF that the firmware was built from, as printed by
    /// it.
    ElfSha256(&'a str),
    /// An expected text was found.
    Expected {
        /// The index in [`Watch::expect`] followed by [`Watch::script`].
        index: usize,
        /// The time when its last byte was read.
        at: Moment,
        /// The offset of its first byte, in bytes from the start of the watch.
        offset: u64,
    },
    /// A complete panic.
    Panic(&'a PanicReport),
    /// Code addresses printed by firmware that continues to run.
    Trace(&'a TraceReport),
    /// The board boots a program other than [`Watch::boots`].
    OtherProgram(&'a OtherProgram),
    /// The board resets repeatedly.
    BootLoop(&'a BootLoop),
    /// A test on the board.
    Test(TestEvent<'a>),
}

/// The result of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// All expected texts have appeared and all steps are done.
    Matched {
        /// The time when the last byte was read.
        at: Moment,
        /// The offset of the last expected text, in bytes from the start of the watch.
        offset: u64,
    },
    /// A rejected text has appeared.
    Rejected {
        /// The rejected text as written by the user.
        text: String,
        /// The time when its last byte was read.
        at: Moment,
        /// The offset of its first byte, in bytes from the start of the watch.
        offset: u64,
        /// The last non-empty lines, oldest first, without escape sequences. The last one contains
        /// the rejected text and is cut off after it.
        last_lines: Vec<String>,
    },
    /// An expected text did not appear in time.
    TimedOut {
        /// The first missing text as written by the user.
        missing: String,
        /// Number of bytes read.
        seen: u64,
        /// The last non-empty lines, oldest first, without escape sequences.
        last_lines: Vec<String>,
    },
    /// An expected text did not appear in time, and the output is noise, as from a wrong baud rate.
    WrongBaud {
        /// Number of bytes read.
        seen: u64,
        /// The percentage of bytes that are not text.
        percent: u8,
    },
    /// The firmware panicked.
    Panic(PanicReport),
    /// The board boots a program other than [`Watch::boots`].
    OtherProgram(OtherProgram),
    /// The board resets repeatedly.
    BootLoop(BootLoop),
    /// The board has reported its last test.
    Tests(TestReport),
    /// The board had begun or was required to report tests, but then reported nothing for too long.
    TestsTimedOut {
        /// The running test, which the report counts as failed.
        running: Option<String>,
        /// The report until then.
        report: TestReport,
        /// The time without a line about tests.
        within: Duration,
        /// Number of bytes read.
        seen: u64,
        /// The last non-empty lines, oldest first, without escape sequences.
        last_lines: Vec<String>,
    },
    /// Nothing was expected, and the time is up.
    Ended {
        /// Number of bytes read.
        seen: u64,
    },
}

/// Reads `port` until the [`Outcome`] is known. Without a timeout and expectations, reads until the
/// port returns [`PortError::Interrupted`].
///
/// Control lines and settings of the port are not changed. To miss no byte after a reset, hold
/// reset, clear the input, release reset, then call this function. The port buffers what arrives in
/// between, and [`Watch::since`] takes the time of the release.
///
/// The caller performs the actions of a [`Watch::script`]: with steps that send or reset, use a
/// [`Watcher`] instead.
pub fn watch(
    port: &mut dyn Port,
    watch: &Watch,
    events: &mut dyn FnMut(MonitorEvent<'_>),
) -> Result<Outcome, MonitorError> {
    let started = watch.since.unwrap_or_else(|| port.now());
    let mut watcher = Watcher::new(watch, started);
    loop {
        // Without an end of its own, the watch goes on until the outcome is known.
        if let Some(outcome) = watch_until(port, &mut watcher, events, &mut || false)? {
            return Ok(outcome);
        }
    }
}

/// Like [`watch`], for a watcher that the caller keeps. Returns none once `ended` returns true, which
/// is asked after each read, so it can depend on the events so far.
///
/// # Errors
/// Those of [`watch`].
pub fn watch_until(
    port: &mut dyn Port,
    watcher: &mut Watcher,
    events: &mut dyn FnMut(MonitorEvent<'_>),
    ended: &mut dyn FnMut() -> bool,
) -> Result<Option<Outcome>, MonitorError> {
    let mut buf = [0; 4096];
    loop {
        if ended() {
            return Ok(None);
        }
        let now = port.now();
        let due = watcher.deadline().is_some_and(|deadline| deadline <= now);
        if due {
            // Bytes that have arrived by now still count.
            for _ in 0..LAST_READS {
                let bytes = match read(port, &mut buf, now, watcher) {
                    Ok(Some(bytes)) => bytes,
                    Ok(None) => break,
                    Err(error) => return lost(error, watcher, now, events).map(Some),
                };
                events(MonitorEvent::Output(bytes));
                if let Some(outcome) = watcher.push(bytes, now, events) {
                    return Ok(Some(outcome));
                }
            }
            if let Some(outcome) = watcher.tick(now, events) {
                return Ok(Some(outcome));
            }
        }
        let slice = now + SLICE;
        let deadline = watcher.deadline().map_or(slice, |deadline| deadline.min(slice));
        match read(port, &mut buf, deadline, watcher) {
            Ok(Some(bytes)) => {
                events(MonitorEvent::Output(bytes));
                if let Some(outcome) = watcher.push(bytes, port.now(), events) {
                    return Ok(Some(outcome));
                }
            }
            Ok(None) => {}
            Err(error) => return lost(error, watcher, now, events).map(Some),
        }
    }
}

/// Ends a watch whose port failed. Unfinished output may still decide the outcome.
fn lost(
    error: MonitorError,
    watcher: &mut Watcher,
    now: Moment,
    events: &mut dyn FnMut(MonitorEvent<'_>),
) -> Result<Outcome, MonitorError> {
    let outcome = match &error {
        MonitorError::Lost { .. } => watcher.cut(now, events),
        _ => None,
    };
    outcome.ok_or(error)
}

fn read<'a>(
    port: &mut dyn Port,
    buf: &'a mut [u8],
    deadline: Moment,
    watcher: &Watcher,
) -> Result<Option<&'a [u8]>, MonitorError> {
    match port.read(buf, deadline) {
        Ok(len) => Ok(buf.get(..len).filter(|bytes| !bytes.is_empty())),
        Err(PortError::Gone { port }) if watcher.seen() > 0 => {
            Err(MonitorError::Lost { port, seen: watcher.seen() })
        }
        Err(error) => Err(error.into()),
    }
}
