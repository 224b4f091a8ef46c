//! Watches a port until something is settled.

use std::{sync::Arc, time::Duration};

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

/// The longest single wait for bytes, in the port's time. A port that is told to stop says so when
/// it is next asked.
const SLICE: Duration = Duration::from_millis(50);

/// Reads made at the end of time, for bytes that had arrived and were not yet fetched.
const LAST_READS: usize = 16;

/// What a watch asks for.
#[derive(Debug, Clone)]
pub struct Watch {
    /// What must come, in this order. With any, the watch ends when the last is met, and a panic
    /// or a boot loop ends it too; with none these are only told of, and the watch goes on.
    pub expect: Vec<Expectation>,
    /// What is to be done behind that, and to come. The watch then ends with the last step, and the
    /// port's owner does what [`Watcher::action`] asks for.
    pub script: Vec<Step>,
    /// What must not come: the first of it ends the watch, whatever else is asked for.
    pub reject: Vec<Expectation>,
    /// Whether the board tells of tests ([`TestReport`]).
    pub tests: Tests,
    /// How long, in the port's time; `None` for ever.
    pub timeout: Option<Duration>,
    /// Where the timeout counts from, such as the release of reset; else from the call.
    pub since: Option<Moment>,
    /// Reset banners that are no surprise: 1 if the caller has just reset the board, 0 if not.
    pub expected_resets: u32,
    /// Resets beyond these that make a boot loop.
    pub loop_resets: u32,
    /// Whether resets that the firmware makes are on purpose: no number of them is a boot loop, and
    /// none ends a test.
    pub allow_resets: bool,
    /// Which tests count, of those that the board runs.
    pub selection: TestSelection,
    /// What the board should boot. Another program ends the watch where it waits for something.
    pub boots: BootCheck,
    /// The texts of the firmware's defmt log, if it has one. Expected text is then looked for in the
    /// frames' messages, as in all other text, and places are counted in what people read.
    pub defmt: Option<Arc<DefmtTable>>,
    /// The texts of the firmware's binary log of ESP-IDF, if it has one. Its packages then are lines
    /// of text like all others.
    pub binary_log: Option<Arc<BinaryLog>>,
    /// Which addresses outside of panics are reported.
    pub addresses: Addresses,
}

impl Default for Watch {
    /// Nothing expected, no timeout, after one reset; three more make a loop.
    fn default() -> Self {
        Watch {
            expect: vec![],
            script: vec![],
            reject: vec![],
            tests: Tests::Unheard,
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

/// What a watch makes of tests on the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tests {
    /// Their lines are text like any other.
    #[default]
    Unheard,
    /// Where the board tells of tests, the watch ends with the last of them, with a panic or with a
    /// boot loop.
    IfTold {
        /// How long the board may then say nothing of them.
        within: Duration,
    },
    /// The board has to tell of tests, and the watch ends as above.
    Wanted {
        /// How long the board may say nothing of them.
        within: Duration,
    },
}

/// What is told while a watch goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MonitorEvent<'a> {
    /// Bytes as they came; every byte read is told once and in order. A [`Watcher`] does not tell
    /// it: its owner has them.
    Output(&'a [u8]),
    /// The same bytes as people are to read them: defmt frames are lines of text. What begins like
    /// a frame comes when it is whole.
    Text(&'a [u8]),
    /// A message that came as a defmt frame; its line is in [`MonitorEvent::Text`], too.
    Log(&'a LogFrame),
    /// The mask ROM's name for itself, the first that it says, such as `esp32c3-api1-20210207`: it stands
    /// in the ROM, and so in its ELF.
    Rom(&'a str),
    /// The ROM's banner of a reset.
    Boot(&'a BootBanner),
    /// A core dump, all of it.
    CoreDump(&'a CoreDump),
    /// A core dump that cannot be read.
    CoreDumpBroken(&'a CoreDumpError),
    /// The ROM starts an image at this address.
    Entry(u32),
    /// The ROM or the second-stage bootloader cannot start the firmware.
    BootError(&'a BootError),
    /// Where the program stood when a watchdog reset the chip: a program counter, told by the ROM.
    SavedPc(u32),
    /// The firmware tells of which ELF it was made: the beginning of its SHA-256 in hex.
    ElfSha256(&'a str),
    /// An expectation was met.
    Expected {
        /// Its place in [`Watch::expect`], and behind these in [`Watch::script`].
        index: usize,
        /// When its last byte was read.
        at: Moment,
        /// Where its first byte stands, counted in bytes from the start of the watch.
        offset: u64,
    },
    /// A panic, all of it.
    Panic(&'a PanicReport),
    /// Addresses of code that the firmware printed while it runs on.
    Trace(&'a TraceReport),
    /// The board boots another program than [`Watch::boots`].
    OtherProgram(&'a OtherProgram),
    /// The board resets again and again.
    BootLoop(&'a BootLoop),
    /// A test on the board.
    Test(TestEvent<'a>),
}

/// How a watch ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// All that was expected has come.
    Matched {
        /// When its last byte was read.
        at: Moment,
        /// Where the last expected text begins, counted in bytes from the start of the watch.
        offset: u64,
    },
    /// What must not come has come.
    Rejected {
        /// The rejected text, as the user wrote it.
        text: String,
        /// When its last byte was read.
        at: Moment,
        /// Where its first byte stands, counted in bytes from the start of the watch.
        offset: u64,
        /// The last lines that were not empty, oldest first, without escape sequences; the one that
        /// the text stands in is the last, as far as it had come.
        last_lines: Vec<String>,
    },
    /// It did not come in time.
    TimedOut {
        /// The first expected text that did not come, as the user wrote it.
        missing: String,
        /// Bytes read.
        seen: u64,
        /// The last lines that were not empty, oldest first, without escape sequences.
        last_lines: Vec<String>,
    },
    /// It did not come in time, and what came is noise, as from a wrong baud rate.
    WrongBaud {
        /// Bytes read.
        seen: u64,
        /// The share of them that is no text, in percent.
        percent: u8,
    },
    /// The firmware panicked instead.
    Panic(PanicReport),
    /// The board boots another program than [`Watch::boots`].
    OtherProgram(OtherProgram),
    /// The board resets again and again instead.
    BootLoop(BootLoop),
    /// The board has told of its last test.
    Tests(TestReport),
    /// The board told of tests or had to, and then nothing more of them.
    TestsTimedOut {
        /// The test that ran, which the report has as failed.
        running: Option<String>,
        /// What was told until then.
        report: TestReport,
        /// How long nothing was told.
        within: Duration,
        /// Bytes read.
        seen: u64,
        /// The last lines that were not empty, oldest first, without escape sequences.
        last_lines: Vec<String>,
    },
    /// Nothing was expected, and the time is over.
    Ended {
        /// Bytes read.
        seen: u64,
    },
}

/// Reads `port` until an [`Outcome`] is settled; without a timeout and expectations, until the
/// port says [`PortError::Interrupted`].
///
/// It touches no line and no setting of the port. To miss no byte after a reset: hold reset, clear
/// the input, release reset, then call this. The port keeps what comes in between, and
/// [`Watch::since`] takes the moment of the release.
///
/// What a [`Watch::script`] asks to be done is the caller's: with steps that send or reset, drive a
/// [`Watcher`] instead.
pub fn watch(
    port: &mut dyn Port,
    watch: &Watch,
    events: &mut dyn FnMut(MonitorEvent<'_>),
) -> Result<Outcome, MonitorError> {
    let started = watch.since.unwrap_or_else(|| port.now());
    let mut watcher = Watcher::new(watch, started);
    let mut buf = [0; 4096];
    loop {
        let now = port.now();
        let due = watcher.deadline().is_some_and(|deadline| deadline <= now);
        if due {
            // What has arrived by now still counts.
            for _ in 0..LAST_READS {
                let bytes = match read(port, &mut buf, now, &watcher) {
                    Ok(Some(bytes)) => bytes,
                    Ok(None) => break,
                    Err(error) => return lost(error, &mut watcher, now, events),
                };
                events(MonitorEvent::Output(bytes));
                if let Some(outcome) = watcher.push(bytes, now, events) {
                    return Ok(outcome);
                }
            }
            if let Some(outcome) = watcher.tick(now, events) {
                return Ok(outcome);
            }
        }
        let slice = now + SLICE;
        let deadline = watcher.deadline().map_or(slice, |deadline| deadline.min(slice));
        match read(port, &mut buf, deadline, &watcher) {
            Ok(Some(bytes)) => {
                events(MonitorEvent::Output(bytes));
                if let Some(outcome) = watcher.push(bytes, port.now(), events) {
                    return Ok(outcome);
                }
            }
            Ok(None) => {}
            Err(error) => return lost(error, &mut watcher, now, events),
        }
    }
}

/// The end of a watch whose port fails: what the board was saying may still settle it.
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
